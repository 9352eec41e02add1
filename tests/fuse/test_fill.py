#!/usr/bin/python3
"""Small files of a folder that is being read are in the page cache before they are asked
for, nothing is that nobody seems to want, and nobody waits for whoever puts it there."""
import json
import os
import pathlib
import signal
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
import mopstest  # noqa: E402
from mopstest import Failed, Skip, wait_for  # noqa: E402

FILES = 300  # a folder's
LARGE = 70000  # more than is filled


def content(folder, i):
    return b"%s %d\n" % (folder.encode(), i) * (1 + 37 * i % 700)


def make(env):
    """Two folders of small files, with an empty, a large and an executable one among them."""
    top = env.fresh("ws")
    for folder in "ab":
        (top / folder).mkdir()
        for i in range(FILES):
            (top / folder / f"f{i:03}").write_bytes(content(folder, i))
        (top / folder / "empty").write_bytes(b"")
        mopstest.write_random(top / folder / "large", LARGE, 1)
        (top / folder / "f007").chmod(0o755)
    env.push(top, "demo:1")
    return top


def status(env, at):
    return json.loads(env.mopsfs("status", at, "--json").stdout)


def filled(env, at):
    return status(env, at)["filled"]


def reads(env, at):
    return status(env, at)["requests"]["read"]


def list_folder(path):
    return sorted(e.name for e in os.scandir(path))


def read_some(path, first, count):
    """In the kernel's cache are only the pages that were read: the files are small."""
    for i in range(first, first + count):
        if (path / f"f{i:03}").read_bytes() != content(path.name, i):
            raise Failed(f"{path}/f{i:03}")


def wait_filled(env, at, files):
    """To the last page: what is counted is on its way, and the notifier sleeps when it has come."""
    notifier = notifier_of(status(env, at)["pid"])
    wait_for(f"{files} filled files", lambda: filled(env, at)["files"] >= files)
    wait_for("the notifier", lambda: all(state(notifier) == "S" or time.sleep(0.01) for _ in range(20)))


def a_folder_that_is_read_is_filled(env):
    top = make(env)
    env.mops("pull", "demo:1")
    with env.mount("demo:1", "-o", "io=cached,fill_mb=100") as at:
        for folder in "ab":
            list_folder(at / folder)
        list_folder(at)
        if filled(env, at)["files"]:
            raise Failed("listing filled")
        read_some(at / "a", 0, 4)
        wait_filled(env, at, FILES)
        told = filled(env, at)
        size = sum(len(content("a", i)) for i in range(FILES))
        if told != {"bytes": size, "files": FILES}:
            raise Failed(f"{told}, not {FILES} files of {size} bytes")
        before = reads(env, at)
        mopstest.same(mopstest.snapshot(at / "a"), mopstest.snapshot(top / "a"))
        asked = reads(env, at) - before
        if asked > FILES // 10:  # the large one; and pages may be reclaimed
            raise Failed(f"{asked} reads of a folder that was filled")
        read_some(at / "b", 0, 3)
        if filled(env, at)["files"] != FILES:
            raise Failed("three reads filled")
        before = reads(env, at)
        read_some(at / "b", 3, 1)
        if reads(env, at) == before:
            raise Failed("nobody reads what was not filled")


def a_folder_that_nobody_listed_is_not_filled(env):
    make(env)
    env.mops("pull", "demo:1")
    with env.mount("demo:1", "-o", "io=cached,fill_mb=100") as at:
        read_some(at / "a", 0, 50)
        if filled(env, at)["files"]:
            raise Failed(filled(env, at))


