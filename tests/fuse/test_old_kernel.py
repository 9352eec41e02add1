#!/usr/bin/python3
"""Linux before 6.9 does not ask again what a dead worker was asked: that fails, and
what is asked later works. The kernel is this one, its first request made to look older."""
import contextlib
import ctypes
import errno
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
import mopstest  # noqa: E402
from mopstest import BUILD, DockerRegistry, Failed, gone, is_mounted, wait_for  # noqa: E402

OLD = {"LD_PRELOAD": str(BUILD / "tests/tools/old_kernel.so"), "ASAN_OPTIONS": mopstest.sanitizer_options("verify_asan_link_order=0")}


def expect(what, why=""):
    if not what:
        raise Failed(why or "not as expected")


def status(env, at):
    return json.loads(env.mopsfs("status", at, "--json", timeout=30).stdout)


def next_worker(env, at, pid):
    def another():
        s = status(env, at)
        return s if s["pid"] != pid else None
    return wait_for("the next worker", another)


def bundle(env, ref="demo:1"):
    src = env.fresh("src")
    for i in range(3):
        mopstest.write_random(src / f"big{i}.bin", 3 << 20, i)
        mopstest.write_random(src / f"small/{i}", 1000 + i, 10 + i)
    env.push(src, ref)
    return src


def later_requests_work(env):
    mopstest.need_root()
    src = bundle(env)
    with env.mount("demo:1", env=OLD) as at:
        s = status(env, at)
        expect(s["worker"] == {"last_end": "", "resends": False, "restarts": 0, "survives": True}, s["worker"])
        expect(s["data_path"]["mode"] == "cached", s["data_path"])
        expect(b"what it was asked fails (Linux 6.9" in env.mopsfs("status", at).stdout)
        for deaths in range(1, 6):
            os.kill(s["pid"], signal.SIGKILL)
            s = next_worker(env, at, s["pid"])
            expect(s["worker"]["restarts"] == deaths, s["worker"])
            mopstest.same(mopstest.snapshot(src), mopstest.snapshot(at))
        p = env.mopsfs("upgrade", at, code=None)
        expect(p.returncode != 0 and b"Linux 6.9" in p.stderr, p)
        mopstest.same(mopstest.snapshot(src), mopstest.snapshot(at))
        env.mopsfs("umount", at)
        expect(not is_mounted(at))


class Reader:
    """Of a file whose bytes do not come."""

    def __init__(self, env, at):
        # The page cache would ask once more by itself.
        code = ("import mmap, os, sys\nfd = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECT)\n"
                "print('asks', flush=True)\n"
                "try:\n    print(os.preadv(fd, [mmap.mmap(-1, 4096)], 0))\nexcept OSError as e:\n    print(e.errno)\n")
        self.proc = env.start(sys.executable, "-c", code, at / "big1.bin", stdout=subprocess.PIPE)
        expect(self.proc.stdout.readline() == b"asks\n")
        wait_for("a request that waits", lambda: status(env, at)["parked"])

    def answer(self):
        return int(self.proc.communicate(timeout=10)[0])


def what_a_dead_worker_was_asked_fails(env):
    mopstest.need_root()
    registry = DockerRegistry(env)
    ref = f"{registry.host}/team/model:v1"
    src = bundle(env, ref)
    env.new_cache()
    with env.mount(ref, env=OLD) as at:
        pid = status(env, at)["pid"]
        registry.proc.send_signal(signal.SIGSTOP)
        reader = Reader(env, at)
        begin = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        told = reader.answer()
        expect(told == errno.ECONNABORTED, told)
        expect(time.monotonic() - begin < 5, "late")
        registry.proc.send_signal(signal.SIGCONT)
        s = next_worker(env, at, pid)
        expect(s["worker"]["restarts"] == 1, s["worker"])
        mopstest.same(mopstest.snapshot(src), mopstest.snapshot(at))


def another_mount_at_the_place_is_left(env):
    """Before 6.8 a mount is known by its number alone, which the next one may get."""
    mopstest.need_root()
    bundle(env)
    for detached in (True, False):
        with env.mount("demo:1", env=OLD) as at:
            s = status(env, at)
            pids = [s["supervisor_pid"], s["pid"]]
            number = at.stat().st_dev
            with contextlib.ExitStack() as held:
                if detached:
                    held.enter_context(open(at / "small/1", "rb"))
                else:
                    for pid in pids:
                        os.kill(pid, signal.SIGSTOP)
                expect(ctypes.CDLL(None).umount2(str(at).encode(), 2 if detached else 0) == 0, "umount2")
                env.mopsfs("mount", "demo:1", at, env=OLD)
                second = status(env, at)["pid"]
                expect(at.stat().st_dev != number or not detached, "one number twice")
                print(f"# {'the same' if at.stat().st_dev == number else 'another'} number")
                if not detached:
                    for pid in reversed(pids):
                        os.kill(pid, signal.SIGCONT)
            wait_for("the end of the first", gone(*pids))
            expect(is_mounted(at) and status(env, at)["pid"] == second, "the second is gone")


def a_hung_worker_is_replaced(env):
    mopstest.need_root()
    src = bundle(env)
    with env.mount("demo:1", "-o", "watchdog=1", env=OLD) as at:
        pid = status(env, at)["pid"]
        mopstest.hang(pid)
        p = env.run("cat", at / "small/1", code=None, timeout=20)
        s = next_worker(env, at, pid)
        expect(s["worker"]["last_end"] == "it was hung", s["worker"])
        # Nobody had taken the request, so the next worker did.
        expect(p.stdout == (src / "small/1").read_bytes(), p)
        mopstest.same(mopstest.snapshot(src), mopstest.snapshot(at))


if __name__ == "__main__":
    mopstest.run([
        later_requests_work,
        what_a_dead_worker_was_asked_fails,
        another_mount_at_the_place_is_left,
        a_hung_worker_is_replaced,
    ])
