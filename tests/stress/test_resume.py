#!/usr/bin/env python3
"""A push of 300 MB that is killed after 100 MB, and begun again.

MOPS_STRESS_ROUNDS is how often (2)."""
import os
import pathlib
import re
import signal
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from mopstest import MOPS, DockerRegistry, Failed, run, wait_for, write_random  # noqa: E402
from keeping_registry import KeepingRegistry  # noqa: E402

ROUNDS = int(os.environ.get("MOPS_STRESS_ROUNDS", "2"))
SIZE, KILLED_AT, AGAIN_MAX = 300_000_000, 100_000_000, 200_000_000


def make_bundle(env, seed):
    source = env.fresh("src")
    write_random(source / "weights.bin", SIZE, seed)
    return source


def kill_at(env, source, ref, received):
    """Push, and kill it once KILLED_AT bytes arrived and were kept."""
    push = env.start(MOPS, "push", source, "--to", ref, "-q", env={"MOPS_LIMIT_RATE": "60MB"})
    try:
        wait_for("bytes to arrive", lambda: push.poll() is not None or received() >= KILLED_AT, 120)
        if push.poll() is not None:
            raise Failed(f"the push ended by itself with {push.returncode}")
    finally:
        push.send_signal(signal.SIGKILL)
        push.wait()


def resumed(env, registry):
    for i in range(ROUNDS):
        source = make_bundle(env, f"resume {i}")
        ref = f"{registry.host}/team/model:v{i}"
        registry.received = 0
        registry.goes_on.clear()
        kill_at(env, source, ref, registry.kept)
        registry.goes_on.set()
        wait_for("what was on its way", lambda: registry.bodies == 0, 60)
        before, registry.received = registry.received, 0
        said = env.mops("push", source, "--to", ref, "-vv")
        print(f"# {before} bytes before, {registry.received} after", flush=True)
        if registry.received >= AGAIN_MAX:
            raise Failed(f"{registry.received} bytes were sent again\n{said.stderr.decode()[-2000:]}")
        if f"v{i}" not in registry.manifests:
            raise Failed("no tag")
        left = list((env.base / "state/mops/uploads").iterdir())
        if left:
            raise Failed(f"records stay behind: {left}")


def what_the_registry_kept_is_not_sent_again(env):
    resumed(env, KeepingRegistry(env, KILLED_AT))


def whole_chunks_are_not_sent_again(env):
    resumed(env, KeepingRegistry(env, KILLED_AT, whole_pieces=True))


def a_spoilt_beginning_is_sent_anew(env):
    registry = KeepingRegistry(env, KILLED_AT)
    source, ref = make_bundle(env, "spoilt"), f"{registry.host}/team/model:v"
    kill_at(env, source, ref, registry.kept)
    registry.goes_on.set()
    wait_for("what was on its way", lambda: registry.bodies == 0, 60)
    spoilt = max(registry.sessions.values(), key=len)
    spoilt[1000] ^= 1
    env.mops("push", source, "--to", ref)
    if "v" not in registry.manifests or SIZE not in registry.blobs.values():
        raise Failed(f"{registry.manifests}, {registry.blobs}")


def a_session_that_cannot_go_on_is_begun_anew(env):
    """docker-registry refuses a session whose last request broke off."""
    registry = DockerRegistry(env)
    uploads = registry.dir / "data/docker/registry/v2/repositories/team/model/_uploads"

    def size_of(path):
        try:
            return path.stat().st_size
        except FileNotFoundError:  # it has become a blob
            return 0

    def received():
        return sum(size_of(p) for p in uploads.glob("*/data"))
    for i in range(ROUNDS):
        source = make_bundle(env, f"anew {i}")
        ref = f"{registry.host}/team/model:v{i}"
        before = received()
        kill_at(env, source, ref, lambda b=before: received() - b)
        time.sleep(0.2)
        lost = received() - before
        env.mops("push", source, "--to", ref)
        env.mops("verify", ref, "--deep")
        print(f"# {lost} bytes were sent again", flush=True)
        if lost >= AGAIN_MAX:
            raise Failed(f"{lost} bytes were sent again")


def records_are_for_their_owner(env):
    """A location may be a capability, and names no secret in logs."""
    registry = KeepingRegistry(env, KILLED_AT)
    kill_at(env, make_bundle(env, "modes"), f"{registry.host}/team/model:v", registry.kept)
    registry.goes_on.set()
    folder = env.base / "state/mops/uploads"
    found = list(folder.iterdir())
    if len(found) != 1 or found[0].stat().st_mode & 0o777 != 0o600 or not re.fullmatch("[0-9a-f]{64}", found[0].name):
        raise Failed(f"{found}")
    if folder.stat().st_mode & 0o777 != 0o700:
        raise Failed("the folder is open to others")


run([what_the_registry_kept_is_not_sent_again, whole_chunks_are_not_sent_again, a_spoilt_beginning_is_sent_anew,
     a_session_that_cannot_go_on_is_begun_anew, records_are_for_their_owner])
