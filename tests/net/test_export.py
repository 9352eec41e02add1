#!/usr/bin/python3
"""Archives: the same bytes whoever writes them, wherever and from wherever, and
the bytes of other programs' tar."""
import concurrent.futures
import contextlib
import hashlib
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tarfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
import mopstest
from mopstest import MOPS, DockerRegistry, Failed, write_random

SOURCE = pathlib.Path(os.environ["MOPS_SOURCE_ROOT"])
VARIANTS = 200
UMASKS = (0o000, 0o002, 0o022, 0o027, 0o077, 0o177)
USERS = (0, 1000, 65534)
LOCALES = ("C", "C.UTF-8", "POSIX", "en_US.UTF-8", "tr_TR.UTF-8", "ja_JP.EUC-JP")
ZONES = ("UTC", "Pacific/Chatham", "America/New_York", "Asia/Kolkata", "XYZ-14", ":/nowhere")
# Modes of files that the owner may run, and may not: the others' bits mean nothing.
RUN, READ = (0o755, 0o700, 0o744, 0o555), (0o644, 0o600, 0o655, 0o444)
BUNDLE = """bundle:
  name: demo
  version: "1"
  layers:
    - {name: code, paths: ["code/**", "*.md"]}
    - {name: data, paths: ["data/**"]}
  roles:
    default: [code, data]
"""


def content():
    """Path → bytes, link's target as text, or None for an empty folder; and what may be run."""
    out = {f"code/f{i:02}.txt": b"%d\n" % i * i for i in range(25)}
    out.update({"README.md": b"# demo\n", ".mops-bundle.yaml": BUNDLE.encode(), "code/run": b"#!/bin/sh\n", "code/none": b"",
                "code-x": None, "data/a/b": b"b", "data/a-b": b"a-b", "data/a.b": b"a.b", "data/\u00fcn\u00ef \u540d": b"name",
                "data/to": "a/b", "data/nowhere": "gone", "code/empty": None,
                "data/" + "l" * 120 + "/" + "m" * 120: b"pax", "data/far": "x/" * 60 + "y",
                "data/big": random.Random(1).randbytes(300000) + bytes(1500000)})
    return out, {"code/run"}


def make(top, rng, owner=0):
    """The same tree, made in another order, with other times, modes, and owner."""
    tree, may_run = content()
    names = list(tree)
    rng.shuffle(names)
    for name in names:
        at, what = top / name, tree[name]
        at.parent.mkdir(parents=True, exist_ok=True)
        if what is None:
            at.mkdir(exist_ok=True)
        elif isinstance(what, str):
            at.symlink_to(what)
        else:
            at.write_bytes(what)
            at.chmod(rng.choice(RUN if name in may_run else READ))
            os.utime(at, ns=(rng.randrange(1 << 60), rng.randrange(1 << 60)))
    for at in [top, *top.rglob("*")]:
        os.chown(at, owner, owner, follow_symlinks=False)
        if at.is_dir() and not at.is_symlink():
            at.chmod(rng.choice((0o755, 0o700, 0o2750)))


@contextlib.contextmanager
def file_systems(env):
    """Folders on tmpfs and on ext4 with sorted and with unsorted folders."""
    mopstest.need_root()
    env.base.chmod(0o755)
    mounts = []

    def mount(name, *argv):
        at = env.fresh(name)
        env.run("mount", *argv, at)
        mounts.append(at)
        at.chmod(0o755)
        return at
    try:
        for name, features in (("sorted", "dir_index"), ("plain", "^dir_index,^metadata_csum")):
            image = env.base / f"{name}.img"
            with open(image, "wb") as f:
                f.truncate(48 << 20)
            env.run("mkfs.ext4", "-q", "-F", "-O", features, image)
            mount(name, "-o", "loop", image)
        mount("tmpfs", "-t", "tmpfs", "-o", "size=256m", "tmpfs")
        yield mounts
    finally:
        for at in mounts:
            subprocess.run(["umount", "-l", str(at)], check=False)


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def one_of_a_kind(what, got):
    """@got: value → those who had it."""
    if len(got) != 1:
        raise Failed(f"{len(got)} {what}: " + str({k: v[:3] for k, v in got.items()})[:1500])


