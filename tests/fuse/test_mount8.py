#!/usr/bin/python3
"""mount(8), fstab and automount points work with bundles.

mount(8) looks for helpers in /sbin alone, so all of this happens in a mount
namespace of its own, where /sbin has nothing but ours.
"""
import ctypes
import fcntl
import json
import os
import pathlib
import select
import struct
import subprocess
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
import mopstest  # noqa: E402
from mopstest import MOPSFS, Failed, Skip, gone, is_mounted, wait_for  # noqa: E402

INSIDE = "MOPS_TEST_NAMESPACE"
NOBODY = "65534"
AUTOFS_IOC_READY, AUTOFS_IOC_FAIL = 0x9360, 0x9361


def enter_namespace():
    """Run this script again where the mounts are its own."""
    if os.geteuid() != 0 or INSIDE in os.environ:
        return
    probe = subprocess.run(["unshare", "--mount", "true"], check=False, stderr=subprocess.DEVNULL)
    if probe.returncode == 0:
        os.execvpe("unshare", ["unshare", "--mount", sys.executable, *sys.argv], {**os.environ, INSIDE: "1"})


def ready(env):
    """A bundle, and mount.mopsfs where mount(8) finds it."""
    mopstest.need_root()
    mopstest.need_fuse()
    if INSIDE not in os.environ:
        raise Skip("no mount namespace of its own")
    sbin = pathlib.Path("/sbin").resolve()
    if not (sbin / "mount.mopsfs").is_symlink() or os.readlink(sbin / "mount.mopsfs") != str(MOPSFS):
        env.run("mount", "-t", "tmpfs", "sbin", sbin)
        (sbin / "mount.mopsfs").symlink_to(MOPSFS)
    top = env.fresh("ws")
    (top / "a.txt").write_text("a\n")
    mopstest.write_random(top / "big.bin", 3 << 20, 1)
    env.push(top, "demo:1.0")
    at = env.fresh("mnt")
    env.mounts.append(at)
    return at


def readable(at):
    if (at / "a.txt").read_text() != "a\n":
        raise Failed(f"{at} is not readable")


def entry(at):
    """(source, type, options) of the mount at @at."""
    with open("/proc/self/mounts", encoding="utf-8") as f:
        return next((w[0], w[2], w[3].split(",")) for w in map(str.split, f) if w[1] == str(at))


def fstab(env, *lines):
    path = env.fresh("etc") / "fstab"
    path.write_text("".join(line + "\n" for line in lines))
    env.run("mount", "--bind", path, "/etc/fstab")


def mount8_mounts_and_umount8_ends_it(env):
    at = ready(env)
    p = env.run("mount", "-t", "mopsfs", "demo@1.0", at, "-o", "ro,allow_other,role=default,io=auto")
    if p.stdout or p.stderr:
        raise Failed(f"it talks: {p.stdout}{p.stderr}")
    readable(at)
    source, kind, options = entry(at)
    if (source, kind) != ("demo@1.0", "fuse.mopsfs") or not {"ro", "nosuid", "nodev", "allow_other"} <= set(options):
        raise Failed(f"{source} {kind} {options}")
    pid = json.loads(env.mopsfs("status", at, "--json").stdout)["pid"]
    env.run("umount", at)
    wait_for("the daemon to end", gone(pid), 15)
    if is_mounted(at):
        raise Failed("still mounted")


def without_options_mount8_says_rw_and_gets_ro(env):
    at = ready(env)
    for args in ((), ("-w",), ("-r",), ("-n",), ("-o", "defaults"), ("-o", "users,suid,dev,exec,sync,lazytime")):
        env.run("mount", "-t", "mopsfs", "demo@1.0", at, *args)
        readable(at)
        if "ro" not in entry(at)[2]:
            raise Failed(f"{args}: {entry(at)}")
        env.run("umount", at)
    p = env.run("mount", "-v", "-t", "mopsfs", "demo@1.0", at)
    if b"mounted" not in p.stdout + p.stderr:
        raise Failed("-v says nothing")


