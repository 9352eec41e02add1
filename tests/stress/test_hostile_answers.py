#!/usr/bin/python3
"""Hostile answers of a registry and of its token service: manifests whose types
disagree, digests that lie, tag lists, pages, challenges, tokens, ranges and errors. No
such answer makes mops crash, hang, print control characters, need more than 64 MiB,
or say what was not checked."""
import concurrent.futures
import hashlib
import http.server
import json
import os
import pathlib
import random
import shutil
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lib"))
import hostile  # noqa: E402
from documents import MANIFEST_TYPE, Base, oracle  # noqa: E402
from mopstest import Failed, LocalServer, run  # noqa: E402

MORE = int(os.environ.get("ANSWERS", "40"))
SEED = int(os.environ.get("SEED", "1"))
TIMES = ["--io-timeout", "2s", "--connect-timeout", "1s", "--stall-timeout", "1s"]
TOTAL = [0]
JSON_TYPE = "application/json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
DOCKER_TYPE = "application/vnd.docker.distribution.manifest.v2+json"


def digest_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Answer:
    def __init__(self, code=200, body=b"", headers=(), length=True, endless=False):
        self.code, self.body, self.headers, self.length, self.endless = code, body, headers, length and not endless, endless


class Registry:
    """Serves an honest bundle as every repository cN/n, but for what case N has
    instead: a function of (method, kind, name) that returns an Answer or None."""

    def __init__(self, env, base):
        self.base, self.cases = base, {}
        registry = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def do_GET(self):
                registry.answer(self)
            do_HEAD = do_POST = do_GET
        self.host = LocalServer(env, Handler).host

    def answer(self, h):
        path, _, query = h.path.partition("?")
        parts = path.strip("/").split("/")
        if path.rstrip("/") == "/v2":
            a = Answer()
        elif parts[0] == "token":
            a = self.cases[int(parts[1])](h, "token", query)
        elif parts[0] == "v2" and len(parts) > 4 and parts[1][:1] == "c":
            a = self.cases[int(parts[1][1:])](h, parts[3], parts[4] + ("?" + query if query else "")) or self.good(h, *parts[3:5])
        else:
            a = Answer(404, b"{}")
        self.send(h, a)

    def send(self, h, a):
        head = f"HTTP/1.1 {a.code} X\r\n".encode()
        for name, value in a.headers:
            head += name.encode() + b": " + (value if isinstance(value, bytes) else value.encode("utf-8", "surrogateescape")) + b"\r\n"
        if a.length:
            head += b"Content-Length: %d\r\n" % len(a.body)
        else:
            h.close_connection = True
        try:
            h.wfile.write(head + b"\r\n" + (b"" if h.command == "HEAD" else a.body))
            while a.endless and h.command != "HEAD":
                h.wfile.write(a.body)
        except OSError:
            h.close_connection = True

    def good(self, h, kind, name):
        b = self.base.bundle
        if kind == "manifests":
            return Answer(200, b.manifest, [("Content-Type", MANIFEST_TYPE), ("Docker-Content-Digest", b.digest)])
        if kind == "tags":
            return Answer(200, b'{"name":"n","tags":["1","2"]}', [("Content-Type", JSON_TYPE)])
        if kind == "blobs" and name[:7] == "sha256:" and bytes.fromhex(name[7:]) in b.blobs:
            data, asked = b.blobs[bytes.fromhex(name[7:])], h.headers.get("Range")
            if not asked or h.command == "HEAD":
                return Answer(200, data)
            first, last = (int(x) for x in asked.split("=")[1].split("-"))
            part = data[first:last + 1]
            return Answer(206, part, [("Content-Range", f"bytes {first}-{first + len(part) - 1}/{len(data)}")])
        return Answer(404, b'{"errors":[{"code":"BLOB_UNKNOWN"}]}')


class Case:
    """@verb: what is run. @check: of what it says when it succeeds."""

    def __init__(self, name, verb, codes, answer, check=None):
        self.name, self.verb, self.codes, self.answer, self.check = name, verb, codes, answer, check


