#!/usr/bin/python3
"""The checker finds planted damage of each kind, and none where there is none.

It is the judge of the stress tests: here it is judged."""
import hashlib
import os
import pathlib
import shutil
import struct
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from check_cache import CHUNK, boot_id, check  # noqa: E402
from mopstest import Failed, run, write_random  # noqa: E402
from xxh3 import xxh3  # noqa: E402


def filled(env):
    """A cache through which a bundle was pushed and pulled."""
    src = env.fresh("src")
    for i in range(40):
        write_random(src / f"d/f{i:02}", 50 + 997 * i, i)
    write_random(src / "big/weights.bin", 3 * CHUNK + 1234, 100)
    write_random(src / "big/exact.bin", CHUNK, 101)
    (src / "d/link").symlink_to("f01")
    ref = f"oci:{env.base}/layout:x:1"
    for path in src.rglob("*"):  # old enough to be remembered
        os.utime(path, (1, 1), follow_symlinks=False)
    env.mops("push", src, "--to", ref, "-q")
    env.mops("pull", ref, "-q")
    return env.cache()


def expect(cache, kind, *parts, rebooted=False):
    """Exactly one finding, of this kind, whose text has all of @parts."""
    findings = check(cache, rebooted)
    if len(findings) != 1 or findings[0].kind != kind or any(p not in str(findings[0]) for p in parts):
        raise Failed(f"wanted one '{kind}' with {parts}, got {[str(f) for f in findings]}")


def expect_none(cache, rebooted=False):
    findings = check(cache, rebooted)
    if findings:
        raise Failed(f"nothing is wrong, but: {[str(f) for f in findings]}")


def one(cache, pattern):
    return sorted(p for p in cache.glob(pattern) if p.is_symlink() or p.is_file())[0]


class Changed:
    """A file with other bytes, and as it was at the end."""

    def __init__(self, path, change):
        self.path, self.change = path, change

    def __enter__(self):
        self.was, self.mode = self.path.read_bytes(), self.path.stat().st_mode & 0o7777
        self.write(self.change(bytearray(self.was)))
        return self.path

    def write(self, data):
        self.path.chmod(0o600)
        self.path.write_bytes(data)
        self.path.chmod(self.mode)

    def __exit__(self, *_):
        self.write(self.was)


def flip(at, bit=1):
    def change(data):
        data[at] ^= bit
        return data
    return change


def a_sound_cache(env):
    cache = filled(env)
    expect_none(cache)
    rooms = ["blobs/sha256/*/*", "index/*/*", "bundles/*/manifest", "bundles/*/layers/*", "refs/*", "layers/*/big/*"]
    for pattern in rooms:
        if not list(cache.glob(pattern)):
            raise Failed(f"nothing in {pattern}: the tests below would prove nothing")


