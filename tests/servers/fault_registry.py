"""A registry on loopback that plays one network fault at a time, within the test.

It serves a layout folder and takes pushes (kept in memory, digests checked).

HEADS are played in place of an answer, BODIES in the middle of one. Both strike the
byte `at` of each blob of at least MIN_SIZE bytes: what lies before it is delivered
properly, if need be by a range that ends early. Without `at` they strike each request
for any blob, at once. It also has objects, as S3 has them, under /bucket: STORE faults
strike a reading of the byte `at` of one. UPLOADS strike a push: `at` is "start" (a session is opened),
"middle" (a body is half read) or "end" (the manifest).
"""
import calendar
import hashlib
import itertools
import json
import pathlib
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from faults import Closed, Exchange, infos  # noqa: E402

MIN_SIZE = 1 << 20
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"


def digest_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def http_date(seconds):
    return time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + seconds))


class Blob:
    """One request for a part of a blob, and where the fault strikes it."""

    def __init__(self, registry, x, data, at):
        self.registry, self.x, self.data = registry, x, data
        asked = x.header("range")
        self.ranged = asked is not None
        self.first, self.last = 0, len(data) - 1
        if self.ranged:
            first, last = asked.split("=")[1].split("-")
            self.first, self.last = int(first), min(int(last or len(data)), len(data) - 1)
        self.at = self.first if at is None else at

    def head(self, *more, length=True):
        lines = list(more)
        if length:
            lines.append(f"Content-Length: {self.last + 1 - self.first}")
        if self.ranged:
            lines.append(f"Content-Range: bytes {self.first}-{self.last}/{len(self.data)}")
        self.x.head(206 if self.ranged else 200, *lines)

    def serve(self):
        self.head()
        if self.x.method != "HEAD":
            self.x.send(self.data[self.first:self.last + 1])

    def begin(self):
        """The head and all that comes before the fault."""
        self.head()
        self.x.send(self.data[self.first:max(self.at, self.first)])


def status(code, *lines):
    return lambda b: b.x.answer(code, b'{"errors":[{"code":"UNKNOWN","message":"as told"}]}',
                                *[line() if callable(line) else line for line in lines])


def redirect(to):
    return lambda b: b.x.answer(307, b"", "Location: " + to.format(
        me=b.registry.port, other=b.registry.other, tls=b.registry.tls, path=b.x.target.lstrip("/")))


def shifted(b):
    b.x.answer(206, b.data[:10], f"Content-Range: bytes {b.first + 1}-{b.first + 10}/{len(b.data)}")


def multipart(b):
    b.x.answer(206, b"--b\r\n\r\n--b--\r\n", "Content-Type: multipart/byteranges; boundary=b")


def other_total(b):
    body = b.data[b.first:b.last + 1]
    b.x.answer(206, body, f"Content-Range: bytes {b.first}-{b.last}/{len(b.data) + 1}")


def other_size(b):
    b.x.answer(200, b.data + b"x")


def head_flood(b):
    b.x.answer(200, b"", *[f"X-{i}: {'v' * 1000}" for i in range(1000)])


def head_endless(b):
    b.x.send(b"HTTP/1.1 200 OK\r\nX: ")
    while True:
        b.x.send(b"v" * 65536)


def silent(b):
    b.registry.hold(b.x)


HEADS = {
    "dns-none": redirect("http://nothing.invalid/{path}"),
    "dns-later": redirect("http://later.invalid/{path}"),
    "gone": lambda b: b.registry.go_away(b.x),
    "tls-self-signed": redirect("https://127.0.0.1:{tls}/{path}"),
    "tls-not-spoken": redirect("https://127.0.0.1:{other}/{path}"),
    "401": status(401, 'WWW-Authenticate: Basic realm="t"'),
    "403": status(403),
    "signed-403": redirect("http://127.0.0.1:{other}/refused/{path}"),
    "404": status(404),
    "410": status(410),
    "408": status(408),
    "425": status(425),
    "429-seconds": status(429, "Retry-After: 1"),
    "500": status(500),
    "502": status(502),
    "503-date": status(503, lambda: "Retry-After: " + http_date(1), lambda: "Date: " + http_date(0)),
    "504": status(504),
    "416": status(416),
    "418": status(418),
    "other-total": other_total,
    "other-size": other_size,
    "206-shifted": shifted,
    "206-bare": lambda b: b.x.answer(206, b.data[b.first:b.last + 1]),
    "206-multipart": multipart,
    "200-to-range": lambda b: b.x.answer(200, b.data),
    "loop": redirect("/{path}"),
    "hops": redirect("http://127.0.0.1:{other}/hop/12"),
    "to-file": redirect("file:///etc/hostname"),
    "to-link-local": redirect("http://169.254.169.254/latest/meta-data"),
    "gzip": lambda b: b.x.answer(200, b"\x1f\x8b", "Content-Encoding: gzip"),
    "head-flood": head_flood,
    "head-endless": head_endless,
    "infos": lambda b: infos(b.x),
    "silent": silent,
    "garbage": lambda b: (b.x.send(b"\x00\x01\xff\r\n\r\n"), b.x.close()),
}


