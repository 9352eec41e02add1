#!/usr/bin/python3
"""Flags of mops that no other test is about."""
import os
import pathlib
import pty
import signal
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent / "lib"))
from mopstest import MOPS, MOPSFS, Failed, run, terminate, wait_for, write_random  # noqa: E402


def check(got, want):
    if got != want:
        raise Failed(f"{got}, not {want}")


def folder(env):
    top = env.fresh("ws")
    (top / "a").write_text("a\n")
    os.symlink("a", top / "link")
    return top


def init_takes_name_and_version(env):
    top = folder(env)
    env.mops("init", top, "--name", "team/model", "--version", "2.5")
    pushed = env.mops_json("push", top)
    check(pushed["reference"].rpartition("registry:")[2], "team/model:2.5")


def kinds(entries):
    return {e["path"]: e["kind"] for e in entries}


def links_are_followed(env):
    top = folder(env)
    check(kinds(env.mops_json("scan", top)["entries"]), {"a": "file", "link": "symlink"})
    check(kinds(env.mops_json("scan", top, "--follow-symlinks")["entries"]), {"a": "file", "link": "file"})
    places = [{e["path"]: e["place"] for e in env.mops_json("plan", top, *flag)["entries"]}
              for flag in ((), ("--follow-symlinks",))]
    if places[0]["link"] == places[1]["link"]:
        raise Failed(f"plan: {places}")
    env.push(top, "demo:1", "--follow-symlinks")
    check(env.mops("cat", "demo:1", "link").stdout, b"a\n")
    check(kinds(env.mops_json("ls", "demo:1")["entries"]), {"a": "file", "link": "file"})
    check(env.mops_json("diff", "demo:1", top, "--follow-symlinks")["changes"], [])
    check([c["path"] for c in env.mops_json("diff", "demo:1", top)["changes"]], ["link"])


def plan_shows_externals_alone(env):
    top = folder(env)
    write_random(top / "big", 5000, 1)
    env.vars["MOPS_FILE_ROOTS"] = str(top)
    external = ("--external", f"big=file://{top}/big")
    check({e["path"] for e in env.mops_json("plan", top, *external)["entries"]}, {"a", "big", "link"})
    check({e["path"] for e in env.mops_json("plan", top, *external, "--external-preview")["entries"]}, {"big"})


def the_plan_version_is_chosen(env):
    top = folder(env)
    known = env.run(MOPS, "__complete", "push", "--plan-version", "").stdout.decode().split()
    newest = env.mops_json("version")["plan_version"]
    check(known[-1], str(newest))
    for n in known:
        check(env.mops_json("plan", top, "--plan-version", n)["plan_version"], int(n))
        env.push(top, f"demo:{n}", "--plan-version", n)
        check(env.mops_json("resolve", f"demo:{n}")["plan_version"], int(n))
    check(env.mops_json("resolve", f"demo:{newest}")["digest"], env.push(top, "demo:none")["digest"])
    for verb in "plan", "push":
        for n in "0", str(newest + 1), "01", "+1", "", "x":
            said = env.mops(verb, top, "--plan-version", n, code=2).stderr.decode().splitlines()
            check([line.rpartition(": ")[2] for line in said],
                  [f"there is no plan version '{n}' here, only {', '.join(known)}"])


def some_files_are_materialized(env):
    top = folder(env)
    (top / "sub").mkdir()
    (top / "sub/b").write_text("b\n")
    env.push(top, "demo:1")
    env.mops("materialize", "demo:1", env.base / "some", "--path", "sub/*")
    check(sorted(set(os.listdir(env.base / "some")) - {".mops"}), ["sub"])
    env.mops("materialize", "demo:1", env.base / "all")
    check(sorted(set(os.listdir(env.base / "all")) - {".mops"}), ["a", "link", "sub"])


def push_sends_again_what_is_there(env):
    top = folder(env)
    sent = [env.push(top, "demo:1", *flag)["blobs_sent"] for flag in ((), (), ("--reupload",))]
    if sent[1] != 0 or sent[2] != sent[0]:
        raise Failed(f"{sent} blobs were sent")


def a_scan_begins_anew(env):
    top = env.fresh("ws")
    for i in range(8):
        write_random(top / f"f{i}", 1 << 20, i)
    env.push(top, "demo:1")
    env.mops("pull", "demo:1")
    for flags, resumed in (((), True), (("--restart",), False)):
        p = env.start(MOPS, "verify", "--cache", "--restart", "--limit-rate", "100KB", stdout=subprocess.DEVNULL,
                      stderr=subprocess.DEVNULL)
        before = (env.cache() / "verify").stat().st_ino if (env.cache() / "verify").exists() else 0
        wait_for("its note", lambda before=before: (env.cache() / "verify").exists() and
                 (env.cache() / "verify").stat().st_ino != before)
        check(terminate(p, signal.SIGINT), 130)
        check(env.mops_json("verify", "--cache", *flags)["resumed"], resumed)


