#!/usr/bin/env python3
"""A double of Google Cloud Storage's JSON interface and of its token services.

  gcs.py [--life SECONDS] [--flaky]

Prints "ready port=PORT dir=FOLDER bucket=NAME"; the folder has credentials
files: service.json, user.json, external.json, external-url.json,
impersonated.json, wrong-key.json. Ends when its standard input does.

HMAC keys (GOOGTEST, canary-hmac-secret) are served at /bucket/KEY.

What it holds clients to: a bearer token that it gave out and that has not
ended (or 401), generations and ifGenerationMatch (412), ranges (206, 416),
names with encoded slashes, the signature of a service account's assertion, GOOG4
signatures.
--flaky takes only half of every first piece of an upload and then breaks the
connection. What it does not play: access control by object, checksums of
uploads, listing, storage classes, retention.

GET /counts is a line "name count" each, PUT and DELETE on /raw/KEY change
objects behind the client's back.
"""
import argparse
import base64
import hashlib
import hmac
import http.server
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

EMAIL, SCOPE = "svc@project.example", "https://www.googleapis.com/auth/devstorage.read_write"
HMAC_ID, HMAC_SECRET = "GOOGTEST", "canary-hmac-secret"
REFRESH, SUBJECT = "canary-refresh-token", "canary-subject-token"
lock = threading.Lock()
objects, sessions, tokens, counts = {}, {}, {}, {}
clock = [1000]
args = None
public = None


def count(name):
    with lock:
        counts[name] = counts.get(name, 0) + 1
        return counts[name]


def make_key(d):
    """A key for the service account, and its modulus."""
    path = d + "/key.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", path],
                   check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    text = subprocess.run(["openssl", "rsa", "-in", path, "-noout", "-modulus"], check=True, capture_output=True,
                          text=True).stdout
    with open(path, encoding="ascii") as f:
        return f.read(), int(text.strip().split("=")[1], 16)


def unb64(s):
    return base64.urlsafe_b64decode(s + "=" * (-len(s) % 4))


def assertion_is_good(text, audience):
    """PKCS #1 v1.5 with SHA-256, by hand: the standard library has no RSA."""
    head, claims, sig = text.split(".")
    n = int.from_bytes(unb64(sig), "big")
    got = pow(n, 65537, public).to_bytes(256, "big")
    prefix = bytes.fromhex("3031300d060960864801650304020105000420")
    digest = hashlib.sha256(f"{head}.{claims}".encode()).digest()
    want = b"\x00\x01" + b"\xff" * (256 - 3 - len(prefix) - 32) + b"\x00" + prefix + digest
    c, now = json.loads(unb64(claims)), time.time()
    return (got == want and json.loads(unb64(head)) == {"alg": "RS256", "typ": "JWT", "kid": "key-1"} and
            c["iss"] == EMAIL and c["aud"] == audience and c["scope"] == SCOPE and
            c["iat"] <= now < c["exp"] <= c["iat"] + 3600)


def goog4(command, path, headers, payload):
    """The Authorization that a holder of the HMAC key sends."""
    def mac(key, text):
        return hmac.new(key, text.encode(), hashlib.sha256).digest()
    got = headers.get("Authorization", "")
    words = dict(w.split("=", 1) for w in got.removeprefix("GOOG4-HMAC-SHA256 ").split(",") if "=" in w)
    names, scope = words.get("SignedHeaders", "").split(";"), words.get("Credential", "").partition("/")[2]
    canonical = "\n".join([command, path, "", "".join(f"{n}:{headers.get(n, '')}\n" for n in names), ";".join(names),
                           payload])
    text = f"GOOG4-HMAC-SHA256\n{headers.get('x-goog-date')}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = b"GOOG4" + HMAC_SECRET.encode()
    for step in scope.split("/"):
        key = mac(key, step)
    sig = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    must = {"host", "x-goog-date", "x-goog-content-sha256"}
    return words.get("Signature") == sig and words["Credential"].startswith(HMAC_ID + "/") and must <= set(names) and \
        scope.endswith("/storage/goog4_request")


