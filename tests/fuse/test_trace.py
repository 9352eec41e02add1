#!/usr/bin/python3
"""In what order readers asked for what: recorded by a mount, and what is done with it."""
import json
import os
import pathlib
import signal
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
import mopstest  # noqa: E402
from mopstest import Failed, wait_for  # noqa: E402

MIB = 1 << 20
HEAD = "mops-trace 1\n"
SLOW = ("-o", "readahead_kb=0")  # the kernel asks for what is asked of it


def check(what, got, want):
    if got != want:
        raise Failed(f"{what}: {got}, not {want}")


def bundle(env):
    """Two big files, and a pack of small ones."""
    mopstest.need_root()
    top = env.fresh("ws")
    for i, name in enumerate(("a.bin", "b.bin")):
        mopstest.write_random(top / "big" / name, 12 * MIB + i, 10 + i)
    for k in range(20):
        mopstest.write_random(top / "small" / f"file {k}", 1000 + k, k)
    env.push(top, "demo:1")
    return top


def status(env, at):
    return json.loads(env.mopsfs("status", at, "--json").stdout)


def read_at(at, top, path, off, n=4096):
    """And compare. No page but these is asked for."""
    fd = os.open(at / path, os.O_RDONLY)
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
        got = os.pread(fd, n, off)
    finally:
        os.close(fd)
    with open(top / path, "rb") as f:
        f.seek(off)
        if got != f.read(n):
            raise Failed(f"wrong bytes of {path} at {off}")


# What a job reads, and the trace of that.
JOB = (("big/b.bin", 9 * MIB), ("small/file 7", 0), ("big/a.bin", 3 * MIB), ("big/a.bin", 4 * MIB),
       ("big/b.bin", 9 * MIB + 8192), ("big/a.bin", 0), ("small/file 7", 0), ("small/file 3", 0), ("big/b.bin", 12 * MIB))
ROWS = HEAD + ("9 1 big/b.bin\n0 1 small/file 7\n3 2 big/a.bin\n0 1 big/a.bin\n"
               "0 1 small/file 3\n12 1 big/b.bin\n")


def run_job(at, top):
    for path, off in JOB:
        read_at(at, top, path, off)


def a_mount_records_the_order_of_first_demand(env):
    top = bundle(env)
    out = env.base / "trace"
    for how in (("--record", out), ("-o", f"record={out}")):
        env.new_cache()
        out.unlink(missing_ok=True)
        with env.mount("demo:1", *how, *SLOW) as at:
            run_job(at, top)
            seen = status(env, at)
            check("status", (seen["record"]["file"], seen["record"]["full"]), (str(out), False))
            check("data path", (seen["data_path"]["mode"], seen["data_path"]["why"]),
                  ("cached", "a recording has to see each read"))
        check("trace", out.read_text(), ROWS)
        check("mode", out.stat().st_mode & 0o777, 0o644)
    # What is local is asked for just so.
    with env.mount("demo:1", "--record", out, *SLOW) as at:
        run_job(at, top)
    check("warm", out.read_text(), ROWS)


def it_goes_on_when_the_worker_is_replaced(env):
    top = bundle(env)
    out = env.base / "trace"
    with env.mount("demo:1", "--record", out, *SLOW) as at:
        for i, (path, off) in enumerate(JOB):
            read_at(at, top, path, off)
            if i % 3 == 1:
                os.kill(status(env, at)["pid"], signal.SIGKILL)
        check("restarts", status(env, at)["worker"]["restarts"], 3)
    check("trace", out.read_text(), ROWS)


def it_goes_on_over_an_upgrade(env):
    top = bundle(env)
    out = env.base / "trace"
    with env.mount("demo:1", "--record", out, *SLOW) as at:
        for path, off in JOB[:4]:
            read_at(at, top, path, off)
        env.mopsfs("upgrade", at)
        for path, off in JOB[4:]:
            read_at(at, top, path, off)
    check("trace", out.read_text(), ROWS)


def it_is_written_meanwhile(env):
    """A machine that is switched off has what there was."""
    top = bundle(env)
    out = env.base / "trace"
    with env.mount("demo:1", "--record", out, *SLOW) as at:
        run_job(at, top)
        wait_for("the trace", lambda: out.exists() and out.read_text().startswith(HEAD + "9 1 big/b.bin\n"))
        check("folder", [p.name for p in env.base.iterdir() if "trace" in p.name], ["trace"])
        seen = status(env, at)
        os.kill(seen["supervisor_pid"], signal.SIGKILL)
        wait_for("the end", lambda: not mopstest.is_mounted(at))
    if not ROWS.startswith(out.read_text()):
        raise Failed(out.read_text())


def a_place_that_cannot_be_is_refused(env):
    bundle(env)
    for where in ("/nowhere/at/all", env.base, "/dev/null", ""):
        p = env.mopsfs("mount", "demo:1", env.fresh("mnt"), "-o", f"record={where}", code=2)
        if b"record" not in p.stderr:
            raise Failed(p.stderr.decode())
    at = env.fresh("mnt")
    env.mopsfs("mount", "demo:1", at, "--record", at / "trace", code=2)
    p = env.mopsfs("mount", "demo:1", at, "--record", env.base / "trace", "-o", "io=passthrough", code=3)
    if b"see each read" not in p.stderr:
        raise Failed(p.stderr.decode())
    if (env.base / "trace").exists():
        raise Failed("a mount that was none left a trace")


mopstest.run([a_mount_records_the_order_of_first_demand, it_goes_on_when_the_worker_is_replaced,
              it_goes_on_over_an_upgrade, it_is_written_meanwhile, a_place_that_cannot_be_is_refused])
