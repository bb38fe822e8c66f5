#!/bin/bash
# killed_status.sh GALLOCY PROGRAM SIGNAL: the command ends by the signal that ended the program on whatever node, as a
# parent sees it: not with status 128 + signal.
set -u
ulimit -c 0
gallocy=$1 program=$2 signal=$3
command -v python3 >/dev/null || { echo "skipped: python3 is not there" && exit 77; }
for nodes in 1 2 4; do
  status=$(timeout -k 5 30 python3 -c '
import subprocess, sys
print(subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode)
' "$gallocy" run -n "$nodes" -- "$program")
  [[ $status == "-$signal" ]] || { echo "on $nodes nodes: $status instead of -$signal" && exit 1; }
done
