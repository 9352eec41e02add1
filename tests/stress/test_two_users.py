#!/usr/bin/python3
"""Two users and one cache: as members of a group, as the reader of somebody's cache, and
with private caches. One of them is hostile and does in a loop whatever a user can do to
files and folders. The other never reads a wrong byte, is never kept waiting, and finds
nothing of his own touched."""
import contextlib
import fcntl
import hashlib
import json
import mmap
import os
import pathlib
import random
import shutil
import signal
import stat
import struct
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lib"))
from mopstest import MOPS, MOPSFS, Failed, need_fuse, need_root, run, same, sha256_file, snapshot, wait_for, \
    write_random  # noqa: E402

ALICE, MALLORY, GROUP = 61001, 61002, 61000
MIB = 1 << 20
ROUNDS = 30
MOUNTS = 10
PATIENCE = 60  # of one command of the other user, in seconds


class User:
    """Runs commands as somebody else than root."""

    def __init__(self, env, uid, **settings):
        self.env, self.uid = env, uid
        self.home = env.fresh(f"home-{uid}")
        os.chown(self.home, uid, GROUP)
        self.vars = {"HOME": str(self.home), "MOPS_REGISTRY": f"oci:{env.base}/data/mops/registry", **settings}
        for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR"):
            self.vars[name] = str(self.home)

    def mops(self, *args, program="mops", **kw):
        return self.env.run(self.env.base / "bin" / program, *args, env=self.vars, user=self.uid, group=GROUP,
                            extra_groups=[], umask=0o077, timeout=PATIENCE, **kw)

    def path(self, name):
        return self.home / name


def become(uid):
    os.setgroups([])
    os.setresgid(GROUP, GROUP, GROUP)
    os.setresuid(uid, uid, uid)


@contextlib.contextmanager
def child(uid, work):
    """@work(), over and over, as @uid in a process of its own; it ends with the block. What it
    got hold of that it must not, it says by its exit status."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            become(uid)
            signal.signal(signal.SIGIO, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
            while True:
                work()
        except BaseException as e:  # noqa: B902 - whatever it is, the parent is told
            sys.stderr.write(f"# the hostile user: {e!r}\n")
        finally:
            os._exit(status)
    try:
        yield
    finally:
        time.sleep(0.05)
        os.kill(pid, signal.SIGTERM)
        _, status = os.waitpid(pid, 0)
    if status:
        raise Failed(f"the hostile user got too far: {status}")


class Tally:
    """Acts that came off, or were refused as they must be, by name. A child's parent sees them, too."""

    def __init__(self, names):
        self.names = sorted(names)
        self.counts = mmap.mmap(-1, 8 * len(self.names))

    def add(self, name):
        at = 8 * self.names.index(name)
        struct.pack_into("Q", self.counts, at, struct.unpack_from("Q", self.counts, at)[0] + 1)

    def all_happened(self, who, names=None):
        counts = dict(zip(self.names, struct.unpack(f"{len(self.names)}Q", self.counts)))
        counts = {k: v for k, v in counts.items() if k in (names or self.names)}
        print(f"# {who}: " + ", ".join(f"{k} {v}" for k, v in counts.items()))
        if 0 in counts.values():
            raise Failed(f"{who} never did: {[k for k, v in counts.items() if not v]}")


