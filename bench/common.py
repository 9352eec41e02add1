"""What the benchmarks of slow links share."""
import contextlib
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests/lib"))
import mopstest  # noqa: E402


def use_build(folder):
    mopstest.BUILD = pathlib.Path(folder).resolve()
    mopstest.MOPS, mopstest.MOPSFS = mopstest.BUILD / "cli/mops", mopstest.BUILD / "fs/mopsfs"


def bench(program, *argv, timeout=None):
    """The figures that one of the programs of bench/ prints."""
    out = subprocess.run([mopstest.BUILD / "bench" / program, *map(str, argv)], check=True, stdout=subprocess.PIPE,
                         timeout=timeout).stdout
    return [float(x) for x in out.split()]


@contextlib.contextmanager
def slow_link(port, ms, mbit):
    """The port of a link to @port."""
    p = subprocess.Popen([mopstest.BUILD / "bench/bench-link", str(port), str(ms), str(mbit)], stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE)
    try:
        yield int(p.stdout.readline())
    finally:
        p.stdin.close()
        p.wait()


def make_small_files(folder, count):
    """@count files of 2 KB on the average, 500 to a folder."""
    for i in range(count):
        at = folder / f"d{i // 500:04}"
        if i % 500 == 0:
            at.mkdir()
        (at / f"f{i:06}.txt").write_bytes(b"%d\n" % i * (1 + i % 700))
