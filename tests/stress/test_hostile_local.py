#!/usr/bin/python3
"""Hostile input that is on this machine already: bundle files, settings, docker's
configuration and its helpers, the files of a cache, and trees that are mounted. SEED
chooses the damage."""
import json
import os
import pathlib
import random
import shutil
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lib"))
import hostile  # noqa: E402
from documents import Base, Place, manifest_case, oracle, tree_case  # noqa: E402
from mopstest import Failed, LocalServer, MOPSFS, is_mounted, need_fuse, run, sha256_file, sound_cache  # noqa: E402

SEED = int(os.environ.get("SEED", "1"))
MORE = int(os.environ.get("DOCUMENTS", "40"))
TOTAL = [0]
LAYERS = "bundle:\n  name: n\n  version: '1'\n"


def yaml_flaws(good):
    """Texts that are no YAML of ours, around the document @good."""
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(8))
    out = [bomb, good + bomb, "a: &a 1\nb: *a\n", "&a a: 1\n", "*a\n", "<<: {a: 1}\n", "!!python/object/apply:os.system [x]\n", "a: !!str b\n",
           "a: !x b\n", "!!map {}\n", "--- {}\n--- {}\n", good + "---\n" + good, "%YAML 9.9\n---\n" + good, "%TAG ! x\n---\n" + good,
           "? [a, b]\n: c\n", "? {a: b}\n: c\n", "- a\n- b\n", "a\n", "1\n", "[]\n", "null\n", "'\n", '"\n', "a: b: c\n", "a: [b\n", "a: {b\n", "]\n",
           "a:\n\tb: c\n", "\ta: b\n", "a: |\n", "a: >\n b\n c: d\n", "@a: b\n", "`a: b\n", "a: @b\n", "{a: b, a: c}\n", good + good, "a: b\na: c\n",
           "x" * 70000 + ": y\n", "#" * (1 << 20) + "\n", "[" * 17 + "]" * 17, "[" * 100000, "{a: " * 100000, "- " * 5000, "- " * 100000 + "x",
           "[" + ",".join(["x"] * 10001) + "]", "a: " + "x" * (1 << 20), "\0", good + "\0", "\ufeff\ufeff" + good, "a: \x01\n", "a: \x1b[2J\n",
           "\u2028: x\n", "unknown: 1\n" + good, good + "unknown: 1\n", "..." + good, "%\n", "!", "&", "*", "? ", ": ", "-", "|", ">"]
    raw = [s.encode() for s in out]
    raw += [b"\xff\xfe" + good.encode("utf-16-le"), b"\xfe\xff" + good.encode("utf-16-be"), b"a: \xff\n", b"\xc0\x80: x\n", b"a: \xed\xa0\x80\n",
            b"\x28\xb5\x2f\xfd", b"PK\3\4", good.encode("latin-1") + b"\xe9: x\n"]
    return raw


