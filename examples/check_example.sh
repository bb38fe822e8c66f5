#!/bin/sh
# check_example.sh GALLOCY NODES TRANSPORT PROGRAM [ARGUMENTS...]
#
# Runs an example on ordinary memory and on a cluster of NODES nodes; passes if both print the same digest.
# Exits with 125 (the test is skipped) if this machine lacks the fault engine that GALLOCY_FAULT_ENGINE asks for.
set -u
gallocy=$1 nodes=$2 transport=$3
shift 3

digest_of() { printf '%s\n' "$1" | sed -n 's/^.*digest=\([0-9a-f]\{16\}\)$/\1/p' | tail -n 1; }

plain=$("$@" --plain 1) || { echo "on ordinary memory it failed with status $?"; exit 1; }
cluster=$("$gallocy" launch -n "$nodes" --transport "$transport" -- "$@")
status=$?
[ "$status" -eq 69 ] && exit 125
[ "$status" -eq 0 ] || { echo "on $nodes nodes it failed with status $status: $cluster"; exit 1; }

echo "ordinary memory: $plain"
echo "$nodes nodes:    $cluster"
[ -n "$(digest_of "$plain")" ] || { echo "no digest was printed"; exit 1; }
[ "$(digest_of "$plain")" = "$(digest_of "$cluster")" ] || { echo "the digests differ"; exit 1; }
