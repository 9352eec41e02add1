#!/usr/bin/python3
"""mops cache: what it shows, what it removes, and what it leaves to those that
are at work."""
import json
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
import mopstest  # noqa: E402
from mopstest import MOPS, Failed, fault_registry, wait_for  # noqa: E402

MIB = 1 << 20


def bundle(env, tag="1", seed=0):
    """Three files with blobs of their own and a small one; returns the folder."""
    top = env.fresh("ws")
    for i in range(3):
        mopstest.write_random(top / f"big{i}.bin", 3 * MIB, seed + i)
    mopstest.write_random(top / "small.bin", 1000, seed + 9)
    env.push(top, f"demo:{tag}")
    return top


def gc(env, *args, **kw):
    return env.mops_json("cache", "gc", *args, **kw)


def network(env, *args):
    """Bytes that a pull still has to fetch."""
    return env.mops_json("pull", *args)["bytes_network"]


def files(top):
    return {k: v for k, v in mopstest.snapshot(top).items() if not k.startswith(".mops")}


def check(what, got, want):
    if got != want:
        raise Failed(f"{what}: {got}, not {want}")


def lists_what_is_cached(env):
    check("an empty cache", env.mops_json("cache", "ls"), {"bundles": []})
    bundle(env, "1")
    digest = env.mops_json("pull", "demo:1")["digest"]
    env.mops("pull", "demo@" + digest, "--pin")
    (listed,) = env.mops_json("cache", "ls")["bundles"]
    check("digest", listed["digest"], digest)
    check("pinned", listed["pinned"], True)
    check("names", [n.rpartition(":demo:")[2] for n in listed["references"]], ["1"])
    line = env.mops("cache", "ls").stdout.decode()
    if digest not in line or " pinned " not in line or ":demo:1" not in line:
        raise Failed(line)
    du = env.mops_json("cache", "du")
    check("path", du["path"], str(env.cache()))
    if not 9 * MIB < du["blob_bytes"] < 10 * MIB or du["partials"] or not du["free_bytes"]:
        raise Failed(str(du))


def removes_what_was_used_longest_ago(env):
    bundle(env, "1")
    bundle(env, "2", seed=100)
    env.mops("pull", "demo:1")
    env.mops("pull", "demo:2")
    before = env.mops_json("cache", "du")["blob_bytes"]
    dry = gc(env, "--max-size", "10MiB", "--dry-run")
    check("after a dry run", env.mops_json("cache", "du")["blob_bytes"], before)
    done = gc(env, "--max-size", "10MiB")
    check("the dry run's word", dry, done)
    if not 0 < done["bytes_after"] <= 10 * MIB < done["bytes_before"]:
        raise Failed(str(done))
    check("without a limit", gc(env)["blobs"], 0)
    check("network, used last", network(env, "demo:2"), 0)
    if not network(env, "demo:1"):
        raise Failed("demo:1 is all there")


def leaves_what_is_pinned(env):
    bundle(env)
    digest = env.mops_json("pull", "demo:1", "--pin")["digest"]
    check("pinned", gc(env, "--max-size", "0")["blobs"], 0)
    check("network", network(env, "demo:1"), 0)
    check("unpin", env.mops_json("cache", "unpin", digest), {"digest": digest, "pinned": False})
    check("bytes left", gc(env, "--max-size", "0")["bytes_after"], 0)
    check("bundles left", env.mops_json("cache", "ls"), {"bundles": []})
    env.mops("cache", "pin", digest, code=1)


