#!/usr/bin/python3
"""Mounts that somebody else made: mopsfs gets the device and no privilege."""
import contextlib
import ctypes
import json
import os
import pathlib
import select
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
import mopstest  # noqa: E402
from mopstest import BUILD, MOPSFS, Failed, Skip, gone, is_mounted, wait_for  # noqa: E402

LIBC = ctypes.CDLL(None, use_errno=True)
MS_RDONLY, MS_NOSUID, MS_NODEV, MNT_DETACH = 1, 2, 4, 2
NOBODY = 65534
OLD = {"LD_PRELOAD": str(BUILD / "tests/tools/old_kernel.so"), "ASAN_OPTIONS": mopstest.sanitizer_options("verify_asan_link_order=0")}


def bundle(env):
    mopstest.need_root()
    mopstest.need_fuse()
    top = env.fresh("ws")
    (top / "a.txt").write_text("a\n")
    mopstest.write_random(top / "big.bin", 3 << 20, 1)
    env.push(top, "demo:1.0")
    return top


def mount_for(env, uid=0):
    """What a privileged helper does: a mount, and the device that serves it."""
    at = env.fresh("mnt")
    fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    data = f"fd={fd},rootmode=40000,user_id={uid},group_id={uid},allow_other,default_permissions"
    if LIBC.mount(b"demo", os.fsencode(at), b"fuse.mopsfs", MS_RDONLY | MS_NOSUID | MS_NODEV, data.encode()) < 0:
        raise OSError(ctypes.get_errno(), "mount")
    env.mounts.append(at)
    return at, fd


@contextlib.contextmanager
def served(world, *args, **kw):
    """The folder of such a mount, and what mopsfs said of it."""
    at, fd = mount_for(world)
    try:
        p = world.run(MOPSFS, "mount", "demo:1.0", f"/dev/fd/{fd}", "--json", *args, pass_fds=[fd], timeout=60, **kw)
    finally:
        os.close(fd)
    try:
        yield at, json.loads(p.stdout)
    finally:
        LIBC.umount2(os.fsencode(at), MNT_DETACH)


def readable(at, top):
    mopstest.same(mopstest.snapshot(at), mopstest.snapshot(top))


def supervisor_of(pid):
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in text.splitlines() if line.startswith("PPid:")))


def a_received_mount_is_served_and_ends_with_umount(env):
    top = bundle(env)
    with served(env) as (at, doc):
        readable(at, top)
        supervisor = supervisor_of(doc["pid"])
        # No other process keeps the device: it would keep the mount half alive.
        LIBC.umount2(os.fsencode(at), 0)
        wait_for("the end after umount", lambda: gone(doc["pid"])() and gone(supervisor)(), 10)


def a_device_that_does_not_block_is_made_to(env):
    """Or every thread that waits for a request would ask again and again."""
    top = bundle(env)
    at, fd = mount_for(env)
    try:
        os.set_blocking(fd, False)
        env.run(MOPSFS, "mount", "demo:1.0", f"/dev/fd/{fd}", pass_fds=[fd], timeout=60)
        blocks = os.get_blocking(fd)
    finally:
        os.close(fd)
    readable(at, top)
    LIBC.umount2(os.fsencode(at), MNT_DETACH)
    if not blocks:
        raise Failed("its threads do not sleep")


def a_received_mount_outlives_its_worker_and_is_upgraded(env):
    top = bundle(env)
    with served(env) as (at, doc):
        with open(at / "big.bin", "rb") as f:
            f.read(1 << 20)
            os.kill(doc["pid"], signal.SIGKILL)
            rest = f.read()
        if rest != (top / "big.bin").read_bytes()[1 << 20:]:
            raise Failed("other bytes after the worker's death")
        readable(at, top)
        if doc["mountpoint"] != str(at) or not json.loads(env.mopsfs("status", at, "--json").stdout)["worker"]["resends"]:
            raise Skip("this kernel (before 6.16) does not say where a device is mounted")
        env.mopsfs("upgrade", at)
        readable(at, top)
        status = json.loads(env.mopsfs("status", at, "--json").stdout)
        if status["pid"] == doc["pid"] or status["mountpoint"] != str(at) or status["worker"]["restarts"] < 1:
            raise Failed(str(status))