def gc_makes_room_on_the_disk(env):
    env.push(folder(env), "demo:1")
    env.mops("pull", "demo:1")
    check(env.mops_json("cache", "gc", "--min-free", "1KB")["blobs"], 0)
    would = env.mops_json("cache", "gc", "--min-free", "1000000TB", "--dry-run")["blobs"]
    had = env.mops_json("cache", "du")["blobs"]
    if not would or would != had:
        raise Failed(f"{would} of {had} would go")
    check(env.mops_json("cache", "gc", "--min-free", "1000000TB")["blobs"], would)
    check(env.mops_json("cache", "du")["blobs"], 0)


def on_a_terminal(env, *args):
    """What mops says there on standard error."""
    ours, theirs = pty.openpty()
    p = env.start(MOPS, *args, env={"CI": ""}, stdout=subprocess.DEVNULL, stderr=theirs)
    os.close(theirs)
    said = b""
    try:
        while part := os.read(ours, 65536):
            said += part
    except OSError:  # its end
        pass
    os.close(ours)
    check(p.wait(60), 0)
    return said


def a_line_of_progress_can_be_had_without(env):
    env.push(folder(env), "demo:1")
    if b"\r" not in on_a_terminal(env, "pull", "demo:1"):
        raise Failed("no progress on a terminal")
    env.new_cache()
    said = on_a_terminal(env, "pull", "demo:1", "--no-progress")
    if b"\x1b[K" in said:
        raise Failed(said)
    env.new_cache()
    check(on_a_terminal(env, "pull", "demo:1", "--quiet"), b"")


def what_help_says_of_cache_is_what_there_is(env):
    words = env.mops("help", "cache").stdout.decode().split("\n")[0].split()[4].split("|")
    said = env.mops("cache", "none", code=2).stderr.decode()
    check(said, f"mops: 'cache none' is none of {'|'.join(words)}\n")
    digest = env.push(folder(env), "demo:1")["digest"]
    env.mops("pull", "demo:1")
    for word in words:
        env.mops("cache", word, *[digest] * word.endswith("pin"))
    check(sorted(words), ["du", "gc", "ls", "path", "pin", "unpin"])


def verbose_says_what_goes_and_twice_each_request(env):
    env.mops("pull", env.push(folder(env), "demo:1")["reference"])
    away = {"MOPS_IO_TIMEOUT": "100ms"}
    for flags, removed, asked in (((), False, False), (("-v",), True, False), (("--verbose",), True, False),
                                  (("-vv",), True, True), (("-v", "-v"), True, True), (("-q",), False, False)):
        said = env.mops("cache", "gc", "--max-size", "0", "--dry-run", *flags).stderr
        check(b"mops: sha256:" in said, removed)
        said = env.mops("resolve", "127.0.0.1:1/m:1", *flags, code=3, env=away).stderr
        check(b"mops: debug: http: http://127.0.0.1:1/v2/m/manifests/1: " in said, asked)
        check(b"mops: opening '127.0.0.1:1/m:1'" in said, True)


def letters_are_the_flags_of_their_names(env):
    top = folder(env)
    env.push(top, "demo:1")
    for args, letter, name in ((["ls", "demo:1"], "-l", "--long"), (["ls", "demo:1"], "-R", "--recursive"),
                               (["push", top, "--to", "demo:2"], "-n", "--dry-run"),
                               (["copy", "demo:1", "demo:2"], "-n", "--dry-run"),
                               (["push", "-h"], "-h", "--help"), (["version"], "-q", "--quiet")):
        said = [env.mops(*args, flag).stdout for flag in (letter, name)]
        check(said[0], said[1])
    if env.mops("ls", "demo:1", "--long").stdout == env.mops("ls", "demo:1").stdout:
        raise Failed("--long is no longer than without")
    check(env.mopsfs("help", "mount").stdout, env.run(MOPSFS, "mount", "--help").stdout)
    for flag in ("-t", "--tag"):
        env.push(top, "demo:1", flag, "x" + flag)
        check(env.mops_json("resolve", "demo:x" + flag)["digest"], env.mops_json("resolve", "demo:1")["digest"])
    for flag in ("-o", "--output"):
        env.mops("export", "demo:1", flag, env.base / f"demo{flag}.tar")
    check((env.base / "demo-o.tar").read_bytes(), (env.base / "demo--output.tar").read_bytes())


def json_has_names_that_are_not_utf_8(env):
    top = folder(env)
    ref = b"oci:" + os.fsencode(env.base) + b"/\xff:demo:1"
    for name, args in (("reference", ("push", top, "--to", ref)), ("reference", ("pull", ref)),
                       ("from", ("copy", ref, f"oci:{env.base}/copy:demo:1")),
                       ("file", ("export", ref, "-o", os.fsencode(env.base) + b"/\xff.tar"))):
        if "/\\xff" not in env.mops_json(*map(os.fsdecode, args))[name]:
            raise Failed(f"{args[0]}: {name}")


run([
    init_takes_name_and_version,
    links_are_followed,
    plan_shows_externals_alone,
    the_plan_version_is_chosen,
    some_files_are_materialized,
    push_sends_again_what_is_there,
    a_scan_begins_anew,
    gc_makes_room_on_the_disk,
    a_line_of_progress_can_be_had_without,
    what_help_says_of_cache_is_what_there_is,
    verbose_says_what_goes_and_twice_each_request,
    letters_are_the_flags_of_their_names,
    json_has_names_that_are_not_utf_8,
])
