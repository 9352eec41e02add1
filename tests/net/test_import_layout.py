#!/usr/bin/python3
"""mops import of image layouts in one tar: those of mops, skopeo, tar and Python, with their digest; and those that
are not what they should be."""
import hashlib
import io
import json
import os
import pathlib
import sys
import tarfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from mopstest import DockerRegistry, Failed, need_program, run, write_random  # noqa: E402

INDEX, VERSION = "index.json", "oci-layout"


def check(got, want):
    if got != want:
        raise Failed(f"{got}, not {want}")


def bundle(env):
    """m:1: two roles, a pack, and a blob of its own."""
    top = env.fresh("ws")
    write_random(top / "data/own", 3 << 20, 4)
    for i in range(20):
        write_random(top / f"src/f{i}", 100 + i, i)
    (top / ".mops-bundle.yaml").write_text(
        "bundle:\n  name: m\n  layers:\n    - {name: code, paths: [src/**]}\n    - {name: data, paths: [data/**]}\n"
        "  roles: {default: [code, data], code: [code]}\n")
    return top, env.push(top, "m:1")["digest"]


def exported(env, ref="m:1"):
    """{name: bytes} of the layout."""
    tar = env.base / "good.tar"
    env.mops("export", ref, "--oci", "-o", tar)
    with tarfile.open(tar) as t:
        return {m.name: t.extractfile(m).read() for m in t if m.isfile()}


def packed(env, members, name="some.tar", fmt=tarfile.USTAR_FORMAT):
    """@members: {name: bytes, or a TarInfo}, as Python writes them."""
    out = env.base / name
    with tarfile.open(out, "w", format=fmt) as t:
        for path, what in members.items():
            info = what
            if isinstance(what, bytes):
                info = tarfile.TarInfo(path)
                info.size, info.mtime, info.uname = len(what), 1234567890, "somebody"
            t.addfile(info, io.BytesIO(what if isinstance(what, bytes) else b""))
    return out


def comes_whole(env, archive, digest, to="new:1"):
    check(env.mops_json("import", archive, "--to", to)["digest"], digest)
    env.new_cache()
    check(env.mops_json("resolve", to)["digest"], digest)
    env.mops("verify", to, "--deep")
    env.mops("rm", to)


def every_writer(env):
    _, digest = bundle(env)
    members = exported(env)
    for name in ("layout.tar", "layout.tar.zst"):
        env.mops("export", "m:1", "--oci", "-o", env.base / name)
        comes_whole(env, env.base / name, digest)
    comes_whole(env, packed(env, members), digest)
    comes_whole(env, packed(env, dict(reversed(members.items())), fmt=tarfile.GNU_FORMAT), digest)
    env.mops("import", env.base / "layout.tar", "--dest", env.base / "layout")
    for fmt in ("gnu", "ustar", "v7"):
        env.run("tar", "-cf", env.base / "t.tar", f"--format={fmt}", "-C", env.base / "layout", ".")
        if fmt == "v7":  # has no word that says what it is
            env.mops("import", env.base / "t.tar", "--to", "new:1", code=2)
        else:
            comes_whole(env, env.base / "t.tar", digest)


def round_trip_with_skopeo(env):
    skopeo = need_program("skopeo")
    _, digest = bundle(env)
    reg = DockerRegistry(env)
    ref = f"{reg.host}/team/m:1"
    env.mops("copy", "m:1", ref)
    for i, name in enumerate(("", ":team/m:1", ":latest")):
        out = env.base / f"{i}.tar"
        env.run(skopeo, "--insecure-policy", "copy", "--src-tls-verify=false", f"docker://{ref}", f"oci-archive:{out}{name}")
        comes_whole(env, out, digest)
        to = f"{reg.host}/back/m{i}:2"
        said = env.mops("import", out, "--to", to).stdout.decode().split()
        check(said, [digest])
        raw = env.run(skopeo, "inspect", "--raw", "--tls-verify=false", f"docker://{to}").stdout
        check("sha256:" + hashlib.sha256(raw).hexdigest(), digest)
        env.mops("import", out, "--dest", env.base / f"dest{i}")
        check(env.mops_json("resolve", f"oci:{env.base}/dest{i}@{digest}")["digest"], digest)
    if any(b"mops-import" in p.read_bytes() for p in (env.cache() / "refs").iterdir()):
        raise Failed("the cache looks for it in a folder that is gone")


