#!/usr/bin/python3
"""32 processes take the same cold bundle at once through one cache, some by
materialize, some by pull, some by reading a mount: all get it right, and no byte of a
blob is asked of the registry twice. PROCESSES sets the number."""
import collections
import os
import pathlib
import random
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from mopstest import DockerRegistry, Failed, MOPS, need_fuse, need_root, run, same, snapshot, write_random  # noqa: E402

PROCESSES = int(os.environ.get("PROCESSES", "32"))
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
    """Start one process a kind, wait for all, compare what each has."""
    procs, mounts, failures = [], [], []
    for kind in kinds:
        dest = env.fresh(kind)
        argv = {"materialize": [MOPS, "materialize", "-q", ref, dest], "pull": [MOPS, "pull", "-q", ref]}
        if kind == "mount":
            mounts.append(dest)
        else:
            procs.append((kind, dest, env.start(*argv[kind])))

    def read(at):
        try:
            env.mopsfs("mount", ref, at, timeout=120)
            env.mounts.append(at)
            same(want, snapshot(at), "a mount and the source")
        except Exception as e:  # noqa: B902 - told by the main thread
            failures.append(e)

    readers = [threading.Thread(target=read, args=(at,)) for at in mounts]
    for t in readers:
        t.start()
    for kind, dest, p in procs:
        if p.wait(300):
            failures.append(Failed(f"{kind}: exit {p.returncode}"))
        elif kind == "materialize":
            same(want, snapshot(dest), "a materialized folder and the source")
    for t in readers:
        t.join()
    for at in mounts:
        env.umount(at)
    if failures:
        raise failures[0]


def one_cold_cache(env):
    need_root()
    need_fuse()
    src = make_tree(env)
    want = snapshot(src)
    reg = DockerRegistry(env)
    ref = f"{reg.host}/team/many@1"
    env.push(src, ref)
    kinds = ["materialize", "mount", "materialize", "mount", "pull"]
    rng = random.Random(1)
    for only in (["materialize"], ["mount"], kinds):
        env.new_cache()
        reg.forget()
        order = [only[i % len(only)] for i in range(PROCESSES)]
        rng.shuffle(order)
        all_at_once(env, ref, want, order)
        twice = 0
        for digest, sent in downloaded(reg).items():
            size = reg.blob_path(digest.split(":")[1]).stat().st_size
            if sent > size:
                raise Failed(f"{' and '.join(only)}: {sent} bytes were sent of {digest}, which has {size}")
            twice += sent
        print(f"# {len(order)} processes ({', '.join(only)}): {twice / MIB:.1f} MiB in "
              f"{sum(1 for r in reg.requests() if r[0] == 'GET')} GET")
        env.mops("verify", "--cache")


run([one_cold_cache])
