#!/usr/bin/python3
"""What --link and --writable promise: a blob that somebody changed through a hardlink in
a working folder is noticed before it is served or linked again, and replaced; what is
writable is nobody else's; where no hardlink can be had there is a copy."""
import mmap
import os
import pathlib
import shutil
import stat
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from mopstest import Failed, Skip, is_mounted, need_fuse, need_root, run, same, sha256_file, snapshot, \
    sound_cache, write_random  # noqa: E402

MIB = 1 << 20
BIG = "m/big.bin"
SMALL = "m/small.bin"  # of one chunk, but too big for a pack
REF = "demo:1"


def world(env):
    top = env.fresh("content")
    write_random(top / BIG, 3 * MIB + 77, 1)
    write_random(top / SMALL, MIB, 2)
    write_random(top / "m/tiny.bin", 500, 3)
    env.push(top, REF)
    return snapshot(top)


def blob(env, want, name):
    digest = want[name][2]
    return env.cache() / "blobs/sha256" / digest[:2] / digest


def linked(env, want):
    """A folder whose big files are the blobs."""
    env.new_cache()
    dest = env.fresh("work") / "dir"
    env.mops("materialize", REF, dest, "--link", "hardlink")
    for name in (BIG, SMALL):
        st = os.stat(dest / name)
        if not os.path.samestat(st, os.stat(blob(env, want, name))) or st.st_mode & 0o222:
            raise Failed(f"{name} is not a read-only hardlink: {st}")
    return dest


def keeping_times(change):
    """As a job does that puts the times back."""
    def f(path):
        st = os.stat(path)
        change(path)
        os.utime(path, ns=(st.st_atime_ns, st.st_mtime_ns))
        os.chmod(path, stat.S_IMODE(st.st_mode))
    return f


def patch(path):
    os.chmod(path, 0o644)
    with open(path, "r+b") as f:
        f.seek(600_001)
        f.write(b"changed")


def patch_mapped(path):
    os.chmod(path, 0o644)
    with open(path, "r+b") as f, mmap.mmap(f.fileno(), 0) as m:
        m[600_001:600_008] = b"changed"


def append(path):
    os.chmod(path, 0o644)
    with open(path, "ab") as f:
        f.write(b"more")


def truncate(path):
    os.chmod(path, 0o644)
    os.truncate(path, 1000)


CHANGES = [keeping_times(patch), patch, keeping_times(patch_mapped), append, truncate]


def by_cat(env, want, name):
    out = env.fresh("out") / "f"
    with open(out, "wb") as f:
        f.write(env.mops("cat", REF, name).stdout)
    if sha256_file(out) != want[name][2]:
        raise Failed("cat gave other bytes")