def one_of_several(env):
    top, one = bundle(env)
    members = exported(env)
    write_random(top / "data/own", 3 << 20, 5)
    two = env.push(top, "m:2")["digest"]
    more = exported(env, "m:2")
    both = {**members, **more}
    both[INDEX] = json.dumps({"schemaVersion": 2, "manifests": json.loads(members[INDEX])["manifests"] +
                              json.loads(more[INDEX])["manifests"]}).encode()
    tar = packed(env, both)
    p = env.mops("import", tar, "--to", "new:1", code=2)
    if b"2 manifests" not in p.stderr or b"@sha256" not in p.stderr:
        raise Failed(p.stderr.decode())
    for digest in one, two:
        comes_whole(env, tar, digest, f"new:1@{digest}")
    env.mops("import", tar, "--to", "new:1@sha256:" + "0" * 64, code=2)


def a_tag_that_moved_is_kept(env):
    top, digest = bundle(env)
    tar = packed(env, exported(env))
    write_random(top / "src/f0", 50, 77)
    env.push(top, "n:1")
    seen = env.cache()
    env.new_cache()
    write_random(top / "src/f0", 50, 78)
    theirs = env.push(top, "n:1", "--force")["digest"]
    env.vars["MOPS_CACHE_DIR"] = str(seen)
    env.mops("import", tar, "--to", "n:1", code=2)
    check(env.mops_json("resolve", f"n:1@{theirs}")["digest"], theirs)
    check(env.mops_json("import", tar, "--to", "n:1", "--force")["digest"], digest)


def link(name, kind, to):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, to
    return info


def malformed(members):
    """(what, members, in the message) of archives that are refused."""
    blobs = sorted((n for n in members if n.startswith("blobs/")), key=lambda n: len(members[n]))
    big, small = blobs[-1], blobs[0]
    entry = json.loads(members[INDEX])["manifests"][0]
    manifest = "blobs/sha256/" + entry["digest"][7:]
    zero = "blobs/sha256/" + "0" * 64

    def index(*entries):
        return {**members, INDEX: json.dumps({"schemaVersion": 2, "manifests": list(entries)}).encode()}

    def less(*names):
        return {n: b for n, b in members.items() if n not in names}

    def other_manifest(change):
        doc = json.loads(members[manifest])
        change(doc["layers"][-1])
        raw = json.dumps(doc).encode()
        digest = hashlib.sha256(raw).hexdigest()
        return {**index({**entry, "digest": "sha256:" + digest, "size": len(raw)}), "blobs/sha256/" + digest: raw}

    flipped = bytes([members[big][0] ^ 1]) + members[big][1:]
    return [
        ("flipped", {**members, big: flipped}, "other bytes"),
        ("shorter", {**members, big: members[big][:-1]}, "other bytes"),
        ("a blob less", less(big), "is missing"),
        ("no manifest", less(manifest), ""),
        ("no index", less(INDEX), "has both"),
        ("no version", less(VERSION), "has both"),
        ("another version", {**members, VERSION: b'{"imageLayoutVersion":"9"}'}, ""),
        ("a version that is none", {**members, VERSION: b"[]"}, ""),
        ("an index that is none", {**members, INDEX: b"[]"}, ""),
        ("a broken index", {**members, INDEX: members[INDEX][:-3]}, ""),
        ("a large index", {**members, INDEX: b" " * (5 << 20)}, "too large"),
        ("an empty index", index(), "0 manifests"),
        ("a manifest that is not there", index({**entry, "digest": "sha256:" + "0" * 64}), ""),
        ("another size", other_manifest(lambda d: d.update(size=d["size"] + 1)), "wrong size"),
        ("another blob", other_manifest(lambda d: d.update(digest="sha256:" + "1" * 64)), "is missing"),
        ("another algorithm", index({**entry, "digest": "sha512:" + "0" * 128}), ""),
        ("no digest", index({**entry, "digest": "../../x"}), ""),
        ("another blob as manifest", index({**entry, "digest": "sha256:" + big[-64:]}), ""),
        ("a name that leaves", {**members, "../out": b"x"}, "does not belong"),
        ("an absolute name", {**members, "/tmp/out": b"x"}, "does not belong"),
        ("a file more", {**members, "manifest.json": b"[]"}, "does not belong"),
        ("a name in capitals", {**members, zero.replace("0", "A"): b"x"}, "does not belong"),
        ("a long name", {**members, "blobs/sha256/" + "0" * 70: b"x"}, "does not belong"),
        ("a dot in between", {**members, "blobs/./sha256/" + "0" * 64: b"x"}, "does not belong"),
        ("a prefix", {**members, "x" * 60 + "/" + zero: b"x"}, "name that no"),
        ("a symlink", {**members, zero: link(zero, tarfile.SYMTYPE, "/etc/passwd")}, "does not belong"),
        ("a folder that is a link", {"blobs": link("blobs", tarfile.SYMTYPE, "/tmp"), **members}, ""),
        ("a hard link", {**members, zero: link(zero, tarfile.LNKTYPE, small)}, "does not belong"),
        ("a device", {**members, zero: link(zero, tarfile.CHRTYPE, "")}, "does not belong"),
        ("a folder as blob", {zero: link(zero, tarfile.DIRTYPE, ""), **members}, ""),
    ]


