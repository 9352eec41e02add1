#!/usr/bin/env python3
"""mops verify: damage of every kind at every place of a cache is found, said exactly and
repaired, from a registry and an object store; and what a registry lost, from the cache.
"""
import hashlib
import json
import os
import pathlib
import shutil
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mopstest  # noqa: E402
import stores  # noqa: E402

MIB = 1 << 20
BUNDLE = """\
bundle:
  name: demo
  version: "1"
  layers:
    - name: code
      paths: ["src/**"]
    - name: data
      paths: ["big/**", "own/**", "small/**"]
  roles:
    default: [code, data]
    small: [code]
{external}
"""
EXTERNAL = """\
external_storage:
  - pattern: "big/**"
    storage: "s3://bucket/data/"
"""


def make_folder(env, external=True):
    top = env.fresh("src")
    (top / ".mops-bundle.yaml").write_text(BUNDLE.format(external=EXTERNAL if external else ""))
    mopstest.write_random(top / "big/ext.bin", 2 * MIB + 17, "ext")
    mopstest.write_random(top / "own/a.bin", 3 * MIB + 1, "a")
    mopstest.write_random(top / "own/b.bin", MIB, "b")
    for i in range(20):
        mopstest.write_random(top / f"small/f{i:02}", 200_000 + i, f"s{i}")
        mopstest.write_random(top / f"src/g{i:02}", 100 + i, f"g{i}")
    return top


class Scene:
    """A bundle whose every blob is in the cache."""

    def __init__(self, env):
        self.env = env
        stores.start_s3(env)
        self.registry = mopstest.DockerRegistry(env)
        self.top = make_folder(env)
        self.ref = f"{self.registry.host}/team/demo:1"
        self.digest = env.push(self.top, self.ref)["digest"]
        env.new_cache()
        self.want = {k: v for k, v in mopstest.snapshot(self.top).items() if k != ".mops-bundle.yaml"}
        env.mops("materialize", self.ref, env.fresh("dest") / "d", "--prefetch-external", "--link", "copy")
        self.blobs = sorted(p for p in (env.cache() / "blobs/sha256").glob("*/*"))
        self.count = len(self.blobs)

    def all_right(self):
        mopstest.sound_cache(self.env.cache())
        if sorted((self.env.cache() / "blobs/sha256").glob("*/*")) != self.blobs:
            raise mopstest.Failed("some blobs are missing")
        dest = self.env.fresh("dest") / "d"
        self.env.mops("materialize", self.ref, dest, "--offline", "--prefetch-external", "--link", "copy")
        mopstest.same(mopstest.snapshot(dest), self.want)

    def verify(self, *args, code=2):
        p = self.env.mops("verify", "--cache", "--json", *args, code=code)
        return json.loads(p.stdout)