def what_is_not_local_is_filled_when_it_is(env):
    make(env)
    with env.mount("demo:1", "-o", "io=cached,fill_mb=100") as at:
        list_folder(at / "a")
        for i in range(FILES):
            read_some(at / "a", i, 1)
            if filled(env, at)["files"] > FILES // 2:
                break
        wait_for("a filled folder", lambda: filled(env, at)["files"] > FILES // 2)


def no_more_is_filled_than_is_allowed(env):
    """More of the folder than a megabyte: what came first, and then no more."""
    top = make(env)
    for i in range(FILES):
        (top / "a" / f"g{i:03}").write_bytes(content("a", i))
    env.push(top, "demo:2")
    env.mops("pull", "demo:2")
    for limit in 1, 0:
        with env.mount("demo:2", "-o", f"io=cached,fill_mb={limit}") as at:
            list_folder(at / "a")
            read_some(at / "a", FILES - 8, 4)
            if limit:
                wait_for("a full megabyte", lambda: filled(env, at)["bytes"] > 970000)
            read_some(at / "a", FILES - 4, 4)
            if filled(env, at)["bytes"] > limit * 1000000:
                raise Failed(filled(env, at))
            if not limit:
                wait_for("the notifier to end", mopstest.gone(notifier_of(status(env, at)["pid"])))


def a_recording_sees_each_read(env):
    make(env)
    env.mops("pull", "demo:1")
    with env.mount("demo:1", "-o", "fill_mb=100", "--record", env.base / "trace") as at:
        list_folder(at / "a")
        before = reads(env, at)
        read_some(at / "a", 0, FILES)
        if reads(env, at) - before != FILES or filled(env, at)["files"]:
            raise Failed(f"{reads(env, at) - before} reads, {filled(env, at)}")


def children(pid):
    return [int(p) for p in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def notifier_of(worker):
    for pid in children(worker):
        if pathlib.Path(f"/proc/{pid}/comm").read_text() == "mopsfs-notifier\n":
            return pid
    raise Failed("no notifier")


def state(pid):
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]


def reader_of(path, results):
    def read():  # by calls that ask the mount for nothing else
        fd = os.open(path, os.O_RDONLY)
        try:
            results.append(os.read(fd, LARGE))
        except OSError as e:
            results.append(e)
        finally:
            os.close(fd)
    t = threading.Thread(target=read, daemon=True)
    t.start()
    return t


def stuck(env, at):
    """A reader, what it got, and the worker and its notifier that waits for a page which that read has
    locked, and which the worker never answers: no signal reaches it."""
    worker = status(env, at)["pid"]
    notifier = notifier_of(worker)
    list_folder(at / "a")
    mopstest.hang(notifier)
    try:
        read_some(at / "a", 0, 4)
        wait_for("something to fill", lambda: filled(env, at)["files"] > 20)
        mopstest.hang(worker)
        results = []
        reader = reader_of(at / "a/f010", results)
        wait_for("a read in flight", lambda: waits_for_fuse(reader))
    finally:
        os.kill(notifier, signal.SIGCONT)
    wait_for("a notifier that waits", lambda: state(notifier) == "D")
    return reader, results, worker, notifier


def a_worker_dies_beside_a_notifier_that_waits(env):
    """The next worker answers, and both go on."""
    make(env)
    env.mops("pull", "demo:1")
    with env.mount("demo:1", "-o", "io=cached,fill_mb=100") as at:
        if not status(env, at)["worker"]["resends"]:
            raise Skip("this kernel does not ask again")
        reader, results, worker, notifier = stuck(env, at)
        os.kill(worker, signal.SIGKILL)
        reader.join(20)
        if results != [content("a", 10)]:
            raise Failed("the read was not answered")
        wait_for("the notifier to end", mopstest.gone(notifier))
        read_some(at / "a", 0, FILES)
        if status(env, at)["worker"]["restarts"] != 1:
            raise Failed(status(env, at)["worker"])


def a_mount_ends_beside_a_notifier_that_waits(env):
    """Nobody will answer: the reader fails, or gets what the notifier brings, and nothing stays."""
    mopstest.need_root()
    make(env)
    env.mops("pull", "demo:1")
    with env.mount("demo:1", "-o", "io=cached,fill_mb=100") as at:
        told = status(env, at)
        if not told["worker"]["resends"]:
            raise Skip("this kernel does not ask again")
        reader, results, worker, notifier = stuck(env, at)
        os.kill(told["supervisor_pid"], signal.SIGTERM)
        os.kill(worker, signal.SIGKILL)
        reader.join(20)
        if len(results) != 1 or not (isinstance(results[0], OSError) or results[0] == content("a", 10)):
            raise Failed(f"the read ended with {results[:1]}"[:200])
        wait_for("all to end", mopstest.gone(notifier, told["supervisor_pid"]))
        if mopstest.is_mounted(at):
            raise Failed("still mounted")


def waits_for_fuse(thread):
    task = pathlib.Path(f"/proc/self/task/{thread.native_id}")
    return (task / "stat").read_text().rsplit(")", 1)[1].split()[0] == "D"


def a_mount_goes_on_without_its_notifier(env):
    make(env)
    env.mops("pull", "demo:1")
    with env.mount("demo:1", "-o", "io=cached,fill_mb=100") as at:
        os.kill(notifier_of(status(env, at)["pid"]), signal.SIGKILL)
        for folder in "ab":
            list_folder(at / folder)
            read_some(at / folder, 0, FILES)
        if status(env, at)["worker"]["restarts"]:
            raise Failed("the worker died of it")


mopstest.run([
    a_folder_that_is_read_is_filled,
    a_folder_that_nobody_listed_is_not_filled,
    what_is_not_local_is_filled_when_it_is,
    no_more_is_filled_than_is_allowed,
    a_recording_sees_each_read,
    a_worker_dies_beside_a_notifier_that_waits,
    a_mount_ends_beside_a_notifier_that_waits,
    a_mount_goes_on_without_its_notifier,
])
