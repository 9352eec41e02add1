#!/usr/bin/env python3
"""A registry with a different oddity in each repository.

Prints "ready a=PORT b=PORT"; the registry is at a, b is a foreign host that
blobs and sessions may lead to. Ends when its standard input does. GET /_log
answers the requests seen so far as JSON and forgets them.

The first component of a repository's name is the oddity, further components
only make names differ. Every repository holds the blob BLOB, the manifest
MANIFEST under the tag "v1", and takes uploads.
"""
import base64
import hashlib
import json
import socket
import struct
import sys
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SIZE = 300000
BLOB = b"".join(hashlib.sha256(b"%d" % i).digest()
                for i in range(SIZE // 32 + 1))[:SIZE]
OCI = "application/vnd.oci.image."
TYPE, INDEX = OCI + "manifest.v1+json", OCI + "index.v1+json"
LOG, COUNTS, STORED, LOCK = [], {}, {}, threading.Lock()
TOKENS, SESSIONS = {}, {}
PORTS = {}


def digest(b):
    return "sha256:" + hashlib.sha256(b).hexdigest()


def manifest(**more):
    m = {"config": {"digest": digest(BLOB), "mediaType": "application/x.c",
                    "size": SIZE},
         "layers": [], "mediaType": TYPE, "schemaVersion": 2}
    m.update(more)
    return json.dumps({k: v for k, v in m.items() if v is not None},
                      sort_keys=True, separators=(",", ":")).encode()


MANIFESTS = {
    "m-both": manifest(manifests=[]),
    "m-inject": manifest(mediaType="a/b\r\nX-Injected: yes"),
    "m-untyped": manifest(mediaType=None),
    "m-shapeless": manifest(mediaType=None, layers=None),
}
MANIFEST = manifest()


def referrer(i, kind):
    return {"mediaType": TYPE, "size": 100 + i, "artifactType": kind,
            "digest": digest(b"referrer %d" % i),
            "annotations": {"n": str(i)}}


def index(items):
    return json.dumps({"manifests": items, "mediaType": INDEX,
                       "schemaVersion": 2}).encode()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *args):
        pass

    def route(self):
        u = urllib.parse.urlsplit(self.path)
        self.q = dict(urllib.parse.parse_qsl(u.query))
        port = self.server.server_address[1]
        self.origin = "a" if port == PORTS["a"] else "b"
        if u.path == "/_log":
            with LOCK:
                body = json.dumps(LOG).encode()
                LOG.clear()
            return self.answer(200, body)
        with LOCK:
            LOG.append("%s %s %s auth=%s range=%s" % (
                self.origin, self.command, self.path,
                self.headers.get("Authorization"),
                self.headers.get("Range")))
        parts = u.path.split("/")[2:]
        if self.origin == "b":
            return self.foreign(u.path)
        if u.path.startswith("/token/"):
            return self.token(u.path[7:])
        if u.path == "/elsewhere":
            return self.answer(200, b"<html>", Content_Type="text/html")
        if parts == [""]:
            return self.base()
        if parts[0] == "_catalog":
            return self.answer(200, b'{"repositories":["x/y","z"]}')
        self.odd = parts[0]
        at = next(i for i, p in enumerate(parts)
                  if p in ("blobs", "manifests", "tags", "referrers"))
        self.repo = "/".join(parts[:at])
        if not self.authorized():
            return None
        rest = parts[at + 1:]
        return getattr(self, parts[at])(rest)

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = route

    # helpers

    def answer(self, code, body=b"", **headers):
        if self.command in ("PUT", "POST", "PATCH"):
            self.take_body()
        self.send_response(code)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        for k, v in headers.items():
            for one in v if isinstance(v, list) else [v]:
                self.send_header(k.replace("_", "-"), one)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def take_body(self):
        if not hasattr(self, "taken") or self.taken is None:
            self.taken = self.rfile.read(
                int(self.headers.get("Content-Length") or 0))
        return self.taken

    def parse_request(self):
        self.taken = None
        return super().parse_request()

    def error(self, code, name, message="so it is"):
        self.answer(code, json.dumps({"errors": [
            {"code": name, "message": message}]}).encode(),
            Content_Type="application/json")

    def first_time(self, what=""):
        with LOCK:
            key = (self.repo, what)
            COUNTS[key] = COUNTS.get(key, 0) + 1
            return COUNTS[key] == 1

    def reset(self):
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                   struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    # who is asking

    def base(self):
        if self.headers.get("Authorization"):
            return self.answer(200, b"{}")
        return self.answer(401, b"", WWW_Authenticate='Basic realm="base"')

    def service(self):
        """The challenge of a repository whose tokens odd things happen to."""
        if self.odd == "tok-http":
            return 'Bearer realm="http://192.0.2.1/token",service="s"'
        if self.odd == "tok-realmless":
            return 'Bearer service="s"'
        extra = " extra:thing:do" if self.odd == "tok-scope" else ""
        return ('Bearer realm="http://127.0.0.1:%d/token/%s?x=1",service='
                '"odd, service",scope="repository:%s:pull%s"' %
                (PORTS["a"], self.odd, self.repo, extra))

    def token_accepted(self):
        said = (self.headers.get("Authorization") or "").split(" ")
        with LOCK:
            t = TOKENS.get(said[-1]) if said[0] == "Bearer" else None
            if not t or time.monotonic() > t["end"] or \
                    t["kind"] != self.odd:
                return False
            t["uses"] += 1
            if self.odd == "tok-lying" and t["uses"] > 2:
                return False
            if self.odd == "tok-scope" and "extra:thing:do" not in t["scopes"]:
                return False
            return any(s.startswith("repository:%s:" % self.repo)
                       for s in t["scopes"])

    def token(self, kind):
        form = {}
        if self.command == "POST":
            form = urllib.parse.parse_qs(self.take_body().decode())
        else:
            form = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        basic = "Basic " + base64.b64encode(b"alice:won:der").decode()
        known = self.headers.get("Authorization") == basic
        if self.command == "POST":
            grant = form.get("grant_type", [""])[0]
            known = (grant == "password" and form["username"] == ["alice"] and
                     form["password"] == ["won:der"]) or \
                (grant == "refresh_token" and
                 form["refresh_token"][0].startswith("identity+/="))
            form["scope"] = form.get("scope", [""])[0].split(" ")
        self.repo = "/token"
        if kind == "tok-post" and self.command == "GET":
            return self.answer(405)
        if kind == "tok-busy" and self.first_time():
            return self.error(503, "UNAVAILABLE")
        if kind == "tok-html":
            return self.answer(200, b"<html>")
        if kind == "tok-inject":
            return self.answer(200, b'{"token":"a\\r\\nX-Injected: yes"}')
        if kind == "tok-huge":
            return self.answer(200, b'{"token":"%s"}' % (b"x" * 70000))
        if kind == "tok-moved":
            return self.answer(302, b"", Location="http://127.0.0.1:%d/t" %
                               PORTS["b"])
        if not known and kind != "tok-anon" or \
                form.get("service") != ["odd, service"]:
            return self.error(401, "UNAUTHORIZED")
        if kind == "tok-flight":
            time.sleep(0.3)
        life = 1 if kind == "tok-short" else 300
        with LOCK:
            name = "canary-%d" % len(TOKENS)
            TOKENS[name] = {"kind": kind, "scopes": form["scope"], "uses": 0,
                            "end": time.monotonic() + life}
        said = {"access_token" if kind == "tok-post" else "token": name,
                "expires_in": life}
        if kind == "tok-renewing":
            said["refresh_token"] = "identity+/=2"
        return self.answer(200, json.dumps(said).encode())

    def authorized(self):
        if self.odd.startswith("tok-"):
            if self.token_accepted():
                return True
            self.answer(401, b"", WWW_Authenticate=self.service())
            return False
        want = "Basic " + base64.b64encode(b"alice:won:der").decode()
        if not self.odd.startswith("auth-") or \
                self.headers.get("Authorization") == want:
            return True
        challenge = {
            "auth-basic": 'Basic realm="r"',
            "auth-many": ["Negotiate", 'Bearer realm="no URL"'
                          ',service="a, Basic", Basic realm="x"'],
            "auth-unknown": 'Digest realm="http://127.0.0.1:1/t"',
            "auth-broken": 'Basic realm="',
        }.get(self.odd)
        headers = {"WWW_Authenticate": challenge} if challenge else {}
        self.answer(401, b'{"errors":[{"code":"UNAUTHORIZED"}]}', **headers)
        return False

    # blobs

    def ranged(self, body):
        asked = self.headers.get("Range")
        if not asked or self.odd == "norange":
            return self.answer(200, body)
        first, last = (int(v) for v in asked.split("=")[1].split("-"))
        piece, cr = body[first:last + 1], "bytes %d-%d/%d"
        if self.odd == "range-none":
            return self.answer(206, piece)
        if self.odd == "range-shifted":
            return self.answer(206, body[first + 1:last + 2],
                               Content_Range=cr % (first + 1, last + 1, SIZE))
        if self.odd == "range-total":
            return self.answer(206, piece,
                               Content_Range=cr % (first, last, SIZE + 1))
        if self.odd == "range-long":
            return self.answer(206, piece + b"x",
                               Content_Range=cr % (first, last, SIZE))
        if self.odd == "range-multi":
            return self.answer(206, b"--b--", Content_Type="multipart/x")
        if self.odd == "range-short" and last > first:
            last = first + (last - first) // 2
            piece = body[first:last + 1]
        if self.odd == "range-star":
            return self.answer(206, piece, Content_Range="bytes %d-%d/*" %
                               (first, last))
        if self.odd == "range-200":
            return self.answer(200, body,
                               Content_Range=cr % (first, last, SIZE))
        return self.answer(206, piece, Content_Range=cr % (first, last, SIZE))

    def cut(self, how, every):
        """Part of what was asked for, then the end."""
        asked = self.headers.get("Range")
        first, last = 0, SIZE - 1
        if asked:
            first, last = (int(v) for v in asked.split("=")[1].split("-"))
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(last - first + 1))
        self.send_header("Content-Range",
                         "bytes %d-%d/%d" % (first, last, SIZE))
        self.end_headers()
        self.wfile.write(BLOB[first:min(first + every, last + 1)])
        self.wfile.flush()
        self.close_connection = True
        time.sleep(0.02)
        if last - first + 1 > every:
            how()

    def blobs(self, rest):
        if rest[0] == "uploads":
            return self.uploads(rest)
        with LOCK:
            stored = STORED.get((self.repo, rest[0]))
        if rest[0] != digest(BLOB) or self.odd.startswith("lacks"):
            if stored is None:
                return self.error(404, "BLOB_UNKNOWN")
            return self.ranged(stored)
        if self.command == "HEAD":
            if self.odd == "head405":
                return self.answer(405)
            if self.odd == "head403":
                return self.answer(403)
            if self.odd == "head-lengthless":
                return self.answer(200, b"", Content_Length=[])
        if self.odd == "forbidden":
            return self.error(403, "DENIED")
        if self.odd == "r204":
            return self.answer(204)
        if self.odd == "cl-wrong":
            return self.answer(200, BLOB + b"x")
        if self.odd == "cl-none":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(BLOB)
            self.close_connection = True
            return None
        if self.odd == "r416":
            self.close_connection = True
            return self.answer(416, b"{}" + b" " * 31,
                               Content_Length=str(SIZE))
        if self.odd == "cut-reset":
            return self.cut(self.reset, 70000)
        if self.odd == "cut-short":
            return self.cut(lambda: None, 70000)
        if self.odd == "cut-never":
            return self.cut(self.reset, 0)
        if self.odd == "lost-once" and self.first_time():
            return self.error(404, "BLOB_UNKNOWN")
        if self.odd == "busy-once" and self.first_time():
            return self.error(503, "UNAVAILABLE")
        if self.odd.startswith("to-"):
            return self.send_away()
        return self.ranged(BLOB)

    def send_away(self):
        """A presigned place: each is good for two requests."""
        with LOCK:
            n = COUNTS["away"] = COUNTS.get("away", 0) + 1
        to = {"to-b": "http://127.0.0.1:%d/good/%d?X-Signature=canary" %
                      (PORTS["b"], n),
              "to-back": "http://127.0.0.1:%d/back/v2/plain/blobs/%s" %
                         (PORTS["b"], digest(BLOB)),
              "to-dead": "http://127.0.0.1:%d/dead/%d" % (PORTS["b"], n),
              "to-gone": "http://127.0.0.1:1/%d" % n,
              "to-metadata": "http://169.254.169.254/latest",
              "to-file": "file:///etc/passwd"}[self.odd]
        self.answer(307, b"", Location=to)

    def foreign(self, path):
        kind, n = path.split("/")[1:3]
        self.odd, self.repo = "plain", path
        if self.headers.get("Authorization"):
            return self.answer(400, b"only one auth mechanism")
        if kind == "tags":
            return self.answer(200, b'{"tags":["t"]}', Link='<http://127.0.0.1'
                               ':%d/v2/plain/tags/list?led=1>; rel="next"' %
                               PORTS["a"])
        if kind == "session":
            return self.finish_upload()
        if kind == "back":
            return self.answer(307, b"", Location="http://127.0.0.1:%d%s" % (
                PORTS["a"], path.removeprefix("/back") + "?back=1"))
        if kind == "stray":
            return self.answer(202, b"", Location="http://127.0.0.1:%d/v2/"
                               "plain/blobs/uploads/strayed" % PORTS["a"])
        if kind == "bounce":
            return self.answer(
                307, b"", Location="http://127.0.0.1:%d/v2/plain/blobs/"
                "uploads/bounced?%s" %
                (PORTS["a"], urllib.parse.urlsplit(self.path).query))
        if kind == "dead" or self.command == "HEAD":
            return self.answer(403, b"<Error>expired</Error>")
        with LOCK:
            COUNTS[path] = COUNTS.get(path, 0) + 1
            expired = COUNTS[path] > 2
        if expired:
            return self.answer(403, b"<Error>expired</Error>")
        return self.ranged(BLOB)

    # uploads

    def piecewise(self, rest):
        """Sessions that take pieces; the limit is 2 MiB a request."""
        limit, odd = 2 << 20, self.odd
        if self.command == "POST":
            with LOCK:
                n = COUNTS["sessions"] = COUNTS.get("sessions", 0) + 1
                name = "c%d" % n
                SESSIONS[name] = bytearray()
            more = {"OCI_Chunk_Min_Length": str(1500000)} if \
                odd == "ch-min" else {}
            return self.answer(202, b"", Location="/v2/%s/blobs/uploads/%s" %
                               (self.repo, name), **more)
        got = SESSIONS.get(rest[1])
        if got is None or self.command == "DELETE":
            SESSIONS.pop(rest[1], None)
            return self.answer(404)
        here = "/v2/%s/blobs/uploads/%s" % (self.repo, rest[1])

        def done(code):
            more = {"Range": "0-%d" % max(len(got) - 1, 0)}
            if odd == "ch-201":
                code, more = 201, {}
            self.answer(code, b"", Location=here, **more)
        if self.command == "GET":
            return done(204)
        n = int(self.headers.get("Content-Length") or 0)
        if odd == "ch-keep" and self.first_time():
            got += self.rfile.read(3 << 20)
            return self.reset()
        if odd == "ch-cut" and n > limit:
            self.rfile.read(1 << 20)
            return self.reset()
        body = self.take_body()
        if odd in ("ch-413", "ch-min", "ch-201", "ch-416", "ch-short") and \
                n > limit:
            return self.answer(413)
        if self.command == "PATCH":
            first, last = self.headers["Content-Range"].split("-")
            if int(last) - int(first) + 1 != n or int(first) != len(got) or \
                    odd == "ch-416" and len(got) and self.first_time():
                return self.answer(416)
            got += body[:n // 2] if odd == "ch-short" and len(got) and \
                self.first_time() else body
            return done(202)
        body = bytes(got) + body
        if self.q.get("digest") != digest(body):
            return self.error(400, "DIGEST_INVALID")
        with LOCK:
            STORED[(self.repo, digest(body))] = body
            SESSIONS.pop(rest[1], None)
        if odd == "ch-lost" and self.first_time():
            return self.reset()
        return self.answer(201)

    def uploads(self, rest):
        if self.odd.startswith("ch-"):
            return self.piecewise(rest)
        if self.command == "DELETE":
            return self.answer(204)
        if self.odd == "up-post-moved" and self.first_time("POST"):
            return self.answer(308, b"", Location=self.path)
        if self.odd == "up-loop":
            return self.answer(307, b"", Location=self.path)
        if self.command == "POST":
            if self.odd == "up-stray":
                return self.answer(307, b"", Location="http://127.0.0.1:%d"
                                   "/stray/1" % PORTS["b"])
            if "mount" in self.q:
                return self.mount()
            session = "/v2/%s/blobs/uploads/s?_state=abc" % self.repo
            if self.odd == "up-relative":
                session = "s"
            elif self.odd == "up-absolute":
                session = "http://127.0.0.1:%d%s" % (PORTS["a"], session)
            elif self.odd == "up-portless":
                session = "http://127.0.0.1" + session
            elif self.odd == "up-foreign":
                session = "http://127.0.0.1:%d/session/%s" % (
                    PORTS["b"], self.repo)
            elif self.odd == "up-bounce":
                session = "http://127.0.0.1:%d/bounce/1" % PORTS["b"]
            elif self.odd == "up-nowhere":
                return self.answer(202)
            elif self.odd == "up-metadata":
                session = "http://169.254.169.254/x"
            elif self.odd == "up-refused":
                return self.error(403, "DENIED")
            return self.answer(202, b"", Location=session)
        if self.odd == "up-moved" and self.first_time():
            return self.answer(307, b"", Location=self.path + "&moved=1")
        if self.odd == "up-busy" and self.first_time():
            return self.answer(503)
        if self.odd == "up-lost" and self.first_time():
            return self.error(404, "BLOB_UPLOAD_UNKNOWN")
        if self.odd == "up-reset" and self.first_time():
            self.rfile.read(100000)
            return self.reset()
        return self.finish_upload()

    def finish_upload(self):
        body = self.take_body()
        if self.q.get("digest") != digest(body):
            return self.error(400, "DIGEST_INVALID")
        with LOCK:
            STORED[(self.repo, digest(body))] = body
        return self.answer(201, b"", Docker_Content_Digest=digest(body))

    def mount(self):
        if self.odd == "mount-yes":
            return self.answer(201)
        if self.odd == "mount-no":
            return self.answer(
                202, b"", Location="/v2/%s/blobs/uploads/m" % self.repo)
        return self.error(405, "UNSUPPORTED")

    # manifests

    def manifests(self, rest):
        m = MANIFESTS.get(self.odd, MANIFEST)
        if self.command == "PUT":
            return self.put_manifest(rest[0])
        if self.command == "DELETE":
            if ":" in rest[0]:
                return self.answer(202)
            return self.error(400, "DIGEST_INVALID")
        with LOCK:
            stored = STORED.get((self.repo, "m", rest[0]))
        if stored is not None:
            return self.answer(200, stored, Content_Type=INDEX)
        if rest[0] not in ("v1", digest(m)):
            return self.error(404, "MANIFEST_UNKNOWN", "no \x1b[31mred")
        kind, said = TYPE, digest(m)
        if self.odd == "m-unsaid":
            said = []
        if self.odd == "m-lie":
            said = digest(b"lie") if self.command == "GET" else []
        if self.odd == "m-sha512":
            said = "sha512:" + "a" * 128
        if self.odd == "m-head405" and self.command == "HEAD":
            return self.answer(405)
        if self.odd == "m-confused":
            kind = INDEX
        if self.odd in ("m-inject", "m-generic", "m-untyped", "m-shapeless"):
            kind = "application/json"
        if self.odd == "m-parameter":
            kind = TYPE + "; charset=utf-8"
        if self.odd == "m-typeless":
            kind = []
        if self.odd == "m-wrong" or \
                self.odd == "m-wrong-once" and self.first_time():
            m = m.replace(b"2", b"3")
        if self.odd == "m-warned":
            return self.answer(200, m, Content_Type=kind,
                               Warning=['299 - "moving soon"'] * 2)
        if self.odd == "m-html":
            return self.answer(400, b"<html>" * 1000)
        if self.odd == "m-huge":
            return self.answer(200, m + b" " * (4 << 20), Content_Type=kind)
        if "manifest.v1" not in (self.headers.get("Accept") or ""):
            return self.error(404, "MANIFEST_UNKNOWN", "no Accept")
        return self.answer(200, m, Content_Type=kind,
                           Docker_Content_Digest=said)

    def put_manifest(self, ref):
        body = self.take_body()
        if self.odd == "m-moved" and self.first_time():
            return self.answer(307, b"", Location=self.path)
        if self.odd == "m-racy" and self.first_time():
            return self.error(400, "DIGEST_INVALID")
        if self.odd == "m-other":
            return self.answer(201, b"", Docker_Content_Digest=digest(b"x"))
        if self.odd == "m-413":
            return self.answer(413)
        with LOCK:
            STORED[(self.repo, "m", ref)] = body
        more = {"OCI_Subject": "yes"} if self.odd == "m-subject" else {}
        return self.answer(201, b"", **more)

    # lists

    def tags(self, rest):
        if self.odd == "tags-flood":
            return self.answer(200, json.dumps({"tags": [
                "t%d" % i for i in range(190000)]}).encode(),
                Link='<%s>; rel="next"' % self.path)
        if self.odd == "tags-away":
            return self.answer(307, b"", Location="http://127.0.0.1:%d/tags/1"
                               % PORTS["b"])
        last = int(self.q.get("last", 0))
        here = "/v2/%s/tags/list?last=%d" % (self.repo, last + 2)
        base = "http://127.0.0.1:%d" % PORTS["a"]
        body = json.dumps({"tags": ["t%d" % last, "t%d" % (last + 1)]})
        link = {"tags-relative": '<%s>; rel="next"' % here,
                "tags-absolute": "<%s%s>;rel=next" % (base, here),
                "tags-endless": '<%s>; rel="next"' % here,
                "tags-foreign": '<http://127.0.0.1:%d/x>; rel="next"' %
                                PORTS["b"]}.get(self.odd)
        if self.odd == "tags-null":
            body = '{"name":"x","tags":null}'
        if self.odd == "tags-mixed":
            body = json.dumps({"tags": ["a", "sha256:" + "a" * 64, 5, "b"]})
        if self.odd == "tags-broken":
            body = '{"tags":["a"'
        if last >= 6 and self.odd != "tags-endless":
            link = None
        self.answer(200, body.encode(), **({"Link": link} if link else {}))

    def referrers(self, rest):
        items = [referrer(i, "application/x.%s" % "ab"[i % 2])
                 for i in range(6)]
        if self.odd == "ref-api":
            if "page" not in self.q:
                return self.answer(
                    200, index(items[:4]), Content_Type=INDEX,
                    Link='<%s?page=2>; rel="next"' %
                    urllib.parse.urlsplit(self.path).path)
            return self.answer(200, index(items[3:]), Content_Type=INDEX)
        if self.odd == "ref-html":
            return self.answer(200, b"<html>", Content_Type="text/html")
        if self.odd == "ref-303":
            return self.answer(303, b"", Location="/elsewhere")
        return self.error(404, "NOT_FOUND")


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """Clients break off here on purpose; all else is worth a look."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


def main():
    for name in "ab":
        s = Server(("127.0.0.1", 0), Handler)
        PORTS[name] = s.server_address[1]
        threading.Thread(target=s.serve_forever, daemon=True).start()
    print("ready a=%d b=%d" % (PORTS["a"], PORTS["b"]), flush=True)
    sys.stdin.read()


main()
