#!/usr/bin/python3
"""What TAB gives: every verb and flag of the tables, and names from the cache; typed into bash, zsh and fish."""
import json
import os
import pathlib
import pty
import re
import signal
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "lib"))
from mopstest import MOPS, MOPSFS, Failed, need_program, run, wait_for  # noqa: E402

TOP = pathlib.Path(__file__).resolve().parents[3]


def check(got, want):
    if got != want:
        raise Failed(f"{got}, not {want}")


def offered(env, *words, program=MOPS, **kw):
    out = env.run(program, "__complete", *words, **kw).stdout.decode()
    return [line.split("\t")[0] for line in out.splitlines()]


def push_some(env):
    """m:1 and team/x:2 in the default registry, with two roles and some files."""
    top = env.fresh("ws")
    (top / ".mops-bundle.yaml").write_text(
        "bundle:\n  name: m\n  layers:\n    - {name: code, paths: [src/**]}\n    - {name: data, paths: [data/**]}\n"
        "  roles: {default: [code, data], small: [code]}\n")
    for name in ("src/a.py", "src/b c.py", "src/sub/d.py", "data/big"):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(name)
    (top / "src/\u202eyp.exe").touch()  # shown as another name: not offered
    env.mops("push", top, "--to", "m:1")
    env.mops("push", top, "--to", "team/x:2")


def the_tables_are_offered(env):
    for program in (MOPS, MOPSFS):
        text = env.run(program, "--help").stdout.decode()
        verbs = re.findall(r"^  ([a-z]+)\b", text.split("\n\n", 1)[1], re.M)
        check(offered(env, "", program=program), verbs)
        for verb in verbs:
            flags = re.findall(r"^  .. +(--[a-z-]+)|^  -., (--[a-z-]+)", env.run(program, verb, "--help").stdout.decode(),
                               re.M)
            check(sorted(offered(env, verb, "-", program=program)), sorted(a or b for a, b in flags))
        if "__complete" in text:
            raise Failed("what is hidden is shown")


def flags_as_they_are_given(env):
    check(offered(env, "push", "--dr"), ["--dry-run"])
    check(offered(env, "push", "-n", "--dr"), [])
    check(offered(env, "push", "--tag", "a", "--tag"), ["--tag"])  # repeats
    check(offered(env, "push", "--bump", ""), ["major", "minor", "patch"])
    check(offered(env, "push", "--bump=mi"), ["--bump=minor"])
    check(offered(env, "push", "--trace", ""), [":files"])
    check(offered(env, "pull", "x", "--dest", ""), [":dirs"])
    check(offered(env, "pull", "x", "--path", ""), [])
    check(offered(env, "pull", "x", "--ca-file="), [":files"])
    check(offered(env, "pull", "--", "--de"), [])
    check(offered(env, "import", ""), [":files"])
    check(offered(env, "cache", "p"), ["pin", "path"])
    check(offered(env, "help", "lo"), ["login", "logout"])
    check(offered(env, "completion", ""), ["bash", "zsh", "fish"])
    check(offered(env, "nonsense", ""), [])
    check(offered(env, "prefetch", "x", "", program=MOPSFS), ["pause", "resume"])
    # mount(8)'s helper is given sources, whatever they are called.
    p = env.run("mount.mopsfs", "__complete", executable=MOPSFS, code=1)
    if p.stdout or b"needs more" not in p.stderr:
        raise Failed(str(p))


def names_of_the_cache(env):
    check(offered(env, "pull", ""), [])
    if env.cache().exists():
        raise Failed("TAB made a cache")
    push_some(env)
    check(offered(env, "pull", ""), ["m:1", "team/x:2"])
    check(offered(env, "mount", "te", program=MOPSFS), ["team/x:2"])
    check(offered(env, "warm", ""), ["m:1", "team/x:2", ":files"])
    check(offered(env, "diff", "m:1", "m"), ["m:1", ":dirs"])
    check(offered(env, "tags", ""), ["m", "team/x"])
    check(offered(env, "pull", "m:1", "--role", ""), ["default", "small"])
    check(offered(env, "pull", "m:1", "--role=s"), ["--role=small"])
    check(offered(env, "ls", "m:1", ""), ["data/", "src/"])
    check(offered(env, "ls", "m:1", "--role", "small", ""), ["src/"])
    check(offered(env, "cat", "m:1", "src/"), ["src/a.py", "src/b c.py", "src/sub/"])
    check(offered(env, "cat", "m:1", "data/"), ["data/big"])
    far = offered(env, "pull", "--registry", "h.example", "")
    check([w.rsplit("registry:")[-1] for w in far], ["m:1", "team/x:2"])
    if not far[0].startswith("oci:/"):
        raise Failed(str(far))
    check(offered(env, "pull", "--cache-dir", env.base / "none", ""), [])
    check(offered(env, "pull", "--concurrency", "nonsense", ""), [])


