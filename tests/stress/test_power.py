#!/usr/bin/python3
"""The power goes out while bundles are pulled, materialized, pushed and removed.

The commands work on a file system on a disk that writes down every request
(tests/tools/write_log.py). Then the disk is made as it may have been at some moment: with
all that came before it, or without some of what came behind the last flush, or with half
of that. The file system is mounted as after a reboot, and looked at: no name has a wrong
byte, what a command had promised is all there, and the same commands succeed. For ext4,
xfs and btrfs.

IMAGES sets how many moments (105), SEED which."""
import bisect
import contextlib
import os
import pathlib
import random
import re
import shutil
import struct
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from mopstest import (MOPS, TOOLS, Failed, Skip, is_mounted, need_fuse, need_program, need_root, run, same,  # noqa: E402
                      sha256_file, snapshot, sound_cache, terminate, wait_for, write_random)

IMAGES = int(os.environ.get("IMAGES", "105"))
SEED = int(os.environ.get("SEED", "1"))
MIB = 1 << 20
SECTOR = 4096  # what a disk writes whole, or not at all
OTHER_BOOT = "11111111-2222-3333-4444-555555555555\n"
# Memory: the disk's own flushes are what counts, not those of the machine below it.
if "TMPDIR" not in os.environ and os.path.isdir("/dev/shm") and os.access("/dev/shm", os.W_OK) and \
        shutil.disk_usage("/dev/shm").free > 2048 * MIB:
    os.environ["TMPDIR"] = "/dev/shm"


class Unmountable(Exception):
    """A file system that did not survive."""


