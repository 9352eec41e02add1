#!/usr/bin/env python3
"""mops pull --dest and mops ls of artifacts that other tools made: blobs with
titles, pushed here by plain HTTP."""
import hashlib
import http.client
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from mopstest import DockerRegistry, Failed, run  # noqa: E402

TITLE, TYPE = "org.opencontainers.image.title", "application/vnd.oci.image.manifest.v1+json"


class Pusher:
    def __init__(self, env):
        self.registry = DockerRegistry(env)
        self.n = 0

    def call(self, method, path, body=b"", kind="application/octet-stream"):
        c = http.client.HTTPConnection("127.0.0.1", self.registry.port)
        c.request(method, path, body, {"Content-Type": kind})
        answer = c.getresponse()
        answer.read()
        c.close()
        if answer.status not in (201, 202):
            raise Failed(f"{method} {path}: {answer.status}")
        return answer.getheader("Location")

    def blob(self, data):
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        at = self.call("POST", "/v2/a/blobs/uploads/")
        path = at[at.index("/v2/"):]
        self.call("PUT", path + ("&" if "?" in path else "?") + "digest=" + digest, data)
        return {"mediaType": "application/x.y", "digest": digest, "size": len(data)}

    def push(self, files, **more):
        """@files: (title or None, bytes, further annotations)."""
        layers = []
        for title, data, *notes in files:
            layer = self.blob(data)
            layer["annotations"] = {TITLE: title} if title is not None else {}
            layer["annotations"].update(*notes)
            layers.append(layer)
        config = {**self.blob(b"{}"), "mediaType": "application/vnd.oci.empty.v1+json"}
        doc = {"schemaVersion": 2, "mediaType": TYPE, "artifactType": "application/x.artifact", "config": config,
               "layers": layers, **more}
        self.n += 1
        self.call("PUT", f"/v2/a/manifests/v{self.n}", json.dumps(doc).encode(), TYPE)
        return f"{self.registry.host}/a:v{self.n}"


def content(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def expect(got, want, what="content"):
    if got != want:
        raise Failed(f"{what}: {got!r}, wanted {want!r}")


FILES = {"weights.bin": b"w" * 300000, "conf/a.json": b"{1}", "conf/deep/b": b"2", "empty": b""}


def files_with_titles(env):
    pusher, dest = Pusher(env), env.fresh("dest")
    ref = pusher.push([*FILES.items(), (None, b"untitled")])
    said = env.mops("pull", ref, "--dest", dest)
    expect(content(dest), FILES)
    expect(b"1 blobs have no title" in said.stderr, True, said.stderr)
    expect(env.mops("ls", ref).stdout, b"conf/\nempty\nweights.bin\n")
    expect(env.mops("ls", ref, "-R").stdout, b"conf/a.json\nconf/deep/b\nempty\nweights.bin\n")
    expect(env.mops("ls", ref, "conf").stdout, b"conf/a.json\nconf/deep/\n")
    expect(b"300000" in env.mops("ls", ref, "-l", "weights.bin").stdout, True)
    env.mops("ls", ref, "nothing", code=1)
    entries = env.mops_json("ls", ref, "-R")["entries"]
    expect({e["path"]: e["size"] for e in entries}, {k: len(v) for k, v in FILES.items()})
    again = env.mops_json("pull", ref, "--dest", dest)
    expect((again["unchanged"], again["created"]), (4, 0))
    some = env.fresh("dest")
    env.mops("pull", ref, "--dest", some, "--path", "conf/**")
    expect(set(content(some)), {"conf/a.json", "conf/deep/b"})
    hint = env.mops("pull", ref, code=10).stderr
    expect(b"--dest" in hint, True, hint)


def what_is_in_the_way(env):
    pusher, dest = Pusher(env), env.fresh("dest")
    ref = pusher.push(FILES.items())
    (dest / "empty").write_text("mine")
    (dest / "conf").mkdir()
    (dest / "conf/deep").write_text("a file where a folder must be")
    before = content(dest)
    said = env.mops("pull", ref, "--dest", dest, code=12).stderr
    expect(b"CONFLICT empty" in said and b"CONFLICT conf/deep/b" in said, True, said)
    expect(content(dest), before)
    (dest / "conf/deep").unlink()
    env.mops("pull", ref, "--dest", dest, "--overwrite")
    expect(content(dest), FILES)
    outside, dest = env.fresh("outside"), env.fresh("dest")
    (dest / "conf").symlink_to(outside)
    env.mops("pull", ref, "--dest", dest, "--overwrite", code=12)
    expect(content(outside), {})


def titles_that_lead_elsewhere(env):
    pusher = Pusher(env)
    for bad in ("../x", "/x", "a/../../x", "a//b", "", ".", "a/.", "x\ny", "a\\b", ".mops/x", "a/" * 70 + "x", "\x7f"):
        dest = env.fresh("dest") / "inner"
        ref = pusher.push([("good", b"1"), (bad, b"2")])
        env.mops("pull", ref, "--dest", dest, code=2)
        env.mops("ls", ref, code=2)
        expect(content(dest.parent), {}, bad)
    for clash in ((("a", b"1"), ("a", b"2")), (("a", b"1"), ("A", b"1")), (("a", b"1"), ("a/b", b"2")),
                  (("x/a", b"1"), ("X", b"2")), (("\u00e9", b"1"), ("e\u0301", b"1"))):
        dest = env.fresh("dest")
        env.mops("pull", pusher.push(clash), "--dest", dest, code=2)
        expect(content(dest), {}, clash)
    dest = env.fresh("dest")
    env.mops("pull", pusher.push([("a", b"1"), ("a", b"1")]), "--dest", dest)
    expect(content(dest), {"a": b"1"})


def wrong_bytes(env):
    pusher, dest = Pusher(env), env.fresh("dest")
    data = b"right" * 1000
    ref = pusher.push([("f", data), ("g", b"fine")])
    pusher.registry.blob_path(hashlib.sha256(data).hexdigest()).write_bytes(b"wrong" * 1000)
    env.mops("pull", ref, "--dest", dest, code=2)
    expect("f" in content(dest), False)
    expect([p.name for p in dest.iterdir() if p.name.startswith(".")], [], "leftovers")


def what_is_no_such_artifact(env):
    pusher, dest = Pusher(env), env.fresh("dest")
    env.mops("pull", pusher.push([(None, b"layer")]), "--dest", dest, code=10)
    packed = pusher.push([("folder", b"x", {"io.deis.oras.content.unpack": "true"})])
    env.mops("pull", packed, "--dest", dest, code=10)
    bundle = pusher.push([("f", b"x")], artifactType="application/vnd.modelops.bundle.v1")
    env.mops("pull", bundle, "--dest", dest, code=10)
    env.mops("pull", f"{pusher.registry.host}/a:nothing", "--dest", dest, code=1)
    expect(content(dest), {})


run([files_with_titles, what_is_in_the_way, titles_that_lead_elsewhere, wrong_bytes, what_is_no_such_artifact])