def play_all(env, base, cases, what, least):
    registry = Registry(env, base)
    judge = hostile.Judge(env, timeout=30)
    workers = 2 * (os.cpu_count() or 1)
    bad = []

    def argv(n, verb, cache):
        ref = f"{registry.host}/c{n}/n"
        return {"cat": ["cat", ref + ":1", "a/data.bin"], "ls": ["ls", "-R", ref + ":1"], "resolve": ["resolve", ref + ":1"],
                "pinned": ["resolve", f"{ref}@{base.bundle.digest}"], "tags": ["tags", ref]}[verb] + \
            ["--cache-dir", cache, *TIMES]

    def work(k):
        for n in range(k, len(cases), workers):
            case = cases[n]
            cache = env.fresh("cache")
            try:
                code, said = judge.mops(case.name, *argv(n, case.verb, cache), codes=case.codes)
                if code == 0 and case.check:
                    case.check(said)
                judge.one()
            except Failed as e:
                bad.append(str(e))
            shutil.rmtree(cache)
    registry.cases = {n: c.answer for n, c in enumerate(cases)}
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        for done in [pool.submit(work, k) for k in range(workers)]:
            done.result()
    judge.report(what, 0 if bad else least)
    if bad:
        raise Failed(f"{len(bad)} of {len(cases)}:\n" + "\n".join(bad[:12]))
    TOTAL[0] += judge.count


def only(kind, answer):
    """@answer to requests of this kind, the honest one to others."""
    return lambda h, k, name: answer if k == kind else None


def right_bytes(said):
    if said != oracle.content("data", 3000):
        raise Failed("cat printed wrong bytes")


def types(env):
    """What the registry calls a manifest, and what the manifest calls itself."""
    base = Base()
    cases = []
    names = [None, MANIFEST_TYPE, INDEX_TYPE, DOCKER_TYPE, JSON_TYPE, "text/plain", "application/octet-stream", "", "/", "a", "a/b/c",
             MANIFEST_TYPE + "; charset=utf-8", MANIFEST_TYPE.upper(), MANIFEST_TYPE + ",x/y", "application/vnd.oci.image.manifest.v2+json",
             "\x01", "x" * 300 + "/y"]
    for said in names:
        for inside in (MANIFEST_TYPE, None, INDEX_TYPE, DOCKER_TYPE, "a/b", "", 1, None):
            doc = json.loads(base.bundle.manifest)
            doc.pop("mediaType") if inside is None else doc.update(mediaType=inside)
            body = oracle.canonical(doc)
            headers = [("Docker-Content-Digest", digest_of(body))] + ([("Content-Type", said)] if said is not None else [])
            # What says nothing of a document, or is no type, leaves it to the document.
            vague = said in (None, JSON_TYPE, "text/plain", "application/octet-stream", "", "/", "a", "a/b/c", MANIFEST_TYPE + ",x/y", "\x01")
            agrees = vague or said.split(";")[0].lower() == MANIFEST_TYPE
            fits = agrees and inside in (MANIFEST_TYPE, None)
            cases.append(Case(f"type {said!r} of {inside!r}", "ls", (0, 2, 3, 10) if fits else (2, 3, 10),
                              only("manifests", Answer(200, body, headers))))
    for more in ({"manifests": []}, {"manifests": [{"digest": base.bundle.digest, "mediaType": MANIFEST_TYPE, "size": 1}]},
                 {"schemaVersion": 1}, {"schemaVersion": "2"}, {"artifactType": "x/y"}, {"artifactType": 1}, {"layers": {}}, {"layers": None},
                 {"layers": [None]}, {"config": None}, {"config": []},                  {"fsLayers": [], "layers": None}, {"mediaType": INDEX_TYPE, "manifests": []}):
        body = oracle.canonical({**base.manifest, **more})
        cases.append(Case(f"manifest with {more}", "ls", (2, 10),
                          only("manifests", Answer(200, body, [("Content-Type", MANIFEST_TYPE), ("Docker-Content-Digest", digest_of(body))]))))
    texts = hostile.json_texts(base.bundle.manifest)
    for i, bad in enumerate(texts[i] for i in range(0, len(texts), 3)):
        codes = (3,) if len(bad) > 4 << 20 else (2, 10) if i else (2, 3, 10)
        cases.append(Case(f"text {i}", "resolve" if i % 2 else "ls", codes,
                          only("manifests", Answer(200, bad, [("Content-Type", MANIFEST_TYPE), ("Docker-Content-Digest", digest_of(bad))]))))
    play_all(env, base, cases, "answers with wrong manifests", 200)


