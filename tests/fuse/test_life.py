#!/usr/bin/python3
"""Mounts begin, end, are refused and recover as promised."""
import ctypes
import json
import os
import pathlib
import re
import resource
import select
import signal
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
import mopstest  # noqa: E402
from mopstest import MOPSFS, Failed, gone, is_mounted, wait_for  # noqa: E402


def bundle(env, ref="demo:1.0"):
    top = env.fresh("ws")
    (top / "a.txt").write_text("a\n")
    mopstest.write_random(top / "big.bin", 3 << 20, 1)
    env.push(top, ref)
    return top


def status(env, at):
    return json.loads(env.mopsfs("status", at, "--json").stdout)


def parent_of(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return int(next(line.split()[1] for line in f if line.startswith("PPid:")))


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
        return [int(word) for word in f.read().split()]


def mounted(env, *args):
    mopstest.need_fuse()
    at = env.fresh("mnt")
    env.mounts.append(at)
    doc = json.loads(env.mopsfs("mount", "demo:1.0", at, "--json", *args).stdout)
    return at, doc["pid"], parent_of(doc["pid"])


def foreground(env, at, *args, **kw):
    r, w = os.pipe()
    env.mounts.append(at)
    p = env.start(MOPSFS, "mount", "demo:1.0", at, "-f", "--ready-fd", w, *args, pass_fds=[w],
                  stderr=subprocess.PIPE, **kw)
    os.close(w)
    return p, r


def wait_ready(r):
    if not select.select([r], [], [], 30)[0]:
        raise Failed("not ready in 30 s")
    got = os.read(r, 10)
    os.close(r)
    return got == b"\n"


def mount_returns_when_the_tree_can_be_read(env):
    mopstest.need_root()
    bundle(env)
    for _ in range(5):
        at, worker, supervisor = mounted(env)
        if (at / "a.txt").read_text() != "a\n":
            raise Failed("not readable")
        env.mopsfs("umount", at)
        if is_mounted(at) or not gone(worker)():
            raise Failed("umount returned before the daemon ended")
        wait_for("the supervisor to end", gone(supervisor), 5)


def mount_leaves_the_callers_pipes(env):
    """$(mopsfs mount …) returns: the daemon holds neither stdout nor stderr."""
    mopstest.need_root()
    bundle(env)
    at = env.fresh("mnt")
    env.mounts.append(at)
    begin = time.monotonic()
    p = env.run(MOPSFS, "mount", "demo:1.0", at, timeout=60)
    if time.monotonic() - begin > 30 or p.stdout:
        raise Failed(p.stdout)
    if b"mounted" not in p.stderr:
        raise Failed(p.stderr)
    if env.run(MOPSFS, "mount", "demo:1.0", env.fresh("mnt"), "-q", code=0).stderr:
        raise Failed("-q prints")
    for line in open("/proc/self/mountinfo", encoding="utf-8"):
        if str(env.base) in line:
            env.mounts.append(line.split()[4])


def sigterm_ends_a_mount(env):
    mopstest.need_root()
    bundle(env)
    for target in ("worker", "supervisor"):
        at, worker, supervisor = mounted(env)
        os.kill(worker if target == "worker" else supervisor, signal.SIGTERM)
        wait_for(f"the end after SIGTERM to the {target}", gone(worker, supervisor), 5)
        if is_mounted(at):
            raise Failed("still mounted")


def sigterm_ends_a_mount_that_is_in_use(env):
    mopstest.need_root()
    bundle(env)
    at, worker, supervisor = mounted(env)
    with open(at / "a.txt", "rb"):
        os.kill(worker, signal.SIGTERM)
        wait_for("the end", gone(worker, supervisor), 15)
        if is_mounted(at):
            raise Failed("still mounted")


def a_killed_supervisor_takes_the_mount_with_it(env):
    mopstest.need_root()
    bundle(env)
    at, worker, supervisor = mounted(env)
    os.kill(supervisor, signal.SIGKILL)
    wait_for("the worker to end in order", gone(worker, supervisor), 15)
    # Nobody was left to unmount for it, or it was done: never a live mess.
    env.mopsfs("mount", "demo:1.0", at)
    if (at / "a.txt").read_text() != "a\n":
        raise Failed("not readable")


def a_dead_mount_is_taken_away_by_the_next(env):
    mopstest.need_root()
    bundle(env)
    at, worker, supervisor = mounted(env)
    for pid in (supervisor, worker):
        os.kill(pid, signal.SIGSTOP)
    for pid in (supervisor, worker):
        os.kill(pid, signal.SIGKILL)
    wait_for("both to be gone", gone(supervisor, worker), 5)
    begin = time.monotonic()
    env.mopsfs("mount", "demo:1.0", at)
    if (at / "a.txt").read_text() != "a\n":
        raise Failed("not readable")
    if time.monotonic() - begin > 2:
        raise Failed(f"took {time.monotonic() - begin:.1f} s")


def foreground_stays_and_says_when_it_is_ready(env):
    mopstest.need_root()
    bundle(env)
    for sig, code in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
        at = env.fresh("mnt")
        p, r = foreground(env, at)
        if not wait_ready(r) or (at / "a.txt").read_text() != "a\n":
            raise Failed("ready too early")
        if p.poll() is not None:
            raise Failed("did not stay")
        p.send_signal(sig)
        p.communicate(timeout=20)
        if p.returncode != code or is_mounted(at):
            raise Failed(f"exit {p.returncode} after signal {sig}")
    at = env.fresh("mnt")
    p, r = foreground(env, at)
    wait_ready(r)
    env.mopsfs("umount", at)
    p.communicate(timeout=20)
    if p.returncode != 0:
        raise Failed(f"exit {p.returncode} after umount")
    p, r = foreground(env, at)
    wait_ready(r)
    os.kill(status(env, at)["pid"], signal.SIGKILL)
    if (at / "a.txt").read_text() != "a\n" or p.poll() is not None:
        raise Failed("did not outlive its worker")
    p.kill()
    p.communicate()
    wait_for("the mount to follow its foreground process", lambda: not is_mounted(at), 15)


def failures_have_their_exit_codes(env):
    mopstest.need_root()
    bundle(env)
    at = env.fresh("mnt")
    file = env.base / "file"
    file.write_text("x")
    cases = (
        (1, ("mount", "demo:9.9", at)),
        (1, ("mount", "nothing:1", at)),
        (11, ("mount", "demo:1.0", at, "--role", "nope")),
        (2, ("mount", "demo:1.0", file)),
        (2, ("mount", "demo:1.0", env.base / "missing")),
        (2, ("mount", "Bad Name!", at)),
        (2, ("mount", "demo:1.0", at, "-o", "rw")),
        (2, ("mount", "demo:1.0", at, "-o", "nonsense")),
        (2, ("mount", "demo:1.0", at, "--ready-fd", "99")),
        (2, ("mount", "demo:1.0")),
        (2, ("umount", at)),
        (2, ("status", at)),
        (2, ("frobnicate",)),
    )
    for code, argv in cases:
        p = env.mopsfs(*argv, code=code)
        lines = p.stderr.decode().splitlines()
        if not lines or not lines[0].startswith("mopsfs: ") or len(lines) > 2 or p.stdout:
            raise Failed(f"{argv}: {p.stderr} {p.stdout}")
        if is_mounted(at):
            raise Failed(f"{argv} mounted")
        doc = json.loads(env.mopsfs(*argv, "--json", code=code).stdout)
        if doc["exit_code"] != code or not doc["message"]:
            raise Failed(doc)
    p = env.run(MOPSFS, "mount", "demo:1.0", at, "-f", code=1, env={"MOPS_REGISTRY": f"oci:{env.base}/empty"})
    if b"mopsfs: " not in p.stderr:
        raise Failed(p.stderr)


def a_mount_over_our_own_folders_is_refused(env):
    mopstest.need_root()
    bundle(env)
    env.mopsfs("mount", "demo:1.0", env.fresh("mnt"), "-q", timeout=60)
    for line in open("/proc/self/mountinfo", encoding="utf-8"):
        if str(env.base) in line:
            env.mounts.append(line.split()[4])
    home = pathlib.Path(env.vars["XDG_DATA_HOME"])
    logs = env.fresh("logs")
    config = pathlib.Path(env.vars["XDG_CONFIG_HOME"])
    (config / "mops").mkdir(exist_ok=True)
    inside = env.fresh("inside") / "cwd"
    inside.mkdir()
    for at, args, kw in (
            (env.cache(), (), {}),
            (env.cache() / "blobs", (), {"env": {"MOPS_CACHE_DIR": str(env.cache() / "blobs/sha256/ff/deeper")}}),
            (env.base, (), {}),
            (home, (), {}),
            (config, (), {}),
            (logs, ("--log", logs / "x.log"), {}),
            (inside, (), {"cwd": inside}),
            (inside.parent, (), {"cwd": inside}),
            ("/", (), {}),
    ):
        p = env.mopsfs("mount", "demo:1.0", at, *args, code=2, timeout=30, **kw)
        if b"needs" not in p.stderr:
            raise Failed(f"{at}: {p.stderr}")


def a_second_mount_at_one_place_is_refused(env):
    mopstest.need_root()
    bundle(env)
    at, _, _ = mounted(env)
    if b"mounted already" not in env.mopsfs("mount", "demo:1.0", at, code=2).stderr:
        raise Failed("no reason")


def a_mount_in_use_is_not_ended_unless_lazily(env):
    mopstest.need_root()
    bundle(env)
    at, worker, supervisor = mounted(env)
    with open(at / "a.txt", "rb") as f:
        p = env.mopsfs("umount", at, code=3)
        if b"in use" not in p.stderr or not is_mounted(at):
            raise Failed(p.stderr)
        env.mopsfs("umount", "--lazy", at)
        if is_mounted(at) or gone(worker)():
            raise Failed("lazy umount")
        if f.read() != b"a\n":
            raise Failed("an open file is not served any more")
    wait_for("the daemon to end with its last user", gone(worker, supervisor), 10)


def letters_are_the_flags_of_their_names(env):
    mopstest.need_root()
    bundle(env)
    for flag in ("-o", "--options"):
        for end in ("-l", "--lazy"):
            at, _, _ = mounted(env, flag, "io=cached,readahead_kb=64")
            doc = json.loads(env.mopsfs("status", at, "--json").stdout)
            if doc["data_path"]["why"] != "asked for":
                raise Failed(doc["data_path"])
            env.mopsfs("umount", end, at)
            if is_mounted(at):
                raise Failed("lazy umount")
    for flag in ("-f", "--foreground"):
        env.mopsfs("mount", "nothing:1.0", env.fresh("mnt"), flag, code=1)


def another(env, at, top):
    """Another mount at the same folder; what it shows, and its status, are there."""
    env.mopsfs("mount", "demo:1.0", at)

    def check(when):
        if not is_mounted(at) or (at / "a.txt").read_text() != (top / "a.txt").read_text():
            raise Failed(f"{when} the other mount is gone")
        return status(env, at)
    before = check("at once")

    def still(when):
        if check(when)["pid"] != before["pid"]:
            raise Failed(f"{when} another answers")
    return still


def the_end_of_a_mount_leaves_another_at_its_place(env):
    mopstest.need_root()
    top = bundle(env)
    for end in ("its last user", "SIGTERM", "SIGKILL"):
        at, worker, supervisor = mounted(env)
        with open(at / "a.txt", "rb"):
            env.run("umount", "-l", at)
            still = another(env, at, top)
            if end == "SIGTERM":
                os.kill(supervisor, signal.SIGTERM)
            elif end == "SIGKILL":
                os.kill(supervisor, signal.SIGKILL)
            if end != "its last user":
                wait_for(f"the end by {end}", gone(worker, supervisor), 15)
        wait_for(f"the end by {end}", gone(worker, supervisor), 15)
        still(f"after {end}")
        env.mopsfs("umount", at)


def the_end_of_a_mount_leaves_another_of_its_number(env):
    """The kernel gives the number of a mount that is gone to the next one."""
    mopstest.need_root()
    top = bundle(env)
    at, worker, supervisor = mounted(env)
    number = at.stat().st_dev
    for pid in (supervisor, worker):
        os.kill(pid, signal.SIGSTOP)
    # umount(8) would ask the worker about the folder.
    if ctypes.CDLL(None).umount2(str(at).encode(), 0):
        raise Failed("umount2")
    still = another(env, at, top)
    print(f"# {'the same number' if at.stat().st_dev == number else 'another number'}")
    for pid in (worker, supervisor):
        os.kill(pid, signal.SIGCONT)
    wait_for("the end of the first", gone(worker, supervisor), 15)
    still("after the end of the first")
    env.mopsfs("umount", at)
    if list(pathlib.Path(env.vars["XDG_RUNTIME_DIR"]).glob("mopsfs/*")):
        raise Failed("a socket is left")


def a_start_that_ends_leaves_another_at_its_place(env):
    mopstest.need_root()
    top = bundle(env)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for sig in (signal.SIGTERM, signal.SIGKILL):
            at = env.fresh("mnt")
            env.mounts.append(at)
            p = env.start(MOPSFS, "mount", f"127.0.0.1:{silent.getsockname()[1]}/a/b:1", at, "-q", stderr=subprocess.DEVNULL)
            silent.settimeout(20)
            with silent.accept()[0]:
                still = another(env, at, top)
                if sig == signal.SIGKILL:
                    (child,) = children(p.pid)
                    os.kill(children(child)[0], sig)
                else:
                    p.send_signal(sig)
                p.wait(20)
            still(f"after {sig.name} to the start")
            env.mopsfs("umount", at)


def an_aborted_mount_is_taken_away(env):
    mopstest.need_root()
    bundle(env)
    at, worker, supervisor = mounted(env)
    control = env.fresh("fusectl")
    env.run("mount", "-t", "fusectl", "none", control)
    try:
        with open(at / "a.txt", "rb"):
            (control / str(os.minor(at.stat().st_dev)) / "abort").write_text("1")
            wait_for("the end", gone(worker, supervisor), 15)
            if is_mounted(at):
                raise Failed("a dead mount is left")
    finally:
        env.run("umount", control)


def status_lists_every_mount(env):
    mopstest.need_root()
    bundle(env)
    a, pid, _ = mounted(env)
    b, _, _ = mounted(env)
    doc = json.loads(env.mopsfs("status", "--json").stdout)
    places = {m["mountpoint"]: m for m in doc["mounts"]}
    if str(a) not in places or str(b) not in places or places[str(a)]["pid"] != pid:
        raise Failed(doc)
    text = env.mopsfs("status", a).stdout.decode()
    if "data path" not in text or str(a) not in text:
        raise Failed(text)
    sock = next(pathlib.Path(env.vars["XDG_RUNTIME_DIR"]).glob("mopsfs/*.sock"))
    if sock.stat().st_mode & 0o777 != 0o600 or sock.parent.stat().st_mode & 0o777 != 0o700:
        raise Failed("modes of the socket")
    env.mopsfs("umount", a)
    env.mopsfs("umount", b)
    if list(pathlib.Path(env.vars["XDG_RUNTIME_DIR"]).glob("mopsfs/*")):
        raise Failed("a socket is left")


def status_is_served_while_a_client_says_nothing(env):
    mopstest.need_root()
    bundle(env)
    at, _, _ = mounted(env)
    sock = next(pathlib.Path(env.vars["XDG_RUNTIME_DIR"]).glob("mopsfs/*.sock"))
    silent = socket.socket(socket.AF_UNIX)
    silent.connect(str(sock))
    status(env, at)
    silent.close()
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(str(sock))
        s.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        text = b""
        while block := s.recv(65536):
            text += block
    if b"mopsfs_requests_total{op=\"read\"}" not in text or b"mopsfs_read_seconds_count" not in text:
        raise Failed(text)


def names_in(value, above=""):
    """Of all that a document has: "a", "a.b", "a[].b"."""
    if isinstance(value, dict):
        return {n for k, v in value.items() for n in names_in(v, f"{above}.{k}" if above else k)}
    if isinstance(value, list):
        return {n for v in value for n in names_in(v, f"{above}[]")}
    return {above}


def the_documented_names_are_told(env):
    """docs/status.md has every name of status and metrics, and no other."""
    mopstest.need_root()
    bundle(env)
    top = pathlib.Path(__file__).resolve().parents[2]
    rows = [[cell.strip() for cell in line.strip().strip("|").split("|")]
            for line in (top / "docs/status.md").read_text().splitlines() if line.startswith("|")]
    sites = {row[1].strip("`"): int(row[0]) for row in rows if row[0].isdigit()}
    told = {row[0].split("`")[1]: row for row in rows if row[0].startswith("`")}
    counters = {row[1].split("`")[1] for row in rows if "mopsfs_" in row[1]}
    at, _, _ = mounted(env, "--prefetch", "role", "--record", env.base / "trace")
    first = status(env, at)
    env.mopsfs("umount", at)
    at, worker, _ = mounted(env, "-o", "io=cached")
    os.kill(worker, signal.SIGKILL)
    wait_for("the next worker", lambda: status(env, at)["pid"] != worker)
    pid = status(env, at)["pid"]
    had = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, had[1]))
    try:
        (at / "big.bin").read_bytes()
        raise Failed("it was read without a descriptor")
    except OSError:
        pass
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, had)
    s = status(env, at)
    requests = set(s["requests"])
    real = {n for n in names_in(first) | names_in(s) if not n.startswith("requests.")}
    documented = set(told) - {"requests.getattr"}
    rare = {n for n in documented if told[n][2].startswith("only when")}
    source = (top / "fs/report.c").read_text()
    if absent := [n for n in rare if f'"{n.rpartition(".")[2]}"' not in source]:
        raise Failed(f"never told: {absent}")
    if real - documented or documented - rare - real:
        raise Failed(f"not documented: {real - documented}; not told: {documented - rare - real}")
    if requests != set(re.findall(r"`([a-z]+)`", told["requests.getattr"][2])):
        raise Failed(requests)
    if any(sites[e["name"]] != e["site"] for e in s["errors"]):
        raise Failed(s["errors"])
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(next(pathlib.Path(env.vars["XDG_RUNTIME_DIR"]).glob("mopsfs/*.sock"))))
        sock.sendall(b"metrics\n")
        text = sock.makefile().read()
    kinds = dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.M))
    labelled = {"mopsfs_requests_total": "op", "mopsfs_errors_total": "site"}
    if {f"{k}{{{labelled[k]}}}" if k in labelled else k for k in kinds} != counters:
        raise Failed(f"metrics: {sorted(kinds)}, documented: {sorted(counters)}")
    if set(re.findall(r'op="(\w+)"', text)) != requests or re.findall(r'site="(\w+)"', text) != list(sites):
        raise Failed("labels")
    if list(sites.values()) != list(range(1, len(sites) + 1)):
        raise Failed(sites)
    values = dict(re.findall(r"^(mopsfs_\w+) (\d+)$", text, re.M))
    if not int(values["mopsfs_worker_restarts_total"]) == s["worker"]["restarts"] == 1:
        raise Failed(values)