def variants_have_one_hash(env):
    """Of umask, user, locale, time zone, file system, order of creation and so of
    reading, owner, modes and times; from a folder, or from a reference: with a
    cold cache and with a warm one."""
    with file_systems(env) as tops:
        out = tops[-1] / "out"
        out.mkdir()
        out.chmod(0o1777)
        rng = random.Random(7)
        trees = []
        for i, top in enumerate(tops * 4):
            trees.append((top / f"tree{'x' * i}", USERS[i % 3]))
            trees[-1][0].mkdir()
            make(*trees[-1][:1], rng, trees[-1][1])
        orders = {tuple(os.listdir(tree / "code")) for tree, _ in trees}
        if len(orders) < 6:
            raise Failed(f"folders are read in {len(orders)} orders only")
        registry = tops[-1] / "registry"
        env.run(MOPS, "push", trees[0][0], "--to", f"oci:{registry}:demo:1")
        env.run("chmod", "-R", "a+rX", registry)
        tars, frames = {}, {}
        plain = {k: v for k, v in env.vars.items() if not k.startswith("XDG_")}

        def export(i, r):
            tree, owner = trees[i % len(trees)]
            user = r.choice((0, owner))
            what = (str(tree),)
            # Twelve of a pair: where it comes from, by whom.
            world = out / f"{i}"
            if i % 4 == 0:
                user = r.choice(USERS)
                world = out / f"ref{user}{i % 8}"
                what = (f"oci:{registry}:demo:1",)
            name = "a.tar" if i % 3 else "a.tar.zst"
            where = {"LC_ALL": r.choice(LOCALES), "TZ": r.choice(ZONES), "HOME": str(world), "MOPS_CACHE_DIR": f"{world}/c"}
            mask = r.choice(UMASKS[:-1] if i % 4 == 0 else UMASKS)
            p = subprocess.run([MOPS, "export", *what, "-o", out / f"{i}-{name}", "--json"], env={**plain, **where},
                               umask=mask if user == 0 else mask & 0o077, user=user, group=user, extra_groups=[], cwd="/",
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, timeout=120)
            how = (str(tree), user, f"{mask:03o}", where["LC_ALL"], where["TZ"], what[0])
            if p.returncode != 0:
                raise Failed(f"{how}: exit {p.returncode}: {(p.stdout + p.stderr).decode()}")
            said = json.loads(p.stdout)["tar_digest"].removeprefix("sha256:")
            digest = sha256(out / f"{i}-{name}")
            (out / f"{i}-{name}").unlink()
            if name == "a.tar" and said != digest:
                raise Failed(f"{how}: said {said}, wrote {digest}")
            return how, said, digest if name != "a.tar" else None

        jobs = [random.Random(i) for i in range(VARIANTS)]
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            for how, tar, frame in pool.map(export, range(VARIANTS), jobs):
                tars.setdefault(tar, []).append(how)
                if frame:
                    frames.setdefault(frame, []).append(how)
        one_of_a_kind("tars", tars)
        one_of_a_kind("compressed ones", frames)
        if sum(map(len, tars.values())) != VARIANTS:
            raise Failed("not all were written")


def python_tar(top, out):
    """Thirty lines with a tar library that is not ours."""
    def entries(at, name):
        for e in os.scandir(at):
            path = f"{name}{e.name}"
            yield path.encode(), e
            if e.is_dir(follow_symlinks=False):
                yield from entries(e.path, path + "/")

    with tarfile.open(out, "w", format=tarfile.USTAR_FORMAT) as tar:
        for path, e in sorted(entries(top, ""), key=lambda x: x[0]):
            info = tarfile.TarInfo(path.decode())
            if e.is_symlink():
                info.type, info.linkname, info.mode = tarfile.SYMTYPE, os.readlink(e.path), 0o777
            elif e.is_dir():
                info.type, info.mode = tarfile.DIRTYPE, 0o755
            else:
                info.size = e.stat().st_size
                info.mode = 0o755 if e.stat().st_mode & 0o100 else 0o644
            with open(os.devnull if not info.isreg() else e.path, "rb") as f:
                tar.addfile(info, f)


