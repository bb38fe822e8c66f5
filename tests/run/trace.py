"""`gallocy run --trace`: the file parses, has all threads of all nodes, and shows what they did.

trace.py GALLOCY LOOK_INSIDE CRASH_IN_THREAD
"""
import json
import os
import re
import signal
import subprocess
import sys
import tempfile

gallocy, program, crashes = sys.argv[1:]
NODES = 3
folder = tempfile.TemporaryDirectory(prefix="gallocy-run-")
trace_file = os.path.join(folder.name, "trace.json")


def run(program, *flags, status=0):
    command = [gallocy, "run", "-n", str(NODES), "--trace", "trace.json", *flags, "--", program]
    done = subprocess.run(command, cwd=folder.name, capture_output=True, text=True, timeout=50)
    assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
    with open(trace_file) as file:
        return json.load(file)["traceEvents"], done.stderr


def tracks_of(events):
    """The slices by (node, thread)."""
    tracks = {}
    for e in events:
        if e["ph"] == "X":
            tracks.setdefault((e["pid"], e["tid"]), []).append(e)
    return tracks


def ns(microseconds):
    return round(microseconds * 1000)


def check_nesting(track):
    """Of two slices of a thread that overlap one holds the other."""
    open_ends = []
    for e in sorted(track, key=lambda e: (ns(e["ts"]), -ns(e["dur"]))):
        begin, end = ns(e["ts"]), ns(e["ts"]) + ns(e["dur"])
        while open_ends and open_ends[-1] <= begin:
            open_ends.pop()
        assert not open_ends or end <= open_ends[-1], e
        open_ends.append(end)


events, report = run(program, "--stat")
tracks = tracks_of(events)
# As many threads on each node as the report says: 8 and the first.
threads = {int(node): int(count) for node, count in re.findall(r"^gallocy: +(\d+) +(\d+) ", report, re.M)}
assert threads.keys() == set(range(NODES)) and sum(threads.values()) == 9, report
for node, count in threads.items():
    assert sum(key[0] == node for key in tracks) == count, (node, count, tracks.keys())
for (node, tid), track in tracks.items():
    lives = [e for e in track if e["name"] == "thread"]
    assert len(lives) == 1 and lives[0]["args"]["id"] == tid, lives
    check_nesting(track)
    names = {e["name"] for e in track}
    is_first = node == 0 and {"fork", "clone"} & names
    wanted = {"wait4", "clone3"} if is_first else {"pipe2", "write", "close", "tgkill"}
    assert wanted <= names, (node, tid, names)
    signals = [e for e in events if e["ph"] == "i" and (e["pid"], e["tid"]) == (node, tid)]
    assert [e["name"] for e in signals] == ([] if is_first else ["SIGUSR1"]), signals
    life = lives[0]
    for e in signals:
        assert ns(life["ts"]) <= ns(e["ts"]) <= ns(life["ts"]) + ns(life["dur"]), e
everything = [e for track in tracks.values() for e in track]
assert any(e["name"] == "futex wait" and e["args"]["at"].startswith("never") for e in everything)
assert any(e["name"] == "write fault" and e["args"]["at"].startswith("pages+") for e in everything)
# Each thread that was made has an arrow from its maker, and began after its maker's call.
arrows = {}
for e in events:
    if e["ph"] in "sf":
        arrows.setdefault(e["id"], {})[e["ph"]] = e
assert len(arrows) == 8, arrows
for ends in arrows.values():
    assert ns(ends["s"]["ts"]) <= ns(ends["f"]["ts"]), ends
names = {e["pid"]: e["args"]["name"] for e in events if e["name"] == "process_name"}
assert names == {n: f"node {n}" for n in range(NODES)}, names

# A crash leaves a trace too, and so does a program that is ended from outside.
events, _ = run(crashes, status=-signal.SIGSEGV)
assert {e["pid"] for e in events} == {0, 1}, events
script = os.path.join(folder.name, "ends_itself")
with open(script, "w") as file:
    file.write("#!/bin/sh\nkill -INT $$\nsleep 60\n")
os.chmod(script, 0o755)
events, _ = run(script, status=-signal.SIGINT)
assert any(e["name"] == "SIGINT" for e in events), events