def before_linux_6_9_it_outlives_its_worker_too(env):
    """Nor is there a status socket: nothing says where it is mounted."""
    top = bundle(env)
    with served(env, env=OLD) as (at, doc):
        if not doc["mountpoint"].startswith("/dev/fd/"):
            raise Failed(str(doc))
        readable(at, top)
        supervisor = supervisor_of(doc["pid"])
        os.kill(doc["pid"], signal.SIGKILL)
        wait_for("the dead one to be gone", gone(doc["pid"]), 10)
        readable(at, top)
        env.mopsfs("status", at, code=3)
        os.kill(supervisor, signal.SIGTERM)
        wait_for("the end after SIGTERM", gone(supervisor), 10)
        if not dead(at):
            raise Failed("served by nobody")


def sigterm_ends_a_received_mount(env):
    bundle(env)
    with served(env) as (at, doc):
        begin = time.monotonic()
        os.kill(doc["pid"], signal.SIGTERM)
        wait_for("the end after SIGTERM", gone(doc["pid"]), 10)
        wait_for("nothing that serves", lambda: not is_mounted(at) or dead(at), 10)
        if time.monotonic() - begin > 4:
            raise Failed(f"took {time.monotonic() - begin:.1f} s")


def dead(at):
    try:
        os.statvfs(at)
    except OSError:
        return True
    return False


def a_mount_of_another_namespace_is_served(env):
    """As in a pod: the folder is not to be seen by who serves it."""
    top = bundle(env)
    at, fd = mount_for(env)
    try:
        # umount(8) would ask for the state of a mount that nobody serves yet.
        away = "import ctypes, os, sys; ctypes.CDLL(None).umount2(sys.argv[1].encode(), 2); os.execv(sys.argv[2], sys.argv[2:])"
        p = env.run("unshare", "--mount", sys.executable, "-c", away, at, MOPSFS, "mount", "demo:1.0",
                    f"/dev/fd/{fd}", "--json", pass_fds=[fd], timeout=60)
    finally:
        os.close(fd)
    doc = json.loads(p.stdout)
    if doc["mountpoint"] != f"/dev/fd/{fd}":
        raise Failed(str(doc))
    readable(at, top)
    supervisor = supervisor_of(doc["pid"])
    os.kill(doc["pid"], signal.SIGKILL)
    readable(at, top)
    begin = time.monotonic()
    os.kill(supervisor, signal.SIGTERM)
    wait_for("the end after SIGTERM", gone(supervisor), 10)
    if not dead(at) or time.monotonic() - begin > 4:
        raise Failed(f"readers do not know it after {time.monotonic() - begin:.1f} s")


def a_plain_user_serves_what_root_mounted(env):
    """No fusermount3, no capability, and no /dev/fuse to open."""
    top = bundle(env)
    setpriv = mopstest.need_program("setpriv")
    if subprocess.run([setpriv, "--reuid", str(NOBODY), "--clear-groups", "test", "-x", MOPSFS], check=False,
                      stderr=subprocess.DEVNULL).returncode:
        raise Skip("the program is closed to other users")
    env.base.chmod(0o755)
    home = env.dir("nobody")
    os.chown(home, NOBODY, NOBODY)
    runtime = env.dir("nobody-runtime", mode=0o700)
    os.chown(runtime, NOBODY, NOBODY)
    env.run("chmod", "-R", "a+rX", env.base / "data")
    at, fd = mount_for(env, NOBODY)
    try:
        p = env.run(setpriv, "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups", "--no-new-privs",
                    MOPSFS, "mount", "demo:1.0", f"/dev/fd/{fd}", "--json", pass_fds=[fd], timeout=60,
                    env={"HOME": str(home), "MOPS_CACHE_DIR": str(home / "cache"), "XDG_RUNTIME_DIR": str(runtime),
                         "PATH": "/nowhere"}, cwd="/")
    finally:
        os.close(fd)
    doc = json.loads(p.stdout)
    readable(at, top)
    status = pathlib.Path(f"/proc/{doc['pid']}/status").read_text()
    if doc["data_path"] != "cached" or f"Uid:\t{NOBODY}\t" not in status:
        raise Failed(f"{doc}\n{status}")
    os.kill(doc["pid"], signal.SIGKILL)
    readable(at, top)
    LIBC.umount2(os.fsencode(at), 0)