def call(*argv, env=None):
    p = subprocess.run([str(a) for a in argv], env=env, timeout=120, check=False, stdin=subprocess.DEVNULL,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if p.returncode:
        raise Failed(f"{' '.join(map(str, argv))}: exit {p.returncode}: {p.stdout.decode(errors='replace')[-1500:]}")
    return p.stdout.decode()


@contextlib.contextmanager
def mounted(image, at, options):
    at.mkdir(exist_ok=True)
    try:
        call("mount", "-o", "loop," + options, image, at)
    except Failed as e:
        raise Unmountable(str(e)) from e
    try:
        yield at
    finally:
        subprocess.run(["umount", at], check=False) if is_mounted(at) else None
        if is_mounted(at):
            subprocess.run(["umount", "-l", at], check=False)


@contextlib.contextmanager
def logged_disk(env, image, log):
    """The file that is the disk."""
    disk = env.base / "disk"
    disk.touch()
    server = env.start(sys.executable, TOOLS / "write_log.py", image, log, disk, stderr=subprocess.PIPE)
    try:
        wait_for("the disk", lambda: is_mounted(disk) or server.poll() is not None)
        if server.poll() is not None:
            raise Skip(server.stderr.read().decode().strip())
        yield disk
    finally:
        if is_mounted(disk):
            subprocess.run(["umount", "-l", disk], check=False)
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            terminate(server)
        server.stderr.close()


class Log:
    """What the disk was asked to do."""

    def __init__(self, path):
        self.path = path
        self.writes, self.flushes = [], []  # (position of its end, offset, where its data is, size); positions
        with open(path, "rb") as f:
            while kind := f.read(1):
                if kind == b"F":
                    self.flushes.append(f.tell())
                    continue
                off, size = struct.unpack("<QI", f.read(12))
                at = f.tell()
                f.seek(size, os.SEEK_CUR)
                self.writes.append((f.tell(), off, at, size))
        self.end = max(self.flushes[-1], self.writes[-1][0])

    def replay(self, image, writes):
        with open(self.path, "rb") as f, open(image, "r+b", buffering=0) as out:
            for _, off, at, size in writes:
                f.seek(at)
                out.seek(off)
                out.write(f.read(size))

    def between(self, first, last):
        """The writes that ended behind @first and not behind @last."""
        ends = [w[0] for w in self.writes]
        return self.writes[bisect.bisect_right(ends, first):bisect.bisect_right(ends, last)]


class Work:
    """What is done on the disk, with what is promised when."""

    def __init__(self, env):
        self.env = env
        self.sources, self.refs, self.promises = {}, {}, []
        for k, name in enumerate(("a", "b")):
            src = env.fresh(name)
            for i in range(40):
                write_random(src / f"d{i % 3}/f{i}", 20 + 1531 * i, 1000 * k + i)
            write_random(src / "big/weights.bin", 5 * MIB + 77 + k, 2000 + k)
            write_random(src / "big/same.bin", 2 * MIB, 3000)
            self.sources[name] = src
            self.refs[name] = f"oci:{env.base}/layout:{name}:1"
            env.push(src, self.refs[name])
        self.want = {name: snapshot(src) for name, src in self.sources.items()}

    def vars(self, top):
        return {**self.env.vars, "MOPS_CACHE_DIR": str(top / "cache")}

    def steps(self, top):
        """(name, its command line)"""
        for name in ("a", "b"):
            yield f"pull {name}", [MOPS, "pull", "-q", self.refs[name]]
            yield f"materialize {name}", [MOPS, "materialize", "-q", self.refs[name], top / f"dest-{name}"]
            yield f"push {name}", [MOPS, "push", "-q", self.sources[name], "--to", f"oci:{top}/layout:{name}:1"]
        yield "gc", [MOPS, "cache", "gc", "-q", "--max-size", "6MiB"]
        yield "pull a", [MOPS, "pull", "-q", self.refs["a"]]

    def do(self, top, log):
        for name, argv in self.steps(top):
            begin = log.stat().st_size
            call(*argv, env=self.vars(top))
            self.promises.append((name, begin, log.stat().st_size))

    def promised(self, cut):
        """The commands that had succeeded; a gc that had begun takes pulls back."""
        done = []
        for name, begin, end in self.promises:
            if name == "gc" and cut > begin:
                done = [d for d in done if not d.startswith("pull")]
            elif cut >= end:
                done.append(name)
        return done


def right_names(work, top):
    """No file of those that were written has a wrong byte."""
    for name, want in work.want.items():
        dest = top / f"dest-{name}"
        for key, value in (snapshot(dest) if dest.exists() else {}).items():
            if want.get(key) != value and ".mops" not in key:
                raise Failed(f"{dest.name}/{key} is {value}, not {want.get(key)}")
    for path in (top / "layout/blobs/sha256").glob("*"):
        if re.fullmatch("[0-9a-f]{64}", path.name) and sha256_file(path) != path.name:
            raise Failed(f"blob {path.name} of the layout has other bytes")


def look(work, top, cut):
    """After the reboot: what is there, and whether everything goes on."""
    boot = work.env.base / "boot_id"
    boot.write_text(OTHER_BOOT)
    rebooted = ["unshare", "-m", "sh", "-c", f"mount --bind {boot} /proc/sys/kernel/random/boot_id && exec \"$@\"", "sh"]
    if (top / "cache").exists():
        sound_cache(top / "cache", kinds=("content", "bit", "mode", "foreign"), rebooted=True)
    right_names(work, top)
    for name in work.promised(cut):
        verb, _, which = name.partition(" ")
        if verb == "pull":
            dest = top / "offline"
            call(*rebooted, MOPS, "materialize", "--offline", "-q", work.refs[which], dest, env=work.vars(top))
            same(work.want[which], snapshot(dest), f"{name}, which had succeeded, and its source")
            shutil.rmtree(dest)
        elif verb == "push":
            call(MOPS, "verify", "-q", "--deep", f"oci:{top}/layout:{which}:1", env=work.vars(top))
    for name in ("a", "b"):
        call(*rebooted, MOPS, "materialize", "-q", work.refs[name], top / f"dest-{name}", env=work.vars(top))
        same(work.want[name], snapshot(top / f"dest-{name}"), "what was materialized again and its source")
        call(*rebooted, MOPS, "push", "-q", work.sources[name], "--to", f"oci:{top}/layout:{name}:1", env=work.vars(top))
    sound_cache(top / "cache", kinds=("content", "bit", "mode", "foreign"), rebooted=True)


def half_of(rng, writes):
    """Some of them, some torn at a sector."""
    for end, off, at, size in writes:
        lot = rng.random()
        if lot < 0.5:
            yield end, off, at, size
        elif lot < 0.6 and size > SECTOR:
            yield end, off, at, SECTOR * rng.randrange(1, -(-size // SECTOR))


def cuts_of(rng, log, start, n):
    """(the moment, whether the disk kept all it was not asked to flush yet)"""
    moments = [f for f in log.flushes if f > start] + [w[0] for w in log.writes if w[0] > start]
    return sorted((rng.choice(moments), rng.random() < 0.4) for _ in range(n))


def try_cuts(work, log, base, start, n, options, name):
    rng = random.Random(f"{SEED} {name}")
    env, bad, done, refused = work.env, [], 0, 0
    at = env.base / "cut"
    for i, (cut, kept) in enumerate(cuts_of(rng, log, start, n)):
        # A file of its own: somebody's new mount namespace may keep the last one mounted for a moment.
        image = env.base / f"cut-{i}.img"
        flushed = max([f for f in log.flushes if f <= cut], default=0)
        log.replay(base, log.between(done, flushed))  # only ever grows
        done = max(done, flushed)
        call("cp", "--sparse=always", base, image)
        rest = log.between(flushed, cut)
        log.replay(image, rest if kept else list(half_of(rng, rest)))
        try:
            with mounted(image, at, options) as top:
                look(work, top, cut)
        except Unmountable as e:  # the file system's own failing
            refused += 1
            print(f"# {name}, cut at {cut}: {str(e)[:200]!r}", flush=True)
        except (Failed, subprocess.TimeoutExpired, OSError) as e:
            bad.append(f"{name}, cut at {cut} of {log.end}, {'all' if kept else 'half'} of {len(rest)} writes behind the "
                       f"flush, promised: {work.promised(cut)}: {e}")
            if len(bad) >= 5:
                break
        image.unlink()
    for text in bad:
        print("# " + text.replace("\n", "\n# "), flush=True)
    print(f"# {name}: {n} images of {len(log.writes)} writes and {len(log.flushes)} flushes", flush=True)
    if refused > n // 10:
        raise Failed(f"{refused} of {n} images of {name} cannot be mounted")
    if bad:
        raise Failed(f"{len(bad)} of {n} images of {name} are wrong, see above")


def power_cuts(env, name, size, make, options):
    need_root()
    need_fuse()
    need_program(make[0])
    need_program("unshare")
    with open("/proc/filesystems", encoding="ascii") as f:
        if name not in f.read().split() and subprocess.run(["modprobe", name], check=False, stderr=subprocess.DEVNULL).returncode:
            raise Skip(f"this kernel has no {name}")
    base, log = env.base / "base.img", env.base / "log"
    live = env.base / "live.img"
    with open(base, "wb") as f:
        f.truncate(size)
    call(*make, base)
    call("cp", "--sparse=always", base, live)
    work = Work(env)
    with logged_disk(env, live, log) as disk, mounted(disk, env.base / "top", options) as top:
        os.sync()
        start = log.stat().st_size
        work.do(top, log)
    live.unlink()
    try_cuts(work, Log(log), base, start, IMAGES // 3, options, name)


def ext4(env):
    power_cuts(env, "ext4", 96 * MIB, ["mkfs.ext4", "-q", "-F"], "noatime")


def xfs(env):
    power_cuts(env, "xfs", 300 * MIB, ["mkfs.xfs", "-q", "-f"], "noatime,nouuid")


def btrfs(env):
    power_cuts(env, "btrfs", 160 * MIB, ["mkfs.btrfs", "-q", "-f"], "noatime")


run([ext4, xfs, btrfs])
