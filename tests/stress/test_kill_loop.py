#!/usr/bin/python3
"""Eight processes at once on one cache (pull, materialize, push, import, verify, gc,
readers of a mount), of which a random one is killed again and again: what a kill
leaves is right, who is not killed succeeds, and in the end the same commands do.
KILLS sets the number, SEED the sequence."""
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

KILLS = int(os.environ.get("KILLS", "200"))
RANDOM = random.Random(int(os.environ.get("SEED", "1")))
AT_ONCE, EPOCH = 8, 50
MIB = 1 << 20
# A record is written in place: a kill may leave half of one, which costs work and nothing else.
LASTING = ("content", "bit", "mode", "foreign")


class Job:
    """A command that may be killed. Its kind says what else is to be seen to."""

    def __init__(self, world, name):
        self.world, self.env, self.name = world, world.env, name
        self.dest = None
        self.out = world.env.fresh("out") / "said"
        self.proc = None

    def start(self, *argv):
        with open(self.out, "wb") as f:
            self.proc = self.env.start(*argv, stdout=f, stderr=f, start_new_session=True)

    def kill(self):
        self.proc.kill()
        self.proc.wait()

    def over(self, killed):
        """What it left is right; all of it when it was not killed."""
        if not killed and self.proc.returncode:
            raise Failed(f"{self.name}: exit {self.proc.returncode}: {self.out.read_text(errors='replace')[-1500:]}")
        if self.dest and self.dest.exists():
            got = snapshot(self.dest)
            if not killed:
                same(self.world.want, got, f"what {self.name} wrote and the source")
            for key, value in got.items():
                if self.world.want.get(key) != value and ".mops" not in key:
                    raise Failed(f"{self.name} left {key} wrong: {value}")
            shutil.rmtree(self.dest)
        shutil.rmtree(self.out.parent)


class Pull(Job):
    def __init__(self, world):
        super().__init__(world, "pull")
        self.start(MOPS, "pull", "-q", world.ref)


class Materialize(Job):
    def __init__(self, world):
        super().__init__(world, "materialize")
        self.dest = self.env.fresh("dest")
        self.start(MOPS, "materialize", "-q", world.ref, self.dest)


class Push(Job):
    def __init__(self, world):
        super().__init__(world, "push")
        world.n += 1
        self.start(MOPS, "push", "-q", world.src, "--to", f"{world.reg.host}/other{world.n % 5}:{world.n}")


class Import(Job):
    def __init__(self, world):
        super().__init__(world, "import")
        self.top = self.env.fresh("imported")
        self.dest = self.top / "dest"
        self.start(MOPS, "import", "-q", world.archive, "--dest", self.dest)

    def over(self, killed):
        super().over(killed)
        shutil.rmtree(self.top)


class Verify(Job):
    def __init__(self, world):
        super().__init__(world, "verify")
        self.start(MOPS, "verify", *(["--cache"] if RANDOM.random() < 0.5 else [world.ref, "--deep"]))


class Collect(Job):
    def __init__(self, world):
        super().__init__(world, "gc")
        self.start(MOPS, "cache", "gc", "--max-size", RANDOM.choice(("1MiB", "10MiB", "1GiB")))

    def over(self, killed):
        if not killed and b"is being cleaned already" in self.out.read_bytes():
            killed = True  # one at a time
        super().over(killed)


