"""Processes that read a mount again and again, and know what it has to say."""
import os
import subprocess
import sys

import mopstest
from mopstest import Failed

SECONDS = float(os.environ.get("MOPS_STRESS_SECONDS", "10"))
# argv: the folder, seconds, seed; on stdin "digest path" of each file. Says how many it read.
READER = """
import hashlib, os, random, sys, time
top, end, rng, n = sys.argv[1], time.monotonic() + float(sys.argv[2]), random.Random(sys.argv[3]), 0
want = [line.split(" ", 1) for line in sys.stdin.read().splitlines()]
while n == 0 or time.monotonic() < end:
    digest, path = rng.choice(want)
    with open(os.path.join(top, path), "rb") as f:
        if hashlib.sha256(f.read()).hexdigest() != digest:
            sys.exit("wrong bytes in " + path)
        os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)  # to be asked for again
    n += 1
print(n)
"""


def bundle(env, count, size):
    top = env.fresh("ws")
    for i in range(count):
        mopstest.write_random(top / f"big{i}.bin", size, i)
    for i in range(30):
        mopstest.write_random(top / f"small/{i}.bin", 20000 + i, 1000 + i)
    env.push(top, "demo:1")
    return "".join(f"{digest} {path}\n" for path, (kind, _, digest) in mopstest.snapshot(top).items() if kind == "file")


def start_readers(env, places, n, want):
    procs = []
    for i in range(n):
        p = subprocess.Popen([sys.executable, "-c", READER, str(places[i % len(places)]), str(SECONDS), str(i)],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        p.stdin.write(want.encode())
        p.stdin.close()
        p.stdin = None
        procs.append(p)
    return procs


def end_readers(procs):
    """How many files they read, all right."""
    total = 0
    try:
        for p in procs:
            out, err = p.communicate(timeout=SECONDS + 240)
            if p.returncode != 0:
                raise Failed(f"a reader: {err.decode()[-500:]}")
            total += int(out)
    finally:
        for p in procs:
            if p.poll() is None:
                p.kill()
                p.wait()
    return total