def fstab_lines_are_mounted_once(env):
    at = ready(env)
    other = env.fresh("mnt")
    env.mounts.append(other)
    words = "ro,allow_other,_netdev,nofail,x-systemd.automount,x-systemd.mount-timeout=60"
    fstab(env, f"demo@1.0 {at} mopsfs {words} 0 0", f"demo@1.0 {other} mopsfs {words},role=default 0 0",
          f"demo@9.9 {env.fresh('mnt')} mopsfs {words},noauto 0 0")
    try:
        for _ in range(2):
            env.run("mount", "-a", "-O", "_netdev")
            readable(at)
            readable(other)
        env.run("umount", at)
        env.run("mount", at)
        readable(at)
        env.run("umount", "-a", "-O", "_netdev")
        if is_mounted(at) or is_mounted(other):
            raise Failed("still mounted")
    finally:
        env.run("umount", "/etc/fstab")


def failures_have_mount8s_exit_statuses(env):
    at = ready(env)
    file = env.base / "file"
    file.write_text("x")
    for code, what in (
        (1, ("demo@1.0", at, "-o", "nonsense")),
        (1, ("demo@1.0", at, "-o", "io=warp")),
        (1, ("demo@1.0", at, "-o", "remount")),
        (1, ("Bad Name!", at)),
        (32, ("demo@9.9", at)),
        (32, ("demo@1.0", at, "-o", "role=nope")),
        (32, ("demo@1.0", file)),
        (32, ("demo@1.0", env.base / "missing")),
    ):
        p = env.run("mount", "-t", "mopsfs", *what, code=code)
        lines = p.stderr.decode().splitlines()
        if not lines or not lines[0].startswith("mount.mopsfs: "):
            raise Failed(f"{what}: {p.stderr}")
        if is_mounted(at):
            raise Failed(f"{what}: mounted")
    helper = pathlib.Path("/sbin/mount.mopsfs")
    for args in ((), ("demo@1.0",), ("demo@1.0", at, "-Z"), ("demo@1.0", at, "more")):
        env.run(helper, *args, code=1)
    env.run(helper, "--help")
    env.mopsfs("mount", "demo@1.0", at)
    env.run("mount", "-t", "mopsfs", "demo@9.9", at, code=32)
    readable(at)


def sloppy_passes_over_unknown_words(env):
    at = ready(env)
    env.run("mount", "-s", "-t", "mopsfs", "demo@1.0", at, "-o", "nonsense,warp=9,io=cached")
    readable(at)
    doc = json.loads(env.mopsfs("status", at, "--json").stdout)
    if doc["data_path"]["mode"] != "cached":
        raise Failed(str(doc["data_path"]))
    env.run("umount", at)
    env.run("mount", "-s", "-t", "mopsfs", "demo@1.0", at, "-o", "io=warp", code=1)


def fake_mounts_nothing(env):
    at = ready(env)
    env.run("mount", "-f", "-t", "mopsfs", "demo@1.0", at)
    if is_mounted(at):
        raise Failed("mounted")
    env.run("mount", "-f", "-t", "mopsfs", "demo@1.0", at, "-o", "nonsense", code=1)


def the_helpers_flags_have_names_too(env):
    at = ready(env)
    for args in (("--fake",), ("--fake", "--sloppy", "--options", "nonsense")):
        env.run("/sbin/mount.mopsfs", "demo@1.0", at, *args)
        if is_mounted(at):
            raise Failed(f"{args}: mounted")
    for args in (("--read-only",), ("--read-write",), ("--no-mtab", "--types", "mopsfs")):
        env.run("/sbin/mount.mopsfs", "demo@1.0", at, *args)
        readable(at)
        env.run("umount", at)


def nothing_of_a_users_environment_is_needed(env):
    """As systemd starts mount(8)."""
    at = ready(env)
    registry = f"oci:{env.vars['XDG_DATA_HOME']}/mops/registry"
    env.run("env", "-i", "PATH=/usr/bin:/bin", "mount", "-t", "mopsfs", "demo@1.0", at, "-o",
            f"ro,_netdev,cache_dir={env.base}/elsewhere,registry={registry}")
    readable(at)
    if not (env.base / "elsewhere").is_dir():
        raise Failed("no cache")


def a_mount_of_mount8_survives_and_is_upgraded(env):
    at = ready(env)
    env.run("mount", "-s", "-t", "mopsfs", "demo@1.0", at, "-o", "nonsense,rw")
    pid = json.loads(env.mopsfs("status", at, "--json").stdout)["pid"]
    os.kill(pid, 9)
    readable(at)
    env.mopsfs("upgrade", at)
    readable(at)
    doc = json.loads(env.mopsfs("status", at, "--json").stdout)
    if doc["pid"] == pid or entry(at)[0] != "demo@1.0":
        raise Failed(str(doc))


