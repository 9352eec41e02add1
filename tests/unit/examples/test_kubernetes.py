#!/usr/bin/python3
"""examples/kubernetes against the types of the Kubernetes API, and the flags that it
gives our programs against their help."""
import copy
import pathlib
import re
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "lib"))
from mopstest import MOPSFS, Failed, Skip, run  # noqa: E402

FOLDER = pathlib.Path(__file__).resolve().parents[3] / "examples/kubernetes"
SIMPLE = {"str": str, "int": int, "bool": bool, "float": float, "object": object}


def imported():
    try:
        import yaml
        from kubernetes.client import models
    except ImportError as e:
        raise Skip(f"python3-{e.name} is not installed") from e
    return yaml, models


def documents():
    yaml, models = imported()
    for path in sorted(FOLDER.glob("*.yaml")):
        for d in yaml.safe_load_all(path.read_text(encoding="ascii")):
            yield path.name, models, d


def conforms(models, value, kind, where):
    """@value is of the API's type @kind: known names, all that are required."""
    inner = re.fullmatch(r"(list|dict)(?:\[|\((?:str, )?)(.+?)[\])]", kind)
    if inner:
        if not isinstance(value, {"list": list, "dict": dict}[inner[1]]):
            raise Failed(f"{where} is no {inner[1]}")
        for k, v in enumerate(value) if inner[1] == "list" else value.items():
            conforms(models, v, inner[2], f"{where}[{k}]")
    elif kind in SIMPLE:
        if not isinstance(value, SIMPLE[kind]) or isinstance(value, bool) != (kind == "bool"):
            raise Failed(f"{where} is {value!r}, no {kind}")
    else:
        model = getattr(models, kind)
        if not isinstance(value, dict):
            raise Failed(f"{where} is no {kind}")
        names = {v: k for k, v in model.attribute_map.items()}
        for k in value:
            if k not in names:
                raise Failed(f"{where} has no '{k}' ({kind})")
            conforms(models, value[k], model.openapi_types[names[k]], f"{where}.{k}")
        try:
            model(**{names[k]: v for k, v in value.items()})
        except ValueError as e:
            raise Failed(f"{where}: {e}") from e


def pods():
    for name, _, d in documents():
        yield name, d["spec"] if d["kind"] == "Pod" else d["spec"]["template"]["spec"]


def they_are_of_the_api(env):
    seen = [conforms(models, d, "V1" + d["kind"], name) for name, models, d in documents()]
    if len(seen) < 3:
        raise Failed(f"{len(seen)} documents")


def what_is_wrong_is_noticed(env):
    _, models, pod = next(d for d in documents() if d[0] == "pod.yaml")
    for at, key, value in ((("spec",), "container", []), (("spec", "containers", 0), "env", {}),
                           (("spec", "containers", 0), "name", None), (("spec", "volumes", 0), "name", 1)):
        bad = copy.deepcopy(pod)
        place = bad
        for step in at:
            place = place[step]
        place.pop(key, None)
        if value is not None:
            place[key] = value
        try:
            conforms(models, bad, "V1Pod", "pod")
        except Failed:
            continue
        raise Failed(f"{key}: {value} was taken")


def mounts_have_their_volumes(env):
    for name, spec in pods():
        volumes = {v["name"] for v in spec["volumes"]}
        used = {m["name"] for c in spec["containers"] for m in c["volumeMounts"]}
        if volumes != used:
            raise Failed(f"{name}: volumes {volumes}, used {used}")


def the_flags_exist(env):
    flags = subprocess.run([MOPSFS, "mount", "--help"], check=True, stdout=subprocess.PIPE).stdout.decode()
    seen = 0
    for name, spec in pods():
        for c in spec["containers"]:
            for line in re.findall(r"mopsfs mount (.*)", "\n".join(c.get("args", []))):
                for flag in re.findall(r"(?<!\S)--?[a-z][a-z-]*", line):
                    seen += 1
                    if not re.search(rf"(?<!\S){flag}\b", flags):
                        raise Failed(f"{name}: mopsfs mount has no {flag}")
    if seen < 3:
        raise Failed(f"only {seen} flags were found")


run([they_are_of_the_api, what_is_wrong_is_noticed, mounts_have_their_volumes, the_flags_exist])
