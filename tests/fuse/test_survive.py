#!/usr/bin/python3
"""A mount outlives its worker: readers that check every byte see pauses, never an error,
while workers are killed, crash, hang or are replaced. MOPS_STRESS_SECONDS (15) sets how
long the readers read."""
import contextlib
import json
import mmap
import os
import pathlib
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
import mopstest  # noqa: E402
from mopstest import MOPSFS, Failed, gone, is_mounted, wait_for  # noqa: E402

SECONDS = float(os.environ.get("MOPS_STRESS_SECONDS", "15"))
# A worker under a sanitizer takes longer to start than the others live.
SLOW = 10 if os.environ.get("MOPS_SANITIZED", "none") != "none" else 1
KILL_EVERY = 0.05 * SLOW
LONGEST_PAUSE = 1.0 * SLOW
MIB = 1 << 20
BIG = 6


# What a reader does: a process of its own, so that nobody waits for another.

class Reader:
    def __init__(self, how, at, source, seed):
        self.how, self.at, self.source = how, pathlib.Path(at), pathlib.Path(source)
        self.random = random.Random(seed)
        self.files = sorted(p.relative_to(source) for p in self.source.rglob("*") if p.is_file())
        self.buffer = mmap.mmap(-1, MIB)
        self.held = []

    def wanted(self, name, off, n):
        with open(self.source / name, "rb") as f:
            return os.pread(f.fileno(), n, off)

    def read(self, name, off, n):
        fd = os.open(self.at / name, os.O_RDONLY)
        try:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            return os.pread(fd, n, off)
        finally:
            os.close(fd)

    def mmap(self, name, off, n):
        with open(self.at / name, "rb") as f:
            os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            with mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ) as m:
                return m[off:off + n]

    def direct(self, name, off, n):
        fd = os.open(self.at / name, os.O_RDONLY | os.O_DIRECT)
        try:
            skip = off % 4096
            got = os.preadv(fd, [self.buffer], off - skip)
            return self.buffer[skip:min(got, skip + n)]
        finally:
            os.close(fd)

    def hold(self, name, off, n):
        """Some stay open, and mapped, while others open and close the same."""
        f = open(self.at / name, "rb")  # noqa: SIM115 - kept
        self.held.append((f, mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)))
        if len(self.held) > 12:
            f, m = self.held.pop(self.random.randrange(len(self.held)))
            m.close()
            f.close()
        f, m = self.random.choice(self.held)
        name = pathlib.Path(f.name).relative_to(self.at)
        size = os.fstat(f.fileno()).st_size
        off %= size
        os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        got = m[off:off + n]
        if got != self.wanted(name, off, n):
            raise Failed(f"{name} at {off}: wrong bytes while held")
        return os.pread(f.fileno(), n, off), name, off

    def once(self):
        """Seconds that it took."""
        name = self.random.choice(self.files)
        size = (self.source / name).stat().st_size
        off = self.random.randrange(size)
        n = self.random.choice((1, 4096, 65536, 300000))
        begin = time.monotonic()
        got = getattr(self, self.how)(name, off, n)
        took = time.monotonic() - begin
        if isinstance(got, tuple):
            got, name, off = got
        if self.how == "direct":
            n = min(n, MIB - off % 4096)
        if got != self.wanted(name, off, n):
            raise Failed(f"{name} at {off}: wrong bytes, {len(got)} of {n}")
        return took

    def run(self, stop):
        took = []
        errors = []
        while not os.path.exists(stop) and len(errors) < 10:
            try:
                took.append(self.once())
            except (OSError, Failed) as e:
                errors.append(f"{self.how}: {e}")
        print(json.dumps({"how": self.how, "reads": len(took), "longest": max(took, default=0), "errors": errors}))


HOWS = ("read", "mmap", "direct", "hold")


