#!/usr/bin/python3
"""A second writer of bundles and archives, made from docs/format.md alone.

    format_oracle.py FORMAT_TOOL    compare it with the first one; prints TAP
    format_oracle.py --update       write golden/ anew
    format_oracle.py --seeds DIR    write seeds for the fuzz targets

Nothing here is shared with the code under test but the page that both follow.
"""

import base64
import hashlib
import io
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile

MIB = 1 << 20
CHUNK = MIB
PART = 5 << 30
NONE = 0xFFFFFFFF
NO_CHUNKS = (1 << 64) - 1
TREE_TYPE = "application/vnd.modelops.tree.v1"
PACK_TYPE = "application/vnd.oci.image.layer.v1.tar"
FILE_TYPE = "application/octet-stream"
TITLE = "org.opencontainers.image.title"
FILEPATH = "org.cncf.model.filepath"
TIERS = {None: 0, "hot": 1, "cool": 2, "archive": 3}
BLOB, RUN, PACK, EXTERNAL, PARTS = 1, 2, 3, 4, 5
DIR, FILE, LINK = 1, 2, 3
GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden")


def sha(data):
    return hashlib.sha256(data).digest()


def text(digest):
    return "sha256:" + digest.hex()


def chunks_of(data, size=CHUNK):
    if len(data) <= size:
        return []
    return [sha(data[i:i + size]) for i in range(0, len(data), size)]


def canonical(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"),
                      ensure_ascii=False).encode()


# Deterministic tar.

def octal(value, width):
    return b"%0*o\0" % (width - 1, value)


def ustar(name, mode, size, kind, link=b"", prefix=b""):
    block = (name.ljust(100, b"\0") + octal(mode, 8) + octal(0, 8)
             + octal(0, 8) + octal(size, 12) + octal(0, 12) + b" " * 8
             + kind + link.ljust(100, b"\0") + b"ustar\x0000" + b"\0" * 80
             + prefix.ljust(155, b"\0") + b"\0" * 12)
    assert len(block) == 512
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def split(name):
    """(name, prefix), or None when USTAR cannot hold it."""
    if len(name) <= 100:
        return name, b""
    for i, c in enumerate(name):
        if c == ord("/") and 1 <= len(name) - i - 1 <= 100:
            return (name[i + 1:], name[:i]) if i <= 155 else None
    return None


def pad(data, to=512):
    return data + b"\0" * (-len(data) % to)


def pax_record(key, value):
    body = b" " + key + b"=" + value + b"\n"
    n = len(body)
    while n != len(str(n)) + len(body):
        n = len(str(n)) + len(body)
    return str(n).encode() + body


def tar_header(kind, path, executable=False, size=0, target=None):
    name = path.encode() + (b"/" if kind == DIR else b"")
    link = target.encode() if target else b""
    mode = {DIR: 0o755, LINK: 0o777, FILE: 0o755 if executable else 0o644}
    records = b""
    fits = split(name)
    if not fits:
        records += pax_record(b"path", name)
        fits = (b"@LongPath/" if kind == DIR else b"@LongPath", b"")
    if len(link) > 100:
        records += pax_record(b"linkpath", link)
        link = b"@LongLink"
    if size >= 8 << 30:
        records += pax_record(b"size", str(size).encode())
        size = 0
    head = b""
    if records:
        head = ustar(b"././@PaxHeader", 0, len(records), b"x") + pad(records)
    return head + ustar(fits[0], mode[kind],
                        size, {DIR: b"5", FILE: b"0", LINK: b"2"}[kind],
                        link, fits[1])


def tar_end(data):
    return pad(data + b"\0" * 1024, 10240)


def parents(path):
    parts = path.split("/")
    return ["/".join(parts[:i]) for i in range(1, len(parts))]


# Workspaces.

class Entry:
    def __init__(self, kind, data=b"", executable=False, target=None):
        self.kind = kind
        self.data = data
        self.executable = executable
        self.target = target
        self.digest = sha(data) if kind == FILE else bytes(32)


