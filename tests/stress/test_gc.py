#!/usr/bin/python3
"""Readers of mounts, and pulls, while their cache is collected again and again, or is far too small.
MOPS_STRESS_SECONDS (10): how long each."""
import pathlib
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
import mopstest  # noqa: E402
from mopstest import MOPS, Failed  # noqa: E402
from readers import SECONDS, bundle, end_readers, start_readers  # noqa: E402

MIB = 1 << 20
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
                pulls += pull.wait() == 0
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
