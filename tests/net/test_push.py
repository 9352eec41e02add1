#!/usr/bin/python3
"""What a push looks after: files that change under it, tags that others moved, versions."""
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from mopstest import (MOPS, DockerRegistry, Failed, fault_registry, need_program, run, wait_for,  # noqa: E402
                      write_random)


def check(got, want):
    if got != want:
        raise Failed(f"{got}, not {want}")


def workspace(env, text="1"):
    top = env.fresh("ws")
    (top / "a").write_text(text)
    return top


def refused(env, *args):
    error = json.loads(env.mops("push", *args, "--json", code=2).stdout)
    if "moved by somebody else" not in error["message"] or "--force" not in error["hint"]:
        raise Failed(str(error))


def somebody_elses(env, top, ref):
    """A push from another machine."""
    mine = env.vars["MOPS_CACHE_DIR"]
    env.new_cache()
    digest = env.push(top, ref)["digest"]
    env.vars["MOPS_CACHE_DIR"] = mine
    return digest


def keeps_what_others_put_under_a_tag(env):
    reg = DockerRegistry(env)
    for ref in (f"{reg.host}/m:1", "m:1"):
        top = workspace(env)
        env.push(top, ref)
        (top / "a").write_text("2")
        env.push(top, ref)  # ours: nobody was here
        theirs = somebody_elses(env, workspace(env, "3"), ref)
        (top / "a").write_text("4")
        reg.forget()
        refused(env, top, "--to", ref)
        refused(env, top, "--to", ref, "--dry-run")
        if any(m in ("POST", "PUT", "PATCH") for m, *_ in reg.requests()):
            raise Failed("something was sent")
        check(env.mops_json("resolve", ref)["digest"], theirs)
        env.push(top, ref)  # now we have seen it


def force_moves_it(env):
    top = workspace(env)
    env.push(top, "m:1")
    somebody_elses(env, workspace(env, "3"), "m:1")
    (top / "a").write_text("4")
    refused(env, top, "--to", "m:1")
    ours = env.push(top, "m:1", "--force")["digest"]
    check(env.mops_json("resolve", "m:1")["digest"], ours)
    env.push(top, "m:1")


def each_tag_is_looked_at(env):
    top = workspace(env)
    env.push(top, "m:1", "-t", "latest")
    somebody_elses(env, workspace(env, "3"), "m:latest")
    (top / "a").write_text("4")
    refused(env, top, "--to", "m:1", "-t", "latest")
    env.push(top, "m:1")


def what_another_put_there_equal_to_ours_is_no_matter(env):
    top = workspace(env)
    env.push(top, "m:1")
    (top / "a").write_text("2")
    digest = somebody_elses(env, top, "m:1")
    check(env.push(top, "m:1")["digest"], digest)


def a_tag_that_was_never_seen_is_moved(env):
    env.push(workspace(env), "m:1")
    env.new_cache()
    env.push(workspace(env, "2"), "m:1")


def an_import_keeps_them_too(env):
    top = workspace(env)
    env.push(top, "m:1")
    env.mops("export", "m:1", "-o", env.base / "m.tar")
    (top / "a").write_text("2")
    env.push(top, "m:1")
    somebody_elses(env, workspace(env, "3"), "m:1")
    env.mops("import", env.base / "m.tar", "--to", "m:1", code=2)
    env.mops("import", env.base / "m.tar", "--to", "m:1", "--force")
    p = env.mops("import", env.base / "m.tar", "--dest", env.base / "out", "--force", code=2)
    if b"--force is for --to" not in p.stderr or (env.base / "out").exists():
        raise Failed(p.stderr.decode())


class Meddled:
    """A registry that does something else before it answers the first request that is @at."""

    def __init__(self, env, at, then):
        self.reg = fault_registry(env)
        self.host, self.at, self.then, self.written = self.reg.host, at, then, []
        self.good, self.reg.answer = self.reg.answer, self.answer
        self.reg.close_listener()
        self.reg.listen(self.reg.port)

    def answer(self, x):
        if x.method not in ("GET", "HEAD"):
            self.written.append(x.path)
        then = self.then
        if then and self.at(x):
            self.then = None
            then()
        self.good(x)


def what_comes_while_it_is_sent_is_not_lost(env):
    """Under a tag that is not there, one that nobody here has seen, and a new version."""
    top = workspace(env)
    (top / ".mops-bundle.yaml").write_text("bundle: {name: m, version: 1.0.0}")
    reg = Meddled(env, lambda x: x.method == "POST", None)
    env.vars["MOPS_REGISTRY"] = reg.host
    somebody_elses(env, workspace(env, "0"), "m:2")
    theirs = {}
    for i, (ref, args) in enumerate((("m:1", ("--to", "m:1")), ("m:2", ("--to", "m:2")),
                                     ("m:1.0.1", ("--bump", "patch")))):
        (top / "a").write_text(f"ours {i}")
        reg.then = lambda ref=ref: theirs.update({ref: somebody_elses(env, workspace(env, "theirs " + ref), ref)})
        refused(env, top, *args)
        check(env.mops_json("resolve", ref)["digest"], theirs[ref])
    env.push(top, "m:1")


