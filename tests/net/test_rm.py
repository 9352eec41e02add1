#!/usr/bin/python3
"""mops rm: tags, manifests with every tag of them, and registries that keep both."""
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from mopstest import DockerRegistry, Failed, run  # noqa: E402


def push(env, ref, text):
    top = env.fresh("ws")
    (top / "a").write_text(text)
    return env.push(top, ref)["digest"]


def check(got, want):
    if got != want:
        raise Failed(f"{got}, not {want}")


def tags(env, name):
    return env.mops_json("tags", name)["tags"]


def a_tag_of_a_folder(env):
    one = push(env, "a:1", "x")
    check(push(env, "a:2", "x"), one)
    push(env, "a:latest", "y")
    check(env.mops_json("rm", "a:1", "--dry-run")["removed"], False)
    check(tags(env, "a"), ["1", "2", "latest"])
    result = env.mops_json("rm", "a@1")
    check((result["digest"], result["removed"]), (one, True))
    check(tags(env, "a"), ["2", "latest"])
    check(env.mops_json("resolve", "a:2")["digest"], one)
    env.mops("rm", "a:1", code=1)
    env.mops("rm", "nobody:1", code=1)


def a_name_alone_is_too_little(env):
    push(env, "team/latest:latest", "x")
    env.mops("rm", "team/latest", code=2)
    env.mops("rm", code=2)
    check(tags(env, "team/latest"), ["latest"])
    env.mops("rm", "team/latest:latest")
    env.mops("resolve", "team/latest", code=1)


def a_digest_with_every_tag(env):
    one = push(env, "a:1", "x")
    push(env, "a:2", "x")
    push(env, "a:3", "y")
    env.mops("rm", f"a@{one}")
    check(tags(env, "a"), ["3"])
    env.mops("rm", f"a@{one}", code=1)


def at_a_registry(env):
    reg = DockerRegistry(env)
    one = push(env, f"{reg.host}/a:1", "x")
    push(env, f"{reg.host}/a:2", "y")
    p = env.mops("rm", f"{reg.host}/a:1", "--json", code=None)
    if p.returncode == 0:  # newer ones remove tags
        check(tags(env, f"{reg.host}/a"), ["2"])
        return
    error = json.loads(p.stdout)
    check(p.returncode, 3)
    if "removes no tags" not in error["message"] or one not in error["hint"]:
        raise Failed(f"{error}")
    env.mops("resolve", f"{reg.host}/a:1")
    env.mops("rm", f"{reg.host}/a@{one}")
    env.mops("resolve", f"{reg.host}/a:1", code=1)
    env.mops("resolve", f"{reg.host}/a:2")
    env.mops("rm", f"{reg.host}/a:2", "--offline", code=3)


run([a_tag_of_a_folder, a_name_alone_is_too_little, a_digest_with_every_tag, at_a_registry])
