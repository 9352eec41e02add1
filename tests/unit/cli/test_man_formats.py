#!/usr/bin/python3
"""What the man pages of formats show is taken by the programs, as the pages say."""
import json
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "lib"))
from mopstest import Failed, run  # noqa: E402

MAN = pathlib.Path(__file__).resolve().parents[3] / "man"


def page(name):
    return (MAN / f"{name}.5.scd").read_text(encoding="utf-8")


def shown(name):
    """The example of its synopsis."""
    return re.search(r"^```\n(.*?)^```$", page(name), re.M | re.S)[1]


def folder(env, *paths):
    top = env.fresh("ws")
    for path in paths:
        (top / path).parent.mkdir(parents=True, exist_ok=True)
        (top / path).write_text(path)
    return top


def check(got, want):
    if got != want:
        raise Failed(f"{got}, not {want}")


def entries(env, verb, top):
    return {e["path"]: e["layer"] for e in env.mops_json(verb, top)["entries"] if e.get("kind") != "dir"}


def bundle(env):
    top = folder(env, "src/a.py", "src/__pycache__/a.pyc", "x.toml", "data/fit/big", "other")
    (top / ".mops-bundle.yaml").write_text(shown("mops-bundle"))
    check(entries(env, "scan", top), {"src/a.py": "code", "x.toml": "code", "data/fit/big": "data"})
    with open(top / "data/fit/big", "wb") as f:
        f.truncate(100 * 1000 * 1000)
    check([e["uri"][:20] for e in env.mops_json("plan", top)["entries"] if e["place"] == "external"],
          ["s3://epi-data/bundle"])


def config(env):
    path = env.base / "config/mops/config.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(shown("mops-config"))
    del env.vars["MOPS_CACHE_DIR"]
    settings = json.loads(env.mops("doctor", "--json", "--offline", code=None).stdout)["settings"]
    check({s["name"] for s in settings if s["origin"] == str(path)}, set(re.findall(r"^(\w+):", path.read_text(), re.M)))
    listed = page("mops-config").partition("# SETTINGS")[2]
    check(set(re.findall(r"\*([a-z0-9_]+)\*(?:,| _|$)", listed, re.M)), {s["name"] for s in settings})


def ignore(env):
    top = folder(env, "a.log", "sub/b.log", "build/x", "sub/build/x", "data/raw", "data/deep/raw", "data/keep/raw", "a")
    (top / ".mopsignore").write_text(shown("mops-ignore"))
    check(set(entries(env, "scan", top)), {"sub/build/x", "data/keep/raw", "a"})


def trace(env):
    top = folder(env, "models/weights.safetensors", "config/params.json")
    path = env.base / "trace"
    for text, code in ((shown("mops-trace"), 0), (shown("mops-trace").replace("0 3", "00 3"), 2),
                       (shown("mops-trace").rstrip(), 2)):
        path.write_text(text)
        env.mops("push", top, "--to", "demo:1", "--trace", path, code=code)


run([bundle, config, ignore, trace])
