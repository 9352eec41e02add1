#!/usr/bin/python3
"""Every network fault at the start, in the middle and at the end of pull, read, mmap
and push: the errno or exit code of docs/operations.md, never a wrong byte, in bounded
time, nothing lost: the same command succeeds once the fault is over. And a signal
frees whoever waits. CELLS=WORD runs only cells with that word in their name, WORKERS
sets how many run at once."""
import concurrent.futures
import errno
import itertools
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lib"))
sys.path.insert(0, str(HERE.parent / "servers"))
import mopstest  # noqa: E402
from mopstest import Env, Failed, need_fuse, need_root, sha256_file, wait_for, write_random  # noqa: E402
from names import LATER, own_names  # noqa: E402
from fault_registry import BODIES, HEADS, STORE, Registry, digest_of  # noqa: E402

ONLY = os.environ.get("CELLS", "")
WORKERS = int(os.environ.get("WORKERS", "8"))
MIB = 1 << 20
SIZE = 6 * MIB + 12345
TIMES = {"MOPS_CONNECT_TIMEOUT": "1s", "MOPS_STALL_TIMEOUT": "1s", "MOPS_IO_TIMEOUT": "3s"}
BOUND = 20  # seconds for one command: twice the budget, and a busy machine
NUMBERS = itertools.count(1)
MOMENTS = ("start", "middle", "end")
EIO, EACCES, ESTALE = errno.EIO, errno.EACCES, errno.ESTALE

# What is read while the fault is on: (fault, times it is played or None for ever,
# errno of a read, exit code of a pull). 0: as if there had been none.
ONCE, EVER = 1, None
READS = [
    ("dns-none", 2, 0, 0), ("dns-none", EVER, EIO, 3), ("dns-later", ONCE, 0, 0), ("dns-later", EVER, EIO, 3),
    ("gone", ONCE, 0, 0), ("gone", EVER, EIO, 3),
    ("tls-self-signed", EVER, EIO, 3), ("tls-not-spoken", EVER, EIO, 3),
    ("401", EVER, EACCES, 3), ("403", EVER, EACCES, 3),
    ("signed-403", ONCE, 0, 0), ("signed-403", EVER, EACCES, 3),
    ("404", ONCE, 0, 0), ("404", EVER, EIO, 3), ("410", ONCE, 0, 0), ("410", EVER, EIO, 3),
    ("408", ONCE, 0, 0), ("425", ONCE, 0, 0), ("429-seconds", ONCE, 0, 0), ("500", ONCE, 0, 0), ("502", ONCE, 0, 0),
    ("503-date", ONCE, 0, 0), ("504", ONCE, 0, 0),
    ("429-seconds", EVER, EIO, 3), ("503-date", EVER, EIO, 3), ("500", EVER, EIO, 3),
    ("416", EVER, EIO, 2), ("other-total", EVER, EIO, 3), ("other-size", EVER, EIO, 2), ("418", EVER, EIO, 3),
    ("reset", ONCE, 0, 0), ("reset", EVER, EIO, 3), ("short", ONCE, 0, 0), ("short", EVER, EIO, 3),
    ("no-length", EVER, 0, 0), ("no-length-short", ONCE, 0, 0), ("no-length-short", EVER, EIO, 3),
    ("too-long", EVER, 0, 0),
    ("stall", ONCE, 0, 0), ("stall", EVER, EIO, 3), ("trickle", ONCE, 0, 0), ("trickle", EVER, EIO, 3),
    ("silent", ONCE, 0, 0), ("silent", EVER, EIO, 3),
    ("wrong", ONCE, 0, 0), ("wrong", EVER, EIO, 2),
    ("206-shifted", ONCE, 0, 0), ("206-shifted", EVER, EIO, 3), ("206-bare", ONCE, 0, 0), ("206-bare", EVER, EIO, 3),
    ("206-multipart", ONCE, 0, 0), ("206-multipart", EVER, EIO, 3),
    ("200-to-range", EVER, 0, 0),
    ("loop", EVER, EIO, 3), ("hops", EVER, EIO, 3), ("to-file", EVER, EIO, 3), ("to-link-local", EVER, EIO, 3),
    ("gzip", EVER, EIO, 3), ("head-flood", EVER, EIO, 3), ("head-endless", EVER, EIO, 3), ("infos", EVER, EIO, 3),
    ("garbage", EVER, EIO, 3),
]
# Of an object in a store; a pull is then a materialize that fetches it.
STORE_READS = [
    ("changed", ONCE, 0, 0), ("changed", EVER, ESTALE, 2),
    ("skew", EVER, 0, 0), ("skew-stays", EVER, EACCES, 3),
]
PUSHES = [(fault, ONCE, 0) for fault in ("gone", "408", "429-seconds", "500", "502", "503-date", "504", "reset",
                                         "short", "silent")]
