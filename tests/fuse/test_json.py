#!/usr/bin/python3
"""docs/json.md against what mops and mopsfs print with --json: no member that it does
not have, none missing that is always there, the types that it says, and none that is
never printed."""
import json
import os
import pathlib
import re
import sys
import tarfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
import mopstest  # noqa: E402
from mopstest import Failed  # noqa: E402

TOP = pathlib.Path(__file__).resolve().parents[2]
TYPES = {"string": str, "integer": int, "boolean": bool, "array": list, "object": dict}
EXTERNAL = 1 << 20  # bytes of the one file elsewhere
BUNDLE = """\
bundle:
  name: demo
  layers:
    - name: code
      paths: ["src/**", "d/**", "l"]
    - name: data
      paths: ["big/**", "ext/**"]
  roles:
    default: [code, data]
    small: [code]
"""
# Members that one set-up cannot show: where the program has their names.
RARE = {"mops verify --cache: a finding": ("chunk", "error", "why"), "mopsfs prefetch": ("why",)}


class Node:
    """What the document says of a value: its type, and its members or elements."""

    def __init__(self, where):
        self.where, self.type, self.rare, self.seen = where, None, False, False
        self.members, self.element = {}, None

    def below(self, path):
        node = self
        for name, element in re.findall(r"([a-z0-9_]+)((?:\[\])*)", path):
            node.type = node.type or "object"
            node = node.members.setdefault(name, Node(f"{self.where}: {path}"))
            for _ in range(len(element) // 2):
                node.type = "array"
                node.element = node.element or Node(f"{self.where}: {path}")
                node = node.element
        return node

    def check(self, value):
        self.seen = True
        if type(value) is not TYPES[self.type]:
            raise Failed(f"{self.where} is {value!r}, no {self.type}")
        if self.type == "array":
            for one in value:
                if self.element:
                    self.element.check(one)
        elif self.type == "object" and self.members:
            if unknown := set(value) - set(self.members):
                raise Failed(f"{self.where}: not documented: {unknown}")
            if missing := {n for n, m in self.members.items() if not m.rare} - set(value):
                raise Failed(f"{self.where}: not there: {missing} in {value}")
            for name, one in value.items():
                self.members[name].check(one)

    def unseen(self):
        if not self.seen:
            return [self.where]
        below = [*self.members.values()] + ([self.element] if self.element else [])
        return [w for m in below for w in m.unseen()]


def read_document():
    """Title of a section → what it says."""
    out, at = {}, None
    for line in (TOP / "docs/json.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            at = out.setdefault(line[3:], Node(line[3:]))
            at.type = "object"
        elif at and line.startswith("| `"):
            path, kind, text = (cell.strip() for cell in line.strip("|").split("|", 2))
            node = at.below(path.strip("`"))
            node.where, node.type = f"{at.where}: {path}", kind
            at.below(path.strip("`").removesuffix("[]")).rare = text.startswith("only")
    return {title: node for title, node in out.items() if node.members}


class World:
    def __init__(self, env):
        self.env, self.doc = env, read_document()
        show, resolve = self.doc["mops show"], self.doc["mops resolve"]
        show.members.update({n: m for n, m in resolve.members.items() if n not in show.members})

    def look(self, section, doc):
        self.doc[section].check(doc)
        return doc

    def mops(self, section, *args, **kw):
        out = self.env.mops(*args, "--json", **kw).stdout
        if out.count(b"\n") != 1:
            raise Failed(f"{args}: not one line: {out[-500:]}")
        return self.look(section, json.loads(out))

    def fs(self, section, *args, **kw):
        return self.look(section, json.loads(self.env.mopsfs(*args, "--json", **kw).stdout))

    def error(self, *args, code, program="mops"):
        run = self.env.mops if program == "mops" else self.env.mopsfs
        return self.look("an error", json.loads(run(*args, "--json", code=code).stdout))


def make_folder(env):
    top = env.fresh("ws")
    (top / ".mops-bundle.yaml").write_text(BUNDLE)
    for name in ("src", "d", "big", "ext"):
        (top / name).mkdir()
    (top / "src/a.py").write_text("a\n")
    (top / "d/e").mkdir()
    mopstest.write_random(top / "big/b.bin", 3 << 20, "b")
    os.symlink("src/a.py", top / "l")
    (top / "nobody's").write_text("-")
    return top


def at_the_registry(w, env, top, ref):
    shared = env.fresh("shared")
    mopstest.write_random(shared / "x.bin", EXTERNAL, "x")
    env.vars["MOPS_FILE_ROOTS"] = str(shared)
    external = ("--external", f"ext/x.bin=file://{shared}/x.bin")
    w.mops("mops scan", "scan", top)
    w.mops("mops plan", "plan", top, *external)
    w.mops("mops push", "push", top, "--to", ref, *external, "--dry-run")
    trace = env.base / "trace"
    trace.write_text("mops-trace 1\n0 1 src/a.py\n")
    w.mops("mops push", "push", top, "--to", ref, *external, "--trace", trace)
    w.mops("mops resolve", "resolve", ref)
    w.mops("mops show", "show", ref)
    w.mops("mops ls", "ls", ref, "-R")
    w.mops("mops list", "list")
    w.mops("mops tags", "tags", "demo")
    w.mops("mops verify", "verify", ref)
    w.mops("mops version", "version")


def exported(w, env, name, ref, *flags):
    """The sums are those of the archive's members."""
    path = env.base / name
    doc = w.mops("mops export", "export", ref, "-o", path, *flags)
    if name.endswith(".zst"):
        return
    with tarfile.open(path) as tar:
        files = [m for m in tar.getmembers() if m.isfile()]
    if "--oci" in flags:
        manifest = env.mops_json("resolve", ref)["digest"].replace(":", "/")
        files = [m for m in files if m.name.startswith("blobs/") and m.name != f"blobs/{manifest}"]
    else:
        files = [m for m in files if not m.name.startswith(".mops/")]
    sums = (len(files) + doc["pointers"], sum(m.size for m in files) + doc["pointers"] * EXTERNAL)
    if (doc["files"], doc["bytes"]) != sums or doc["file"] != str(path):
        raise Failed(f"{doc}, of {[(m.name, m.size) for m in files]}")


def to_this_machine(w, env, top, ref):
    w.mops("mops pull", "pull", ref)
    w.mops("mops pull", "warm", ref)
    w.mops("mops materialize", "materialize", ref, env.base / "m1")
    w.mops("mops materialize", "pull", ref, "--dest", env.base / "m2")
    (env.base / "m1/src/a.py").write_text("mine")
    if not w.error("materialize", ref, env.base / "m1", code=12).get("details"):
        raise Failed("no details of a conflict")
    if "hint" not in w.error("ls", ref, "--role", "none", code=11):
        raise Failed("no hint for a wrong role")
    w.error("tags", code=2)
    w.mops("mops cache ls", "cache", "ls")
    w.mops("mops cache du", "cache", "du")
    where = w.mops("mops cache path", "cache", "path")["path"]
    if env.mops("cache", "path").stdout.decode() != where + "\n" or where != os.path.realpath(env.cache()):
        raise Failed(f"the cache is not at {where}")
    w.mops("mops cache pin", "cache", "pin", ref)
    w.mops("mops cache pin", "cache", "unpin", ref)
    w.mops("mops verify --cache", "verify", "--cache")
    exported(w, env, "x.tar", ref)
    exported(w, env, "x.tar.zst", ref)
    w.mops("mops import", "import", env.base / "x.tar", "--dest", env.base / "i")
    exported(w, env, "y.tar", ref, "--include-external")
    exported(w, env, "z.tar", ref, "--oci")
    w.mops("mops import", "import", env.base / "y.tar", "--to", "demo:imported", "--dest", env.base / "i2")
    w.mops("mops rm", "rm", "demo:imported", "--dry-run")


def elsewhere(w, env, top, ref):
    w.mops("mops copy", "copy", ref, f"oci:{env.base / 'copy'}:demo", "--dry-run")
    w.mops("mops copy", "copy", ref, f"oci:{env.base / 'copy'}:demo")
    host = mopstest.DockerRegistry(env).host
    w.mops("mops login", "login", host, "--username", "alice", "--password-stdin", input=b"a word\n")
    w.mops("mops logout", "logout", host)
    helper = env.dir("bin") / "docker-credential-here"
    helper.write_text("#!/bin/sh\ncat >/dev/null\n")
    helper.chmod(0o755)
    config = env.dir("home/.docker") / "config.json"
    config.write_text('{"credsStore": "here"}')
    w.mops("mops login", "login", host, "--username", "alice", "--password-stdin", input=b"a word\n",
           env={"PATH": f"{helper.parent}:{env.vars['PATH']}"})
    config.unlink()


def differences(w, env, top, ref):
    other = make_folder(env)
    (other / "src/a.py").rename(other / "src/b.py")
    (other / "l").unlink()
    for doc in (w.mops("mops diff", "diff", ref, other), w.mops("mops diff", "diff", other, ref)):
        for one in doc["changes"]:
            for side in ("a", "b"):
                if side in one:
                    w.look("mops diff: an entry", one[side])
        for one in doc["totals"].values():
            w.look("mops diff: sums", one)
        if set(doc["b"]) - set(w.doc["mops diff"].members["a"].members):
            raise Failed(f"b is not as a: {doc['b']}")
    w.mops("mops diff", "diff", ref, ref, "--stat")


def damage(w, env, top, ref):
    env.mops("pull", ref)
    blob = max((p for p in (env.cache() / "blobs").rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    blob.chmod(0o600)
    with open(blob, "r+b") as f:
        f.write(b"damage")
    for one in w.error("verify", "--cache", code=2)["findings"]:
        w.look("mops verify --cache: a finding", one)
    env.mops("verify", "--cache", "--repair")
    store = pathlib.Path(env.vars["XDG_DATA_HOME"]) / "mops/registry/blobs/sha256"
    blob = max(store.iterdir(), key=lambda p: p.stat().st_size)
    blob.chmod(0o600)
    with open(blob, "r+b") as f:
        f.write(b"damage")
    for one in w.error("verify", ref, "--deep", code=2)["findings"]:
        w.look("mops verify: a finding", one)
    env.new_cache()
    w.mops("mops cache gc", "cache", "gc")


def mounts(w, env, top, ref):
    at = env.fresh("mnt")
    env.mounts.append(at)
    w.fs("mopsfs version", "version")
    w.fs("mopsfs mount", "mount", ref, at, "--prefetch", "role")
    w.fs("mopsfs prefetch", "prefetch", at, "pause")
    w.fs("mopsfs prefetch", "prefetch", at, "resume")
    w.fs("mopsfs warm", "warm", at / "src")
    w.error("status", env.base, code=2, program="mopsfs")
    w.fs("mopsfs doctor", "doctor")
    env.umount(at)
    # The folder of a device that is none: a check that fails.
    env.vars["TMPDIR"] = str(env.base / "nowhere")
    w.fs("mopsfs doctor", "doctor", code=3)
    w.mops("mops doctor", "doctor", env={"PATH": str(env.fresh("empty"))})
    w.mops("mops doctor", "doctor", "demo:none", code=1, env={"PATH": str(env.fresh("empty"))})


def is_what_the_document_says(env):
    mopstest.need_root()
    mopstest.need_fuse()
    w = World(env)
    top, ref = make_folder(env), "demo:1"
    for part in (at_the_registry, to_this_machine, elsewhere, differences, mounts, damage):
        part(w, env, top, ref)
    w.mops("mops rm", "rm", "demo:1")
    rare = {f"{title}: `{name}`" for title, names in RARE.items() for name in names}
    unseen = [one for title, node in w.doc.items() for one in node.unseen()]
    if wrong := [one for one in unseen if one not in rare]:
        raise Failed(f"never printed: {wrong}")
    if wrong := rare - set(unseen):
        raise Failed(f"printed, so not that rare: {wrong}")
    source = "".join(p.read_text(encoding="utf-8") for d in ("cli", "fs") for p in (TOP / d).glob("*.c"))
    for one in unseen:
        name = re.findall(r"([a-z0-9_]+)(?:\[\])*`", one)[-1]
        if f'"{name}"' not in source:
            raise Failed(f"no program prints {name}")


mopstest.run([is_what_the_document_says])