def bundle_files(env):
    judge = hostile.Judge(env)
    src = env.fresh("src")
    (src / "a").mkdir()
    (src / "a/x").write_text("x")
    flaws = [b for b in yaml_flaws(LAYERS) if b]
    layers = LAYERS + "  layers:\n"
    for text in ("    - {}\n", "    - {name: a}\n", "    - {name: a, paths: []}\n", "    - {name: a, paths: x}\n", "    - {name: a, paths: [1, {}]}\n",
                 "    - {name: A, paths: [x]}\n", "    - {name: '../a', paths: [x]}\n", "    - {name: '', paths: [x]}\n", "    []\n", "    x\n",
                 "    - {name: " + "a" * 64 + ", paths: [x]}\n", "    - {name: a, paths: ['../x']}\n", "    - {name: a, paths: ['/x']}\n",
                 "    - {name: a, paths: ['[']}\n", "    - {name: a, paths: [x], paths: [y]}\n", "    - {name: a, paths: [x], more: 1}\n",
                 "    - {name: a, paths: ['" + "*" * 5000 + "']}\n", "    - {name: a, paths: [x]}\n    - {name: a, paths: [y]}\n",
                 "    - {name: a, paths: [x]}\n  roles: {default: [b]}\n", "    - {name: a, paths: [x]}\n  roles: {default: []}\n",
                 "    - {name: a, paths: [x]}\n  roles: []\n", "    - {name: a, paths: [x]}\n  roles: {'../r': [a]}\n",
                 "    - {name: a, paths: [x]}\n  roles: {r: [a, a]}\n", "    - {name: a, paths: ['a\\x00']}\n", "    - {name: \"a\\0\", paths: [x]}\n",
                 "".join(f"    - {{name: l{i}, paths: [x]}}\n" for i in range(33))):
        flaws.append((layers + text).encode())
    for name in ("", "-", "A", "a//b", "a/", "/a", "../a", "a b", "a:b", "a@b", "oci", "x.y/z", "a" * 300, "[]", "{}", "1: 2"):
        flaws.append(f"bundle: {{name: {name or json.dumps('')}, version: '1'}}\n".encode())
    for version in ("''", "'-a'", "'.a'", "'a b'", "'a/b'", "'a:b'", "'" + "a" * 129 + "'", "[]", "'\u00e9'"):
        flaws.append(f"bundle: {{name: n, version: {version}}}\n".encode())
    for rule in ("{}", "{storage: x}", "{storage: 'http://x/'}", "{pattern: '**'}", "{pattern: '**', storage: 's3://'}", "{pattern: '**', storage: 's3://b?x/'}",
                 "{pattern: '[', storage: 's3://box/'}", "{pattern: '**', storage: 's3://box/../x/'}", "{pattern: '**', storage: 's3://box/', tier: warm}",
                 "{pattern: '**', storage: 's3://box/', min_size: -1}", "{pattern: '**', storage: 's3://box/', min_size: 1e400}",
                 "{pattern: '**', storage: 's3://box/', min_size: 99999999999999999999}", "{pattern: '**', storage: 's3://u:p@box/'}"):
        flaws.append((LAYERS + f"external_storage:\n  - {rule}\n").encode())
    for i, bad in enumerate(flaws):
        (src / ".mops-bundle.yaml").write_bytes(bad)
        start = time.monotonic()
        judge.mops(f"bundle file {i} {bad[:60]!r}", "plan", src, "-q")
        if time.monotonic() - start > 10:
            raise Failed(f"bundle file {i} takes {time.monotonic() - start:.1f} s")
        judge.one()
    judge.report("hostile bundle files", 100)
    TOTAL[0] += judge.count


def settings(env):
    judge = hostile.Judge(env)
    path = env.dir("config/mops") / "config.yaml"
    flaws = [b for b in yaml_flaws("offline: false\n")]
    values = ["-1", "0", "99999999999999999999", "1e400", "x", "''", "[]", "{}", "[1]", "{a: b}", "'\\x1b[2J'", "\"\\0\"", "'" + "x" * 3000 + "'", "~", "-0s", "1.5.5s"]
    for name in ("connect_timeout", "stall_timeout", "io_timeout", "concurrency"):
        flaws += [f"{name}: {v}\n".encode() for v in values if v != "~"]
    for name, more in {"limit_rate": ["-1", "x", "99999999999999999999", "1XB", "[]"], "offline": ["2", "x", "[]"],
                       "require_digest": ["x"], "plain_http": ["x", "{}"], "anonymous": ["x"], "registry": ["'http://'", "'a b'", "'../x'", "[]", "'oci:'"],
                       "cache_dir": ["''", "[]"], "role": ["'../r'", "'R'", "[]"], "file_roots": ["'x'", "['x']", "[1, {}]", "{}"],
                       "mirrors": ["x", "['=']", "['a=ftp://x']", "['a=http://u:p@h']", "['a b=c']", "{}"], "token_realms": ["['a b']", "['/']", "{}"],
                       "cache_max_size": ["-1", "x"], "cache_min_free": ["-1", "x"], "s3_requester_pays": ["{}", "['A B']"]}.items():
        flaws += [f"{name}: {v}\n".encode() for v in more]
    for i, bad in enumerate(flaws):
        path.write_bytes(bad)
        # A file of comments alone, or of nothing, sets nothing.
        empty = not bad.strip(b"\xef\xbb\xbf \n") or bad in (b"null\n", b"...offline: false\n")
        judge.mops(f"settings {i} {bad[:60]!r}", "cache", "du", codes=(0, 2) if empty or bad[:1] == b"#" else (2,))
        judge.one()
    path.unlink()
    for name in ("MOPS_CONCURRENCY", "MOPS_IO_TIMEOUT", "MOPS_LIMIT_RATE", "MOPS_OFFLINE"):
        for value in ("-1", "x y", "99999999999999999999", "\x1b[2J", "\u202e", "1;2", "\xff"):
            judge.mops(f"{name}={value!r}", "cache", "du", extra={name: value})
            judge.one()
    judge.report("hostile settings", 100)
    TOTAL[0] += judge.count


class Challenger:
    """Wants a login, whatever is shown."""

    def __init__(self, env):
        import http.server

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def do_GET(self):
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="x"')
                self.send_header("Content-Length", "0")
                self.end_headers()
            do_HEAD = do_GET
        self.host = LocalServer(env, Handler).host


