"""Starts programs for a test and says how much memory each needed.

A program's ru_maxrss begins with that of the process that started it, so that must be
a small one: this file is run as a program of its own, and imports next to nothing. A
line of JSON in, [argv, environment, folder, stdout, stderr, seconds]; one out, [exit
code, KiB]. What is still running at its time is killed.
"""
import json
import os
import signal
import sys


def spawn(argv, env, cwd, out, err, seconds):
    os.chdir(cwd)
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    pid = os.posix_spawn(argv[0], argv, env, setsigdef=[signal.SIGPIPE], file_actions=[
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, out, flags, 0o600), (os.POSIX_SPAWN_OPEN, 2, err, flags, 0o600)])
    signal.signal(signal.SIGALRM, lambda *_: os.kill(pid, signal.SIGKILL))
    signal.setitimer(signal.ITIMER_REAL, seconds)
    _, status, usage = os.wait4(pid, 0)
    signal.setitimer(signal.ITIMER_REAL, 0)
    return os.waitstatus_to_exitcode(status), usage.ru_maxrss


def serve():
    for line in sys.stdin:
        print(json.dumps(spawn(*json.loads(line))), flush=True)


class Spawner:
    """The process, as its user sees it. For one thread."""

    def __init__(self):
        import subprocess
        self.proc = subprocess.Popen([sys.executable, "-I", "-S", __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def run(self, *what):
        """Exit code (negative: the signal) and the most memory in KiB."""
        self.proc.stdin.write(json.dumps(what).encode() + b"\n")
        self.proc.stdin.flush()
        return json.loads(self.proc.stdout.readline())

    def stop(self):
        self.proc.stdin.close()
        self.proc.wait()
        self.proc.stdout.close()


if __name__ == "__main__":
    serve()