def by_mount(*args):
    def f(env, want, name):
        with env.mount(REF, *args) as mnt:
            same(want, snapshot(mnt), "a mount")
            with open(mnt / name, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as m:
                if m[600_001:600_008] == b"changed":
                    raise Failed("a mapping shows other bytes")
    return f


def by_link(*args):
    def f(env, want, name):
        dest = env.fresh("again") / "dir"
        env.mops("materialize", REF, dest, *args)
        got = snapshot(dest)
        for key, value in got.items():
            if value[0] == "symlink":
                got[key] = ("file", False, sha256_file(dest / key))
        same(want, got, f"materialize {' '.join(args)}")
    return f


USES = [by_cat, by_mount(), by_mount("-o", "io=cached"), by_link("--link", "hardlink"), by_link("--link", "symlink"),
        by_link("--link", "copy"), by_link("--writable"), by_link()]


def what_changed_through_a_hardlink_is_replaced(env):
    need_root()
    need_fuse()
    want = world(env)
    n = 0
    for name in (BIG, SMALL):
        for change in CHANGES:
            for use in USES[n % 2::2]:
                dest = linked(env, want)
                change(dest / name)
                use(env, want, name)
                n += 1
                env.mops("pull", REF)  # what cat and a mount streamed, too
                at = blob(env, want, name)
                if os.path.samestat(os.stat(dest / name), os.stat(at)):
                    raise Failed("the changed file is still the blob")
                if sha256_file(at) != want[name][2]:
                    raise Failed("the blob was not replaced")
                sound_cache(env.cache())
                shutil.rmtree(dest)
            n += 1
    print(f"# {n - 2 * len(CHANGES)} uses of changed blobs")


def a_live_mount_notices(env):
    """The blob is changed while a mount reads it."""
    need_root()
    need_fuse()
    want = world(env)
    for change in (keeping_times(patch), keeping_times(patch_mapped), truncate):
        dest = linked(env, want)
        with env.mount(REF) as mnt:
            same(want, snapshot(mnt), "before")
            change(dest / BIG)
            with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as f:
                f.write("3")
            same(want, snapshot(mnt), "after")


def chmod_alone_harms_nothing(env):
    need_root()
    want = world(env)
    dest = linked(env, want)
    os.chmod(dest / BIG, 0o666)
    by_link("--link", "hardlink")(env, want, BIG)
    by_link()(env, want, BIG)
    sound_cache(env.cache(), kinds=("content", "bit", "record"))


def what_is_writable_is_a_file_of_its_own(env):
    need_root()
    want = world(env)
    for args in (["--writable"], ["--writable", "--link", "hardlink"], ["--writable", "--link", "copy"]):
        env.new_cache()
        dest = env.fresh("work") / "dir"
        env.mops("materialize", REF, dest, *args)
        for name in want:
            if (dest / name).is_dir():
                continue
            st = os.stat(dest / name)
            if st.st_nlink != 1 or not st.st_mode & 0o200:
                raise Failed(f"{name}: {st.st_nlink} links, mode {st.st_mode:o}")
            with open(dest / name, "r+b") as f:
                f.write(b"mine now")
        sound_cache(env.cache())
        by_link()(env, want, BIG)


def where_no_hardlink_can_be_had_there_is_a_copy(env):
    need_root()
    want = world(env)
    linked(env, want)
    at = env.fresh("other")
    p = env.run("mount", "-t", "tmpfs", "-o", "size=32m", "none", at, code=None)
    if p.returncode:
        raise Skip("no tmpfs: " + p.stderr.decode())
    try:  # another file system: EXDEV
        env.mops("materialize", REF, at / "dir", "--link", "hardlink")
        same(want, snapshot(at / "dir"), "on another file system")
    finally:
        env.run("umount", at)
    if is_mounted(at):
        raise Failed("still mounted")
    blobs = [blob(env, want, name) for name in (BIG, SMALL)]
    if subprocess.run(["chattr", "+i", *blobs], check=False, stderr=subprocess.DEVNULL).returncode:
        raise Skip("no immutable files here")
    try:  # EPERM
        dest = env.fresh("work") / "dir"
        env.mops("materialize", REF, dest, "--link", "hardlink")
        same(want, snapshot(dest), "beside immutable blobs")
        if os.stat(dest / BIG).st_nlink != 1:
            raise Failed("an immutable blob was linked")
    finally:
        subprocess.run(["chattr", "-i", *blobs], check=False)


def only_one_users_files_are_hardlinked(env):
    need_root()
    want = world(env)
    dest = linked(env, want)
    shutil.rmtree(dest)
    for name in (BIG, SMALL):
        os.chown(blob(env, want, name), 61002, 61002)
    for args in (["--link", "hardlink"], []):
        dest = env.fresh("work") / "dir"
        env.mops("materialize", REF, dest, *args)
        same(want, snapshot(dest), "above another user's blobs")
        for name in (BIG, SMALL):
            st = os.stat(dest / name)
            if st.st_uid != 0 or st.st_nlink != 1:
                raise Failed(f"{name} is another user's file")


run([what_changed_through_a_hardlink_is_replaced, a_live_mount_notices, chmod_alone_harms_nothing,
     what_is_writable_is_a_file_of_its_own, where_no_hardlink_can_be_had_there_is_a_copy,
     only_one_users_files_are_hardlinked])
