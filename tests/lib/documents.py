"""An honest bundle, taken apart, to be put together again with one document changed,
and run through mops. The bundle is made by the format's second writer, so nothing here
relies on the code under test."""
import concurrent.futures
import json
import os
import pathlib
import shutil
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "unit/engine"))
import format_oracle as oracle  # noqa: E402
import hostile  # noqa: E402
from mopstest import Failed, sound_cache  # noqa: E402

# What is at stake here does not depend on a disk.
if "TMPDIR" not in os.environ and os.access("/dev/shm", os.W_OK):
    os.environ["TMPDIR"] = "/dev/shm"
MIB = 1 << 20
ROOT_TYPE = "application/vnd.modelops.bundle.root.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
REF_NAME = "org.opencontainers.image.ref.name"


def text(data):
    return oracle.text(oracle.sha(data))


def workspace():
    ws = oracle.Workspace([("a", "a"), ("b", "b")], {"default": ["a", "b"], "one": ["a"]}, [("b/ext", "gs://box/at", "cool")])
    ws.file("a/run.sh", b"#!/bin/sh\n", True)
    ws.file("a/data.bin", oracle.content("data", 3000))
    ws.file("a/sub/empty", b"")
    ws.file("a/sub/deep/er/x", b"x")
    ws.link("a/sub/link", "../data.bin")
    ws.dir("a/void")
    ws.file("b/big.bin", oracle.content("big", MIB + 77))
    ws.file("b/same", b"x")
    ws.file("b/ext/far", oracle.content("far", MIB + 5))
    return ws


class Base:
    """The honest bundle, taken apart."""

    def __init__(self):
        self.bundle = oracle.Bundle(workspace())
        self.manifest = json.loads(self.bundle.manifest)
        self.root = json.loads(self.bundle.root)
        tree = self.root["roles"][0]["tree"]["digest"]
        self.tree = self.bundle.blobs[bytes.fromhex(tree[7:])]
        self.files = hostile.tree_files(self.tree)
    
    def seal(self, manifest):
        """index.json for a manifest, given as bytes."""
        return {"manifests": [{"annotations": {REF_NAME: "n:1"}, "digest": text(manifest), "mediaType": MANIFEST_TYPE,
                               "size": len(manifest)}], "schemaVersion": 2}

    def with_root(self, root, inline=True):
        """The manifest of a root, given as bytes."""
        doc = json.loads(self.bundle.manifest)
        doc["config"] = {"digest": text(root), "mediaType": ROOT_TYPE, "size": len(root)}
        if inline and len(root) <= 65536:
            doc["config"]["data"] = oracle.base64.b64encode(root).decode()
        return oracle.canonical(doc)

    def with_tree(self, tree, old=None):
        """(manifest, root) where a tree of other bytes stands for one of ours."""
        old = text(old or self.tree)
        ref = {"digest": text(tree), "mediaType": oracle.TREE_TYPE, "size": len(tree)}
        if len(tree) > MIB:
            ref["chunks"] = [oracle.text(d) for d in oracle.chunks_of(tree)]
        root = json.loads(self.bundle.root)
        for x in root["layers"] + root["roles"]:
            if x["tree"]["digest"] == old:
                x["tree"] = ref
        raw = oracle.canonical(root)
        doc = json.loads(self.with_root(raw))
        for d in doc["layers"]:
            if d["digest"] == old:
                d.update(digest=ref["digest"], size=ref["size"])
        return oracle.canonical(doc), raw

    def with_layers(self, trees, roles):
        """(manifest, root) of layers l00, l01, … with these trees, and roles {name: (numbers of layers, tree)}."""
        refs = {}
        for tree in [*trees, *(t for _, t in roles.values())]:
            refs[tree] = {"digest": text(tree), "mediaType": oracle.TREE_TYPE, "size": len(tree)}
            if len(tree) > MIB:
                refs[tree]["chunks"] = [oracle.text(d) for d in oracle.chunks_of(tree)]
        root = json.loads(self.bundle.root)
        root["layers"] = [{**root["layers"][0], "name": f"l{i:02}", "tree": refs[tree]} for i, tree in enumerate(trees)]
        root["roles"] = [{"layers": [f"l{i:02}" for i in layers], "name": name, "tree": refs[tree]}
                         for name, (layers, tree) in sorted(roles.items())]
        raw = oracle.canonical(root)
        doc = json.loads(self.with_root(raw))
        doc["layers"] = [{k: ref[k] for k in ("digest", "mediaType", "size")} for ref in refs.values()]
        return oracle.canonical(doc), raw


