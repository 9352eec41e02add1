"""Hostile input, made by rule: what foreign documents say wrongly, and what may
come of it.

The lists are the same on every machine and in every run; random damage comes from
the generator that is handed in. Judge runs a program on one such input and holds it
to its contract: it ends by itself, with an exit code that the case allows, one line
of error in plain characters, no byte outside of its places, little memory.
"""
import json
import os
import pathlib
import re
import struct
import threading

from mopstest import Failed, MOPS, sha256_file
from spawner import Spawner

MEMORY_KIB = 64 << 10
HEX = "0123456789abcdef" * 4
REFUSED = (2,)


# Texts.

def bad_numbers():
    return ["01", "-01", "+1", ".5", "1.", "1.e5", "1e", "1e+", "0x10", "NaN", "Infinity", "-Infinity", "-", "--1",
            "1_000", "\u0661", "1 2", "0b1", "0o7", "1a", "-a", "00", "1..2", "1e1.5", "e5", "\u22121"]


def bad_strings():
    """Between their quotes, as bytes."""
    out = [b"\\x41", b"\\u12", b"\\u12g4", b"\\uD800", b"\\uDC00", b"\\uD800A", b"\\uD800\\u0041", b"\\uDBFF\\uDBFF",
           b"\\u0000", b"a\\u0000b", b"\\", b"\\'", b"\\a", b"\\U00000041", b"\\0", b"\\u", b"\\ud83d\\u"]
    out += [bytes([c]) for c in range(0x20)]
    out += [bytes.fromhex(h) for h in (
        "c080", "c1bf", "e08080", "e0809f", "eda080", "edbfbf", "f0808080", "f48fbfc0", "f4908080", "f8888080", "fe", "ff",
        "80", "bf", "e282", "f09f98", "c3", "c328", "f5808080", "fc80808080af", "61ff62", "fffe", "feff")]
    return out


def bad_structures(values):
    """A member, or more of them, that an object may not have; @values of them are too many."""
    out = ['"a":1,,"b":2', '"a"', '"a":', ':1', 'a:1', "'a':1", '"a":\'b\'', '"a":1 "b":2', '"a" 1', '"a"::1', '1:1',
           'null:1', '"a":tru', '"a":True', '"a":undefined', '"a":nul', '"a":nulll', '"a":[1,]', '"a":[,1]', '"a":[1 2]',
           '"a":{"b":1,}', '"a":[1}', '"a":{"b":1]', '"a":[', '"a":{', '"a":[1', '"a":]', '"a":}', '/**/"a":1',
           '//\n"a":1', '#\n"a":1', '"a":1,//x\n"b":1', '"a":\f1', '"a":\v1', '"a":\u00a01', '"a":"b', '"a":"b\\"',
           '"a":<!--1-->', '"a":(1)', '"a":1;"b":1', '"a"=1', '"a":1,"a":2', '"x":{"a":1,"a":1}', '"a":1,"\\u0061":2',
           '"x":[{"b":1,"\\u0062":1}]', '"":1,"":1', '"a":function(){}', '"a":[1,2,3', '...', '"a":*', '"a":&1', '"a":`b`']
    for depth in (32, 33, 64, 1000, 100000):
        out.append('"a":' + "[" * depth + "]" * depth)
        out.append('"a":' + '{"b":' * depth + "1" + "}" * depth)
        out.append('"a":' + "[" * depth)
    out.append('"a":[' + ",".join(["0"] * values) + "]")
    out.append('"a":{' + ",".join(f'"{i}":0' for i in range(values)) + "}")
    return [s.encode() for s in out]


def fragments(values):
    """Members that make any object of ours malformed."""
    out = [b'"a":' + n.encode() for n in bad_numbers()]
    out += [b'"a":"' + s + b'"' for s in bad_strings()]
    out += [b'"' + s + b'":1' for s in bad_strings()[:12]]
    return out + bad_structures(values)


