#!/usr/bin/python3
"""What a mount fetches unasked: --prefetch role, mops warm, and the tensor that is read in."""
import json
import os
import pathlib
import signal
import struct
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
import mopstest  # noqa: E402
from mopstest import MOPSFS, Failed, fault_registry, same, snapshot, wait_for  # noqa: E402

MIB = 1 << 20


def check(what, got, want):
    if got != want:
        raise Failed(f"{what}: {got}, not {want}")


def warm(env, path):
    """By mops, which finds mopsfs as it does where both are installed in different folders."""
    p = env.mops("warm", path, "--json", env={"PATH": f"{MOPSFS.parent}:{os.environ['PATH']}"})
    return json.loads(p.stdout)


def bundle(env):
    """Two folders with a big file and small ones each."""
    mopstest.need_root()
    top = env.fresh("ws")
    for i, name in enumerate(("one", "two")):
        mopstest.write_random(top / name / "big.bin", 5 * MIB + i, 10 + i)
        for k in range(20):
            mopstest.write_random(top / name / f"small{k}", 1000 + k, 100 * i + k)
    env.push(top, "demo:1")
    return top


def status(env, at):
    return json.loads(env.mopsfs("status", at, "--json").stdout)


def state_of(at, path):
    return os.getxattr(at / path, "user.mops.state").decode()


def wait_for_prefetch(env, at, state="done"):
    wait_for(f"a prefetch that is {state}", lambda: status(env, at).get("prefetch", {}).get("state") == state, 60)


def a_role_comes_unasked(env):
    top = bundle(env)
    for how in (("--prefetch", "role"), ("-o", "prefetch=role")):
        env.new_cache()
        with env.mount("demo:1", *how) as at:
            wait_for_prefetch(env, at)
            seen = status(env, at)["prefetch"]
            check("files", seen["files"], 42)
            check("bytes", seen["bytes"], sum(f.stat().st_size for f in top.rglob("*") if f.is_file()))
            check("left", seen["bytes_left"], 0)
            check("state", state_of(at, "one/big.bin"), "complete")
            if "prefetch: done" not in env.mopsfs("status", at).stdout.decode():
                raise Failed("status does not say so")
        with env.mount("demo:1", "--offline") as at:
            same(snapshot(top), snapshot(at))


def nothing_comes_unasked(env):
    bundle(env)
    for how in ((), ("--prefetch", "none"), ("-o", "prefetch=none")):
        env.new_cache()
        with env.mount("demo:1", *how) as at:
            if "prefetch" in status(env, at):
                raise Failed(str(status(env, at)))
            check("state", state_of(at, "one/big.bin"), "absent")
    for how in (("--prefetch", "all"), ("-o", "prefetch"), ("-o", "prefetch=list"), ("-o", "prefetch=list="), ("-o", "prefetch=traces"), ("--prefetch", "trace=")):
        p = env.mopsfs("mount", "demo:1", env.fresh("mnt"), *how, code=2)
        if b"none, role, list=FILE" not in p.stderr:
            raise Failed(p.stderr.decode())


def a_worker_that_is_replaced_goes_on(env):
    top = bundle(env)
    with env.mount("demo:1", "--prefetch", "role") as at:
        os.kill(status(env, at)["pid"], signal.SIGKILL)
        wait_for_prefetch(env, at)
        same(snapshot(top), snapshot(at))


def what_cannot_be_had_is_tried_again(env):
    top = bundle(env)
    server = fault_registry(env)
    ref = (f"{server.host}/demo:1", "--plain-http")
    with env.mount(*ref):
        pass  # its documents are in the cache
    server.arm("418")
    with env.mount(*ref, "--prefetch", "role") as at:
        wait_for_prefetch(env, at, "waiting")
        if "418" not in status(env, at)["prefetch"]["why"]:
            raise Failed(str(status(env, at)["prefetch"]))
        p = env.mopsfs("warm", at / "one", code=3)
        if b"418" not in p.stderr:
            raise Failed(p.stderr.decode())
        server.arm(None)
        wait_for_prefetch(env, at)
        same(snapshot(top), snapshot(at))


def warm_of_a_folder_brings_the_folder(env):
    top = bundle(env)
    with env.mount("demo:1") as at:
        done = warm(env, at / "one")
        check("files", done["files"], 21)
        check("one", state_of(at, "one/big.bin"), "complete")
        check("two", state_of(at, "two/big.bin"), "absent")
        check("a file", warm(env, at / "two/big.bin")["files"], 1)
        check("two", state_of(at, "two/big.bin"), "complete")
        check("all", warm(env, at)["files"], 42)
        same(snapshot(top), snapshot(at))
        if b"warmed" not in env.mopsfs("warm", at / "one").stderr:
            raise Failed("no summary")


