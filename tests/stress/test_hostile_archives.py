#!/usr/bin/python3
"""Hostile names and archives: in trees, on the disk that is pushed, and in what
`mops import` reads. Each is refused with exit 2, or read exactly as Python's tarfile
reads it; nothing is ever written elsewhere, not even while another process swaps
folders for links. ARCHIVES is how much random damage is added, SEED which,
MOPS_STRESS_SECONDS how long folders are swapped."""
import concurrent.futures
import hashlib
import io
import os
import pathlib
import random
import shutil
import struct
import sys
import tarfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lib"))
sys.path.insert(0, str(HERE.parent / "unit/engine"))
import format_oracle as oracle  # noqa: E402
import hostile  # noqa: E402
from documents import Base, play_all, tree_case  # noqa: E402
from mopstest import Failed, run  # noqa: E402

MORE = int(os.environ.get("ARCHIVES", "120"))
SEED = int(os.environ.get("SEED", "1"))
SECONDS = float(os.environ.get("MOPS_STRESS_SECONDS", "10"))
TOTAL = [0]
DIR, FILE, LINK = b"5", b"0", b"2"


# Trees.

def renamed(tree, node, name=None, target=None):
    """@tree with another name or target for a node."""
    sections = [struct.unpack_from("<IIQQ", tree, 40 + 24 * i) for i in range(4)]
    parts = [tree[s[2]:s[2] + s[3]] for s in sections]
    at = 72 * node
    nodes, names = bytearray(parts[0]), parts[1]
    if name is not None:
        struct.pack_into("<IH", nodes, at, len(names), min(len(name), 65535))
    else:
        struct.pack_into("<H", nodes, at + 14, len(target))
        struct.pack_into("<I", nodes, at + 16, len(names))
    parts[0], parts[1] = bytes(nodes), names + (name if name is not None else target)
    out, body = tree[:40], b""
    for i, data in enumerate(parts):
        out += struct.pack("<IIQQ", i + 1, 0, 136 + len(body), len(data))
        body += oracle.pad(data, 8)
    return out + body


