#!/bin/bash
# A worker that is killed ends the program: one line that says so, status 70, nothing left behind.
#   worker_killed.sh GALLOCY
set -u
gallocy=$1
scratch=$(mktemp -d "${TMPDIR:-/tmp}/gallocy-run-XXXXXX") || exit 1
trap 'rm -rf "$scratch"' EXIT
"$gallocy" run -n 3 -- sleep 60 >"$scratch/out" 2>"$scratch/err" &
launcher=$!
# The workers are those of the launcher's children that the program's process is not; the program is the first.
for ((i = 0; i < 500; ++i)); do
  workers=($(pgrep -P "$launcher" | sort -n))
  ((${#workers[@]} == 3)) && [[ $(cat "/proc/${workers[0]}/comm" 2>/dev/null) == sleep ]] && break
  sleep 0.01
done
((${#workers[@]} == 3)) || { echo "the nodes did not start"; kill "$launcher"; exit 1; }
kill -9 "${workers[2]}"
wait "$launcher"
status=$?
cat "$scratch/err"
((status == 70)) || { echo "status $status instead of 70"; exit 1; }
(($(wc -l <"$scratch/err") == 1)) || { echo "not one line"; exit 1; }
for pid in "${workers[@]}"; do
  kill -0 "$pid" 2>/dev/null && { echo "process $pid is left behind"; exit 1; }
done
exit 0
