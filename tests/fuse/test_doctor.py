#!/usr/bin/python3
"""mopsfs doctor, and mops doctor which asks it: what a mount would find, as root and as
a plain user, on an old kernel, without /dev/fuse, and of mounts that are dead or hang."""
import contextlib
import json
import os
import pathlib
import signal
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
import mopstest  # noqa: E402
from mopstest import BUILD, MOPS, MOPSFS, Failed, hang, wait_for  # noqa: E402

CHECKS = {"fuse.device", "fuse.fusermount", "fuse.library", "mount", "mount.resend", "mount.passthrough",
          "mount.allow_other", "mount.sandbox"}


def alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def checks_of(stdout):
    doc = json.loads(stdout)
    if sorted(doc) != ["checks", "failed", "version", "warnings"]:
        raise Failed(f"members: {sorted(doc)}")
    return doc["checks"]


def doctor(env, code=0, prefix=(), env_vars=None):
    """The objects of its checks; it leaves neither mount nor folder behind."""
    tmp = env.fresh("tmp")
    tmp.chmod(0o1777)
    p = env.run(*prefix, MOPSFS, "doctor", "--json", code=code, env={"TMPDIR": str(tmp), **(env_vars or {})})
    if list(tmp.iterdir()) or str(tmp) in pathlib.Path("/proc/self/mountinfo").read_text():
        raise Failed(f"left behind: {list(tmp.iterdir())}")
    return checks_of(p.stdout)


def expect(checks, name, state, *words):
    for one in checks:
        text = one["detail"] + " / " + one.get("remedy", "")
        if one["check"] == name and one["state"] == state and all(w in text for w in words):
            return
    raise Failed(f"no {name} that is {state} {words}: {checks}")


def a_mount_can_be_had(env):
    mopstest.need_root()
    mopstest.need_fuse()
    checks = doctor(env)
    for name in CHECKS - {"mount.resend", "mount.passthrough", "mount.sandbox", "fuse.library"}:
        expect(checks, name, "ok")
    if not CHECKS <= {c["check"] for c in checks}:
        raise Failed(str(checks))
    # It says what a mount then does.
    top = env.fresh("ws")
    (top / "big").write_bytes(bytes(1 << 20))
    env.push(top, "demo:1")
    with env.mount("demo:1") as at:
        status = json.loads(env.mopsfs("status", at, "--json").stdout)
        expect(checks, "mount.resend", "ok" if status["worker"]["resends"] else "note")
        passes = status["data_path"]["mode"] == "passthrough"
        expect(checks, "mount.passthrough", "ok" if passes else "note")
        expect(checks, "mount.sandbox", "note" if "lacks" in status["sandbox"] else "ok")
        expect(doctor(env), "mounts", "ok", str(at), "answers")


def on_an_old_kernel(env):
    mopstest.need_root()
    mopstest.need_fuse()
    checks = doctor(env, env_vars={"LD_PRELOAD": str(BUILD / "tests/tools/old_kernel.so"),
                                   "ASAN_OPTIONS": mopstest.sanitizer_options("verify_asan_link_order=0")})
    expect(checks, "mount", "ok")
    expect(checks, "mount.resend", "note", "6.9")
    expect(checks, "mount.passthrough", "note", "6.9")


NO_DEVICE = """
set -e
mount -t tmpfs -o mode=0755 tmpfs "$1"
for n in null zero full random urandom tty; do
	touch "$1/$n"
	mount --bind "/dev/$n" "$1/$n"
done
mount --rbind "$1" /dev
shift
exec "$@"
"""


def without_a_device(env):
    mopstest.need_root()
    away = ("unshare", "-m", "sh", "-c", NO_DEVICE, "sh", env.fresh("dev"))
    checks = doctor(env, code=3, prefix=away)
    expect(checks, "fuse.device", "failed", "No such file", "modprobe fuse", "--device /dev/fuse")
    expect(checks, "mount", "failed", "mounting on", "CAP_SYS_ADMIN")
    if any(c["check"] == "mount.resend" for c in checks):
        raise Failed("what could not be tried is told")
    # The other one says the same, and all of its own.
    path = {"PATH": f"{BUILD}/fs:{env.vars['PATH']}"}
    p = env.run(*away, MOPS, "doctor", "--json", code=3, env=path)
    whole = json.loads(p.stdout)
    expect(whole["checks"], "fuse.device", "failed", "No such file")
    expect(whole["checks"], "cache.write", "ok")
    if whole["failed"] != 2:
        raise Failed(str(whole))


