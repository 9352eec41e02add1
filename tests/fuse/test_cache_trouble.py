#!/usr/bin/python3
"""A mount over a cache that is full, damaged, or cannot be written at all: what is not there
streams through memory, verified as ever."""
import contextlib
import errno
import os
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
import mopstest  # noqa: E402
from mopstest import Failed  # noqa: E402

MIB = 1 << 20


@contextlib.contextmanager
def small_cache(env, size):
    """A cache that is a file system of its own."""
    mopstest.need_root()
    at = env.fresh("cache")
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", str(at)], check=True)
    env.vars["MOPS_CACHE_DIR"] = str(at)
    try:
        yield at
    finally:
        subprocess.run(["umount", "-l", str(at)], check=False)


def fill(at):
    """Not a byte is left."""
    with open(at / "filler", "wb", buffering=0) as f:
        for n in (MIB, 4096, 1):
            with contextlib.suppress(OSError):
                while f.write(b"x" * n):
                    pass
    try:
        (at / "more").write_bytes(b"x" * 8192)
    except OSError as e:
        if e.errno == errno.ENOSPC:
            return
        raise
    raise Failed("the cache does not get full")


def bundle(env):
    """Two big files, and small ones that share a pack."""
    top = env.fresh("ws")
    mopstest.write_random(top / "a.bin", 3 * MIB + 5, 1)
    mopstest.write_random(top / "b.bin", 5 * MIB, 2)
    for i in range(40):
        mopstest.write_random(top / f"small/{i}.txt", 30000 + i, 10 + i)
    env.push(top, "demo:1")
    return top


def compare(at, top):
    mopstest.same(mopstest.snapshot(at), mopstest.snapshot(top), "the mount and the folder")


def a_full_cache(env):
    top = bundle(env)
    with small_cache(env, "12m") as cache:
        env.mops("verify", "--cache", "-q")
        fill(cache)
        for io in ("cached", "passthrough"):
            with env.mount("demo:1", "-o", f"io={io}") as at:
                compare(at, top)
                compare(at, top)


def a_full_cache_that_has_room_again(env):
    """The same mount keeps what it reads from then on."""
    top = bundle(env)
    with small_cache(env, "20m") as cache:
        env.mops("verify", "--cache", "-q")
        fill(cache)
        with env.mount("demo:1") as at:
            if mopstest.sha256_file(at / "a.bin") != mopstest.sha256_file(top / "a.bin"):
                raise Failed("other bytes")
            for name in ("filler", "more"):
                (cache / name).unlink()
            blob = mopstest.sha256_file(at / "b.bin")
            mopstest.wait_for("b.bin to be kept", (cache / "blobs/sha256" / blob[:2] / blob).exists)


def a_cache_that_gets_full(env):
    top = bundle(env)
    with small_cache(env, "3m"):
        with env.mount("demo:1") as at:
            compare(at, top)
        with env.mount("demo:1") as at:
            compare(at, top)


def a_cache_that_is_read_only(env):
    top = bundle(env)
    with small_cache(env, "64m") as cache:
        with env.mount("demo:1") as at:
            (at / "a.bin").read_bytes()
        subprocess.run(["mount", "-o", "remount,ro", str(cache)], check=True)
        with env.mount("demo:1") as at:
            compare(at, top)


def a_read_only_cache_without_the_bundle(env):
    top = bundle(env)
    with small_cache(env, "64m") as cache:
        env.mops("verify", "--cache", "-q")
        for name in os.listdir(cache / "locks"):
            os.unlink(cache / "locks" / name)
        subprocess.run(["mount", "-o", "remount,ro", str(cache)], check=True)
        with env.mount("demo:1") as at:
            compare(at, top)


def offline_with_a_full_cache(env):
    top = bundle(env)
    with small_cache(env, "64m") as cache:
        env.mops("pull", "demo:1", "-q")
        fill(cache)
        with env.mount("demo:1", "--offline") as at:
            compare(at, top)
        subprocess.run(["mount", "-o", "remount,ro", str(cache)], check=True)
        with env.mount("demo:1", "--offline") as at:
            compare(at, top)


def a_tree_that_is_cut_off_under_a_mount(env):
    top = bundle(env)
    with env.mount("demo:1") as at:
        trees = [p for p in (env.cache() / "blobs").glob("sha256/*/*") if p.read_bytes()[:8] == b"MOPSTREE"]
        if not trees:
            raise Failed("no tree in the cache")
        for path in trees:
            path.chmod(0o600)
            os.truncate(path, 0)
        compare(at, top)
    with env.mount("demo:1") as at:
        compare(at, top)


mopstest.run([a_tree_that_is_cut_off_under_a_mount, a_full_cache, a_full_cache_that_has_room_again,
              a_cache_that_gets_full, a_cache_that_is_read_only,
              a_read_only_cache_without_the_bundle, offline_with_a_full_cache])
