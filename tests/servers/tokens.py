"""A token service for docker-registry, in the process that uses it.

Gives out JSON web tokens (RS256, signed by openssl) with the certificate chain
that docker-registry's `auth.token` wants. docker-registry accepts a token for
60 s beyond its end, so a token that is to live 5 s there ends 55 s ago.
"""
import base64
import http.server
import json
import subprocess
import time
import urllib.parse
import uuid


def b64(data):
    if not isinstance(data, bytes):
        data = json.dumps(data).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class TokenService:
    SERVICE, ISSUER, LEEWAY = "mops-test", "mops-test-tokens", 60

    def __init__(self, folder, user, password, life=300, says=None):
        """@life: seconds that a token is good for, @says: what it tells (None: the truth)."""
        self.folder, self.user, self.password = folder, user, password
        self.life, self.says = life, says
        self.log = []  # (kind of request, scopes)
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "token.key", "-out",
                        "token.pem", "-subj", "/CN=tokens", "-days", "2"], check=True, cwd=folder,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        pem = (folder / "token.pem").read_text()
        self.x5c = ["".join(pem.split("-----")[2].split())]
        self.realm = None

    def serve(self, host):
        self.realm = f"http://{host}/token"

    def handler(self):
        service = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def do_GET(self):
                query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
                said = self.headers.get("Authorization")
                plain = base64.b64decode(said.removeprefix("Basic ")).decode() if said else ":"
                service.answer(self, "GET", query, *plain.split(":", 1), bool(said))

            def do_POST(self):
                form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                kind = form["grant_type"][0]
                name = form["username"][0] if kind == "password" else service.user
                word = form["password"][0] if kind == "password" else \
                    service.password if form["refresh_token"] == ["refresh-" + service.user] else ""
                service.answer(self, kind, form, name, word, True)

        return Handler

    def config(self):
        return (f"auth: {{token: {{realm: '{self.realm}', service: {self.SERVICE}, issuer: {self.ISSUER}, "
                f"rootcertbundle: {self.folder}/token.pem}}}}\n")

    def granted(self, scopes, known):
        """Whoever shows a login may do all, others may pull from public/."""
        out = []
        for scope in scopes:
            kind, rest = scope.split(":", 1)
            name, actions = rest.rsplit(":", 1)
            actions = actions.split(",")
            if not known:
                actions = [a for a in actions if a == "pull" and name.startswith("public/")]
            if actions:
                out.append({"type": kind, "name": name, "actions": actions})
        return out

    def token(self, who, access):
        now = int(time.time())
        end = now + self.life - self.LEEWAY
        head = {"typ": "JWT", "alg": "RS256", "x5c": self.x5c}
        body = {"iss": self.ISSUER, "sub": who, "aud": self.SERVICE, "exp": end, "nbf": now - 600, "iat": now - 600,
                "jti": str(uuid.uuid4()), "access": access}
        text = b64(head) + "." + b64(body)
        signature = subprocess.run(["openssl", "dgst", "-sha256", "-sign", self.folder / "token.key"], check=True,
                                   input=text.encode(), stdout=subprocess.PIPE).stdout
        return text + "." + b64(signature)

    def answer(self, handler, kind, form, name, word, shown):
        known = shown and (name, word) == (self.user, self.password)
        scopes = [s for field in form.get("scope", []) for s in field.split(" ") if s]
        self.log.append((kind, tuple(scopes)))
        if shown and not known or form.get("service") != [self.SERVICE]:
            status, said = 401, {"errors": [{"code": "UNAUTHORIZED"}]}
        else:
            status = 200
            said = {"token": self.token(name, self.granted(scopes, known)),
                    "expires_in": self.life if self.says is None else self.says}
        data = json.dumps(said).encode()
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)