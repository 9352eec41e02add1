#!/usr/bin/python3
"""skopeo carries a bundle from a registry to a layout folder and back: the digest
stays, and it still mounts."""
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from mopstest import DockerRegistry, Failed, need_program, run, same, snapshot, write_random  # noqa: E402


def copied_there_and_back(env):
    skopeo = need_program("skopeo")
    reg, other = DockerRegistry(env), DockerRegistry(env)
    src = env.fresh("src")
    for i in range(50):
        write_random(src / f"small/{i}", 100 * i, i)
    write_random(src / "big.bin", 3 << 20, 99)
    pushed = env.push(src, f"{reg.host}/team/a@1")
    layout = env.base / "layout"
    env.run(skopeo, "copy", "--src-tls-verify=false", f"docker://{reg.host}/team/a:1", f"oci:{layout}:team/a:1")
    env.run(skopeo, "copy", "--dest-tls-verify=false", f"oci:{layout}:team/a:1", f"docker://{other.host}/b:2")
    for ref in (f"oci:{layout}:team/a:1", f"{other.host}/b@2"):
        got = env.mops_json("resolve", ref)
        if got["digest"] != pushed["digest"]:
            raise Failed(f"{ref}: {got['digest']} against {pushed['digest']}")
        env.new_cache()
        with env.mount(ref) as at:
            same(snapshot(src), snapshot(at), ref)


def the_default_registry_is_plain_oci(env):
    skopeo = need_program("skopeo")
    src = env.fresh("src")
    write_random(src / "a", 1000, 1)
    pushed = env.push(src, "epi-sir@1.3.2")
    layout = pathlib.Path(env.vars["XDG_DATA_HOME"]) / "mops/registry"
    raw = env.run(skopeo, "inspect", "--raw", f"oci:{layout}:epi-sir:1.3.2").stdout
    if json.loads(raw)["artifactType"] != "application/vnd.modelops.bundle.v1":
        raise Failed(raw[:300])
    env.run(skopeo, "copy", f"oci:{layout}:epi-sir:1.3.2", f"oci:{env.base}/copy:x:y")
    if env.mops_json("resolve", f"oci:{env.base}/copy:x:y")["digest"] != pushed["digest"]:
        raise Failed("the copy has another digest")


run([copied_there_and_back, the_default_registry_is_plain_oci])