def a_failing_start_is_told_once(env):
    """No permission for the device: the reason in one line, exit 3."""
    mopstest.need_root()
    bundle(env)
    script = 'mount --bind /dev/null /dev/fuse && exec "$@"'
    at = env.fresh("mnt")
    p = env.run("unshare", "-m", "sh", "-c", script, "sh", MOPSFS, "mount", "demo:1.0", at, code=None)
    if p.returncode != 3 or len(p.stderr.splitlines()) > 2 or not p.stderr.startswith(b"mopsfs: mounting on"):
        raise Failed(f"{p.returncode} {p.stderr}")


def start_and_kill(env, call, n):
    """The exit code of a mount whose worker is killed as it enters the @n-th @call of a thread."""
    at, said = env.fresh("mnt"), env.base / "said"
    env.mounts.append(at)
    with open(said, "wb") as out:  # strace stays as long as the mount: a pipe would be waited for
        p = subprocess.run(["strace", "-D", "-f", "-q", "-o", env.base / "trace", "-e", f"trace={call}", "-e",
                            f"inject={call}:signal=KILL:when={n}", MOPSFS, "mount", "demo:1.0", at, "-q"],
                           # Where leaks are looked for, that cannot be done under strace.
                           env={**env.vars, "ASAN_OPTIONS": "detect_leaks=0"},
                           stdin=subprocess.DEVNULL, stdout=out, stderr=out, timeout=60, check=False)
    if p.returncode not in (0, 3) or is_mounted(at) != (p.returncode == 0):
        raise Failed(f"{call} {n}: exit {p.returncode}, {'' if is_mounted(at) else 'not '}mounted: {said.read_text()}")
    env.umount(at)
    return p.returncode


