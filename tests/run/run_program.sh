#!/bin/bash
# Runs a program natively and with `gallocy run` on 1, 2 and 4 nodes over both transports, and compares standard output
# and exit status.
#
#   run_program.sh [FLAG...] GALLOCY PROGRAM [ARGUMENT...]
#
# --configurations "N:TRANSPORT[:ENGINE] ..." or "all" (1, 2 and 4 nodes, both transports, every fault engine)
# --runs N          so many times with each configuration
# --all             go on after the first difference
# --name NAME, --seconds S, --input FILE (standard input)
# --prepare WORDS   bash does them before each run, in the run's new directory
# --result WORDS    bash does them after each run, there; they read the output, and what they print is compared
# --tolerance T     numbers in the output may differ by this part of their size, or of 1 if they are smaller
# --strays N        in so many lines they may differ by more
# --record FILE     adds a line for each run: name, configuration, same|different|impossible, ms (tabs between)
# --gaps FILE       the programs that are known not to work, one per line: NAME always|sometimes WORDS
# Such a program is run all the same: a failure is a skip, with the words; if `always` is no longer so, that is a failure.
# Exit status: 0 the same everywhere, 1 not the same, 77 skipped, 64 wrong use.
set -u
ulimit -c 0

all= name= gaps= seconds=20 runs=1 input= prepare= result= tolerance= strays=0 record=
configurations="1:shm 1:tcp 2:shm 2:tcp 4:shm 4:tcp"
every() { for n in 1 2 4; do for t in shm tcp; do for e in uffd-sigbus uffd-thread sigsegv; do echo "$n:$t:$e"; done; done; done; }
while [[ ${1-} == --* ]]; do
  case $1 in
    --all) all=1 && shift && continue ;;
    --name) name=$2 ;;
    --gaps) gaps=$2 ;;
    --seconds) seconds=$2 ;;
    --configurations) [[ $2 == all ]] && configurations=$(every | xargs) || configurations=$2 ;;
    --runs) runs=$2 ;;
    --input) input=$2 ;;
    --prepare) prepare=$2 ;;
    --result) result=$2 ;;
    --tolerance) tolerance=$2 ;;
    --strays) strays=$2 ;;
    --record) record=$2 ;;
    *) echo "unknown flag $1" >&2 && exit 64 ;;
  esac
  shift 2
done
[[ $# -ge 2 ]] || { sed -n '2,20p' "$0" >&2 && exit 64; }
gallocy=$1 program=$2
shift 2
[[ -n $name ]] || name=$(basename "$program")
command -v "$program" >/dev/null || { echo "skipped: $program is not there" && exit 77; }

scratch=$(mktemp -d "${TMPDIR:-/tmp}/gallocy-run-XXXXXX") || exit 1
trap 'rm -rf "$scratch"' EXIT
[[ -n $input ]] || { input=$scratch/input && printf 'a line of input\nand another\n' >"$input"; }

# run LABEL COMMAND...: in a directory of its own; leaves LABEL.out, LABEL.err, LABEL.status.
run() {
  local label=$1 directory=$scratch/$1.dir out=$scratch/$1.out begin
  shift
  mkdir "$directory" && (cd "$directory" && eval "$prepare") || exit 1
  begin=$EPOCHREALTIME
  (cd "$directory" && exec timeout -k 5 "$seconds" "$@") <"$input" >"$out" 2>"$scratch/$label.err"
  echo $? >"$scratch/$label.status"
  took=$(((${EPOCHREALTIME/[.,]/} - ${begin/[.,]/}) / 1000))
  [[ -z $result ]] || { (cd "$directory" && eval "$result") <"$out" >"$out.result" 2>&1; mv "$out.result" "$out"; }
  rm -rf "$directory"
} 2>/dev/null

# Whether two outputs are the same; with a tolerance: word by word.
same() {
  [[ -z $tolerance ]] && { cmp -s "$1" "$2"; return; }
  [[ $(wc -l <"$1") == $(wc -l <"$2") ]] && paste -d '\n' "$1" "$2" | awk -v most="$tolerance" -v strays="$strays" '
    function number(word) { return word ~ /^[-+(]*[0-9.]+([eE][-+]?[0-9]+)?[,)]*$/ }
    function plain(word) { gsub(/[(),]/, "", word); return word + 0 }
    function size(value) { return value < 0 ? -value : value }
    function near(a, b) { return size(a - b) <= most * (size(a) > 1 ? size(a) : 1) }
    NR % 2 { words = split($0, first); next }
    NF != words { exit 1 }
    { stray = 0
      for (i = 1; i <= NF; ++i) {
        if ($i == first[i]) continue
        if (!(number($i) && number(first[i]))) exit 1
        if (!near(plain($i), plain(first[i]))) stray = 1
      }
      if (stray && strays-- == 0) { print "line " NR / 2 " is too different: " $0; exit 1 } }'
}

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

# note CONFIGURATION RESULT
note() { [[ -z $record ]] || printf '%s\t%s\t%s\t%s\n' "$name" "$1" "$2" "$took" >>"$record"; }

run native "$program" "$@"
note native same
native=$(<"$scratch/native.status")
if [[ $native == 77 ]]; then echo "skipped: $(cat "$scratch/native.out")" && exit 77; fi
if [[ $native == 124 || $native == 137 ]] || grep -q ' failed: ' "$scratch/native.out" ||
  [[ -n $result && ! -s $scratch/native.out ]]; then
  echo "natively: $(words_of "$native")"
  show output "$scratch/native.out"
  exit 1
fi

# compare CONFIGURATION: says how a run differs from the native one.
compare() {
  local configuration=$1 nodes transport engine
  IFS=: read -r nodes transport engine <<<"$configuration"
  run "$configuration" "$gallocy" run -n "$nodes" --transport "$transport" ${engine:+--fault-engine "$engine"} -- "${command[@]}"
  status=$(<"$scratch/$configuration.status")
  [[ -n $engine && $status == 69 ]] && { note "$configuration" impossible; return; }  # not on this machine
  local different=
  same "$scratch/native.out" "$scratch/$configuration.out" || different=1
  [[ $status != "$native" || -n $different ]] || { note "$configuration" same; return 0; }
  note "$configuration" different
  echo "$name on $nodes nodes, $transport${engine:+, $engine}: $(words_of "$status"); natively status $native"
  if [[ -n $different ]]; then
    echo "  -- output, native (<) and here (>):"
    diff -a "$scratch/native.out" "$scratch/$configuration.out" | head -20 | cut -c 1-200 | sed 's/^/  | /'
  fi
  show "standard error" "$scratch/$configuration.err"
  return 1
}

failed= total=0
command=("$program" "$@")
for ((i = 0; i < runs; ++i)); do
  for configuration in $configurations; do
    total=$((total + 1))
    compare "$configuration" && continue
    failed+=" $configuration"
    [[ -n $all ]] || break 2
  done
done

if [[ -n $frequency ]]; then
  if [[ -n $failed || $frequency == sometimes ]]; then
    echo "skipped: a known gap: $words"
    exit 77
  fi
  echo "$name is in $gaps (\"$words\"), but it works: take it out of the list"
  exit 1
fi
[[ -n $failed ]] || exit 0
[[ $runs == 1 ]] || echo "$name: $(wc -w <<<"$failed") of $total runs failed:$(tr ' ' '\n' <<<"$failed" | sort | uniq -c | xargs)"
exit 1