PUSHES += [(fault, EVER, 3) for fault in ("gone", "401", "403", "404", "418", "429-seconds", "503-date", "reset",
                                          "short", "silent", "loop", "to-file", "to-link-local", "tls-self-signed",
                                          "dns-none", "head-flood", "infos", "garbage")]
# A server that has every byte may take the whole budget to answer, so nothing is left
# for another try; the bytes before that have the stall time.
LATE = {("silent", ONCE, "end"): 3}


def name(asked, _):
    """later.* fails for now, everything else does not exist."""
    return LATER if asked.startswith("later.") else None


READ = """
import hashlib, mmap, os, sys
kind, path, at = sys.argv[1], sys.argv[2], int(sys.argv[3])
fd = os.open(path, os.O_RDONLY)
try:
    if kind == "read":
        got = os.pread(fd, 65536, at)
    else:
        got = mmap.mmap(fd, 0, prot=mmap.PROT_READ)[at:at + 65536]
    print("bytes", hashlib.sha256(got).hexdigest())
except OSError as e:
    print("errno", e.errno)
"""


class Cell:
    """One fault at one moment of one operation, in a world of its own."""

    def __init__(self, world, op, moment, fault, times):
        self.world, self.op, self.moment, self.fault, self.times = world, op, moment, fault, times
        self.name = f"{fault} {'once' if times else 'for ever'} at the {moment} of {op}"
        self.server = self.env = None
        self.n = next(NUMBERS)

    def run(self, *expected):
        self.env = Env(self.world.env.dir(f"cell-{self.n}"))
        self.env.vars.update(TIMES)
        # Names are not looked up in the environment of whoever runs the tests.
        self.env.vars.pop("LOCALDOMAIN", None)
        try:
            getattr(self, "push" if self.op == "push" else "pull" if self.op == "pull" else "read")(*expected)
            return None
        except Exception as e:  # noqa: B902 - one failed cell is one line
            return f"{self.name}: {e}"
        finally:
            self.env.close()
            if self.server:
                self.server.stop()

    def serve(self, folder=None):
        # An address of its own: nobody takes its port while it is away.
        self.server = Registry(folder, f"127.77.{self.n >> 8}.{self.n & 255}")
        self.env.servers.append(self.server)
        return f"{self.server.host}/demo:1"

    def timed(self, fn):
        begin = time.monotonic()
        result = fn()
        took = time.monotonic() - begin
        if took > BOUND:
            raise Failed(f"took {took:.1f} s")
        return result

    def strike_at(self):
        """The byte of the blob at which the fault strikes."""
        last = SIZE - 1 if self.fault in BODIES and self.fault != "trickle" else SIZE // MIB * MIB
        return {"start": 0, "middle": 3 * MIB, "end": last}[self.moment]

    def arm(self, at):
        self.server.arm(self.fault, at, self.times)

    def check_met(self):
        if not self.server.met:
            raise Failed("the fault was never met")

    # Operations.

    def pull(self, _, want):
        ref = self.serve(self.world.layout)
        self.arm(self.strike_at())
        p = self.timed(lambda: self.env.mops("pull", ref, "-q", code=None, timeout=120))
        self.check_met()
        if p.returncode != want:
            raise Failed(f"exit {p.returncode}, wanted {want}: {p.stderr.decode()}")
        if want and not p.stderr:
            raise Failed("no word of what is wrong")
        blob = self.env.cache() / "blobs/sha256" / self.world.digest[:2] / self.world.digest
        if blob.exists() and sha256_file(blob) != self.world.digest:
            raise Failed("wrong bytes have a final name")
        if want:
            self.server.arm(None)
            self.env.mops("pull", ref, "-q", timeout=120)
        if sha256_file(blob) != self.world.digest:
            raise Failed("wrong bytes have a final name")

    def reader(self, at, offset):
        return subprocess.Popen([sys.executable, "-c", READ, self.op, at / "big.bin", str(offset)],
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def read_once(self, at, offset):
        """0 or the errno."""
        p = self.reader(at, offset)
        out = p.communicate(timeout=120)[0].decode().split()
        if p.returncode == -signal.SIGBUS:
            return EIO
        if p.returncode or not out:
            raise Failed(f"the reader ended with {p.returncode}")
        if out[0] == "errno":
            return int(out[1])
        if out[1] != digest_of(self.world.big[offset:offset + 65536]).removeprefix("sha256:"):
            raise Failed("wrong bytes were read")
        return 0

    def read(self, want, _):
        ref = self.serve(self.world.layout)
        strike = self.strike_at()
        offset = strike // MIB * MIB
        if self.op == "mmap" and want:
            want = EIO  # a page fault knows one answer, SIGBUS
        with self.env.mount(ref, "-o", "io=cached") as at:
            self.arm(strike)
            got = self.timed(lambda: self.read_once(at, offset))
            self.check_met()
            if got != want:
                raise Failed(f"{errno.errorcode.get(got, got)}, wanted {errno.errorcode.get(want, want)}")
            self.server.arm(None)
            # Failures are remembered for a second, and what is under way may fail yet.
            wait_for("the file to be readable again", lambda: self.readable(at))

    def readable(self, at):
        try:
            if sha256_file(at / "big.bin") != self.world.digest:
                raise Failed("wrong bytes after the fault")
        except OSError:
            return False
        return True

    def push(self, want):
        ref = self.serve()
        self.server.arm(self.fault, self.moment, self.times)
        p = self.timed(lambda: self.env.mops("push", self.world.src, "--to", ref, "-q", code=None, timeout=120))
        self.check_met()
        if p.returncode != want:
            raise Failed(f"exit {p.returncode}, wanted {want}: {p.stderr.decode()}")
        if want:
            if self.server.manifests:
                raise Failed("a failed push made a tag")
            self.server.arm(None)
            self.env.mops("push", self.world.src, "--to", ref, "-q", timeout=120)
        if "sha256:" + self.world.digest not in self.server.blobs or len(self.server.manifests) != 2:
            raise Failed(f"the push is not whole: {list(self.server.blobs)} {list(self.server.manifests)} {p.stderr.decode()}")


class StoreCell(Cell):
    """The same with an object of a store."""

    def serve(self, folder=None):
        ref = super().serve(self.world.external)
        self.server.objects["big.bin"] = self.world.big
        self.env.vars.update(KEYS, AWS_ENDPOINT_URL=f"http://{self.server.host}")
        return ref

    def pull(self, _, want):
        ref, to = self.serve(), self.env.dir("to")
        self.arm(self.strike_at())
        verb = ("materialize", ref, to / "tree", "--prefetch-external", "-q")
        p = self.timed(lambda: self.env.mops(*verb, code=None, timeout=120))
        self.check_met()
        if p.returncode != want:
            raise Failed(f"exit {p.returncode}, wanted {want}: {p.stderr.decode()}")
        if want:
            if (to / "tree/big.bin").exists():
                raise Failed("a failed materialize left a file")
            self.server.arm(None)
            self.env.mops(*verb, timeout=120)
        if sha256_file(to / "tree/big.bin") != self.world.digest:
            raise Failed("wrong bytes have a final name")


KEYS = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "key", "AWS_EC2_METADATA_DISABLED": "true"}


