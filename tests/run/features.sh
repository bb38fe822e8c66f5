#!/bin/bash
# Nodes whose processors differ: the program is shown what all have, and told of in one line.
#
#   features.sh GALLOCY FEATURES-PROGRAM
set -u
gallocy=$1 program=$2 failed=
loader=/lib64/ld-linux-x86-64.so.2
has() { grep -m1 '^flags' /proc/cpuinfo | grep -qw "$1"; }
for feature in avx2 bmi2; do has $feature || { echo "skipped: this processor has no $feature" && exit 77; }; done

scratch=$(mktemp) && trap 'rm -f "$scratch"' EXIT

complain() { echo "$*" && failed=1; }
# run LACKS COMMAND...: leaves `said` and `complaint`.
run() {
  local lacks=$1
  shift
  said=$(GALLOCY_TEST_CPU_LACKS=$lacks timeout -k 5 30 "$gallocy" run -n 3 -- "$@" </dev/null 2>"$scratch")
  complaint=$(<"$scratch")
}

run "" "$program"
[[ $said == ok && -z $complaint ]] || complain "same processors: $said $complaint"

if has cpuid_fault; then
  run 2:avx2,bmi2 "$program" avx2 bmi2
  [[ $said == ok ]] || complain "node 2 lacks some: $said"
  [[ $complaint == "gallocy: hidden from the program, as node 2 lacks: avx2, bmi2" ]] || complain "line: $complaint"
  # What the home lacks it would not have shown natively either: no line.
  run 0:avx2 "$program" avx2
  [[ $said == ok && -z $complaint ]] || complain "the home lacks some: $said $complaint"
fi

# Without CPUID that traps the C library is told.
run "0:cpuid_fault 2:avx2,bmi2" env
[[ $complaint == *"node 2 lacks: avx2, bmi2"* && $complaint == *"sees it all the same" ]] || complain "line: $complaint"
grep -q '^GLIBC_TUNABLES=glibc.cpu.hwcaps=-AVX2,.*,-BMI2,' <<<"$said" || complain "environment: $said"
if [[ -x $loader ]] && "$loader" --list-diagnostics 2>/dev/null | grep -q '^dl_hwcaps_subdirs_active=0x[67]'; then
  for lacks in 1:avx2 "0:cpuid_fault 1:avx2"; do
    run "$lacks" "$loader" --list-diagnostics
    # Of x86-64-v4, -v3 and -v2 only the last is left.
    grep -q '^dl_hwcaps_subdirs_active=0x[04]$' <<<"$said" || complain "the loader with $lacks: $(grep ^dl_hwcaps <<<"$said")"
  done
fi
[[ -z $failed ]]
