#!/usr/bin/python3
"""Hostile documents: what a registry, a store of its tokens, a bundle's author and
whoever writes to the cache may say wrongly, through mops and mopsfs as users run
them. Each ends with the exit code of its class, one line of error, at most 64 MiB of
memory, no wrong byte under a final name and nothing written elsewhere. DOCUMENTS is
how much random damage of each kind is added to the fixed lists, SEED which."""
import concurrent.futures
import json
import os
import pathlib
import random
import shutil
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lib"))
sys.path.insert(0, str(HERE.parent / "unit/engine"))
import format_oracle as oracle  # noqa: E402
import hostile  # noqa: E402
from mopstest import Failed, run, sound_cache  # noqa: E402

# What is at stake here does not depend on a disk.
if "TMPDIR" not in os.environ and os.access("/dev/shm", os.W_OK):
    os.environ["TMPDIR"] = "/dev/shm"
MORE = int(os.environ.get("DOCUMENTS", "40"))
SEED = int(os.environ.get("SEED", "1"))
MIB = 1 << 20
TREE, ROOT_TYPE = oracle.TREE_TYPE, "application/vnd.modelops.bundle.root.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
REF_NAME = "org.opencontainers.image.ref.name"
TOTAL = [0]


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
        ref = {"digest": text(tree), "mediaType": TREE, "size": len(tree)}
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
        self.mine, self.n = [], 0

    def put(self, *datas):
        for data in datas:
            path = self.blobs / oracle.sha(data).hex()
            if not path.exists():
                path.write_bytes(data)
                self.mine.append(path)

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
        for path in self.mine:
            path.unlink()
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
    TOTAL[0] += judge.count


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


def index_case(name, index, marker=b'{"imageLayoutVersion":"1.0.0"}', **kw):
    return Case(name, lambda place: (place.put(place.base.bundle.manifest), place.layout(index, marker)), **kw)


# Tests.

def honest(env):
    """What is not hostile passes the same judge."""
    base = Base()
    cases = [manifest_case(base, verb, base.bundle.manifest, codes=(0,), files=base.files, verb=verb)
             for verb in ("materialize", "ls", "show", "pull", "cat", "export", "resolve")]
    cases += [root_case(base, "root", base.bundle.root, inline, codes=(0,), files=base.files) for inline in (True, False)]
    cases += [tree_case(base, "tree", base.tree, codes=(0,), files=base.files)]
    play_all(env, base, cases, "honest documents")
    TOTAL[0] -= len(cases)


def broken_json(env):
    """Texts that are no JSON of ours, in place of each document."""
    base = Base()
    cases = []
    for i, bad in enumerate(hostile.json_texts(base.bundle.manifest)):
        cases.append(manifest_case(base, f"manifest {i}", bad, verb=("materialize", "ls", "pull", "resolve")[i % 4]))
    for i, bad in enumerate(hostile.json_texts(base.bundle.root)):
        cases.append(root_case(base, f"root {i}", bad, i % 2 == 0, verb=("materialize", "show", "cat", "verify")[i % 4]))
    index = oracle.canonical(base.seal(base.bundle.manifest))
    for i, bad in enumerate(hostile.json_texts(index, 200001)):
        cases.append(index_case(f"index {i}", bad, verb=("resolve", "materialize", "ls")[i % 3]))
    play_all(env, base, cases, "texts that are no JSON")


def wrong_digests(env):
    """120 and more texts that are no digest, in each place where one belongs."""
    base = Base()
    cases = []
    for i, bad in enumerate(hostile.bad_digests()):
        raw = json.dumps(bad)
        codes = (10,) if hostile.other_algorithm(bad) else (2,)
        for path in (("config", "digest"), ("layers", 0, "digest"), ("layers", len(base.manifest["layers"]) - 1, "digest")):
            cases.append(manifest_case(base, f"manifest {path} {bad[:80]!r}", hostile.json_with(base.manifest, path, raw),
                                       codes=codes))
        for path in (("layers", 0, "tree", "digest"), ("roles", 0, "tree", "digest")):
            cases.append(root_case(base, f"root {path} {bad[:80]!r}", hostile.json_with(base.root, path, raw), codes=codes))
        index = hostile.json_with(base.seal(base.bundle.manifest), ("manifests", 0, "digest"), raw)
        # A layout may hold what others can read: we do not see it.
        cases.append(index_case(f"index {bad[:80]!r}", index, codes=(1,) if codes == (10,) else (2,)))
    play_all(env, base, cases, "documents with wrong digests")


def wrong_sizes(env):
    """Sizes that are none, or another's, in each place where one belongs."""
    base = Base()
    cases = []
    n = len(base.manifest["layers"]) - 1
    in_manifest = (("config", "size"), ("layers", 2, "size"), ("layers", n, "size"))
    in_root = (("layers", 0, "tree", "size"), ("roles", 0, "tree", "size"))
    counts = (("layers", 0, "bytes"), ("totals", "files"))
    rest = (("chunkSize",), ("partSize",), ("schemaVersion",), ("planVersion",))
    for raw in hostile.bad_sizes() + [str(n) for n in hostile.odd_sizes()]:
        for path in in_manifest:
            cases.append(manifest_case(base, f"manifest {path} {raw[:40]}", hostile.json_with(base.manifest, path, raw)))
        for path in in_root:
            cases.append(root_case(base, f"root {path} {raw[:40]}", hostile.json_with(base.root, path, raw)))
        index = hostile.json_with(base.seal(base.bundle.manifest), ("manifests", 0, "size"), raw)
        cases.append(index_case(f"index {raw[:40]}", index))
    for raw in hostile.bad_sizes():
        for path in counts:
            cases.append(root_case(base, f"root {path} {raw[:40]}", hostile.json_with(base.root, path, raw)))
        for path in rest:
            cases.append(root_case(base, f"root {path} {raw[:40]}", hostile.json_with(base.root, path, raw), codes=(2, 10)))
    play_all(env, base, cases, "documents with wrong sizes")


def damaged_trees(env):
    """Each number of a tree at its limits, and random damage; the digests are right."""
    base = Base()
    rng = random.Random(SEED)
    cases = []
    for i, bad in enumerate(hostile.each_number(base.tree, 0, 136, 4)):
        # Readers ignore features that are said to be compatible.
        codes = (0,) if bad[24:32] != base.tree[24:32] else (0, 2, 10)
        cases.append(tree_case(base, f"tree head {i}", bad, codes=codes, files=base.files))
    nodes = int.from_bytes(base.tree[40 + 16:40 + 24], "little")
    for node in range(nodes // 72):
        at = 136 + 72 * node
        for i in range(12):
            bad = hostile.damaged(rng, base.tree[at:at + 72])[:72].ljust(72, b"\0")
            tree = base.tree[:at] + bad + base.tree[at + 72:]
            cases.append(tree_case(base, f"node {node} {i}", tree, codes=(0, 2), files=hostile.tree_files(tree)))
    for i in range(MORE * 4):
        tree = hostile.damaged(rng, base.tree, 1 + i % 3)
        cases.append(tree_case(base, f"tree {i}", tree, codes=(0, 2, 10), files=hostile.tree_files(tree)))
    play_all(env, base, cases, "damaged trees")


run([honest, broken_json, wrong_digests, wrong_sizes, damaged_trees])