def leaves_what_a_command_is_at(env):
    bundle(env)
    server = fault_registry(env)
    ref = (f"{server.host}/demo:1", "--plain-http")
    env.mops("pull", *ref, "--path", "big0.bin")
    server.arm("stall")
    pull = env.start(MOPS, "pull", *ref, "--json", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        wait_for("a request that stalls", server.wait_met)
        removed = gc(env, "--max-size", "0")
        check("removed beside a pull", (removed["blobs"], removed["partials"]), (0, 0))
        server.arm(None)
        out, err = pull.communicate(timeout=60)
    finally:
        if pull.poll() is None:
            pull.kill()
            pull.wait()
    check(err.decode(), pull.returncode, 0)
    if json.loads(out)["bytes_network"] > 7 * MIB:
        raise Failed(f"big0.bin came again: {out}")
    check("network", network(env, *ref), 0)
    if not gc(env, "--max-size", "0")["blobs"]:
        raise Failed("the lease outlived the pull")


def leaves_an_offline_mount_whole(env):
    mopstest.need_root()
    top = bundle(env)
    env.mops("pull", "demo:1")
    with env.mount("demo:1", "--offline") as at:
        check("removed under it", gc(env, "--max-size", "0")["blobs"], 0)
        mopstest.same(mopstest.snapshot(at), files(top))
        check("network", json.loads(env.mopsfs("status", at, "--json").stdout)["fetch"]["bytes_network"], 0)
    if not gc(env, "--max-size", "0")["blobs"]:
        raise Failed("the lease outlived the mount")


def an_online_mount_fetches_again(env):
    mopstest.need_root()
    top = bundle(env)
    want = files(top)
    env.mops("pull", "demo:1")
    with env.mount("demo:1", "-o", "io=cached") as at, open(at / "big0.bin", "rb") as f:
        f.read(10)
        if gc(env, "--max-size", "0")["blobs"] < 3:
            raise Failed("nothing was removed")
        f.seek(2 * MIB)
        check("an open file", f.read(100), (top / "big0.bin").read_bytes()[2 * MIB:2 * MIB + 100])
        mopstest.same(mopstest.snapshot(at), want)
    with env.mount("demo:1") as at:
        mopstest.same(mopstest.snapshot(at), want, "the next mount")


def used(env):
    du = env.mops_json("cache", "du")
    return du["blob_bytes"] + du["partial_bytes"]


def commands_keep_the_limit(env):
    bundle(env, "1")
    bundle(env, "2", seed=100)
    limit = {"MOPS_CACHE_MAX_SIZE": "10MiB"}
    env.mops("pull", "demo:1", env=limit)
    env.mops("pull", "demo:2", env=limit)
    if used(env) > 10 * MIB:
        raise Failed(f"{used(env)} bytes are used")
    check("network, of what was pulled last", network(env, "demo:2"), 0)
    # What was asked for stays until the next command, however small the limit.
    env.mops("pull", "demo:1", env={"MOPS_CACHE_MAX_SIZE": "1MiB"})
    check("network, beyond the limit", network(env, "demo:1"), 0)
    env.mops("cat", "demo:2", "small.bin", env={"MOPS_CACHE_MAX_SIZE": "1MiB"})
    if used(env) > MIB + 64 * 1024:
        raise Failed(f"{used(env)} bytes are used after cat")
    env.mops("pull", "demo:1", env={"MOPS_CACHE_MIN_FREE": "1KB"})
    check("network, with enough free", network(env, "demo:1"), 0)
    env.mops("pull", "demo:2", env={"MOPS_CACHE_MIN_FREE": "1000TB"})
    check("network, as much as can be is free", network(env, "demo:2"), 0)
    if not network(env, "demo:1"):
        raise Failed("demo:1 is all there")


def a_mount_keeps_the_limit(env):
    """A bundle that is larger than the limit is read all the same."""
    mopstest.need_root()
    top = env.fresh("ws")
    for i in range(6):
        mopstest.write_random(top / f"big{i}.bin", 5 * MIB, i)
    for i in range(30):
        mopstest.write_random(top / f"small/{i}.bin", 20000 + i, 100 + i)
    env.push(top, "demo:1")
    want = files(top)
    for io in ("cached", "passthrough"):
        with env.mount("demo:1", "-o", f"io={io}", env={"MOPS_CACHE_MAX_SIZE": "8MiB"}) as at:
            for _ in range(3):
                mopstest.same(mopstest.snapshot(at), want, f"the mount, io={io}")
            wait_for("the cache to shrink", lambda: used(env) <= 8 * MIB, 40)
            mopstest.same(mopstest.snapshot(at), want, f"the mount, io={io}, after")
        env.new_cache()


def a_mount_leaves_free_what_it_is_told_to(env):
    mopstest.need_root()
    top = bundle(env)
    at = env.fresh("cache")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m,mode=0700", "tmpfs", str(at)], check=True)
    try:
        env.vars["MOPS_CACHE_DIR"] = str(at)
        with env.mount("demo:1", env={"MOPS_CACHE_MIN_FREE": "29MiB"}) as mnt:
            mopstest.same(mopstest.snapshot(mnt), files(top))
            wait_for("room", lambda: env.mops_json("cache", "du")["free_bytes"] >= 29 * MIB, 40)
            mopstest.same(mopstest.snapshot(mnt), files(top))
    finally:
        subprocess.run(["umount", "-l", str(at)], check=False)


def refuses_what_makes_no_sense(env):
    for args in (["frob"], ["ls", "x"], ["pin"], ["du", "--dry-run"], ["gc", "--max-size", "x"],
                 ["ls", "--max-size", "1"], []):
        error = json.loads(env.mops("cache", *args, "--json", code=2).stdout)
        check(args, error["error"], "ValidationError")


mopstest.run([
    lists_what_is_cached,
    removes_what_was_used_longest_ago,
    leaves_what_is_pinned,
    leaves_what_a_command_is_at,
    leaves_an_offline_mount_whole,
    an_online_mount_fetches_again,
    commands_keep_the_limit,
    a_mount_keeps_the_limit,
    a_mount_leaves_free_what_it_is_told_to,
    refuses_what_makes_no_sense,
])
