#!/usr/bin/python3
"""A tree of 20,000 files through a real registry: push, mount, compare; what a
cold read costs; the same digest from anywhere; what a second push sends."""
import os
import pathlib
import random
import shutil
import stat
import subprocess
import sys
import sysconfig

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from mopstest import DockerRegistry, Failed, MOPS, run, same, sha256_file, snapshot, write_random  # noqa: E402

MIB = 1 << 20
BIG = 300 * 1000 * 1000


def make_tree(top, files=20000, big=True):
    """Python's own library several times over, a few links and modes, and three
    random files."""
    library = pathlib.Path(sysconfig.get_path("stdlib"))
    sources = sorted(p for p in library.rglob("*.py")
                     if p.is_file() and not p.is_symlink() and "test" not in p.parts)[:4000]
    n = copy = 0
    while n < files:
        for p in sources:
            to = top / f"copy{copy}" / p.relative_to(library)
            to.parent.mkdir(parents=True, exist_ok=True)
            data = p.read_bytes()
            # Each copy differs, so contents do not collapse into one.
            to.write_bytes(data + f"# {copy}\n".encode())
            if n % 50 == 0:
                to.chmod(0o755)
            n += 1
            if n >= files:
                break
        copy += 1
    (top / "link").symlink_to("copy0/abc.py")
    (top / "copy0" / "up").symlink_to("../link")
    (top / "dangling").symlink_to("nowhere")
    (top / "empty-dir").mkdir()
    (top / "empty").write_bytes(b"")
    if big:
        write_random(top / "big/one.bin", 1000 * 1000, 1)
        write_random(top / "big/eight.bin", 8 * 1000 * 1000, 2)
        write_random(top / "big/three-hundred.bin", BIG, 3)
    write_random(top / "big/ten-kb.bin", 10 * 1024, 4)
    return top


def through_a_real_registry(env):
    reg = DockerRegistry(env)
    src = make_tree(env.fresh("src"))
    ref = f"{reg.host}/team/tree@v1"
    pushed = env.push(src, ref)
    if pushed["files"] < 20000:
        raise Failed(f"only {pushed['files']} files were pushed")
    want = snapshot(src)

    env.new_cache()
    with env.mount(ref) as at:
        same(want, snapshot(at), "the mount and the source")
        for key in ("copy0/abc.py", "copy0/up", "empty"):
            mode = stat.S_IMODE(os.lstat(at / key).st_mode)
            if key == "copy0/abc.py" and mode not in (0o644, 0o755):
                raise Failed(f"mode of {key} is {mode:o}")

    # What cold reads cost, by the registry's own access log.
    env.new_cache()
    reg.forget()
    with env.mount(ref) as at:
        if sha256_file(at / "big/ten-kb.bin") != want["big/ten-kb.bin"][2]:
            raise Failed("wrong bytes in the small file")
        cost = reg.content_bytes()
        print(f"# a 10 KB file cost {cost / MIB:.2f} MiB")
        if cost > 5 * MIB:
            raise Failed(f"a 10 KB file cost {cost} bytes")
    env.new_cache()
    reg.forget()
    with env.mount(ref) as at:
        with open(at / "big/three-hundred.bin", "rb") as f:
            f.seek(250 * 1000 * 1000)
            got = f.read(65536)
        with open(src / "big/three-hundred.bin", "rb") as f:
            f.seek(250 * 1000 * 1000)
            if f.read(65536) != got:
                raise Failed("wrong bytes in the big file")
        cost = reg.content_bytes()
        print(f"# 64 KiB at 250 MB cost {cost / MIB:.2f} MiB")
        if cost > 4 * MIB:
            raise Failed(f"64 KiB cost {cost} bytes")

    # Pushing again, and after one small change.
    again = env.push(src, ref)
    if again["blobs_sent"] or again["tag_moved"] or again["digest"] != pushed["digest"]:
        raise Failed(f"a second push did something: {again}")
    text = env.mops("push", src, "--to", ref).stderr.decode()
    if "nothing to upload" not in text:
        raise Failed(f"a second push does not say so: {text}")
    victim = src / "copy1/abc.py"
    victim.write_bytes(victim.read_bytes() + b"# changed\n")
    reg.forget()
    changed = env.push(src, ref)
    # One pack (two when a cut moves), one tree, one root; then the manifest.
    if not 3 <= changed["blobs_sent"] <= 4:
        raise Failed(f"one changed file sent {changed['blobs_sent']} blobs")
    manifests = [r for r in reg.requests() if r[0] == "PUT" and "/manifests/" in r[1]]
    if len(manifests) != 1:
        raise Failed(f"{len(manifests)} manifests were put")


def the_same_digest_from_anywhere(env):
    a = make_tree(env.fresh("a"), files=3000, big=False)
    b = env.fresh("b")
    # Another umask, other times, another inode order, other locale and name.
    paths = sorted(p for p in a.rglob("*") if not p.is_dir() or p.is_symlink())
    random.Random(5).shuffle(paths)
    for p in paths:
        to = b / p.relative_to(a)
        to.parent.mkdir(parents=True, exist_ok=True)
        if p.is_symlink():
            to.symlink_to(os.readlink(p))
            continue
        shutil.copyfile(p, to)
        to.chmod(0o700 if p.stat().st_mode & 0o100 else 0o600)
        os.utime(to, (1, 1))
    (b / "empty-dir").mkdir(mode=0o700)
    one = env.push(a, "first@1")
    env.new_cache()
    out = subprocess.run([str(MOPS), "push", str(b), "--to", "other/name@2.0", "--json"],
                         env={**env.vars, "LC_ALL": "C", "TZ": "Pacific/Auckland"}, preexec_fn=lambda: os.umask(0o077),
                         check=True, stdout=subprocess.PIPE).stdout.decode()
    if one["digest"] not in out:
        raise Failed(f"{one['digest']} against {out}")


run([through_a_real_registry, the_same_digest_from_anywhere])
