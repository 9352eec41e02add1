#!/usr/bin/python3
"""A worker gives up what it does not need, and still does all that it does.

What it was kept from is tried for real: ptrace makes one of its threads do the
system call, as whoever had taken the worker over would.
"""
import base64
import contextlib
import ctypes
import errno
import fcntl
import json
import os
import pathlib
import platform
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
import mopstest  # noqa: E402
from mopstest import MOPSFS, DockerRegistry, Failed, Skip, gone, is_mounted, wait_for  # noqa: E402

USER, WORD = "reader", "open-sesame"
SYS_ADMIN = 1 << 21
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.ptrace.restype = ctypes.c_long
LIBC.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
ATTACH, DETACH, GETREGS, SETREGS, STEP = 16, 17, 12, 13, 9
# x86_64: places in struct user_regs_struct.
ORIG_RAX, RIP, RSP, RAX, WORDS = 15, 16, 19, 10, 27
ARGUMENTS = (14, 13, 12, 7, 9, 8)  # rdi rsi rdx r10 r8 r9
CALLS = {"open": 2, "openat": 257, "execve": 59, "mount": 165, "ptrace": 101, "unlinkat": 263, "kill": 62, "socket": 41,
         "bpf": 321, "io_uring_setup": 425, "capset": 126, "fork": 57, "setns": 308, "getpid": 39, "close": 3,
         "umount2": 166, "fcntl": 72, "socketpair": 53, "setsockopt": 54, "chmod": 90, "fchmod": 91, "fchmodat": 268,
         "fchmodat2": 452, "truncate": 76, "utime": 132, "utimes": 235, "futimesat": 261, "utimensat": 280, "clone": 56,
         "sched_setaffinity": 203, "rename": 82}


def bundle(env, ref="demo:1.0"):
    top = env.fresh("ws")
    (top / "a.txt").write_text("a\n")
    mopstest.write_random(top / "big.bin", 3 << 20, 1)
    env.push(top, ref)
    return top


def status(env, at):
    return json.loads(env.mopsfs("status", at, "--json").stdout)


def expect(what, why=""):
    if not what:
        raise Failed(why or "not as expected")


def rights(pid):
    """Of every thread: what the kernel says from outside."""
    found = []
    for task in os.listdir(f"/proc/{pid}/task"):
        lines = pathlib.Path(f"/proc/{pid}/task/{task}/status").read_text().splitlines()
        found.append({k: v.strip() for k, v in (line.split(":", 1) for line in lines)})
    return found


def confined(pid, admin=False):
    wanted = SYS_ADMIN if admin else 0
    for t in rights(pid):
        expect(t["NoNewPrivs"] == "1" and t["Seccomp"] == "2", t)
        for kind in ("CapEff", "CapPrm", "CapBnd"):
            expect(int(t[kind], 16) == wanted, f"{t['Name']} {kind} {t[kind]}")
        for kind in ("CapInh", "CapAmb"):
            expect(int(t[kind], 16) == 0, f"{t['Name']} {kind} {t[kind]}")


def in_memory(pid, words):
    """Which of @words the memory that a process writes to has, and where."""
    found = []
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines():
            begin, end = (int(x, 16) for x in line.split()[0].split("-"))
            # Not what sanitizers reserve.
            if not line.split()[1].startswith("rw") or end - begin > 1 << 30:
                continue
            memory.seek(begin)
            try:
                content = memory.read(end - begin)
            except OSError:
                continue
            found += [f"{w} in {line}: {content[max(0, content.find(w) - 300):content.find(w) + 100]}" for w in words if w in content]
    return found


def same(top, at):
    mopstest.same(mopstest.snapshot(top), mopstest.snapshot(at))


class Taken:
    """One thread of a process, made to do system calls."""

    def __init__(self, pid):
        self.tid = pid

    def ptrace(self, what, data=None):
        if LIBC.ptrace(what, self.tid, None, ctypes.cast(data, ctypes.c_void_p) if data else None) < 0:
            raise OSError(ctypes.get_errno(), f"ptrace({what})")

    def wait(self):
        _, st = os.waitpid(self.tid, 0x40000000)  # __WALL
        expect(os.WIFSTOPPED(st), f"the worker ended: {st}")

    def __enter__(self):
        self.ptrace(ATTACH)
        self.wait()
        self.before = (ctypes.c_ulonglong * WORDS)()
        self.ptrace(GETREGS, self.before)
        self.memory = os.open(f"/proc/{self.tid}/mem", os.O_RDWR)
        self.code = os.pread(self.memory, 2, self.before[RIP])
        os.pwrite(self.memory, b"\x0f\x05", self.before[RIP])
        return self

    def __exit__(self, *exc):
        os.pwrite(self.memory, self.code, self.before[RIP])
        os.close(self.memory)
        self.ptrace(SETREGS, self.before)
        self.ptrace(DETACH)

    def call(self, name, *args):
        regs = (ctypes.c_ulonglong * WORDS)(*self.before)
        free = self.before[RSP] - 8192
        for place, a in zip(ARGUMENTS, args):
            if isinstance(a, str):
                os.pwrite(self.memory, a.encode() + b"\0", free)
                a, free = free, free + len(a) + 16
            regs[place] = a & (1 << 64) - 1
        regs[RAX], regs[ORIG_RAX] = CALLS[name], (1 << 64) - 1
        self.ptrace(SETREGS, regs)
        self.ptrace(STEP)
        self.wait()
        self.ptrace(GETREGS, regs)
        return struct.unpack("q", struct.pack("Q", regs[RAX]))[0]


