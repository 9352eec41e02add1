#!/usr/bin/python3
"""Hostile documents: what a registry, a store of its tokens, a bundle's author and
whoever writes to the cache may say wrongly, through mops and mopsfs as users run
them. Each ends with the exit code of its class, one line of error, at most 64 MiB of
memory, no wrong byte under a final name and nothing written elsewhere. DOCUMENTS is
how much random damage of each kind is added to the fixed lists, SEED which."""
import json
import os
import pathlib
import random
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lib"))
import hostile  # noqa: E402
from documents import Base, Case, index_case, layers_case, manifest_case, oracle, play_all, root_case, tree_case  # noqa: E402
from mopstest import Failed, run  # noqa: E402

MORE = int(os.environ.get("DOCUMENTS", "40"))
SEED = int(os.environ.get("SEED", "1"))
TOTAL = [0]


# Tests.

def honest(env):
    """What is not hostile passes the same judge."""
    base = Base()
    cases = [manifest_case(base, verb, base.bundle.manifest, codes=(0,), files=base.files, verb=verb)
             for verb in ("materialize", "ls", "show", "pull", "cat", "export", "resolve")]
    cases += [root_case(base, "root", base.bundle.root, inline, codes=(0,), files=base.files) for inline in (True, False)]
    cases += [tree_case(base, "tree", base.tree, codes=(0,), files=base.files)]
    play_all(env, base, cases, "honest documents")


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
    TOTAL[0] += play_all(env, base, cases, "texts that are no JSON")


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
    TOTAL[0] += play_all(env, base, cases, "documents with wrong digests")


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
    TOTAL[0] += play_all(env, base, cases, "documents with wrong sizes")


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
    TOTAL[0] += play_all(env, base, cases, "damaged trees")


def spoilt_documents(env):
    """A bit of each seventh byte of each document flips, and its digest stays."""
    base = Base()
    outside = json.loads(base.bundle.manifest)
    del outside["config"]["data"]  # or the root is read from there
    manifest = oracle.canonical(outside)
    cases = []
    for what, data in (("manifest", manifest), ("root", base.bundle.root), ("tree", base.tree)):
        for at in range(0, len(data), 7):
            bad = data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1:]

            def build(place, data=data, bad=bad):
                place.put(manifest)
                place.spoil(oracle.sha(data), bad)
                place.layout(base.seal(manifest))
            cases.append(Case(f"byte {at} of the {what}", build))
    TOTAL[0] += play_all(env, base, cases, "documents with a flipped bit")


def large_tree(seed, mib):
    """Of symlinks that lead nowhere."""
    return oracle.encode_tree({f"{seed}-{i:05}": oracle.Node(oracle.Entry(oracle.LINK, target="/".join(["x" * 200] * 4 + [f"{seed}{i}"])), 0)
                               for i in range(mib << 10)})


def shared_chunks(seed, n=700):
    """Externals of 4 GiB that all have one chunk list, which is not canonical."""
    size = 4096 << 20
    nodes = {}
    for i in range(n):
        digest = oracle.sha(f"{seed}{i}".encode())
        source = oracle.Source(oracle.EXTERNAL, digest, size, [digest] * 4096 if not i else [], uri=f"file:///{seed}/{i}")
        nodes[f"{seed}-{i:05}"] = node = oracle.Node(oracle.Entry(oracle.FILE), 0, (source, 0))
        node.entry.data, node.entry.digest = range(size), digest
    tree = bytearray(oracle.encode_tree(nodes))
    at = int.from_bytes(tree[40 + 48 + 8:40 + 48 + 16], "little")
    for i in range(n):
        tree[at + 64 * i + 48:at + 64 * i + 56] = bytes(8)
    return bytes(tree)


def many_layers(env):
    """Layers of one large tree, of many, and trees that grow when they are merged."""
    base = Base()
    one, many = large_tree("one", 3), [large_tree(f"m{i}", 6) for i in range(12)]
    odd = [shared_chunks("a"), shared_chunks("b")]
    cases = []
    for verb in ("verify", "copy"):
        cases += [layers_case(base, f"{verb}: 32 layers of a tree", [one] * 32, {"default": (range(32), one)}, codes=(0,), verb=verb),
                  layers_case(base, f"{verb}: 33 layers of a tree", [one] * 33, {"default": ([0], one)}, verb=verb),
                  layers_case(base, f"{verb}: 12 trees", many, {"default": ([0], many[0])}, codes=(0,), verb=verb),
                  layers_case(base, f"{verb}: shared chunk lists", odd, {"default": (range(2), odd[0])}, verb=verb)]
    TOTAL[0] += play_all(env, base, cases, "bundles of many layers")


def enough(_env):
    print(f"# {TOTAL[0]} hostile documents")
    if TOTAL[0] < 1500 and len(sys.argv) == 1:
        raise Failed("fewer than 1,500")


run([honest, broken_json, wrong_digests, wrong_sizes, damaged_trees, spoilt_documents, many_layers, enough])