class Workspace:
    """Layer names with their top folders, roles, externals and entries."""

    def __init__(self, layers, roles, externals=(), part_size=PART):
        self.layers = layers        # [(name, folder)]
        self.roles = roles          # {name: [layer names, any order]}
        self.externals = externals  # [(folder, storage, tier)]
        self.part_size = part_size
        self.entries = {}           # path -> Entry

    def file(self, path, data, executable=False):
        self.entries[path] = Entry(FILE, data, executable)

    def link(self, path, target):
        self.entries[path] = Entry(LINK, target=target)

    def dir(self, path):
        self.entries[path] = Entry(DIR)

    def layer_of(self, path):
        for i, (_, folder) in enumerate(self.layers):
            if path.startswith(folder + "/"):
                return i
        raise KeyError(path)

    def external(self, path):
        for folder, storage, tier in self.externals:
            if path.startswith(folder + "/"):
                return storage, tier
        return None

    def bundle_file(self):
        doc = {"bundle": {
            "layers": [{"name": n, "paths": [f + "/**"]}
                       for n, f in self.layers],
            "roles": self.roles}}
        if self.externals:
            rules = []
            for folder, storage, tier in self.externals:
                rule = {"pattern": folder + "/**", "storage": storage}
                if tier:
                    rule["tier"] = tier
                rules.append(rule)
            doc["external_storage"] = rules
        return json.dumps(doc, ensure_ascii=False)  # JSON is YAML

    def write(self, top):
        with open(os.path.join(top, ".mops-bundle.yaml"), "w") as f:
            f.write(self.bundle_file())
        for path, e in self.entries.items():
            full = os.path.join(top, path)
            os.makedirs(full if e.kind == DIR else os.path.dirname(full),
                        exist_ok=True)
            if e.kind == LINK:
                os.symlink(e.target, full)
            elif e.kind == FILE:
                with open(full, "wb") as f:
                    zeros = len(e.data) - len(e.data.lstrip(b"\0"))
                    f.truncate(len(e.data))  # what is zero stays a hole
                    f.seek(zeros)
                    f.write(e.data[zeros:])
                os.chmod(full, 0o755 if e.executable else 0o644)


# Where files go.

class Source:
    def __init__(self, kind, digest, size, chunks, tier=0, uri="", parts=()):
        self.kind, self.digest, self.size = kind, digest, size
        self.chunks, self.tier, self.uri = chunks, tier, uri
        self.parts = parts  # [(digest, size)]

    def key(self):
        return self.kind, self.digest, self.size, self.uri, self.tier


def storage_uri(storage, digest):
    h = digest.hex()
    return "%s/sha256/%s/%s" % (storage.rstrip("/"), h[:2], h)


