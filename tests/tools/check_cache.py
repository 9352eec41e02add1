#!/usr/bin/python3
"""Read a cache folder by docs/format.md alone and report what it says wrongly.

    check_cache.py [--rebooted] FOLDER

Nothing of the programs under test is used, so that they cannot agree with
themselves. One line a finding, "KIND: PATH: WHAT"; exit 1 if there is any. Kinds:

    content  a final name whose content is not what the name says
    bit      a map says of a chunk that it is there, and it is not
    mode     a sealed blob that can be written to
    foreign  a name that no program of ours makes
    record   a record that cannot be read: the programs do without it

--rebooted: what only this boot wrote was lost or not; only the durable bits of maps
are believed.
"""
import hashlib
import json
import os
import pathlib
import re
import stat
import struct
import sys
import typing

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from xxh3 import xxh3  # noqa: E402

CHUNK = 1 << 20
HEX = re.compile(r"[0-9a-f]{64}\Z")
SHARD = re.compile(r"[0-9a-f]{2}\Z")
RANDOM = re.compile(r"[0-9a-f]{16}\Z")
HALF_WRITTEN = re.compile(r"\.tmp-[0-9a-f]{16}\Z")
PARTIAL = re.compile(r"([0-9a-f]{64})-([0-9a-f]{64})(\.[0-9a-f]{16})?\.(part|map)\Z")
QUARANTINED = re.compile(r"[0-9a-zA-Z._-]+\.[0-9a-f]{16}\Z")
LEASE = re.compile(rb"mopslease1 sha256:[0-9a-f]{64} (content|meta)\n\Z")
LEASE_NAME = re.compile(r"[0-9]+\.[0-9a-f]{16}\Z")
TO_BLOB = re.compile(r"blobs/sha256/([0-9a-f]{2})/([0-9a-f]{64})\Z")
ROOMS = ("blobs", "partial", "index", "layers", "bundles", "refs", "hashes", "leases", "locks", "quarantine", "tmp", "trash")
LIVE, SEALED, DEAD = 1, 2, 3
WRITTEN, DURABLE = 1, 2


class Finding(typing.NamedTuple):
    kind: str
    path: str
    what: str

    def __str__(self):
        return f"{self.kind}: {self.path}: {self.what}"


def boot_id():
    return pathlib.Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def sha256_file(path):
    h = hashlib.sha256()
    with open(path, "rb") as f:
        while block := f.read(CHUNK):
            h.update(block)
    return h.hexdigest()