def a_registry_that_does_not_say_where_a_tag_is(env):
    """Whether there is one is not known: nothing is sent, until it is forced."""
    reg = Meddled(env, lambda x: False, None)
    good = reg.good
    reg.good = lambda x: x.answer(403) if "manifests" in x.path and x.method != "PUT" else good(x)
    env.vars["MOPS_REGISTRY"] = reg.host
    top = workspace(env)
    (top / ".mops-bundle.yaml").write_text("bundle: {name: m, version: 1.0.0}")
    for args in (("--to", "m:1"), ("--bump", "patch")):
        (top / "a").write_text(args[0])
        reg.written.clear()
        p = env.mops("push", top, *args, "--json", code=None)
        if p.returncode in (0, 2) or "looking where tag '1" not in json.loads(p.stdout)["message"]:
            raise Failed(f"{p.returncode}: {p.stdout.decode()}")
        check(reg.written, [])
        env.mops("push", top, *args, "--force")


def a_tag_that_is_put_back_is_not_ours(env):
    """Where a push has put a tag is forgotten when it has seen it there."""
    top = workspace(env)
    env.push(top, "m:1")
    (top / "a").write_text("2")
    somebody_elses(env, workspace(env, "3"), "m:1")
    env.mops("resolve", "m:1")
    somebody_elses(env, workspace(env), "m:1")
    refused(env, top, "--to", "m:1")


BUNDLE = """# Mine.
bundle:
  version: "1.9.3"   # keep
  name: demo
"""


def bump_pushes_the_next_version(env):
    top = workspace(env)
    file = top / ".mops-bundle.yaml"
    file.write_text(BUNDLE)
    file.chmod(0o640)
    one = env.mops_json("push", top)["digest"]
    (top / "a").write_text("2")
    env.mops("push", top, "--bump", "minor", "--dry-run")
    check(file.read_text(), BUNDLE)
    two = env.mops_json("push", top, "--bump", "minor")
    check(two["reference"].rsplit(":", 1)[1], "1.10.0")
    check(file.read_text(), BUNDLE.replace("1.9.3", "1.10.0"))
    check(file.stat().st_mode & 0o777, 0o640)
    check(env.mops_json("resolve", "demo:1.9.3")["digest"], one)
    check(env.mops_json("resolve", "demo:1.10.0")["digest"], two["digest"])
    # What the file says does not change the digest: nothing to do, and not an error.
    check(env.mops_json("push", top)["tag_moved"], False)


def bump_replaces_no_version(env):
    top = workspace(env)
    file = top / ".mops-bundle.yaml"
    file.write_text(BUNDLE)
    env.push(workspace(env, "other"), "demo:2.0.0")
    env.new_cache()
    error = json.loads(env.mops("push", top, "--bump", "major", "--json", code=2).stdout)
    if "is there already" not in error["message"]:
        raise Failed(str(error))
    check(file.read_text(), BUNDLE)
    env.mops("push", top, "--bump", "major", "--force")
    # One that was pushed, but not written down, is finished.
    file.write_text(BUNDLE)
    env.mops("push", top, "--bump", "major")
    check(file.read_text(), BUNDLE.replace("1.9.3", "2.0.0"))
    for args in (("--bump", "tiny"), ("--bump", "patch", "--to", "x:1"), ("--bump", "patch", "-t", "x")):
        env.mops("push", top, *args, code=2)
    file.write_text("bundle: {name: demo, version: v7}")
    env.mops("push", top, "--bump", "patch", code=2)
    file.write_text("bundle: {name: demo}")
    env.mops("push", top, "--bump", "patch", code=2)


def packed(env):
    top = env.fresh("ws")
    for i in range(40):
        write_random(top / f"data/{i}", 100000, i)
        env.run("touch", "-d", "2020-01-01", top / f"data/{i}")
    env.run("sleep", "2.1")
    return top


def opened(env, top, ref):
    """The files that a push of @top opens."""
    need_program("strace")
    trace = env.base / "trace"
    env.run("strace", "-f", "-e", "trace=openat,openat2", "-o", trace, MOPS, "push", top, "--to", ref)
    return [i for i in range(40) if f'"data/{i}"' in trace.read_text()]


def what_did_not_change_is_not_read_again(env):
    top = packed(env)
    first = env.push(top, "m:1")["digest"]
    check(opened(env, top, "m:2"), [])
    check(env.mops_json("resolve", "m:2")["digest"], first)
    env.mops("scan", top)  # what it writes down leaves packs alone
    check(opened(env, top, "m:3"), [])
    (top / "data/7").chmod(0o755)
    if 8 not in opened(env, top, "m:4"):
        raise Failed("a pack with another mode was not made anew")
    write_random(top / "data/7", 100000, 77)
    second = env.push(top, "m:5")["digest"]
    env.new_cache()
    check(env.push(top, "m:6")["digest"], second)