def rank(ws):
    """Digests of the contents that are blobs of their own."""
    contents = {e.digest: len(e.data) for p, e in ws.entries.items()
                if e.kind == FILE and len(e.data) >= MIB
                and not ws.external(p)}
    own, total = set(), 0
    for digest, size in sorted(contents.items(), key=lambda x: (-x[1], x[0])):
        total += -(-size // ws.part_size)
        if total > 256:
            break
        own.add(digest)
    return own


def cut(files, k):
    """Lists of (path, entry), one a pack."""
    packs, now, total = [], [], 0
    for path, e in files:
        weight = 512 + -(-len(e.data) // 512) * 512
        total += weight
        now.append((path, e))
        h = int.from_bytes(e.digest[:8], "big")
        if (total >= 8 * MIB << k and h >> (40 - k) < weight) or \
                total >= 64 * MIB << k:
            packs.append(now)
            now, total = [], 0
    return packs + [now] if now else packs


def make_pack(files):
    """The tar, and where each content lies in it."""
    entries = dict(files)
    for path, _ in files:
        for up in parents(path):
            entries[up] = None
    out, where = b"", {}
    for path in sorted(entries, key=str.encode):
        e = entries[path]
        if e is None:
            out += tar_header(DIR, path)
            continue
        out += tar_header(FILE, path, e.executable, len(e.data))
        where[e.digest] = len(out)
        out += pad(e.data)
    return tar_end(out), where


def place(ws):
    """(path -> (source, offset), packs by layer)."""
    own = rank(ws)
    places = {}
    packed = [{} for _ in ws.layers]  # digest -> (path, entry)
    for path in sorted(ws.entries, key=str.encode):
        e = ws.entries[path]
        if e.kind != FILE or not e.data:
            continue
        ext, size = ws.external(path), len(e.data)
        if ext:
            places[path] = (Source(EXTERNAL, e.digest, size,
                                   chunks_of(e.data), TIERS[ext[1]],
                                   storage_uri(ext[0], e.digest)), 0)
        elif e.digest in own:
            parts = [e.data[i:i + ws.part_size]
                     for i in range(0, size, ws.part_size)]
            parts = [(sha(p), len(p)) for p in parts]
            kind = RUN if len(parts) > 1 else BLOB
            places[path] = (Source(kind, e.digest, size, chunks_of(e.data),
                                   parts=parts if kind == RUN else ()), 0)
        else:
            packed[ws.layer_of(path)].setdefault(e.digest, (path, e))
    for k in range(5):
        cuts = [cut(list(p.values()), k) for p in packed]
        if sum(map(len, cuts)) <= 112:
            break
    packs = []
    for layer, of_layer in enumerate(cuts):
        at = {}
        packs.append([])
        for files in of_layer:
            data, where = make_pack(files)
            src = Source(PACK, sha(data), len(data), chunks_of(data))
            packs[-1].append(data)
            at.update({d: (src, off) for d, off in where.items()})
        for path, e in ws.entries.items():
            if e.kind == FILE and e.data and path not in places and \
                    ws.layer_of(path) == layer:
                places[path] = at[e.digest]
    return places, packs


# Trees.

class Node:
    def __init__(self, entry, layer, where=(None, 0)):
        self.entry, self.layer = entry, layer
        self.source, self.offset = where


def layer_nodes(ws, layer, places):
    nodes = {}
    for path, e in ws.entries.items():
        if ws.layer_of(path) != layer:
            continue
        nodes[path] = Node(e, 0, places.get(path, (None, 0)))
        for up in parents(path):
            nodes.setdefault(up, Node(Entry(DIR), 0))
    return nodes


def merge(layers):
    nodes = {}
    for i, layer in enumerate(layers):
        for path, n in layer.items():
            nodes.setdefault(path, Node(n.entry, i, (n.source, n.offset)))
    return nodes


class Names:
    def __init__(self):
        self.data, self.where = b"", {}

    def put(self, s):
        b = s.encode()
        if b and b not in self.where:
            self.where[b] = len(self.data)
            self.data += b
        return self.where.get(b, 0), len(b)


def encode_tree(nodes):
    children = {"": []}
    for path, n in nodes.items():
        if n.entry.kind == DIR:
            children.setdefault(path, [])
        children.setdefault(path.rpartition("/")[0], []).append(path)
    nodes = dict(nodes)
    nodes[""] = Node(Entry(DIR), 0)
    order = [""]
    for path in order:  # grows as we go
        if nodes[path].entry.kind == DIR:
            order += sorted(children[path],
                            key=lambda p: p.rpartition("/")[2].encode())
    index = {path: i for i, path in enumerate(order)}

    names, records, sources, n_records, first = Names(), b"", {}, 0, 1
    for path in order:
        n = nodes[path]
        if n.source and n.source.key() not in sources:
            sources[n.source.key()] = (n_records, n.source)
            n_records += 1 + len(n.source.parts)
        name = names.put(path.rpartition("/")[2])
        e, target_len, flags, source = n.entry, 0, 0, NONE
        if e.kind == DIR:
            body = struct.pack("<IIQ", first, len(children[path]), 0)
            first += len(children[path])
        elif e.kind == LINK:
            target, target_len = names.put(e.target)
            body = struct.pack("<IIQ", target, 0, 0)
        else:
            flags = int(e.executable)
            body = struct.pack("<QQ", len(e.data), n.offset)
            if n.source:
                source = sources[n.source.key()][0]
        up = index[path.rpartition("/")[0]]
        records += struct.pack("<IHBBIHH", *name, e.kind, flags, up, n.layer,
                               target_len)
        records += body + struct.pack("<II", source, 0) + e.digest

    source_records, chunks = b"", b""
    for _, s in sources.values():
        uri = names.put(s.uri)
        at = len(chunks) // 32 if s.chunks else NO_CHUNKS
        source_records += struct.pack("<BBHIQ32sQII", s.kind, s.tier, 0,
                                      len(s.parts), s.size, s.digest, at, *uri)
        for digest, size in s.parts:
            source_records += struct.pack("<BBHIQ32sQII", PARTS, 0, 0, 0,
                                          size, digest, NO_CHUNKS, 0, 0)
        chunks += b"".join(s.chunks)

    out = b"MOPSTREE" + struct.pack("<IIQQII", 1, 72, 0, 0, 4, 0)
    offset, body = 136, b""
    for i, data in enumerate((records, names.data, source_records, chunks)):
        out += struct.pack("<IIQQ", i + 1, 0, offset + len(body), len(data))
        body += pad(data, 8)
    return out + body


# The bundle.

class Bundle:
    def __init__(self, ws):
        self.blobs = {}
        self.descriptors = []
        places, packs = place(ws)
        layers = [layer_nodes(ws, i, places) for i in range(len(ws.layers))]
        names = [n for n, _ in ws.layers]
        root = {"chunkSize": CHUNK, "layers": [], "partSize": PART,
                "planVersion": 1, "requires": [], "roles": [],
                "schemaVersion": 1, "totals": {"bytes": 0, "files": 0}}
        for i, nodes in enumerate(layers):
            tree = self.tree(encode_tree(nodes), ".mops/tree/" + names[i])
            root["layers"].append(self.count(names[i], nodes, tree))
        for role in sorted(ws.roles, key=str.encode):
            members = [n for n in names if n in ws.roles[role]]
            if len(members) == 1:
                tree = root["layers"][names.index(members[0])]["tree"]
            else:
                merged = merge([layers[names.index(n)] for n in members])
                tree = self.tree(encode_tree(merged), ".mops/tree/+" + role)
            root["roles"].append({"layers": members, "name": role,
                                  "tree": tree})
        for key in root["totals"]:
            root["totals"][key] = sum(x[key] for x in root["layers"])
        for i, of_layer in enumerate(packs):
            for k, data in enumerate(of_layer):
                self.add(data, PACK_TYPE,
                         ".mops/packs/%s-%04d.tar" % (names[i], k))
        self.add_files(ws, places)
        self.root = canonical(root)
        config = {"digest": text(sha(self.root)), "size": len(self.root),
                  "mediaType":
                  "application/vnd.modelops.bundle.root.v1+json"}
        if len(self.root) <= 65536:
            config["data"] = base64.b64encode(self.root).decode()
        self.blobs[sha(self.root)] = self.root
        self.manifest = canonical({
            "artifactType": "application/vnd.modelops.bundle.v1",
            "config": config, "layers": self.descriptors,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "schemaVersion": 2})
        self.digest = text(sha(self.manifest))

    def add(self, data, media_type, title, filepath=False):
        digest = sha(data)
        if digest in self.blobs:
            return
        self.blobs[digest] = data
        notes = {TITLE: title}
        if filepath:
            notes[FILEPATH] = title
        self.descriptors.append({"annotations": notes, "digest": text(digest),
                                 "mediaType": media_type, "size": len(data)})

    def tree(self, data, title):
        self.add(data, TREE_TYPE, title)
        ref = {"digest": text(sha(data)), "mediaType": TREE_TYPE,
               "size": len(data)}
        if len(data) > CHUNK:
            ref["chunks"] = [text(d) for d in chunks_of(data)]
        return ref

    @staticmethod
    def count(name, nodes, tree):
        by_place = {"blob": 0, "external": 0, "pack": 0}
        names = {BLOB: "blob", RUN: "blob", PACK: "pack",
                 EXTERNAL: "external"}
        files = [n for n in nodes.values() if n.entry.kind == FILE]
        for n in files:
            if n.source:
                by_place[names[n.source.kind]] += len(n.entry.data)
        return {"bytes": sum(len(n.entry.data) for n in files),
                "bytesByPlace": by_place, "files": len(files), "name": name,
                "tree": tree}

    def add_files(self, ws, places):
        for path in sorted(places, key=str.encode):
            source, e = places[path][0], ws.entries[path]
            if source.kind == BLOB:
                self.add(e.data, FILE_TYPE, path, True)
            elif source.kind == RUN:
                for k in range(len(source.parts)):
                    at = k * ws.part_size
                    self.add(e.data[at:at + ws.part_size], FILE_TYPE,
                             ".mops/parts/%s-%04d" % (e.digest.hex(), k))


# Samples.

def content(seed, size):
    """Bytes that anybody can make again: SHA-256(seed), repeated."""
    return (sha(seed.encode()) * (size // 32 + 1))[:size]


def golden_workspace():
    ws = Workspace([("code", "src"), ("data", "data"), ("weights", "w")],
                   {"default": ["code"], "training": ["data", "code"],
                    "all": ["weights", "code", "data"]},
                   [("data/fit", "s3://epi-data/bundles/", "cool"),
                    ("data/raw", "az://account/box", None)])
    ws.file("src/model.py", content("model", 1000))
    ws.file("src/run.sh", content("run", 77), True)
    ws.file("src/a-b", content("a-b", 1))
    ws.file("src/a/same-as-run", content("run", 77))
    ws.file("src/a/b/empty", b"")
    ws.dir("src/void/inner")
    ws.link("src/a/up", "../model.py")
    ws.link("src/dangling", "no/where")
    ws.file("src/na\u00efve \u6a21\u578b.txt", content("unicode", 513))
    ws.file("src/" + "n" * 101, content("long", 10))
    ws.file("src/" + "d" * 160 + "/f", content("deep", 600))
    ws.file("data/same-as-run", content("run", 77))
    ws.file("data/fit/a b+c.parquet", content("fit", 2 * MIB + 5))
    ws.file("data/raw/x", content("raw", 3))
    ws.file("data/table.csv", content("table", MIB - 1))
    ws.file("w/model.bin", content("weights", 2 * MIB + 1))
    ws.file("w/copy.bin", content("weights", 2 * MIB + 1))
    ws.file("w/exactly.bin", content("exactly", MIB))
    return ws


def random_name(rng):
    alphabet = "abcdefgh.-_ ~!+\u00e9\u00fc\u03b1\u6a21\U0001f600"
    while True:
        n = rng.choice((1, 2, 3, 8, 20, rng.randint(1, 60)))
        name = "".join(rng.choice(alphabet) for _ in range(n))
        if len(name.encode()) <= 200 and name.strip(". ") and \
                name.lower() not in (".", "..", ".git"):
            return name


def random_paths(rng, tops, count):
    """Paths of files and the folders that they are in."""
    folders, files = list(tops), []
    taken = set(tops)
    for _ in range(count):
        up = rng.choice(folders)
        path = up + "/" + random_name(rng)
        if path.casefold() in taken or path.count("/") > 40 or \
                len(path.encode()) > 1500:
            continue
        taken.add(path.casefold())
        if rng.random() < 0.25:
            folders.append(path)
        else:
            files.append(path)
    return files, [f for f in folders if f not in tops]


def random_workspace(seed):
    rng = random.Random(seed)
    n = rng.randint(1, 4)
    layers = [("l%d" % i, "top%d" % i) for i in range(n)]
    roles = {"default": [name for name, _ in layers]}
    for i in range(rng.randint(0, 4)):
        members = rng.sample([x for x, _ in layers], rng.randint(1, n))
        roles["r%d" % i] = members
    externals = [("top0/ext", "gs://some-bucket/p", rng.choice(
        (None, "hot", "cool", "archive")))] if rng.random() < 0.5 else []
    part = PART if rng.random() < 0.6 else rng.choice((MIB, 3 * MIB // 2))
    ws = Workspace(layers, roles, externals, part)
    files, folders = random_paths(rng, [f for _, f in layers],
                                  rng.choice((3, 30, 120)))
    for i, (_, folder) in enumerate(layers):
        files.append("%s/first" % folder)
    if externals:
        files += ["top0/ext/%d" % i for i in range(3)]
    for path in files:
        kind = rng.random()
        if kind < 0.08 and "/ext/" not in path and not path.endswith("/first"):
            ws.link(path, "../" * rng.randint(0, path.count("/"))
                    + random_name(rng))
            continue
        size = rng.choice((0, 1, 511, 512, 513, rng.randint(0, 40000)))
        if rng.random() < 0.04:
            size = rng.choice((MIB - 1, MIB, MIB + 1,
                               rng.randint(MIB, 5 * MIB)))
        if part < PART and size < MIB:
            size = min(size, part)
        same = rng.random() < 0.1
        ws.file(path, content("shared" if same else path, size),
                rng.random() < 0.2)
    for path in folders:
        if not any(p.startswith(path + "/") for p in ws.entries):
            ws.dir(path)
    return ws


def cut_workspace():
    """Enough small content for several packs."""
    ws = Workspace([("data", "d")], {"default": ["data"]})
    rng = random.Random(7)
    for i in range(60):
        ws.file("d/%02d" % i, content(str(i), rng.randint(MIB // 2, MIB - 1)))
    return ws


def rank_workspace():
    """More big files than blobs of their own."""
    ws = Workspace([("data", "d")], {"default": ["data"]})
    for i in range(259):
        ws.file("d/%03d" % i, bytes(MIB - 4) + struct.pack(">I", i))
    return ws


def chunked_tree_workspace():
    """Names enough for trees of more than a chunk, and a root of chunks."""
    ws = Workspace([("a", "a"), ("b", "b")], {"default": ["a", "b"]})
    for i in range(3400):
        ws.file("a/%05d-%s" % (i, "x" * 240), b"")
    ws.file("b/one", b"1")
    return ws


# The comparison.

class Tap:
    def __init__(self):
        self.n = self.failed = 0

    def check(self, ok, name, why=""):
        self.n += 1
        self.failed += not ok
        print("%sok %d - %s" % ("" if ok else "not ", self.n, name))
        if not ok and why:
            print("# " + str(why).replace("\n", "\n# "))
        sys.stdout.flush()


def compose(tool, ws):
    """What the other writer makes: (digest, {name: bytes}) or its error."""
    top = tempfile.mkdtemp(prefix="format-")
    try:
        src, out = os.path.join(top, "src"), os.path.join(top, "out")
        os.mkdir(src)
        os.mkdir(out)
        ws.write(src)
        args = [tool, "compose", src, out]
        if ws.part_size != PART:
            args.append(str(ws.part_size))
        p = subprocess.run(args, capture_output=True, text=True, timeout=300)
        if p.returncode:
            return p.stderr, {}
        files = {}
        for name in os.listdir(out):
            with open(os.path.join(out, name), "rb") as f:
                files[name] = f.read()
        return p.stdout.strip(), files
    finally:
        shutil.rmtree(top)


def describe(b, files):
    """Where two bundles part."""
    theirs = json.loads(files["manifest"])["layers"] if files else []
    for x, y in zip(b.descriptors, theirs):
        if x != y:
            return "%s\n%s" % (x, y)
    return "roots:\n%s\n%s" % (b.root, [
        v for k, v in files.items() if v.startswith(b'{"chunkSize')])


def compare(tap, tool, ws, name):
    b = Bundle(ws)
    digest, files = compose(tool, ws)
    same = digest == b.digest and files.get("manifest") == b.manifest and \
        all(files.get(d.hex()) == data for d, data in b.blobs.items()) and \
        len(files) == len(b.blobs) + 1
    tap.check(same, name, "" if same else
              digest + "\n" + describe(b, files))


def golden_files():
    b = Bundle(golden_workspace())
    out = {"manifest.json": b.manifest, "root.json": b.root}
    for d in b.descriptors:
        title = d["annotations"][TITLE]
        if title.startswith(".mops/tree/"):
            data = b.blobs[bytes.fromhex(d["digest"][7:])]
            out[title.rpartition("/")[2] + ".tree"] = data
    lines = ["manifest %s" % b.digest, "root %s" % text(sha(b.root))]
    lines += ["%s %s" % (d["annotations"][TITLE].replace(" ", "%20"),
                         d["digest"]) for d in b.descriptors]
    out["digests"] = ("\n".join(lines) + "\n").encode()
    return out


def check_golden(tap, tool):
    for name, data in sorted(golden_files().items()):
        with open(os.path.join(GOLDEN, name), "rb") as f:
            tap.check(f.read() == data, "golden %s, second writer" % name)
    with open(os.path.join(GOLDEN, "digests")) as f:
        want = dict(line.split() for line in f)
    digest, files = compose(tool, golden_workspace())
    tap.check(digest == want["manifest"], "golden manifest, first writer",
              digest)
    for title, d in want.items():
        tap.check(d == want["manifest"] or d[7:] in files,
                  "golden %s, first writer" % title)


def tar_list(rng):
    """Entries of a random archive, sorted, parents included."""
    files, folders = random_paths(rng, ["t", "u"], rng.choice((1, 5, 40)))
    entries = {}
    for path in files:
        kind = rng.choice("fffxl")
        if kind == "l":
            up = "../" * rng.randint(0, path.count("/"))
            target = up + "/".join(random_name(rng) for _ in
                                   range(rng.choice((1, 1, 5))))
            entries[path] = ("l", 0, target)
        else:
            size = rng.choice((0, 1, 512, rng.randint(0, 3000)))
            entries[path] = (kind, size, None)
    for path in list(entries) + folders:
        for up in parents(path):
            entries[up] = ("d", 0, None)
    for path in folders:
        entries[path] = ("d", 0, None)
    return sorted(entries.items(), key=lambda x: x[0].encode())


def tar_content(path, size):
    raw = path.encode()
    return (raw * (size // len(raw) + 1))[:size]


def tar_python(entries):
    """By Python's tarfile, or None when USTAR cannot hold it."""
    out = io.BytesIO()
    try:
        with tarfile.open(fileobj=out, mode="w",
                          format=tarfile.USTAR_FORMAT) as t:
            for path, (kind, size, target) in entries:
                info = tarfile.TarInfo(path)
                info.mode = 0o644
                if kind == "x":
                    info.mode = 0o755
                if kind == "d":
                    info.type, info.mode = tarfile.DIRTYPE, 0o755
                if kind == "l":
                    info.type, info.mode = tarfile.SYMTYPE, 0o777
                    info.linkname = target
                info.size = size
                t.addfile(info, io.BytesIO(tar_content(path, size)))
    except ValueError:
        return None
    return out.getvalue()


def fits_ustar(entries):
    return all(split(p.encode() + (b"/" if k == "d" else b"")) and
               len((t or "").encode()) <= 100
               for p, (k, _, t) in entries)


def tar_oracle(entries):
    out = b""
    for path, (kind, size, target) in entries:
        what = {"d": DIR, "l": LINK}.get(kind, FILE)
        out += tar_header(what, path, kind == "x", size, target)
        out += pad(tar_content(path, size))
    return tar_end(out)


def check_tar(tap, tool, count):
    ustar_seen = pax_seen = 0
    bad = []
    for seed in range(count):
        entries = tar_list(random.Random(seed))
        lines = "".join("\t".join([k, str(s), p] + ([t] if t else [])) + "\n"
                        for p, (k, s, t) in entries)
        data = subprocess.run([tool, "tar"], input=lines.encode(),
                              capture_output=True, timeout=60).stdout
        back = subprocess.run([tool, "untar"], input=data,
                              capture_output=True, timeout=60)
        if data != tar_oracle(entries):
            bad.append("archive %d differs from the second writer's" % seed)
        if back.stdout.decode() != lines:
            bad.append("archive %d is not read back: %s" % (
                seed, back.stderr.decode()))
        if fits_ustar(entries):
            ustar_seen += 1
            if data != tar_python(entries):
                bad.append("archive %d differs from tarfile's" % seed)
        else:
            pax_seen += 1
        with tarfile.open(fileobj=io.BytesIO(data)) as t:
            got = [(m.name, m.size, m.linkname) for m in t.getmembers()]
        if got != [(p, s, t or "") for p, (_, s, t) in entries]:
            bad.append("archive %d means something else to tarfile" % seed)
    tap.check(not bad, "%d random archives" % count, "\n".join(bad[:5]))
    tap.check(ustar_seen >= 200, "%d of them in plain USTAR" % ustar_seen)
    tap.check(pax_seen >= 20, "%d of them with PAX headers" % pax_seen)


def main(tool):
    tap = Tap()
    check_golden(tap, tool)
    check_tar(tap, tool, 250)
    for seed in range(20):
        compare(tap, tool, random_workspace(seed), "random bundle %d" % seed)
    compare(tap, tool, cut_workspace(), "a layer of several packs")
    compare(tap, tool, rank_workspace(), "more big files than own blobs")
    compare(tap, tool, chunked_tree_workspace(), "trees of several chunks")
    print("1..%d" % tap.n)
    return 1 if tap.failed else 0


def update():
    os.makedirs(GOLDEN, exist_ok=True)
    for name, data in golden_files().items():
        with open(os.path.join(GOLDEN, name), "wb") as f:
            f.write(data)


def damaged(rng, data, step=1):
    """With one number of it made strange."""
    at = rng.randrange(0, len(data), step)
    value = rng.choice((b"\0", b"\1", b"\x7f", b"\x80", b"\xff",
                        b"\xff" * 4, b"\0" * 4, b"\xff" * 8))
    return data[:at] + value + data[at + len(value):]


def small_workspace(seed):
    """As a random one, with little in it."""
    rng = random.Random(seed)
    ws = random_workspace(seed)
    ws.part_size = PART
    keep = rng.sample(sorted(ws.entries), min(len(ws.entries), 6))
    keep += ["%s/first" % folder for _, folder in ws.layers]
    ws.entries = {p: ws.entries[p] for p in keep}
    for e in ws.entries.values():
        e.data = e.data[:700]
        e.digest = sha(e.data) if e.kind == FILE else bytes(32)
    return ws


def big_tree():
    """A run and a chunked external, which no small workspace has."""
    def chunks(n):
        return [sha(b"%d" % i) for i in range(n)]

    run = Source(RUN, sha(b"run"), PART + 9, chunks(3)[:1] * 5121,
                 parts=[(sha(b"0"), PART), (sha(b"1"), 9)])
    ext = Source(EXTERNAL, sha(b"ext"), 2 * MIB, chunks(2), 3, "gs://box/k")
    nodes = {}
    for path, s in (("a", run), ("b", ext)):
        e = Entry(FILE)
        e.data, e.digest = range(s.size), s.digest  # only its length counts
        nodes[path] = Node(e, 0, (s, 0))
    return encode_tree(nodes)


def seeds(top):
    rng = random.Random(1)
    bundles = [Bundle(small_workspace(i)) for i in range(8)]
    bundles.append(Bundle(golden_workspace()))
    trees = [b.blobs[bytes.fromhex(d["digest"][7:])] for b in bundles
             for d in b.descriptors if d["mediaType"] == TREE_TYPE]
    archives = []
    for seed in (0, 3, 8, 9, 14, 25, 31):
        entries = tar_list(random.Random(seed))[:12]
        archives.append(tar_oracle(entries))
    sets = {"tree": trees + [big_tree()],
            "root": [b.root for b in bundles],
            "manifest": [b.manifest for b in bundles], "tar_read": archives}
    for name, good in sets.items():
        folder = os.path.join(top, name)
        os.makedirs(folder, exist_ok=True)
        for i, data in enumerate(good):
            with open(os.path.join(folder, "good-%02d" % i), "wb") as f:
                f.write(data)
        small = sorted(good, key=len)[:4]
        for i in range(30):
            data = damaged(rng, rng.choice(small), 4 if name == "tree" else 1)
            with open(os.path.join(folder, "bad-%02d" % i), "wb") as f:
                f.write(data)


if __name__ == "__main__":
    if sys.argv[1:] == ["--update"]:
        update()
    elif sys.argv[1:2] == ["--seeds"]:
        seeds(sys.argv[2])
    else:
        sys.exit(main(os.path.abspath(sys.argv[1])))