class Broken(Exception):
    """The connection is to break off here."""


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request, address):
        """Clients that leave early are no news."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, address)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", headers=()):
        if not isinstance(body, (bytes, bytearray)):
            body = json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, status, reason):
        self.answer(status, {"error": {"code": status, "message": reason, "errors": [{"reason": reason}]}})

    def new_token(self, kind):
        token = f"canary-token-{kind}-{count('tokens')}"
        count("token-" + kind)
        tokens[token] = time.time() + args.life
        return token

    def give_token(self, kind, headers=()):
        self.answer(200, {"access_token": self.new_token(kind), "expires_in": args.life, "token_type": "Bearer"},
                    headers)

    def token_service(self, form):
        url = f"http://127.0.0.1:{self.server.server_address[1]}/token"
        grant = form.get("grant_type")
        if grant == "urn:ietf:params:oauth:grant-type:jwt-bearer" and assertion_is_good(form["assertion"], url):
            self.give_token("service")
        elif grant == "refresh_token" and form.get("refresh_token") == REFRESH and form.get("client_id") == "client":
            self.give_token("user")
        elif grant == "urn:ietf:params:oauth:grant-type:token-exchange" and form.get("subject_token") == SUBJECT and \
                form.get("audience") == "//iam/pool":
            self.give_token("external")
        else:
            self.answer(400, {"error": "invalid_grant", "error_description": "no"})

    def authorized(self):
        h = self.headers.get("Authorization", "")
        return h.startswith("Bearer ") and tokens.get(h[7:], 0) > time.time()

    # Objects.

    def meta(self, o):
        return {"size": str(len(o["body"])), "generation": str(o["generation"]), "metadata": o["metadata"]}

    def store(self, name, body, metadata):
        with lock:
            clock[0] += 1
            objects[name] = {"body": bytes(body), "metadata": metadata, "generation": clock[0]}
            return objects[name]

    def precondition(self, query, o):
        want = query.get("ifGenerationMatch")
        return want is None or int(want) == (o["generation"] if o else 0)

    def media(self, o):
        body, spec = o["body"], self.headers.get("Range")
        headers = [("x-goog-generation", str(o["generation"]))]
        if not spec:
            return self.answer(200, body, headers)
        first, last = spec.removeprefix("bytes=").split("-")
        first, last = int(first), min(int(last), len(body) - 1)
        if first >= len(body):
            return self.answer(416, b"", [("Content-Range", f"bytes */{len(body)}")])
        headers.append(("Content-Range", f"bytes {first}-{last}/{len(body)}"))
        return self.answer(206, body[first:last + 1], headers)

    def object_request(self, key, query):
        o = objects.get(key)
        if self.command == "GET" and not o:
            return self.refuse(404, "notFound")
        if not self.precondition(query, o):
            return self.refuse(412, "conditionNotMet")
        if self.command == "GET":
            return self.media(o) if query.get("alt") == "media" else self.answer(200, self.meta(o))
        if self.command == "DELETE":
            return self.answer(204) if objects.pop(key, None) else self.refuse(404, "notFound")
        return self.refuse(405, "methodNotAllowed")

    # Uploads.

    def upload_request(self, query, n):
        if self.command == "POST" and query.get("uploadType") == "resumable":
            info = json.loads(self.rfile.read(n))
            if not self.precondition(query, objects.get(query["name"])):
                return self.refuse(412, "conditionNotMet")
            sid = f"session-{count('sessions')}"
            sessions[sid] = {"name": query["name"], "metadata": info.get("metadata", {}), "body": bytearray(),
                             "query": query, "broken": not args.flaky}
            port = self.server.server_address[1]
            return self.answer(200, b"", [(
                "Location", f"http://127.0.0.1:{port}/upload/storage/v1/b/bucket/o?uploadType=resumable"
                            f"&upload_id={sid}")])
        s = sessions.get(query.get("upload_id"))
        if self.command != "PUT" or not s:
            return self.refuse(404, "notFound")
        return self.take_piece(s, n)

    def progress(self, s):
        n = len(s["body"])
        self.answer(308, b"", [("Range", f"bytes=0-{n - 1}")] if n else [])

    def take_piece(self, s, n):
        spec, total = self.headers["Content-Range"].removeprefix("bytes ").split("/")
        total = int(total)
        if spec != "*":
            first, last = map(int, spec.split("-"))
            if first != len(s["body"]) or last - first + 1 != n or (last + 1 < total and n % (256 << 10)):
                return self.refuse(400, "invalid")
            if not s["broken"] and n > 1:
                s["broken"] = True
                s["body"] += self.rfile.read((n // 2) & ~0x3ffff)
                raise Broken
            s["body"] += self.rfile.read(n)
        if len(s["body"]) < total:
            return self.progress(s)
        if not self.precondition(s["query"], objects.get(s["name"])):
            return self.refuse(412, "conditionNotMet")
        return self.answer(200, self.meta(self.store(s["name"], s["body"], s["metadata"])))

    # The XML interface.

    def xml_error(self, status, code):
        self.answer(status, f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>no</Message></Error>".encode())

    def xml(self, path, n):
        body = self.rfile.read(n)
        payload = self.headers.get("x-goog-content-sha256", "")
        if not goog4(self.command, path, self.headers, payload):
            return self.xml_error(403, "SignatureDoesNotMatch")
        if payload not in ("UNSIGNED-PAYLOAD", hashlib.sha256(body).hexdigest()):
            return self.xml_error(400, "BadDigest")
        key = urllib.parse.unquote(path.removeprefix("/bucket/"))
        o, want = objects.get(key), self.headers.get("x-goog-if-generation-match")
        if self.command != "PUT" and not o:
            return self.xml_error(404, "NoSuchKey")
        if want is not None and int(want) != (o["generation"] if o else 0):
            return self.xml_error(412, "PreconditionFailed")
        if self.command == "PUT":
            self.store(key, body, {"sha256": self.headers.get("x-goog-meta-sha256")})
        elif self.command == "DELETE":
            objects.pop(key, None)
            return self.answer(204)
        elif self.command == "HEAD":
            return self.answer(200, o["body"], [("x-goog-generation", str(o["generation"])),
                                                ("x-goog-meta-sha256", o["metadata"]["sha256"])])
        else:
            return self.media(o)
        return self.answer(200)

    def raw(self, key, n):
        if self.command == "PUT":
            self.store(key, self.rfile.read(n), {})
        elif self.command == "DELETE":
            objects.pop(key, None)
        elif key in objects:
            return self.answer(200, objects[key]["body"])
        return self.answer(200)

    def handle_one(self):
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        n = int(self.headers.get("Content-Length") or 0)
        try:
            self.route(url.path, query, n)
        except Broken:
            self.close_connection = True
            self.connection.close()

    def route(self, path, query, n):
        get, post = self.command == "GET", self.command == "POST"
        if path == "/counts":
            return self.answer(200, "".join(f"{k} {v}\n" for k, v in counts.items()).encode())
        if path.startswith("/raw/"):
            return self.raw(urllib.parse.unquote(path[5:]), n)
        if path.startswith("/bucket/"):
            return self.xml(path, n)
        if post and path == "/token":
            return self.token_service(dict(urllib.parse.parse_qsl(self.rfile.read(n).decode())))
        if post and path == "/impersonate":
            body = json.loads(self.rfile.read(n))
            if not self.authorized() or body["scope"] != [SCOPE]:
                return self.refuse(403, "forbidden")
            ends = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + args.life))
            return self.answer(200, {"accessToken": self.new_token("impersonated"), "expireTime": ends})
        if get and path == "/subject":
            if self.headers.get("X-Proof") != "canary-proof":
                return self.refuse(403, "forbidden")
            return self.answer(200, {"nested": SUBJECT})
        if get and path == "/computeMetadata/v1/instance/service-accounts/default/token":
            if self.headers.get("Metadata-Flavor") != "Google":
                return self.refuse(403, "forbidden")
            return self.give_token("metadata", [("Metadata-Flavor", "Google")])
        if not self.authorized():
            self.rfile.read(n)
            return self.refuse(401, "authError")
        if path == "/upload/storage/v1/b/bucket/o":
            return self.upload_request(query, n)
        prefix = "/storage/v1/b/bucket/o/"
        if path.startswith(prefix) and "/" not in path[len(prefix):]:
            return self.object_request(urllib.parse.unquote(path[len(prefix):]), query)
        return self.refuse(404, "notFound")

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_one


def write_files(d, port, pem):
    base = f"http://127.0.0.1:{port}"
    external = {"type": "external_account", "audience": "//iam/pool", "token_url": base + "/token",
                "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
                "credential_source": {"file": d + "/subject"}}
    service = {"type": "service_account", "client_email": EMAIL, "private_key": pem, "private_key_id": "key-1",
               "token_uri": base + "/token"}
    by_url = {"url": base + "/subject", "headers": {"X-Proof": "canary-proof"},
              "format": {"type": "json", "subject_token_field_name": "nested"}}
    files = {
        "service.json": service,
        "wrong-key.json": {**service, "private_key": "canary"},
        "user.json": {"type": "authorized_user", "client_id": "client", "client_secret": "canary-client",
                      "refresh_token": REFRESH, "token_uri": base + "/token"},
        "external.json": external,
        "external-url.json": {**external, "credential_source": by_url},
        "impersonated.json": {**external, "service_account_impersonation_url": base + "/impersonate"},
    }
    for name, value in files.items():
        with open(f"{d}/{name}", "w", encoding="ascii") as f:
            json.dump(value, f)
    with open(d + "/subject", "w", encoding="ascii") as f:
        f.write(SUBJECT + "\n")


def main():
    global args, public
    p = argparse.ArgumentParser()
    p.add_argument("--life", type=int, default=3600)
    p.add_argument("--flaky", action="store_true")
    args = p.parse_args()
    if not shutil.which("openssl"):
        print("skip no openssl", flush=True)
        return
    d = tempfile.mkdtemp(prefix="mops-gcs-")
    pem, public = make_key(d)
    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    write_files(d, server.server_address[1], pem)
    print(f"ready port={server.server_address[1]} dir={d} bucket=bucket", flush=True)
    sys.stdin.read()
    shutil.rmtree(d, ignore_errors=True)


main()
