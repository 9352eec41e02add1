#!/usr/bin/python3
"""mops copy: every blob, what refers to it, the digest; wrong bytes and wrong trees; going on; tags."""
import hashlib
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from mopstest import (MOPS, DockerRegistry, Failed, run, same, snapshot, terminate, wait_for,  # noqa: E402
                      write_random)
from keeping_registry import KeepingRegistry  # noqa: E402

INDEX_TYPE = "application/vnd.oci.image.index.v1+json"


def check(got, want):
    if got != want:
        raise Failed(f"{got}, not {want}")


def workspace(env, big=5 << 20):
    """Two layers, packs and a blob of its own."""
    top = env.fresh("ws")
    (top / ".mops-bundle.yaml").write_text(
        "bundle:\n  name: m\n  layers:\n"
        "    - {name: code, paths: [src/**]}\n    - {name: data, paths: [data/**]}\n"
        "  roles: {default: [code, data], small: [code]}\n")
    for i in range(9):
        write_random(top / f"src/{i}.py", 1000 + i, i)
    write_random(top / "data/big", big, 99)
    return top


def pull(env, ref):
    """What another machine gets."""
    env.new_cache()
    out = env.fresh("out") / "x"
    env.mops("materialize", ref, out)
    return snapshot(out)


def layout_blobs(env):
    return pathlib.Path(env.vars["XDG_DATA_HOME"]) / "mops/registry/blobs/sha256"


def from_folder_to_registry_and_back(env):
    reg = DockerRegistry(env)
    top = workspace(env)
    digest = env.push(top, "m:1")["digest"]
    there = f"{reg.host}/team/m:1"
    dry = env.mops_json("copy", "m:1", there, "--dry-run")
    check((dry["dry_run"], dry["tag_moved"], dry["blobs_sent"]), (True, True, dry["blobs"]))
    env.mops("resolve", there, code=1)
    one = env.mops_json("copy", "m:1", there)
    check((one["digest"], one["reference"], one["blobs_sent"], one["bytes_sent"], one["tag_moved"]),
          (digest, there, dry["blobs"], dry["bytes"], True))
    check(env.mops("copy", "m:1", there, "-q").stdout.decode(), digest + "\n")
    again = env.mops_json("copy", "m:1", there)
    check((again["blobs_sent"], again["blobs_mounted"], again["tag_moved"]), (0, 0, False))
    other = f"oci:{env.base}/usb:m:2"
    check(env.mops_json("copy", there, other)["digest"], digest)
    back = f"oci:{env.base}/usb2:m:1"
    check(env.mops_json("copy", f"{other}@{digest}", f"{back}@{digest}")["digest"], digest)
    want = pull(env, "m:1")
    for ref in (there, other, back.replace(":m:1", f"@{digest}")):
        same(pull(env, ref), want)
        env.mops("verify", ref, "--deep")


def between_repositories_of_one_registry_nothing_is_sent(env):
    reg = DockerRegistry(env)
    digest = env.push(workspace(env), f"{reg.host}/a:1")["digest"]
    env.new_cache()
    reg.forget()
    r = env.mops_json("copy", f"{reg.host}/a:1", f"{reg.host}/b/c:2")
    check((r["digest"], r["blobs_sent"], r["blobs_mounted"]), (digest, 0, r["blobs"]))
    if reg.content_bytes() > 100000:
        raise Failed(f"{reg.content_bytes()} bytes were read")
    env.mops("verify", f"{reg.host}/b/c:2", "--deep")
    check(env.mops_json("copy", f"{reg.host}/b/c:2", f"{reg.host}/b/c:3")["digest"], digest)
    check(env.mops_json("tags", f"{reg.host}/b/c")["tags"], ["2", "3"])


def traces_go_along(env):
    reg, far = DockerRegistry(env), DockerRegistry(env)
    trace = env.base / "t"
    trace.write_text("mops-trace 1\n0 1 data/big\n")
    digest = env.push(workspace(env), f"{reg.host}/m:1", "--trace", trace)["digest"]
    for src, dst in ((f"{reg.host}/m:1", f"oci:{env.base}/l:m:1"), (f"oci:{env.base}/l:m:1", f"{far.host}/x/m:1")):
        check(env.mops_json("copy", src, dst)["referrers"], 1)
    tag = digest.replace(":", "-")  # where a registry without the interface keeps them
    index = json.loads(env.run("curl", "-sf", f"http://{far.host}/v2/x/m/manifests/{tag}",
                               "-H", f"Accept: {INDEX_TYPE}").stdout)
    check([m["artifactType"] for m in index["manifests"]], ["application/vnd.modelops.trace.v1"])
    m = json.loads(env.run("curl", "-sf", f"http://{far.host}/v2/x/m/manifests/{index['manifests'][0]['digest']}",
                           "-H", "Accept: application/vnd.oci.image.manifest.v1+json").stdout)
    check(m["subject"]["digest"], digest)
    text = env.run("curl", "-sf", f"http://{far.host}/v2/x/m/blobs/{m['layers'][0]['digest']}").stdout
    check(text, trace.read_bytes())