class Checker:
    def __init__(self, top, boot):
        self.top = pathlib.Path(top)
        self.boot = boot  # None: no boot's unflushed bits are believed
        self.findings = []
        self.blobs = {}  # hex → is it right?

    def found(self, kind, path, what):
        self.findings.append(Finding(kind, str(path.relative_to(self.top)), what))

    def foreign(self, path, what="is no name of a cache"):
        self.found("foreign", path, what)

    def names(self, path):
        """What is in a folder of ours, which may be missing."""
        try:
            st = os.lstat(path)
        except FileNotFoundError:
            return []
        if not stat.S_ISDIR(st.st_mode):
            self.foreign(path, "is no folder")
            return []
        return [path / name for name in sorted(os.listdir(path))]

    def regular(self, path, size=None):
        try:
            st = os.lstat(path)
        except FileNotFoundError:
            return None  # removed meanwhile
        if not stat.S_ISREG(st.st_mode):
            self.foreign(path, "is no regular file")
            return None
        if size is not None and st.st_size != size:
            self.found("record", path, f"has {st.st_size} bytes, not {size}")
            return None
        return st

    def sharded(self, room):
        """Each file below the "ab" folders of a room."""
        for shard in self.names(self.top / room):
            if not SHARD.match(shard.name):
                self.foreign(shard)
                continue
            for path in self.names(shard):
                if path.name[:2] == shard.name:
                    yield path
                else:
                    self.foreign(path, "is in the wrong folder")

    # Rooms.

    def check_top(self):
        for path in self.names(self.top):
            if path.name == "version":
                if self.regular(path) and path.read_bytes() not in (b"1\n", b""):
                    self.found("record", path, "is not version 1")
            elif path.name == "CACHEDIR.TAG" or HALF_WRITTEN.match(path.name):
                self.regular(path)
            elif path.name == "verify":
                self.check_note(path)
            elif path.name not in ROOMS:
                self.foreign(path)
        for room in ("blobs", "partial"):
            for path in self.names(self.top / room):
                if path.name != "sha256":
                    self.foreign(path)

    def check_note(self, path):
        """A scan's record may end anywhere; what is behind a damaged part is not believed."""
        if self.regular(path):
            data = path.read_bytes()
            if len(data) < 32 or data[:8] != b"MOPSVFY1" or struct.unpack_from("<Q", data, 24)[0] != xxh3(data[:24]):
                self.found("record", path, "is damaged")

    def check_blobs(self):
        for path in self.sharded("blobs/sha256"):
            if not HEX.match(path.name):
                self.foreign(path)
                continue
            st = self.regular(path)
            if not st:
                continue
            if st.st_mode & 0o222:
                self.found("mode", path, f"has mode {st.st_mode & 0o7777:o}")
            got = sha256_file(path)
            self.blobs[path.name] = got == path.name
            if got != path.name:
                vouched = ", and its index record vouches for it" if self.vouched(path.name, st) else ""
                self.found("content", path, f"{st.st_size} bytes that hash to {got}{vouched}")

    def index_record(self, path, hexdigest):
        """(dev, ino, size, mtime, ctime), or why not."""
        data = path.read_bytes()
        if len(data) != 104 or data[:8] != b"MOPSSTA1" or data[8:40].hex() != hexdigest:
            return None
        if xxh3(data[:96]) != struct.unpack_from("<Q", data, 96)[0]:
            return None
        dev, ino, size, ms, cs, mn, cn = struct.unpack_from("<5Q2I", data, 40)
        return dev, ino, size, ms * 10**9 + mn, cs * 10**9 + cn

    def vouched(self, hexdigest, st):
        path = self.top / "index" / hexdigest[:2] / hexdigest
        now = (st.st_dev, st.st_ino, st.st_size, st.st_mtime_ns, st.st_ctime_ns)
        return path.is_file() and self.index_record(path, hexdigest) == now

    def check_index(self):
        for path in self.sharded("index"):
            if not HEX.match(path.name):
                self.foreign(path)
            elif self.regular(path) and self.index_record(path, path.name) is None:
                self.found("record", path, "is damaged")

    def check_partials(self):
        for path in self.sharded("partial/sha256"):
            m = PARTIAL.match(path.name)
            if not m:
                self.foreign(path)
            elif self.regular(path) and m[4] == "map":
                self.check_map(path, m[1], m[2])

    def check_map(self, path, digest, key):
        data = path.read_bytes()
        what = self.map_damage(data, digest, key)
        if what:
            self.found("record", path, what)
            return
        size, n = struct.unpack_from("<QI", data, 16)
        boot = data[96:136].split(b"\0")[0].decode("ascii", "replace")
        ino, = struct.unpack_from("<Q", data, 144)
        part = path.with_suffix(".part")
        try:
            st = os.lstat(part)
        except FileNotFoundError:
            return  # a map of nothing: its opener deletes it
        if data[160] != LIVE or st.st_ino != ino or st.st_size != size or not stat.S_ISREG(st.st_mode):
            return  # nothing is believed of it
        believed = DURABLE | (WRITTEN if boot == self.boot else 0)
        states = data[192 + 32 * n:]
        with open(part, "rb") as f:
            for i in range(n):
                if not states[i] & believed:
                    continue
                f.seek(i * CHUNK)
                if hashlib.sha256(f.read(CHUNK)).digest() != data[192 + 32 * i:224 + 32 * i]:
                    name = "durable" if states[i] & DURABLE else "written"
                    self.found("bit", path, f"chunk {i} of {n} is marked {name} and has other bytes")

    @staticmethod
    def map_damage(data, digest, key):
        """What makes it no map, or None."""
        if len(data) < 192 or data[:8] != b"MOPSMAP1":
            return "is no map"
        version, chunk = struct.unpack_from("<2I", data, 8)
        size, n, zero = struct.unpack_from("<Q2I", data, 16)
        if xxh3(data[:152]) != struct.unpack_from("<Q", data, 152)[0]:
            return "its header's checksum is wrong"
        if version != 1 or chunk != CHUNK or zero or n != -(-size // CHUNK) or len(data) != 192 + 33 * n:
            return "its sizes do not fit each other"
        if data[32:64].hex() != digest or data[64:96].hex() != key:
            return "it is of another content than its name says"
        listed = hashlib.sha256(data[192:192 + 32 * n]).digest()
        if hashlib.sha256(struct.pack("<2Q", size, CHUNK) + listed).hexdigest() != key:
            return "its chunk list is not the one of its key"
        if data[160] not in (LIVE, SEALED, DEAD):
            return f"its state is {data[160]}"
        if any(s > (WRITTEN | DURABLE) for s in data[192 + 32 * n:]):
            return "it has unknown bits"
        return None

    def link_to_blob(self, path, depth):
        """The digest that a symlink to a blob names, from @depth folders below the top."""
        if not path.is_symlink():
            self.foreign(path, "is no symlink")
            return None
        target = os.readlink(path)
        m = TO_BLOB.match(target[3 * depth:]) if target.startswith("../" * depth) else None
        if not m or m[2][:2] != m[1]:
            self.found("content", path, f"leads to '{target}', which is no blob")
            return None
        return m[2]

    def blob_bytes(self, hexdigest):
        """A blob that is there and right, else None."""
        if not self.blobs.get(hexdigest):
            return None
        return (self.top / "blobs/sha256" / hexdigest[:2] / hexdigest).read_bytes()

    def check_bundles(self):
        for bundle in self.names(self.top / "bundles"):
            if not HEX.match(bundle.name):
                self.foreign(bundle)
                continue
            for path in self.names(bundle):
                if path.name == "manifest":
                    if self.link_to_blob(path, 2) not in (None, bundle.name):
                        self.found("content", path, "leads to another manifest")
                elif path.name == "root":
                    self.check_root(path, bundle.name)
                elif path.name == "layers":
                    self.check_bundle_layers(path)
                elif path.name in ("used", "pinned"):
                    self.regular(path)
                else:
                    self.foreign(path)

    def check_root(self, path, manifest):
        to = self.link_to_blob(path, 2)
        doc = self.blob_bytes(manifest)
        if to and doc and json.loads(doc)["config"]["digest"] != "sha256:" + to:
            self.found("content", path, "leads to another root than its manifest's")

    def check_bundle_layers(self, folder):
        for path in self.names(folder):
            if not HEX.match(path.name) or not path.is_symlink():
                self.foreign(path)
            elif os.readlink(path) != f"../../../layers/{path.name}":
                self.found("content", path, f"leads to '{os.readlink(path)}'")

    def check_layers(self):
        for layer in self.names(self.top / "layers"):
            if not HEX.match(layer.name):
                self.foreign(layer)
                continue
            tree = self.blob_bytes(layer.name)
            files = tree_files(tree) if tree else None
            for at, dirs, names in os.walk(layer):
                for name in names + [d for d in dirs if os.path.islink(os.path.join(at, d))]:
                    path = pathlib.Path(at, name)
                    rel = path.relative_to(layer)
                    to = self.link_to_blob(path, 1 + len(rel.parts))
                    if to and files is not None and files.get(os.fsencode(rel)) != to:
                        self.found("content", path, "leads to another blob than its tree says")

    def check_refs(self):
        for path in self.names(self.top / "refs"):
            if HALF_WRITTEN.match(path.name):
                continue
            if not HEX.match(path.name):
                self.foreign(path)
                continue
            if not self.regular(path):
                continue
            head, _, body = path.read_bytes().partition(b"\n")
            if not re.match(rb"mopsref1 [0-9a-f]{16}\Z", head) or not re.match(rb"sha256:[0-9a-f]{64}\n", body) or \
                    int(head[9:], 16) != xxh3(body):
                self.found("record", path, "is damaged")
            elif hashlib.sha256(body[72:]).hexdigest() != path.name:
                self.found("content", path, "is of another reference")

    def check_hashes(self):
        for path in self.names(self.top / "hashes"):
            if not HEX.match(path.name):
                self.foreign(path)
            elif self.regular(path):
                data = path.read_bytes()
                if data[:8] != b"MOPSHSH1" or len(data) < 16 or struct.unpack_from("<Q", data, 8)[0] != xxh3(data[16:]):
                    self.found("record", path, "is damaged")

    def check_rest(self):
        for path in self.names(self.top / "leases"):
            if not LEASE_NAME.match(path.name):
                self.foreign(path)
            elif self.regular(path) and not LEASE.match(path.read_bytes()):
                self.found("record", path, "is damaged")
        for path in self.names(self.top / "locks"):
            if path.name not in ("claim", "chunk", "gate", "gc", "verify"):
                self.foreign(path)
        for room, pattern in (("tmp", RANDOM), ("trash", RANDOM), ("quarantine", QUARANTINED)):
            for path in self.names(self.top / room):
                if not pattern.match(path.name):
                    self.foreign(path)


def tree_files(tree):
    """path → hex digest of each regular file of a tree, by docs/format.md."""
    (_, _, nodes_at, nodes_len), (_, _, names_at, _) = struct.iter_unpack("<IIQQ", tree[40:88])
    paths, out = [b""], {}
    for i in range(1, nodes_len // 72):
        off, length, kind, _, parent = struct.unpack_from("<IHBBI", tree, nodes_at + 72 * i)
        name = tree[names_at + off:names_at + off + length]
        path = paths[parent] + b"/" + name if parent else name
        paths.append(path)
        if kind == 2:
            out[path] = tree[nodes_at + 72 * i + 40:nodes_at + 72 * i + 72].hex()
    return out


def check_once(top, rebooted):
    c = Checker(top, None if rebooted else boot_id())
    c.check_top()
    c.check_blobs()
    c.check_index()
    c.check_partials()
    c.check_bundles()
    c.check_layers()
    c.check_refs()
    c.check_hashes()
    c.check_rest()
    return c.findings


def check(top, rebooted=False):
    """The findings, those that matter most first."""
    order = ("content", "bit", "mode", "foreign", "record")
    for left in reversed(range(20)):
        try:
            return sorted(check_once(top, rebooted), key=lambda f: (order.index(f.kind), f.path))
        except FileNotFoundError:  # someone is at work there, and removed it under our hands
            if not left:
                raise
    raise AssertionError


def main():
    args = [a for a in sys.argv[1:] if a != "--rebooted"]
    if len(args) != 1 or args[0].startswith("-") or not os.path.isdir(args[0]):
        sys.exit("usage: check_cache.py [--rebooted] FOLDER")
    findings = check(args[0], "--rebooted" in sys.argv[1:])
    for finding in findings:
        print(finding)
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()
