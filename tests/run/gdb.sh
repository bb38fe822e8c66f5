#!/bin/bash
# gdb on the first node of a running program: its symbols, its frames across the border to the runtime, its variables
# from other nodes; and the program goes on afterwards.
#   gdb.sh GALLOCY SCRIPT DEBUGGED
set -u
gallocy=$1 script=$2 program=$3
command -v gdb >/dev/null || { echo "skipped: gdb is not there"; exit 77; }
scratch=$(mktemp -d "${TMPDIR:-/tmp}/gallocy-run-XXXXXX") || exit 1
trap 'rm -rf "$scratch"' EXIT
expect() {
  grep -Eq "$1" "$scratch/gdb" || { echo "missing on $nodes nodes: $1"; exit 1; }
}
for nodes in 1 2; do
  mkfifo "$scratch/input"
  "$gallocy" run -n $nodes --debug -- "$program" <"$scratch/input" >"$scratch/out" 2>"$scratch/err" &
  launcher=$!
  exec 3>"$scratch/input"
  for ((i = 0; i < 500; ++i)); do
    grep -q waiting "$scratch/out" && break
    sleep 0.02
  done
  node=$(pgrep -P $launcher -x debugged) || { echo "the program does not run"; cat "$scratch/err"; kill $launcher; exit 1; }
  timeout -k 1 60 gdb -nx -batch -x "$script" -ex "gallocy attach $node" -ex 'thread 1' -ex bt -ex 'gallocy print debugged_variable' \
    -ex 'gallocy print *debugged_pointer' -ex 'print debugged_variable' >"$scratch/gdb" 2>&1 </dev/null
  echo >&3
  exec 3>&-
  wait $launcher
  status=$?
  cat "$scratch/gdb"
  grep -q 'Operation not permitted' "$scratch/gdb" && { echo "skipped: gdb may not attach"; exit 77; }
  ((status == 0)) || { echo "status $status"; cat "$scratch/err"; exit 1; }
  [[ $(<"$scratch/out") == $'waiting\n17' ]] || { cat "$scratch/out"; exit 1; }
  expect '^#[0-9]+ .* innermost '
  expect '^#[0-9]+ .* outermost '
  expect '^#[0-9]+ .* main '
  expect '^debugged_variable = 4711$'
  expect '^\*debugged_pointer = .*17'
  expect '^\$1 = 4711$'
  rm "$scratch/input" "$scratch/out"
done