def wrong_bytes_arrive_nowhere(env):
    reg = DockerRegistry(env)
    big = layout_blobs(env)
    env.push(workspace(env, 9 << 20), "m:1")
    path = max(big.iterdir(), key=lambda p: p.stat().st_size)
    path.chmod(0o644)
    for at in (0, 5 << 20, (9 << 20) - 1):
        good = path.read_bytes()
        path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1:])
        for dst in (f"{reg.host}/m:1", f"oci:{env.base}/l:m:1"):
            error = json.loads(env.mops("copy", "m:1", dst, "--json", code=2).stdout)
            if path.name not in error["message"]:
                raise Failed(str(error))
            env.mops("resolve", dst, code=1)
        if reg.blob_path(path.name).exists() or (env.base / "l/blobs/sha256" / path.name).exists():
            raise Failed("wrong bytes got a final name")
        path.write_bytes(good)
    path.rename(path.with_name("x"))
    env.mops("copy", "m:1", f"{reg.host}/m:1", code=3)
    path.with_name("x").rename(path)
    env.mops("copy", "m:1", f"{reg.host}/m:1")
    env.mops("verify", f"{reg.host}/m:1", "--deep")


def put(env, document):
    """A document among the folder's blobs."""
    raw = document if isinstance(document, bytes) else json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    hexdigest = hashlib.sha256(raw).hexdigest()
    (layout_blobs(env) / hexdigest).write_bytes(raw)
    return {"digest": f"sha256:{hexdigest}", "size": len(raw)}


def name(env, descriptor, tag):
    """In the folder's index.json."""
    path = layout_blobs(env).parent.parent / "index.json"
    index = json.loads(path.read_text())
    index["manifests"].append({**descriptor, "annotations": {"org.opencontainers.image.ref.name": tag}})
    path.write_text(json.dumps(index))


def a_role_that_shows_something_else_is_refused(env):
    reg = DockerRegistry(env)
    digest = env.push(workspace(env), "m:1")["digest"]
    manifest = json.loads((layout_blobs(env) / digest[7:]).read_bytes())
    root = json.loads((layout_blobs(env) / manifest["config"]["digest"][7:]).read_bytes())
    roles = root["roles"]
    default, small = ([r for r in roles if r["name"] == n][0] if isinstance(roles, list) else roles[n]
                      for n in ("default", "small"))
    for key in [k for k in default if k not in ("name", "layers")]:
        default[key] = small[key]
    kind = manifest["config"]["mediaType"]
    manifest["config"] = {"mediaType": kind, **put(env, root)}
    forged = put(env, manifest)
    name(env, {"mediaType": manifest["mediaType"], **forged}, "forged:1")
    env.mops("resolve", "forged:1")
    error = json.loads(env.mops("copy", "forged:1", f"{reg.host}/m:1", "--json", code=2).stdout)
    if "role 'default'" not in error["message"] or "union" not in error["message"]:
        raise Failed(str(error))
    if [m for m, *_ in reg.requests() if m in ("POST", "PUT", "PATCH")]:
        raise Failed("something was sent")


