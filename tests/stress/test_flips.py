#!/usr/bin/python3
"""One flipped bit, anywhere that bytes are stored, 1,000 times: no reader and no
final file name ever gets a wrong byte. The damage is refused, or healed from the
registry. FLIPS sets the number, SEED the sequence, LANES how many are played at once,
each in a world of its own."""
import concurrent.futures
import os
import pathlib
import random
import shutil
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from mopstest import Env, Failed, run, same, sha256_file, snapshot, sound_cache, write_random  # noqa: E402

# What is at stake here does not depend on a disk.
if "TMPDIR" not in os.environ and os.access("/dev/shm", os.W_OK):
    os.environ["TMPDIR"] = "/dev/shm"
FLIPS = int(os.environ.get("FLIPS", "1000"))
SEED = os.environ.get("SEED", "1")
LANES = int(os.environ.get("LANES", "3"))
MIB = 1 << 20


def make_bundle(env):
    src = env.fresh("src")
    write_random(src / "big/weights.bin", 3 * MIB + 12345, 1)
    write_random(src / "big/exact.bin", MIB, 2)
    for i in range(60):
        write_random(src / f"code/f{i:02}.py", 100 + 997 * i, 100 + i)
    (src / "code/run").write_text("#!/bin/sh\n")
    (src / "code/run").chmod(0o755)
    (src / "code/link").symlink_to("run")
    (src / ".mops-bundle.yaml").write_text(
        "bundle:\n  name: flip\n  version: '1'\n  layers:\n"
        "    - {name: code, paths: ['code/**']}\n    - {name: big, paths: ['big/**']}\n"
        "  roles:\n    default: [code, big]\n    code: [code]\n")
    env.mops("push", src, "-q")
    (src / ".mops-bundle.yaml").unlink()
    return snapshot(src)


def files_below(top):
    return sorted(p for p in pathlib.Path(top).rglob("*") if p.is_file() and not p.is_symlink() and p.stat().st_size)


class Flip:
    """One bit of one file, put back at the end."""

    def __init__(self, rng, path):
        self.path = path
        st = path.stat()
        self.mode, self.at, self.bit = st.st_mode & 0o7777, rng.randrange(st.st_size), 1 << rng.randrange(8)
        self.byte = None

    def __enter__(self):
        os.chmod(self.path, self.mode | 0o200)
        with open(self.path, "r+b") as f:
            f.seek(self.at)
            self.byte = f.read(1)
            f.seek(self.at)
            f.write(bytes([self.byte[0] ^ self.bit]))
        os.chmod(self.path, self.mode)
        return self

    def __exit__(self, *_):
        if not self.path.exists():
            return
        os.chmod(self.path, self.mode | 0o200)
        with open(self.path, "r+b") as f:
            f.seek(self.at)
            f.write(self.byte)
        os.chmod(self.path, self.mode)

    def __str__(self):
        return f"bit {self.bit} of byte {self.at} of {'/'.join(self.path.parts[-4:])}"


def check_folder(want, dest, whole):
    """Whatever stands in @dest under its name is right; all of it if @whole."""
    got = snapshot(dest) if dest.exists() else {}
    if whole:
        same(want, got, "the materialized folder and the source")
        return
    for key, value in got.items():
        if want.get(key) != value:
            raise Failed(f"{key} stands there wrong: {value}")


def read_mount(want, at):
    """Every file: its own bytes or an error. Returns the number of errors."""
    errors = 0
    for key, (kind, _, value) in want.items():
        if kind != "file":
            continue
        try:
            if sha256_file(at / key) != value:
                raise Failed(f"wrong bytes in {key}")
        except OSError as e:
            if e.errno not in (5,):
                raise Failed(f"{key}: {e}") from e
            errors += 1
    return errors


