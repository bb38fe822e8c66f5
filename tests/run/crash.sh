#!/bin/bash
# A crash on any node: the status is as natively, one line says what happened where, and --backtrace how it came to that.
#   crash.sh GALLOCY CRASH_IN_THREAD DIE_ABORT
set -u
gallocy=$1 program=$2 aborts=$3
ulimit -c 0
scratch=$(mktemp -d "${TMPDIR:-/tmp}/gallocy-run-XXXXXX") || exit 1
trap 'rm -rf "$scratch"' EXIT
# run STATUS FLAG...
run() {
  local wanted=$1
  shift
  "$gallocy" run "$@" >"$scratch/out" 2>"$scratch/err"
  local status=$?
  echo "-- gallocy run $*"
  cat "$scratch/err"
  ((status == wanted)) || { echo "status $status instead of $wanted"; exit 1; }
}
expect() {
  grep -Eq "$1" "$scratch/err" || { echo "missing: $1"; exit 1; }
}
for nodes in 1 2; do
  node=$((nodes - 1))
  run 139 -n $nodes -- "$program"
  expect "^gallocy: SIGSEGV at address 0x18 in thread [0-9]+ on node $node, deep::innermost\\(.*\\)\\+0x[0-9a-f]+ in crash_in_thread\$"
  (($(wc -l <"$scratch/err") == 1)) || { echo "not one line"; exit 1; }
  run 139 -n $nodes --backtrace -- "$program"
  expect '^gallocy:   #0  0x[0-9a-f]+ deep::innermost\(.*\)\+0x[0-9a-f]+ in crash_in_thread \(crash_in_thread.cc:1[0-9]\)$'
  expect '^gallocy:   #[0-9]+ +0x[0-9a-f]+ .* in libc.so.6'  # qsort
  expect '^gallocy:   #[0-9]+ +0x[0-9a-f]+ deep::sort_numbers\(.*\)\+0x[0-9a-f]+ in crash_in_thread \(crash_in_thread.cc:1[0-9]\)$'
  expect '^gallocy:   #[0-9]+ +0x[0-9a-f]+ deep::outermost\(\)\+0x[0-9a-f]+ in crash_in_thread \(crash_in_thread.cc:2[0-9]\)$'
  expect '^gallocy:   #[0-9]+ +0x[0-9a-f]+ libstdc\+\+\.so'
done
run 134 -n 2 --backtrace -- "$aborts"
expect '^gallocy: SIGABRT in thread [0-9]+ on node [01], '
expect '^gallocy:   #[0-9]+ +0x[0-9a-f]+ abort\+0x[0-9a-f]+ in libc.so.6'
expect '^gallocy:   #[0-9]+ +0x[0-9a-f]+ body\+0x[0-9a-f]+ in die_abort'
# What a signal ends on purpose is no crash.
run 143 -n 2 -- sh -c 'kill -TERM $$'
[[ ! -s $scratch/err ]] || { echo "words about SIGTERM"; exit 1; }