class World:
    def __init__(self, env):
        need_root()
        need_fuse()
        self.env = env
        self.src = env.fresh("src")
        write_random(self.src / "big.bin", SIZE, 1)
        write_random(self.src / "small.bin", 5000, 2)
        self.big = (self.src / "big.bin").read_bytes()
        self.digest = sha256_file(self.src / "big.bin")
        self.layout = env.fresh("layout") / "registry"
        env.mops("push", self.src, "--to", f"oci:{self.layout}:demo:1", "-q")
        self.external = env.fresh("external") / "registry"
        store = Registry()
        store.objects["big.bin"] = self.big
        env.servers.append(store)
        env.mops("push", self.src, "--to", f"oci:{self.external}:demo:1", "-q", "--external",
                 "big.bin=s3://bucket/big.bin", env={**KEYS, "AWS_ENDPOINT_URL": f"http://{store.host}"})


def run_cells(cells):
    cells = [(c, expected) for c, expected in cells if ONLY in c.name]
    begin = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        bad = [line for line in pool.map(lambda c: c[0].run(*c[1]), cells) if line]
    print(f"# {len(cells)} cells in {time.monotonic() - begin:.0f} s")
    if bad:
        raise Failed(f"{len(bad)} of {len(cells)} cells:\n" + "\n".join(bad))


