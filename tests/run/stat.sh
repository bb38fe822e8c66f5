#!/bin/bash
# `gallocy run --stat` says what each node did, and names the variables in the pages that the nodes took from each other.
#   stat.sh GALLOCY HOT_VARIABLES
set -u
scratch=$(mktemp -d "${TMPDIR:-/tmp}/gallocy-run-XXXXXX") || exit 1
trap 'rm -rf "$scratch"' EXIT
"$1" run -n 2 --stat -- "$2" >"$scratch/out" 2>"$scratch/err" || { cat "$scratch/err"; exit 1; }
cat "$scratch/err"
expect() {
  grep -Eq "$1" "$scratch/err" || { echo "missing: $1"; exit 1; }
}
expect '^gallocy: node  threads '
expect '^gallocy:    1        1 '
expect '^gallocy: system calls made for other nodes: [a-z]'
page='^gallocy:   0x[0-9a-f]+ \(/.*/hot_variables\) [0-9]+ times;.* node [01] writes'
expect "$page \\+0x0 \\(hot::turn\\)"
expect "$page.*\\+0x40 \\(hot::tally\\).*: false sharing"
expect "$page \\+0x0 \\(hot::initialized\\)"
expect '^gallocy:   0x[0-9a-f]+ \(\[heap\]\) [0-9]+ times'
