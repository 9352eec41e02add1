#!/usr/bin/python3
"""'help COMMAND' shows the manual page on a terminal, and the flags elsewhere.

usage: test_help.py PROGRAM
"""
import os
import pathlib
import pty
import subprocess
import sys
import tempfile

program = pathlib.Path(sys.argv[1])
folder = pathlib.Path(tempfile.mkdtemp(prefix="mops-"))
tests = []


def man(text):
    """A man(1) of our own, alone on the PATH."""
    (folder / "man").write_text(f"#!/bin/sh\n{text}\n")
    (folder / "man").chmod(0o755)


def run(*args):
    p = subprocess.run([program, *args], env={"PATH": str(folder)}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                       check=False)
    return p.returncode, p.stdout.decode()


def on_terminal(*args):
    pid, fd = pty.fork()
    if pid == 0:
        os.execve(program, ["mops", *args], {"PATH": str(folder)})
    out = b""
    try:
        while block := os.read(fd, 4096):
            out += block
    except OSError:
        pass  # it is closed
    status = os.waitpid(pid, 0)[1]
    os.close(fd)
    return os.waitstatus_to_exitcode(status), out.decode()


def check(name, what):
    tests.append((name, what))


flags = run("push", "--help")
man('echo "page of $1 $2"')
check("a terminal gets the page", on_terminal("help", "push") == (0, "page of 1 mops-push\r\n"))
check("a pipe gets the flags", run("help", "push") == flags and "usage: mops push" in flags[1])
check("--help prints the flags", "usage: mops push" in on_terminal("push", "--help")[1])
check("the list of commands is no page", "Commands:" in on_terminal("help")[1])
man('echo "No manual entry" >&2; exit 16')
code, text = on_terminal("help", "push")
check("without the page the flags", code == 0 and "usage: mops push" in text and "No manual" not in text)
(folder / "man").unlink()
code, text = on_terminal("help", "push")
check("without man the flags", code == 0 and "usage: mops push" in text)
code, text = run("help", "psuh")
check("what was meant", code == 2 and "did you mean 'push'?" in text)
folder.rmdir()

print(f"1..{len(tests)}")
for i, (name, holds) in enumerate(tests, 1):
    print(f"{'ok' if holds else 'not ok'} {i} - {name}")
sys.exit(not all(holds for _, holds in tests))