def flip(at):
    def harm(data):
        i = {"first": 0, "middle": len(data) // 2, "last": len(data) - 1}[at]
        return data[:i] + bytes([data[i] ^ 1]) + data[i + 1:]
    return harm


HARMS = {
    "first byte": flip("first"),
    "middle byte": flip("middle"),
    "last byte": flip("last"),
    "cut": lambda d: d[:-1],
    "empty": lambda d: b"",
    "longer": lambda d: d + b"\0",
    "zeros": lambda d: bytes(len(d)),
}


def harm(path, how):
    path = pathlib.Path(path)
    os.chmod(path, 0o644)
    path.write_bytes(HARMS[how](path.read_bytes()))
    os.chmod(path, 0o444)
    return path.read_bytes()


def found_as(report, path, data):
    """The one finding of a damaged blob says what is there now."""
    hits = [f for f in report["findings"] if f["digest"] == "sha256:" + path.name]
    if len(hits) != 1 or hits[0]["kind"] != "blob" or hits[0]["expected"] != "sha256:" + path.name or \
            hits[0]["found"] != "sha256:" + hashlib.sha256(data).hexdigest() or hits[0]["size"] != len(data):
        raise mopstest.Failed(f"{path.name}: {hits}")
    return hits[0]


def every_damage_of_every_blob_is_found_and_repaired(env):
    s = Scene(env)
    if s.count < 7:
        raise mopstest.Failed(f"only {s.count} blobs")
    for how in HARMS:
        for path in s.blobs:
            now = harm(path, how)
            report = s.verify("--repair", code=0)
            hit = found_as(report, path, now)
            if report["damaged"] != 1 or hit["state"] != "repaired" or hit["used_by"][0]["bundle"] != s.digest:
                raise mopstest.Failed(f"{how}: {report}")
        s.all_right()


def all_at_once_and_repaired_by_the_next_command(env):
    s = Scene(env)
    for how in HARMS:
        now = {path: harm(path, how) for path in s.blobs}
        report = s.verify()
        if len(report["findings"]) != s.count or report["exit_code"] != 2:
            raise mopstest.Failed(f"{how}: {report}")
        for path, data in now.items():
            found_as(report, path, data)
            if path.exists():
                raise mopstest.Failed(f"{how}: {path} has its name still")
        report = s.verify("--repair", code=0)
        if report["repaired"] != s.count or not all(f["earlier"] for f in report["findings"]):
            raise mopstest.Failed(f"{how}: {report}")
        if s.verify("--repair", code=0)["damaged"]:
            raise mopstest.Failed("it is said again")
        s.all_right()


def a_finding_names_bundle_layer_and_files(env):
    s = Scene(env)
    by_digest = {}
    for rel in ("own/a.bin", "big/ext.bin", "own/b.bin"):
        by_digest["sha256:" + mopstest.sha256_file(s.top / rel)] = rel
    for path in s.blobs:
        harm(path, "middle byte")
        report = s.verify()
        (use,) = report["findings"][0]["used_by"]
        if use["bundle"] != s.digest or use["reference"] != s.ref:
            raise mopstest.Failed(f"{use}")
        rel = by_digest.pop("sha256:" + path.name, None)
        if rel and (use["paths"] != [rel] or use["what"] != "layer 'data'" or use["files"] != 1):
            raise mopstest.Failed(f"{rel}: {use}")
        text = env.mops("verify", "--cache", "--repair", code=0).stdout.decode()
        if "repaired" not in text or rel and f"'{rel}'" not in text:
            raise mopstest.Failed(text)
    if by_digest:
        raise mopstest.Failed(f"never damaged: {by_digest}")


def partials_are_repaired_chunk_by_chunk(env):
    s = Scene(env)
    env.new_cache()
    env.mops("cat", s.ref, "small/f07")
    (map_path,) = [p for p in (env.cache() / "partial").glob("*/*/*.map")]
    part = map_path.with_suffix(".part")
    data = bytearray(map_path.read_bytes())
    n = int.from_bytes(data[24:28], "little")
    states = data[192 + 32 * n:]
    there = next(i for i in range(n) if states[i])
    absent = next(i for i in range(n) if not states[i])
    data[192 + 32 * n + absent] = 2  # a bit that lies: it is a hole
    map_path.write_bytes(data)
    with open(part, "r+b") as f:
        f.seek(there * MIB + 5)
        byte = f.read(1)
        f.seek(there * MIB + 5)
        f.write(bytes([byte[0] ^ 255]))
    report = s.verify()
    chunks = {f["chunk"]: f for f in report["findings"]}
    if set(chunks) != {there, absent} or any(f["kind"] != "chunk" for f in chunks.values()):
        raise mopstest.Failed(f"{report}")
    for f in chunks.values():
        want = data[192 + 32 * f["chunk"]:224 + 32 * f["chunk"]].hex()
        if f["expected"] != "sha256:" + want or not all(p.startswith("small/") for p in f["used_by"][0]["paths"]):
            raise mopstest.Failed(f"{f}")
    mopstest.sound_cache(env.cache())
    report = s.verify("--repair", code=0)
    if report["repaired"] != 2:
        raise mopstest.Failed(f"{report}")
    mopstest.sound_cache(env.cache())
    again = map_path.read_bytes()[192 + 32 * n:]
    if not again[there] or not again[absent]:
        raise mopstest.Failed("the chunks were not fetched again")


def what_cannot_be_fetched_is_said_and_repaired_later(env):
    s = Scene(env)
    own = "sha256:" + mopstest.sha256_file(s.top / "own/a.bin")
    path = env.cache() / "blobs/sha256" / own[7:9] / own[7:]
    harm(path, "first byte")
    s.registry.stop()
    report = s.verify("--repair", "--io-timeout", "1")
    (f,) = report["findings"]
    if f["state"] != "damaged" or not f.get("why") or report["error"] != "ValidationError":
        raise mopstest.Failed(f"{report}")
    report = s.verify("--repair", "--offline")
    if report["findings"][0]["state"] != "damaged":
        raise mopstest.Failed(f"{report}")
    if not s.registry.start():
        raise mopstest.Failed("the registry does not start again")
    if s.verify("--repair", code=0)["repaired"] != 1:
        raise mopstest.Failed("not repaired")
    s.all_right()


def a_hardlink_elsewhere_is_told(env):
    s = Scene(env)
    dest = env.fresh("dest") / "d"
    env.mops("materialize", s.ref, dest, "--link", "hardlink")
    victim = dest / "own/a.bin"
    if victim.stat().st_nlink < 2:
        raise mopstest.Skip("this file system makes no hardlinks here")
    harm(victim, "last byte")
    p = env.mops("verify", "--cache", "--repair", "--json", code=0)
    (f,) = json.loads(p.stdout)["findings"]
    if f["hardlinks"] != 1 or f["inode"] != victim.stat().st_ino or b"hardlinks" not in p.stderr:
        raise mopstest.Failed(f"{f} {p.stderr}")
    s.all_right()
    if mopstest.sha256_file(victim) == mopstest.sha256_file(s.top / "own/a.bin"):
        raise mopstest.Failed("this was no hardlink")
    env.mops("materialize", s.ref, dest, "--overwrite")
    if mopstest.sha256_file(victim) != mopstest.sha256_file(s.top / "own/a.bin"):
        raise mopstest.Failed("materialize left it damaged")


def what_no_bundle_needs_is_not_fetched(env):
    s = Scene(env)
    stray = hashlib.sha256(b"stray").hexdigest()
    path = env.cache() / "blobs/sha256" / stray[:2] / stray
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"other")
    report = s.verify("--repair", code=0)
    if report["unused"] != 1 or report["findings"][0]["used_by"]:
        raise mopstest.Failed(f"{report}")
    s.all_right()


