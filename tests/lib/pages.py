"""The shell examples of a page: its blocks marked sh, which are run, and console, whose
output is compared as well. One shell runs all of a page, in order."""
import re
import subprocess

from mopstest import Failed

FENCE = re.compile(r"^```(\S*)$")
EXCEPTION = re.compile(r"^<!-- not run: (.+) -->$")


class Block:
    def __init__(self, page, line, kind, lines, why):
        self.where, self.kind, self.lines, self.why = f"{page.name}:{line}", kind, lines, why

    def commands(self):
        """Pairs of a command and the lines that it prints; None: that is not said."""
        if self.kind == "sh":
            return [("\n".join(self.lines), None)]
        out = []
        for line in self.lines:
            if line.startswith("$ "):
                out.append((line[2:], []))
            else:
                out[-1][1].append(line)
        return out


def blocks(page):
    out, before, start = [], "", None
    for n, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        fence = FENCE.match(line)
        if fence and start is None:
            why = EXCEPTION.match(before)
            start, kind, lines = n, fence[1], []
        elif fence:
            if kind in ("sh", "console"):
                out.append(Block(page, start, kind, lines, why and why[1]))
            start = None
        elif start is not None:
            lines.append(line)
        before = line
    return out


def as_pattern(line, home):
    """A line of output: what varies is how long it took, and what was left out as …"""
    text = re.escape(line.replace("/root/", f"{home}/"))
    return re.sub(r"\d+\\\.\d\\ s\b", r"\\d+\\.\\d s", text).replace("…", ".*")


def play(env, page, cwd):
    """Run a page; returns how many of its blocks."""
    run = [b for b in blocks(page) if not b.why]
    commands = [(b.where, *c) for b in run for c in b.commands()]
    # A page that fails leaves no server behind.
    script = "exec 2>&1\ntrap 'kill $(jobs -p) 2>/dev/null || :' EXIT\n"
    script += "".join(f"printf '\\001'\n{command}\n" for _, command, _ in commands)
    p = subprocess.run(["bash", "-eu", "-c", script], cwd=cwd, env=env.vars, stdin=subprocess.DEVNULL,
                       stdout=subprocess.PIPE, timeout=500, check=False)
    said = p.stdout.decode(errors="replace").split("\1")[1:]
    last = commands[len(said) - 1]
    if p.returncode or len(said) != len(commands):
        raise Failed(f"{last[0]}: exit {p.returncode}\n{last[1]}\n{said[-1]}")
    for (where, command, want), got in zip(commands, said):
        got = got.splitlines()
        if want is not None and (len(want) != len(got) or
                                 not all(re.fullmatch(as_pattern(w, env.vars["HOME"]), g) for w, g in zip(want, got))):
            raise Failed(f"{where}: {command}\n" + "\n".join([*got, "it says:", *want]))
    return len(run)