def header_field(data, at, value, name):
    """The header of @name in @data with other bytes at @at and its checksum put right."""
    start = data.index(name.encode()) if isinstance(name, str) else name
    block = bytearray(data[start:start + 512])
    block[at:at + len(value)] = value
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return data[:start] + bytes(block) + data[start + 512:]


def not_one_is_taken(env):
    bundle(env)
    members = exported(env)
    tmp, tar = env.fresh("tmp"), packed(env, members)
    whole = tar.read_bytes()
    cases = [(what, packed(env, m, f"bad{i}.tar").read_bytes(), said) for i, (what, m, said) in enumerate(malformed(members))]
    big = max((n for n in members if n.startswith("blobs")), key=lambda n: len(members[n]))
    cases += [
        ("twice", packed(env, {INDEX: members[INDEX]}, "i.tar").read_bytes()[:1024] + whole, "twice"),
        ("cut in a blob", whole[:whole.index(big.encode()) + 70000], "too early"),
        ("cut behind a header", whole[:whole.index(big.encode()) + 512], "too early"),
        ("without an end", packed(env, members, "e.tar").read_bytes().rstrip(b"\0"), ""),
        ("a checksum", whole.replace(big.encode(), big[:-1].encode() + b"\0", 1), ""),
        ("a size that is none", header_field(whole, 124, b"zzzzzzzzzzz\0", big), "size"),
        ("a size in binary", header_field(whole, 124, b"\x80" + b"\0" * 10 + b"\1", big), "size"),
        ("a huge size", header_field(whole, 124, b"77777777777\0", big), "too early"),
        ("a PAX header", header_field(whole, 156, b"x", big), ""),
        ("sparse", header_field(whole, 156, b"S", big), "does not belong"),
    ]
    for what, data, said in cases:
        tar.write_bytes(data)
        for args in ("--to", "bad:1"), ("--dest", env.base / "dest", "--to", "bad:1"):
            p = env.mops("import", tar, *args, code=None, env={"TMPDIR": str(tmp)})
            lines = p.stderr.decode().splitlines()
            if p.returncode != 2 or not lines or said not in lines[0] or any(c < 32 for c in lines[0].encode()):
                raise Failed(f"{what}: exit {p.returncode}: {lines}, wanted 2 and {said!r}")
            for path in (env.base / "dest").rglob("blobs/sha256/*"):
                check(hashlib.sha256(path.read_bytes()).hexdigest(), path.name)
            env.run("rm", "-rf", env.base / "dest")
        check(os.listdir(tmp), [])
    env.mops("resolve", "bad:1", code=1)


def files_may_be_called_so(env):
    """A bundle's files are told from a layout, whatever their names."""
    top = env.fresh("ws")
    for name in ("blobs/sha256/" + "0" * 64, INDEX, "blobs/other"):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(name)
    env.mops("export", f"{top}/", "-o", env.base / "files.tar")
    env.mops("import", env.base / "files.tar", "--dest", env.base / "out")
    check((env.base / "out" / INDEX).read_text(), INDEX)
    check(env.mops_json("import", env.base / "files.tar", "--to", "f:1")["digest"], env.push(top, "f:2")["digest"])


run([
    every_writer,
    round_trip_with_skopeo,
    one_of_several,
    a_tag_that_moved_is_kept,
    not_one_is_taken,
    files_may_be_called_so,
])