def a_cache_below_has_it_still(env):
    s = Scene(env)
    site = env.base / "site"
    shutil.copytree(env.cache(), site, symlinks=True)
    env.vars["MOPS_CACHE_ALTERNATES"] = str(site)
    s.registry.stop()
    for path in s.blobs:
        harm(path, "last byte")
        report = s.verify("--repair", "--io-timeout", "1", code=0)
        if report["repaired"] != 1:
            raise mopstest.Failed(f"{path.name}: {report}")
        mopstest.sound_cache(env.cache())
    dest = env.fresh("dest") / "d"
    env.mops("materialize", s.ref, dest, "--offline", "--prefetch-external", "--link", "copy")
    mopstest.same(mopstest.snapshot(dest), s.want)


def what_cannot_be_read_is_named(env):
    """By root, too, without the capability that reads anything."""
    s = Scene(env)
    setpriv = mopstest.need_program("setpriv")
    path = s.blobs[0]
    path.chmod(0)
    p = env.run(setpriv, "--bounding-set=-dac_override,-dac_read_search", mopstest.MOPS, "verify", "--cache", "--json", code=3)
    got = [(f["kind"], f["digest"], f["state"], f["error"]) for f in json.loads(p.stdout)["findings"]]
    mopstest.same(got, [("blob", "sha256:" + path.name, "unchecked", "Permission denied")])
    path.chmod(0o444)
    s.all_right()


def the_rate_is_kept(env):
    s = Scene(env)
    size = sum(p.stat().st_size for p in s.blobs)
    start = time.monotonic()
    s.verify("--limit-rate", str(size // 2), code=0)
    if time.monotonic() - start < 1:
        raise mopstest.Failed("faster than it may")


def what_the_registry_lost_comes_from_the_cache(env):
    s = Scene(env)
    own = "sha256:" + mopstest.sha256_file(s.top / "own/a.bin")
    s.registry.blob_path(own[7:]).unlink()
    p = env.mops("verify", s.ref, "--json", code=2)
    (f,) = json.loads(p.stdout)["findings"]
    if f["expected"] != own or f["path"] != "own/a.bin" or not f["damaged"] or f["repaired"]:
        raise mopstest.Failed(f"{f}")
    report = env.mops_json("verify", s.ref, "--repair")
    if report["damaged"] != 1 or report["repaired"] != 1:
        raise mopstest.Failed(f"{report}")
    if mopstest.sha256_file(s.registry.blob_path(own[7:])) != own[7:]:
        raise mopstest.Failed("other bytes are at the registry")
    env.mops("verify", s.ref, "--deep")


def other_bytes_in_a_folder_are_replaced(env):
    top = make_folder(env, external=False)
    env.push(top, "demo:1")
    env.mops("pull", "demo:1")
    own = mopstest.sha256_file(top / "own/a.bin")
    blob = pathlib.Path(env.vars["XDG_DATA_HOME"]) / "mops/registry/blobs/sha256" / own
    now = harm(blob, "middle byte")
    env.mops("verify", "demo:1")
    (f,) = json.loads(env.mops("verify", "demo:1", "--deep", "--json", code=2).stdout)["findings"]
    if f["expected"] != "sha256:" + own or f["found"] != "sha256:" + hashlib.sha256(now).hexdigest() or \
            f["path"] != "own/a.bin":
        raise mopstest.Failed(f"{f}")
    if env.mops_json("verify", "demo:1", "--deep", "--repair")["repaired"] != 1:
        raise mopstest.Failed("not repaired")
    env.mops("verify", "demo:1", "--deep")


mopstest.run([
    every_damage_of_every_blob_is_found_and_repaired,
    all_at_once_and_repaired_by_the_next_command,
    a_finding_names_bundle_layer_and_files,
    partials_are_repaired_chunk_by_chunk,
    what_cannot_be_fetched_is_said_and_repaired_later,
    a_hardlink_elsewhere_is_told,
    what_no_bundle_needs_is_not_fetched,
    a_cache_below_has_it_still,
    what_cannot_be_read_is_named,
    the_rate_is_kept,
    what_the_registry_lost_comes_from_the_cache,
    other_bytes_in_a_folder_are_replaced,
])