def warm_of_a_reference_fills_the_cache(env):
    top = bundle(env)
    check("files", env.mops_json("warm", "demo:1")["files"], 42)
    with env.mount("demo:1", "--offline") as at:
        same(snapshot(top), snapshot(at))


def warm_of_a_path_drops_no_flag(env):
    bundle(env)
    with env.mount("demo:1") as at:
        for flag in (("--role", "default"), ("--offline",), ("--limit-rate", "1MB")):
            p = env.mops("warm", at / "one", *flag, code=2)
            check("in the error", b"which keeps its role" in p.stderr, True)
        echo = env.dir("fake") / "mopsfs"
        echo.write_text('#!/bin/sh\necho "$@"\n')
        echo.chmod(0o755)
        p = env.mops("warm", at / "one", "-q", "-v", "-v", env={"PATH": f"{echo.parent}:{os.environ['PATH']}"})
        check("passed on", p.stdout.decode(), f"warm --quiet -vv -- {at}/one\n")


def warm_says_what_it_cannot_do(env):
    bundle(env)
    env.mops("warm", "nothing:1", code=1)
    p = env.mopsfs("warm", env.base, code=2)
    if b"not in a mount" not in p.stderr:
        raise Failed(p.stderr.decode())
    env.mopsfs("warm", env.base / "none" / "such", code=1)
    with env.mount("demo:1") as at:
        env.mopsfs("warm", at / "three", code=1)


def weights(top):
    """Tensors of 12, 8 and 10 MiB, the same bytes under a name that says nothing."""
    header, at = {}, 0
    for name, size in (("a", 12 * MIB), ("b", 8 * MIB), ("c", 10 * MIB)):
        header[name] = {"dtype": "U8", "shape": [size], "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    mopstest.write_random(top / "data", at, 7)
    body = (top / "data").read_bytes()
    (top / "data").unlink()
    for i, name in enumerate(("model.safetensors", "other.bin")):
        (top / name).write_bytes(struct.pack("<Q", len(text)) + text + body[i:] + bytes(i))


def read_some(at, name):
    fd = os.open(at / name, os.O_RDONLY)
    try:
        return os.pread(fd, 4096, 5 * MIB)
    finally:
        os.close(fd)


def a_read_inside_a_tensor_brings_the_tensor(env):
    mopstest.need_root()
    top = env.fresh("ws")
    weights(top)
    env.push(top, "demo:1")
    able = json.loads(env.mopsfs("version", "--json").stdout)["passthrough"]
    for io in ("cached", "passthrough") if able else ("cached",):
        env.new_cache()
        with env.mount("demo:1", "-o", f"io={io},readahead_kb=0") as at:
            fetched = lambda: status(env, at)["fetch"]  # noqa: E731
            check("bytes", read_some(at, "other.bin"), read_some(top, "other.bin"))
            time.sleep(0.2)
            before = fetched()
            came = lambda: fetched()["bytes_network"] - before["bytes_network"]  # noqa: E731
            if before["bytes_network"] > 3 * MIB or before["tensors"]:
                raise Failed(before)
            # With no message for the open the header is asked for by the first read, which may miss before it is known.
            check("bytes", read_some(at, "model.safetensors"), read_some(top, "model.safetensors"))
            wait_for("the header", lambda: came() >= 2 * MIB and not fetched()["in_flight"])
            with open(at / "model.safetensors", "rb") as f:
                f.seek(9 * MIB)
                f.read(1)
            wait_for("the tensor", lambda: came() >= 12 * MIB)
            wait_for("an end", lambda: not fetched()["in_flight"])
            after = fetched()
            check("tensors", after["tensors"], 1)
            if after["bytes_network"] - before["bytes_network"] > 15 * MIB:
                raise Failed((before, after))
            same(snapshot(top), snapshot(at))


mopstest.run([a_role_comes_unasked, nothing_comes_unasked, a_worker_that_is_replaced_goes_on,
              what_cannot_be_had_is_tried_again, warm_of_a_folder_brings_the_folder,
              warm_of_a_reference_fills_the_cache, warm_of_a_path_drops_no_flag, warm_says_what_it_cannot_do,
              a_read_inside_a_tensor_brings_the_tensor])