class Vandal:
    """What the owner of a cache can do to it while another user reads it."""

    def __init__(self, cache, seed):
        self.blobs = cache / "blobs/sha256"
        self.random = random.Random(seed)
        self.aside = cache / "aside"
        self.saved = {p.relative_to(self.blobs): p.read_bytes() for p in self.blobs.glob("??/*")}
        self.held = {}
        self.ways = (self.flip, self.append, self.truncate, self.symlink, self.fifo, self.folder, self.swap,
                     self.lock, self.writing, self.writing)
        self.done = Tally({w.__name__ for w in self.ways} | {"lease", "restore"})

    def restore(self, path):
        """The right bytes, so that there is something to be tempted by."""
        if path.is_symlink() or not path.is_dir():
            path.unlink(missing_ok=True)
        else:
            shutil.rmtree(path, ignore_errors=True)
        if path.parent.is_symlink():
            path.parent.unlink()
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        path.write_bytes(self.saved[path.relative_to(self.blobs)])
        path.chmod(0o444)

    def flip(self, path):
        path.chmod(0o644)
        with open(path, "r+b") as f:
            at = self.random.randrange(max(1, os.fstat(f.fileno()).st_size))
            for value in (b"\xa5", b"\x5a", b"\xff"):
                f.seek(at)
                f.write(value)
                f.flush()

    def append(self, path):
        path.chmod(0o666)
        with open(path, "ab") as f:
            f.write(b"more")

    def truncate(self, path):
        path.chmod(0o644)
        os.truncate(path, self.random.randrange(4096))

    def symlink(self, path):
        path.unlink()
        path.symlink_to(self.random.choice(["/dev/zero", "/etc/passwd", "/proc/self/mem", path]))

    def fifo(self, path):
        path.unlink()
        os.mkfifo(path, 0o666)

    def folder(self, path):
        path.unlink()
        path.mkdir()

    def swap(self, path):
        """The folder around it becomes a symlink to one with other bytes, and back."""
        self.aside.mkdir(exist_ok=True)
        (self.aside / path.name).write_bytes(os.urandom(len(self.saved[path.relative_to(self.blobs)])))
        away = self.blobs / f".{path.parent.name}"
        path.parent.rename(away)
        path.parent.symlink_to(self.aside)
        time.sleep(0.002)
        path.parent.unlink()
        away.rename(path.parent)

    def lock(self, path):
        """A lock and a lease, kept: whoever opens it plainly waits 45 seconds."""
        path.chmod(0o644)
        fd = os.open(path, os.O_RDWR)
        self.held[path] = fd
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        self.done.add("lease")

    def writing(self, path):
        """Wrong bytes and the right ones, in turns, as fast as it goes."""
        path.chmod(0o644)
        data = self.saved[path.relative_to(self.blobs)][:65536]
        with open(path, "r+b", buffering=0) as f:
            for _ in range(40):
                f.seek(0)
                f.write(bytes(len(data)))
                f.seek(0)
                f.write(data)

    def __call__(self):
        path = self.blobs / self.random.choice(list(self.saved))
        if path in self.held:  # our own open would wait, too
            if self.random.random() < 0.2:
                os.close(self.held.pop(path))
            time.sleep(0.001)
            return
        way = self.random.choice(self.ways)
        with contextlib.suppress(OSError):
            if path.is_symlink() or not path.is_file():  # a FIFO would hold us up
                self.restore(path)
            way(path)
            self.done.add(way.__name__)
        if self.random.random() < 0.6:
            with contextlib.suppress(OSError):
                self.restore(path)
                self.done.add("restore")


class Burglar:
    """Tries to change what another user's cache is; anything that works is too much."""

    def __init__(self, cache):
        self.cache = cache
        self.done = Tally({"rename", "rmdir", "chmod", "mkdir", "mkfifo", "open", "truncate", "unlink"})

    def must_fail(self, what, *args):
        try:
            what(*args)
        except PermissionError:
            self.done.add(what.__name__)
            return
        except (FileNotFoundError, NotADirectoryError):
            return
        raise Failed(f"{what.__name__}{args} worked")

    def try_file(self, path):
        self.must_fail(os.open, path, os.O_RDWR)
        self.must_fail(os.chmod, path, 0o666)
        self.must_fail(os.truncate, path, 0)
        self.must_fail(os.unlink, path)
        self.must_fail(os.rename, path, path + ".away")

    def __call__(self):
        top = str(self.cache)
        self.must_fail(os.rename, top, top + ".away")
        self.must_fail(os.rmdir, top)
        self.must_fail(os.chmod, top, 0o777)
        for at, dirs, files in os.walk(top):
            self.must_fail(os.mkdir, os.path.join(at, "planted"))
            self.must_fail(os.mkfifo, os.path.join(at, "planted"))
            for name in dirs:
                self.must_fail(os.chmod, os.path.join(at, name), 0o777)
            for name in files:
                self.try_file(os.path.join(at, name))


