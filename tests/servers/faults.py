#!/usr/bin/env python3
"""A scripted HTTP/1.1 server on loopback that misbehaves on request.

Prints "ready a=PORT b=PORT c=PORT log=PORT": three origins with the same
behaviour, and a log. Ends when its standard input does.

The path chooses the fault, the query its numbers:

  /data?n=          n bytes of the pattern; honours Range
  /range?how=       answers a range wrongly (see range_faults)
  /hop?to=&code=    a redirect to the URL `to`
  /loop             a redirect to itself
  /short?n=&send=   Content-Length n, `send` bytes, then a clean end
  /reset?n=&send=   the same, then a reset
  /stall?n=&send=   the same, then silence
  /trickle?n=       one byte every 50 ms
  /silent           no answer at all
  /nolength?n=      no Content-Length, ended by closing
  /headers?kb=      a head of that size
  /infos            1xx answers without end
  /gzip             Content-Encoding: gzip
  /busy?times=&after=&key=  429 with Retry-After so often, then 200
  /status?code=&n=  that status with an n byte body
  /endless?code=    that status with a body that never ends
  /notsatisfiable   416 whose Content-Length is the blob's, body 33 bytes
  /upload           reads the body, answers with its length and SHA-256
  /slowupload       reads nothing of the body
  /early?code=      answers before reading the body, then closes
  /http09           an answer without a head
  /garbage          bytes that are not HTTP
"""
import hashlib
import json
import socket
import struct
import sys
import threading
import time
import urllib.parse

LOG = []
LOCK = threading.Lock()
COUNTS = {}


def pattern(first, n):
    block = bytes((i * 7 + (i >> 8) * 13) & 255 for i in range(65536))
    out = bytearray()
    while len(out) < n:
        at = (first + len(out)) % 65536
        out += block[at:at + n - len(out)]
    return bytes(out)


class Closed(Exception):
    pass


class Exchange:
    """One connection, request after request."""

    def __init__(self, sock, origin):
        self.sock, self.origin = sock, origin
        self.f = sock.makefile("rb")

    def request(self):
        line = self.f.readline(65537)
        if not line:
            raise Closed
        self.method, self.target, _ = line.decode("latin-1").split(" ", 2)
        self.headers = []
        while True:
            line = self.f.readline(65537).decode("latin-1").rstrip("\r\n")
            if not line:
                break
            name, value = line.split(":", 1)
            self.headers.append((name.lower(), value.strip()))
        u = urllib.parse.urlsplit(self.target)
        self.path = u.path
        self.q = dict(urllib.parse.parse_qsl(u.query))
        with LOCK:
            LOG.append({"origin": self.origin, "method": self.method,
                        "target": self.target, "headers": self.headers})

    def header(self, name):
        return next((v for n, v in self.headers if n == name), None)

    def num(self, key, default=0):
        return int(self.q.get(key, default))

    def send(self, data):
        self.sock.sendall(data)

    def head(self, code, *lines):
        text = "HTTP/1.1 %d X\r\n" % code
        text += "".join(line + "\r\n" for line in lines) + "\r\n"
        self.send(text.encode("latin-1"))

    def answer(self, code, body=b"", *lines):
        self.head(code, "Content-Length: %d" % len(body), *lines)
        if self.method != "HEAD":
            self.send(body)

    def close(self):
        self.sock.shutdown(socket.SHUT_WR)
        raise Closed

    def reset(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                             struct.pack("ii", 1, 0))
        self.f.close()
        self.sock.close()
        raise Closed

    def wait_for_end(self):
        self.sock.settimeout(60)
        while self.sock.recv(65536):
            pass
        raise Closed


def data(x):
    n = x.num("n", 1000)
    asked = x.header("range")
    if asked is None:
        x.answer(200, pattern(0, n))
        return
    first, last = asked.split("=")[1].split("-")
    first, last = int(first), min(int(last), n - 1)
    if first >= n:
        x.answer(416, b"", "Content-Range: bytes */%d" % n)
        return
    x.answer(206, pattern(first, last - first + 1),
             "Content-Range: bytes %d-%d/%d" % (first, last, n))


def hop(x):
    x.answer(x.num("code", 302), b"moved", "Location: " + x.q["to"],
             "Set-Cookie: canary=1")


def busy(x):
    key = x.q.get("key", "")
    with LOCK:
        COUNTS[key] = COUNTS.get(key, 0) + 1
        seen = COUNTS[key]
    after = x.q.get("after", "1")
    if after == "date":
        after = time.strftime("%a, %d %b %Y %H:%M:%S GMT",
                              time.gmtime(time.time() + 2))
    if seen <= x.num("times", 1):
        x.answer(x.num("code", 429), b"slow down", "Retry-After: " + after,
                 "Date: " + time.strftime("%a, %d %b %Y %H:%M:%S GMT",
                                          time.gmtime()))
    else:
        x.answer(200, b"welcome")


