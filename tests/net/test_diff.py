#!/usr/bin/python3
"""mops diff says what lies between bundles and folders, and fetches trees alone."""
import json
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from mopstest import MOPS, DockerRegistry, Failed, need_program, run, write_random  # noqa: E402

BUNDLE = """bundle:
  name: demo
  version: 1
  layers:
    - name: code
      paths: ["*.py", "*.sh"]
    - name: data
      paths: ["data/**"]
  roles:
    default: [code]
    training: [code, data]
"""


def check(got, want):
    if got != want:
        raise Failed(f"{got}, not {want}")


def workspace(env):
    top = env.fresh("ws")
    (top / ".mops-bundle.yaml").write_text(BUNDLE)
    (top / "a.py").write_text("print(1)\n")
    (top / "run.sh").write_text("true\n")
    write_random(top / "data/big", 3 << 20, 1)
    write_random(top / "data/old", 2 << 20, 2)
    for i in range(50):
        write_random(top / f"data/small/{i}", 1000 + i, i + 10)
    return top


def change(top):
    (top / "a.py").write_text("print(2222)\n")
    (top / "run.sh").chmod(0o755)
    (top / "data/old").rename(top / "data/new")
    (top / "data/small/7").unlink()
    write_random(top / "data/small/more", 500, 99)


def changes(doc):
    return sorted((c["change"], c.get("from"), c["path"]) for c in doc["changes"])


WANT = sorted([("modified", None, "a.py"), ("mode", None, "run.sh"), ("renamed", "data/old", "data/new"),
               ("removed", None, "data/small/7"), ("added", None, "data/small/more")], key=str)


def both(env, reg):
    top = workspace(env)
    a, b = f"{reg.host}/demo:1", f"{reg.host}/demo:2"
    one = env.push(top, a)
    change(top)
    two = env.push(top, b)
    return top, a, b, one, two


def between_bundles_and_folders(env):
    reg = DockerRegistry(env)
    top, a, b, one, two = both(env, reg)
    env.new_cache()
    reg.forget()
    doc = env.mops_json("diff", a, b, "--role", "training")
    check(sorted(changes(doc), key=str), WANT)
    check((doc["a"]["digest"], doc["b"]["digest"]), (one["digest"], two["digest"]))
    check((doc["a"]["role"], doc["a"]["name"], doc["differ"]), ("training", a, True))
    check(doc["totals"]["unchanged"]["entries"], 50)
    check(doc["totals"]["modified"], {"bytes_a": 9, "bytes_b": 12, "entries": 1})
    check(doc["a"]["bytes"] - doc["b"]["bytes"], 1007 - 500 - 3)
    if reg.content_bytes() > 40000:
        raise Failed(f"{reg.content_bytes()} bytes for two trees")
    # The same the other way, and with the folder in either place.
    back = env.mops_json("diff", b, a, "--role", "training")
    check(back["totals"]["added"]["entries"], 1)
    check({(c.get("from"), c["path"]) for c in back["changes"] if c["change"] == "renamed"},
          {("data/new", "data/old")})
    check(env.mops_json("diff", b, top, "--role", "training")["changes"], [])
    check(sorted(changes(env.mops_json("diff", a, top, "--role", "training")), key=str), WANT)
    # A role holds what it holds.
    check(sorted(c["path"] for c in env.mops_json("diff", a, top)["changes"]), ["a.py", "run.sh"])
    # Trees are in the cache now.
    reg.stop()
    doc = env.mops_json("diff", a, b, "--role", "training", "--offline")
    check(sorted(changes(doc), key=str), WANT)


def in_words_and_exit_codes(env):
    top = workspace(env)
    env.push(top, "demo:1")
    out = env.mops("diff", "demo:1", top, "--exit-code").stdout
    check(out, b"")
    change(top)
    out = env.mops("diff", "demo:1", top, "--role", "training").stdout.decode()
    check(sorted(" ".join(line.split()) for line in out.splitlines()),
          ["added 500 B data/small/more", "mode 5 B run.sh (now executable)", "modified 9 B -> 12 B a.py",
           "removed 1007 B data/small/7", "renamed 2.0 MiB data/old -> data/new"])
    env.mops("diff", "demo:1", top, "--exit-code", code=13)
    check(env.mops_json("diff", "demo:1", top, "--exit-code", code=13)["differ"], True)
    out = env.mops("diff", "demo:1", top, "--role", "training", "--stat").stdout.decode().splitlines()
    check([line.split()[:2] for line in out[:6]],
          [["added", "1"], ["removed", "1"], ["modified", "1"], ["renamed", "1"], ["mode", "1"], ["unchanged", "50"]])
    check("changes" in env.mops_json("diff", "demo:1", top, "--stat"), False)