class Mount(Job):
    """A mount and who reads it; killed with its worker, or unmounted."""

    def __init__(self, world):
        super().__init__(world, "mount")
        self.at = self.env.fresh("mnt")
        self.wrong, self.complete = [], False
        self.start(MOPSFS, "mount", "-f", world.ref, self.at)
        self.env.mounts.append(self.at)
        self.thread = threading.Thread(target=self.read)
        self.thread.start()

    def read(self):
        keys = sorted(self.world.want)
        random.Random(self.proc.pid).shuffle(keys)
        while not is_mounted(self.at):
            if self.proc.poll() is not None:
                return
            time.sleep(0.01)
        for key in keys:
            if self.world.want[key][0] != "file":
                continue
            try:
                if (self.at / key).read_bytes() != (self.world.src / key).read_bytes():
                    self.wrong.append(key)
            except OSError as e:
                if self.proc.poll() is None and is_mounted(self.at) and not self.killed:
                    self.wrong.append(f"{key}: {e}")
                return
        self.complete = True
        # Nobody waits for what follows: it may be killed meanwhile.
        subprocess.run([MOPSFS, "umount", str(self.at)], env=self.env.vars, check=False, timeout=60,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    killed = False

    def kill(self):
        self.killed = True
        # Supervisor and worker: a worker alone is replaced (tests/fuse/test_survive.py).
        os.killpg(self.proc.pid, signal.SIGSTOP)
        os.killpg(self.proc.pid, signal.SIGKILL)
        self.proc.wait()

    def over(self, killed):
        self.thread.join(60)
        if self.thread.is_alive():
            raise Failed("a reader hangs on a mount that ended")
        if self.wrong:
            raise Failed(f"wrong in a mount: {self.wrong[:5]}")
        if not killed and not self.complete:
            raise Failed(f"a mount ended by itself: {self.out.read_text(errors='replace')[-1500:]}")
        self.env.umount(self.at)
        super().over(killed)


KINDS = (Pull, Materialize, Push, Import, Verify, Collect, Mount, Materialize)


class World:
    def __init__(self, env):
        self.env, self.n = env, 0
        self.src = env.fresh("src")
        for i in range(200):
            write_random(self.src / f"d{i % 7}/f{i:03}", 50 + 331 * i, i)
        for i in range(3):
            write_random(self.src / f"big/{i}.bin", 3 * MIB + i, 1000 + i)
        self.want = snapshot(self.src)
        self.reg = DockerRegistry(env)
        self.ref = f"{self.reg.host}/killed@1"
        env.push(self.src, self.ref)
        self.archive = env.base / "archive.tar"
        env.mops("export", self.ref, "-q", "-o", self.archive)
        env.new_cache()
        start = time.monotonic()
        self.all_succeed()
        # Between two kills: on a slow machine longer, so that some come to their end.
        self.pause = max(1, (time.monotonic() - start) / 5)

    def epoch(self, kills):
        """Until so many were killed at work; then all are."""
        jobs, hits, finished = [], 0, 0
        while hits < kills:
            while len(jobs) < AT_ONCE:
                jobs.append(RANDOM.choice(KINDS)(self))
            time.sleep(RANDOM.uniform(0.005, 0.1) * self.pause)
            for job in [j for j in jobs if j.proc.poll() is not None]:
                jobs.remove(job)
                job.over(False)
                finished += 1
            if jobs:
                job = jobs.pop(RANDOM.randrange(len(jobs)))
                job.kill()
                hits += 1
                job.over(True)
        for job in jobs:
            job.kill()
            job.over(True)
        return hits + len(jobs), finished

    def all_succeed(self):
        for kind in sorted(set(KINDS), key=lambda k: k.__name__):
            job = kind(self)
            wait_for(f"{job.name} to end", lambda job=job: job.proc.poll() is not None, 120)
            job.over(False)


def killed_at_random(env):
    need_root()
    need_fuse()
    world = World(env)
    kills = finished = 0
    while kills < KILLS:
        hit, done = world.epoch(min(EPOCH, KILLS - kills))
        kills, finished = kills + hit, finished + done
        sound_cache(env.cache(), LASTING)
        world.all_succeed()
        sound_cache(env.cache(), LASTING)
        if RANDOM.random() < 0.5:
            shutil.rmtree(env.cache())
    print(f"# {kills} processes were killed at work, {finished} others ended well, "
          f"pauses of up to {0.1 * world.pause:.2f} s")
    if finished < kills // 10:
        raise Failed("hardly a process came to its end: kills and work did not meet")


run([killed_at_random])
