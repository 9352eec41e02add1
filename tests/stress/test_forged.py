#!/usr/bin/python3
"""Two bundles that claim one file digest with different chunk lists, read through one
cache in every order: the honest one never gets a byte of the forged one, and the forged
one never gets a partial byte of the honest one. The forger is the format's second
writer, so nothing here relies on the code under test."""
import errno
import hashlib
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lib"))
sys.path.insert(0, str(HERE.parent / "unit/engine"))
import format_oracle as oracle  # noqa: E402
from mopstest import Failed, need_root, run, write_random  # noqa: E402

MIB = 1 << 20
BIG, SMALL = "m/big.bin", "m/small.bin"


def contents(env, seed):
    """A big file of its own blob, and small ones that share a pack of several chunks."""
    top = env.fresh("content")
    out = {}
    for n, (name, size) in enumerate([(BIG, 5 * MIB + 77), (SMALL, 100 * 1024)] +
                                     [(f"m/x{i}.bin", 300 * 1024) for i in range(6)]):
        write_random(top / name, size, seed * 100 + n)
        out[name] = (top / name).read_bytes()
    return out


def workspace(files):
    ws = oracle.Workspace([("m", "m")], {"default": ["m"]})
    for path, data in files.items():
        ws.file(path, data)
    return ws


class Forged(oracle.Bundle):
    """The content of @evil under the digests of @honest: every source and file claims
    an honest digest, with the chunk list of the other bytes."""

    def __init__(self, evil, honest):
        ws = workspace(evil)
        self.claims = {oracle.sha(d): oracle.sha(honest[p]) for p, d in evil.items()}
        for path, entry in ws.entries.items():
            entry.digest = oracle.sha(honest[path])
        packs = [oracle.place(workspace(files))[1][0][0] for files in (evil, honest)]
        self.claims[oracle.sha(packs[0])] = oracle.sha(packs[1])
        real = oracle.place
        oracle.place = self.place
        try:
            super().__init__(ws)
        finally:
            oracle.place = real

    def place(self, ws):
        places, packs = self.real_place(ws)
        for source, _ in places.values():
            if source.kind == oracle.PACK:
                source.digest = self.claims.get(source.digest, source.digest)
        return places, packs

    real_place = staticmethod(oracle.place)

    def add(self, data, media_type, title, filepath=False):
        digest = oracle.sha(data)
        claim = self.claims.get(digest)
        super().add(data, media_type, title, filepath)
        if claim:
            self.blobs[claim] = self.blobs.pop(digest)
            self.descriptors[-1]["digest"] = oracle.text(claim)


