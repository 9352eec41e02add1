#!/usr/bin/env python3
"""A read-only registry on loopback that serves an OCI layout folder and
misbehaves when told to.

usage: bad_registry.py FOLDER

Prints "ready port=PORT". Ends when its standard input does. What it does with
blobs is set by GET /control?mode=MODE:

  ok         serves them
  stall      sends the head and then nothing
  silent     does not answer at all
  corrupt    flips a bit of each body
  refuse     403
  busy       503
  cut        closes in the middle of the body

GET /count answers with the number of blob requests so far.
"""
import http.server
import json
import pathlib
import sys
import threading
import urllib.parse


class State:
    mode = "ok"
    changed = threading.Condition()
    count = 0


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    folder = None

    def log_message(self, *args):
        pass

    def answer(self, code, body=b"", headers=None, media="application/octet-stream"):
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", media)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def wait_while(self, mode):
        with State.changed:
            State.changed.wait_for(lambda: State.mode != mode, 300)
        self.close_connection = True

    def blob(self, digest):
        return self.folder / "blobs/sha256" / digest.removeprefix("sha256:")

    def manifest(self, repo, what):
        index = json.loads((self.folder / "index.json").read_text())
        for m in index["manifests"]:
            name = m.get("annotations", {}).get("org.opencontainers.image.ref.name")
            if what in (m["digest"], (name or "").removeprefix(repo + ":")):
                body = self.blob(m["digest"]).read_bytes()
                self.answer(200, body, {"Docker-Content-Digest": m["digest"]}, m["mediaType"])
                return
        self.answer(404)

    def send_blob(self, path):
        with State.changed:
            State.count += 1
            mode = State.mode
        if mode in ("refuse", "busy"):
            self.answer(403 if mode == "refuse" else 503)
            return
        if mode == "silent":
            self.wait_while("silent")
            return
        body, code, headers = path.read_bytes(), 200, {}
        want = self.headers.get("Range", "")
        if want.startswith("bytes="):
            first, last = want[6:].split("-")
            last = min(int(last), len(body) - 1) if last else len(body) - 1
            headers["Content-Range"] = f"bytes {first}-{last}/{len(body)}"
            body, code = body[int(first):last + 1], 206
        if mode == "corrupt" and body:
            body = bytes([body[0] ^ 1]) + body[1:]
        if mode not in ("stall", "cut"):
            self.answer(code, body, headers)
            return
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if mode == "cut":
            self.wfile.write(body[:len(body) // 2])
            self.close_connection = True
        else:
            self.wfile.flush()
            self.wait_while("stall")

    def do_GET(self):
        url = urllib.parse.urlparse(self.path)
        parts = url.path.strip("/").split("/")
        if url.path == "/control":
            with State.changed:
                State.mode = urllib.parse.parse_qs(url.query)["mode"][0]
                State.changed.notify_all()
            self.answer(200)
        elif url.path == "/count":
            self.answer(200, str(State.count).encode())
        elif url.path.rstrip("/") == "/v2":
            self.answer(200)
        elif parts[0] == "v2" and parts[-2] == "manifests":
            self.manifest("/".join(parts[1:-2]), parts[-1])
        elif parts[0] == "v2" and parts[-2] == "blobs" and self.blob(parts[-1]).exists():
            if self.command == "HEAD":
                self.answer(200, self.blob(parts[-1]).read_bytes())
            else:
                self.send_blob(self.blob(parts[-1]))
        else:
            self.answer(404)

    do_HEAD = do_GET


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """A client that went away is no news."""


def main():
    Handler.folder = pathlib.Path(sys.argv[1])
    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"ready port={server.server_address[1]}", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
