#!/usr/bin/python3
"""A system call that fails, or that the program dies at, at every place where push,
pull, materialize, import, gc, verify and a mount make one: strace injects one fault a
run. Whatever happens, the exit code is one of those that are documented and nothing
crashes; no name has a wrong byte, in the cache (tests/tools/check_cache.py), in the
registry's folder and among the files that were written; and the same command, run
again, does what it should.

FAULTS sets how many (1,500), SEED the sequence, JOBS how many at a time (2)."""
import collections
import concurrent.futures
import hashlib
import json
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from mopstest import (DockerRegistry, Failed, MOPS, MOPSFS, Skip, is_mounted, need_fuse, need_program,  # noqa: E402
                      need_root, run, same, snapshot, sound_cache, write_random)

FAULTS = int(os.environ.get("FAULTS", "1500"))
SEED = int(os.environ.get("SEED", "1"))
JOBS = int(os.environ.get("JOBS", "2"))
MIB = 1 << 20
# Where all is written and read meanwhile: memory, since a disk that must keep its word at
# each fsync makes it no better a test, only a slower one.
if "TMPDIR" not in os.environ and os.path.isdir("/dev/shm") and os.access("/dev/shm", os.W_OK) and \
        shutil.disk_usage("/dev/shm").free > 512 * MIB:
    os.environ["TMPDIR"] = "/dev/shm"

# What each call may say. A fault ends with "+" when the call fails from then on.
ERRORS = {
    "openat": "EIO EMFILE ENFILE ENOSPC EACCES EINTR ESTALE ENOSPC+ EMFILE+",
    "openat2": "EIO EMFILE EINTR EACCES",
    "read": "EIO EINTR ESTALE",
    "pread64": "EIO EINTR ESTALE EIO+",
    "write": "EIO ENOSPC EDQUOT EINTR ENOSPC+",
    "pwrite64": "EIO ENOSPC EDQUOT EINTR ENOSPC+ EIO+",
    "fsync": "EIO ENOSPC EDQUOT EIO+",
    "fdatasync": "EIO ENOSPC EIO+",
    "syncfs": "EIO ENOSPC",
    "linkat": "EIO ENOSPC EMLINK EPERM EXDEV EEXIST EPERM+",
    "renameat": "EIO ENOSPC EACCES",
    "renameat2": "EIO ENOSPC EINVAL",
    "ftruncate": "EIO ENOSPC",
    "fallocate": "EIO ENOSPC EDQUOT EOPNOTSUPP EINTR ENOSPC+",
    "mkdirat": "EIO ENOSPC EACCES EMLINK",
    "mkdir": "EIO ENOSPC",
    "symlinkat": "EIO ENOSPC EEXIST",
    "unlinkat": "EIO EACCES EBUSY EIO+",
    "readlinkat": "EIO",
    "fchmod": "EIO EPERM",
    "fchmodat": "EIO EPERM",
    "utimensat": "EIO EPERM",
    "newfstatat": "EIO EACCES ESTALE",
    "fstatfs": "EIO",
    "statfs": "EIO",
    "getdents64": "EIO",
    "lseek": "EIO",
    "fcntl": "ENOLCK EINTR ENOLCK+",
    "flock": "ENOLCK EINTR ENOLCK+",
    "ioctl": "EIO ENOTTY EOPNOTSUPP",
    "copy_file_range": "EIO ENOSPC EXDEV",
    "sendfile": "EIO ENOSPC",
    "memfd_create": "EMFILE ENOMEM",
    "mmap": "ENOMEM",
    "clone3": "EAGAIN EAGAIN+",
    "socket": "EMFILE ENOBUFS",
    "connect": "ECONNREFUSED ETIMEDOUT ENETUNREACH EINTR",
    "sendto": "ECONNRESET EPIPE EINTR",
    "recvfrom": "ECONNRESET ETIMEDOUT EINTR",
    "poll": "EINTR ENOMEM",
    "eventfd2": "EMFILE",
    "socketpair": "EMFILE",
    "pipe2": "EMFILE",
}
# The daemon's talk with the kernel is not to be broken: no answer, no reader that goes on.
NOT_IN_A_MOUNT = ("read", "write", "ioctl", "poll", "mmap", "clone3", "fcntl")