def node_of(base, path):
    """Number of the node that has this path in the base's tree."""
    size = struct.unpack_from("<IIQQ", base.tree, 40)[3]
    names = struct.unpack_from("<IIQQ", base.tree, 64)[2]
    paths = {0: ""}
    for i in range(1, size // 72):
        name, length, _, _, parent = struct.unpack_from("<IHBBI", base.tree, 136 + 72 * i)
        paths[i] = (paths[parent] + "/" + base.tree[names + name:names + name + length].decode()).lstrip("/")
    return next(i for i, p in paths.items() if p == path)


def names_in_trees(env):
    """As the name of a file, of a folder, of what is at the top; as targets."""
    base = Base()
    cases = []
    alone, folder, top, link = (node_of(base, p) for p in ("a/sub/deep/er/x", "a/sub/deep/er", "a", "a/sub/link"))
    for i, bad in enumerate(hostile.bad_names()):
        node = alone if i % 3 else folder
        cases.append(tree_case(base, f"name {bad[:60]!r}", renamed(base.tree, node, bad), verb=("materialize", "ls", "pull")[i % 3]))
    for bad in hostile.bad_at_the_top():
        cases.append(tree_case(base, f"at the top {bad!r}", renamed(base.tree, top, bad)))
    for bad in hostile.bad_targets(2):
        cases.append(tree_case(base, f"target {bad[:60]!r}", renamed(base.tree, link, target=bad)))
    TOTAL[0] += play_all(env, base, cases, "hostile names in trees")


def names_on_the_disk(env):
    """What a push would have to take up is refused before anything is sent."""
    judge = hostile.Judge(env)
    src, reg = env.fresh("src"), env.base / "pushed"
    (src / "fine").write_text("fine")
    (src / ".mops-bundle.yaml").write_text("bundle: {name: n, version: '1'}\n")

    def refused(make, undo, what):
        make()
        judge.mops(what, "push", src, "-q", "--to", f"oci:{reg}:n:1", codes=(2,))
        judge.one()
        undo()
        if reg.exists() and any(reg.rglob("*manifest*")):
            raise Failed(f"{what} was pushed")
    for bad in hostile.bad_names() + [b"caf\xcc\x81-\xcd\xb8", b"\xef\xb7\x90"]:
        if not bad or b"/" in bad or b"\0" in bad or len(bad) > 255 or bad in (b".", b"..") or bad.lower() == b".git":
            continue
        path = os.path.join(os.fsencode(src), bad)
        refused(lambda: open(path, "wb").close(), lambda: os.unlink(path), f"name {bad!r}")
    for one, two in ((b"caf\xc3\xa9", b"cafe\xcc\x81"), (b"\xe2\x84\xab", b"\xc3\x85"),
                     (b"\xea\xb0\x80", b"\xe1\x84\x80\xe1\x85\xa1")):
        paths = [os.path.join(os.fsencode(src), n) for n in (one, two)]
        refused(lambda: [open(p, "wb").close() for p in paths], lambda: [os.unlink(p) for p in paths], f"{one!r} and {two!r}")
    fifo = src / "fifo"
    refused(lambda: os.mkfifo(fifo), fifo.unlink, "a fifo")
    for target in (b"/etc/passwd", b"../x", b"..", b"/", b"a\\b", b"a\nb", b"x" * 1025, b"\xff"):
        path = os.path.join(os.fsencode(src), b"link")
        refused(lambda: os.symlink(target, path), lambda: os.unlink(path), f"link to {target[:40]!r}")
    judge.report("hostile names on a disk", 100)
    TOTAL[0] += judge.count


# Archives.

def header(name, kind=FILE, size=0, mode=None, link=b"", prefix=b"", patch=()):
    """A header whose checksum is right; @patch: (offset, bytes) more."""
    mode = {DIR: 0o755, LINK: 0o777}.get(kind, 0o644) if mode is None else mode
    block = bytearray(oracle.ustar(name[:100].ljust(1, b"\0") if not name else name[:100], mode, size, kind[:1], link[:100], prefix))
    for at, data in patch:
        block[at:at + len(data)] = data
    if not any(at <= 148 < at + len(data) for at, data in patch):
        block[148:156] = b" " * 8
        block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def entry(name, kind=FILE, data=b"", **kw):
    return header(name, kind, len(data), **kw) + oracle.pad(data)


def pax(records, kind=b"x", name=b"././@PaxHeader", **kw):
    return header(name, kind, len(records), mode=0, **kw) + oracle.pad(records)


GOOD = entry(b"d/", DIR) + entry(b"d/f", data=b"f" * 700) + entry(b"d/l", LINK, link=b"f")
LONG = b"d/" + b"n" * 150


FOLDER = b"z/" + b"n" * 160 + b"/"  # no USTAR header can hold what is in it
IN_A_FOLDER = GOOD + entry(b"z/", DIR)
IN_A_LONG_ONE = IN_A_FOLDER + pax(oracle.pax_record(b"path", FOLDER)) + entry(b"@LongPath/", DIR)


def named(bad):
    """An archive that is fine but for this name, with and without a PAX header."""
    if len(bad) < 99:
        yield oracle.tar_end(IN_A_FOLDER + entry(b"z/" + bad, data=b"x"))
    yield oracle.tar_end(IN_A_LONG_ONE + pax(oracle.pax_record(b"path", FOLDER + bad)) + entry(b"@LongPath", data=b"x"))


def fields():
    """Each field of a header with what does not belong there."""
    texts = [b"\0" * 8, b"        ", b"0000000 ", b" 000000\0", b"+000644\0", b"-000001\0", b"0x0001a\0", b"0000888\0", b"7777777\0",
             b"0000644 ", b"644\0\0\0\0\0", b"\x80\0\0\0\0\0\1\xa4", b"\xff" * 8, b"1234567\0", b"0000001\0"]
    for at in (100, 108, 116, 329, 337):
        for t in texts:
            if at >= 329 and t == b"\0" * 8 or at in (108, 116) and t == b"0000000\0":
                continue
            yield oracle.tar_end(GOOD + entry(b"e", patch=[(at, t)]))
    for at in (124, 136):
        for t in texts + [b"\x80" + b"\0" * 10 + b"\x01", b"\xff" * 12, b"\x80\0\0\0\x7f" + b"\xff" * 7, b"77777777777\0"]:
            yield oracle.tar_end(GOOD + entry(b"e", patch=[(at, t.ljust(12, b"\0") if t != b"\0" * 8 else b"\0" * 12)]))
    for t in (b"000000\0 ", b"        ", b"777777\0 ", b"\0" * 8, b"-00001\0 "):
        yield oracle.tar_end(GOOD + entry(b"e", patch=[(148, t)]))
    for t in (b"ustar  \0", b"USTAR\x0000", b"\0" * 8, b"ustar\x0001", b"ustar\x00\0\0", b"tar\0\0\0\0\0", b"ustar 00"):
        yield oracle.tar_end(GOOD + entry(b"e", patch=[(257, t)]))
    for at, t in ((265, b"root"), (297, b"wheel"), (345, b"/"), (345, b".."), (345, b"d/.."), (500, b"x"), (511, b"\1"), (157, b"x"),
                  (1, b"\0x"), (345, b"d")):
        yield oracle.tar_end(GOOD + entry(b"e", patch=[(at, t)]))


def types():
    for kind in b"\0", *(bytes([c]) for c in b"134678 9ABDEGIKLMNPQSVXYZagxz\x01\x7f\x80\xff-"):
        yield oracle.tar_end(GOOD + entry(b"e", kind))
        yield oracle.tar_end(GOOD + entry(b"e", kind, b"12 path=evil\n"))
        yield oracle.tar_end(GOOD + entry(b"e", kind, link=b"/etc/passwd"))


def pax_flaws():
    r = oracle.pax_record
    for records in (b"", b"x", b"\0", b"5 a=b", b"6 a=b\n\0", b"06 a=b\n", b"6 a=b\nx", b"-6 a=b\n", b"+6 a=b\n", b" 6 a=b\n", b"6  a=b\n",
                    b"99999999999999999999 a=b\n", b"18446744073709551622 a=b\n", b"4294967302 a=b\n", b"7 a=b\n", b"5 a=b\n", b"6 =ab\n",
                    b"6 ab=\n", b"6\ta=b\n", b"0 \n", b"0x6 a=b\n", b"6 a=b\r", r(b"path", LONG)[:-1], r(b"path", LONG) + b"x",
                    r(b"path", LONG) * 2, r(b"path", LONG) + r(b"path", b"d/other"), r(b"path", b""), r(b"path", b"short"),
                    r(b"path", LONG + b"\0x"), r(b"path", b"/" + LONG), r(b"path", LONG + b"/"), r(b"path", b"../" + LONG),
                    r(b"PATH", LONG), r(b"path ", LONG), r(b"size", b"0"), r(b"size", b"700"), r(b"size", b"-1"), r(b"size", b"8589934592"),
                    r(b"size", b"99999999999999999999"), r(b"size", b"1e3"), r(b"size", b"0x10"), r(b"size", b" 1"), r(b"linkpath", b"x"),
                    r(b"linkpath", b"/" + b"x" * 120), r(b"linkpath", b"../" * 50), r(b"mtime", b"1.5"), r(b"uid", b"0"), r(b"uname", b"root"),
                    r(b"SCHILY.xattr.security.capability", b"x"), r(b"GNU.sparse.major", b"1"), r(b"GNU.sparse.map", b"0,1" * 100),
                    r(b"GNU.sparse.name", b"x"), r(b"GNU.sparse.realsize", b"99999999999"), r(b"hdrcharset", b"BINARY"),
                    r(b"charset", b"x"), r(b"comment", b"x"), r(b"path", b"d/" + b"n/" * 64 + b"x"), r(b"path", b"d/" + b"n" * 256),
                    r(b"path", b"d/" + b"n" * 65000), r(b"comment", b"x" * 70000), r(b"path", b"d/" + b"\xff" * 120)):
        for after in (entry(b"@LongPath", data=b"x"), b""):
            yield oracle.tar_end(GOOD + pax(records) + after)
    good = r(b"path", LONG)
    yield oracle.tar_end(GOOD + pax(good) * 2 + entry(b"@LongPath", data=b"x"))
    yield oracle.tar_end(GOOD + pax(good, b"g") + entry(b"@LongPath", data=b"x"))
    yield oracle.tar_end(GOOD + pax(good, name=b"PaxHeader/x") + entry(b"@LongPath", data=b"x"))
    yield oracle.tar_end(GOOD + pax(good) + entry(b"other", data=b"x"))
    yield oracle.tar_end(GOOD + pax(good) + entry(b"@LongPath/", DIR))
    yield oracle.tar_end(GOOD + header(b"././@PaxHeader", b"x", 1 << 32, mode=0))
    yield oracle.tar_end(GOOD + entry(b"././@LongLink", b"L", LONG + b"\0") + entry(LONG[:100], data=b"x"))
    yield oracle.tar_end(GOOD + entry(b"././@LongLink", b"K", LONG + b"\0") + entry(b"e", LINK, link=LONG[:100]))


def orders():
    """Entries that are fine alone and not together."""
    d, f, ln = entry(b"d/", DIR), entry(b"d/f", data=b"x"), entry(b"d/l", LINK, link=b"f")
    up = entry(b"d/up", LINK, link=b"..")
    for parts in ([f], [d, d], [d, f, f], [d, f, entry(b"d/f/", DIR)], [d, f, entry(b"d/f/x")], [d, ln, f], [f, d], [entry(b"d"), f],
                  [d, ln, entry(b"d/l/x")], [entry(b"b"), entry(b"a")], [entry(b"l", LINK, link=b"x"), entry(b"l/x")],
                  [entry(b"l", LINK, link=b"/tmp"), entry(b"l/evil")], [d, up, entry(b"d/up/evil")], [entry(b"l", LINK, link=b"..")],
                  [entry(b"l", LINK, link=b"../outside"), entry(b"l/evil")], [entry(b"l", LINK, link=b"l"), entry(b"l")],
                  [d, entry(b"d/l", LINK, link=b"f"), entry(b"d/l", data=b"x")], [entry(b"d/", DIR, patch=[(124, b"00000001000\0")]), f],
                  [entry(b"l", LINK, b"data", link=b"x")], [entry(b"x/../y")], [entry(b"d", DIR)], [entry(b"d/", FILE)], [entry(b"d//", DIR)],
                  [entry(b"l/", LINK, link=b"x")], [entry(b"e", data=b"x", mode=0o4755)], [entry(b"e", mode=0o2755)], [entry(b"e", mode=0o666)],
                  [entry(b"e", mode=0o777)], [entry(b"e", mode=0)], [entry(b"d/", DIR, mode=0o700)], [entry(b"d/", DIR, mode=0o1777)],
                  [entry(b".mops/", DIR), entry(b".mops/x")], [entry(b".mops-bundle.yaml", data=b"{}")], [entry(b".git/", DIR)],
                  [entry(b"./a")], [entry(b"./", DIR)], [entry(b"/", DIR)], [entry(b"../", DIR)], [entry(b".", DIR)], [entry(b"..", DIR)]):
        yield oracle.tar_end(b"".join(parts))


def targets():
    for bad in hostile.bad_targets(1):
        if len(bad) <= 100:
            yield oracle.tar_end(entry(b"d/", DIR) + entry(b"d/l", LINK, link=bad))
        else:
            yield oracle.tar_end(entry(b"d/", DIR) + pax(oracle.pax_record(b"linkpath", bad)) + entry(b"d/l", LINK, link=b"@LongLink"))


def ends():
    good = oracle.tar_end(GOOD)
    for cut in range(0, len(good), 512):
        yield good[:cut]
        yield good[:cut + 100]
    for more in (b"x", b"\0" * 512, b"\0" * 10240, b"x" * 512, good, entry(b"after"), b"\0" * 511 + b"x", b"\0" * (8 << 20)):
        yield good + more
    yield GOOD
    yield GOOD + b"\0" * 512
    yield oracle.pad(GOOD + b"\0" * 512 + entry(b"after") + b"\0" * 1024, 10240)
    yield GOOD[:1024 + 699] + b"x" + good[1024 + 700:1024 + 1000] + b"x" + good[1024 + 1001:]  # padding that is not zero
    yield b""
    yield b"not an archive"
    yield bytes(10240) + b"x"


def zstd(data, window=10, blocks=None, magic=b"\x28\xb5\x2f\xfd", flags=0):
    """A frame of raw blocks, made by hand. @window: exponent, from 1 KiB on."""
    out = magic + bytes([flags, window - 10 << 3])
    if blocks is None:
        step = min(1 << window, 1 << 17)
        blocks = [(0, data[i:i + step], 0) for i in range(0, len(data), step)] or [(0, b"", 0)]
    for i, (kind, content, size) in enumerate(blocks):
        head = (i == len(blocks) - 1) | kind << 1 | (size or len(content)) << 3
        out += head.to_bytes(3, "little") + content
    return out


def frames(rng):
    good = oracle.tar_end(GOOD)
    frame = zstd(good)
    for i in range(0, len(frame), len(frame) // 20):
        yield frame[:i]
    for magic in (b"\x28\xb5\x2f\xfc", b"\x25\xb5\x2f\xfd", b"\x50\x2a\x4d\x18", b"\x37\xa4\x30\xec", b"\0" * 4, b"\x1f\x8b\x08\0", b"BZh9"):
        yield zstd(good, magic=magic)
    for window in (26, 27, 28, 30, 31, 40, 41):
        yield zstd(good, window)
    for flags in (0x08, 0x01, 0x02, 0x03, 0x04, 0x20, 0x40, 0x80, 0xc0, 0xe0, 0xff):
        yield zstd(good, flags=flags)
    for kind in (2, 3):
        yield zstd(b"", blocks=[(kind, good[:1000], 0)])
    yield frame + b"x"
    yield frame + frame
    yield frame + zstd(b"x")
    yield frame + b"\x50\x2a\x4d\x18\xff\xff\xff\xff"
    zeros = [(1, b"\0", 1 << 17)]
    yield zstd(b"", 17, blocks=zeros * 20000)  # 2.6 GB of zeros
    yield zstd(b"", 17, blocks=[(0, good, 0)] + zeros * 20000)
    yield zstd(b"", 17, blocks=[(1, b"x", 1 << 17)] * 20000)
    yield zstd(b"", 17, blocks=[(0, oracle.tar_end(GOOD)[:2560], 0)] + [(1, b"x", 1 << 17)] * 2000)
    yield zstd(b"", 17, blocks=[(0, GOOD + header(b"././@PaxHeader", b"x", 1 << 30, mode=0), 0)] + [(1, b"x", 1 << 17)] * 8192)
    for i in range(MORE // 2):
        yield hostile.damaged(rng, frame)


def archives(rng):
    """(what, bytes, is it zstd, must it be refused)"""
    for bad in hostile.bad_names():
        for data in named(bad):
            yield f"name {bad[:40]!r}", data, False, True
    for bad in hostile.bad_at_the_top():
        yield f"at the top {bad!r}", oracle.tar_end(entry(bad, data=b"x")), False, True
    for what, sets in (("fields", fields()), ("types", types()), ("pax", pax_flaws()), ("orders", orders()), ("targets", targets()),
                       ("ends", ends())):
        for i, data in enumerate(sets):
            yield f"{what} {i}", data, False, True
    for i in range(MORE):
        data = bytearray(oracle.tar_end(GOOD))
        at = rng.choice((0, 512, 2048))
        data[at:at + 512] = hostile.damaged(rng, data[at:at + 512])[:512].ljust(512, b"\0")
        data[at + 148:at + 156] = b" " * 8
        data[at + 148:at + 156] = b"%06o\0 " % (sum(data[at:at + 512]) % 0o1000000)
        yield f"damaged {i}", bytes(data), False, False
        yield f"random {i}", hostile.damaged(rng, oracle.tar_end(GOOD), 1 + i % 3), False, False
    for i, data in enumerate(frames(rng)):
        yield f"frame {i}", data, True, False


def seen_by_python(data):
    """Files of an archive as the standard library reads them."""
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as t:
        return {m.name: hashlib.sha256(t.extractfile(m).read()).hexdigest() for m in t.getmembers() if m.isfile()}


def import_one(judge, box, what, data, is_zstd, refuse):
    box.mkdir()
    file = box / ("a.tar.zst" if is_zstd else "a.tar")
    file.write_bytes(data)
    (box / "in").mkdir()
    code, _ = judge.mops(what, "import", file, "-q", "--dest", box / "in/dest", codes=(2,) if refuse else (0, 2), cwd=box)
    hostile.check_box(box, {"in", file.name})
    hostile.check_box(box / "in", {"dest"} if code == 0 else ())
    if code == 0 and not is_zstd:
        hostile.check_dest(box / "in/dest", seen_by_python(data), True)
    if code == 0 and is_zstd:  # a frame without a checksum: its content may be damaged
        hostile.same_names(box / "in/dest", {"d", "d/f", "d/l"})
    shutil.rmtree(box)
    judge.one()


def import_all(env, cases, what, least):
    judge = hostile.Judge(env)
    workers = os.cpu_count() or 1
    top = env.fresh("boxes")
    bad = []

    def work(n):
        for i, case in enumerate(cases):
            if i % workers != n:
                continue
            try:
                import_one(judge, top / f"box{i}", *case)
            except Failed as e:
                bad.append(str(e))
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        for done in [pool.submit(work, n) for n in range(workers)]:
            done.result()
    judge.report(what, 0 if bad else least)
    if bad:
        raise Failed(f"{len(bad)}:\n" + "\n".join(bad[:12]))
    TOTAL[0] += judge.count


def honest_archives(env):
    """Let in, so that the refusals mean something; also the largest window there may be."""
    judge = hostile.Judge(env)
    box = env.fresh("box")
    files = {"d/f": 700}
    big = header(b"d/m", size=100 << 20)
    blocks = [(0, GOOD + big, 0)] + [(1, b"x", 1 << 17)] * 800 + [(0, bytes(1024), 0)]
    end = len(oracle.tar_end(GOOD + big + bytes(100 << 20)))
    blocks[-1] = (0, bytes(end - len(GOOD) - 512 - (100 << 20)), 0)
    for i, (data, more, code) in enumerate((
            (oracle.tar_end(GOOD), {}, 0), (oracle.tar_end(IN_A_FOLDER + entry(b"z/fine", data=b"x")), {"z/fine": 1}, 0),
            (oracle.tar_end(IN_A_LONG_ONE + pax(oracle.pax_record(b"path", FOLDER + b"fine")) + entry(b"@LongPath", data=b"x")),
             {FOLDER.decode() + "fine": 1}, 0),
            (zstd(oracle.tar_end(GOOD)), {}, 0), (zstd(b"", 25, blocks), {"d/m": 100 << 20}, 0), (zstd(b"", 26, blocks), {}, 2))):
        dest = box / f"dest{i}"
        file = box / ("a.tar.zst" if data[:1] == b"\x28" else "a.tar")
        file.write_bytes(data)
        judge.mops(f"honest {i}", "import", file, "--dest", dest, codes=(code,))
        got = {str(p.relative_to(dest)): p.stat().st_size for p in dest.rglob("*") if p.is_file() and not p.is_symlink()}
        if got != ({} if code else {**files, **more}):
            raise Failed(f"honest {i} became {got}")
        shutil.rmtree(dest, ignore_errors=True)
        judge.one()
    judge.report("honest archives", 6)


def hostile_archives(env):
    import_all(env, list(archives(random.Random(SEED))), "hostile archives", 250)


def swapped_folders(env):
    """Somebody with our own rights swaps folders for links while we unpack: nothing
    goes where the links lead."""
    box, outside = env.fresh("box"), env.fresh("outside")
    parts = [entry(b"d/", DIR)]
    for i in range(40):
        parts.append(entry(b"d/%02d/" % i, DIR))
        parts += [entry(b"d/%02d/%02d" % (i, k), data=b"x" * 100) for k in range(20)]
    file = box / "a.tar"
    file.write_bytes(oracle.tar_end(b"".join(parts)))
    stop, swaps = threading.Event(), [0]

    def swap(path):
        os.rename(path, f"{path}.away")
        os.symlink(outside, path)
        swaps[0] += 1
        time.sleep(0.0003)
        os.unlink(path)
        os.rename(f"{path}.away", path)

    def racer():
        rng = random.Random(SEED)
        while not stop.is_set():
            for temp in box.glob("dest.*"):
                path = temp / ("d" if rng.random() < 0.5 else f"d/{rng.randrange(40):02}")
                try:
                    swap(path)
                except OSError:
                    continue
    thread = threading.Thread(target=racer)
    thread.start()
    judge = hostile.Judge(env)
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        code, _ = judge.mops("swapped", "import", file, "-q", "--dest", box / "dest", codes=(0, 2, 3))
        judge.one()
        if os.listdir(outside):
            raise Failed(f"{os.listdir(outside)[:5]} was written outside")
        shutil.rmtree(box / "dest", ignore_errors=True)
        for left in box.glob("dest.*"):  # what was swapped while it was removed
            shutil.rmtree(left, ignore_errors=True)
    stop.set()
    thread.join()
    print(f"# {swaps[0]} swaps")
    judge.report("imports beside a racer", 5)
    if swaps[0] < 100:
        raise Failed("too few swaps: is there a race at all?")


def enough(_env):
    print(f"# {TOTAL[0]} hostile names and archives")
    if TOTAL[0] < 550 and len(sys.argv) == 1:
        raise Failed("fewer than 550")


run([names_in_trees, names_on_the_disk, honest_archives, hostile_archives, swapped_folders, enough])
