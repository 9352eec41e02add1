#!/usr/bin/python3
"""Readers of mounts, and pulls, while their cache is collected again and again, or is far too small.
MOPS_STRESS_SECONDS (20): how long each."""
import os
import pathlib
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
import mopstest  # noqa: E402
from mopstest import MOPS, Failed  # noqa: E402

MIB = 1 << 20
SECONDS = float(os.environ.get("MOPS_STRESS_SECONDS", "20"))
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


def collections_beside_readers_and_pulls(env):
    mopstest.need_root()
    want = bundle(env, 6, 3 * MIB)
    with env.mount("demo:1", "-o", "io=cached") as a, env.mount("demo:1", "-o", "io=passthrough") as b:
        readers = start_readers(env, [a, b], 16, want)
        end, rounds, pulls = time.monotonic() + SECONDS, 0, 0
        pull = None
        try:
            while time.monotonic() < end:
                env.mops("cache", "gc", "--max-size", "0", "-q")
                rounds += 1
                if pull and pull.poll() is not None:
                    if pull.returncode:
                        raise Failed(f"a pull: exit {pull.returncode}")
                    pulls, pull = pulls + 1, None
                pull = pull or env.start(MOPS, "pull", "demo:1", "-q")
        finally:
            if pull:
                pull.wait()
            read = end_readers(readers)
    print(f"# {read} files read right beside {rounds} collections and {pulls} pulls", flush=True)
    if not rounds or not pulls:
        raise Failed("nothing happened")
    if env.mops("verify", "--cache", "-q", code=None).returncode:
        raise Failed("the cache is damaged")


def a_disk_far_too_small_for_twenty_readers(env):
    mopstest.need_root()
    want = bundle(env, 40, 5 * MIB)
    cache = env.fresh("cache")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m,mode=0700", "tmpfs", str(cache)], check=True)
    env.vars["MOPS_CACHE_DIR"] = str(cache)
    try:
        for limit in ({}, {"MOPS_CACHE_MIN_FREE": "4MiB"}):
            with env.mount("demo:1", "-o", "io=cached", env=limit) as at:
                read = end_readers(start_readers(env, [at], 20, want))
            print(f"# {read} files read right, {limit or 'without a limit'}", flush=True)
    finally:
        subprocess.run(["umount", "-l", str(cache)], check=False)


mopstest.run([collections_beside_readers_and_pulls, a_disk_far_too_small_for_twenty_readers])