def world(env):
    """Programs and a registry that every user can reach; a bundle in it, and its content."""
    need_root()
    os.chmod(env.base, 0o711)
    for program in (MOPS, MOPSFS):
        shutil.copy(program, env.dir("bin"))
    top = env.fresh("content")
    write_random(top / "m/big.bin", 5 * MIB + 77, 1)
    write_random(top / "m/one.bin", 700_000, 2)
    for i in range(8):
        write_random(top / f"m/s{i}.bin", 60_000 + i, 10 + i)
    env.push(top, "demo:1")
    for at, dirs, files in os.walk(env.base / "data"):
        os.chmod(at, 0o755)
        for name in files:
            os.chmod(os.path.join(at, name), 0o644)
    return snapshot(top)


def readable_cache(env, uid):
    """A folder that others may read, and its owner."""
    at = env.fresh("theirs")
    os.chown(at, uid, GROUP)
    at.chmod(0o755)
    return at, User(env, uid, MOPS_CACHE_DIR=str(at))


def only_in_caches(env):
    """From here on the registry has the documents, and no content."""
    for path in list((env.base / "data/mops/registry").rglob("*")):
        if path.is_file() and path.stat().st_size > 50_000:
            path.unlink()


def shared_folder(env, mode=0o3770, owner=0):
    at = env.fresh("shared")
    os.chown(at, owner, GROUP)
    os.chmod(at, mode)
    return at


def members(env, at):
    return [User(env, uid, MOPS_CACHE_DIR=str(at), MOPS_CACHE_SHARED="group") for uid in (ALICE, MALLORY)]


def followed(dest, user):
    """A snapshot of what symlinks lead to, which must be the user's own."""
    out = snapshot(dest)
    for name, (kind, _, target) in out.items():
        if kind == "symlink":
            if os.stat(dest / name).st_uid != user.uid:
                raise Failed(f"{name} leads to another user's file: {target}")
            out[name] = ("file", False, sha256_file(dest / name))
    return out


def use(user, want, n):
    """The bundle in three ways, each right to the last byte."""
    dest = user.path(f"out-{n}")
    link = ("auto", "copy", "hardlink", "symlink")[n % 4]
    user.mops("materialize", "demo:1", dest, "--link", link)
    same(want, followed(dest, user), f"round {n}, --link {link}")
    p = user.mops("cat", "demo:1", "m/one.bin")
    if want["m/one.bin"][2] != hashlib.sha256(p.stdout).hexdigest():
        raise Failed(f"round {n}: cat gave other bytes")
    shutil.rmtree(dest)


def members_use_what_another_one_has(env):
    want = world(env)
    at = shared_folder(env)
    alice, mallory = members(env, at)
    mallory.mops("pull", "demo:1")
    only_in_caches(env)
    for i in range(1000):  # another member's, so many that there is no room for an honest one's
        for path in (at / f"7{i:04}", at / f"7{i:04}/blobs", at / f"7{i:04}/blobs/sha256"):
            path.mkdir()
            os.chown(path, ALICE + 2, GROUP)
    use(alice, want, 0)
    alice.mops("pull", "demo:1")
    for path in at.rglob("*"):
        st = path.lstat()
        if not stat.S_ISLNK(st.st_mode) and st.st_mode & 0o022:
            raise Failed(f"{path}: mode {st.st_mode:o}")
    shutil.rmtree(at / str(MALLORY))
    alice.mops("materialize", "--offline", "demo:1", alice.path("again"))
    same(want, snapshot(alice.path("again")))