def broken_body(x, end):
    n, send = x.num("n", 1000), x.num("send", 100)
    x.head(x.num("code", 200), "Content-Length: %d" % n)
    x.send(pattern(0, send))
    time.sleep(0.05)
    end()


def trickle(x):
    n = x.num("n", 100000)
    x.head(200, "Content-Length: %d" % n)
    for i in range(n):
        x.send(pattern(i, 1))
        time.sleep(0.05)


def headers(x):
    size = x.num("kb", 128) * 1024
    lines = ["X-%d: %s" % (i, "v" * 1000) for i in range(size // 1008 + 1)]
    x.answer(200, b"ok", *lines)


def infos(x):
    while True:
        x.send(b"HTTP/1.1 103 Early\r\nLink: <x>; rel=preload\r\n\r\n")


def endless(x):
    x.head(x.num("code", 500), "Connection: close")
    while True:
        x.send(b"error " * 10000)


def nolength(x):
    x.head(200, "Connection: close")
    x.send(pattern(0, x.num("n", 1000)))
    x.close()


def notsatisfiable(x):
    x.head(416, "Content-Length: 1000000")
    x.send(b'{"errors":[{"code":"UNKNOWN"}]}xx')
    x.close()


def body_of(x):
    left = int(x.header("content-length") or 0)
    while left:
        piece = x.f.read(min(left, 65536))
        if not piece:
            raise Closed
        left -= len(piece)
        yield piece


def upload(x):
    h, n = hashlib.sha256(), 0
    for piece in body_of(x):
        h.update(piece)
        n += len(piece)
    x.answer(201, json.dumps({"n": n, "sha256": h.hexdigest()}).encode())


def early(x):
    x.head(x.num("code", 401), "Content-Length: 4", "Connection: close")
    x.send(b"nope")
    time.sleep(0.2)
    x.close()


def range_faults(x):
    """A 206 that is not what was asked for."""
    how, n = x.q["how"], x.num("n", 1000)
    first, last = (int(v) for v in x.header("range").split("=")[1].split("-"))
    body = pattern(first, last - first + 1)
    if how == "none":
        x.answer(206, body)
    elif how == "shifted":
        x.answer(206, pattern(first + 1, last - first + 1),
                 "Content-Range: bytes %d-%d/%d" % (first + 1, last + 1, n))
    elif how == "total":
        x.answer(206, body,
                 "Content-Range: bytes %d-%d/%d" % (first, last, n + 1))
    elif how == "long":
        x.answer(206, body + b"x",
                 "Content-Range: bytes %d-%d/%d" % (first, last, n))
    elif how == "multipart":
        x.answer(206, b"--b\r\n\r\n--b--\r\n",
                 "Content-Type: multipart/byteranges; boundary=b")


def slowupload(x):
    time.sleep(60)


ROUTES = {
    "/data": data,
    "/range": range_faults,
    "/hop": hop,
    "/loop": lambda x: x.answer(302, b"", "Location: /loop"),
    "/short": lambda x: broken_body(x, x.close),
    "/reset": lambda x: broken_body(x, x.reset),
    "/stall": lambda x: broken_body(x, x.wait_for_end),
    "/trickle": trickle,
    "/silent": lambda x: x.wait_for_end(),
    "/nolength": nolength,
    "/headers": headers,
    "/infos": infos,
    "/gzip": lambda x: x.answer(200, b"\x1f\x8b", "Content-Encoding: gzip"),
    "/busy": busy,
    "/status": lambda x: x.answer(x.num("code", 200),
                                  pattern(0, x.num("n", 0))),
    "/endless": endless,
    "/notsatisfiable": notsatisfiable,
    "/upload": upload,
    "/slowupload": slowupload,
    "/early": early,
    "/http09": lambda x: (x.send(b"hello\n"), x.close()),
    "/garbage": lambda x: (x.send(b"\x00\x01\x02\xff\r\n\r\n"), x.close()),
}


def serve(sock, origin):
    x = Exchange(sock, origin)
    try:
        while True:
            x.request()
            ROUTES[x.path](x)
    except (Closed, OSError, ValueError):
        pass
    finally:
        try:
            sock.close()
        except OSError:
            pass


def serve_log(sock, origin):
    """GET answers the log as one line of JSON and empties it."""
    x = Exchange(sock, origin)
    try:
        x.request()
        with LOCK:
            LOG.pop()
            body = json.dumps(LOG).encode()
            LOG.clear()
        x.answer(200, body, "Connection: close")
    except (Closed, OSError, ValueError):
        pass
    sock.close()


def listen(origin, handler):
    s = socket.create_server(("127.0.0.1", 0), backlog=128)

    def loop():
        while True:
            c, _ = s.accept()
            c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=handler, args=(c, origin),
                             daemon=True).start()

    threading.Thread(target=loop, daemon=True).start()
    return s.getsockname()[1]


def main():
    ports = {o: listen(o, serve) for o in "abc"}
    ports["log"] = listen("log", serve_log)
    print("ready", " ".join("%s=%d" % p for p in ports.items()), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