def in_lanes(env, name, play, count):
    """play(env, rng, n) in several worlds at once; the sum of what it returns."""
    def lane(i):
        base = env.dir(f"lane{i}")
        mine = Env(base)
        try:
            return play(mine, random.Random(f"{SEED} {name} {i}"), -(-count // LANES)) or 0
        finally:
            mine.close()
    with concurrent.futures.ThreadPoolExecutor(LANES) as pool:
        results = list(pool.map(lane, range(LANES)))
    print(f"# {-(-count // LANES) * LANES} flips {name}")
    return sum(results)


def registry_side(env):
    refused = in_lanes(env, "at the registry", in_a_registry, FLIPS // 2)
    print(f"# {refused} of them were refused, the others were in what nobody reads")
    if refused < FLIPS // 8:
        raise Failed(f"only {refused} flips were noticed: does the test flip what is read?")


def in_a_registry(env, rng, count):
    want = make_bundle(env)
    store = pathlib.Path(env.vars["XDG_DATA_HOME"]) / "mops/registry/blobs"
    refused = 0
    for i in range(count):
        blob = rng.choice(files_below(store))
        with Flip(rng, blob) as flip:
            env.new_cache()
            dest = env.base / "dest"
            p = env.mops("materialize", "flip@1", dest, code=None)
            if p.returncode not in (0, 2, 3):
                raise Failed(f"{flip}: exit {p.returncode} {p.stderr.decode()}")
            check_folder(want, dest, p.returncode == 0)
            if p.returncode:
                refused += 1
                if blob.name[:12] not in p.stderr.decode():
                    raise Failed(f"{flip}: the message names no digest: {p.stderr.decode()}")
            if i % 10 == 0:
                env.new_cache()
                through_a_mount(env, want, flip, blob)
            shutil.rmtree(dest, ignore_errors=True)
            shutil.rmtree(env.cache(), ignore_errors=True)
    return refused


def through_a_mount(env, want, flip, blob):
    log = env.base / "log"
    log.write_text("")
    at = env.fresh("mnt")
    p = env.mopsfs("mount", "flip@1", at, "--log", log, code=None)
    if p.returncode:
        if p.returncode not in (2, 3):
            raise Failed(f"{flip}: mount exits {p.returncode}: {p.stderr.decode()}")
        return
    env.mounts.append(at)
    try:
        if read_mount(want, at) and blob.name[:12] not in log.read_text():
            raise Failed(f"{flip}: the log names no digest: {log.read_text()[-500:]}")
    finally:
        env.umount(at)


def cache_side(env):
    in_lanes(env, "in a cache", in_a_cache, FLIPS // 2)


def in_a_cache(env, rng, count):
    want = make_bundle(env)
    env.new_cache()
    env.mops("pull", "flip@1", "-q")
    for i in range(count):
        # A cache of a version that nobody knows is refused whole: not a case for healing.
        victim = rng.choice([p for p in files_below(env.cache())
                                if "quarantine" not in p.parts and p.name != "version"])
        dest = env.base / "dest"
        with Flip(rng, victim) as flip:
            if i % 10 == 0:
                with env.mount("flip@1") as at:
                    if read_mount(want, at):
                        raise Failed(f"{flip}: not healed from the registry")
            p = env.mops("materialize", "flip@1", dest, code=None)
            if p.returncode:
                raise Failed(f"{flip}: not healed: exit {p.returncode} {p.stderr.decode()}")
            check_folder(want, dest, True)
            shutil.rmtree(dest, ignore_errors=True)
            flip.path = env.base / "gone"  # healed: nothing is put back
        env.mops("pull", "flip@1", "-q")
        # Records that nobody needed yet may still be damaged.
        sound_cache(env.cache(), kinds=("content", "bit", "mode", "foreign"))


def partial_side(env):
    """Damage to partial content and its map, between two mounts."""
    in_lanes(env, "in partial content", in_a_partial, max(FLIPS // 25, LANES))


def in_a_partial(env, rng, count):
    want = make_bundle(env)
    for _ in range(count):
        env.new_cache()
        with env.mount("flip@1") as at:
            with open(at / "big/weights.bin", "rb") as f:
                f.seek(rng.randrange(3 * MIB))
                f.read(1000)
            env.mops("cat", "flip@1", f"code/f{rng.randrange(60):02}.py")
        partials = files_below(env.cache() / "partial")
        if not partials:
            raise Failed("there is no partial content to damage")
        flip = Flip(rng, rng.choice(partials))
        flip.__enter__()
        with env.mount("flip@1") as at:
            if read_mount(want, at):
                raise Failed(f"{flip}: not healed from the registry")
        dest = env.base / "dest"
        env.mops("materialize", "flip@1", dest)
        check_folder(want, dest, True)
        sound_cache(env.cache())
        shutil.rmtree(dest)
        shutil.rmtree(env.cache(), ignore_errors=True)


run([registry_side, cache_side, partial_side])