def wrong(b):
    b.begin()
    at = max(b.at, b.first)
    b.x.send(bytes([b.data[at] ^ 1]) + b.data[at + 1:b.last + 1])


def trickle(b):
    b.begin()
    for i in range(max(b.at, b.first), b.last + 1):
        b.x.send(b.data[i:i + 1])
        time.sleep(0.2)


def no_length(b):
    b.head("Connection: close", length=False)
    b.x.send(b.data[b.first:b.last + 1])
    b.x.close()


def no_length_short(b):
    b.head("Connection: close", length=False)
    b.x.send(b.data[b.first:max(b.at, b.first)])
    b.x.close()


def too_long(b):
    b.begin()
    b.x.send(b.data[max(b.at, b.first):b.last + 1] + b"more than was said")
    b.x.close()


BODIES = {
    "reset": lambda b: (b.begin(), time.sleep(0.05), b.x.reset()),
    "short": lambda b: (b.begin(), b.x.close()),
    "stall": lambda b: (b.begin(), b.registry.hold(b.x)),
    "trickle": trickle,
    "wrong": wrong,
    "no-length": no_length,
    "no-length-short": no_length_short,
    "too-long": too_long,
}

UPLOADS = {name: HEADS[name] for name in (
    "gone", "401", "403", "404", "408", "429-seconds", "500", "502", "503-date", "504", "418", "loop", "to-file",
    "to-link-local", "tls-self-signed", "dns-none", "head-flood", "infos", "silent", "garbage")}
UPLOADS["reset"] = lambda b: b.x.reset()
UPLOADS["short"] = lambda b: b.x.close()


def refuse_clock(b):
    b.x.answer(403, b"<Error><Code>RequestTimeTooSkewed</Code><Message>late</Message></Error>",
               "Date: " + http_date(AHEAD))


def change(b):
    """Another object is there from now on, whoever asks for the one before."""
    b.registry.version += 1
    b.registry.other_object(b.x)


AHEAD = 7200  # seconds, of a store's clock
STORE = {"changed": change, "skew": refuse_clock, "skew-stays": refuse_clock}