def a_start_whose_worker_is_killed_ends(env):
    """At any moment, also between the mount and the report of it, and before and behind that."""
    mopstest.need_root()
    mopstest.need_fuse()
    mopstest.need_program("strace")
    bundle(env)
    killed = 0
    for n in range(1, 7):  # the last ones while it looks for its threads
        env.new_cache()
        killed += start_and_kill(env, "getdents64", n) == 3
    if not killed:
        raise Failed("none was killed")
    # The report is the last thing that is written, and then the supervisor is sent word of it.
    for call, begin in (("write", 2), ("sendmsg", 2)):
        n = begin
        while start_and_kill(env, call, n) == 3:
            n += 1
        if n == begin:
            raise Failed(f"none was killed by {call}")


def ours(at):
    """The processes of a mount at @at."""
    found = []
    for p in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(p / "exe") == str(MOPSFS) and str(at).encode() in (p / "cmdline").read_bytes():
                found.append(int(p.name))
        except OSError:
            pass
    return found


def a_start_whose_caller_ends_at_once_ends(env):
    """Before its process could say that it wants to hear of that."""
    mopstest.need_root()
    mopstest.need_fuse()
    mopstest.need_program("strace")
    bundle(env)
    at = env.fresh("mnt")
    env.mounts.append(at)
    p = env.start("strace", "-D", "-f", "-q", "-o", env.base / "trace", "-e", "trace=prctl", "-e",
                  "inject=prctl:delay_enter=1s", MOPSFS, "mount", "demo:1.0", at, "-f", "-q",
                  env={"ASAN_OPTIONS": "detect_leaks=0"}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for("the second process", lambda: len(ours(at)) > 1)
    p.kill()
    p.wait()
    wait_for("all of it to end", lambda: not ours(at))
    if is_mounted(at):
        raise Failed("it has mounted")


def a_start_without_descriptors_leaves_no_mount(env):
    """Whatever it is that the last one is missing for."""
    mopstest.need_root()
    mopstest.need_fuse()
    bundle(env)
    env.mops("pull", "demo:1.0")
    at, said, worked, failed = env.fresh("mnt"), env.base / "said", 0, 0
    env.mounts.append(at)
    for n in range(4, 80):
        with open(said, "wb") as out:
            r, w = os.pipe()
            p = subprocess.run(["prlimit", f"--nofile={n}:{n}", MOPSFS, "mount", "demo:1.0", at, "-q"], env=env.vars,
                               stdin=subprocess.DEVNULL, stdout=w, stderr=out, timeout=60, check=False)
            os.close(w)
        held = not select.select([r], [], [], 5)[0]
        os.close(r)
        if held:
            raise Failed(f"{n} descriptors: the caller's pipe is held")
        if p.returncode == 0:
            env.mopsfs("umount", at)
            worked += 1
            if worked == 3:
                break
        else:
            failed += 1
            wait_for(f"the mount to be taken away ({n} descriptors: {said.read_text()})", lambda: not is_mounted(at), 5)
    if worked != 3 or failed < 5:
        raise Failed(f"{worked} mounts, {failed} failures")


def a_signal_during_the_start_ends_it(env):
    mopstest.need_root()
    bundle(env)
    ended = []
    for delay in (0.0, 0.005, 0.01, 0.02, 0.05):
        at = env.fresh("mnt")
        env.mounts.append(at)
        p = env.start(MOPSFS, "mount", "demo:1.0", at, "-f", stderr=subprocess.PIPE)
        timer = threading.Timer(delay, p.send_signal, [signal.SIGTERM])
        timer.start()
        try:
            p.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            p.kill()
            raise
        timer.join()
        ended.append(p.returncode)
        wait_for("no mount", lambda at=at: not is_mounted(at), 5)
    if not set(ended) <= {143, -signal.SIGTERM}:
        raise Failed(f"exit codes {ended}")


def the_log_goes_where_it_was_told(env):
    mopstest.need_root()
    bundle(env)
    log = env.fresh("logs") / "mops.log"
    at, _, _ = mounted(env, "--log", log, "-v")
    env.mopsfs("umount", at)
    text = log.read_text()
    if "mounted on" not in text or "ends" not in text:
        raise Failed(text)


def a_plain_user_can_do_it_all(env):
    as_user = mopstest.plain_user(env)
    bundle(env)
    home = env.fresh("plain")
    for name in ("m", "run"):
        (home / name).mkdir(mode=0o700)
    for path in (home, home / "m", home / "run"):
        os.chown(path, 65534, 65534)
    vars_ = {"HOME": str(home), "XDG_RUNTIME_DIR": str(home / "run"), "MOPS_CACHE_DIR": str(home / "cache"),
             "XDG_CONFIG_HOME": str(home / "config"),
             "MOPS_REGISTRY": "oci:" + env.vars["XDG_DATA_HOME"] + "/mops/registry"}
    script = r"""
    set -e
    fs=$1 m=$2
    "$fs" mount demo:1.0 "$m" -q
    test "$(cat "$m/a.txt")" = a
    "$fs" status "$m" --json
    sum=$(sha256sum < "$m/big.bin")
    echo "$sum"
    grep " $m " /proc/self/mountinfo
    ! touch "$m/x" 2>/dev/null || exit 8
    "$fs" umount "$m"
    ! grep " $m " /proc/self/mountinfo || exit 8
    "$fs" mount demo:1.0 "$m" -q
    pid=$("$fs" status "$m" --json | sed 's/.*"pid":\([0-9]*\).*/\1/')
    # What they know is not for others, not even of the same user.
    cat /proc/$$/environ > /dev/null
    ! cat "/proc/$pid/environ" > /dev/null 2>&1 || exit 8
    ! cat "/proc/$(ps -o ppid= "$pid" | tr -d ' ')/environ" > /dev/null 2>&1 || exit 8
    kill -9 "$pid"
    test "$(timeout 10 cat "$m/a.txt")" = a
    test "$(timeout 10 sha256sum < "$m/big.bin")" = "$sum"
    pid=$("$fs" status "$m" --json | sed 's/.*"pid":\([0-9]*\).*/\1/')
    kill "$pid"
    for i in $(seq 100); do grep -q " $m " /proc/self/mountinfo || break; sleep 0.05; done
    ! grep " $m " /proc/self/mountinfo || exit 8
    "$fs" mount demo:1.0 "$m" -o io=passthrough && exit 9
    ! grep " $m " /proc/self/mountinfo || exit 8
    echo done
    """
    p = env.run(*as_user, "sh", "-c", script, "sh", MOPSFS, home / "m", env=vars_, timeout=120)
    out = p.stdout.decode()
    if not out.endswith("done\n") or '"mode":"cached"' not in out or "CAP_SYS_ADMIN" not in p.stderr.decode() + out:
        raise Failed(out + p.stderr.decode())
    if mopstest.sha256_file(next(env.base.glob("ws-*")) / "big.bin") not in out:
        raise Failed("other bytes")


if __name__ == "__main__":
    mopstest.run([
        mount_returns_when_the_tree_can_be_read,
        mount_leaves_the_callers_pipes,
        sigterm_ends_a_mount,
        sigterm_ends_a_mount_that_is_in_use,
        a_killed_supervisor_takes_the_mount_with_it,
        a_dead_mount_is_taken_away_by_the_next,
        foreground_stays_and_says_when_it_is_ready,
        failures_have_their_exit_codes,
        a_mount_over_our_own_folders_is_refused,
        a_second_mount_at_one_place_is_refused,
        a_mount_in_use_is_not_ended_unless_lazily,
        letters_are_the_flags_of_their_names,
        the_end_of_a_mount_leaves_another_at_its_place,
        the_end_of_a_mount_leaves_another_of_its_number,
        a_start_that_ends_leaves_another_at_its_place,
        an_aborted_mount_is_taken_away,
        status_lists_every_mount,
        status_is_served_while_a_client_says_nothing,
        the_documented_names_are_told,
        a_failing_start_is_told_once,
        a_start_whose_worker_is_killed_ends,
        a_start_whose_caller_ends_at_once_ends,
        a_start_without_descriptors_leaves_no_mount,
        a_signal_during_the_start_ends_it,
        the_log_goes_where_it_was_told,
        a_plain_user_can_do_it_all,
    ])