def layout(env, name, bundle):
    top = env.fresh(name)
    blobs = top / "blobs/sha256"
    blobs.mkdir(parents=True)
    for digest, data in [*bundle.blobs.items(), (oracle.sha(bundle.manifest), bundle.manifest)]:
        (blobs / digest.hex()).write_bytes(data)
    (top / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [{
        "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": bundle.digest,
        "size": len(bundle.manifest), "annotations": {"org.opencontainers.image.ref.name": name + ":1"}}]}))
    (top / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    return f"oci:{top}:{name}:1"


def read_at(path, offset, n):
    """The bytes, or None for EIO; any other error is a failure."""
    try:
        with open(path, "rb", buffering=0) as f:
            f.seek(offset)
            out = b""
            while len(out) < n and (got := f.read(n - len(out))):
                out += got
            return out
    except OSError as e:
        if e.errno != errno.EIO:
            raise
        return None


class World:
    def __init__(self, env):
        need_root()
        self.env = env
        self.honest, self.evil = contents(env, 1), contents(env, 2)
        self.a = layout(env, "honest", oracle.Bundle(workspace(self.honest)))
        self.b = layout(env, "forged", Forged(self.evil, self.honest))
        # What the registry of the second forgery stores under the claimed digests is right;
        # only its lists lie.
        forged = Forged(self.evil, self.honest)
        for data in oracle.Bundle(workspace(self.honest)).blobs.values():
            if oracle.sha(data) in forged.blobs:
                forged.blobs[oracle.sha(data)] = data
        self.c = layout(env, "listed", forged)

    def is_sealed(self):
        """Is the honest content whole in the cache?"""
        name = hashlib.sha256(self.honest[BIG]).hexdigest()
        return any((self.env.cache() / "blobs").rglob(name))

    def whole(self, ref):
        """Everything of the honest bundle, to the byte."""
        with self.env.mount(ref) as at:
            for path, data in self.honest.items():
                if (at / path).read_bytes() != data:
                    raise Failed(f"{path} of the honest bundle is wrong")
        dest = self.env.fresh("dest")
        self.env.mops("materialize", ref, dest, "-q")
        for path, data in self.honest.items():
            if (dest / path).read_bytes() != data:
                raise Failed(f"{path} of the honest bundle is materialized wrong")
        self.env.mops("verify", "--cache")

    def forged(self, ref, sealed=False):
        """The forged bundle: what its list says, or an error; when the honest content is
        whole in the cache also that, for its digest is what the bundle names. A small file
        is never what the list says, for its own digest is pinned, too, and says otherwise."""
        errors = reads = 0
        with self.env.mount(ref) as at:
            for path in self.evil:
                size = len(self.evil[path])
                for offset in range(0, size, MIB):
                    n = min(64 * 1024, size - offset)
                    got = read_at(at / path, offset, n)
                    ok = [None]
                    if path == BIG:
                        ok.append(self.evil[path][offset:offset + n])
                    if sealed:
                        ok.append(self.honest[path][offset:offset + n])
                    if got not in ok:
                        raise Failed(f"{path} at {offset} of the forged bundle: bytes of another")
                    errors += got is None
                    reads += 1
        print(f"# {reads} reads of the forged bundle, {errors} errors")

    def never_whole(self, ref):
        """A forged bundle becomes no folder: exit 2, and nothing wrong stands there."""
        dest = self.env.fresh("dest")
        p = self.env.mops("materialize", ref, dest, "-q", code=None)
        if p.returncode != 2:
            raise Failed(f"materialize of a forged bundle: exit {p.returncode}\n{p.stderr.decode()}")
        for path in self.evil:
            if (dest / path).exists() and (dest / path).read_bytes() != self.honest[path]:
                raise Failed(f"{path} of the forged bundle stands there")


def forged_first(env):
    w = World(env)
    for ref in (w.b, w.c):
        env.new_cache()
        w.forged(ref)
        w.never_whole(ref)
        w.whole(w.a)


def honest_first_in_part(env):
    w = World(env)
    for ref in (w.b, w.c):
        env.new_cache()
        with env.mount(w.a) as at:
            for offset in (0, 2 * MIB):
                if read_at(at / BIG, offset, 1000) != w.honest[BIG][offset:offset + 1000]:
                    raise Failed("the honest bundle reads wrong")
            w.forged(ref)
        w.never_whole(ref)
        w.whole(w.a)


def both_at_once(env):
    w = World(env)
    for ref in (w.b, w.c):
        env.new_cache()
        with env.mount(w.a) as good, env.mount(ref) as bad:
            for offset in range(0, len(w.honest[BIG]), MIB // 2):
                got = read_at(bad / BIG, offset, 5000)
                ok = [None, w.evil[BIG][offset:offset + 5000]]
                if w.is_sealed():  # by what was fetched ahead for the honest one
                    ok.append(w.honest[BIG][offset:offset + 5000])
                if got not in ok:
                    raise Failed(f"the forged bundle got bytes of another at {offset}")
                if read_at(good / BIG, offset, 5000) != w.honest[BIG][offset:offset + 5000]:
                    raise Failed(f"the honest bundle reads wrong at {offset}")
        w.whole(w.a)


def honest_first_and_whole(env):
    w = World(env)
    for ref in (w.b, w.c):
        env.new_cache()
        env.mops("pull", w.a, "-q")
        w.forged(ref, sealed=True)
        w.whole(w.a)


run([forged_first, honest_first_in_part, both_at_once, honest_first_and_whole])