def digests(env):
    """What the registry says that the digest is."""
    base = Base()
    cases = []

    def said_right(said):
        if base.bundle.digest.encode() not in said:
            raise Failed("resolve says another digest")
    for bad in hostile.bad_digests():
        if any(c in bad for c in "\r\n\0"):
            continue
        answer = Answer(200, base.bundle.manifest, [("Content-Type", MANIFEST_TYPE), ("Docker-Content-Digest", bad)])
        for verb in ("resolve", "pinned"):
            cases.append(Case(f"{verb}, digest said to be {bad[:60]!r}", verb, (0, 2, 3, 10), only("manifests", answer), said_right))
    other = digest_of(b"other")
    for code, headers in ((200, [("Docker-Content-Digest", other)]), (200, [("Docker-Content-Digest", other), ("Docker-Content-Digest", other)]),
                          (206, [("Content-Range", "bytes 0-1/2")]), (203, []), (204, []), (304, [])):
        answer = Answer(code, base.bundle.manifest if code != 204 else b"", [("Content-Type", MANIFEST_TYPE), *headers])
        cases.append(Case(f"{code} {headers}", "resolve", (0, 1, 2, 3, 10), only("manifests", answer), said_right))
        cases.append(Case(f"{code} {headers}, pinned", "pinned", (0, 1, 2, 3, 10), only("manifests", answer), said_right))
    play_all(env, base, cases, "answers with wrong digests", 200)


def lists(env):
    """Tag lists, and where their next page is said to be."""
    base = Base()
    cases = []
    good = b'{"name":"n","tags":["1"]}'
    for i, bad in enumerate(hostile.json_texts(good, 200001)):
        cases.append(Case(f"tags {i}", "tags", (2, 3), only("tags", Answer(200, bad))))
    # What is in a list and no tag is passed over: some registries have digests there.
    for tags in ('{"tags":1}', '{"tags":[1]}', '{"tags":[null]}', '{"tags":["a",{}]}', '{"tags":{"a":"b"}}', '{"tags":"a"}', '{"tags":[[]]}'):
        codes = (0,) if "[" in tags else (3,)
        cases.append(Case(f"tags {tags}", "tags", codes, only("tags", Answer(200, tags.encode()))))

    def plain(said):
        if any(c < 0x20 and c != 10 or c == 0x7f for c in said) or b"\xc2\x9b" in said:
            raise Failed(f"raw control characters: {said!r}")
    for name in ("\\u001b[2J", "\\u0000", "a\\nb", "..", "../x", "", "a/b", "\\u009b2J", "\\u202e", "x" * 200, "-a", ".a", "a b", "\\ud83d\\ude00"):
        cases.append(Case(f"tag {name!r}", "tags", (0, 2, 3), only("tags", Answer(200, f'{{"tags":["1","{name}"]}}'.encode())), plain))
    for link in ("", "<", "<>", "<>; rel=next", "</v2>; rel=next", "<x>; rel=next", "<?n=1>; rel=\"next\"", "<//other.invalid/v2/x>; rel=next",
                 "<http://169.254.169.254/>; rel=next", "<file:///etc/passwd>; rel=next", "<https://[::1]:1/>; rel=next", "<ftp://x/>; rel=next",
                 "</v2/../../x>; rel=next", "<\x01>; rel=next", "<a b>; rel=next", "</tags?" + "x" * 20000 + ">; rel=next", "<x>; rel=", "<x>; rel",
                 "<x>;", ";rel=next", "<x>; rel=\"next", "<x>; rel=next,", ",,,,", "<x>; rel=prev", "<<x>>; rel=next", "<x; rel=next",
                 "<http://user:pw@127.0.0.1:1/>; rel=next", "<http://127.0.0.1:99999/>; rel=next", "<http://[::/>; rel=next", "<x>; rel=next" * 500):
        cases.append(Case(f"link {link[:60]!r}", "tags", (0, 1, 2, 3), only("tags", Answer(200, good, [("Link", link)])), plain))
    loops = {}

    def endless(h, kind, name):
        loops[0] = loops.get(0, 0) + 1
        return Answer(200, good, [("Link", f"<{h.path.partition('?')[0]}?last={loops[0]}&n=1>; rel=\"next\"")]) if kind == "tags" else None
    cases.append(Case("pages without end", "tags", (0, 3), endless, plain))
    play_all(env, base, cases, "hostile lists", 250)
    print(f"# {loops[0]} pages of a list without end")


