#!/usr/bin/python3
"""More seeds for the fuzz targets, made by rule: the lists of hostile texts that the
tests of the programs use, and each stored seed, damaged. The same in every run.

    seeds.py CORPUS OUT [STAMP]    writes OUT/<target>/*
"""
import os
import pathlib
import random
import shutil
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lib"))
import hostile  # noqa: E402

LEAST = 64
LONGEST = 16384


def is_text(data):
    try:
        return data.decode().strip()[:1] == "{" and data.strip()[-1:] == b"}"
    except UnicodeDecodeError:
        return False


def lists(target, stored):
    """Texts for this target's parser."""
    texts = []
    good = [s for s in stored if is_text(s)]
    if target in ("json", "descriptor", "layout_index", "manifest", "manifest_info", "pointer", "root") and good:
        texts += hostile.json_texts(min(good, key=len))
    if target == "token":
        texts += [b"A" + t for t in hostile.json_texts(b'{"token":"abc","expires_in":300}')]
    if target == "docker_config":
        texts += [b"C" + t for t in hostile.json_texts(b'{"auths":{"h.example":{"auth":"dTpw"}}}')]
        texts += [b"E" + t for t in hostile.json_texts(b'{"auths":{"h.example":{"auth":"dTpw"}},"a":[1.5]}')]
        texts += [b"H" + t for t in hostile.json_texts(b'{"Username":"u","Secret":"s","ServerURL":"h"}')]
    if target in ("digest", "reference"):
        texts += [d.encode() for d in hostile.bad_digests()]
    if target == "reference":
        texts += [b"name@" + d.encode() for d in hostile.bad_digests()]
    if target in ("path", "glob"):
        texts += hostile.bad_names() + hostile.bad_at_the_top()
    if target == "trace":
        texts += [b"mops-trace 1\n0 1 " + n + b"\n" for n in hostile.bad_names() + hostile.bad_at_the_top()]
    if target == "path":
        texts += [b"a/" + n for n in hostile.bad_names()] + hostile.bad_targets(2)
    return [t for t in texts if len(t) <= LONGEST]


def main(corpus, out):
    shutil.rmtree(out, ignore_errors=True)
    for folder in sorted(pathlib.Path(corpus).iterdir()):
        rng = random.Random(folder.name)
        stored = [p.read_bytes() for p in sorted(folder.iterdir())]
        seeds = lists(folder.name, stored)
        small = [s for s in stored if len(s) <= LONGEST]
        while len(seeds) + len(stored) < LEAST:
            seeds.append(hostile.damaged(rng, rng.choice(small), rng.choice((1, 1, 2, 4))))
        top = pathlib.Path(out) / folder.name
        os.makedirs(top)
        for i, seed in enumerate(seeds):
            (top / f"{i:03}").write_bytes(seed)
        if not seeds:
            (top / "000").write_bytes(stored[0])


if __name__ == "__main__":
    main(*sys.argv[1:3])
    if len(sys.argv) > 3:
        pathlib.Path(sys.argv[3]).touch()