def a_hostile_member_of_the_group(env):
    want = world(env)
    at = shared_folder(env)
    alice, mallory = members(env, at)
    mallory.mops("pull", "demo:1")
    alice.mops("pull", "demo:1")
    vandal, burglar = Vandal(at / str(MALLORY), 1), Burglar(at / str(ALICE))
    with child(MALLORY, vandal), child(MALLORY, burglar):
        for n in range(ROUNDS):
            if n % 3 != 2:  # else with what is there
                shutil.rmtree(at / str(ALICE), ignore_errors=True)
            use(alice, want, n)
    vandal.done.all_happened("the vandal")
    burglar.done.all_happened("the burglar")
    p = alice.mops("verify", "--cache", "--json")
    if json.loads(p.stdout).get("damaged"):
        raise Failed(p.stdout.decode())


def mounts_beside(env, want, vandal, own, settings):
    """Root's own, since not every machine lets users mount."""
    os.setgroups([GROUP])  # a worker is root without root's privileges
    for n in range(MOUNTS):
        for path in vandal.saved:
            vandal.restore(vandal.blobs / path)
            os.chown(vandal.blobs / path, MALLORY, GROUP)
        vandal.random.seed(n)
        shutil.rmtree(own, ignore_errors=True)
        with child(MALLORY, vandal), env.mount("demo:1", env=settings) as mnt:
            for i in range(3):
                same(want, snapshot(mnt), f"mount {n}, read {i}")
                with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as f:
                    f.write("1")
    vandal.done.all_happened("the vandal")


def a_mount_above_a_hostile_members_cache(env):
    want = world(env)
    at = shared_folder(env)
    _, mallory = members(env, at)
    mallory.mops("pull", "demo:1")
    mounts_beside(env, want, Vandal(at / str(MALLORY), 2), at / "0",
                  {"MOPS_CACHE_DIR": str(at), "MOPS_CACHE_SHARED": "group"})


def a_mount_above_a_hostile_alternate(env):
    want = world(env)
    theirs, mallory = readable_cache(env, MALLORY)
    mallory.mops("pull", "demo:1")
    own = env.base / "own"
    mounts_beside(env, want, Vandal(theirs, 4), own,
                  {"MOPS_CACHE_DIR": str(own), "MOPS_CACHE_ALTERNATES": str(theirs)})


def a_hostile_owner_of_an_alternate(env):
    want = world(env)
    theirs, mallory = readable_cache(env, MALLORY)
    mallory.mops("pull", "demo:1")
    vandal = Vandal(theirs, 3)
    with child(MALLORY, vandal):
        for n in range(ROUNDS):
            alice = User(env, ALICE, MOPS_CACHE_ALTERNATES=str(theirs))
            alice.vars["MOPS_CACHE_DIR"] = str(alice.path("cache"))
            use(alice, want, n)
    vandal.done.all_happened("the vandal")


def a_sites_cache(env):
    """Root fills it; who reads it copies nothing, and notices damage."""
    want = world(env)
    site, root = readable_cache(env, 0)
    root.mops("pull", "demo:1")
    before = {p: p.lstat() for p in site.rglob("*")}
    stored = {p: p.read_bytes() for p in (env.base / "data").rglob("*") if p.is_file()}
    only_in_caches(env)
    alice = User(env, ALICE, MOPS_CACHE_ALTERNATES=f"{site}:/nowhere")
    own = alice.path("cache")
    alice.vars["MOPS_CACHE_DIR"] = str(own)
    alice.mops("pull", "demo:1")
    for n in range(4):
        use(alice, want, n)
    settings = {"MOPS_CACHE_DIR": str(env.base / "own"), "MOPS_CACHE_ALTERNATES": str(site)}
    with env.mount("demo:1", env=settings) as mnt:
        same(want, snapshot(mnt), "a mount above a site's cache")
        big = site / "blobs/sha256" / want["m/big.bin"][2][:2] / want["m/big.bin"][2]
        if sum(p.stat().st_size for p in own.rglob("*") if p.is_file() and not p.is_symlink()) > MIB:
            raise Failed("a site's blobs were copied")
        after = {p: p.lstat() for p in site.rglob("*")}
        for path, st in before.items():
            now = after.pop(path)
            if (st.st_ino, st.st_mtime_ns, st.st_ctime_ns, st.st_mode) != \
                    (now.st_ino, now.st_mtime_ns, now.st_ctime_ns, now.st_mode):
                raise Failed(f"{path} was touched")
        if after:
            raise Failed(f"new in the site's cache: {list(after)}")
        for path, data in stored.items():
            path.write_bytes(data)
            path.chmod(0o644)
        with open(big, "r+b") as f:  # its administrator errs
            f.seek(MIB + 5)
            f.write(bytes([want["m/big.bin"][2].encode()[0] ^ 0xff]) * 9)
        with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as f:
            f.write("1")
        same(want, snapshot(mnt), "a mount above a damaged cache of a site")
    for n in range(4):
        use(alice, want, n)