def challenges(env):
    """What a 401 says one has to show, and what a token service gives."""
    base = Base()
    rng = random.Random(SEED)
    cases = []
    fields = ["", " ", ",", ",,,", "Bearer", "Bearer ", "Bearer realm", "Bearer realm=", "Bearer realm=\"", "Bearer realm=\"\"", "Bearer =",
              "Bearer realm=\"x", "Bearer realm=x", "Bearer realm=\"x\\", "Bearer realm=\"x\\\"", "Bearer realm=\"/token\"", "Basic", "Basic x=",
              "Basic realm=\"\x80\"", "Digest nonce=\"x\"", "Negotiate", "Negotiate abc==", "Bearer abc===", "Bearer a=b=c", "Bearer realm=\"file:///etc/passwd\"",
              "Bearer realm=\"http://169.254.169.254/\"", "Bearer realm=\"http://127.0.0.1:1/\"", "Bearer realm=\"https://127.0.0.1:1/\"",
              "Bearer realm=\"http://[fe80::1]/\"", "Bearer realm=\"http://0/\"", "Bearer realm=\"http://0x7f.1/\"", "Bearer realm=\"http://user@h/\"",
              "Bearer realm=\"http://h:0/\"", "Bearer realm=\"http://h:65536/\"", "Bearer realm=\"javascript:1\"", "Bearer realm=\"//h/\"",
              "Bearer realm=\"http://h/ x\"", "Bearer realm=\"http://h/\\r\\nX: y\"", "Bearer realm=\"" + "x" * 8000 + "\"",
              "Bearer " + ",".join(f"p{i}=\"v\"" for i in range(100)), ",".join(["Bearer realm=\"x\""] * 100), "\x01\x02", "=", "==", "\"\"", "\"",
              "Bearer realm=\"a\", Basic realm=\"b\", Digest", "Bearer,Basic,Digest", "Bearer realm = \"x\"", "Bearer\trealm=\"x\"",
              "Bearer realm=\"http://127.0.0.1:1/\",realm=\"http://127.0.0.1:1/\"", "Bearer scope=\"x\"", "Bearer error=\"insufficient_scope\"",
              "Bearer realm=http://127.0.0.1:1/,scope=\"" + "repository:x:pull " * 400 + "\"", "b@d realm=\"x\"", "Bearer realm=\"caf\xe9\""]
    good = 'Bearer realm="http://127.0.0.1:1/token",service="s",scope="repository:x:pull"'
    fields += [hostile.damaged(rng, good.encode(), 1 + i % 3).decode("latin-1").replace("\n", " ").replace("\r", " ").replace("\0", " ")
               for i in range(100)]
    for f in fields:
        answer = Answer(401, b'{"errors":[{"code":"UNAUTHORIZED"}]}', [("WWW-Authenticate", f.encode("latin-1"))])
        cases.append(Case(f"challenge {f[:60]!r}", "resolve", (3,), only("manifests", answer)))

    def asks(token):
        def answer(h, kind, name):
            if kind == "token":
                return token
            if kind == "manifests" and not h.headers.get("Authorization"):
                number = h.path.split("/")[2][1:]
                host = h.headers["Host"]
                return Answer(401, b"{}", [("WWW-Authenticate", f'Bearer realm="http://{host}/token/{number}",service="s"')])
            return None
        return answer
    text = b'{"token":"abc","expires_in":300}'
    texts = hostile.json_texts(text, 200001)
    for i, bad in enumerate(texts):
        cases.append(Case(f"token {i}", "resolve", (2, 3), asks(Answer(200, bad))))
    for bad in ('""', "1", "null", "[]", "{}", '" "', '"a b"', '"a\\nb"', '"a\\r\\nX: y"', '"\\u0001"', '"\\u0080"', '"\\u00e9"', '"' + "x" * 60000 + '"'):
        cases.append(Case(f"token is {bad[:40]}", "resolve", (2, 3), asks(Answer(200, f'{{"token":{bad}}}'.encode()))))
    for life in hostile.bad_sizes():
        cases.append(Case(f"life {life[:40]}", "resolve", (0, 2, 3), asks(Answer(200, f'{{"token":"abc","expires_in":{life}}}'.encode()))))
    for code in (204, 301, 307, 400, 401, 403, 404, 405, 418, 500):
        cases.append(Case(f"token service says {code}", "resolve", (3,), asks(Answer(code, b"{}", [("Location", "/token/0"), ("Retry-After", "9" * 30)]))))
    play_all(env, base, cases, "hostile challenges and tokens", 400)