class World:
    """What every run starts from, made once."""

    def __init__(self, env):
        need_program("strace")
        self.env = env
        self.src = env.fresh("src")
        for i in range(8):
            write_random(self.src / f"d/f{i}", 50 + 1731 * i, i)
        write_random(self.src / "big/two.bin", 2 * MIB + 77, 100)
        write_random(self.src / "big/one.bin", MIB, 101)
        (self.src / "d/run").write_text("#!/bin/sh\n")
        (self.src / "d/run").chmod(0o755)
        (self.src / "d/link").symlink_to("f1")
        self.want = snapshot(self.src)
        (self.src / ".mops-bundle.yaml").write_text(
            "bundle:\n  name: x\n  version: '1'\n  layers:\n"
            "    - {name: code, paths: ['d/**']}\n    - {name: big, paths: ['big/**']}\n"
            "  roles:\n    default: [code, big]\n")
        self.layout = env.base / "template/layout"
        self.digest = env.push(self.src, f"oci:{self.layout}:x:1")["digest"]
        self.archive = env.base / "x.tar"
        env.mops("export", f"oci:{self.layout}:x:1", "-o", self.archive, "-q")
        env.new_cache()
        env.mops("pull", f"oci:{self.layout}:x:1", "-q")
        self.warm = env.cache()
        self.lock = threading.Lock()
        self.n = 0

    def fresh(self):
        """A folder for one run."""
        with self.lock:
            self.n += 1
            at = self.env.base / f"run-{self.n}"
        (at / "home").mkdir(parents=True)
        return at

    def vars(self, at):
        return {**self.env.vars, "MOPS_CACHE_DIR": str(at / "cache"), "HOME": str(at / "home"),
                "XDG_DATA_HOME": str(at / "data"), "XDG_STATE_HOME": str(at / "state")}


