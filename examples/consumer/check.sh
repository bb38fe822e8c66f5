#!/usr/bin/env bash
# check.sh BUILD_DIRECTORY LIBDIR COMPILER
#
# Installs gallocy into BUILD_DIRECTORY/consumer/prefix, builds this folder against it with CMake's find_package (the
# archive and the shared object) and with pkg-config, and runs each program: as a cluster of one, and on three nodes.
set -euo pipefail
build=$1 libdir=$2 compiler=$3
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$build/consumer prefix=$build/consumer/prefix
expected=332833500  # the sum of i * i for i < 1000

rm -rf "$work"
mkdir -p "$work"
cmake --install "$build" --prefix "$prefix" >"$work/install.log"

cmake -G Ninja -S "$here" -B "$work/build" -DCMAKE_CXX_COMPILER="$compiler" -DCMAKE_PREFIX_PATH="$prefix" >"$work/configure.log"
cmake --build "$work/build"

export PKG_CONFIG_PATH=$prefix/$libdir/pkgconfig
read -ra flags < <(pkg-config --cflags --libs gallocy)
"$compiler" -std=c++20 -O1 "$here/main.cc" -o "$work/by_pkg_config" "${flags[@]}" "-Wl,-rpath,$prefix/$libdir"

for program in "$work/build/consumer" "$work/build/consumer_shared" "$work/by_pkg_config"; do
  for run in "" "$prefix/bin/gallocy launch -n 3 --"; do
    result=$($run "$program")
    echo "$run $program: $result"
    [[ $result == "$expected" ]] || { echo "expected $expected"; exit 1; }
  done
done