def ranges_and_errors(env):
    """Heads of blobs with numbers that are none; errors that say strange things."""
    base = Base()
    cases = []

    def blob(h, kind, name):
        return kind == "blobs" and h.command == "GET"
    numbers = ["", "-", "-1", "+1", "0x10", "1e3", " 1 ", "1 1", "1,1", "18446744073709551616", "9223372036854775808", "99999999999999999999999", "\xb2"]
    for n in numbers:
        for line in (f"bytes {n}-{n}/{n}", f"bytes 0-{n}/3072", f"bytes 0-99/{n}", f"{n}", f"bytes {n}", f"bytes */{n}", f"octets 0-1/{n}"):
            def answer(h, kind, name, line=line):
                return Answer(206, b"x" * 100, [("Content-Range", line.encode("latin-1"))]) if blob(h, kind, name) else None
            cases.append(Case(f"Content-Range: {line}", "cat", (0, 2, 3), answer, right_bytes))

        def length(h, kind, name, n=n):
            return Answer(200, b"x" * 10, [("Content-Length", n.encode("latin-1"))], length=False) if blob(h, kind, name) else None
        cases.append(Case(f"Content-Length: {n}", "cat", (2, 3), length, right_bytes))

        def after(h, kind, name, n=n):
            return Answer(429, b"", [("Retry-After", n.encode("latin-1"))]) if blob(h, kind, name) else None
        cases.append(Case(f"Retry-After: {n}", "cat", (3,), after, right_bytes))
    for i, bad in enumerate(hostile.json_texts(b'{"errors":[{"code":"X","message":"y"}]}')[::2]):
        cases.append(Case(f"error {i}", "resolve", (3,), only("manifests", Answer((400, 403, 418)[i % 3], bad))))
    for text in ("\\u001b[2J", "\\u009b31m", "a\\r\\nmops: fine", "\\u0007", "\\u202e", "\\b\\b\\b", "x" * 60000, "\\u0085", "%s%n%x"):
        body = f'{{"errors":[{{"code":"{text}","message":"{text}","detail":"{text}"}}]}}'.encode()
        for code in (400, 403, 404, 405, 418):
            cases.append(Case(f"error {code} says {text[:30]!r}", "resolve", (1,) if code == 404 else (3,), only("manifests", Answer(code, body))))
    rng = random.Random(SEED)
    manifest = base.bundle.manifest
    for i in range(MORE):
        body = hostile.damaged(rng, manifest)
        headers = [("Content-Type", MANIFEST_TYPE), ("Docker-Content-Digest", base.bundle.digest)]
        cases.append(Case(f"wrong manifest {i}", "pinned" if i % 2 else "ls", (0,) if body == manifest else (2,), only("manifests", Answer(200, body, headers))))
        data = hostile.damaged(rng, base.bundle.blobs[bytes.fromhex(base.root["layers"][0]["tree"]["digest"][7:])])

        def other(h, kind, name, data=data):
            return Answer(200, data) if blob(h, kind, name) else None
        cases.append(Case(f"wrong blobs {i}", "cat", (2, 3), other, right_bytes))
    play_all(env, base, cases, "hostile heads, errors and bodies", 200)


def endless(env):
    """Bodies without an end, of each kind of answer."""
    base = Base()
    cases = []
    digest = [("Content-Type", MANIFEST_TYPE), ("Docker-Content-Digest", base.bundle.digest)]
    for fill in (b" " * 65536, b"[" * 65536, b"{\"a\":1," * 8192, b"\0" * 65536):
        for kind, verb, code, headers in (
                ("manifests", "ls", 200, digest), ("manifests", "pinned", 200, digest), ("tags", "tags", 200, []), ("blobs", "cat", 200, []),
                ("blobs", "cat", 206, [("Content-Range", "bytes 0-99/100")]), ("manifests", "resolve", 400, []), ("manifests", "resolve", 403, []),
                ("tags", "tags", 401, [("WWW-Authenticate", "Basic realm=x")]), ("manifests", "resolve", 404, []), ("blobs", "cat", 404, [])):
            def answer(h, k, name, kind=kind, a=Answer(code, fill, headers, endless=True)):
                return a if k == kind and (kind != "manifests" or h.command == "GET" or a.code != 200) else None
            cases.append(Case(f"endless {kind} {code}", verb, (1, 2, 3), answer, right_bytes))

        def token(h, kind, name, fill=fill):
            if kind == "token":
                return Answer(200, fill, endless=True)
            return Answer(401, b"{}", [("WWW-Authenticate", f'Bearer realm="http://{h.headers["Host"]}/token/{h.path.split("/")[2][1:]}"')])
        cases.append(Case("endless token", "resolve", (2, 3), token))
    play_all(env, base, cases, "bodies without an end", 40)


def enough(_env):
    print(f"# {TOTAL[0]} hostile answers")
    if TOTAL[0] < 1000 and len(sys.argv) == 1:
        raise Failed("fewer than 1,000")


run([types, digests, lists, challenges, ranges_and_errors, endless, enough])