def what_hangs_is_not_waited_for(env):
    """A file system that never answers, mounted into what a member offers."""
    want = world(env)
    at = shared_folder(env)
    alice, mallory = members(env, at)
    mallory.mops("pull", "demo:1")
    blobs = at / str(MALLORY) / "blobs/sha256"
    for place in (next(blobs.iterdir()), blobs, at / str(MALLORY)):
        pids = mount_that_hangs(env, place)
        try:
            for n in range(3):
                shutil.rmtree(at / str(ALICE), ignore_errors=True)
                use(alice, want, n)
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            env.run("umount", "-l", place)


def mount_that_hangs(env, place):
    need_fuse()
    # Its own cache, and a bundle that is as good as any.
    env.mopsfs("mount", "demo:1", place, "-o", "allow_other", env={"MOPS_CACHE_DIR": str(env.base / "hung")})
    worker = json.loads(env.mopsfs("status", place, "--json").stdout)["pid"]
    with open(f"/proc/{worker}/stat", encoding="ascii") as f:
        keeper = int(f.read().rsplit(")", 1)[1].split()[1])
    pids = [keeper, worker]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    return pids


def private_caches(env):
    want = world(env)
    top = env.fresh("both")  # any user may make folders there, as in /tmp
    top.chmod(0o1777)
    alice = User(env, ALICE, MOPS_CACHE_DIR=str(top / "alice"))
    mallory = User(env, MALLORY, MOPS_CACHE_DIR=str(top / "alice"))
    alice.mops("pull", "demo:1")
    burglar = Burglar(top / "alice")
    with child(MALLORY, burglar):
        for n in range(4):
            use(alice, want, n)
            mallory.mops("pull", "demo:1", code=None)
            if mallory.mops("pull", "demo:1", code=None).returncode == 0:
                raise Failed("a private cache was used by another user")
    burglar.done.all_happened("the burglar", ("rename", "rmdir", "chmod"))  # he sees no more of it
    alice.vars["MOPS_CACHE_DIR"] = str(top / "mallory")
    mallory.vars["MOPS_CACHE_DIR"] = str(top / "mallory")
    mallory.mops("pull", "demo:1")
    os.chmod(top / "mallory", 0o777)
    alice.mops("pull", "demo:1", code=2)


def folders_that_are_refused(env):
    world(env)
    for mode, owner in ((0o2770, 0), (0o777, 0), (0o3770, MALLORY)):
        alice, _ = members(env, shared_folder(env, mode, owner))
        p = alice.mops("pull", "demo:1", code=2)
        if b"install -d -m 3770" not in p.stderr:
            raise Failed(p.stderr.decode())
    at = shared_folder(env)
    alice, mallory = members(env, at)
    with child(MALLORY, lambda: (at / str(ALICE)).mkdir(exist_ok=True)):
        wait_for("the planted folder", (at / str(ALICE)).exists)
    alice.mops("pull", "demo:1", code=2)
    os.rmdir(at / str(ALICE))
    os.symlink("/tmp", at / str(ALICE))
    alice.mops("pull", "demo:1", code=2)
    os.unlink(at / str(ALICE))
    alice.mops("pull", "demo:1")


run([members_use_what_another_one_has, a_hostile_member_of_the_group, a_mount_above_a_hostile_members_cache,
     a_mount_above_a_hostile_alternate, a_hostile_owner_of_an_alternate, a_sites_cache, what_hangs_is_not_waited_for,
     private_caches, folders_that_are_refused])
