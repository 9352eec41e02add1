#!/usr/bin/python3
"""mops doctor says what is well, what is not, and what to do about it: of caches and
their disks, of registries, logins, names, proxies and clocks that are as they should
not be."""
import contextlib
import email.utils
import http.server
import json
import os
import pathlib
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from mopstest import DockerRegistry, Failed, LocalServer, free_port, need_program, need_root, run  # noqa: E402

STATES = ("ok", "note", "warning", "failed")


def doctor(world, *args, code=0, **kw):
    """Name of a check → its object; what the schema promises is held against all."""
    p = world.mops("doctor", *args, "--json", code=code, **kw)
    if p.stderr:
        raise Failed(f"on stderr: {p.stderr}")
    doc = json.loads(p.stdout)
    if sorted(doc) != ["checks", "failed", "settings", "version", "warnings"]:
        raise Failed(f"members: {sorted(doc)}")
    for one in doc["checks"]:
        want = {"check", "detail", "state"} | ({"remedy"} if one["state"] != "ok" else set()) | \
            ({"exit_code"} if one["state"] == "failed" else set())
        if set(one) != want or one["state"] not in STATES or "\n" in one["detail"] + one.get("remedy", ""):
            raise Failed(str(one))
    failed = [c for c in doc["checks"] if c["state"] == "failed"]
    if doc["failed"] != len(failed) or (failed[0]["exit_code"] if failed else 0) != code:
        raise Failed(f"exit {code}, {failed}")
    if doc["warnings"] != sum(c["state"] == "warning" for c in doc["checks"]):
        raise Failed(str(doc))
    return {c["check"]: c for c in doc["checks"]}


def expect(checks, name, state, *words):
    one = checks.get(name)
    if not one or one["state"] != state:
        raise Failed(f"{name}: {one}, not {state}")
    text = one["detail"] + " / " + one.get("remedy", "")
    for word in words:
        if word not in text:
            raise Failed(f"{name}: no '{word}' in '{text}'")


def workspace(env):
    top = env.fresh("ws")
    (top / "a").write_text("a")
    return top


def all_is_well(env):
    reg = DockerRegistry(env)
    ref = f"{reg.host}/team/m:1"
    env.push(workspace(env), ref)
    checks = doctor(env, ref)
    for name in ("cache.folder", "cache.write", "cache.space", "cache.inodes", "cache.hardlink", "cache.verity",
                 "cache.locks", "proxy", "dns", "registry.reach", "clock", "registry.login"):
        expect(checks, name, "ok")
    expect(checks, "bundle", "ok", "sha256:", "1 layers")
    lines = env.mops("doctor", ref).stdout.decode().splitlines()
    if not any(line.startswith("ok       bundle  ") for line in lines):
        raise Failed(str(lines))
    if any(line.split()[1] == "bundle" for line in env.mops("doctor", "-q", ref).stdout.decode().splitlines()):
        raise Failed("-q prints what is well")
    # Nothing is left of what was tried.
    if list((env.cache() / "tmp").iterdir()):
        raise Failed("files in tmp/")


def each_setting_has_its_origin(env):
    (env.dir("config/mops") / "config.yaml").write_text("concurrency: 3\n")
    p = env.mops("doctor", "--json", "--io-timeout", "7s", env={"MOPS_STALL_TIMEOUT": "9s"})
    settings = {s["name"]: (s["value"], s["origin"]) for s in json.loads(p.stdout)["settings"]}
    for name, want in (("io_timeout", ("7s", "flag")), ("stall_timeout", ("9s", "MOPS_STALL_TIMEOUT")),
                       ("concurrency", ("3", f"{env.base}/config/mops/config.yaml")),
                       ("anonymous", ("false", "default"))):
        if settings.get(name) != want:
            raise Failed(f"{name}: {settings.get(name)}")
    if b"setting  io_timeout        7s (flag)\n" not in env.mops("doctor", "--io-timeout", "7s").stdout:
        raise Failed("not in the text")


def what_is_not_there(env):
    reg = DockerRegistry(env)
    expect(doctor(env, f"{reg.host}/team/none:1", code=1), "bundle", "failed", "team/none")
    expect(doctor(env, "a b", code=2), "registry.reach", "failed")
    checks = doctor(env, f"127.0.0.1:{free_port()}/x:1", code=3)
    expect(checks, "registry.reach", "failed", "connect")
    if "bundle" in checks or "clock" in checks:
        raise Failed("more was asked of a registry that does not answer")
    expect(doctor(env, "registry.invalid/x:1", code=3), "dns", "failed", "registry.invalid", "resolv.conf")
    checks = doctor(env, "registry.invalid/x:1", "--offline", code=3)
    expect(checks, "registry.reach", "note", "offline")
    expect(checks, "bundle", "failed")