class Place:
    """A layout folder and a cache of their own, for one thread."""

    def __init__(self, env, base, n):
        self.top, self.base = env.fresh(f"place{n}"), base
        self.blobs = self.top / "reg/blobs/sha256"
        self.blobs.mkdir(parents=True)
        for digest, data in base.bundle.blobs.items():
            (self.blobs / digest.hex()).write_bytes(data)
        self.box = self.top / "box"
        self.cwd = self.top / "cwd"
        self.cwd.mkdir()
        self.mine, self.spoilt, self.n = [], [], 0

    def put(self, *datas):
        for data in datas:
            path = self.blobs / oracle.sha(data).hex()
            if not path.exists():
                path.write_bytes(data)
                self.mine.append(path)

    def spoil(self, digest, data):
        """Other bytes under this name, until the case ends."""
        path = self.blobs / digest.hex()
        self.spoilt.append((path, path.read_bytes()))
        path.write_bytes(data)

    def layout(self, index, marker=b'{"imageLayoutVersion":"1.0.0"}'):
        (self.top / "reg/index.json").write_bytes(index if isinstance(index, bytes) else json.dumps(index).encode())
        (self.top / "reg/oci-layout").write_bytes(marker)

    def begin(self):
        self.box.mkdir()
        self.n += 1
        if self.n % 25 == 0:
            self.end_of_cache()

    def end_of_cache(self):
        cache = self.top / "cache"
        if cache.exists():
            sound_cache(cache)
            shutil.rmtree(cache)

    def end(self, good=True):
        shutil.rmtree(self.box)
        if good and os.listdir(self.cwd):
            raise Failed(f"{os.listdir(self.cwd)} was written to the current folder")
        for path, data in self.spoilt:
            path.write_bytes(data)
        for path in self.mine:
            path.unlink()
        self.spoilt = []
        self.mine = []

    @property
    def ref(self):
        return f"oci:{self.top}/reg:n:1"


class Case:
    """One document. @build puts it into a place; @codes are the exit codes of
    materialize; @files what may then be there (None: nothing)."""

    def __init__(self, name, build, codes=hostile.REFUSED, files=None, verb="materialize"):
        self.name, self.build, self.codes, self.files, self.verb = name, build, codes, files, verb

    def argv(self, place):
        verbs = {"ls": ["ls", "-R", place.ref], "show": ["show", place.ref], "pull": ["pull", place.ref, "-q"],
                 "verify": ["verify", "--deep", place.ref], "cat": ["cat", place.ref, "a/data.bin"],
                 "resolve": ["resolve", place.ref],
                 "copy": ["copy", place.ref, f"oci:{place.top}/copied:n:1", "-q"],
                 "export": ["export", place.ref, "-q", "-o", place.box / "out.tar"],
                 "materialize": ["materialize", place.ref, place.box / "dest", "-q"]}
        return [*verbs[self.verb], "--cache-dir", place.top / "cache"]

    def play(self, judge, place):
        place.begin()
        self.build(place)
        code, said = judge.mops(self.name, *self.argv(place), codes=self.codes, cwd=place.cwd)
        hostile.check_box(place.box, {"dest", "out.tar"} if not code else {"dest"})
        if (place.box / "dest").exists():
            hostile.check_dest(place.box / "dest", self.files, code == 0)
        if self.verb == "cat" and code == 0 and (self.files or {}).get("a/data.bin") != oracle.sha(said).hex():
            raise Failed(f"{self.name}: cat printed wrong bytes")
        place.end()
        judge.one()


def play_all(env, base, cases, what):
    judge = hostile.Judge(env)
    cases = list(cases)
    workers = os.cpu_count() or 1
    places = [Place(env, base, i) for i in range(workers)]

    bad = []

    def work(i):
        for case in cases[i::workers]:
            try:
                case.play(judge, places[i])
            except Failed as e:
                bad.append(str(e))
                places[i].end(False)
        places[i].end_of_cache()
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        for done in [pool.submit(work, i) for i in range(workers)]:
            done.result()
    judge.report(what, 0)
    if bad:
        raise Failed(f"{len(bad)} of {len(cases)}:\n" + "\n".join(bad[:8]))
    return judge.count


# Builders.

def manifest_case(base, name, manifest, extra=(), **kw):
    def build(place):
        place.put(manifest, *extra)
        place.layout(base.seal(manifest))
    return Case(name, build, **kw)


def root_case(base, name, root, inline=True, **kw):
    return manifest_case(base, name, base.with_root(root, inline), [root], **kw)


def tree_case(base, name, tree, **kw):
    manifest, root = base.with_tree(tree)
    return manifest_case(base, name, manifest, [tree, root], **kw)


def layers_case(base, name, trees, roles, **kw):
    manifest, root = base.with_layers(trees, roles)
    return manifest_case(base, name, manifest, [root, *trees, *(t for _, t in roles.values())], **kw)


def index_case(name, index, marker=b'{"imageLayoutVersion":"1.0.0"}', **kw):
    return Case(name, lambda place: (place.put(place.base.bundle.manifest), place.layout(index, marker)), **kw)
