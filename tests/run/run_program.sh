#!/bin/bash
# Runs a program natively and with `gallocy run` on 1, 2 and 4 nodes over both transports, and compares standard output
# and exit status.
#
#   run_program.sh [--all] [--name NAME] [--gaps FILE] [--seconds S] [--configurations "N:TRANSPORT[:ENGINE] ..."]
#                  GALLOCY PROGRAM [ARGUMENT...]
#
# --all: go on after the first difference. FILE has the programs that are known not to work, one per line:
#   NAME always|sometimes WORDS
# Such a program is run all the same: a failure is a skip, with the words; if `always` is no longer so, that is a failure.
# Exit status: 0 the same everywhere, 1 not the same, 77 skipped, 64 wrong use.
set -u
ulimit -c 0

all= name= gaps= seconds=20
configurations="1:shm 1:tcp 2:shm 2:tcp 4:shm 4:tcp"
while [[ ${1-} == --* ]]; do
  case $1 in
    --all) all=1 && shift && continue ;;
    --name) name=$2 ;;
    --gaps) gaps=$2 ;;
    --seconds) seconds=$2 ;;
    --configurations) configurations=$2 ;;
    *) echo "unknown flag $1" >&2 && exit 64 ;;
  esac
  shift 2
done
[[ $# -ge 2 ]] || { sed -n '2,12p' "$0" >&2 && exit 64; }
gallocy=$1 program=$2
shift 2
[[ -n $name ]] || name=$(basename "$program")
command -v "$program" >/dev/null || { echo "skipped: $program is not there" && exit 77; }

scratch=$(mktemp -d "${TMPDIR:-/tmp}/gallocy-run-XXXXXX") || exit 1
trap 'rm -rf "$scratch"' EXIT
printf 'a line of input\nand another\n' >"$scratch/input"

# run LABEL COMMAND...: in a directory of its own; leaves LABEL.out, LABEL.err, LABEL.status.
run() {
  local label=$1
  shift
  mkdir "$scratch/$label.dir"
  (cd "$scratch/$label.dir" && exec timeout -k 5 "$seconds" "$@") <"$scratch/input" >"$scratch/$label.out" 2>"$scratch/$label.err"
  echo $? >"$scratch/$label.status"
} 2>/dev/null

show() {
  [[ -s $2 ]] || return
  echo "  -- $1:"
  head -c 2000 "$2" | sed 's/^/  | /'
}

words_of() {
  case $1 in
    124 | 137) echo "status $1 (no end in $seconds s)" ;;
    *) echo "status $1" ;;
  esac
}

# The gap list: sets `frequency` and `words`.
frequency= words=
[[ -z $gaps ]] || read -r _ frequency words < <(grep -E "^$name +(always|sometimes) " "$gaps")

run native "$program" "$@"
native=$(<"$scratch/native.status")
if [[ $native == 77 ]]; then echo "skipped: $(cat "$scratch/native.out")" && exit 77; fi
if [[ $native == 124 || $native == 137 ]] || grep -q ' failed: ' "$scratch/native.out"; then
  echo "natively: $(words_of "$native")"
  show output "$scratch/native.out"
  exit 1
fi

failed=
for configuration in $configurations; do
  IFS=: read -r nodes transport engine <<<"$configuration"
  run "$configuration" "$gallocy" run -n "$nodes" --transport "$transport" ${engine:+--fault-engine "$engine"} -- "$program" "$@"
  status=$(<"$scratch/$configuration.status")
  [[ -n $engine && $status == 69 ]] && continue  # not possible on this machine
  if [[ $status != "$native" ]] || ! cmp -s "$scratch/native.out" "$scratch/$configuration.out"; then
    failed+=" $configuration"
    echo "$name on $nodes nodes, $transport${engine:+, $engine}: $(words_of "$status"); natively status $native"
    if ! cmp -s "$scratch/native.out" "$scratch/$configuration.out"; then
      echo "  -- output, native (<) and here (>):"
      diff -a "$scratch/native.out" "$scratch/$configuration.out" | head -20 | cut -c 1-200 | sed 's/^/  | /'
    fi
    show "standard error" "$scratch/$configuration.err"
    [[ -n $all ]] || break
  fi
done

if [[ -n $frequency ]]; then
  if [[ -n $failed || $frequency == sometimes ]]; then
    echo "skipped: a known gap: $words"
    exit 77
  fi
  echo "$name is in $gaps (\"$words\"), but it works: take it out of the list"
  exit 1
fi
[[ -z $failed ]]
