#!/bin/bash
# Every program that is to give the same result as natively, many times in a row: this suite's own, those of the
# distribution with Java's (debian_programs.sh), and those whose sources somebody built (source_programs.sh). Prints a table
# of programs and configurations.
#
#   many_times.sh [--runs N] [--configurations "…"] [--only REGEX] [--splash3 DIR] [--phoenix DIR] [--record FILE] GALLOCY
#   many_times.sh --table FILE
#
# --runs N             rounds through all programs; 20 otherwise
# --configurations     as in run_program.sh; all of them otherwise
# --only REGEX         programs whose whole name it matches (own.NAME, debian.NAME, splash3, phoenix)
# --record FILE        where a line is added for each run; FILE.log gets what the failed ones said. The table is of all lines
#                      in the file, so an interrupted series can be taken up again
# GALLOCY              the built command; the suite's own programs are in tests/run/programs beside it
# Exit status: 0 all the same, 1 not, 64 wrong use.
set -u

here=$(cd "$(dirname "$0")" && pwd)

# Cell: failures/runs; the engines of a transport together, then the failures one by one.
table() {
  awk -F '\t' '
    { split($2, part, ":"); group = $2 == "native" ? "native" : part[1] ":" part[2] }
    $3 == "impossible" { next }
    { names[$1]; ++runs[$1, group]; ++all[group]; took[$1, group] += $4 }
    $3 == "different" { ++bad[$1, group]; ++bad_all[group]; ++failures[$1 " " $2] }
    function cell(failed, total) { return total ? (failed + 0) "/" total : "-" }
    END {
      groups = split("1:shm 1:tcp 2:shm 2:tcp 4:shm 4:tcp", group_list, " ")
      printf "%-34s", "failures/runs, mean ms"
      for (g = 1; g <= groups; ++g) printf "%16s", group_list[g]
      printf "%10s\n", "native"
      sorted = "sort"
      for (name in names) {
        line = sprintf("%-34s", name)
        for (g = 1; g <= groups; ++g) {
          n = runs[name, group_list[g]]
          line = line sprintf("%9s%7s", cell(bad[name, group_list[g]], n), n ? int(took[name, group_list[g]] / n) : "")
        }
        n = runs[name, "native"]
        print line sprintf("%10s", n ? int(took[name, "native"] / n) : "") | sorted
      }
      close(sorted)
      printf "%-34s", "all"
      for (g = 1; g <= groups; ++g) printf "%9s%7s", cell(bad_all[group_list[g]], all[group_list[g]]), ""
      print ""
      for (failure in failures) print "failed: " failure ": " failures[failure]
    }' "$1"
}

runs=20 configurations=all only='.*' splash3= phoenix= record=
while [[ ${1-} == --* ]]; do
  case $1 in
    --runs) runs=$2 ;;
    --configurations) configurations=$2 ;;
    --only) only=$2 ;;
    --splash3) splash3=$2 ;;
    --phoenix) phoenix=$2 ;;
    --record) record=$(realpath "$2") ;;
    --table) table "$2" && exit ;;
    *) echo "unknown flag $1" >&2 && exit 64 ;;
  esac
  shift 2
done
[[ $# == 1 ]] || { sed -n '2,17p' "$0" >&2 && exit 64; }
gallocy=$(realpath "$1")
[[ -n $record ]] || { record=$(mktemp "${TMPDIR:-/tmp}/gallocy-many-times-XXXXXX") && echo "recording in $record"; }

round() {
  local flags=(--all --seconds 150 --configurations "$configurations" --record "$record") program name moves
  local debian=(pigz pbzip2 xz zstd sysbench_cpu sysbench_threads sysbench_mutex sysbench_memory python_threads
    python_numpy python_children python_processes java_serial java_parallel nproc bash)
  for program in "$(dirname "$gallocy")"/tests/run/programs/*; do
    name=own.$(basename "$program")
    [[ $name =~ ^($only)$ ]] || continue
    # The program ends when its threads have been moved.
    [[ $name == own.moving ]] && moves=(env GALLOCY_TEST_MOVES=2000) || moves=()
    "${moves[@]}" "$here/run_program.sh" "${flags[@]}" --name "$name" "$gallocy" "$program"
  done
  for program in "${debian[@]}"; do
    name=debian.$program
    [[ $name =~ ^($only)$ ]] && "$here/debian_programs.sh" "$program" "${flags[@]}" --name "$name" "$gallocy"
  done
  for name in splash3 phoenix; do
    [[ -n ${!name} && $name =~ ^($only)$ ]] && "$here/source_programs.sh" "--$name" "${!name}" "${flags[@]}" "$gallocy"
  done
}

for ((i = 1; i <= runs; ++i)); do
  round >>"$record.log" 2>&1
  echo "round $i of $runs, $(grep -c different "$record") failures"
done
table "$record"
! grep -q different "$record"