def logins(env):
    reg = DockerRegistry(env, "alice", "wonder")
    ref = f"{reg.host}/m:1"
    expect(doctor(env, ref, code=3), "registry.login", "failed", "no login", "401", f"mops login {reg.host}")
    env.log_in(reg.host, "alice", "wonderland")
    checks = doctor(env, ref, code=3)
    expect(checks, "registry.login", "failed", "home/.docker/config.json", "401", "mops login")
    expect(checks, "registry.reach", "ok")
    if "bundle" in checks:
        raise Failed("more was asked of a registry that refuses us")
    env.log_in(reg.host, "alice", "wonder")
    env.push(workspace(env), ref)
    p = env.mops("doctor", ref, "-vv")
    if "wonder" in (p.stdout + p.stderr).decode() or "YWxpY2U6d29uZGVy" in (p.stdout + p.stderr).decode():
        raise Failed("a secret shows")
    checks = doctor(env, ref)
    expect(checks, "registry.login", "ok", "accepted", "home/.docker/config.json")
    expect(checks, "bundle", "ok")
    expect(doctor(env, ref, "--anonymous", code=3), "registry.login", "failed", "no login")


def logins_for_tokens(env):
    reg = DockerRegistry(env, "alice", "wonder", tokens={})
    env.log_in(reg.host, "alice", "wonder")
    expect(doctor(env, "--registry", reg.host), "registry.login", "ok", "accepted")
    env.log_in(reg.host, "alice", "wonderland")
    expect(doctor(env, "--registry", reg.host, code=3), "registry.login", "failed", "config.json")


def a_broken_file_of_logins(env):
    reg = DockerRegistry(env)
    (env.dir("home/.docker") / "config.json").write_text("{")
    expect(doctor(env, "--registry", reg.host, code=2), "registry.login", "failed", "config.json", "--anonymous")


def clocks(env):
    class Other(http.server.BaseHTTPRequestHandler):
        ahead = 0

        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def date_time_string(self, timestamp=None):
            return email.utils.formatdate(time.time() + self.ahead, usegmt=True) if self.ahead is not None else "now"

        def log_message(self, *args):
            """Of no interest."""

    host = LocalServer(env, Other).host
    for ahead, state, code, words in ((0, "ok", 0, ()), (3600, "failed", 3, ("behind", "refuse")),
                                      (-3600, "failed", 3, ("ahead of", "chrony")), (300, "warning", 0, ("behind",)),
                                      (-300, "warning", 0, ("ahead of",)), (None, "note", 0, ("does not say",))):
        Other.ahead = ahead
        checks = doctor(env, "--registry", host, code=code)
        expect(checks, "clock", state, *words)
        if ahead and abs(int(checks["clock"]["detail"].split()[0]) - abs(ahead)) > 10:
            raise Failed(str(checks["clock"]))


def proxies(env):
    login = {"https_proxy": "http://user:pa55@127.0.0.1:9"}
    p = env.mops("doctor", "r.example/x:1", "-vv", "--json", env=login, code=3)
    if b"pa55" in p.stdout + p.stderr or b"user" in p.stdout + p.stderr:
        raise Failed("the proxy's login shows")
    checks = doctor(env, "r.example/x:1", env=login, code=3)
    expect(checks, "proxy", "ok", "127.0.0.1:9")
    expect(checks, "dns", "ok", "left to the proxy")
    expect(checks, "registry.reach", "failed")
    checks = doctor(env, "r.example/x:1", env={"https_proxy": "http://user:pa55@q@h"}, code=2)
    expect(checks, "proxy", "failed", "%XX", "unset")


def folders_of_caches(env):
    cache = env.cache()
    env.mops("cache", "du")
    cache.chmod(0o777)
    expect(doctor(env, code=2), "cache.folder", "failed", "writable by others", "chmod go-w")
    cache.chmod(0o700)
    (cache / "version").write_text("7\n")
    expect(doctor(env, code=10), "cache.folder", "failed", "version")
    env.new_cache()
    env.cache().write_text("a file")
    expect(doctor(env, code=3), "cache.folder", "failed", "MOPS_CACHE_DIR")
    env.new_cache()
    expect(doctor(env, env={"MOPS_CACHE_ALTERNATES": f"{env.base}/nowhere"}), "cache.alternate", "warning", "nowhere")
    if os.geteuid() == 0:
        env.cache().chmod(0o700)
        os.chown(env.cache(), 65534, 65534)
        expect(doctor(env, code=2), "cache.folder", "failed", "belongs to user 65534", "of your own")


