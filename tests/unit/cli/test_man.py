#!/usr/bin/python3
"""Each command has a man page, page and --help name the same flags and letters, and the
page is installed.

usage: test_man.py PROGRAM MAN-FOLDER
"""
import pathlib
import re
import subprocess
import sys

program, folder = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
name = program.name


def help_of(*args, called=program):
    return subprocess.run([called, *args], executable=program, check=True, stdout=subprocess.PIPE).stdout.decode()


def flags(text):
    return set(re.findall(r"--[a-z][a-z-]+", text))


def letters(text):
    """Those that stand beside a flag, with it."""
    return set(re.findall(r"(-\w)\*?, \*?(--[a-z-]+)", text))


# Commands are the lines of the program's help that begin with two blanks and a word.
verbs = re.findall(r"^  ([a-z]+)\b", help_of("--help").split("\n\n", 1)[1], re.M)
common = flags(help_of(verbs[0], "--help").partition("ommon")[2])
tests = []
for verb in verbs:
    page = folder / f"{name}-{verb}.1.scd"
    if not page.exists():
        tests.append((verb, [f"{page.name} is missing"]))
        continue
    options = page.read_text().partition("# OPTIONS")[2].partition("\n# ")[0]
    own = flags(help_of(verb, "--help").partition("ommon")[0])
    said = flags(options)
    tests.append((verb, [f"{f} is not in the page" for f in sorted(own - said)] +
                  [f"{f} is not in --help" for f in sorted(said - own - common)] +
                  [f"{f} are in one of page and --help" for f in sorted(
                      letters(help_of(verb, "--help").partition("ommon")[0]) ^ letters(options))]))
installed = set(re.findall(r"'([a-z0-9.-]+)'", (folder / "meson.build").read_text()))
pages = {p.name.removesuffix(".scd") for p in folder.glob(f"{name}[-.]*.scd")}
tests.append(("installed", [f"{p} is not in man/meson.build" for p in sorted(pages - installed)]))
missing = common - flags((folder / f"{name}.1.scd").read_text()) if name == "mops" else set()
tests.append(("common flags", [f"{f} is not in {name}(1)" for f in sorted(missing)]))

if name == "mopsfs":
    options = (folder / "mount.mopsfs.8.scd").read_text().partition("# OPTIONS")[2].partition("\n# ")[0]
    own = flags(help_of("--help", called="mount.mopsfs").partition("ommon")[0])
    tests.append(("as mount.mopsfs", [f"{f} is in one of page and --help" for f in
                                      sorted(own ^ (flags(options) - common))] +
                  ["mount.mopsfs.8 is not in man/meson.build"] * ("mount.mopsfs.8" not in installed)))

print(f"1..{len(tests)}")
for i, (verb, flaws) in enumerate(tests, 1):
    for flaw in flaws:
        print("# " + flaw)
    print(f"{'not ' if flaws else ''}ok {i} - {name} {verb}: page and program agree")
sys.exit(any(flaws for _, flaws in tests))
