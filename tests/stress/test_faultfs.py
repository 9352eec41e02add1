#!/usr/bin/python3
"""The cache on a file system that fails (tests/tools/faultfs.c): torn writes, bits that
are read wrong, a full disk, EIO, ESTALE, links that are made and said to exist, data that
an fsync lost, and locks that are granted to everyone. Four commands at a time work on
one cache: each ends with a documented exit code, nothing they leave under a final name
is wrong, and once the file system behaves they succeed.

FAULTFS_ROUNDS is how often for each kind (4), SEED the sequence."""
import os
import pathlib
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from faulty import faulty  # noqa: E402
from mopstest import (MOPS, Failed, need_fuse, need_root, run, same, snapshot, sound_cache,  # noqa: E402
                      write_random)

ROUNDS = int(os.environ.get("FAULTFS_ROUNDS", "4"))
SEED = int(os.environ.get("SEED", "1"))
MIB = 1 << 20
# One in so many calls of its kind goes wrong.
KINDS = {"torn": 8, "full": 8, "wrong": 6, "short": 10, "stale": 40, "exists": 2, "unsynced": 3}


def right(want, dest):
    for key, value in (snapshot(dest) if dest.exists() else {}).items():
        if want.get(key) != value and ".mops" not in key:
            raise Failed(f"{key} stands there wrong: {value}")


def four(env, src, ref, at):
    """At once, on one cache. (what, exit status) of each."""
    vars_ = {"MOPS_CACHE_DIR": str(at)}
    layout = at.parent / f"{at.name}-layout"
    dests = [at.parent / f"{at.name}-dest{i}" for i in range(2)]
    work = [("materialize", ref, d) for d in dests] + [("pull", ref), ("push", src, "--to", f"oci:{layout}:x:1")]
    procs = [(argv[0], env.start(MOPS, *argv, "-q", env=vars_, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE))
             for argv in work]
    out = []
    for what, p in procs:
        _, said = p.communicate(timeout=200)
        out.append(p.returncode)
        # Two bytes say the version: one of them read wrong is another version.
        if p.returncode not in (0, 2, 3) and not (p.returncode == 10 and b"another version" in said):
            raise Failed(f"{what}: exit {p.returncode}: {said.decode(errors='replace')[-1000:]}")
    return out, dests


def a_cache_that_fails(env):
    need_root()
    need_fuse()
    src = env.fresh("src")
    for i in range(30):
        write_random(src / f"d{i % 3}/f{i}", 20 + 1531 * i, i)
    write_random(src / "big/weights.bin", 5 * MIB + 77, 100)
    ref = f"oci:{env.base}/layout:x:1"
    env.push(src, ref)
    want = snapshot(src)
    for kind, every in KINDS.items():
        codes, faults = [], []
        for i in range(ROUNDS):
            backing = env.fresh("backing")
            with faulty(env, backing, f"{kind}:{every}:{1000003 * (SEED * ROUNDS + i)}", faults) as at:
                got, dests = four(env, src, ref, at)
            codes += got
            for dest, code in zip(dests, got):
                right(want, dest)
                if code == 0:
                    same(want, snapshot(dest), f"a folder that was materialized over '{kind}' and the source")
            sound_cache(backing, kinds=("content", "bit", "mode", "foreign"))
            env.mops("materialize", "-q", ref, dests[0], "--overwrite", env={"MOPS_CACHE_DIR": str(backing)})
            same(want, snapshot(dests[0]), "what was materialized again and the source")
            sound_cache(backing, kinds=("content", "bit", "mode", "foreign"))
            shutil.rmtree(backing)
        if not sum(faults):
            raise Failed(f"no fault of kind '{kind}' was seen")
        print(f"# {kind}: {sum(faults)} faults, " + ", ".join(f"{codes.count(c)} times exit {c}" for c in sorted(set(codes))), flush=True)


run([a_cache_that_fails])