def in_the_foreground_nobody_else_holds_the_device(env):
    """As Apptainer runs it: the first process stays; when all are killed, readers are told."""
    bundle(env)
    at, fd = mount_for(env)
    r, w = os.pipe()
    p = env.start(MOPSFS, "mount", "-f", "--ready-fd", w, "demo:1.0", f"/dev/fd/{fd}", pass_fds=[fd, w],
                  stderr=subprocess.PIPE)
    os.close(fd)
    os.close(w)
    try:
        if not select.select([r], [], [], 30)[0] or os.read(r, 2) != b"\n":
            raise Failed(f"not ready: {p.communicate(timeout=10)}")
        if (at / "a.txt").read_text() != "a\n":
            raise Failed("not readable")
        children = pathlib.Path(f"/proc/{p.pid}/task/{p.pid}/children").read_text().split()
        for pid in children:
            if any(os.readlink(f"/proc/{p.pid}/fd/{n}") == "/dev/fuse" for n in os.listdir(f"/proc/{p.pid}/fd")):
                raise Failed("the first process holds the device")
            worker = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            for one in (pid, *worker):
                os.kill(int(one), signal.SIGSTOP)
            for one in (pid, *worker):
                os.kill(int(one), signal.SIGKILL)
        wait_for("readers to be told", lambda: not is_mounted(at) or dead(at), 15)
    finally:
        os.close(r)
        p.kill()
        p.communicate()
        LIBC.umount2(os.fsencode(at), MNT_DETACH)


def what_is_no_mounted_device_is_refused(env):
    bundle(env)
    null = os.open("/dev/null", os.O_RDWR)
    unmounted = os.open("/dev/fuse", os.O_RDWR)
    at, fd = mount_for(env)
    try:
        for args, fds in (((f"/dev/fd/{null}",), [null]), ((f"/dev/fd/{unmounted}",), [unmounted]),
                          (("/dev/fd/99",), []), ((f"/dev/fd/{fd}", "-o", "allow_other"), [fd]),
                          ((f"/dev/fd/{fd}", "-o", "noexec"), [fd]), ((f"/dev/fd/{fd}", "-o", "fsname=x"), [fd])):
            p = env.run(MOPSFS, "mount", "demo:1.0", *args, pass_fds=fds, code=2)
            if b"/dev/fd/" not in p.stderr:
                raise Failed(p.stderr)
        LIBC.umount2(os.fsencode(at), MNT_DETACH)
        # Somebody's new mount namespace may have had a copy of it for a moment.
        poll = select.poll()
        poll.register(fd, 0)
        wait_for("the device to be told", lambda: poll.poll(0))
        env.run(MOPSFS, "mount", "demo:1.0", f"/dev/fd/{fd}", pass_fds=[fd], code=2)
    finally:
        for one in (null, unmounted, fd):
            os.close(one)


mopstest.run([a_received_mount_is_served_and_ends_with_umount, a_device_that_does_not_block_is_made_to, a_received_mount_outlives_its_worker_and_is_upgraded,
              before_linux_6_9_it_outlives_its_worker_too, sigterm_ends_a_received_mount, a_mount_of_another_namespace_is_served,
              a_plain_user_serves_what_root_mounted, in_the_foreground_nobody_else_holds_the_device,
              what_is_no_mounted_device_is_refused])