class Command:
    """One command: how its run begins, and what must have come of it."""
    weight = 1
    calls = tuple(ERRORS)
    cold = True
    # 1, 2, 10, 11 and 12 would be lies: the bundle is there, and fine, and nothing is in its way.
    codes = (0, 3)

    def __init__(self, world):
        self.w = world
        self.name = type(self).__name__.lower()

    def prepare(self, at):
        if not self.cold:
            shutil.copytree(self.w.warm, at / "cache", symlinks=True)

    def argv(self, at):
        raise NotImplementedError

    def partly(self, at):
        """Nothing wrong is there, whatever is missing."""

    def wholly(self, at):
        """It did all it should."""

    def ref(self, _):
        return f"oci:{self.w.layout}:x:1"

    def run(self, at, strace=()):
        """(exit status, what it said)"""
        p = subprocess.run([*strace, *map(str, self.argv(at))], env=self.w.vars(at), timeout=120, check=False,
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        return p.returncode, (p.stdout + p.stderr).decode(errors="replace")

    def offline(self, at):
        """All of the bundle is in the cache, and right."""
        dest = at / "offline"
        p = subprocess.run([MOPS, "materialize", "--offline", "-q", self.ref(at), dest], env=self.w.vars(at), timeout=120,
                           check=False, stderr=subprocess.PIPE)
        if p.returncode:
            raise Failed(f"it is not all in the cache: {p.stderr.decode()}")
        same(self.w.want, snapshot(dest), "the cache's content and the source")
        shutil.rmtree(dest)


def right_folder(want, dest, but=re.compile(r"(.*/)?\.mops.*")):
    """Whatever stands below @dest under its own name is right."""
    for key, value in (snapshot(dest) if dest.exists() else {}).items():
        if want.get(key) != value and not but.match(key):
            raise Failed(f"{key} stands there wrong: {value}")


def right_layout(folder):
    """Every blob of an image-layout folder has the content of its name."""
    for path in folder.glob("blobs/sha256/*"):
        if re.fullmatch("[0-9a-f]{64}", path.name) and hashlib.sha256(path.read_bytes()).hexdigest() != path.name:
            raise Failed(f"{path.name} of the registry has other bytes")
    index = folder / "index.json"
    if index.exists():
        for entry in json.loads(index.read_bytes())["manifests"]:
            if not (folder / "blobs/sha256" / entry["digest"][7:]).exists():
                raise Failed(f"the registry lists {entry['digest']}, which is not there")


class Push(Command):
    def __init__(self, world):
        super().__init__(world)
        self.digest = world.digest

    @staticmethod
    def tags(at):
        return [e["digest"] for e in json.loads((at / "layout/index.json").read_bytes())["manifests"]]

    def argv(self, at):
        return [MOPS, "push", "-q", self.w.src, "--to", f"oci:{at}/layout:x:1"]

    def partly(self, at):
        right_layout(at / "layout")

    def wholly(self, at):
        right_layout(at / "layout")
        if self.tags(at) != [self.digest]:
            raise Failed(f"pushed {self.tags(at)}, not {self.digest}")


class Import(Push):
    def __init__(self, world):
        super().__init__(world)
        at = world.fresh()  # an archive has no bundle file: it becomes another bundle
        self.run(at)
        self.digest, = self.tags(at)
        right_layout(at / "layout")
        shutil.rmtree(at)

    def argv(self, at):
        return [MOPS, "import", "-q", self.w.archive, "--dest", at / "dest", "--to", f"oci:{at}/layout:x:1"]

    def partly(self, at):
        super().partly(at)
        right_folder(self.w.want, at / "dest")

    def wholly(self, at):
        super().wholly(at)
        same(self.w.want, snapshot(at / "dest"), "the unpacked archive and the source")


class Pull(Command):
    weight = 2

    def argv(self, at):
        return [MOPS, "pull", "-q", self.ref(at)]

    def wholly(self, at):
        self.offline(at)


class Materialize(Command):
    weight = 2

    def argv(self, at):
        return [MOPS, "materialize", "-q", self.ref(at), at / "dest"]

    def partly(self, at):
        right_folder(self.w.want, at / "dest")

    def wholly(self, at):
        same(self.w.want, snapshot(at / "dest"), "the materialized folder and the source")


class Rematerialize(Materialize):
    """From a cache that has it all."""
    weight = 1
    cold = False


class Gc(Command):
    cold = False

    def argv(self, at):
        return [MOPS, "cache", "gc", "-q", "--max-size", "0"]

    def wholly(self, at):
        if list((at / "cache/blobs/sha256").glob("*/*")):
            raise Failed("gc left blobs")


class Verify(Command):
    cold = False
    codes = (0, 2, 3)  # what cannot be read is damaged

    def argv(self, at):
        return [MOPS, "verify", "-q", "--cache"]

    def wholly(self, at):
        self.offline(at)


class Http(Pull):
    """From a registry behind a socket."""
    weight = 1
    calls = ("socket", "connect", "sendto", "recvfrom", "poll", "clone3", "eventfd2", "socketpair", "pipe2", "fcntl", "openat",
             "pwrite64", "fsync", "fdatasync", "linkat", "mmap")

    def __init__(self, world):
        super().__init__(world)
        self.host = DockerRegistry(world.env).host
        world.env.push(world.src, self.ref(None))

    def ref(self, _):
        return f"{self.host}/x@1"

    def argv(self, at):
        return [*super().argv(at), "--io-timeout", "10s"]


class Mount(Command):
    """A mount in the foreground, and a reader of all of it."""
    codes = (0, 2, 3)  # a mount point that nobody can look at is a usage error
    calls = tuple(c for c in ERRORS if c not in NOT_IN_A_MOUNT)

    def argv(self, at):
        return [MOPSFS, "mount", "-q", "-f", "--ready-fd", "1", self.ref(at), at / "mnt"]

    def run(self, at, strace=()):
        mnt = at / "mnt"
        mnt.mkdir(exist_ok=True)
        err = open(at / "stderr", "ab+")
        p = subprocess.Popen([*strace, *map(str, self.argv(at))], env=self.w.vars(at), stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=err)
        try:
            if p.stdout.read(1):
                self.read(at, mnt)
        finally:
            for _ in range(3):
                if is_mounted(mnt):
                    subprocess.run(["umount", "-l", mnt], check=False, stderr=subprocess.DEVNULL)
            p.stdout.close()
            try:
                p.wait(60)
            except subprocess.TimeoutExpired:
                p.kill()
                # The read that each worker dies of keeps the mount busy; without strace the next one answers it.
                if not killed_for_ever(at / "strace", 100):
                    raise
                p.wait()
            err.seek(0)
            said = err.read().decode(errors="replace")
            err.close()
        return p.returncode, said

    def read(self, at, mnt):
        """By another process: one that a dead daemon may keep waiting."""
        p = subprocess.run(["timeout", "-s", "KILL", "30", "find", ".", "-type", "f", "-not", "-path", "./.mops/*", "-exec",
                            "sha256sum", "{}", "+"], cwd=mnt, check=False, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        if (p.returncode == -9 or p.returncode == 137) and not killed_for_ever(at / "strace"):
            raise Failed("a reader hangs")
        got = {line[68:]: line[:64] for line in p.stdout.decode().splitlines()}
        for key, value in got.items():
            if self.w.want[key][2] != value:
                raise Failed(f"wrong bytes in {key} of the mount")
        (at / "read").write_text(str(len(got)))

    def wholly(self, at):
        files = sum(kind == "file" for kind, _, _ in self.w.want.values())
        if (at / "read").read_text() != str(files):
            raise Failed("not every file could be read")


def killed_for_ever(log, often=1000):
    """strace kills every next worker, too: of a call that all make before they come any further, there is no
    end. That is hundreds of workers in the reader's time; one that hangs is one."""
    return log.exists() and log.read_text(errors="replace").count("killed by SIGKILL") > often


def strace(log, *expressions):
    # The filter is fast: nothing but these calls stops. With it signals are not injected (strace 6.1).
    fast = [] if "signal=" in expressions[-1] else ["--seccomp-bpf"]
    return ["strace", "-f", *fast, "-q", "-o", str(log), *(a for e in expressions for a in ("-e", e))]


def calls_made(command):
    """call → how often the busiest thread makes it, and how often of those before
    main(): a program that cannot be loaded is not ours."""
    at = command.w.fresh()
    command.prepare(at)
    log = at / "strace"
    code, said = command.run(at, strace(log, "trace=prlimit64," + ",".join(command.calls)))
    if code:
        raise Failed(f"{command.name} without a fault: exit {code}\n{said}")
    command.wholly(at)
    total, early, loading = collections.Counter(), collections.Counter(), True
    for line in log.read_text(errors="replace").splitlines():
        m = re.match(r"(\d+) +(\w+)\(", line)
        if not m:
            continue
        total[m[2], m[1]] += 1
        if loading and m[2] == "prlimit64":
            loading = False
        if loading:
            early[m[2]] += 1
    shutil.rmtree(at)
    return {c: (early[c], max(n for (name, _), n in total.items() if name == c)) for c in {name for name, _ in total}
            if c in command.calls}


def faults_of(command, rng):
    """All (call, nth, fault) of a command in a random order in which the calls take
    turns, so that any number of the first ones is a fair choice."""
    queues = []
    for call, (early, last) in sorted(calls_made(command).items()):
        each = [(call, nth, fault) for nth in range(early + 1, last + 1)
                for fault in ["KILL", *ERRORS[call].split()]]
        rng.shuffle(each)
        queues.append(each)
    while queues := [q for q in queues if q]:
        for queue in queues:
            yield queue.pop()


def expression(call, nth, fault):
    if fault == "KILL":
        return f"inject={call}:signal=KILL:when={nth}"
    return f"inject={call}:error={fault.rstrip('+')}:when={nth}{'+' if fault.endswith('+') else ''}"


def acceptable(command, fault, code, said):
    if code == -9:
        return fault == "KILL"
    if code == -6:  # without memory or threads the programs end at once, by design, and say so
        return fault.rstrip("+") in ("ENOMEM", "EAGAIN") and ("out of memory" in said or "no thread to be had" in said)
    return code in command.codes


def inject(command, call, nth, fault):
    """One run with a fault, what it left, and one without. None: it was not reached."""
    at = command.w.fresh()
    command.prepare(at)
    log = at / "strace"
    try:
        code, said = command.run(at, strace(log, f"trace={call}", expression(call, nth, fault)))
        if fault == "KILL":
            if "killed by SIGKILL" not in log.read_text(errors="replace"):
                return None
        elif "(INJECTED)" not in log.read_text(errors="replace"):
            return None
        if not acceptable(command, fault, code, said):
            raise Failed(f"exit {code}: {said[-1000:]}")
        if (at / "cache").exists():
            sound_cache(at / "cache", kinds=("content", "bit", "mode", "foreign"))
        command.partly(at)
        if code == 0 and not isinstance(command, (Gc, Mount)):
            command.wholly(at)
        if isinstance(command, Import):
            shutil.rmtree(at / "dest", ignore_errors=True)  # it wants none
        again, said_again = command.run(at)
        if again:
            raise Failed(f"again: exit {again}: {said_again[-1000:]} (before: exit {code}: {said[-500:]})")
        command.wholly(at)
        sound_cache(at / "cache", kinds=("content", "bit", "mode", "foreign"))
        return code
    except (Failed, subprocess.TimeoutExpired, OSError, ValueError) as e:
        raise Failed(f"{command.name}, {expression(call, nth, fault)}: {e}") from e
    finally:
        shutil.rmtree(at, ignore_errors=True)


def sweep(command, wanted):
    rng = random.Random(f"{SEED} {command.name}")
    counts, bad, hit = collections.Counter(), [], 0
    plan = faults_of(command, rng)
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        while hit < wanted and len(bad) < 10:
            batch = [f for _, f in zip(range(min(wanted - hit, 50)), plan)]
            if not batch:
                break
            for job in [pool.submit(inject, command, *f) for f in batch]:
                try:
                    code = job.result()
                except Failed as e:
                    bad.append(str(e))
                    continue
                if code is not None:
                    hit += 1
                    counts[code] += 1
    codes = ", ".join(f"{n} times {'killed' if c == -9 else f'exit {c}'}" for c, n in sorted(counts.items()))
    print(f"# {command.name}: {hit} faults: {codes}", flush=True)
    for text in bad:
        print("# " + text.replace("\n", "\n# "), flush=True)
    if bad:
        raise Failed(f"{len(bad)} faults of {command.name}, see above")
    return hit


def strace_works():
    p = subprocess.run(["strace", "-f", "--seccomp-bpf", "-qq", "-o", "/dev/null", "-e", "trace=openat", "-e",
                        "inject=openat:error=EIO:when=10000", "true"], check=False, stderr=subprocess.PIPE)
    if p.returncode:
        raise Skip("strace cannot trace here: " + p.stderr.decode().strip()[:100])


COMMANDS = (Push, Import, Pull, Materialize, Rematerialize, Gc, Verify, Http)


def sweep_some(env, kinds, faults):
    need_program("strace")
    strace_works()
    world = World(env)
    total = sum(kind.weight for kind in kinds)
    hits, failed = 0, []
    for kind in kinds:
        try:
            hits += sweep(kind(world), -(-faults * kind.weight // total))
        except Failed as e:
            failed.append(str(e))
    if failed:
        raise Failed("; ".join(failed))
    print(f"# {hits} faults in all")


def commands(env):
    sweep_some(env, COMMANDS, FAULTS * 9 // 10)


def mounts(env):
    need_root()
    need_fuse()
    sweep_some(env, [Mount], FAULTS // 10)


run([commands, mounts])
