#!/usr/bin/python3
"""docs/commands.md names a test for every command, flag and setting of the programs, and
the test has it."""
import json
import pathlib
import re
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "lib"))
from mopstest import MOPS, MOPSFS, Failed, run  # noqa: E402

TESTS = pathlib.Path(__file__).resolve().parents[2]
TOP = TESTS.parent
DOCUMENT = TOP / "docs/commands.md"


def help_of(program, *args, called=None):
    return subprocess.run([called or program, *args, "--help"], executable=program, check=True,
                          stdout=subprocess.PIPE).stdout.decode()


def flags(text):
    """A set of each flag's spellings."""
    return {tuple(filter(None, m)) for m in re.findall(r"^ +(?:(-\w), )?(--[a-z-]+)", text, re.M)}


def own_and_common(text):
    own, _, common = text.partition("\nCommon flags")
    return flags(own), flags(common)


def tables(text):
    """heading → rows of cells, each a tuple of what is in backquotes."""
    out = {}
    for part in text.split("\n## ")[1:]:
        heading, _, body = part.partition("\n")
        rows = [line.split("|")[1:-1] for line in body.splitlines() if line.startswith("|")][2:]
        out[heading] = [[tuple(re.findall(r"`([^`]+)`", cell)) for cell in row] for row in rows]
    return out


def what_there_is(env):
    """As tables() has it, but for the last cells: the tests."""
    out = {}
    for program in (MOPS, MOPSFS):
        rows = out[program.name] = []
        for verb in re.findall(r"^  ([a-z]+)\b", help_of(program).split("\n\n", 1)[1], re.M):
            text = help_of(program, verb)
            own, common = own_and_common(text)
            rows += [((verb,), flag) for flag in [(), *own]]
    options = re.search(r"--options LIST +mount options: (.*), and any setting", help_of(MOPSFS, "mount"))[1]
    out["mopsfs mount -o"] = [((re.match("[a-z_]+", word)[0],),) for word in options.split(", ")]
    out["mount.mopsfs"] = [(flag,) for flag in own_and_common(help_of(MOPSFS, called="mount.mopsfs"))[0]]
    out["Flags of every command"] = [(flag,) for flag in common]
    settings = {s["name"] for s in json.loads(env.mops("doctor", "--json", code=None).stdout)["settings"]}
    settings -= {flag[-1][2:].replace("-", "_") for flag in common}
    out["Settings without a flag"] = [(("MOPS_" + name.upper(),),) for name in settings]
    return out


def file_of(test):
    room, _, name = test.partition("/")
    for folder in (TESTS / room, TESTS / "unit" / room):
        for path in folder.glob(f"test_{name}.*"):
            return path
    raise Failed(f"there is no test '{test}'")


def has(text, word, quoted):
    around = ("[\"']", "[\"']") if quoted else (r"(?<![\w-])", r"(?![\w-])")
    return re.search(around[0] + re.escape(word) + around[1], text)


def the_tables_have_what_there_is(env):
    there, said = what_there_is(env), tables(DOCUMENT.read_text(encoding="utf-8"))
    flaws = [f"the headings are {list(said)}"] * (list(there) != list(said))
    for heading, rows in there.items():
        have = [tuple(row[:-1]) for row in said.get(heading, [])]
        flaws += [f"{heading}: {row} is missing" for row in rows if row not in have]
        flaws += [f"{heading}: {row} is not there, or twice" for row in have if row not in rows or have.count(row) > 1]
    if flaws:
        raise Failed("\n".join(flaws))


def the_tests_have_what_they_are_named_for(env):
    flaws = []
    for heading, rows in tables(DOCUMENT.read_text(encoding="utf-8")).items():
        for *what, tests in rows:
            text = "\n".join(file_of(t).read_text(encoding="utf-8") for t in tests)
            for i, cell in enumerate(what):
                command = len(what) == 2 and i == 0
                flaws += [f"{heading}: {tests} lacks {word}" for word in cell if not has(text, word, command)]
            flaws += [f"{heading}: {what} has no test"] * (not tests)
    if flaws:
        raise Failed("\n".join(flaws))


def shown(page):
    """The commands that a page shows: on lines of their own and, in Markdown, between backquotes."""
    text = page.read_text(encoding="utf-8")
    lines = re.findall(r"^(?:\$ )?(mops(?:fs)? .*)$", text, re.M)
    return [line.split() for line in lines + re.findall(r"`(mops(?:fs)? [^`\n]*)`", text)]


def the_documents_name_what_there_is(env):
    known = {}
    for program in (MOPS, MOPSFS):
        for verb in re.findall(r"^  ([a-z]+)\b", help_of(program).split("\n\n", 1)[1], re.M):
            known[program.name, verb] = {f for flag in flags(help_of(program, verb)) for f in flag}
    flaws, n = [], 0
    for page in [p for pattern in ("*.md", "docs/*.md", "examples/**/*.md", "man/*.scd") for p in TOP.glob(pattern)]:
        for program, verb, *words in shown(page):
            n += 1
            said = {word.partition("=")[0].rstrip(",;") for word in words if re.match("--[a-z]|-[a-z]$", word)}
            if re.match("[a-z]+$", verb) and ((program, verb) not in known or not said <= known[program, verb]):
                flaws.append(f"{page.name}: {program} {verb} {' '.join(words)}")
    if flaws or n < 200:
        raise Failed("\n".join([*flaws, f"{n} commands"]))


run([the_tables_have_what_there_is, the_tests_have_what_they_are_named_for, the_documents_name_what_there_is])
