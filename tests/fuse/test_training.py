#!/usr/bin/python3
"""examples/training on a cold mount: a mapped safetensors file and small files in random
order, with the same result as on the folder itself."""
import os
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from mopstest import DockerRegistry, Failed, need_root, run  # noqa: E402

EXAMPLE = pathlib.Path(__file__).resolve().parents[2] / "examples/training"
# What a sanitizer looks for does not come with the number.
SAMPLES = 50000 if os.environ.get("MOPS_SANITIZED", "none") == "none" else 5000


def losses(env, folder, epochs):
    said = env.run("/usr/bin/python3", EXAMPLE / "train.py", folder, "--epochs", epochs, timeout=200).stdout.decode()
    print("# " + said.strip().replace("\n", "\n# "), flush=True)
    found = re.findall(r"loss ([0-9.]+)", said)
    if len(found) != epochs:
        raise Failed(f"no loss in {said!r}")
    return found


def it_learns_the_same_from_a_mount(env):
    need_root()
    folder = env.fresh("ws")
    env.run("/usr/bin/python3", EXAMPLE / "make_bundle.py", folder, "--samples", SAMPLES, timeout=200)
    registry = DockerRegistry(env)
    ref = f"{registry.host}/two-kinds@1.0.0"
    env.mops("push", folder, "--to", ref, "-q")
    want = losses(env, folder, 1)
    env.new_cache()
    registry.forget()
    with env.mount(ref) as at:
        got = losses(env, at, 2)
    if got[:1] != want or not float(got[1]) < float(got[0]):
        raise Failed(f"the losses are {got}, and {want} without a mount")
    # Packs, not files.
    asked = registry.requests()
    print(f"# {len(asked)} requests for {SAMPLES} files", flush=True)
    if len(asked) > SAMPLES // 100:
        raise Failed(f"{len(asked)} requests")


run([it_learns_the_same_from_a_mount])
