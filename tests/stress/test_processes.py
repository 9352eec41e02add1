#!/usr/bin/python3
"""32 processes take the same cold bundle at once through one cache, some by
materialize, some by pull, some by reading a mount: all get it right, and no byte of a
blob is asked of the registry twice. Then where every lock is granted to everyone
(tests/tools/faultfs.c), which costs downloads and nothing else. PROCESSES (32) and LIARS
(8) set the numbers."""
import collections
import os
import pathlib
import random
import shutil
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from faulty import faulty  # noqa: E402
from mopstest import DockerRegistry, Failed, MOPS, need_fuse, need_root, run, same, snapshot, sound_cache, \
    write_random  # noqa: E402

PROCESSES = int(os.environ.get("PROCESSES", "32"))
LIARS = int(os.environ.get("LIARS", "8"))
PATIENCE = max(300, 10 * max(PROCESSES, LIARS))  # of one process, in seconds
MIB = 1 << 20


def make_tree(env):
    src = env.fresh("src")
    for i in range(2000):
        write_random(src / f"d{i % 20}/f{i:04}", 50 + 17 * i, i)
    for i, size in enumerate((1, 3, 8, 40)):
        write_random(src / f"big/{i}.bin", size * MIB + i, 10000 + i)
    return src


def downloaded(reg):
    """digest → bytes sent of it."""
    out = collections.Counter()
    for method, path, status, size in reg.requests():
        if method == "GET" and "/blobs/" in path and status in (200, 206):
            out[path.rsplit("/", 1)[1]] += size
    return out


def all_at_once(env, ref, want, kinds):
    """Start one process a kind, wait for all, compare what each has. The seconds until all
    were through."""
    start = time.monotonic()
    procs, mounts, failures = [], [], []
    for kind in kinds:
        dest = env.fresh(kind)
        argv = {"materialize": [MOPS, "materialize", "-q", ref, dest], "pull": [MOPS, "pull", "-q", ref]}
        if kind == "mount":
            mounts.append(dest)
        else:
            with open(f"{dest}.err", "wb") as said:
                procs.append((kind, dest, env.start(*argv[kind], stderr=said)))

    def read(at):
        try:
            env.mopsfs("mount", ref, at, timeout=PATIENCE)
            env.mounts.append(at)
            same(want, snapshot(at), "a mount and the source")
        except Exception as e:  # noqa: B902 - told by the main thread
            failures.append(e)

    readers = [threading.Thread(target=read, args=(at,)) for at in mounts]
    for t in readers:
        t.start()
    for kind, dest, p in procs:
        if p.wait(PATIENCE):
            said = pathlib.Path(f"{dest}.err").read_text()
            failures.append(Failed(f"{kind}: exit {p.returncode} after {time.monotonic() - start:.0f} s: {said}"))
    for t in readers:
        t.join()
    took = time.monotonic() - start
    for at in mounts:
        env.umount(at)
    if failures:
        raise failures[0]
    for kind, dest, _ in procs:
        if kind == "materialize":
            same(want, snapshot(dest), "a materialized folder and the source")
        shutil.rmtree(dest)
    return took


def registry(env):
    """Its address of a bundle, it, and what is in the bundle."""
    need_root()
    need_fuse()
    src = make_tree(env)
    reg = DockerRegistry(env)
    ref = f"{reg.host}/team/many@1"
    env.push(src, ref)
    return ref, reg, snapshot(src)


KINDS = ["materialize", "mount", "materialize", "mount", "pull"]


def shuffled(kinds, n):
    order = [kinds[i % len(kinds)] for i in range(n)]
    random.Random(1).shuffle(order)
    return order


def one_cold_cache(env):
    ref, reg, want = registry(env)
    for only in (["materialize"], ["mount"], KINDS):
        env.new_cache()
        reg.forget()
        took = all_at_once(env, ref, want, shuffled(only, PROCESSES))
        twice = 0
        for digest, sent in downloaded(reg).items():
            size = reg.blob_path(digest.split(":")[1]).stat().st_size
            if sent > size:
                raise Failed(f"{' and '.join(only)}: {sent} bytes were sent of {digest}, which has {size}")
            twice += sent
        print(f"# {PROCESSES} processes ({', '.join(only)}): {twice / MIB:.1f} MiB in "
              f"{sum(1 for r in reg.requests() if r[0] == 'GET')} GET, {took:.0f} s", flush=True)
        env.mops("verify", "--cache")


def one_cold_cache_whose_locks_lie(env):
    ref, reg, want = registry(env)
    backing = env.fresh("backing")
    reg.forget()
    lies = []
    with faulty(env, backing, "locks:1:0", lies) as at:
        env.vars["MOPS_CACHE_DIR"] = str(at)
        took = all_at_once(env, ref, want, shuffled(KINDS, LIARS))
        env.mops("verify", "--cache")
    sent = sum(downloaded(reg).values())
    print(f"# {LIARS} processes over locks that lie, {lies[0]} times: {sent / MIB:.1f} MiB, {took:.0f} s", flush=True)
    if lies[0] < LIARS:  # each finds it out for itself
        raise Failed(f"{lies[0]} locks were granted that somebody else had")
    sound_cache(backing)


run([one_cold_cache, one_cold_cache_whose_locks_lie])
