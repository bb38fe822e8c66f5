#!/bin/bash
# SPLASH-3 and Phoenix-2.0, which somebody built elsewhere (docs/testing.md says how): each program with four threads (those
# of Phoenix: as many as there are processors), its result compared with the native one by run_program.sh.
#
#   source_programs.sh [--splash3 DIR] [--phoenix DIR] [--only NAME] [FLAG of run_program.sh]... GALLOCY
#
# DIR is the folder `codes` of Splash-3, the folder `phoenix-2.0` of Phoenix. Exit status: 0 all the same, 1 not, 64 wrong
# use. Programs that are not there are named.
set -u

here=$(cd "$(dirname "$0")" && pwd)
splash3= phoenix= only= flags=()
while [[ ${1-} == --* ]]; do
  case $1 in
    --splash3) splash3=$(realpath "$2") ;;
    --phoenix) phoenix=$(realpath "$2") ;;
    --only) only=$2 ;;
    --all) flags+=("$1") && shift && continue ;;
    *) flags+=("$1" "$2") ;;
  esac
  shift 2
done
[[ $# == 1 && -n $splash3$phoenix ]] || { sed -n '2,8p' "$0" >&2 && exit 64; }
gallocy=$(realpath "$1") worst=0

# check NAME FLAG... PROGRAM ARGUMENT...: the flags are run_program.sh's, and end with `--`.
check() {
  local name=$1 own=() start=$SECONDS
  shift
  while [[ $1 != -- ]]; do own+=("$1") && shift; done
  shift
  [[ -z $only || $name == "$only" ]] || return
  "$here/run_program.sh" --seconds 60 "${flags[@]}" --name "$name" "${own[@]}" "$gallocy" "$@"
  case $? in
    0) echo "$name: the same ($((SECONDS - start)) s)" ;;
    77) ;;
    *) worst=1 ;;
  esac
}

# What the programs of SPLASH say of their own result: the sort is checked, FFT is inverted, LU and CHOLESKY solve.
splash3_programs() {
  local passed='grep PASSED' kernels=$splash3/kernels apps=$splash3/apps
  check fft --result "$passed" -- "$kernels/fft/FFT" -p4 -m14 -t
  check lu --result "$passed" -- "$kernels/lu/contiguous_blocks/LU" -p4 -n256 -t
  check lu_rows --result "$passed" -- "$kernels/lu/non_contiguous_blocks/LU" -p4 -n256 -t
  check radix --result "$passed" -- "$kernels/radix/RADIX" -p4 -n16384 -t
  check cholesky --result "$passed" -- "$kernels/cholesky/CHOLESKY" -p4 -t "$kernels/cholesky/inputs/tk14.O"
  local residuals='grep residual'
  check ocean --result "$residuals" -- "$apps/ocean/contiguous_partitions/OCEAN" -p4 -n34 -o
  check ocean_rows --result "$residuals" -- "$apps/ocean/non_contiguous_partitions/OCEAN" -p4 -n34 -o
  # Sums whose order depends on which thread comes first: a cell that is just near enough then is not, which moves a body.
  # BARNES prints bodies if it was built with splash3_barnes.m4.
  check barnes --tolerance 1e-4 --strays 8 --input "$apps/barnes/inputs/n8k-p4" --result 'grep ^body' -- "$apps/barnes/BARNES"
  check fmm --tolerance 1e-4 --input "$apps/fmm/inputs/input.4.256" --result 'grep Pos' -- "$apps/fmm/FMM" -o
  local way
  for way in nsquared spatial; do
    check water_$way --tolerance 1e-4 --input "$apps/water-$way/inputs/n512-p4" --prepare "cp '$apps/water-$way/random.in' ." \
      --result "grep -A 1 -E '^ +3 '" -- "$apps/water-$way/WATER-${way^^}"
  done
  # These write pictures beside their inputs.
  check raytrace --prepare "mkdir inputs && cp '$apps/raytrace/inputs/teapot'.{env,geo} inputs" \
    --result 'md5sum inputs/teapot.rl' -- "$apps/raytrace/RAYTRACE" -p4 -m64 inputs/teapot.env
  # Its pixels depend on memory that it does not fill in, also natively.
  check volrend --prepare "mkdir inputs && cp '$apps/volrend/inputs/head-scaleddown4.den' inputs" \
    --result 'ls inputs' -- "$apps/volrend/VOLREND" 4 inputs/head-scaleddown4 4
}

# Inputs from this project's documentation: a text, a picture of 24 bits per pixel, two matrices, words with hits.
phoenix_inputs() {
  data=$(mktemp -d "${TMPDIR:-/tmp}/gallocy-phoenix-XXXXXX") || exit 1
  trap 'rm -rf "$data"' EXIT
  local i file
  for i in {1..8}; do cat "$here"/../../docs/*.md; done >"$data/text"
  { printf 'BM\0\0\0\0\0\0\0\0\66\0%16s\30\0%24s' '' '' && cat "$data/text"; } >"$data/picture"
  head -c $((4 * 200 * 200)) "$data/text" >"$data/matrix"
  { tr -cs '[:alnum:]' '\n' <"$data/text" && printf '%s\n' Helloworld ferrari howareyou; } >"$data/words"
  # They map a file and read one byte more, which must not be the next page's.
  for file in "$data"/{text,picture,words}; do (($(stat -c %s "$file") % 4096)) || echo >>"$file"; done
}

phoenix_programs() {
  phoenix_inputs
  local tests=$phoenix/tests way
  local result='grep -viE "processors|allocated rows|completed" | sort'  # they depend on the machine and time
  local matrices="cp $data/matrix matrix_file_A.txt && cp $data/matrix matrix_file_B.txt"
  for way in "" -pthread; do
    check word_count$way --result "$result" -- "$tests/word_count/word_count$way" "$data/text" 10
    check kmeans$way --result "$result" -- "$tests/kmeans/kmeans$way" -p 2000 -c 20
    check linear_regression$way --result "$result" -- "$tests/linear_regression/linear_regression$way" "$data/text"
    local rows=()
    [[ -n $way ]] || rows=(1)  # with fewer arguments it makes matrices of chance, the other with more
    check matrix_multiply$way --prepare "$matrices" --result "$result" -- "$tests/matrix_multiply/matrix_multiply$way" 200 \
      "${rows[@]}"
    check pca$way --result "$result" -- "$tests/pca/pca$way" -r 100 -c 100
    check string_match$way --result "$result" -- "$tests/string_match/string_match$way" "$data/words"
    check histogram$way --result "$result" -- "$tests/histogram/histogram$way" "$data/picture"
  done
}

[[ -z $splash3 ]] || splash3_programs
[[ -z $phoenix ]] || phoenix_programs
exit $worst