def a_plain_user(env):
    run = env.dir("user", mode=0o700)
    os.chown(run, 65534, 65534)
    vars_ = {"HOME": str(run), "XDG_RUNTIME_DIR": str(run), "MOPS_CACHE_DIR": str(run / "cache"),
             "XDG_CONFIG_HOME": str(run / "config")}
    checks = doctor(env, prefix=mopstest.plain_user(env), env_vars=vars_)
    expect(checks, "mount", "ok")
    expect(checks, "mount.passthrough", "note", "CAP_SYS_ADMIN")
    expect(checks, "fuse.fusermount", "ok", "/fusermount3")
    nowhere = ("env", f"PATH={env.fresh('empty')}")
    checks = doctor(env, code=3, prefix=(*mopstest.plain_user(env), *nowhere), env_vars=vars_)
    expect(checks, "fuse.fusermount", "failed", "install fuse3")


def dead_mounts_and_those_that_hang(env):
    mopstest.need_root()
    mopstest.need_fuse()
    top = env.fresh("ws")
    (top / "a").write_text("a")
    env.push(top, "demo:1")
    with env.mount("demo:1") as at:
        status = json.loads(env.mopsfs("status", at, "--json").stdout)
        pids = (status["supervisor_pid"], status["pid"])
        for pid in pids:
            hang(pid)
        expect(doctor(env, code=3), "mounts", "failed", str(at), "does not answer", "mopsfs umount")
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        wait_for("them to be gone", lambda: not any(alive(p) for p in pids))
        checks = doctor(env, code=3)
        expect(checks, "mounts", "failed", str(at), "dead", f"mopsfs umount '{at}'")
        expect(checks, "mount", "ok")
        path = {"PATH": f"{BUILD}/fs:{env.vars['PATH']}"}
        out = env.run(MOPS, "doctor", "-q", code=3, env=path).stdout.decode()
        if f"'{at}' is dead" not in out or "mount.allow_other" in out:
            raise Failed(out)
        env.mopsfs("umount", at)
    if any(c["check"] == "mounts" and str(at) in c["detail"] for c in doctor(env)):
        raise Failed("told of a mount that is gone")


def many_that_hang_take_no_longer_than_one(env):
    mopstest.need_root()
    mopstest.need_fuse()
    top = env.fresh("ws")
    (top / "a").write_text("a")
    env.push(top, "demo:1")
    with contextlib.ExitStack() as stack:
        mounts = [stack.enter_context(env.mount("demo:1")) for _ in range(9)]
        for at in mounts:
            status = json.loads(env.mopsfs("status", at, "--json").stdout)
            pids = (status["supervisor_pid"], status["pid"])
            for pid in pids:
                stack.callback(os.kill, pid, signal.SIGCONT)
            for pid in pids:
                hang(pid)
        path = {"PATH": f"{BUILD}/fs:{env.vars['PATH']}"}
        checks = json.loads(env.run(MOPS, "doctor", "--json", code=3, env=path).stdout)["checks"]
        for at in mounts:
            expect(checks, "mounts", "failed", str(at), "does not answer")
        expect(checks, "mount", "ok")


def a_dead_mount_of_another_user(env):
    """The kernel says to a stranger that it is well."""
    run = env.dir("user", mode=0o700)
    os.chown(run, 65534, 65534)
    top = env.fresh("ws")
    (top / "a").write_text("a")
    env.push(top, "demo:1")
    with env.mount("demo:1") as at:
        status = json.loads(env.mopsfs("status", at, "--json").stdout)
        pids = (status["supervisor_pid"], status["pid"])
        for pid in pids:
            hang(pid)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        wait_for("them to be gone", lambda: not any(alive(p) for p in pids))
        checks = doctor(env, prefix=mopstest.plain_user(env), env_vars={
            "HOME": str(run), "XDG_RUNTIME_DIR": str(run), "MOPS_CACHE_DIR": str(run / "cache"),
            "XDG_CONFIG_HOME": str(run / "config")})
        expect(checks, "mounts", "ok", str(at), "another user's")


def killed_it_leaves_no_mount(env):
    mopstest.need_root()
    mopstest.need_fuse()
    mopstest.need_program("strace")
    tmp, log = env.fresh("tmp"), env.fresh("log") / "log"
    env.run("strace", "-qq", "-o", log, "-e", "trace=mount,poll,setsid", "-e", "inject=poll:signal=KILL",
            MOPSFS, "doctor", code=-signal.SIGKILL, env={"TMPDIR": str(tmp)})
    if f'"{tmp}' not in log.read_text() or "setsid" in log.read_text():
        raise Failed(log.read_text())  # it has not mounted, or left who can interrupt it
    if str(tmp) in pathlib.Path("/proc/self/mountinfo").read_text():
        raise Failed("the mount is there")


def without_mopsfs(env):
    p = env.run(MOPS, "doctor", "--json", env={"PATH": str(env.fresh("empty"))})
    expect(json.loads(p.stdout)["checks"], "mount", "note", "install mopsfs")


mopstest.run([a_mount_can_be_had, on_an_old_kernel, without_a_device, a_plain_user, dead_mounts_and_those_that_hang,
              many_that_hang_take_no_longer_than_one, a_dead_mount_of_another_user, killed_it_leaves_no_mount,
              without_mopsfs])