def python_writes_the_same_bytes(env):
    """Of this project's tests, as they are here."""
    top = env.base / "tests"
    shutil.copytree(SOURCE / "tests", top, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    (top / "link").symlink_to("fuzz/corpus")
    (top / "hollow").mkdir()
    ours, theirs = env.base / "ours.tar", env.base / "theirs.tar"
    n = env.mops_json("export", top, "-o", ours)["files"]
    python_tar(top, theirs)
    if n < 300 or ours.read_bytes() != theirs.read_bytes():
        raise Failed(f"{n} files, {ours.stat().st_size} and {theirs.stat().st_size} bytes")
    env.mops("import", theirs, "--dest", env.base / "back")
    if mopstest.snapshot(env.base / "back") != mopstest.snapshot(top):
        raise Failed("another tree came back")


def others_unpack_it(env):
    """GNU tar and Python, compressed and not: what they unpack is written as the same bytes."""
    top = env.fresh("tree")
    make(top, random.Random(1))
    tar, packed = env.base / "a.tar", env.base / "a.tar.zst"
    want = env.mops_json("export", top, "-o", tar)["tar_digest"]
    said = env.mops_json("export", top, "-o", packed)
    if said["tar_digest"] != want or said["zstd_level"] != 3:
        raise Failed(str(said))
    # The last frame says what made it.
    record = json.dumps({"level": 3, "zstd": said["zstd_version"]}, separators=(",", ":")).encode()
    frame = b"\x50\x2a\x4d\x18" + len(record).to_bytes(4, "little") + record
    if not packed.read_bytes().endswith(frame):
        raise Failed("it does not end with what made it")

    def unpacked(name, how):
        to = env.fresh(name)
        how(to)
        got = env.mops_json("export", to, "-o", env.base / "again.tar")["tar_digest"]
        if got != want:
            raise Failed(f"unpacked by {name} it becomes {got}")
    unpacked("tar", lambda to: env.run("tar", "-xf", tar, "-C", to))
    unpacked("tar with zstd", lambda to: env.run("tar", "--zstd", "-xf", packed, "-C", to))
    with tarfile.open(tar) as t:
        unpacked("Python", lambda to: t.extractall(to))
    for i, file in enumerate((tar, packed)):
        unpacked("mops", lambda to, f=file: env.mops("import", f, "--dest", to))
        env.mops("import", file, "--to", f"again:{i}")


def externals_are_pointers_unless_asked_for(env):
    top, store = env.fresh("tree"), env.fresh("store")
    make(top, random.Random(2))
    shutil.copy(top / "data/big", store / "big")
    env.vars["MOPS_FILE_ROOTS"] = str(store)
    env.push(top, "ext:1", "--external", f"data/big=file://{store}/big")
    whole = env.mops_json("export", top, "-o", env.base / "whole.tar")
    got = env.mops_json("export", "ext:1", "-o", env.base / "got.tar", "--include-external")
    if got["tar_digest"] != whole["tar_digest"] or got["pointers"]:
        raise Failed(f"{got}, {whole}")
    # Without the store, as pointers.
    shutil.move(store / "big", store / "away")
    env.new_cache()
    some = env.mops_json("export", "ext:1", "-o", env.base / "some.tar")
    with tarfile.open(env.base / "some.tar") as t:
        names = t.getnames()
        pointer = json.load(t.extractfile(".mops/ptr/data/big.json"))
    if some["pointers"] != 1 or "data/big" in names or pointer["original_path"] != "data/big":
        raise Failed(f"{some}, {names}")
    p = env.mops("export", "ext:1", "-o", env.base / "none.tar", "--include-external", code=None)
    if p.returncode != 3 or list(env.base.glob("none.tar*")):
        raise Failed(f"exit {p.returncode}, {list(env.base.glob('none.tar*'))}: {p.stderr.decode()}")
    # They cannot be pushed, but unpacked.
    p = env.mops("import", env.base / "some.tar", "--to", "some:1", code=2)
    if b"--include-external" not in p.stderr:
        raise Failed(p.stderr.decode())
    env.mops("import", env.base / "some.tar", "--dest", env.base / "some")
    if not (env.base / "some/.mops/ptr/data/big.json").exists():
        raise Failed("there is no pointer")


def a_reference_is_not_materialized(env):
    """Streamed: what it leaves on the disk is the archive, and what the cache keeps."""
    top = env.fresh("tree")
    write_random(top / "data/big", 6 << 20, 1)
    env.push(top, "big:1")
    env.new_cache()
    tmp = env.fresh("tmp")
    before = {p for p in env.base.rglob("*") if env.cache() not in p.parents}
    env.mops("export", "big:1", "-o", env.base / "big.tar", env={"TMPDIR": str(tmp)})
    new = {p for p in env.base.rglob("*") if env.cache() not in p.parents} - before - {env.cache()}
    if new != {env.base / "big.tar"}:
        raise Failed(f"there is {sorted(map(str, new))}")
    names = {p.name for p in env.cache().rglob("*") if p.is_file() and not p.is_symlink()}
    if "big" in names:
        raise Failed("it was materialized")
    # The next one needs no registry.
    env.mops("export", "big:1", "-o", env.base / "again.tar", "--offline")
    if sha256(env.base / "again.tar") != sha256(env.base / "big.tar"):
        raise Failed("offline it is another")


def skopeo_reads_the_bundle_itself(env):
    """One tar, from a registry with a cold cache, and from a warm cache alone; damage is fetched again."""
    skopeo = mopstest.need_program("skopeo")
    top = env.fresh("tree")
    make(top, random.Random(3))
    write_random(top / "data/own", 3 << 20, 4)
    server = DockerRegistry(env)
    ref = f"{server.host}/team/a:1"
    digest = env.push(top, ref)["digest"]
    env.new_cache()
    cold, warm, packed = env.base / "cold.tar", env.base / "warm.tar", env.base / "packed.tar.zst"
    want = env.mops_json("export", ref, "-o", cold, "--oci")["tar_digest"]
    for source in (f"oci-archive:{cold}", f"oci-archive:{cold}:team/a:1"):
        raw = env.run(skopeo, "--insecure-policy", "inspect", "--raw", source).stdout
        if f"sha256:{hashlib.sha256(raw).hexdigest()}" != digest:
            raise Failed(f"{source} has another manifest")
    env.run(skopeo, "--insecure-policy", "copy", f"oci-archive:{cold}", f"oci:{env.base}/copy:b:2")
    env.mops("verify", f"oci:{env.base}/copy:b:2", "--deep")
    # Unpacked it is a layout folder.
    env.mops("import", cold, "--dest", env.base / "layout")
    if env.mops_json("resolve", f"oci:{env.base}/layout:team/a:1")["digest"] != digest:
        raise Failed("unpacked it is another")
    if env.mops_json("export", ref, "-o", packed, "--oci")["tar_digest"] != want:
        raise Failed("before compression it is another")
    # What is wrong in the registry is never in a file.
    blob = max((server.dir / "data").rglob("data"), key=lambda p: p.stat().st_size)
    good = blob.read_bytes()
    blob.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    env.new_cache()
    env.mops("export", ref, "-o", env.base / "bad.tar", "--oci", code=2)
    if list(env.base.glob("bad.tar*")):
        raise Failed("there is an archive with wrong bytes")
    blob.write_bytes(good)
    # Files of their own stay in the cache, and are not fetched again.
    env.mops("pull", ref)
    server.forget()
    if env.mops_json("export", ref, "-o", warm, "--oci")["tar_digest"] != want or sha256(warm) != want[7:]:
        raise Failed("from the cache it is another")
    if server.content_bytes() > 1 << 20:
        raise Failed(f"{server.content_bytes()} bytes were fetched again")
    for args in ((top, "--oci"), (ref, "--oci", "--include-external")):
        env.mops("export", *args, "-o", env.base / "no.tar", code=2)


TESTS = [variants_have_one_hash, python_writes_the_same_bytes, others_unpack_it,
         externals_are_pointers_unless_asked_for, a_reference_is_not_materialized,
         skopeo_reads_the_bundle_itself]
mopstest.run(TESTS)
