#!/usr/bin/env python3
"""Tokens that end every 5 s and a registry that restarts, while a mount is read.

MOPS_STRESS_SECONDS is how long (20)."""
import hashlib
import os
import pathlib
import random
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from mopstest import DockerRegistry, Failed, run, sha256_file, wait_for, write_random  # noqa: E402

SECONDS = int(os.environ.get("MOPS_STRESS_SECONDS", "20"))
SIZE, RESTARTS, LIFE = 64 << 20, 5, 5


class Readers:
    """Sequential and random reads until stopped; every byte is compared."""

    def __init__(self, at, source):
        self.at, self.source = at / "weights.bin", source / "weights.bin"
        self.errors, self.reads, self.stop = [], 0, False
        self.threads = [threading.Thread(target=self.guard, args=(f,)) for f in
                        (self.whole, *[self.here_and_there] * 3)]

    def guard(self, body):
        try:
            body()
        except Exception as e:  # noqa: B902 - any failure of a read counts
            self.errors.append(repr(e))

    def whole(self):
        self.digest = hashlib.sha256()
        with open(self.at, "rb") as f:
            while block := f.read(1 << 20):
                self.digest.update(block)
                self.reads += 1

    def here_and_there(self):
        r = random.Random(threading.get_ident())
        a, b = os.open(self.at, os.O_RDONLY), os.open(self.source, os.O_RDONLY)
        while not self.stop:
            off, n = r.randrange(SIZE), r.randrange(1, 200000)
            if os.pread(a, n, off) != os.pread(b, n, off):
                raise Failed(f"wrong bytes at {off}")
            self.reads += 1
            time.sleep(0.05)
        os.close(a)
        os.close(b)

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *_):
        self.threads[0].join(600)
        self.stop = True
        for t in self.threads[1:]:
            t.join(600)


def read_through(env, says):
    registry = DockerRegistry(env, "alice", "won:der", tokens={"life": LIFE, "says": says})
    env.log_in(registry.host, "alice", "won:der")
    source = env.fresh("src")
    write_random(source / "weights.bin", SIZE, "expiry")
    ref = f"{registry.host}/team/model:v1"
    env.push(source, ref)
    env.new_cache()
    registry.tokens.log.clear()
    env.vars["MOPS_LIMIT_RATE"] = str(SIZE // SECONDS)
    with env.mount(ref) as at:
        began = time.monotonic()
        with Readers(at, source) as readers:
            for i in range(RESTARTS):
                time.sleep(max(0, began + (i + 0.5) * SECONDS / (RESTARTS + 1) - time.monotonic()))
                registry.stop()
                time.sleep(0.3)
                # Its port may be that of somebody's connection for a moment.
                wait_for("the registry", registry.start)
        took = time.monotonic() - began
    tokens = len(registry.tokens.log)
    print(f"# {took:.0f} s, {readers.reads} reads, {tokens} tokens, {len(readers.errors)} errors", flush=True)
    if readers.errors:
        raise Failed("; ".join(readers.errors[:5]))
    if readers.digest.hexdigest() != sha256_file(source / "weights.bin"):
        raise Failed("the file differs")
    if took < SECONDS * 0.8 or not SECONDS // (2 * LIFE) <= tokens <= 2 * SECONDS:
        raise Failed(f"{tokens} tokens in {took:.1f} s")


def tokens_end_as_they_say(env):
    read_through(env, None)


def tokens_end_before_they_say(env):
    read_through(env, 300)


run([tokens_end_as_they_say, tokens_end_before_they_say])
