#!/usr/bin/python3
"""SIGKILL at 330 random moments at which push, pull and mopsfs are at work: the next
run succeeds, the cache holds no wrong byte, nothing needs cleaning by hand. KILLS sets
the number, SEED the sequence."""
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from mopstest import (DockerRegistry, Failed, MOPS, MOPSFS, is_mounted, need_fuse, need_root, run, same,  # noqa: E402
                      snapshot, sound_cache, wait_for, write_random)

KILLS = int(os.environ.get("KILLS", "330"))
RANDOM = random.Random(int(os.environ.get("SEED", "1")))
MIB = 1 << 20
# A record is written in place: a kill may leave half of one, which costs work and nothing else.
LASTING = ("content", "bit", "mode", "foreign")


def make_tree(env):
    src = env.fresh("src")
    for i in range(300):
        write_random(src / f"d{i % 7}/f{i:03}", 50 + 331 * i, i)
    for i in range(3):
        write_random(src / f"big/{i}.bin", 5 * MIB + i, 1000 + i)
    return src


def seconds_of(env, *argv):
    start = time.monotonic()
    env.run(*argv)
    return time.monotonic() - start


def kill_at_random(env, longest, *argv):
    """Start, let it run for a random part of its time, SIGKILL. True if it was
    still at it."""
    p = env.start(*argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        p.wait(RANDOM.uniform(0, longest))
        return False
    except subprocess.TimeoutExpired:
        p.kill()
        p.wait()
        return True


def rounds(hits):
    """Until a third of the kills hit a program at work; most of them have to."""
    for i in range(KILLS):
        yield i
        if hits() >= KILLS // 3:
            return
    raise Failed(f"only {hits()} of the kills of {KILLS} rounds hit")


def check_cache(env):
    """By us, with what a kill left in it, and then by mops itself."""
    sound_cache(env.cache(), LASTING)
    p = env.mops("verify", "--cache", code=None)
    if p.returncode:
        raise Failed(f"verify --cache: {p.stdout.decode()}{p.stderr.decode()}")


def killed_pushes(env):
    """To a folder and to a real registry."""
    src = make_tree(env)
    reg = DockerRegistry(env)
    want = env.push(src, "reference@1")["digest"]
    hits = 0
    for i in rounds(lambda: hits):
        name = f"k{i}"
        ref = f"{reg.host}/{name}@1" if i % 2 else f"oci:{env.base}/layout-{i // 20}:{name}:1"
        (src / "d0/changing").write_text(str(i))
        env.new_cache()
        if i < 2:
            longest = seconds_of(env, MOPS, "push", src, "--to", ref)
            continue
        for _ in range(2):
            hits += kill_at_random(env, longest, MOPS, "push", src, "--to", ref)
        sound_cache(env.cache(), LASTING)
        env.mops("push", src, "--to", ref)
        env.mops("verify", ref, "--deep")
        shutil.rmtree(env.cache(), ignore_errors=True)
    (src / "d0/changing").unlink()
    if env.push(src, "reference@2")["digest"] != want:
        raise Failed("the digest changed under the kills")
    print(f"# {hits} pushes were killed at work")


def killed_pulls(env):
    src = make_tree(env)
    reg = DockerRegistry(env)
    ref = f"{reg.host}/killed@1"
    env.push(src, ref)
    want = snapshot(src)
    env.new_cache()
    longest = seconds_of(env, MOPS, "pull", ref)
    hits = 0
    for _ in rounds(lambda: hits):
        env.new_cache()
        for _ in range(3):
            hits += kill_at_random(env, longest, MOPS, "pull", ref)
        check_cache(env)
        dest = env.base / "dest"
        hits += kill_at_random(env, longest, MOPS, "materialize", ref, dest)
        for key, value in (snapshot(dest) if dest.exists() else {}).items():
            if "/.mops" not in "/" + key and want.get(key) != value and ".mops" not in key:
                raise Failed(f"a killed materialize left {key} wrong: {value}")
        env.mops("materialize", ref, dest)
        got = {k: v for k, v in snapshot(dest).items()}
        same(want, got, "the materialized folder and the source")
        check_cache(env)
        shutil.rmtree(dest)
        shutil.rmtree(env.cache(), ignore_errors=True)
    print(f"# {hits} pulls were killed at work")


def worker_pid(env, at):
    import json
    return json.loads(env.mopsfs("status", at, "--json").stdout)["pid"]


def supervisor_of(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return int(next(line.split()[1] for line in f if line.startswith("PPid:")))


def killed_mounts(env):
    """Worker and supervisor both: a worker alone is replaced (tests/fuse/test_survive.py)."""
    need_root()
    need_fuse()
    src = make_tree(env)
    reg = DockerRegistry(env)
    ref = f"{reg.host}/killed@1"
    env.push(src, ref)
    want = snapshot(src)
    at = env.fresh("mnt")
    for i in range(KILLS // 3):
        if i % 5 == 0:
            shutil.rmtree(env.cache(), ignore_errors=True)
            env.new_cache()
        env.mopsfs("mount", ref, at, timeout=60)
        pid = worker_pid(env, at)
        pids = (supervisor_of(pid), pid)
        wrong = []

        def read_all():
            for key, (kind, _, value) in want.items():
                if kind != "file":
                    continue
                try:
                    data = (at / key).read_bytes()
                except OSError:
                    return
                if data != (src / key).read_bytes():
                    wrong.append(key)
        reader = threading.Thread(target=read_all)
        reader.start()
        time.sleep(RANDOM.uniform(0, 0.25))
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        reader.join(30)
        if reader.is_alive():
            raise Failed("a reader hangs on a killed mount")
        if wrong:
            raise Failed(f"wrong bytes: {wrong[:5]}")
        sound_cache(env.cache(), LASTING)
        # Whatever is left of it does not keep the next mount away.
        env.mopsfs("mount", ref, at, timeout=60)
        env.mounts.append(at)
        if i % 10 == 9:
            same(want, snapshot(at), "the mount after a kill and the source")
            check_cache(env)
        env.umount(at)
        wait_for("the mount to go", lambda: not is_mounted(at))
    print(f"# {KILLS // 3} mounts were killed at work")


run([killed_pushes, killed_pulls, killed_mounts])