def every_bit_of_a_blob(env):
    cache = filled(env)
    for blob in sorted(cache.glob("blobs/sha256/*/*")):
        size = blob.stat().st_size
        for at in (0, size // 2, size - 1):
            with Changed(blob, flip(at, 1 << at % 8)):
                expect(cache, "content", blob.name)
        with Changed(blob, lambda data: data[:-1]):
            expect(cache, "content", blob.name)
        with Changed(blob, lambda data: data + b"x"):
            expect(cache, "content", blob.name)
        with Changed(blob, lambda data: b""):
            expect(cache, "content", blob.name)
    expect_none(cache)


def a_record_that_vouches(env):
    """The worst: the index says that the wrong bytes were hashed."""
    cache = filled(env)
    blob = one(cache, "blobs/sha256/*/*")
    index = cache / "index" / blob.name[:2] / blob.name
    with Changed(blob, flip(7)):
        st = blob.stat()
        record = bytearray(index.read_bytes())
        struct.pack_into("<5Q2I", record, 40, st.st_dev, st.st_ino, st.st_size, st.st_mtime_ns // 10**9,
                         st.st_ctime_ns // 10**9, st.st_mtime_ns % 10**9, st.st_ctime_ns % 10**9)
        struct.pack_into("<Q", record, 96, xxh3(bytes(record[:96])))
        index.write_bytes(record)
        expect(cache, "content", blob.name, "vouches")


def every_byte_of_the_records(env):
    cache = filled(env)
    for pattern in ("index/*/*", "refs/*", "hashes/*"):
        for path in sorted(cache.glob(pattern))[:1]:
            for at in range(min(path.stat().st_size, 300)):
                with Changed(path, flip(at)):
                    expect(cache, "record", path.name)
            with Changed(path, lambda data: data[:-1]):
                expect(cache, "record", path.name)
    with Changed(cache / "version", lambda data: b"2\n"):
        expect(cache, "record", "version")


def names_that_lead_astray(env):
    cache = filled(env)
    blobs = sorted(cache.glob("blobs/sha256/*/*"))
    for pattern in ("bundles/*/manifest", "bundles/*/root", "layers/*/big/weights.bin", "bundles/*/layers/*"):
        link = one(cache, pattern)
        was = os.readlink(link)
        other = next(b.name for b in blobs if b.name != was[-64:])
        for target in ("/etc/passwd", "../" + was, was[:-65] + "/" + other, was[:-67] + other[:2] + "/" + other):
            link.unlink()
            link.symlink_to(target)
            expect(cache, "content", link.name)
        link.unlink()
        link.symlink_to(was)
    ref = one(cache, "refs/*")
    ref.rename(ref.with_name("0" * 64))
    expect(cache, "content", "0" * 64, "another reference")
    ref.with_name("0" * 64).rename(ref)
    expect_none(cache)


def foreign_names(env):
    cache = filled(env)
    blob = one(cache, "blobs/sha256/*/*")
    for name in ("x", "blobs/x", "blobs/sha256/x", f"blobs/sha256/{blob.name[:2]}/x", f"blobs/sha256/{blob.name[:2]}/{'A' * 64}",
                 "partial/x", f"partial/sha256/{blob.name[:2]}/x", f"partial/sha256/{blob.name[:2]}/{blob.name}.part",
                 f"index/{blob.name[:2]}/x", "layers/x", "bundles/x", "refs/x", "hashes/x", "leases/x", "locks/x", "tmp/x",
                 "trash/x", "quarantine/x", f"bundles/{one(cache, 'bundles/*/manifest').parent.name}/x"):
        path = cache / name
        made = not path.parent.exists()
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")
        expect(cache, "foreign", path.name)
        path.unlink()
        if made:
            path.parent.rmdir()
    # A blob where nobody looks for it, or that is no file at all.
    there = blob.parent / ("0" * 64 if blob.name[:2] != "00" else "1" * 64)
    shutil.copy2(blob, there)
    expect(cache, "foreign", "wrong folder")
    there.unlink()
    aside = env.base / "aside"
    blob.rename(aside)
    for make in (lambda: blob.symlink_to(aside), blob.mkdir, lambda: os.mkfifo(blob)):
        make()
        expect(cache, "foreign", blob.name)
        blob.rmdir() if blob.is_dir() and not blob.is_symlink() else blob.unlink()
    aside.rename(blob)
    blob.chmod(0o644)
    expect(cache, "mode", blob.name)
    blob.chmod(0o444)
    expect_none(cache)


def plant_partial(cache, states, boot, size=3 * CHUNK + 77):
    """A partial by the book, all of whose chunks are right."""
    data = os.urandom(size)
    pieces = [data[i:i + CHUNK] for i in range(0, size, CHUNK)]
    listed = b"".join(hashlib.sha256(p).digest() for p in pieces)
    key = hashlib.sha256(struct.pack("<2Q", size, CHUNK) + hashlib.sha256(listed).digest())
    whole = hashlib.sha256(data)
    folder = cache / "partial/sha256" / whole.hexdigest()[:2]
    folder.mkdir(exist_ok=True)
    part = folder / f"{whole.hexdigest()}-{key.hexdigest()}.part"
    part.write_bytes(data)
    head = b"MOPSMAP1" + struct.pack("<2IQ2I", 1, CHUNK, size, len(pieces), 0) + whole.digest() + key.digest() + \
        boot.encode().ljust(40, b"\0") + struct.pack("<2Q", 0, part.stat().st_ino)
    head += struct.pack("<Q", xxh3(head))
    part.with_suffix(".map").write_bytes(head + bytes([1] + [0] * 31) + listed + bytes(states))
    return part


def bits_that_lie(env):
    cache = filled(env)
    part = plant_partial(cache, (1, 2, 3, 0), boot_id())
    expect_none(cache)
    expect_none(cache, rebooted=True)
    for i, word in enumerate(("written", "durable", "durable")):
        with Changed(part, flip(i * CHUNK + 5)):
            expect(cache, "bit", f"chunk {i} of 4", word)
    with Changed(part, flip(3 * CHUNK + 5)):  # of which nothing is said
        expect_none(cache)
    # What another boot wrote without a flush is not believed; the rest is.
    with Changed(part, flip(5)):
        expect_none(cache, rebooted=True)
    with Changed(part, flip(2 * CHUNK)):
        expect(cache, "bit", "chunk 2 of 4", rebooted=True)
    part.unlink()
    expect_none(cache)


def maps_that_are_none(env):
    cache = filled(env)
    part = plant_partial(cache, (1, 2, 3, 0), "another boot")
    chart = part.with_suffix(".map")
    for at in list(range(160)) + [192, 192 + 127]:
        with Changed(chart, flip(at)):
            expect(cache, "record", chart.name)
    with Changed(chart, flip(160, 0x40)):
        expect(cache, "record", "state")
    with Changed(chart, flip(192 + 128, 0x40)):
        expect(cache, "record", "unknown bits")
    for change in (lambda d: d[:-1], lambda d: d + b"\0", lambda d: b""):
        with Changed(chart, change):
            expect(cache, "record", chart.name)
    # One that counts for another file, or was given up, claims nothing.
    with Changed(part, flip(CHUNK)), Changed(chart, lambda d: d[:160] + b"\3" + d[161:]):
        expect_none(cache)
    with Changed(part, lambda d: d[:-1]):
        expect_none(cache)


run([a_sound_cache, every_bit_of_a_blob, a_record_that_vouches, every_byte_of_the_records, names_that_lead_astray,
     foreign_names, bits_that_lie, maps_that_are_none])