class Registry:
    def __init__(self, folder=None, address="127.0.0.1"):
        self.address = address
        self.folder = pathlib.Path(folder) if folder else None
        self.blobs, self.manifests, self.uploads = {}, {}, {}
        self.sessions = itertools.count()  # next() of it is one step: no two get the same name
        self.objects, self.version = {}, 0  # what is in the bucket; how often it was changed
        self.changed = threading.Condition()
        self.name, self.at, self.left = None, None, 0
        self.met = 0     # times that the fault was played
        self.away = 0.4  # seconds that "gone" lasts
        self.listener, self.open = None, set()
        self.port = self.listen(0)
        self.host = f"{address}:{self.port}"
        self.other = self.serve_other()
        self.tls = self.serve_tls()

    # What tests call.

    def arm(self, name, at=None, times=None):
        """Play @name from now on, @times times (None: until told otherwise); no
        @name: be good."""
        with self.changed:
            self.name, self.at, self.left, self.met = name, at, times, 0
            self.changed.notify_all()

    def wait_met(self, seconds=10):
        """Whether the fault was played at least once."""
        with self.changed:
            return self.changed.wait_for(lambda: self.met, seconds)

    def stop(self):
        self.stopped = True
        self.arm(None)
        self.close_listener()

    # Faults.

    def take(self, where):
        """The armed fault if it is one of @where and has not been played enough."""
        with self.changed:
            if self.name not in where or self.left == 0:
                return None
            if self.left:
                self.left -= 1
            self.met += 1
            self.changed.notify_all()
            return where[self.name]

    def hold(self, x):
        """Silence until something else is armed, then the connection ends."""
        with self.changed:
            was = self.name
            self.changed.wait_for(lambda: self.name != was, 300)
        x.reset()

    def go_away(self, x):
        """Nobody listens any more, for a while if the fault is not for ever."""
        for_ever = self.left is None
        self.close_listener()

        def come_back():
            with self.changed:
                self.changed.wait_for(lambda: self.name != "gone", 300 if for_ever else self.away)
            while not self.listens_again():
                time.sleep(0.01)
        threading.Thread(target=come_back, daemon=True).start()
        x.reset()

    # Connections.

    def listen(self, port):
        s = socket.create_server((self.address, port), backlog=128)
        self.listener = s
        threading.Thread(target=self.accept, args=(s, self.answer), daemon=True).start()
        return s.getsockname()[1]

    def listens_again(self):
        """False: its port is that of somebody's connection for a moment."""
        try:
            return self.listen(self.port)
        except OSError:
            return False

    def close_listener(self):
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        for s in list(self.open):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def accept(self, listener, answer):
        while True:
            try:
                s, _ = listener.accept()
            except OSError:
                return
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.connection, args=(s, answer), daemon=True).start()

    def connection(self, s, answer):
        self.open.add(s)
        try:
            x = Exchange(s, "")
            while True:
                x.request()
                answer(x)
        except (Closed, OSError, ValueError):
            pass
        finally:
            self.open.discard(s)
            s.close()

    def serve_other(self):
        """Another origin: refuses, or redirects again."""
        def answer(x):
            if x.path.startswith("/hop/"):
                left = int(x.path.rsplit("/", 1)[1])
                x.answer(307, b"", f"Location: /hop/{left - 1}")
            else:
                x.answer(403, b"expired")
        s = socket.create_server(("127.0.0.1", 0), backlog=128)
        threading.Thread(target=self.accept, args=(s, answer), daemon=True).start()
        return s.getsockname()[1]

    def serve_tls(self):
        """An origin whose certificate nobody trusts."""
        with tempfile.TemporaryDirectory() as d:
            subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                            "-keyout", d + "/key", "-out", d + "/cert", "-subj", "/CN=nobody", "-days", "2"],
                           check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(d + "/cert", d + "/key")
        s = context.wrap_socket(socket.create_server(("127.0.0.1", 0), backlog=128), server_side=True,
                                do_handshake_on_connect=False)
        threading.Thread(target=self.accept, args=(s, lambda x: x.answer(200)), daemon=True).start()
        return s.getsockname()[1]

    # The protocol.

    def answer(self, x):
        parts = x.path.strip("/").split("/")
        if x.path.rstrip("/") == "/v2":
            x.answer(200)
        elif "uploads" in parts:
            self.upload(x, parts)
        elif parts[0] == "bucket":
            self.object(x, "/".join(parts[1:]))
        elif parts[-2] == "manifests":
            self.manifest(x, "/".join(parts[1:-2]), parts[-1])
        elif parts[-2] == "blobs":
            self.blob(x, parts[-1])
        else:
            x.answer(404)

    def data(self, digest):
        if digest in self.blobs:
            return self.blobs[digest]
        path = self.folder / "blobs/sha256" / digest.removeprefix("sha256:") if self.folder else None
        return path.read_bytes() if path and path.exists() else None

    def blob(self, x, digest):
        data = self.data(digest)
        if data is None:
            x.answer(404)
            return
        b = Blob(self, x, data, self.at if isinstance(self.at, int) else None)
        if x.method == "HEAD":
            x.answer(200, data)
            return
        # A trickle delivers its byte; what comes behind it trickles, too.
        strikes = b.first <= b.at <= b.last or (self.name == "trickle" and b.at < b.first)
        if not strikes or (self.at is not None and len(data) < MIN_SIZE):
            b.serve()
            return
        if self.name in HEADS and self.left != 0 and b.ranged and b.first < b.at:
            b.last = b.at - 1
            b.serve()
            return
        fault = self.take({**HEADS, **BODIES})
        fault(b) if fault else b.serve()

    def etag(self):
        return f'"v{self.version}"'

    @staticmethod
    def other_object(x):
        x.answer(412, b"<Error><Code>PreconditionFailed</Code><Message>other</Message></Error>")

    def object(self, x, key):
        """An object, read by ranges and by ETag."""
        data = self.objects.get(key)
        if data is None:
            x.answer(404)
            return
        if x.method == "HEAD":
            x.answer(200, data, "ETag: " + self.etag())
            return
        b = Blob(self, x, data, self.at if isinstance(self.at, int) else None)
        fault = self.take(STORE) if b.first <= b.at <= b.last and not self.is_cured(x) else None
        if fault:
            fault(b)
        elif x.header("if-match") not in (None, self.etag()):
            self.other_object(x)
        else:
            b.head("ETag: " + self.etag())
            x.send(b.data[b.first:b.last + 1])

    def is_cured(self, x):
        """A request that goes by the store's own clock."""
        signed = calendar.timegm(time.strptime(x.header("x-amz-date"), "%Y%m%dT%H%M%SZ"))
        return self.name == "skew" and abs(signed - time.time() - AHEAD) < 900

    def manifest(self, x, repo, what):
        if x.method == "PUT":
            body = self.body(x)
            if self.strike(x, "end"):
                return
            for ref in (what, digest_of(body)):
                self.manifests[repo, ref] = body
            x.answer(201, b"", "Docker-Content-Digest: " + digest_of(body))
            return
        body = self.manifests.get((repo, what)) or self.from_index(repo, what)
        if body is None:
            x.answer(404, b'{"errors":[{"code":"MANIFEST_UNKNOWN"}]}')
            return
        x.answer(200, body, "Docker-Content-Digest: " + digest_of(body), "Content-Type: " + MANIFEST_TYPE)

    def from_index(self, repo, what):
        if not self.folder or not (self.folder / "index.json").exists():
            return None
        for m in json.loads((self.folder / "index.json").read_text())["manifests"]:
            name = m.get("annotations", {}).get("org.opencontainers.image.ref.name") or ""
            if what in (m["digest"], name.removeprefix(repo + ":")):
                return self.data(m["digest"])
        return None

    def strike(self, x, where):
        """Play the armed fault if it is for this moment of a push."""
        if self.at != where:
            return False
        fault = self.take(UPLOADS)
        if fault:
            fault(Blob(self, x, b"", 0))
        return bool(fault)

    def upload(self, x, parts):
        repo, session = "/".join(parts[1:parts.index("blobs")]), parts[-1]
        if x.method == "POST":
            self.body(x)
            if self.strike(x, "start"):
                return
            session = f"s{next(self.sessions)}"
            self.uploads[session] = b""
            x.answer(202, b"", f"Location: /v2/{repo}/blobs/uploads/{session}", "Range: 0-0")
        elif session not in self.uploads:
            x.answer(404, b'{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}')
        elif x.method in ("PATCH", "PUT"):
            length = int(x.header("content-length") or 0)
            half = self.read(x, length // 2)
            if length >= MIN_SIZE and self.strike(x, "middle"):
                raise Closed
            self.uploads[session] += half + self.read(x, length - len(half))
            self.uploaded(x, repo, session)
        elif x.method == "GET":
            x.answer(204, b"", f"Location: /v2/{repo}/blobs/uploads/{session}",
                     f"Range: 0-{max(len(self.uploads[session]) - 1, 0)}")
        else:
            del self.uploads[session]
            x.answer(204)

    def uploaded(self, x, repo, session):
        if x.method == "PATCH":
            x.answer(202, b"", f"Location: /v2/{repo}/blobs/uploads/{session}",
                     f"Range: 0-{len(self.uploads[session]) - 1}")
            return
        data, claimed = self.uploads.pop(session), urllib.parse.unquote(x.q.get("digest", ""))
        if digest_of(data) != claimed:
            x.answer(400, b'{"errors":[{"code":"DIGEST_INVALID"}]}')
            return
        self.blobs[claimed] = data
        x.answer(201, b"", "Docker-Content-Digest: " + claimed)

    def body(self, x):
        return self.read(x, int(x.header("content-length") or 0))

    @staticmethod
    def read(x, n):
        """All of it: a client that leaves in the middle has sent nothing."""
        data = x.f.read(n)
        if len(data) < n:
            raise Closed
        return data