def wholes(good):
    """What stands in place of the document @good, or around it."""
    out = [b"", b" ", b"\n", b"null", b"true", b"0", b'"x"', b"[]", b"[{}]", b"{", b"}", b"{}{}", b"\0", b"\xff", b"\xef\xbb\xbf{}",
           b"<html></html>", b"---\na: 1\n", b"\x1f\x8b\x08\0", b"\x28\xb5\x2f\xfd\0", b"{" * 100000, b"[" * 2000000,
           b"\"" + b"a" * 3000000]
    out += [good + t for t in (b"x", b",", b"}", b"]", b"{}", b"\0", b"//", b"\x1a", b" 1")]
    out += [b"\xef\xbb\xbf" + good, b"\0" + good, b"," + good, b"[" + good, b"(" + good + b")",
            good.decode().encode("utf-16-le"), good.decode().encode("utf-16-be"), good.decode().encode("utf-16"),
            good.decode().encode("utf-32-le"), good + good]
    out += [good[:len(good) * i // 24] for i in range(1, 24)]
    out += [good.replace(b":", b"=", 1), good.replace(b'"', b"'"), good.replace(b",", b";", 1), good[1:], good[:-1],
            good.replace(b"}", b",}", 1), good.replace(b'"', b'"\0', 1)]
    return out


def json_texts(good, values=20001):
    """Every text of this kind, for the document @good, an object."""
    return wholes(good) + [b"{" + f + b"," + good[1:] for f in fragments(values)]


def bad_digests():
    """120 and more texts that are no digest of ours."""
    h, out = HEX, []
    out += [f"sha256:{h[:n]}" for n in (0, 1, 2, 8, 31, 32, 40, 62, 63)]
    out += [f"sha256:{h}{'0' * n}" for n in (1, 2, 16, 64, 4096)]
    for algorithm in ("", "sha1", "sha224", "sha384", "md5", "SHA256", "Sha256", "sha-256", "sha256 ", " sha256", "sha2", "sha2567",
                      "sha3-256", "blake3", "crc32", "none", "sha256+b64", "sha256.", "tar-split", "sha256\\u0000", "sha\u0455256"):
        out.append(f"{algorithm}:{h}".replace("\\u0000", "\0"))
    out += [f"sha512:{h}", f"sha512:{h}{h}", f"sha512:{h}{h}0", f"sha512:{(h + h).upper()}", f"sha384:{h}{h[:32]}"]
    out += [h, f":{h}", f"sha256{h}", f"sha256::{h}", f"sha256={h}", f"sha256/{h}", f"sha256-{h}", f"sha256;{h}", f"sha256 {h}",
            f"sha256:{h.upper()}", f"sha256:{h[:-1]}G", f"sha256:{h[:-1]}g", f"sha256:{h[:-1]} ", f"sha256: {h[:-1]}",
            f" sha256:{h}", f"sha256:{h} ", f"sha256:{h}\n", f"sha256:{h}\r\n", f"sha256:{h}\0", f"sha256:{h}\0x", f"sha256:\t{h[1:]}"]
    for up in ("../", "..\\", "/", "./", "%2e%2e%2f", "..%2f", "//", "~/", "C:\\", "\0/", "....//"):
        out.append(f"sha256:{up * 12}etc/passwd")
        out.append(f"sha256:{(up * 64)[:64]}")
        out.append(f"{up}sha256:{h}")
        out.append(f"sha256:{h[:64 - len(up)]}{up}")
    out += [f"sha256:{h[:i]}{c}{h[i + 1:]}" for i in (0, 31, 63) for c in (".", "/", "-", ":", "@", "x", "A", "\u0661", "\u00e9", "\uff10")]
    return out


def other_algorithm(text):
    """Well-formed, so unsupported (exit 10) and not malformed."""
    return re.fullmatch(r"(?!sha256:)[a-z0-9]+([+._-][a-z0-9]+)*:[A-Za-z0-9=_-]+", text)


def bad_sizes():
    """Texts of JSON values that are no size of ours."""
    out = ["-1", "-0.5", "1.5", "1e400", "1E3000", "9223372036854775808", "-9223372036854775808", "-9223372036854775809",
           "18446744073709551615", "18446744073709551616", "18446744073709551617", "36893488147419103232",
           "99999999999999999999999999999999", "1" + "0" * 400, "0." + "0" * 400 + "1", "-1e-9", "0.1", "1e-1", "12e-1",
           "null", "true", "false", '""', '"0"', '"1"', '"-1"', '"0x10"', '"1048576"', "[]", "[1]", "{}", '{"a":1}', '[[1]]',
           "-9223372036854775807", "-4294967296", "-2147483648", "4.2e9999", "1e19", "1e64", "-1e19"]
    return out


def odd_sizes():
    """Well-formed sizes that are not the document's."""
    out = [0, 1, 2, 511, 512, 513, 65535, 65536]
    for power in (15, 16, 20, 24, 31, 32, 33, 40, 48, 53, 62):
        out += [(1 << power) - 1, 1 << power, (1 << power) + 1]
    return out + [(1 << 63) - 1, (1 << 63) - 2, (1 << 63) - 4096, (1 << 63) - (1 << 20)]


def bad_names():
    """Components that no path of ours may have, as bytes."""
    out = [b"", b".", b"..", b"a/b", b"/", b"/a", b"a/", b"a//b", b"../a", b"a/../b", b"a\\b", b"..\\a", b"\\", b"C:\\x", b"\\\\host\\s",
           b".git", b".GIT", b".Git", b".gIT", b"a" * 256, b"a" * 300, b"a" * 4096, b"a" * 65535, "\u00e9".encode() * 128]
    out += [bytes([c]) for c in range(0x20)] + [b"a" + bytes([c]) + b"b" for c in range(0x20)]
    out += [b"\x7f", b"a\x7fb"]
    out += [chr(c).encode() for c in range(0x80, 0xa0)] + [b"x" + chr(c).encode() for c in range(0x80, 0xa0)]
    for text in ("c080", "c1bf", "e08080", "e080af", "c0af", "c0ae", "eda080", "edbfbf", "edb080", "f0808080", "f4908080", "f8888080",
                 "fe", "ff", "80", "bf", "e282", "f09f98", "c3", "c328", "f5808080", "fffe", "feff", "c0ae2f", "e0a0", "f48fbf", "ee80",
                 "efbf", "df", "a0a1", "e2283a", "f0288cbc"):
        raw = bytes.fromhex(text)
        out += [raw, b"a" + raw, raw + b"z", b"a" + raw + b"z"]
    return out


def bad_at_the_top():
    """Fine elsewhere, not as the first component."""
    return [b".mops", b".mops-bundle.yaml", b".mopsignore", b".mops-x", b".mops.", b".mopsfoo"]


def bad_targets(depth):
    """Targets of a symlink @depth folders below the top."""
    up = b"../" * depth
    out = [b"", b"/", b"/etc/passwd", b"//x", b"../" + up + b"x", b"../" + up, up + b"..", b"a/../../" + up + b"x", b"a/../x", b"./x",
           b"x/.", b"x/..", b"x//y", b"x/", b".", b"a\\b", b"..\\..\\x", b"\xff", b"a\0b", b"a\nb", b"\x1b[2J", b"x" * 256, b"x" * 1025,
           b"a/" * 600 + b"x", b".git", b"x/.GIT/y", b"../" * 64 + b"x", b"/proc/self/root/etc", b"/proc/self/cwd/x", b"~/x/../y",
           b"C:\\x", chr(0x85).encode(), b"\xed\xa0\x80", b"a/\x7f", b"../" * 300 + b"etc/passwd"]
    return out


# Damage.

def damaged(rng, data, times=1):
    """With a few bytes changed, taken out, doubled or made a number at a limit."""
    data = bytearray(data)
    for _ in range(times):
        if not data:
            return bytes(rng.randbytes(8))
        at, how = rng.randrange(len(data)), rng.randrange(8)
        if how == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif how == 1:
            del data[at:at + rng.choice((1, 2, 8, 64))]
        elif how == 2:
            data[at:at] = data[at:at + rng.choice((1, 8, 64, 512))]
        elif how == 3:
            data[at:at] = rng.randbytes(rng.choice((1, 4, 16)))
        elif how == 4:
            del data[at:]
        else:
            width = rng.choice((1, 2, 4, 8))
            limit = (1 << 8 * width) - 1
            value = rng.choice((0, 1, limit, limit - 1, limit >> 1, (limit >> 1) + 1, 0x7f, 0x80, rng.randrange(limit)))
            data[at:at + width] = value.to_bytes(width, "little")
    return bytes(data)


def each_number(data, begin, end, width):
    """@data with each number of [begin, end) replaced by each of some limits."""
    top = (1 << 8 * width) - 1
    for at in range(begin, end, width):
        old = int.from_bytes(data[at:at + width], "little")
        for value in {0, 1, old + 1, old - 1 if old else 2, top, top >> 1, (top >> 1) + 1, old ^ (1 << (8 * width - 1))}:
            if value != old and 0 <= value <= top:
                yield data[:at] + value.to_bytes(width, "little") + data[at + width:]


def json_with(doc, path, raw):
    """The text of @doc where what is at @path is the text @raw."""
    mark = "\u2603mark"
    doc = json.loads(json.dumps(doc))
    at = doc
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = mark
    text = json.dumps(doc, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.replace(f'"{mark}"', raw).encode("utf-8", "surrogateescape")


# A tree, read by whoever believes all of it.

def tree_files(data):
    """path → SHA-256 of each file that is not external, None where nothing makes sense."""
    try:
        sections = [struct.unpack_from("<IIQQ", data, 40 + 24 * i) for i in range(4)]
    except struct.error:
        return None
    nodes, names, sources = (s[2] for s in sections[:3])
    out, paths = {}, {0: b""}
    for i in range(1, min(sections[0][3], len(data)) // 72):
        at = nodes + 72 * i
        try:
            name, length, kind, _, parent = struct.unpack_from("<IHBBI", data, at)
            text = data[names + name:names + name + length]
            paths[i] = (paths[parent] + b"/" + text).lstrip(b"/")
            source = struct.unpack_from("<I", data, at + 32)[0]
            if kind == 2 and (source == 0xffffffff or data[sources + 64 * source] != 4):
                out[paths[i].decode()] = data[at + 40:at + 72].hex()
        except (struct.error, KeyError, IndexError, UnicodeDecodeError):
            continue
    return out


# The judge.

class Judge:
    """Runs programs on hostile input; counts, and keeps the largest memory seen."""

    CONTROL = re.compile(rb"[\x00-\x09\x0b-\x1f\x7f]|\xc2[\x80-\x9f]")

    def __init__(self, env, timeout=60):
        self.env, self.timeout = env, timeout
        self.lock, self.mine, self.spawners = threading.Lock(), threading.local(), []
        self.count, self.peak, self.codes = 0, 0, {}

    def spawner(self):
        """This thread's."""
        if not hasattr(self.mine, "spawner"):
            self.mine.spawner = Spawner()
            self.mine.said = [str(self.env.fresh("said") / name) for name in ("out", "err")]
            with self.lock:
                self.spawners.append(self.mine.spawner)
        return self.mine.spawner

    def run(self, what, argv, codes, cwd=None, extra=None, about=None, prefix=b"mops: "):
        """One program on one input; its exit code and what it said."""
        code, memory = self.spawner().run([str(a) for a in argv], {**self.env.vars, **(extra or {})},
                                          str(cwd or self.env.base), *self.mine.said, self.timeout)
        said, errors = (pathlib.Path(p).read_bytes() for p in self.mine.said)
        name = f"{what}: {' '.join(str(a) for a in argv[1:])[:200]}"
        with self.lock:
            self.peak = max(self.peak, memory)
            self.codes[code] = self.codes.get(code, 0) + 1
        if code not in codes:
            raise Failed(f"{name}: exit {code}, wanted {codes}: {errors[:1500]!r}")
        if memory > MEMORY_KIB:
            raise Failed(f"{name}: {memory} KiB of memory")
        if self.CONTROL.search(errors):
            raise Failed(f"{name}: raw control characters: {errors[:1500]!r}")
        if code:
            self.one_line(name, errors, about, prefix)
        return code, said

    @staticmethod
    def one_line(name, errors, about, prefix):
        lines = errors.splitlines()
        if not lines or not lines[-1 if len(lines) == 1 else 0].startswith(prefix):
            raise Failed(f"{name}: no error line: {errors[:500]!r}")
        if len([line for line in lines if line.startswith(prefix)]) != 1:
            raise Failed(f"{name}: more than one error: {errors[:1500]!r}")
        if len(lines[0]) > 8192:
            raise Failed(f"{name}: an error of {len(lines[0])} bytes")
        if about and about not in errors:
            raise Failed(f"{name}: {about!r} is not in {errors[:500]!r}")

    def mops(self, what, *argv, codes=REFUSED, **kw):
        return self.run(what, [MOPS, *argv], codes, **kw)

    def one(self, n=1):
        with self.lock:
            self.count += n

    def report(self, what, least):
        for spawner in self.spawners:
            spawner.stop()
        codes = ", ".join(f"{n} with {c}" for c, n in sorted(self.codes.items()))
        print(f"# {self.count} {what}; programs ended {codes}; at most {self.peak >> 10} MiB", flush=True)
        if self.count < least:
            raise Failed(f"only {self.count} {what}, wanted {least}")


def check_box(box, allowed):
    """Nothing but @allowed is in the folder around a destination."""
    strange = set(os.listdir(box)) - set(allowed)
    if strange:
        raise Failed(f"{sorted(strange)} was written beside the destination")


def check_dest(dest, files, whole):
    """Each regular file of @dest is one of @files with its content, all of them if
    @whole; no link leads out. @files None: nothing may be there."""
    dest = pathlib.Path(dest)
    seen = set()
    for at, dirs, names in os.walk(dest):
        if pathlib.Path(at) == dest:
            dirs[:] = [d for d in dirs if d != ".mops"]
        for name in dirs + names:
            path = pathlib.Path(at) / name
            if path.is_symlink():
                to = os.path.normpath(os.path.join(at, os.readlink(path)))
                if os.path.isabs(os.readlink(path)) or not (to + "/").startswith(f"{dest}/"):
                    raise Failed(f"{path} leads to {os.readlink(path)}")
            elif path.is_file():
                key = str(path.relative_to(dest))
                seen.add(key)
                if files is None or files.get(key) != sha256_file(path):
                    raise Failed(f"wrong bytes in {key}")
            elif not path.is_dir():
                raise Failed(f"{path} is a special file")
    if whole and files is not None and seen != set(files):
        raise Failed(f"{sorted(set(files) ^ seen)[:5]} is missing or too much")


def same_names(dest, names):
    """Nothing but these is below @dest."""
    got = {str(p.relative_to(dest)) for p in pathlib.Path(dest).rglob("*")}
    if got != names:
        raise Failed(f"{sorted(got ^ names)[:5]} is missing or too much")