class Readers:
    """Readers of each kind on each of the mounts, until stop()."""

    def __init__(self, env, source, mounts):
        self.stop_file = env.base / f"stop-{env.n}"
        self.procs = [env.start(sys.executable, __file__, "--read", how, at, source, i, self.stop_file,
                                stdout=subprocess.PIPE)
                      for i, (at, how) in enumerate((at, how) for at in mounts for how in HOWS)]

    def stop(self):
        """The longest pause and the number of reads, when all was right."""
        self.stop_file.touch()
        try:
            said = [json.loads(p.communicate(timeout=60)[0]) for p in self.procs]
        finally:
            for p in self.procs:
                p.kill()
        for s in said:
            print(f"# {s['how']}: {s['reads']} reads, the longest {s['longest'] * 1000:.0f} ms")
            if s["errors"] or not s["reads"]:
                raise Failed(s)
        return max(s["longest"] for s in said), sum(s["reads"] for s in said)


# What is done to the mounts meanwhile.

def children(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
            return [int(word) for word in f.read().split()]
    except OSError:
        return []


def parent_of(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return int(next(line.split()[1] for line in f if line.startswith("PPid:")))


def status(env, at):
    return json.loads(env.mopsfs("status", at, "--json", timeout=30).stdout)


def kill(pid, sig=signal.SIGKILL):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, sig)


def source_tree(env):
    src = env.fresh("src")
    for i in range(BIG):
        mopstest.write_random(src / f"big{i}.bin", 2 * MIB + 4097 * i, i)
    for i in range(20):
        mopstest.write_random(src / f"small/{i}", 700 + 1000 * i, 100 + i)
    env.push(src, "demo:1")
    return src


def mount(env, *args):
    """(folder, supervisor)"""
    mopstest.need_fuse()
    at = env.fresh("mnt")
    env.mounts.append(at)
    doc = json.loads(env.mopsfs("mount", "demo:1", at, "--json", "--log", env.base / f"{at.name}.log", *args).stdout)
    return at, parent_of(doc["pid"])


def forget_content(env, stop):
    """Files are incomplete again and again: what is cached goes, what mounts need stays."""
    while not stop.wait(0.7):
        env.mops("cache", "gc", "--max-size", "4MiB", code=None)


def logs(env):
    return "".join(p.read_text()[-3000:] for p in env.base.glob("mnt-*.log"))


def ask_at(path, line):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(60)
        s.connect(str(path))
        s.sendall(line.encode() + b"\n")
        return s.makefile().read()


def seconds_to_replace(env, mounts):
    """How long a killed worker's place is empty, on this machine and beside this load."""
    took = []

    def answers(path):
        try:
            return ask_at(path, "status")
        except ConnectionError:  # it was still dying
            return ""
    for _ in range(5):
        begin = time.monotonic()
        for _, supervisor in mounts:
            for pid in children(supervisor):
                kill(pid)
        for path in pathlib.Path(env.vars["XDG_RUNTIME_DIR"]).glob("mopsfs/*.sock"):
            wait_for("an answer", lambda path=path: answers(path))
        took.append(time.monotonic() - begin)
    return statistics.median(took)


def under_kills(env, src, mounts, do, every, kills=False):
    """Readers at work while do() is called; their longest pause."""
    stop = threading.Event()
    evictor = threading.Thread(target=forget_content, args=(env, stop))
    readers = Readers(env, src, [at for at, _ in mounts])
    evictor.start()
    try:
        if kills:  # where workers take long to start, none would come to serve
            every = max(every, seconds_to_replace(env, mounts))
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            do()
            time.sleep(every * random.uniform(0.5, 1.5))
    finally:
        stop.set()
        evictor.join()
    try:
        longest, reads = readers.stop()
    except Failed as e:
        raise Failed(f"{e}\n{logs(env)}") from e
    print(f"# {reads} reads in {SECONDS:.0f} s, the longest {longest * 1000:.0f} ms, each {every * 1000:.0f} ms a kill")
    if longest > max(LONGEST_PAUSE, 20 * every):
        raise Failed(f"a pause of {longest:.2f} s")


def ask(env, line, python=None):
    """The answer of the only mount's socket, to this program or to that one."""
    (path,) = pathlib.Path(env.vars["XDG_RUNTIME_DIR"]).glob("mopsfs/*.sock")
    if python:
        code = ("import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); "
                "s.sendall(sys.argv[2].encode() + b'\\n'); print(s.makefile().read())")
        return env.run(python, "-c", code, path, line, timeout=60).stdout.decode()
    return ask_at(path, line)


def readers_do_not_notice_killed_workers(env):
    mopstest.need_root()
    src = source_tree(env)
    mounts = [mount(env, "-o", "io=passthrough"), mount(env, "-o", "io=cached")]
    kills = 0

    def kill_all():
        nonlocal kills
        for _, supervisor in mounts:
            for pid in children(supervisor):
                kill(pid)
                kills += 1
    under_kills(env, src, mounts, kill_all, KILL_EVERY, kills=True)
    told = [status(env, at)["worker"] for at, _ in mounts]
    print(f"# {kills} kills, {[t['restarts'] for t in told]} restarts")
    if min(t["restarts"] for t in told) < min(SECONDS / SLOW, kills / 4) or "signal 9" not in told[0]["last_end"]:
        raise Failed(told)
    for at, _ in mounts:
        mopstest.same({k: v for k, v in mopstest.snapshot(src).items()}, mopstest.snapshot(at))
        if b"replaced" not in env.mopsfs("status", at).stdout:
            raise Failed("status does not say so")
        env.mopsfs("umount", at)
    env.mops("verify", "--cache")


def read_in_a_process(env, path, seconds):
    """The file's bytes; by a process of its own, which may be left behind."""
    return env.run("cat", path, timeout=seconds).stdout


def readers_do_not_notice_upgrades(env):
    mopstest.need_root()
    src = source_tree(env)
    mounts = [mount(env, "-o", "io=passthrough"), mount(env, "-o", "io=cached")]
    programs = [env.base / "new-0", env.base / "new-1"]
    for p in programs:
        shutil.copy2(MOPSFS, p)
    done = 0

    def upgrade_all():
        nonlocal done
        for at, supervisor in mounts:
            program = programs[done // 2 % 2]
            env.run(program, "upgrade", at, timeout=60)
            (worker,) = children(supervisor)
            if os.readlink(f"/proc/{worker}/exe") != str(program):
                raise Failed(f"{os.readlink(f'/proc/{worker}/exe')} serves")
            done += 1
    under_kills(env, src, mounts, upgrade_all, 0.2)
    print(f"# {done} upgrades")
    for p in programs:
        p.unlink()
    for at, supervisor in mounts:
        (worker,) = children(supervisor)
        kill(worker)
        mopstest.same(mopstest.snapshot(src), mopstest.snapshot(at))
        (worker,) = children(supervisor)
        if os.readlink(f"/proc/{worker}/exe") != f"{programs[(done // 2 - 1) % 2]} (deleted)":
            raise Failed("the old program is back")


def a_program_that_fails_is_not_upgraded_to(env):
    mopstest.need_root()
    source_tree(env)
    at, supervisor = mount(env)
    before = children(supervisor)
    path = env.base / "liar"
    for content in (b"#!/bin/sh\nexit 0\n", b"nothing that runs", pathlib.Path("/bin/false").read_bytes()):
        path.write_bytes(content)
        path.chmod(0o755)
        answer = ask(env, f"upgrade {path}")
        if answer.strip() != "failed another program asks for it":
            raise Failed(answer)
    # This one does ask, and then does not know what to do.
    path.write_bytes(pathlib.Path(sys.executable).resolve().read_bytes())
    answer = ask(env, f"upgrade {path}", path)
    if answer.strip() != "failed the new program ended":
        raise Failed(answer)
    if ask(env, "upgrade /nowhere").strip() != "failed another program asks for it":
        raise Failed("no reason")
    if children(supervisor) != before or len((at / "small/3").read_bytes()) != 3700:
        raise Failed("the mount was touched")
    env.mopsfs("upgrade", env.base, code=2)
    env.mopsfs("upgrade", at)
    if children(supervisor) == before:
        raise Failed("not upgraded")


def an_upgrade_right_after_a_refused_one_succeeds(env):
    mopstest.need_root()
    source_tree(env)
    at, supervisor = mount(env)
    places = [env.cache(), env.base / "data"]
    for _ in range(10):
        before = children(supervisor)
        for path in places:
            path.rename(f"{path}.away")
        env.mopsfs("upgrade", at, code=3)
        for path in places:
            shutil.rmtree(path, ignore_errors=True)
            pathlib.Path(f"{path}.away").rename(path)
        env.mopsfs("upgrade", at)
        if children(supervisor) == before:
            raise Failed("not upgraded")


def an_upgrade_that_finds_no_worker_serves(env):
    """The one that served crashed, and the pause before its next one is not over."""
    env.crashes = True
    mopstest.need_root()
    source_tree(env)
    at, supervisor = mount(env)
    program = env.base / "new"
    shutil.copy2(MOPSFS, program)
    for _ in range(6):  # from now on the pause is long
        pid = status(env, at)["pid"]
        kill(pid, signal.SIGSEGV)
        wait_for("its end", lambda pid=pid: pid not in children(supervisor))
    old = status(env, at)["pid"]
    upgrade = env.start(program, "upgrade", at)
    (new,) = wait_for("the new one", lambda: [c for c in children(supervisor) if c != old])
    kill(new, signal.SIGSTOP)
    kill(old, signal.SIGSEGV)
    wait_for("the end of the old one", lambda: old not in children(supervisor))
    kill(new, signal.SIGCONT)
    if upgrade.wait(100) or status(env, at)["pid"] != new:
        raise Failed(f"{upgrade.returncode}, {status(env, at)}\n{logs(env)}")
    if os.readlink(f"/proc/{new}/exe") != str(program):
        raise Failed("the old program is back")


def a_hung_worker_is_replaced(env):
    mopstest.need_root()
    src = source_tree(env)
    at, supervisor = mount(env, "-o", "watchdog=1")
    (worker,) = children(supervisor)
    mopstest.hang(worker)
    begin = time.monotonic()
    if read_in_a_process(env, at / "big1.bin", 20) != (src / "big1.bin").read_bytes():
        raise Failed("other bytes")
    took = time.monotonic() - begin
    told = status(env, at)["worker"]
    if told != {"last_end": "it was hung", "resends": True, "restarts": 1, "survives": True} or not 1 <= took < 6:
        raise Failed(f"{told} after {took:.1f} s\n{logs(env)}")


def a_stopped_worker_that_nobody_needs_is_left_alone(env):
    mopstest.need_root()
    source_tree(env)
    at, supervisor = mount(env, "-o", "watchdog=1")
    (worker,) = children(supervisor)
    mopstest.hang(worker)
    time.sleep(3.5)
    if children(supervisor) != [worker]:
        raise Failed("it was replaced")
    kill(worker, signal.SIGCONT)
    if status(env, at)["worker"]["restarts"]:
        raise Failed("counted as hung")


def workers_that_crash_again_and_again_are_given_up(env):
    env.crashes = True
    mopstest.need_root()
    source_tree(env)
    at, supervisor = mount(env)
    deaths = 0
    end = time.monotonic() + 40
    while is_mounted(at) and time.monotonic() < end:
        for pid in children(supervisor):
            kill(pid, signal.SIGSEGV)
            deaths += 1
            wait_for("its end", lambda pid=pid: pid not in children(supervisor), 5)
        time.sleep(0.02)
    wait_for("the supervisor to end", gone(supervisor), 5)
    if is_mounted(at) or deaths != 8 or "is given up after 8 workers" not in logs(env):
        raise Failed(f"{deaths} deaths\n{logs(env)}")
    if list(pathlib.Path(env.vars["XDG_RUNTIME_DIR"]).glob("mopsfs/*")):
        raise Failed("a socket is left")


def workers_that_need_too_much_memory_are_given_up(env):
    """What the kernel kills for that is told from what others kill. A mount in a place of
    its own, where /proc/vmstat says what we want it to."""
    mopstest.need_root()
    mopstest.need_fuse()
    source_tree(env)
    vmstat, at, log = env.base / "vmstat", env.fresh("mnt"), env.base / "mnt-oom.log"

    def out_of_memory(times):
        vmstat.write_text(f"pgfault 1\noom_kill {times}\noom_kill_other 7\n")
    out_of_memory(3)
    doc = env.run("unshare", "-m", "sh", "-c", 'mount --bind "$1" /proc/vmstat && shift && exec "$@"', "sh", vmstat,
                  mopstest.MOPSFS, "mount", "demo:1", at, "--json", "--log", log).stdout
    supervisor = parent_of(json.loads(doc)["pid"])

    def kill_one():
        (pid,) = wait_for("a worker", lambda: gone(supervisor)() and [0] or children(supervisor))
        if pid:
            kill(pid)
            wait_for("its end", lambda: pid not in children(supervisor), 5)
        return pid
    try:
        for _ in range(10):
            kill_one()
        if gone(supervisor)():
            raise Failed("ended by SIGKILLs of others")
        deaths = 0
        while deaths < 20:
            out_of_memory(4 + deaths)
            if not kill_one():
                break
            deaths += 1
        if deaths != 8 or "is given up after 8 workers in a row, the last because it was ended for lack of memory" not in log.read_text():
            raise Failed(f"{deaths} deaths\n{log.read_text()[-3000:]}")
    finally:
        kill(supervisor)


def a_crash_now_and_then_is_not_the_end(env):
    """What a killed worker says nothing about does not add up."""
    env.crashes = True
    mopstest.need_root()
    source_tree(env)
    at, supervisor = mount(env)
    for i in range(12):
        pid = status(env, at)["pid"]
        kill(pid, signal.SIGKILL if i % 3 else signal.SIGSEGV)
        wait_for("the next one", lambda pid=pid: pid not in children(supervisor), 5)
    if status(env, at)["worker"]["restarts"] != 12:
        raise Failed(status(env, at)["worker"])


def counters_go_on(env):
    mopstest.need_root()
    source_tree(env)
    env.new_cache()
    at, _ = mount(env, "-o", "io=cached")
    mopstest.snapshot(at)

    def counted():
        s = status(env, at)
        return s["pid"], {"bytes_read": s["bytes_read"], "misses": s["misses"], "read": s["requests"]["read"],
                          "network": s["fetch"]["bytes_network"], "fetched": s["fetch"]["requests"]}
    first, before = counted()
    if not all(before.values()):
        raise Failed(before)
    kill(first)
    wait_for("the next one", lambda: counted()[0] != first)
    second, after = counted()
    env.mopsfs("upgrade", at)
    third, last = counted()
    if third == second or any(not before[k] <= after[k] <= last[k] for k in before):
        raise Failed(f"{before} {after} {last}")
    # As much as went through: nothing is counted by each of them.
    if last["bytes_read"] != before["bytes_read"] or last["network"] > before["network"] + MIB:
        raise Failed(f"{before} {last}")


def a_mount_that_lost_all_is_made_anew_in_two_seconds(env):
    mopstest.need_root()
    source_tree(env)
    for both in (True, False):
        at, supervisor = mount(env)
        pids = [supervisor, *children(supervisor)] if both else [supervisor]
        with open(at / "small/1", "rb"):
            for pid in pids:
                kill(pid, signal.SIGSTOP)
            for pid in pids:
                kill(pid)
            begin = time.monotonic()
            wait_for("a new mount", lambda at=at: env.mopsfs("mount", "demo:1", at, code=None).returncode == 0, 2)
            if len((at / "small/2").read_bytes()) != 2700:
                raise Failed("not readable")
            print(f"# {(time.monotonic() - begin) * 1000:.0f} ms")
        env.umount(at)


def umount_works_between_workers(env):
    """A mount that ends while it has no worker leaves nothing behind."""
    mopstest.need_root()
    source_tree(env)
    for _ in range(10):
        at, supervisor = mount(env)
        kill(children(supervisor)[0])
        env.mopsfs("umount", at, code=None, timeout=20)
        wait_for("the supervisor to end", gone(supervisor), 5)
        if is_mounted(at):
            raise Failed("still mounted")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--read"]:
        how, at, source, seed, stop = sys.argv[2:]
        Reader(how, at, source, int(seed)).run(stop)
        sys.exit(0)
    mopstest.run([
        readers_do_not_notice_killed_workers,
        readers_do_not_notice_upgrades,
        a_program_that_fails_is_not_upgraded_to,
        an_upgrade_right_after_a_refused_one_succeeds,
        an_upgrade_that_finds_no_worker_serves,
        a_hung_worker_is_replaced,
        a_stopped_worker_that_nobody_needs_is_left_alone,
        workers_that_crash_again_and_again_are_given_up,
        workers_that_need_too_much_memory_are_given_up,
        a_crash_now_and_then_is_not_the_end,
        counters_go_on,
        a_mount_that_lost_all_is_made_anew_in_two_seconds,
        umount_works_between_workers,
    ])
