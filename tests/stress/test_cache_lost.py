#!/usr/bin/python3
"""Twenty readers of a bundle of 200 MB whose cache cannot be written: a quota that is
used up, a file system that turns read-only, a cache that is deleted while it is used.
Every read is right, and nothing tries again and again. MOPS_STRESS_SECONDS (10): how
long each."""
import contextlib
import errno
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from mopstest import Failed, Skip, need_fuse, need_program, need_root, run, same, snapshot, wait_for  # noqa: E402
from readers import bundle, end_readers, start_readers  # noqa: E402

MIB = 1 << 20
READERS = 20
IDLE_S = 3  # of a mount that nobody reads, and how much of the processor it may use then
IDLE_CPU_S = 0.5


@contextlib.contextmanager
def disk(env, mib, options, *mkfs):
    """A file system of its own, in a file."""
    need_program(mkfs[0])
    image, at = env.fresh("image") / "disk", env.fresh("disk")
    with open(image, "wb") as f:
        f.truncate(mib * MIB)
    env.run(*mkfs, image)
    p = env.run("mount", "-o", f"loop,{options}", image, at, code=None)
    if p.returncode:
        raise Skip(f"cannot mount {mkfs[0]}: {p.stderr.decode()}")
    try:
        yield at
    finally:
        env.run("umount", "-l", at, code=None)


def said_by(path):
    """What the file system says to a write of more than fits."""
    try:
        with open(path / "probe", "wb", buffering=0) as f:
            for _ in range(20):
                f.write(os.urandom(MIB))
            os.fsync(f.fileno())
    except OSError as e:
        return e.errno
    finally:
        with contextlib.suppress(OSError):
            os.unlink(path / "probe")
    return 0


def cpu_of(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def read_on(env, want, what, io, trouble):
    """Readers, and in the middle of it @trouble()."""
    with env.mount("demo:1", "-o", f"io={io}") as at:
        pid = json.loads(env.mopsfs("status", at, "--json").stdout)["pid"]
        readers = start_readers(env, [at], READERS, want)
        try:
            time.sleep(1)
            trouble()
        finally:
            read = end_readers(readers)
        used = cpu_of(pid)
        time.sleep(IDLE_S)
        idle = cpu_of(pid) - used
        s = json.loads(env.mopsfs("status", at, "--json").stdout)
        if s["pid"] != pid:
            raise Failed("the worker was replaced")
        if idle > IDLE_CPU_S:
            raise Failed(f"{what}: {idle:.1f} s of the processor in {IDLE_S} s in which nobody read")
    print(f"# {what}, {io}: {read} files read right, {used:.1f} s of the processor, {idle:.2f} s when idle", flush=True)


def a_quota_that_is_used_up(env):
    need_root()
    need_fuse()
    want = bundle(env, 40, 5 * MIB)
    with disk(env, 512, "noatime", "mkfs.btrfs", "-q", "-f") as at:
        cache = at / "cache"
        env.run("btrfs", "subvolume", "create", cache)
        os.chmod(cache, 0o700)
        env.run("btrfs", "quota", "enable", at)
        env.run("btrfs", "qgroup", "limit", "16M", cache)
        env.vars["MOPS_CACHE_DIR"] = str(cache)
        for io in ("cached", "passthrough"):
            read_on(env, want, "a quota of 16 MiB", io, lambda: None)
        used = sum(p.stat().st_blocks * 512 for p in cache.rglob("*"))
        if used < 8 * MIB or said_by(cache) != errno.EDQUOT:
            raise Failed(f"the quota was not used up: {used / MIB:.1f} MiB")
        p = env.mops("pull", "demo:1", code=3)
        if b"quota" not in p.stderr.lower():
            raise Failed(p.stderr.decode())
        env.mops("cache", "gc", "--max-size", "0")
        env.mops("verify", "--cache")


def a_disk_that_turns_read_only(env):
    """As ext4 does when it finds itself damaged, whoever is writing."""
    need_root()
    need_fuse()
    want = bundle(env, 40, 5 * MIB)
    for io in ("cached", "passthrough"):
        with disk(env, 512, "errors=remount-ro", "mkfs.ext4", "-q", "-F") as at:
            cache = at / "cache"
            env.vars["MOPS_CACHE_DIR"] = str(cache)
            device = subprocess.run(["findmnt", "-no", "SOURCE", at], check=True, stdout=subprocess.PIPE).stdout.decode()
            trigger = pathlib.Path("/sys/fs/ext4") / pathlib.Path(device.strip()).name / "trigger_fs_error"
            if not trigger.exists():
                raise Skip("this kernel cannot make ext4 fail")

            def fail(trigger=trigger, at=at):
                trigger.write_text("1")
                if said_by(at) != errno.EROFS:
                    raise Failed("it is still writable")
            read_on(env, want, "a disk that turned read-only", io, fail)
            env.mops("pull", "demo:1", code=3)
            with env.mount("demo:1", "-o", f"io={io}") as mnt:
                if snapshot(mnt).keys() != {line.split(" ", 1)[1] for line in want.splitlines()} | {"small"}:
                    raise Failed("a new mount shows something else")


def a_cache_that_is_deleted(env):
    need_root()
    need_fuse()
    want = bundle(env, 40, 5 * MIB)
    for io in ("cached", "passthrough"):
        env.new_cache()
        if io == "passthrough":  # files that the kernel reads by itself
            env.mops("pull", "demo:1", "-q")

        def delete():
            shutil.rmtree(env.cache(), ignore_errors=True)
            wait_for("the deletion", lambda: not env.cache().exists() or shutil.rmtree(env.cache(), ignore_errors=True))
        read_on(env, want, "a deleted cache", io, delete)
        dest = env.fresh("again") / "dir"
        env.mops("materialize", "demo:1", dest, "-q")
        with env.mount("demo:1") as mnt:
            same(snapshot(dest), snapshot(mnt), "afterwards, a folder and a mount")


run([a_quota_that_is_used_up, a_disk_that_turns_read_only, a_cache_that_is_deleted])