def a_pack_that_is_known_is_sent_elsewhere(env):
    top = packed(env)
    digest = env.push(top, "m:1")["digest"]
    reg = DockerRegistry(env)
    check(env.push(top, f"{reg.host}/m:1")["digest"], digest)
    env.new_cache()
    env.mops("pull", f"{reg.host}/m:1", "--dest", env.base / "out")
    check((env.base / "out/data/9").read_bytes(), (top / "data/9").read_bytes())


def a_pack_that_is_known_and_changes_is_not_sent(env):
    top = packed(env)
    env.push(top, "m:1")
    changes_while_it_is_pushed(env, top, "data/9")


def changes_while_it_is_pushed(env, top, name):
    """The file @name is changed when its upload has begun; the push names it."""
    reg = DockerRegistry(env)
    p = env.start(MOPS, "push", top, "--to", f"{reg.host}/m:1", "--limit-rate", "1MB", "--concurrency", "1", "--json",
                  stdout=-1, stderr=-1)
    wait_for("an upload", lambda: any(m == "POST" for m, *_ in reg.requests()))
    with open(top / name, "r+b") as f:
        f.seek(-1, 2)
        f.write(b"!")
    out, _ = p.communicate(timeout=120)
    check(p.returncode, 2)
    if name not in json.loads(out)["message"]:
        raise Failed(out.decode())
    env.mops("resolve", f"{reg.host}/m:1", code=1)
    env.mops("push", top, "--to", f"{reg.host}/m:1")


def a_big_file_that_changes_is_named(env):
    top = env.fresh("ws")
    write_random(top / "data/big", 5 << 20, 1)
    changes_while_it_is_pushed(env, top, "data/big")


def a_packed_file_that_changes_is_named(env):
    top = env.fresh("ws")
    for i in range(10):
        write_random(top / f"data/{i}", 500000, i)
    changes_while_it_is_pushed(env, top, "data/9")


def lost(env, verb, *args):
    error = json.loads(env.mops(verb, *args, "--json", code=2).stdout)
    if "'data/big' and 1 more" not in error["message"] or "--external" not in error["hint"]:
        raise Failed(str(error))


def externals_that_were_not_fetched_are_not_lost(env):
    top, store = workspace(env), env.fresh("store")
    said = []
    for i, name in enumerate(("big", "sub/small")):
        for where in (top / "data", store):
            write_random(where / name, (3 << 20) >> 2 * i, i)
        said += ["--external", f"data/{name}=file://{store}/{name}"]
    env.vars["MOPS_FILE_ROOTS"] = str(store)
    digest = env.push(top, "m:1", *said)["digest"]
    dest, few = env.base / "dest", env.base / "few"
    env.mops("materialize", "m:1", dest)
    lost(env, "push", dest, "--to", "m:2")
    lost(env, "push", dest, "--to", "m:2", "--dry-run")
    lost(env, "plan", dest)
    lost(env, "export", dest, "-o", env.base / "out.tar")
    for args in (("diff", "m:1", dest), ("scan", dest)):
        p = env.mops(*args, code=None)
        if p.returncode not in (0, 1) or b"warning: 'data/big' and 1 more external" not in p.stderr:
            raise Failed(f"{args}: {p}")
    # Said where they are, fetched, given up.
    check(env.push(dest, "m:2", *said)["digest"], digest)
    env.mops("materialize", "m:1", dest, "--prefetch-external")
    env.push(dest, "m:3")
    if "data/big" not in env.mops("ls", "-R", "m:3").stdout.decode():
        raise Failed("an external that was fetched is not pushed")
    (dest / "data/big").unlink()
    env.push(dest, "m:4")
    env.mops("materialize", "m:1", few)
    for pointer in (few / ".mops/ptr/data").rglob("*.json"):
        pointer.unlink()
    env.push(few, "m:5")
    # What no layer takes is no loss; what cannot be read may be one.
    (few / ".mops-bundle.yaml").write_text("bundle:\n  name: m\n  version: 1\n  layers:\n    - name: code\n      paths: [a]\n")
    env.mops("materialize", "m:1", few)
    env.push(few, "m:6")
    (few / ".mops/ptr/data/big.json").write_text("{}")
    p = env.mops("push", few, "--to", "m:7", code=None)
    if p.returncode not in (2, 10) or b".mops/ptr/data/big.json" not in p.stderr:
        raise Failed(str(p))


TESTS = [keeps_what_others_put_under_a_tag, force_moves_it, each_tag_is_looked_at,
         what_another_put_there_equal_to_ours_is_no_matter, a_tag_that_was_never_seen_is_moved,
         what_comes_while_it_is_sent_is_not_lost, a_registry_that_does_not_say_where_a_tag_is,
         a_tag_that_is_put_back_is_not_ours, an_import_keeps_them_too, bump_pushes_the_next_version,
         bump_replaces_no_version,
         what_did_not_change_is_not_read_again, a_pack_that_is_known_is_sent_elsewhere,
         a_pack_that_is_known_and_changes_is_not_sent,
         externals_that_were_not_fetched_are_not_lost,
         a_big_file_that_changes_is_named, a_packed_file_that_changes_is_named]
run(TESTS)