def need_ptrace():
    mopstest.need_root()
    if platform.machine() != "x86_64":
        raise Skip("the registers are known for x86_64 only")


def every_thread_has_no_more_than_it_needs(env):
    mopstest.need_root()
    bundle(env)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(64, hard), hard))
    try:
        look_at_rights(env, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def look_at_rights(env, most_files):
    for path, admin in (("cached", False), ("passthrough", True)):
        with env.mount("demo:1.0", "-o", f"io={path}") as at:
            (at / "a.txt").read_text()
            s = status(env, at)
            expect(s["data_path"]["mode"] == path, s)
            expect(s["sandbox"] == {"on": True}, s["sandbox"])
            confined(s["pid"], admin)
            limits = pathlib.Path(f"/proc/{s['pid']}/limits").read_text().splitlines()
            expect(any(line.split()[4:6] == ["0", "0"] for line in limits if line.startswith("Max core")), limits)
            expect(resource.prlimit(s["pid"], resource.RLIMIT_NOFILE) == (most_files, most_files), "not raised")


def what_is_forbidden_is_refused(env):
    need_ptrace()
    bundle(env)
    outside = env.dir("outside")
    (outside / "secret").write_text("secret")
    readable = [env.dir("home/.docker") / "config.json", env.dir("config/containers/certs.d/there") / "ca.crt",
                env.dir("authorities") / "ca.pem", env.dir("home/.aws") / "config", env.dir("keys") / "google.json"]
    for path in readable:
        path.write_text("{}")
    readable += ["/etc/resolv.conf", "/etc/ssl/certs/ca-certificates.crt", "/proc/self/mountinfo"]
    env.vars |= {"MOPS_CA_FILE": str(readable[2]), "GOOGLE_APPLICATION_CREDENTIALS": str(readable[4])}
    with env.mount("demo:1.0", "-o", "io=cached") as at:
        pid = status(env, at)["pid"]
        write = os.O_WRONLY | os.O_CREAT
        with Taken(pid) as t:
            for path in readable:
                fd = t.call("openat", -100, str(path), os.O_RDONLY, 0)
                expect(fd >= 0, f"{path}: {fd}")
                expect(t.call("close", fd) == 0)
            # The means are sound: what is allowed is done.
            expect(t.call("getpid") == pid)
            expect(t.call("kill", os.getpid(), 0) == 0, "whether somebody lives")
            fd = t.call("openat", -100, str(env.cache() / "tmp" / "tried"), write, 0o600)
            expect(fd >= 0, f"the cache: {fd}")
            expect(t.call("close", fd) == 0)
            expect(t.call("unlinkat", -100, str(env.cache() / "tmp" / "tried"), 0) == 0)
            for path, flags in ((outside / "new", write), (outside / "secret", os.O_RDONLY),
                                (outside / "secret", os.O_WRONLY), ("/etc/mopsfs-tried", write),
                                ("/root", os.O_RDONLY | os.O_DIRECTORY)):
                r = t.call("openat", -100, str(path), flags, 0o600)
                expect(r == -errno.EACCES, f"{path}: {r}")
            expect(t.call("unlinkat", -100, str(outside / "secret"), 0) == -errno.EACCES)
            # Of sockets pairs are left, of those that lead nowhere else; of fcntl() what signals nobody.
            expect(t.call("socketpair", 1, 1, 0, " " * 8) == 0)
            expect(t.call("socketpair", 1, 5 | 0o2000000, 0, " " * 8) == 0)
            fd = t.call("openat", -100, "/dev/null", os.O_RDONLY, 0)
            expect(t.call("fcntl", fd, fcntl.F_SETFD, 1) == 0)
            for name, args in (("socket", (1, 1, 0)), ("socket", (1, 2, 0)), ("socketpair", (1, 2, 0, " " * 8)),
                               ("fcntl", (fd, fcntl.F_SETOWN, os.getpid())), ("fcntl", (fd, fcntl.F_SETSIG, signal.SIGURG)),
                               ("fcntl", (fd, 15, " " * 8)), ("setsockopt", (fd, 1, socket.SO_LINGER, "\1" * 8, 8)),
                               ("setsockopt", (fd, 1 | 1 << 32, socket.SO_LINGER, "\1" * 8, 8)), ("fcntl", (fd, fcntl.F_SETLEASE, fcntl.F_RDLCK))):
                r = t.call(name, *args)
                expect(r == -errno.ENOSYS, f"{name}{args}: {r}")
            expect(t.call("close", fd) == 0)
            for name, args in (("execve", ("/bin/true", 0, 0)), ("mount", ("none", str(outside), "tmpfs", 0, 0)),
                               ("umount2", (str(at), 0)), ("ptrace", (16, 1, 0, 0)), ("kill", (os.getpid(), signal.SIGURG)),
                               ("bpf", (0, 0, 0)), ("io_uring_setup", (1, 0)), ("capset", (0, 0)), ("fork", ()),
                               ("setns", (0, 0)), ("socket", (17, 3, 0))):
                r = t.call(name, *args)
                expect(r == -errno.ENOSYS, f"{name}: {r}")
        expect((at / "a.txt").read_text() == "a\n", "it does not go on")
        expect(status(env, at)["pid"] == pid, "it was replaced")
    expect(sorted(os.listdir(outside)) == ["secret"])


def modes_and_times_of_files_stay(env):
    """Landlock has no say in them: of its user's files, and with root's those are all."""
    need_ptrace()
    bundle(env)
    theirs = env.dir("outside") / "program"
    theirs.write_text("program")
    theirs.chmod(0o700)
    os.utime(theirs, (1, 1))
    before = theirs.stat()
    readable = env.dir("home/.docker") / "config.json"
    readable.write_text("{}")
    with env.mount("demo:1.0", "-o", "io=cached") as at:
        pid = status(env, at)["pid"]
        with Taken(pid) as t:
            ours = env.cache() / "tmp" / "tried"
            fd = t.call("openat", -100, str(ours), os.O_WRONLY | os.O_CREAT, 0o600)
            expect(fd >= 0, f"the cache: {fd}")
            # What the cache needs is done: the means are sound.
            for mode in (0o444, 0o644, 0o600):
                expect(t.call("fchmod", fd, mode) == 0, oct(mode))
            expect(t.call("utimensat", fd, 0, 0, 0) == 0)
            other = t.call("openat", -100, str(readable), os.O_RDONLY, 0)
            expect(other >= 0, f"{readable}: {other}")
            path, times = str(theirs), "\1" * 32
            refused = [("chmod", (path, 0o4755)), ("fchmodat", (-100, path, 0o4755)), ("fchmodat2", (-100, path, 0o4755, 0)),
                       ("truncate", (path, 0)), ("utime", (path, 0)), ("utimes", (path, 0)), ("futimesat", (-100, path, 0)),
                       ("utimensat", (-100, path, 0, 0)), ("utimensat", (fd, 0, times, 0))]
            refused += [("fchmod", (n, mode)) for n in (fd, other) for mode in (0o4755, 0o2755, 0o6600, 0o666, 0o660, 0o602, 0o755, 0)]
            # Where CAP_SYS_ADMIN stays, a thread could have them.
            refused += [("clone", (0x10f00 | space, 0, 0, 0, 0)) for space in (0x20000, 0x4000000, 0x8000000, 0x40000000, 0x2000000)]
            refused += [("sched_setaffinity", (0, 8, times))]
            make = os.O_WRONLY | os.O_CREAT
            refused += [("openat", (-100, str(ours) + "2", make, mode)) for mode in (0o4755, 0o2755, 0o6777)]
            refused += [("openat", (-100, str(ours.parent), os.O_WRONLY | os.O_TMPFILE, 0o4755)), ("open", (str(ours) + "2", make, 0o4755))]
            for name, args in refused:
                r = t.call(name, *args)
                expect(r == -errno.ENOSYS, f"{name}{args}: {r}")
            expect(t.call("close", fd) == 0 and t.call("close", other) == 0)
            expect(t.call("unlinkat", -100, str(ours), 0) == 0)
        expect((at / "a.txt").read_text() == "a\n", "it does not go on")
    now = theirs.stat()
    expect((now.st_mode, now.st_size, now.st_mtime_ns) == (before.st_mode, before.st_size, before.st_mtime_ns), now)


def what_commands_believe_of_the_cache_is_not_written(env):
    """What a tag was, and what a workspace's files hash to: no mount has to say it."""
    need_ptrace()
    bundle(env)
    env.new_cache()
    with env.mount("demo:1.0", "-o", "io=cached") as at:
        cache, write = env.cache(), os.O_WRONLY | os.O_CREAT
        refs = [p for p in (cache / "refs").iterdir() if p.is_file()]
        expect(refs, "nothing is remembered of the tag")
        before = {p: p.read_bytes() for p in refs}
        for _ in range(2):  # the first worker, and a successor
            pid = status(env, at)["pid"]
            confined(pid)
            with Taken(pid) as t:
                for path in refs:
                    for flags in (os.O_WRONLY, os.O_RDONLY | os.O_TRUNC):
                        r = t.call("openat", -100, str(path), flags, 0)
                        expect(r == -errno.EACCES, f"{path}: {r}")
                    expect(t.call("unlinkat", -100, str(path), 0) == -errno.EACCES, path)
                for path in (cache / "refs/new", cache / "hashes/new", cache / "new"):
                    r = t.call("openat", -100, str(path), write, 0o600)
                    expect(r == -errno.EACCES, f"{path}: {r}")
                # Nor is a folder of it moved away, to put another in its place; files are.
                made = cache / "tmp/made"
                fd = t.call("openat", -100, str(made), write, 0o600)
                expect(fd >= 0, f"{made}: {fd}")
                expect(t.call("close", fd) == 0)
                for old, new in (("refs", "refs.old"), ("refs", "tmp/refs"), ("tmp/made", "refs/made"), ("index", "index.old")):
                    r = t.call("rename", str(cache / old), str(cache / new))
                    expect(r == -errno.EACCES, f"{old} to {new}: {r}")
                for room in ("blobs", "partial", "index", "layers", "bundles", "leases", "locks", "quarantine", "trash", "tmp"):
                    r = t.call("rename", str(made), str(cache / room / "made"))
                    expect(r == 0, f"{room}: {r}")
                    made = cache / room / "made"
                expect(t.call("unlinkat", -100, str(made), 0) == 0)
            os.kill(pid, signal.SIGKILL)
            wait_for("a successor", lambda pid=pid: status(env, at)["pid"] != pid)
        expect({p: p.read_bytes() for p in refs} == before)


def a_cache_for_others_is_as_open_as_it_was(env):
    """A worker that may not give modes makes folders that have them, whatever its caller's umask is."""
    mopstest.need_root()
    registry = DockerRegistry(env)
    ref = f"{registry.host}/team/model:v1"
    top = bundle(env, ref)
    for mode in (0o755, 0o2750):
        env.new_cache()
        env.cache().mkdir(parents=True, exist_ok=True)
        env.cache().chmod(mode)
        before = os.umask(0o077)
        try:
            at = env.fresh("mnt")
            env.mounts.append(at)
            env.mopsfs("mount", ref, at, "-o", "io=cached")
        finally:
            os.umask(before)
        confined(status(env, at)["pid"])
        there = {p.name for p in (env.cache() / "blobs/sha256").iterdir()}
        same(top, at)
        made = {}

        def sealed(made=made, there=there):
            made.update((p.name, p.stat().st_mode & 0o7777) for p in (env.cache() / "blobs/sha256").iterdir() if p.name not in there)
            return made
        wait_for("a blob", sealed, 30)
        expect(set(made.values()) == {mode}, f"{made} in a cache of {mode:o}")
        env.umount(at)


def descriptors_of(pid):
    """(number, what it is)"""
    return [(int(fd), os.readlink(f"/proc/{pid}/fd/{fd}")) for fd in os.listdir(f"/proc/{pid}/fd")]


def taken_from(pid, fd):
    """The same open file, as whoever took the process over has it."""
    handle = os.pidfd_open(pid)
    got = LIBC.syscall(438, handle, fd, 0)  # pidfd_getfd
    os.close(handle)
    if got < 0:
        raise Skip(f"pidfd_getfd: {os.strerror(ctypes.get_errno())}")
    return got


def link_to(pid, supervisor):
    for fd, what in descriptors_of(pid):
        if what.startswith("socket:"):
            s = socket.socket(fileno=taken_from(pid, fd))
            peer = struct.unpack("3i", s.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
            if s.type == socket.SOCK_SEQPACKET and peer == supervisor:
                return s
    raise Failed("no link")


def outside_of(pid):
    """The end that its outside answers at; both ends are the worker's own."""
    return link_to(pid, pid)


def shared_with(pid):
    (memory,) = (fd for fd, what in descriptors_of(pid) if what.startswith("/memfd:mopsfs "))
    return taken_from(pid, memory)


def sockets_of(env):
    return set(pathlib.Path(env.vars["XDG_RUNTIME_DIR"]).glob("mopsfs/*.sock"))


def mounts_at(at):
    return sum(line.split()[4] == str(at) for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines())


def a_taken_over_worker_unmounts_no_other_mount(env):
    """Which mount is its own was said once: what it writes to shared memory, or says, counts for nothing."""
    mopstest.need_root()
    bundle(env)
    at, other = env.fresh("mnt"), env.fresh("other")
    env.mounts += [at, at, other]
    env.mopsfs("mount", "demo:1.0", at)
    (name,) = sockets_of(env)
    number = struct.pack("II", *map(int, name.stem.split("-")))
    first = status(env, at)
    # Another one comes to be where it is.
    env.mopsfs("mount", "demo:1.0", other)
    theirs = status(env, other)
    subprocess.run(["mount", "--move", str(other), str(at)], check=False, stderr=subprocess.DEVNULL)
    if mounts_at(at) != 2:
        subprocess.run(["mount", "--bind", str(other), str(at)], check=True)
    expect(mounts_at(at) == 2)
    memory, their_memory = shared_with(first["pid"]), shared_with(theirs["pid"])
    place = os.pread(memory, 1024, 0).index(number)
    honest, forged = (os.pread(m, 16, place) for m in (memory, their_memory))
    if os.pread(their_memory, 8, place) == number:
        raise Failed("both are one")
    unique = subprocess.run([sys.executable, "-c", UNIQUE, str(at)], check=True, capture_output=True).stdout
    forged = forged[:8] + struct.pack("Q", int(unique)) if int(unique) else forged
    os.pwrite(memory, forged, place)
    told = b"i%u %u %u" % struct.unpack("IIQ", forged)
    pid = first["pid"]
    for whose in ("the first worker's", "a successor's"):
        link = outside_of(pid)
        link.settimeout(10)
        link.send(told)
        link.send(b"u")
        expect(link.recv(100) == b"d", whose)
        link.close()
        expect(mounts_at(at) == 2, f"{whose} unmounts another mount")
        if pid == first["pid"]:
            os.kill(pid, signal.SIGKILL)
            pid = wait_for("a successor", lambda: next((int(p) for p in children(first["supervisor_pid"]) if int(p) != first["pid"]), 0))
            wait_for("its sandbox", lambda: all(t["Seccomp"] == "2" for t in rights(pid)))
    os.pwrite(memory, honest, place)
    subprocess.run(["umount", str(at)], check=True)
    expect(mounts_at(at) == 1 and (at / "a.txt").read_text() == "a\n")
    # Its own it does unmount, without a supervisor.
    os.kill(first["supervisor_pid"], signal.SIGKILL)
    wait_for("the end of the mount", lambda: not is_mounted(at))


def children(pid):
    return pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def name_of(pid):
    return pathlib.Path(f"/proc/{pid}/comm").read_text().rstrip("\n")


UNIQUE = """
import ctypes, os, struct, sys
# statx() with STATX_MNT_ID_UNIQUE, and nothing of the file itself
libc, buf = ctypes.CDLL(None), ctypes.create_string_buffer(256)
libc.statx(-100, sys.argv[1].encode(), 0x900, 0x4000, buf)
mask, = struct.unpack_from("I", buf, 0)
print(struct.unpack_from("Q", buf, 144)[0] if mask & 0x4000 else 0)
"""


def sockets_of_other_mounts_stay(env):
    need_ptrace()
    bundle(env)
    with env.mount("demo:1.0") as other, env.mount("demo:1.0") as at:
        before = sockets_of(env)
        expect(len(before) == 2, before)
        with Taken(status(env, at)["pid"]) as t:
            for path in before:
                r = t.call("unlinkat", -100, str(path), 0)
                expect(r == -errno.EACCES, f"{path}: {r}")
        expect(status(env, other)["pid"] != status(env, at)["pid"])
    wait_for("the supervisors to take them away", lambda: not sockets_of(env))


def a_successor_waits_for_the_kernel(env):
    """Whatever its predecessor did to the device, which is one file."""
    mopstest.need_root()
    bundle(env)
    with env.mount("demo:1.0") as at:
        def device(pid):
            return taken_from(pid, next(fd for fd, what in descriptors_of(pid) if what == "/dev/fuse"))
        pid = status(env, at)["pid"]
        fd = device(pid)
        os.set_blocking(fd, False)
        os.close(fd)
        os.kill(pid, signal.SIGKILL)
        wait_for("a successor", lambda: status(env, at)["pid"] != pid)
        fd = device(status(env, at)["pid"])
        expect(os.get_blocking(fd), "it spins")
        os.close(fd)


def programs_are_run_in_numbers(env):
    """Whoever took a worker over cannot fill the machine with them."""
    mopstest.need_root()
    bin_dir, ran = env.dir("bin"), env.base / "ran"
    helper = bin_dir / "docker-credential-test"
    helper.write_text(f"#!/bin/sh\necho >> {ran}\nread end\n")
    helper.chmod(0o755)
    env.vars["PATH"] = f"{bin_dir}:{env.vars['PATH']}"
    bundle(env)
    with env.mount("demo:1.0") as at:
        link, pid = outside_of(status(env, at)["pid"]), status(env, at)["pid"]
        (outside,) = (p for p in children(pid) if name_of(p) != "mopsfs-notifier")
        for _ in range(2):
            kept = []
            for _ in range(20):
                inputs, outputs, state = socket.socketpair(), socket.socketpair(), socket.socketpair()
                socket.send_fds(link, [b"x%s\x1eget\x1e" % str(helper).encode()], [inputs[1].fileno(), outputs[1].fileno(), state[1].fileno()])
                for pair in (inputs, outputs, state):
                    pair[1].close()
                kept.append((inputs[0], outputs[0], state[0]))
            refused = [state for _, _, state in kept[8:]]
            for state in refused:
                state.settimeout(10)
                expect(state.recv(4) == b"", "it was run")
            wait_for("those that are run", lambda: ran.exists() and ran.read_text() == "\n" * 8)
            expect(len(children(outside)) == 8, children(outside))
            # They end, and there is room again.
            for inputs, _, state in kept[:8]:
                inputs.close()
                state.settimeout(10)
                expect(len(state.recv(4)) == 4, "no status")
            wait_for("their ends", lambda: not children(outside), 10)
            ran.unlink()
        link.close()


def a_taken_over_worker_holds_nobody_up(env):
    """What its supervisor gets from it neither stops it nor starts a program."""
    mopstest.need_root()
    bundle(env)
    fifo, full = env.base / "fifo", os.pipe()
    os.mkfifo(fifo)
    os.set_blocking(full[1], False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(full[1], b"x" * 65536)
    os.set_blocking(full[1], True)
    with env.mount("demo:1.0") as at:
        s = status(env, at)
        (memory,) = (fd for fd, what in descriptors_of(s["pid"]) if what.startswith("/memfd:mopsfs "))
        memory = taken_from(s["pid"], memory)
        for size in (0, 1 << 40):
            try:
                os.ftruncate(memory, size)
                raise Failed("the shared memory changes its size")
            except PermissionError:
                pass
        link = link_to(s["pid"], s["supervisor_pid"])
        asking, asker = socket.socketpair()
        asking.settimeout(5)
        socket.send_fds(link, [b"g/nowhere"], [full[1]])
        socket.send_fds(link, [b"g" + str(fifo).encode()], [full[1]])
        socket.send_fds(link, [b"g" + os.readlink("/proc/self/exe").encode()], [asker.fileno()])
        asker.close()
        answer = asking.recv(100)
        expect(not answer, f"who did not come to the socket is told {answer}")
        # One that did come names what keeps whoever opens it.
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(5)
        client.connect(str(next(pathlib.Path(env.vars["XDG_RUNTIME_DIR"]).glob("mopsfs/*.sock"))))
        client.sendall(f"upgrade {fifo}\n".encode())
        answer = client.recv(100)
        expect(answer == b"failed another program asks for it\n", answer)
        # Questions, and no answer is read. The first of them ends the mount.
        os.kill(s["pid"], signal.SIGSTOP)
        try:
            for _ in range(3000):
                link.send(b"u")
            os.kill(s["supervisor_pid"], signal.SIGTERM)
            wait_for("the signal to be passed on", lambda: int(rights(s["pid"])[0]["ShdPnd"], 16) & 1 << signal.SIGTERM - 1, 10)
        finally:
            os.kill(s["pid"], signal.SIGKILL)
            link.close()
        wait_for("the end", gone(s["supervisor_pid"]), 10)


def the_first_answer_says_all(env):
    """Who asks as soon as there is a socket is not told of a mount that is half set up."""
    mopstest.need_root()
    mopstest.need_fuse()
    bundle(env)
    sockets = pathlib.Path(env.vars["XDG_RUNTIME_DIR"]) / "mopsfs"
    for _ in range(5):
        at = env.fresh("mnt")
        env.mounts.append(at)
        p = env.start(MOPSFS, "mount", "demo:1.0", at, "-q", "--prefetch", "role")
        end = time.monotonic() + 20
        while not (found := list(sockets.glob("*.sock"))):
            expect(time.monotonic() < end, "no socket")
            time.sleep(0.0005)  # at once, or nearly: the mount needs a processor, too
        (path,) = found
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(20)

            def connected(s=s, path=path):
                try:
                    s.connect(str(path))
                except ConnectionRefusedError:  # not listened to yet
                    return False
                return True
            while not connected():
                expect(time.monotonic() < end, "no connection")
                time.sleep(0.0005)
            s.sendall(b"status\n")
            told = json.loads(s.makefile().read())
        expect(told["sandbox"] == {"on": True} and "prefetch" in told, told)
        expect(p.wait(20) == 0)
        env.mopsfs("umount", at)


def off_is_off(env):
    mopstest.need_root()
    bundle(env)
    for args in (("--no-sandbox",), ("-o", "sandbox=off")):
        with env.mount("demo:1.0", *args) as at:
            s = status(env, at)
            expect(s["sandbox"] == {"on": False}, s)
            expect(b"sandbox: off" in env.mopsfs("status", at).stdout)
            expect(all(t["NoNewPrivs"] == "0" and t["Seccomp"] == "0" for t in rights(s["pid"])))
    env.mopsfs("mount", "demo:1.0", env.fresh("mnt"), "-o", "sandbox=perhaps", code=2)


def what_the_kernel_lacks_is_said(env):
    need_ptrace()
    strace = mopstest.need_program("strace")
    top = bundle(env)
    # The first call asks for the version: Linux 5.19's has no say in truncate().
    for call, what, part in (("landlock_create_ruleset", "error=ENOSYS", "Landlock"),
                             ("landlock_create_ruleset", "retval=2:when=1", "Landlock's control of emptying files"),
                             ("seccomp", "error=ENOSYS", "seccomp")):
        at, log = env.fresh("mnt"), env.base / f"{part}.log"
        env.mounts.append(at)
        p = env.start(strace, "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e",
                      f"inject={call}:{what}", MOPSFS, "mount", "demo:1.0", at, "--log", log,
                      stderr=subprocess.DEVNULL)
        wait_for("the message", lambda log=log: log.exists() and log.read_text())
        s = status(env, at)["sandbox"]
        expect(s["on"] and s["lacks"].startswith(f"{part} ("), s)
        expect(f"sandbox: on, without {part} (".encode() in env.mopsfs("status", at).stdout)
        expect(log.read_text().count("the sandbox is without") == 1, log.read_text())
        same(top, at)
        env.umount(at)
        p.wait(30)


def successors_are_confined(env):
    mopstest.need_root()
    top = bundle(env)
    env.new_cache()
    with env.mount("demo:1.0") as at:
        first = status(env, at)
        os.kill(first["pid"], signal.SIGKILL)
        wait_for("a successor", lambda: status(env, at)["pid"] != first["pid"])
        second = status(env, at)
        confined(second["pid"], second["data_path"]["mode"] == "passthrough")
        env.mopsfs("upgrade", at)
        third = status(env, at)
        expect(third["pid"] != second["pid"])
        confined(third["pid"], third["data_path"]["mode"] == "passthrough")
        same(top, at)


def successors_keep_no_more_than_the_first(env):
    """Whether files are passed through was said once: what is in shared memory later counts for nothing."""
    mopstest.need_root()
    top = bundle(env)
    with env.mount("demo:1.0", "-o", "io=cached") as at:
        (name,) = sockets_of(env)
        first = status(env, at)
        memory = shared_with(first["pid"])
        identity = os.pread(memory, 1024, 0).index(struct.pack("II", *map(int, name.stem.split("-"))))
        expect(os.pread(memory, 1, identity + 16) == b"\0")
        os.pwrite(memory, b"\1", identity + 16)
        os.kill(first["pid"], signal.SIGKILL)
        wait_for("a successor", lambda: status(env, at)["pid"] != first["pid"])
        second = status(env, at)
        confined(second["pid"])
        env.mopsfs("upgrade", at)
        third = status(env, at)
        expect(third["pid"] != second["pid"])
        confined(third["pid"])
        same(top, at)


def the_end_without_a_supervisor(env):
    """The worker may not unmount; its outside does."""
    mopstest.need_root()
    bundle(env)
    at = env.fresh("mnt")
    env.mounts.append(at)
    env.mopsfs("mount", "demo:1.0", at)
    os.kill(status(env, at)["supervisor_pid"], signal.SIGKILL)
    wait_for("the end of the mount", lambda: not is_mounted(at))


@contextlib.contextmanager
def cold(env, ref, *args):
    """A mount whose cache has nothing but what mounting needs."""
    env.new_cache()
    with env.mount(ref, *args) as at:
        s = status(env, at)
        confined(s["pid"], s["data_path"]["mode"] == "passthrough")
        yield at


def logins_from_a_helper(env):
    """Asked while the mount serves: the password is another one by then."""
    mopstest.need_root()
    registry = DockerRegistry(env, USER, WORD)
    bin_dir, asked = env.dir("bin"), env.dir("asked")
    helper = bin_dir / "docker-credential-test"
    helper.write_text(f"#!/bin/sh\nread server\ncat /proc/self/status > {asked}/$$\n"
                      f"echo '{{\"Username\":\"{USER}\",\"Secret\":\"'$(cat {bin_dir}/word)'\"}}'\n")
    (bin_dir / "word").write_text(WORD)
    helper.chmod(0o755)
    (env.dir("home/.docker") / "config.json").write_text('{"credsStore":"test"}')
    env.vars["PATH"] = f"{bin_dir}:{env.vars['PATH']}"
    ref = f"{registry.host}/team/model:v1"
    top = bundle(env, ref)
    with cold(env, ref) as at:
        registry.stop()
        registry.make_users(USER, "another")
        (bin_dir / "word").write_text("another")
        expect(registry.start(), "the registry did not come again")
        for p in asked.iterdir():
            p.unlink()
        same(top, at)
        pid = status(env, at)["pid"]
        old, new = ([word.encode(), base64.b64encode(f"{USER}:{word}".encode())] for word in (WORD, "another"))
        expect(in_memory(pid, new), "the login that it uses is not found: the means are unsound")
        left = in_memory(pid, old)
        expect(not left, left)
    by_mount = [p.read_text() for p in asked.iterdir()]
    expect(by_mount, "the helper was not asked")
    expect(all("NoNewPrivs:\t0" in t and "Seccomp:\t0" in t for t in by_mount), by_mount[:1])


CACHING = r"""
set -e
fs=$1 ref=$2 at=$3 base=$4 python=$5
mount -t tmpfs none /run
mkdir /run/nscd
mount --bind "$base/hosts" /etc/hosts
mount --bind "$base/nsswitch.conf" /etc/nsswitch.conf
"$python" -c 'import socket, sys
s = socket.socket(socket.AF_UNIX)
s.bind("/run/nscd/socket")
s.listen()
while True:
    s.accept()[0].close()
    print("asked", file=open(sys.argv[1], "a"))' "$base/asked" &
cache=$!
trap 'kill $cache; umount -l "$at"' EXIT
for i in $(seq 1500); do test -S /run/nscd/socket && break; sleep 0.02; done
test -S /run/nscd/socket
"$fs" mount "$ref" "$at" -q
test -s "$base/asked" || echo "not asked by who may"
: > "$base/asked"
pid=$("$fs" status "$at" --json | sed 's/.*"pid":\([0-9]*\).*/\1/')
kill -9 "$pid"
timeout 60 sha256sum "$at/big.bin"
grep Seccomp: /proc/$("$fs" status "$at" --json | sed 's/.*"pid":\([0-9]*\).*/\1/')/status
"""


def names_are_found_without_services_behind_sockets(env):
    """A name cache, and what nsswitch.conf has first, cannot be asked any more: the files answer."""
    mopstest.need_root()
    mopstest.need_fuse()
    registry = DockerRegistry(env)
    top = bundle(env, f"{registry.host}/team/model:v1")
    (env.base / "hosts").write_text("127.0.0.1 registry.test\n")
    (env.base / "nsswitch.conf").write_text("hosts: resolve [!UNAVAIL=return] files\n")
    env.new_cache()
    at = env.fresh("mnt")
    said = env.run("unshare", "-m", "sh", "-c", CACHING, "sh", MOPSFS, f"registry.test:{registry.host.split(':')[1]}/team/model:v1",
                   at, env.base, sys.executable, env={"MOPS_PLAIN_HTTP": "true"}, timeout=120).stdout.decode()
    expect(mopstest.sha256_file(top / "big.bin") in said and "Seccomp:\t2" in said, said)
    expect("not asked" in said or not (env.base / "asked").read_text(), "it was asked")


def authorities_in_a_folder(env):
    mopstest.need_root()
    registry = DockerRegistry(env, tls=True, clients=True)
    env.vars["MOPS_PLAIN_HTTP"] = "false"
    at = env.dir(f"config/containers/certs.d/{registry.host}")
    for name, to in (("ca.pem", "ca.crt"), ("client.pem", "client.cert"), ("client.key", "client.key")):
        shutil.copy(registry.dir / name, at / to)
    ref = f"{registry.host}/team/model:v1"
    top = bundle(env, ref)
    with cold(env, ref) as at:
        # The next worker knows nothing of the connection, and begins anew.
        os.kill(status(env, at)["pid"], signal.SIGKILL)
        same(top, at)


def without_a_descriptor_reads_fail_at_once(env):
    mopstest.need_root()
    top = bundle(env)
    env.mops("pull", "demo:1.0")
    with env.mount("demo:1.0", "-o", "io=cached") as at:
        pid = status(env, at)["pid"]
        had = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, had[1]))
        begin = time.monotonic()
        try:
            (at / "big.bin").read_bytes()
            raise Failed("it was read")
        except OSError as e:
            expect(e.errno == errno.EMFILE, e)
        finally:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, had)
        expect(time.monotonic() - begin < 2, "late")
        (site,) = status(env, at)["errors"]
        expect(site["name"] == "files" and site["count"] >= 1, site)
        same(top, at)


