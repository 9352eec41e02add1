"""A registry that keeps what it got of an upload that broke off."""
import hashlib
import http.server
import itertools
import threading

from mopstest import LocalServer


class KeepingRegistry:
    """Takes pushes and keeps what it got of an upload that broke off. With
    @whole_pieces, only what came in a request that arrived to its end; then it
    refuses large ones, as some proxies do. While it does not go on it
    takes nothing behind @stops_at bytes: no push ends before it is killed."""

    LIMIT = 40_000_000

    def __init__(self, env, stops_at, whole_pieces=False):
        self.received, self.sessions, self.blobs, self.manifests = 0, {}, {}, {}
        self.names = itertools.count()  # next() of it is one step: no two sessions get the same
        self.goes_on = threading.Event()
        self.lock, self.bodies = threading.Lock(), 0  # being received
        registry = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def answer(self, status, **headers):
                self.send_response(status)
                headers.setdefault("Content_Length", "0")
                for k, v in headers.items():
                    self.send_header(k.replace("_", "-"), str(v))
                self.end_headers()

            def body(self, into):
                left = int(self.headers.get("Content-Length") or 0)
                with registry.lock:
                    registry.bodies += 1
                try:
                    self.take(left, into)
                finally:
                    with registry.lock:
                        registry.bodies -= 1

            def take(self, left, into):
                while left:
                    if registry.kept() >= stops_at:
                        registry.goes_on.wait()
                    data = self.rfile.read(min(left, 1 << 18))
                    if not data:
                        raise ConnectionError("cut")
                    into += data
                    registry.received += len(data)
                    left -= len(data)

            def route(self):
                parts = self.path.split("?")[0].split("/")
                if parts[-2] == "manifests":
                    return self.manifest(parts[-1])
                if parts[-1] == "" and self.command == "POST":
                    name = f"s{next(registry.names)}"
                    registry.sessions[name] = bytearray()
                    return self.answer(202, Location=f"{self.path}{name}")
                if parts[-2] == "uploads":
                    return self.session(parts[-1])
                size = registry.blobs.get(parts[-1])
                return self.answer(404) if size is None else self.answer(200, Content_Length=size)

            def manifest(self, ref):
                if self.command == "PUT":
                    data = bytearray()
                    self.body(data)
                    registry.manifests[ref] = "sha256:" + hashlib.sha256(data).hexdigest()
                    return self.answer(201)
                return self.answer(404)

            def session(self, name):
                got = registry.sessions.get(name)
                if got is None:
                    return self.answer(404)
                if self.command in ("PUT", "PATCH"):
                    if whole_pieces and int(self.headers.get("Content-Length") or 0) > registry.LIMIT:
                        self.close_connection = True
                        return self.answer(413)
                    piece = bytearray() if whole_pieces else got
                    self.body(piece)
                    if whole_pieces:
                        got += piece
                if self.command == "PUT":
                    digest = "sha256:" + hashlib.sha256(got).hexdigest()
                    if digest not in self.path.replace("%3A", ":"):
                        return self.answer(400)
                    registry.blobs[digest] = len(got)
                    del registry.sessions[name]
                    return self.answer(201)
                return self.answer(204 if self.command == "GET" else 202, Range=f"0-{max(len(got) - 1, 0)}",
                                   Location=self.path)

            do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = route

        self.host = LocalServer(env, Handler).host

    def kept(self):
        return sum(map(len, list(self.sessions.values())))