def an_index_with_all_it_names(env):
    reg = DockerRegistry(env)
    one, two = (env.push(workspace(env, 100000 + i), f"m:{i}")["digest"] for i in (1, 2))
    kind = "application/vnd.oci.image.manifest.v1+json"
    both = [{"mediaType": kind, "digest": d, "size": (layout_blobs(env) / d[7:]).stat().st_size} for d in (one, two)]
    index = put(env, {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": both})
    name(env, {"mediaType": INDEX_TYPE, **index}, "all:1")
    r = env.mops_json("copy", "all:1", f"{reg.host}/all:1")
    check(r["digest"], index["digest"])
    for d in (one, two):
        env.mops("verify", f"{reg.host}/all@{d}", "--deep")
    # One that an index names and is not there is an error of the source.
    (layout_blobs(env) / one[7:]).unlink()
    env.mops("copy", "all:1", f"{reg.host}/else:1", code=3)


def begin_copy(env, far, src):
    """Until half of it has arrived."""
    p = env.start(MOPS, "copy", src, f"{far.host}/m:1", "--json", env={"MOPS_IO_TIMEOUT": "2s"}, stdout=-1, stderr=-1)
    wait_for("half of it", lambda: far.kept() >= HALF, 60)
    return p


def end_copy(env, far, src):
    """What was kept is not sent again."""
    far.goes_on.set()
    wait_for("what was on its way", lambda: far.bodies == 0, 60)
    before, far.received = far.received, 0
    log = env.mops("copy", src, f"{far.host}/m:1", "-vv").stderr.decode()
    if "bytes are there" not in log or far.received > 45 << 20 or not far.manifests:
        raise Failed(f"{before} bytes, then {far.received}: {log[-2000:]}")


HALF = 20 << 20


def goes_on_where_it_was_killed(env):
    far = KeepingRegistry(env, HALF)
    env.push(workspace(env, 60 << 20), "m:1")
    p = begin_copy(env, far, "m:1")
    p.kill()
    p.communicate()
    end_copy(env, far, "m:1")


def goes_on_when_the_source_is_back(env):
    far, reg = KeepingRegistry(env, HALF), DockerRegistry(env)
    env.push(workspace(env, 60 << 20), f"{reg.host}/m:1")
    p = begin_copy(env, far, f"{reg.host}/m:1")
    reg.stop()
    far.goes_on.set()
    out, err = p.communicate(timeout=60)
    check((p.returncode, json.loads(out)["error"]), (3, "DownloadError"))
    if not reg.start():
        raise Failed("the registry does not come back")
    end_copy(env, far, f"{reg.host}/m:1")


def an_interrupt_leaves_no_tag(env):
    reg = DockerRegistry(env)
    env.push(workspace(env, 20 << 20), "m:1")
    p = env.start(MOPS, "copy", "m:1", f"{reg.host}/m:1", "--limit-rate", "2MB", stdout=-1, stderr=-1)
    wait_for("an upload", lambda: any(m == "POST" for m, *_ in reg.requests()))
    check(terminate(p, 2), 130)
    p.communicate()
    env.mops("resolve", f"{reg.host}/m:1", code=1)


def keeps_what_others_put_under_a_tag(env):
    reg = DockerRegistry(env)
    dst = f"{reg.host}/m:1"
    one, two = (env.push(workspace(env, 100000 + i), f"m:{i}")["digest"] for i in (1, 2))
    env.mops("copy", "m:1", dst)
    mine = env.vars["MOPS_CACHE_DIR"]
    env.new_cache()
    env.mops("copy", "m:2", dst)
    env.vars["MOPS_CACHE_DIR"] = mine
    three = env.push(workspace(env, 100003), "m:3")["digest"]
    error = json.loads(env.mops("copy", "m:3", dst, "--json", code=2).stdout)
    if "moved by somebody else" not in error["message"] or "--force" not in error["hint"]:
        raise Failed(str(error))
    check(env.mops_json("copy", "m:3", dst, "--force")["tag_moved"], True)
    check(env.mops_json("resolve", dst)["digest"], three)
    env.mops("copy", f"m@{one}", f"{dst}@{two}", code=2)
    # By its digest alone, no tag moves.
    check(env.mops_json("copy", "m:2", f"{reg.host}/m@{two}")["tag_moved"], False)
    check(env.mops_json("tags", f"{reg.host}/m")["tags"], ["1"])
    env.mops("verify", f"{reg.host}/m@{two}")


def a_tag_that_moves_meanwhile_is_left_there(env):
    reg = DockerRegistry(env)
    dst = f"{reg.host}/m:1"
    env.push(workspace(env, 4 << 20), "m:1")
    p = env.start(MOPS, "copy", "m:1", dst, "--limit-rate", "2MB", "--json", stdout=-1, stderr=-1)
    wait_for("an upload", lambda: any(m == "POST" for m, *_ in reg.requests()))
    env.vars["MOPS_CACHE_DIR"], mine = str(env.base / "theirs"), env.vars["MOPS_CACHE_DIR"]
    theirs = env.push(workspace(env, 1000), dst)["digest"]
    env.vars["MOPS_CACHE_DIR"] = mine
    message = json.loads(p.communicate(timeout=60)[0])["message"]
    check(p.returncode, 2)
    if "was not there when this command began" not in message:
        raise Failed(message)
    check(env.mops_json("resolve", dst)["digest"], theirs)


def what_cannot_be_copied(env):
    env.push(workspace(env), "m:1")
    env.mops("copy", "m:9", "n:1", code=1)
    env.mops("copy", "m@sha256:" + "0" * 64, "n:1", code=1)
    env.mops("copy", "m:1", code=2)
    env.mops("copy", "m:1", f"oci:{env.base}/l@sha256:" + "0" * 64, code=2)
    env.mops("copy", "m:1", "n:1", "--require-digest", code=2)
    env.mops("copy", "m:1", "127.0.0.1:1/n:1", "--offline", code=3)
    env.mops("copy", "m:1", "n:1", "--offline")


TESTS = [from_folder_to_registry_and_back, between_repositories_of_one_registry_nothing_is_sent, traces_go_along,
         wrong_bytes_arrive_nowhere, a_role_that_shows_something_else_is_refused, an_index_with_all_it_names,
         goes_on_where_it_was_killed, goes_on_when_the_source_is_back, an_interrupt_leaves_no_tag, keeps_what_others_put_under_a_tag,
         a_tag_that_moves_meanwhile_is_left_there,
         what_cannot_be_copied]
run(TESTS)
