#!/usr/bin/python3
"""mops list names what a push reaches."""
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from mopstest import DockerRegistry, Failed, run  # noqa: E402


def workspace(env):
    top = env.fresh("ws")
    (top / "a").write_text("a")
    return top


def check(got, want):
    if got != want:
        raise Failed(f"{got}, not {want}")


def in_the_embedded_registry(env):
    check(env.mops("list").stdout, b"")
    check(env.mops_json("list")["names"], [])
    for ref in ("b/c:1", "b/c:2", "a:1"):
        env.push(workspace(env), ref)
    check(env.mops("list").stdout, b"a\nb/c\n")
    check(env.mops_json("list")["names"], ["a", "b/c"])


def in_a_registry_below_a_prefix(env):
    reg = DockerRegistry(env)
    for ref in ("team/a:1", "team/b/c:1", "teams/d:1"):
        env.push(workspace(env), f"{reg.host}/{ref}")
    check(env.mops("list", "--registry", reg.host).stdout, b"team/a\nteam/b/c\nteams/d\n")
    listed = env.mops_json("list", "--registry", f"{reg.host}/team")
    check(listed, {"names": ["a", "b/c"], "registry": f"{reg.host}/team"})
    env.mops("tags", "b/c", "--registry", f"{reg.host}/team")


def not_from_a_registry_that_does_not_say(env):
    reg = DockerRegistry(env, "alice", "wonder")
    error = json.loads(env.mops("list", "--registry", reg.host, "--json", code=3).stdout)
    if "does not list" not in error["message"]:
        raise Failed(str(error))
    env.mops("list", "--registry", reg.host, "--offline", code=3)
    env.mops("list", "x", code=2)


def a_folder_by_a_digest_alone(env):
    top = workspace(env)
    digest = env.push(top, f"oci:{env.base}/folder:a:1")["digest"]
    ref = f"oci:{env.base}/folder@{digest}"
    env.new_cache()
    check(env.mops("cat", ref, "a").stdout, b"a")
    env.mops("verify", ref, "--deep")
    env.mops("resolve", f"oci:{env.base}/folder@sha256:{'0' * 64}", code=1)


run([in_the_embedded_registry, in_a_registry_below_a_prefix, not_from_a_registry_that_does_not_say,
     a_folder_by_a_digest_alone])
