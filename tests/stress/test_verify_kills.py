#!/usr/bin/python3
"""mops verify --cache --repair is killed again and again while it takes damaged blobs out
of a cache and fetches them: whatever it was at, the next run goes on, and when one comes
to its end nothing is wrong, and nothing is missing. KILLS sets the number, SEED the
sequence."""
import json
import os
import pathlib
import random
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from mopstest import Failed, MOPS, run, same, snapshot, sound_cache, write_random  # noqa: E402

KILLS = int(os.environ.get("KILLS", "60"))
RANDOM = random.Random(int(os.environ.get("SEED", "1")))
MIB = 1 << 20
LASTING = ("content", "bit", "mode", "foreign")


def make_tree(env):
    src = env.fresh("src")
    for i in range(200):
        write_random(src / f"d{i % 7}/f{i:03}", 50 + 331 * i, i)
    for i in range(12):
        write_random(src / f"big/{i:02}.bin", MIB + i * 99_999, 1000 + i)
    return src


def damage(path):
    """One of the ways in which a file goes wrong."""
    data = bytearray(path.read_bytes())
    how = RANDOM.randrange(4)
    if how == 0:
        data[RANDOM.randrange(len(data))] ^= 1 << RANDOM.randrange(8)
    elif how == 1:
        del data[RANDOM.randrange(len(data)):]
    elif how == 2:
        data += bytes(RANDOM.randrange(1, 5000))
    else:
        data = bytearray(len(data))
    path.chmod(0o644)
    path.write_bytes(data)
    path.chmod(0o444)


def kill_once(env):
    """True when it was killed; False when it was faster."""
    p = env.start(MOPS, "verify", "--cache", "--repair", "--limit-rate", "50MB", stdout=subprocess.DEVNULL,
                  stderr=subprocess.DEVNULL)
    try:
        if p.wait(RANDOM.uniform(0.01, 0.6)):
            raise Failed(f"it ended by itself, with {p.returncode}")
        return False
    except subprocess.TimeoutExpired:
        p.kill()
        p.wait()
        return True


def killed_while_it_repairs(env):
    src = make_tree(env)
    env.push(src, "kills:1")
    env.mops("pull", "kills:1")
    want = snapshot(src)
    killed = resumed = damaged = 0
    for i in range(20 * KILLS):
        if killed >= KILLS:
            break
        blobs = sorted((env.cache() / "blobs/sha256").glob("*/*"))
        for path in RANDOM.sample(blobs, min(len(blobs), RANDOM.randrange(1, 8))):
            damage(path)
        while kill_once(env):
            killed += 1
            # What it took the name from is gone, and nothing wrong got one; the
            # damage that it did not come to is there still.
            sound_cache(env.cache(), ("foreign", "bit"))
            if RANDOM.random() < 0.3:
                break
        report = json.loads(env.mops("verify", "--cache", "--repair", "--json").stdout)
        resumed += report["resumed"]
        damaged += report["damaged"]
        sound_cache(env.cache(), LASTING)
        dest = env.fresh("dest") / "d"
        env.mops("materialize", "kills:1", dest, "--offline", "--link", "copy")
        same(snapshot(dest), want, f"tree and source in round {i}")
    if killed < KILLS or not resumed or not damaged:
        raise Failed(f"{killed} kills, {resumed} scans gone on with, {damaged} findings")
    print(f"# {killed} kills, {resumed} scans gone on with, {damaged} findings at the end of them")


run([killed_while_it_repairs])