def trimming_goes_on(env):
    mopstest.need_root()
    registry = DockerRegistry(env)
    ref = f"{registry.host}/team/model:v1"
    top = bundle(env, ref)
    env.vars["MOPS_CACHE_MAX_SIZE"] = "1MiB"
    with cold(env, ref, "-o", "io=cached") as at:
        same(top, at)
        blobs = env.cache() / "blobs"

        def size():
            return sum(p.stat().st_size for p in blobs.rglob("*") if p.is_file())
        wait_for("room", lambda: size() < 2 << 20, 30)
        same(top, at)


def other_caches_are_read_and_not_written(env):
    """One of a site, and those of a group whose other members are just folders here."""
    need_ptrace()
    top = bundle(env)
    site = env.fresh("site")
    env.mops("pull", "demo:1.0", env={"MOPS_CACHE_DIR": str(site)})
    group = env.fresh("group")
    group.chmod(0o3770)
    (group / "61001/blobs/sha256").mkdir(parents=True)
    (group / "61001/blobs/sha256/file").write_text("theirs")
    for path in (env.base / "data").rglob("*"):
        if path.is_file() and path.stat().st_size > 1 << 20:
            path.unlink()
    shared = {"MOPS_CACHE_DIR": str(group), "MOPS_CACHE_SHARED": "group", "MOPS_CACHE_ALTERNATES": str(site)}
    for settings in ({"MOPS_CACHE_ALTERNATES": str(site)}, shared):
        with env.mount("demo:1.0", "-o", "io=cached", env=settings) as at:
            same(top, at)
            pid = status(env, at)["pid"]
            confined(pid)
            with Taken(pid) as t:
                for folder in [site] + [group / "61001"] * ("MOPS_CACHE_SHARED" in settings):
                    one = next(p for p in (folder / "blobs").rglob("*") if p.is_file())
                    fd = t.call("openat", -100, str(one), os.O_RDONLY, 0)
                    expect(fd >= 0, f"{one}: {fd}")
                    expect(t.call("close", fd) == 0)
                    for path, flags in ((one, os.O_WRONLY), (one.parent / "new", os.O_WRONLY | os.O_CREAT)):
                        r = t.call("openat", -100, str(path), flags, 0o600)
                        expect(r == -errno.EACCES, f"{path}: {r}")
                    expect(t.call("unlinkat", -100, str(one), 0) == -errno.EACCES)
            same(top, at)


if __name__ == "__main__":
    mopstest.run([
        every_thread_has_no_more_than_it_needs,
        what_is_forbidden_is_refused,
        modes_and_times_of_files_stay,
        what_commands_believe_of_the_cache_is_not_written,
        a_cache_for_others_is_as_open_as_it_was,
        a_taken_over_worker_unmounts_no_other_mount,
        sockets_of_other_mounts_stay,
        a_successor_waits_for_the_kernel,
        programs_are_run_in_numbers,
        a_taken_over_worker_holds_nobody_up,
        the_first_answer_says_all,
        off_is_off,
        what_the_kernel_lacks_is_said,
        successors_are_confined,
        successors_keep_no_more_than_the_first,
        the_end_without_a_supervisor,
        logins_from_a_helper,
        names_are_found_without_services_behind_sockets,
        authorities_in_a_folder,
        without_a_descriptor_reads_fail_at_once,
        trimming_goes_on,
        other_caches_are_read_and_not_written,
    ])