def credentials(env):
    """docker's configuration and what its helpers print; a helper is no shell line."""
    judge = hostile.Judge(env, timeout=20)
    host = Challenger(env).host
    config = env.dir("home/.docker") / "config.json"
    good = json.dumps({"auths": {host: {"auth": "dTpw"}}}).encode()
    texts = hostile.json_texts(good, 200001)

    def tries(what, codes, **kw):
        judge.mops(what, "resolve", f"{host}/a/b:1", "--io-timeout", "2s", codes=codes, **kw)
        judge.one()
    for i in range(0, len(texts), 2):
        config.write_bytes(texts[i])
        tries(f"docker configuration {i}", (2, 3))
    for auth in ("1", "null", "[]", "{}", '""', '"x"', '"dTpw=="', '"dTo="', '"OnA="', '"ZHU="', '"' + "A" * 100000 + '"', '"dQA6cA=="', '"dQo6cA=="'):
        config.write_text(f'{{"auths":{{"{host}":{{"auth":{auth}}}}}}}')
        tries(f"auth {auth[:40]}", (2, 3))
    bin_dir, touched = env.dir("bin"), env.base / "touched"
    path = {"PATH": f"{bin_dir}:/usr/bin:/bin"}
    for name in ("", "-x", ".x", "..", "../x", "/bin/sh", "a b", "a;touch " + str(touched), "$(touch " + str(touched) + ")", "`id`", "a\\nb", "x" * 65, "a|b",
                 "\\u0000", "a\\u001b", "\\u00e9", "A/B", "~", "*", "nothing-of-that-name"):
        config.write_text(f'{{"credsStore":"{name}"}}')
        tries(f"helper {name[:40]!r}", (2, 3), extra=path)
    script, said = bin_dir / "docker-credential-evil", env.base / "reply"
    script.write_text(f"#!/bin/sh\ncat {said}\n")
    script.chmod(0o755)
    config.write_text('{"credsStore":"evil"}')
    replies = hostile.json_texts(b'{"Username":"u","Secret":"s"}', 200001)[::4]
    replies += [b'{"Username":"u\\r\\nX: y","Secret":"s"}', b'{"Username":"u","Secret":"s\\n"}', b'{"Username":"a:b","Secret":"s"}', b'{"Username":1,"Secret":2}',
                b'{"Username":"","Secret":""}', b"x" * 70000, b"\x1b[2J" * 100, b'{"Username":"u","Secret":"' + b"s" * 65000 + b'"}']
    for i, reply in enumerate(replies):
        said.write_bytes(reply)
        tries(f"reply {i}", (2, 3), extra=path)
    for body in ("exit 1", "echo 'credentials not found in native keychain'; exit 1", "kill -9 $$", "printf '\\033[2J\\n' >&2; exit 3", "yes"):
        script.write_text(f"#!/bin/sh\n{body}\n")
        tries(f"helper does {body}", (2, 3), extra=path)
    if touched.exists():
        raise Failed("a helper's name was run as a shell line")
    judge.report("hostile credentials", 200)
    TOTAL[0] += judge.count


