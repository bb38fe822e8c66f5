#!/bin/bash
# Programs of the distribution on small inputs: run_program.sh with the program itself under `gallocy run`, and outputs
# that depend on neither time nor nodes.
#
#   debian_programs.sh NAME FLAGS-OF-run_program.sh... GALLOCY
set -eu

name=$1 gallocy=${!#}
flags=("${@:2:$#-2}")
run() { "$(dirname "$0")/run_program.sh" "${flags[@]}" "$gallocy" "$@"; }

input=${TMPDIR:-/tmp}/gallocy-run-text
[[ -s $input ]] || { seq 1 60000 >"$input.$$" && mv "$input.$$" "$input"; }
python=$(command -v /usr/bin/python3 || echo python3)

case $name in
  pigz) run pigz -p 4 -b 128 -n -c "$input" ;;
  pbzip2) run pbzip2 -p4 -b1 -c "$input" ;;
  xz) run xz -T4 --block-size=100000 -c "$input" ;;
  zstd) run zstd -q -T4 -B131072 -c "$input" ;;
  nproc) run nproc --ignore=1000 ;;
  bash) run bash -c 'seq 1 1000 | sort -rn | head -3 | tr "\n" " "; x=$(printf "%s\n" b a c | sort | paste -sd,); echo $x; exit 5' ;;
  sysbench_cpu) run sysbench cpu --threads=4 --events=200 --time=0 --verbosity=0 run ;;
  python_threads)
    run "$python" -c '
import threading, queue, concurrent.futures as f, hashlib
q, out = queue.Queue(), []
def work():
    while (n := q.get()) is not None: out.append(n * n)
threads = [threading.Thread(target=work) for _ in range(4)]
for t in threads: t.start()
for n in range(100): q.put(n)
for t in threads: q.put(None)
for t in threads: t.join()
print(sum(out), len(out))
with f.ThreadPoolExecutor(4) as pool: print(sum(len(h) for h in pool.map(lambda n: hashlib.sha256(bytes(n * 1000)).hexdigest(), range(40))))
' ;;
  java_serial | java_parallel)
    command -v javac >/dev/null || { echo "skipped: there is no javac" && exit 77; }
    classes=$(mktemp -d "${TMPDIR:-/tmp}/gallocy-run-java-XXXXXX")
    trap 'rm -rf "$classes"' EXIT
    javac -d "$classes" "$(dirname "$0")/programs/JavaLoad.java"
    collector=${name#java_}
    flags+=(--seconds 60)
    run java "-XX:+Use${collector^}GC" -Xmn2m -Xmx12m -cp "$classes" JavaLoad 4 300
    ;;
  python_numpy)
    "$python" -c 'import numpy' 2>/dev/null || { echo "skipped: there is no numpy" && exit 77; }
    run "$python" -c '
import concurrent.futures as f, numpy
def work(n):
    a = numpy.arange(40000, dtype=numpy.float64).reshape(200, 200) % (n + 3)
    return int((a @ a.T).sum()), int(numpy.sort(a.ravel()[::-1])[100])
with f.ThreadPoolExecutor(4) as pool: print(list(pool.map(work, range(12))))
'
    ;;
  python_children)
    run "$python" -c '
import concurrent.futures as f, subprocess, os
def work(n): return subprocess.run(["sh", "-c", f"echo {n}; exit {n}"], capture_output=True)
with f.ThreadPoolExecutor(4) as pool:
    for done in pool.map(work, range(12)): print(done.stdout, done.returncode)
child = os.fork()
if child == 0: os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), os.popen("echo a | tr a b").read())
'
    ;;
  python_processes)
    run "$python" -c '
import concurrent.futures, multiprocessing as m, threading
from multiprocessing import shared_memory
def square(n): return n * n
def add(value, lock):
    for _ in range(50):
        with lock: value.value += 1
def feed(queue):
    for n in range(30): queue.put(n)
def use(name):
    memory = shared_memory.SharedMemory(name=name)
    memory.buf[1] = memory.buf[0] + 1
    memory.close()
def all(workers):
    for w in workers: w.start()
    for w in workers: w.join()
    return [w.exitcode for w in workers if hasattr(w, "exitcode")]
def both(body, arguments=()):  # in processes and threads at once
    return all([kind(target=body, args=arguments) for kind in (m.Process, threading.Thread) for _ in range(2)])
m.set_start_method("fork")
value = m.Value("i", 0, lock=False)
print(both(add, (value, m.Lock())), value.value)
with m.Pool(2) as pool: print(sum(pool.map(square, range(50))))
queue, got = m.Queue(), []
print(all([m.Process(target=feed, args=(queue,))] +
          [threading.Thread(target=lambda: got.extend(queue.get() for _ in range(10))) for _ in range(3)]), sorted(got))
memory, seen = shared_memory.SharedMemory(create=True, size=4096), []
memory.buf[0] = 41
print(all([m.Process(target=use, args=(memory.name,))]))
all([threading.Thread(target=lambda: seen.append(memory.buf[1]))])
print(seen)
memory.close()
memory.unlink()
barrier, turns = m.Barrier(4), m.Value("i", 0)
def meet():
    barrier.wait()
    with turns.get_lock(): turns.value += 1
    barrier.wait()
print(both(meet), turns.value)
with concurrent.futures.ProcessPoolExecutor(2) as pool: print(list(pool.map(square, range(5))))
'
    ;;
  sysbench_threads) run sysbench threads --threads=4 --events=100 --time=0 --verbosity=0 run ;;
  sysbench_mutex) run sysbench mutex --threads=4 --mutex-num=64 --mutex-locks=500 --mutex-loops=10 --verbosity=0 run ;;
  sysbench_memory) run sysbench memory --threads=4 --memory-block-size=64K --memory-total-size=16M --verbosity=0 run ;;
  *) echo "unknown program $name" >&2 && exit 64 ;;
esac
