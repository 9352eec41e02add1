"""An HTTP proxy on loopback, in the process that uses it. Every name leads to
this machine, so that a host which only the proxy knows can be played."""
import base64
import http.client
import http.server
import select
import socket
import urllib.parse

from mopstest import LocalServer


class Proxy:
    def __init__(self, env, user=None, password=None):
        self.log = []  # (method, target, whether an Authorization came with it)
        want = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode() if user else None
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def allowed(self):
                proxy.log.append((self.command, self.path, "Authorization" in self.headers))
                if not want or self.headers.get("Proxy-Authorization") == want:
                    return True
                self.send_response(407)
                self.send_header("Proxy-Authenticate", 'Basic realm="proxy"')
                self.send_header("Content-Length", "0")
                self.end_headers()
                return False

            def do_CONNECT(self):
                if not self.allowed():
                    return
                try:
                    out = socket.create_connection(("127.0.0.1", int(self.path.rsplit(":", 1)[1])))
                except OSError:
                    self.send_error(502)
                    return
                with out:
                    self.send_response(200)
                    self.end_headers()
                    self.wfile.flush()
                    pair = {self.connection: out, out: self.connection}
                    while True:
                        for s in select.select(list(pair), [], [], 60)[0]:
                            data = s.recv(1 << 16)
                            if not data:
                                self.close_connection = True
                                return
                            pair[s].sendall(data)

            def forward(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if not self.allowed():
                    return
                url = urllib.parse.urlsplit(self.path)
                out = http.client.HTTPConnection("127.0.0.1", url.port or 80)
                headers = {k: v for k, v in self.headers.items() if not k.lower().startswith("proxy-")}
                out.request(self.command, urllib.parse.urlunsplit(("", "", url.path, url.query, "")), body or None,
                            headers)
                answer = out.getresponse()
                data = answer.read()
                self.send_response(answer.status)
                for k, v in answer.getheaders():
                    if k.lower() not in ("transfer-encoding", "content-length", "connection"):
                        self.send_header(k, v)
                self.send_header("Content-Length", answer.getheader("Content-Length") or str(len(data)))
                self.end_headers()
                self.wfile.write(data)
                out.close()

            do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = forward

        self.host = LocalServer(env, Handler).host
