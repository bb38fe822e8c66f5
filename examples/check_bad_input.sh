#!/bin/sh
# check_bad_input.sh PROGRAM: each wrong command line must end with status 64 and one line on standard error.
set -u
program=$1

refused() {
  errors=$("$program" "$@" 2>&1 >/dev/null)
  status=$?
  lines=$(printf '%s\n' "$errors" | wc -l)
  if [ "$status" -ne 64 ] || [ -z "$errors" ] || [ "$lines" -ne 1 ]; then
    echo "'$*' ended with status $status and printed: $errors"
    exit 1
  fi
}

refused --no-such-flag
refused --plain
refused --plain 0
refused --plain -1
refused --plain 1e3
refused --plain 99999999999999999999999
refused /no/such/path
