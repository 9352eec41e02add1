#!/usr/bin/env python3
"""A large file goes up in parts and comes down again in little memory; a long list is not held.

MOPS_STRESS_MIB is how large it is (512). It is sparse: a random MiB in each 64."""
import os
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
import stores  # noqa: E402
from mopstest import MOPS, DockerRegistry, Failed, run, same, sha256_file  # noqa: E402

MIB = 1 << 20
SIZE = int(os.environ.get("MOPS_STRESS_MIB", "512")) * MIB
MEMORY_MAX = 128 * MIB


def frugal(env, *args):
    """Run mops, which may take MEMORY_MAX at its peak."""
    with open(env.base / "err", "w+b") as err:
        p = subprocess.Popen([MOPS, *map(str, args), "-q"], env=env.vars, stdin=subprocess.DEVNULL,
                             stdout=subprocess.DEVNULL, stderr=err)
        _, status, usage = os.wait4(p.pid, 0)
        p.returncode = os.waitstatus_to_exitcode(status)
        err.seek(0)
        if p.returncode:
            raise Failed(f"mops {args[0]}: exit {p.returncode}: {err.read().decode()}")
    peak = usage.ru_maxrss * 1024
    print(f"# {args[0]}: {peak / MIB:.0f} MiB resident at most", flush=True)
    if peak > MEMORY_MAX:
        raise Failed(f"mops {args[0]} took {peak / MIB:.0f} MiB")
    return peak


def make_folder(env, name, storage=None):
    top = env.fresh("src")
    rules = f"external_storage:\n  - pattern: '*.bin'\n    storage: '{storage}'\n" if storage else ""
    (top / ".mops-bundle.yaml").write_text(f"bundle:\n  name: {name}\n  version: 1.0.0\n{rules}")
    with open(top / "large.bin", "wb") as f:
        f.truncate(SIZE)
        for at in range(0, SIZE, 64 * MIB):
            f.seek(at + (at // MIB * 7919) % (63 * MIB))
            f.write(os.urandom(MIB))
    return top


def up_and_down(env, top, *ref, push=()):
    want = sha256_file(top / "large.bin")
    frugal(env, "push", top, *push)
    (top / "large.bin").unlink()
    env.new_cache()
    dest = env.fresh("dest") / "tree"
    frugal(env, "materialize", *ref, dest, "--prefetch-external")
    same(sha256_file(dest / "large.bin"), want, "the digest")


def by_a_registry(env):
    registry = DockerRegistry(env)
    ref = f"{registry.host}/large@1.0.0"
    up_and_down(env, make_folder(env, "large"), ref, push=("--to", ref))


def by_azure(env):
    stores.start_azure(env)
    up_and_down(env, make_folder(env, "large", "az://mopstest/container/data/"), "large@1.0.0")


def by_s3(env):
    stores.start_s3(env)
    up_and_down(env, make_folder(env, "large", "s3://bucket/data/"), "large@1.0.0")


def a_long_list(env):
    """As JSON it takes no more than as lines."""
    top = env.fresh("src")
    for n in range(10):  # whose path is long, and whose tree is not
        folder = top / f"{n}{'a' * 200}" / ("b" * 200) / ("c" * 200)
        folder.mkdir(parents=True)
        for k in range(1500):
            (folder / f"{k}-{'d' * 200}").touch()
    env.push(top, "many:1")
    lines = frugal(env, "ls", "many:1", "-R")
    doc = frugal(env, "ls", "many:1", "-R", "--json")
    if doc > lines + 8 * MIB:
        raise Failed(f"{doc / MIB:.1f} MiB, {lines / MIB:.1f} MiB as lines")


if __name__ == "__main__":
    run([by_a_registry, by_azure, by_s3, a_long_list])
