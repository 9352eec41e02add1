#!/usr/bin/env python3
"""An object store that answers oddly: what it does is the object's name.

  odd_store.py

Prints "ready port=PORT elsewhere=PORT". Byte i of every object is
(7 * i + (i >> 8)) mod 256, and there are 300,000 of them. "elsewhere" is a
second port; whoever comes there is counted. GET /counts on the first is a line
"name count" each. Ends when its standard input does.
"""
import calendar
import email.utils
import http.server
import sys
import threading
import time

SIZE = 300000
BODY = bytes((7 * i + (i >> 8)) % 256 for i in range(SIZE))
HOUR = 3600
counts = {}
lock = threading.Lock()


def count(name):
    with lock:
        counts[name] = counts.get(name, 0) + 1
        return counts[name]


def error(code, more=""):
    return f"<?xml version='1.0'?>\n<Error><Code>{code}</Code><Message>canary &lt;{code}&gt;</Message>{more}</Error>"


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, address):
        """Clients that leave early are no news."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, address)


class Elsewhere(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        count("elsewhere")
        self.send_response(200)
        self.end_headers()

    do_HEAD = do_PUT = do_GET


class Odd(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    elsewhere = 0

    def log_message(self, *_):
        pass

    def date_time_string(self, timestamp=None):
        ahead = HOUR if self.path.endswith("/skew") else 0
        return email.utils.formatdate(time.time() + ahead, usegmt=True)

    def answer(self, status, body=b"", headers=(), length=None):
        body = body.encode() if isinstance(body, str) else body
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def range(self):
        first, last = self.headers["Range"].removeprefix("bytes=").split("-")
        return int(first), min(int(last), SIZE - 1)

    def part(self, first, last, headers=(), shown=None, body=None, etag='"e"'):
        a, b = shown or (first, last)
        self.answer(206, BODY[first:last + 1] if body is None else body,
                    [("Content-Range", f"bytes {a}-{b}/{SIZE}"), ("ETag", etag), *headers], last - first + 1)

    # One method an oddity; the rest is a sound answer.

    def sound(self, headers=()):
        if self.headers["Range"]:
            return self.part(*self.range(), headers)
        return self.answer(200, BODY, [("ETag", '"e"'), *headers])

    def norange(self):
        self.answer(200, BODY, [("ETag", '"e"')])

    def wrongrange(self):
        if not self.headers["Range"]:
            return self.sound()
        first, last = self.range()
        return self.part(first, last, shown=(first + 1, last + 1), body=bytes(last - first + 1))

    def short(self):
        first, last = self.range()
        self.part(first, last, body=BODY[first:min(last + 1, first + 60000)])
        self.close_connection = True

    def pieces(self):
        first, last = self.range()
        self.part(first, min(last, first + 4999))

    def mixed(self):
        first, last = self.range()
        self.part(first, min(last, first + 99999), etag=f'"e{count("mixed")}"')

    def nomatch(self):
        self.answer(412, error("PreconditionFailed"))

    def archived(self):
        self.answer(403, error("InvalidObjectState", "<StorageClass>GLACIER</StorageClass>"))

    def busy(self):
        if count("busy") == 1:
            return self.answer(503, error("SlowDown"))
        return self.sound()

    def skew(self):
        signed = calendar.timegm(time.strptime(self.headers["x-amz-date"], "%Y%m%dT%H%M%SZ"))
        if abs(signed - time.time() - HOUR) > 300:
            count("skewed")
            return self.answer(403, error("RequestTimeTooSkewed"))
        return self.sound()

    def moved(self):
        self.answer(307, error("TemporaryRedirect"), [("Location", f"http://127.0.0.1:{self.elsewhere}/bucket/x")])

    def region(self):
        self.answer(301, error("PermanentRedirect", f"<Endpoint>127.0.0.1:{self.elsewhere}</Endpoint>"),
                    [("x-amz-bucket-region", "evil.example/x")])

    def gzip(self):
        self.sound([("Content-Encoding", "gzip")])

    def endless(self):
        self.send_response(403)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while True:
            self.wfile.write(b"10000\r\n" + b"x" * 65536 + b"\r\n")

    def payer(self):
        signed = "x-amz-request-payer" in self.headers["Authorization"]
        if self.headers["x-amz-request-payer"] != "requester" or not signed:
            return self.answer(403, error("AccessDenied"))
        return self.sound()

    def weak(self):
        self.answer(200, BODY, [("ETag", 'W/"e"')])

    def nolength(self):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def flood(self):
        self.answer(200, b"", [("ETag", '"' + "e" * 500 + '"')], SIZE)

    def do_GET(self):
        if self.path == "/counts":
            return self.answer(200, "".join(f"{k} {v}\n" for k, v in counts.items()))
        name = self.path.split("?")[0].rsplit("/", 1)[1]
        count("get-" + name)
        return getattr(self, name, self.sound)()

    do_HEAD = do_GET


def main():
    elsewhere = Server(("127.0.0.1", 0), Elsewhere)
    server = Server(("127.0.0.1", 0), Odd)
    Odd.elsewhere = elsewhere.server_address[1]
    for s in (elsewhere, server):
        threading.Thread(target=s.serve_forever, daemon=True).start()
    print(f"ready port={server.server_address[1]} elsewhere={Odd.elsewhere}", flush=True)
    sys.stdin.read()


main()