def a_plain_user_mounts_and_unmounts_a_line_with_user(env):
    at = ready(env)
    setpriv = mopstest.need_program("setpriv")
    mopstest.need_program("fusermount3")
    user = [setpriv, "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]
    if subprocess.run([*user, "test", "-x", MOPSFS], check=False, stderr=subprocess.DEVNULL).returncode:
        raise Skip("the program is closed to other users")
    env.base.chmod(0o755)
    env.run("chmod", "-R", "a+rX", env.base / "data")
    home = env.dir("nobody")
    for path in (at, home):
        os.chown(path, int(NOBODY), int(NOBODY))
    registry = f"oci:{env.vars['XDG_DATA_HOME']}/mops/registry"
    fstab(env, f"demo@1.0 {at} mopsfs user,noauto,cache_dir={home}/cache,registry={registry} 0 0",
          f"demo@1.0 {env.fresh('mnt')} mopsfs noauto 0 0")
    if not os.stat("/dev/fuse").st_mode & 0o002:
        node = env.base / "fuse"
        os.mknod(node, 0o020666, os.stat("/dev/fuse").st_rdev)
        os.chmod(node, 0o666)
        env.run("mount", "--bind", node, "/dev/fuse")
    theirs = {"HOME": str(home), "XDG_RUNTIME_DIR": str(home)}
    try:
        env.run(*user, "mount", at, env=theirs, cwd="/")
        p = env.run(*user, "cat", at / "a.txt")
        options = entry(at)[2]
        if p.stdout != b"a\n" or f"user_id={NOBODY}" not in options or "noexec" not in options:
            raise Failed(f"{p.stdout} {options}")
        env.run(*user, "umount", at, env=theirs, cwd="/")
        if is_mounted(at):
            raise Failed("still mounted")
    finally:
        env.run("umount", "/etc/fstab")


class Automount:
    """An automount point as systemd has it, mounted by mount(8) when it is entered."""

    def __init__(self, env, at, *command):
        self.env, self.command, self.status = env, command, None
        self.pipe, write = os.pipe()
        options = f"fd={write},pgrp={os.getpgrp()},minproto=5,maxproto=5,direct"
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mount(b"test", os.fsencode(at), b"autofs", 0, options.encode()) < 0:
            raise Skip(f"autofs: {os.strerror(ctypes.get_errno())}")
        os.close(write)
        self.top = os.open(at, os.O_RDONLY | os.O_DIRECTORY)
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self):
        if not select.select([self.pipe], [], [], 30)[0]:
            return
        packet = os.read(self.pipe, 304)
        token = struct.unpack_from("=iii", packet)[2]
        # In our process group, as from systemd: all others wait here until it is done.
        p = self.env.start(*self.command, stderr=subprocess.PIPE)
        try:
            self.said = p.communicate(timeout=30)[1]
        except subprocess.TimeoutExpired:
            p.kill()
            self.said = b"it waited for itself"
        self.status = p.returncode
        fcntl.ioctl(self.top, AUTOFS_IOC_READY if self.status == 0 else AUTOFS_IOC_FAIL, token)

    def close(self):
        self.thread.join(60)
        os.close(self.top)
        os.close(self.pipe)


def an_automount_point_is_mounted_when_it_is_entered(env):
    at = ready(env)
    auto = Automount(env, at, "mount", "-t", "mopsfs", "demo@1.0", at, "-o", "ro,_netdev")
    try:
        p = env.run("timeout", "60", "cat", at / "a.txt", code=None, start_new_session=True)
        auto.thread.join(60)
        if auto.status != 0 or p.stdout != b"a\n":
            raise Failed(f"mount(8): {auto.status}, {auto.said}; reader: {p}")
    finally:
        auto.close()
        env.run("umount", at, code=None)
        env.run("umount", at)


enter_namespace()
mopstest.run([mount8_mounts_and_umount8_ends_it, without_options_mount8_says_rw_and_gets_ro,
              fstab_lines_are_mounted_once, failures_have_mount8s_exit_statuses, sloppy_passes_over_unknown_words,
              fake_mounts_nothing, the_helpers_flags_have_names_too, nothing_of_a_users_environment_is_needed,
              a_mount_of_mount8_survives_and_is_upgraded,
              a_plain_user_mounts_and_unmounts_a_line_with_user, an_automount_point_is_mounted_when_it_is_entered])
