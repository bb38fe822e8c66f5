#!/bin/bash
# Where threads go: --place, and affinities that taskset and numactl set before the program begins.
#
#   placement.sh GALLOCY WHERE
set -u
gallocy=$1 where=$2 failed=

# expect WORDS FLAGS... -- COMMAND...
expect() {
  local words=$1 said
  shift
  said=$(timeout -k 5 30 "$gallocy" run "$@" "$where" nodes </dev/null 2>&1)
  [[ $said == "$words" ]] && return
  echo "gallocy run $*: '$said' instead of '$words'"
  failed=1
}

processors=$(($(nproc) / 3))  # of each of three nodes: its share
[[ $processors -eq 0 ]] && processors=1
first_of_node_1=$processors first_of_node_2=$((2 * processors))

expect "1>2 2>0 0>1 2>1 ok" -n 3 --
expect "0>0 0>0 0>0 0>0 ok" -n 3 --place pack --
expect "2>2 1>1 2>1 1>2 ok" -n 3 --place 2,1 --
expect "0>0 0>0 0>0 0>0 ok" -n 1 --place 0 --
if command -v taskset >/dev/null; then
  expect "1>1 1>1 1>1 1>1 ok" -n 3 -- taskset -c "$first_of_node_1"
  expect "0>0 0>0 0>0 0>0 ok" -n 3 -- taskset -c 0
  expect "2>2 2>2 2>2 2>2 ok" -n 3 --place pack -- taskset -c "$first_of_node_2"
fi
if command -v numactl >/dev/null; then
  expect "1>1 1>1 1>1 1>1 ok" -n 3 -- numactl --cpunodebind=1
  expect "2>2 2>2 2>2 2>2 ok" -n 3 -- numactl --physcpubind="$first_of_node_2"
fi
[[ -z $failed ]]