def most_memory(env, *args):
    """Bytes that a command takes at most, and what it prints."""
    out = env.base / "out"
    with open(out, "wb") as f:
        p = env.start(MOPS, *args, stdout=f)
        _, status, usage = os.wait4(p.pid, 0)
    p.returncode = os.waitstatus_to_exitcode(status)
    check(p.returncode, 0)
    return usage.ru_maxrss << 10, out.read_bytes()


def many_changes_are_not_held(env):
    top, other, n = env.fresh("ws"), env.fresh("ws"), 10000
    for folder in (top, other):
        (folder / "a").write_text("1")
    for i in range(n):
        (top / f"{i:0250}").touch()
    few, text = most_memory(env, "diff", other, top)
    many, doc = most_memory(env, "diff", other, top, "--json")
    check((text.count(b"\n"), len(json.loads(doc)["changes"])), (n, n))
    if many - few > len(doc) // 3 * 2:
        raise Failed(f"{many - few} bytes more for {len(doc)}")


def what_cannot_be_compared(env):
    top = workspace(env)
    env.push(top, "demo:1")
    env.mops("diff", "demo:1", "demo:7", code=1)
    env.mops("diff", "demo:1", top / "none", code=1)
    env.mops("diff", "demo:1", top, "--role", "none", code=11)
    error = json.loads(env.mops("diff", top, "demo:1", "--role", "x", "--json", code=11).stdout)
    check(error["hint"], "its roles are 'default', 'training'")
    env.mops("diff", "demo:1", code=2)
    # A name is a reference; a folder has a slash.
    error = env.mops("diff", "demo:1", top.name, cwd=top.parent, code=1).stderr.decode()
    if f"./{top.name}" not in error:
        raise Failed(error)


def a_folder_without_a_bundle_file(env):
    top = workspace(env)
    env.push(top, "demo:1")
    at = env.base / "out"
    env.mops("materialize", "demo:1", at, "--role", "training")
    check(env.mops_json("diff", "demo:1", at, "--role", "training")["changes"], [])
    check(env.mops_json("diff", at, top, "--role", "training")["changes"], [])
    (at / "extra").write_text("x")
    check(changes(env.mops_json("diff", "demo:1", at, "--role", "training")), [("added", None, "extra")])


def opened(env, *args):
    """Which of two files, a big one and one of many, a diff opens."""
    need_program("strace")
    trace = env.base / "trace"
    env.run("strace", "-f", "-e", "trace=openat,openat2", "-o", trace, MOPS, "diff", *args)
    return [name for name in ("data/big", "small/3") if f'{name}"' in trace.read_text()]


def a_folder_is_read_once(env):
    top = workspace(env)
    env.push(top, "demo:1")
    # As old as files mostly are: what is being written is not remembered.
    for f in top.rglob("*"):
        if f.is_file():
            env.run("touch", "-d", "2020-01-01", f)
    env.run("sleep", "2.1")
    check(opened(env, "demo:1", top, "--role", "training"), ["data/big", "small/3"])
    check(opened(env, "demo:1", top, "--role", "training"), [])


def hostile_names_are_escaped(env):
    top = env.fresh("ws")
    (top / "a\u202etxt").write_text("1")
    env.push(top, "odd:1")
    (top / "a\u202etxt").write_text("2")
    out = env.mops("diff", "odd:1", top).stdout
    if b"\xe2\x80\xae" in out or b"\\xe2\\x80\\xae" not in out:
        raise Failed(out.decode())


run([between_bundles_and_folders, in_words_and_exit_codes, many_changes_are_not_held, what_cannot_be_compared,
     a_folder_without_a_bundle_file, a_folder_is_read_once, hostile_names_are_escaped])