def stores_of_a_bundle(env):
    root = env.fresh("shared")
    roots = {"MOPS_FILE_ROOTS": str(root)}
    for name in ("one", "two"):
        (root / name).write_bytes(b"x" * 1000)
    top = workspace(env)
    push = ("push", top, "--to", "m:1", "--external", f"b/one=file://{root}/one", "--external",
            f"c/two=file://{root}/two")
    env.mops(*push, env=roots)
    checks = doctor(env, "m:1", env=roots)
    expect(checks, "store", "ok", "file://", "one")
    expect(doctor(env, "m:1", code=3), "store", "failed", "file_roots")
    (root / "one").unlink()
    expect(doctor(env, "m:1", env=roots, code=3), "store", "failed", "one", "mops verify")
    (root / "one").write_bytes(b"x" * 999)
    expect(doctor(env, "m:1", env=roots, code=3), "store", "failed", "one", "mops verify")


def stores_over_the_network(env):
    import stores
    _, s3 = stores.start_s3(env)
    s3.put("bucket", "data/f", b"x" * 1000)
    env.mops("push", workspace(env), "--to", "m:1", "--external", "f=s3://bucket/data/f")
    expect(doctor(env, "m:1"), "store", "ok", "s3://bucket")
    expect(doctor(env, "m:1", env={"AWS_SECRET_ACCESS_KEY": "wrong-secret"}, code=3), "store", "failed",
           "s3://bucket/data/f", "403")
    expect(doctor(env, "m:1", "--io-timeout", "1s", env={"AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{free_port()}"},
                  code=3), "store", "failed", "s3://bucket/data/f", "gave up")
    expect(doctor(env, "m:1", "--offline"), "store", "note", "offline", "s3://bucket")


@contextlib.contextmanager
def disk(env, *args):
    """A cache on a disk of its own."""
    need_root()
    env.new_cache()
    at = env.cache()
    at.mkdir()
    subprocess.run(["mount", *args, str(at)], check=True)
    try:
        at.chmod(0o700)
        yield at
    finally:
        subprocess.run(["umount", str(at)], check=True)


def full_disks(env):
    with disk(env, "-t", "tmpfs", "-o", "size=1m", "tmpfs") as at:
        checks = doctor(env)
        expect(checks, "cache.space", "warning", "1.0 GiB", "gc")
        with open(at / "fill", "wb", buffering=0) as f, contextlib.suppress(OSError):
            while True:
                f.write(bytes(4096))
        checks = doctor(env, code=3)
        expect(checks, "cache.write", "failed", "No space", "gc")
        if "cache.reflink" in checks:
            raise Failed("what cannot be tried is told")
    with disk(env, "-t", "tmpfs", "-o", "size=1m,nr_inodes=100", "tmpfs") as at:
        expect(doctor(env), "cache.inodes", "warning", "inodes are free")


def read_only_disks(env):
    with disk(env, "-t", "tmpfs", "-o", "size=8m", "tmpfs") as at:
        env.mops("cache", "du")
        subprocess.run(["mount", "-o", "remount,ro", str(at)], check=True)
        expect(doctor(env), "cache.write", "warning", "read-only")


def disks_that_clone(env):
    need_root()
    mkfs = need_program("mkfs.btrfs")
    image = env.base / "image"
    with open(image, "wb") as f:
        f.truncate(128 << 20)
    subprocess.run([mkfs, "-q", str(image)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with disk(env, "-o", "loop", str(image)):
        checks = doctor(env)
        expect(checks, "cache.reflink", "ok")
        known = pathlib.Path("/sys/fs/ext4/features/verity").exists()  # to this kernel
        expect(checks, "cache.verity", "ok", "can be had" if known else "no fs-verity")
    with disk(env, "-t", "tmpfs", "tmpfs"):
        checks = doctor(env)
        expect(checks, "cache.reflink", "note", "btrfs")
        expect(checks, "cache.verity", "ok", "no fs-verity")


run([all_is_well, each_setting_has_its_origin, what_is_not_there, logins, logins_for_tokens, a_broken_file_of_logins,
     clocks, proxies, stores_of_a_bundle, stores_over_the_network, folders_of_caches, full_disks, read_only_disks, disks_that_clone])