def records(env):
    """A cache in which each file is replaced by what does not belong there: commands
    give the right bytes all the same, follow nothing outward, and do not hang."""
    base, rng = Base(), random.Random(SEED)
    judge = hostile.Judge(env)
    place = Place(env, base, 0)
    manifest_case(base, "honest", base.bundle.manifest).build(place)
    honest, cache, outside = env.base / "honest", place.top / "cache", env.fresh("outside")
    (outside / "canary").write_text("canary")
    env.mops("pull", place.ref, "-q", "--cache-dir", cache)
    env.mops("push", env.fresh("src"), "-q", "--to", f"oci:{env.base}/other:n:1", "--cache-dir", cache, code=None)
    shutil.copytree(cache, honest, symlinks=True)
    names = sorted(p.relative_to(honest) for p in honest.rglob("*") if not p.is_dir() or p.is_symlink())

    def replace(path, how):
        mode = path.lstat().st_mode & 0o777
        old = b"" if path.is_symlink() else path.read_bytes()
        path.unlink()
        if how == "gone":
            return
        if how == "folder":
            path.mkdir()
        elif how == "fifo":
            os.mkfifo(path)
        elif how == "link":
            path.symlink_to(outside / "canary")
        elif how == "loop":
            path.symlink_to(path.name)
        else:
            path.write_bytes({"empty": b"", "zeros": bytes(len(old)), "long": old + b"x" * 5000, "short": old[:len(old) // 2],
                              "huge": b"\xff" * 300000, "damaged": hostile.damaged(rng, old, 2)}[how])
            path.chmod(mode or 0o600)
    ways = ("gone", "folder", "fifo", "link", "loop", "empty", "zeros", "long", "short", "huge", "damaged")
    for n, name in enumerate(names):
        for how in [ways[(3 * n + k) % len(ways)] for k in range(5)]:
            shutil.rmtree(cache)
            shutil.copytree(honest, cache, symlinks=True)
            replace(cache / name, how)
            place.box.mkdir()
            what = f"{name} is {how}"
            code, _ = judge.mops(what, "materialize", place.ref, place.box / "dest", "-q", "--cache-dir", cache,
                                 codes=(0, 2, 3, 10) if name.name == "version" else (0, 2, 3), cwd=place.cwd)
            # A version that nobody knows, and a room that is none, are refused whole.
            if code and name.name not in ("version", "CACHEDIR.TAG") and how not in ("folder", "fifo", "link", "loop"):
                raise Failed(f"{what}: not healed, exit {code}")
            hostile.check_dest(place.box / "dest", base.files, code == 0)
            shutil.rmtree(place.box)
            if (outside / "canary").read_text() != "canary" or os.listdir(outside) != ["canary"]:
                raise Failed(f"{what}: something outside was changed")
            judge.one()
    judge.report("caches with something wrong in them", 100)
    TOTAL[0] += judge.count


def memory_of(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return int(next(line.split()[1] for line in f if line.startswith("VmHWM:")))


def read_all(at, files):
    """What is read is right, or an error; returns both counts."""
    good = bad = 0
    for top, _, names in os.walk(at, onerror=lambda e: None):
        for name in names:
            path = pathlib.Path(top) / name
            key = str(path.relative_to(at))
            if key.startswith(".mops/") or path.is_symlink():
                continue
            try:
                got = sha256_file(path)
                if files is None or files.get(key) != got:
                    raise Failed(f"wrong bytes in {key}: {got}, not {files and files.get(key)}")
                good += 1
            except OSError:
                bad += 1
    return good, bad


def mounts(env):
    """Trees with damage that a mount takes on: readers get right bytes or errors, and
    the worker stays who it was."""
    need_fuse()
    base, rng = Base(), random.Random(SEED)
    judge = hostile.Judge(env, timeout=30)
    place = Place(env, base, 0)
    nodes = int.from_bytes(base.tree[56:64], "little")
    reads, peak, mounted = [0, 0], 0, 0
    for i in range(MORE * 2):
        # Most damage to the nodes, so that header and table let it in.
        at = 136 + rng.randrange(nodes // 72) * 72
        node = hostile.damaged(rng, base.tree[at:at + 72])[:72].ljust(72, b"\0")
        tree = base.tree[:at] + node + base.tree[at + 72:] if i % 4 else hostile.damaged(rng, base.tree)
        case = tree_case(base, f"mount {i}", tree)
        place.begin()
        case.build(place)
        dest, cache = place.box / "dest", place.top / "cache"
        dest.mkdir()
        code, _ = judge.run(case.name, [MOPSFS, "mount", place.ref, dest, "--cache-dir", cache, "-q"], (0, 2, 10), cwd=place.cwd, prefix=b"mopsfs: ")
        if code == 0:
            env.mounts.append(dest)
            mounted += 1
            status = json.loads(env.mopsfs("status", dest, "--json").stdout)
            try:
                good, bad = read_all(dest, hostile.tree_files(tree))
            except Failed as e:
                raise Failed(f"{case.name}: {e}; {base.tree[at:at + 72].hex()} became {node.hex()}") from e
            after = json.loads(env.mopsfs("status", dest, "--json").stdout)
            if after["pid"] != status["pid"]:
                raise Failed(f"{case.name}: the worker was replaced")
            peak = max(peak, memory_of(after["pid"]))
            reads = [reads[0] + good, reads[1] + bad]
            env.umount(dest)
            if is_mounted(dest):
                raise Failed(f"{case.name} stays mounted")
        place.end()
        judge.one()
    sound_cache(place.top / "cache")
    print(f"# {mounted} of them were mounted, {reads[0]} files were read, {reads[1]} were errors; workers needed {peak >> 10} MiB")
    if peak > hostile.MEMORY_KIB or not mounted or not reads[0]:
        raise Failed("too much memory, or nothing was read")
    judge.report("damaged trees for mounts", MORE * 2)
    TOTAL[0] += judge.count


def enough(_env):
    print(f"# {TOTAL[0]} hostile files")
    if TOTAL[0] < 600 and len(sys.argv) == 1:
        raise Failed("fewer than 600")


run([bundle_files, settings, credentials, records, mounts, enough])