def no_name_of_a_bundle_becomes_a_flag(env):
    top = env.fresh("ws")
    for name in ("--registry=evil.example", "-v"):
        (top / name).write_text("a")
    env.push(top, "dash:1")
    check(offered(env, "cat", "dash:1", ""), [])
    check(offered(env, "cat", "dash:1", "--", ""), ["--registry=evil.example", "-v"])


class Shell:
    """On a terminal of its own."""

    def __init__(self, env, *argv):
        self.pid, self.fd = pty.fork()
        if not self.pid:
            os.chdir(env.base)
            os.execvpe(argv[0], argv, {**env.vars, "TERM": "dumb", "PS1": "$ ", "PATH": f"{MOPS.parent}:{os.environ['PATH']}"})
        os.set_blocking(self.fd, False)
        self.said = ""

    def wait(self, text):
        """What was said before it."""
        def there():
            try:
                self.said += os.read(self.fd, 65536).decode(errors="replace")
            except (BlockingIOError, OSError):
                pass
            return text in self.said
        try:
            wait_for(text, there, 60)
        except Failed as e:
            raise Failed(f"{e}: {self.said!r}") from e
        before, self.said = self.said.split(text, 1)
        return before

    def type(self, text):
        os.write(self.fd, text.encode())

    def close(self):
        os.close(self.fd)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


LINES = [  # what is typed up to the TAB, and what the command gets then
    ("mat", ["materialize"]),
    ("pull team/", ["pull", "team/x:2"]),
    ("pull m:", ["pull", "m:1"]),
    ("push --dry", ["push", "--dry-run"]),
    ("pull m:1 --role=sm", ["pull", "m:1", "--role=small"]),
    ("cat m:1 src/b", ["cat", "m:1", "src/b c.py"]),
    ("ls m:1 src/su", ["ls", "m:1", "src/sub/"]),
    ("import arch", ["import", "archive.tar"]),
    ("import --dest=fold", ["import", "--dest=folder/"]),
]


def typed_into(env, setup, *argv):
    """The words are shown by a program that takes the place of mops when its first one is not __complete."""
    push_some(env)
    (env.base / "archive.tar").touch()
    (env.base / "folder").mkdir()
    show = env.base / "mops"
    show.write_text(f"#!/bin/sh\n[ \"$1\" = __complete ] && exec {MOPS} \"$@\"\nprintf '<%s>' GOT \"$@\"; echo '<end>'\n")
    show.chmod(0o755)
    sh = Shell(env, *argv)
    try:
        sh.type(f" PATH={env.base}:$PATH; {setup}; echo rea''dy\r")
        sh.wait("ready")
        for typed, words in LINES:
            sh.type(f"mops {typed}\t")
            sh.type("\r")
            sh.wait("<GOT>")
            got = re.findall(r"<([^>]*)>", sh.wait("<end>"))
            # zsh takes the slash of a folder away when the line ends there.
            check([w.rstrip("/") for w in got], [w.rstrip("/") for w in words])
    finally:
        sh.close()


def in_bash(env):
    script = env.base / "script"
    script.write_bytes(env.mops("completion", "bash").stdout)
    typed_into(env, f". {script}", need_program("bash"), "--norc", "--noprofile", "-i")


def in_zsh(env):
    folder = env.dir("functions")
    (folder / "_mops").write_bytes(env.mops("completion", "zsh").stdout)
    typed_into(env, f"fpath=({folder} $fpath); autoload -Uz compinit; compinit -u -D", need_program("zsh"), "-f", "-i")


def in_zsh_by_eval(env):
    typed_into(env, f'autoload -Uz compinit; compinit -u -D; eval "$({MOPS} completion zsh)"', need_program("zsh"), "-f",
               "-i")


def in_fish(env):
    need_program("fish")
    push_some(env)
    script = env.base / "script.fish"
    script.write_bytes(env.mops("completion", "fish").stdout)
    (env.base / "archive.tar").touch()
    (env.base / "folder").mkdir()

    def gives(line):
        out = env.run("fish", "--no-config", "-c", f"source {script}; complete -C '{MOPS} {line}'", cwd=env.base)
        return [w.split("\t")[0] for w in out.stdout.decode().splitlines()]
    for typed, words in LINES:
        check([w.replace("\\ ", " ") for w in gives(typed)], words[-1:])
    if "materialize" not in gives("") or "--dry-run" not in gives("push -"):
        raise Failed(f"{gives('')}, {gives('push -')}")


def the_script_is_a_script(env):
    for shell in ("bash", "zsh", "fish"):
        script = (TOP / f"completion/mops.{shell}").read_bytes()
        check(env.mops("completion", shell).stdout, script)
        error = json.loads(env.mops("completion", shell, "--json", code=2).stdout)
        check(error["exit_code"], 2)
    env.mops("completion", "csh", code=2)


run([the_tables_are_offered, flags_as_they_are_given, names_of_the_cache, no_name_of_a_bundle_becomes_a_flag, in_bash,
     in_zsh, in_zsh_by_eval, in_fish, the_script_is_a_script])