def what_is_read(env):
    own_names(env, name)
    world = World(env)
    run_cells([(Cell(world, op, moment, fault, times), (code, status))
               for fault, times, code, status in READS for op in ("pull", "read", "mmap") for moment in MOMENTS])


def what_is_read_of_a_store(env):
    world = World(env)
    run_cells([(StoreCell(world, op, moment, fault, times), (code, status))
               for fault, times, code, status in STORE_READS for op in ("pull", "read", "mmap") for moment in MOMENTS])


def what_is_pushed(env):
    world = World(env)
    run_cells([(Cell(world, "push", moment, fault, times), (LATE.get((fault, times, moment), status),))
               for fault, times, status in PUSHES for moment in MOMENTS])


def time_to_die(p):
    begin = time.monotonic()
    p.kill()
    p.wait(30)
    return (time.monotonic() - begin) * 1000


def a_signal_frees_who_waits(env):
    """SIGKILL while the mount waits for the network; ms above what any process takes."""
    world = World(env)
    worst = (0, "")
    for fault, times, code, _ in READS:
        if times is not EVER or fault not in ("gone", "dns-later", "429-seconds", "503-date", "500", "reset", "short",
                                              "stall", "trickle", "silent", "no-length-short"):
            continue
        for op in ("read", "mmap"):
            cell = Cell(world, op, "middle", fault, EVER)
            cell.env = Env(env.dir(f"cell-{cell.n}"))
            cell.env.vars.update({**TIMES, "MOPS_IO_TIMEOUT": "60s"})
            ref = cell.serve(world.layout)
            try:
                with cell.env.mount(ref, "-o", "io=cached") as at:
                    cell.arm(cell.strike_at())
                    tries = []
                    while len(tries) < 3 and (not tries or min(tries) > 100):
                        p = cell.reader(at, 3 * MIB)
                        if not cell.server.wait_met():
                            raise Failed(f"{cell.name}: the fault was never met")
                        time.sleep(0.1)
                        if p.poll() is not None:
                            raise Failed(f"{cell.name}: the reader did not wait")
                        tries.append(time_to_die(p))
                    worst = max(worst, (min(tries), cell.name))
                    cell.server.arm(None)
            finally:
                cell.env.close()
    print(f"# slowest: {worst[0]:.0f} ms, {worst[1]}")
    if worst[0] > 100:
        raise Failed(f"freed after {worst[0]:.0f} ms: {worst[1]}")


if __name__ == "__main__":
    unknown = {row[0] for row in READS} - set(HEADS) - set(BODIES) | {row[0] for row in STORE_READS} - set(STORE)
    assert not unknown, unknown
    mopstest.run([what_is_read, what_is_read_of_a_store, what_is_pushed, a_signal_frees_who_waits])
