#!/usr/bin/env python3
"""A double of the places that credentials come from: Amazon's instance metadata
(version 2), container service and token service; Microsoft's token service,
instance metadata and App Service endpoint.

  identity.py [--id ID --secret SECRET] [--life SECONDS] [--broken]

AWS keys are the ones given; Microsoft's tokens are what Azurite accepts in its
OAuth mode (it looks at their claims). Prints "ready port=PORT dir=FOLDER". Each
answer is counted: GET /counts is a line "path count" each. Requests that break
the protocol (a missing header, a wrong secret) are refused. --broken answers
503 to all. Ends when its standard input does.
"""
import argparse
import base64
import datetime
import hashlib
import hmac
import http.server
import json
import os
import shutil
import sys
import tempfile
import threading
import time
import urllib.parse

IMDS_TOKEN, ROLE = "imds-token", "a+role@x"
CONTAINER_TOKEN = "canary-container-token"
WEB_TOKEN = "canary-web-token"
CLIENT, CLIENT_SECRET, TENANT = "client-1", "canary-client-secret", "tenant-1"
IDENTITY_HEADER = "canary-identity-header"
counts = {}
lock = threading.Lock()


def b64(value):
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request, address):
        """Clients that leave early are no news."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, address)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    args = None

    def log_message(self, *_):
        pass

    def answer(self, status, body, kind="application/json"):
        body = body if isinstance(body, bytes) else body.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def ends(self):
        t = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=self.args.life)
        return t.strftime("%Y-%m-%dT%H:%M:%SZ")

    def aws_keys(self):
        self.answer(200, json.dumps({"Code": "Success", "AccessKeyId": self.args.id,
                                     "SecretAccessKey": self.args.secret, "Token": "session+token/=",
                                     "Expiration": self.ends()}))

    def microsoft_token(self):
        now = int(time.time())
        token = ".".join([b64({"alg": "none", "typ": "JWT"}), b64({
            "aud": "https://storage.azure.com", "nbf": now - 60, "iat": now, "exp": now + self.args.life,
            "iss": "https://sts.windows.net/ab1f708d-50f6-404c-a006-d71b2ac7a606/", "n": counts[self.path]}), "x"])
        self.answer(200, json.dumps({"token_type": "Bearer", "access_token": token,
                                     "expires_in": self.args.life}))

    def web_identity(self, form):
        if form.get("WebIdentityToken") != WEB_TOKEN or form.get("RoleArn") != "arn:aws:iam::1:role/r":
            self.answer(403, "<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error>"
                             "</ErrorResponse>", "text/xml")
            return
        self.sts_keys("AssumeRoleWithWebIdentity")

    def is_signed(self, body):
        """By the keys of this server, over these fields and this body."""
        parts = dict(p.split("=", 1) for p in self.headers.get("Authorization", " ").split(" ", 1)[1].split(",") if p)
        who, _, scope = parts.get("Credential", "").partition("/")
        names, key = parts.get("SignedHeaders", "").split(";"), ("AWS4" + self.args.secret).encode()
        fields = "".join(f"{n}:{self.headers.get(n)}\n" for n in names)
        canonical = "\n".join([self.command, self.path, "", fields, ";".join(names), hashlib.sha256(body).hexdigest()])
        text = "\n".join(["AWS4-HMAC-SHA256", self.headers.get("x-amz-date", ""), scope,
                          hashlib.sha256(canonical.encode()).hexdigest()])
        for step in scope.split("/") + [text]:
            key = hmac.new(key, step.encode(), hashlib.sha256).digest()
        return who == self.args.id and scope.endswith("/sts/aws4_request") and "host" in names and \
            hmac.compare_digest(key.hex(), parts.get("Signature", ""))

    def role(self, form, body):
        good = form.get("RoleArn") == "arn:aws:iam::1:role/r" and form.get("ExternalId") == "ext 1"
        if not good or not self.is_signed(body):
            self.answer(403, "<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error>"
                             "</ErrorResponse>", "text/xml")
            return
        self.sts_keys("AssumeRole")

    def sts_keys(self, action):
        self.answer(200, f"<{action}Response><{action}Result><Credentials>"
                         f"<AccessKeyId>{self.args.id}</AccessKeyId>"
                         f"<SecretAccessKey>{self.args.secret}</SecretAccessKey>"
                         f"<SessionToken>session+token/=</SessionToken><Expiration>{self.ends()}</Expiration>"
                         f"</Credentials></{action}Result></{action}Response>", "text/xml")

    def directory(self, form):
        assertion = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        good = form.get("client_id") == CLIENT and form.get("grant_type") == "client_credentials" and \
            form.get("scope") == "https://storage.azure.com/.default" and (
                form.get("client_secret") == CLIENT_SECRET or
                (form.get("client_assertion") == WEB_TOKEN and form.get("client_assertion_type") == assertion))
        if good:
            self.microsoft_token()
        else:
            self.answer(401, json.dumps({"error": "invalid_client", "error_description": "AADSTS7000215"}))

    def handle_one(self):
        url = urllib.parse.urlsplit(self.path)
        path, query = url.path, dict(urllib.parse.parse_qsl(url.query))
        n = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(n)
        form = dict(urllib.parse.parse_qsl(body.decode()))
        with lock:
            counts[self.path] = counts.get(self.path, 0) + 1
        get, h = self.command == "GET", self.headers
        if path == "/counts":
            return self.answer(200, "".join(f"{k} {v}\n" for k, v in counts.items()), "text/plain")
        if self.args.broken:
            return self.answer(503, "{}")
        if self.command == "PUT" and path == "/latest/api/token" and h.get("x-aws-ec2-metadata-token-ttl-seconds"):
            return self.answer(200, IMDS_TOKEN, "text/plain")
        if get and path.startswith("/latest/meta-data/iam/security-credentials/"):
            if h.get("x-aws-ec2-metadata-token") != IMDS_TOKEN:
                return self.answer(401, "")
            role = urllib.parse.unquote(path.rsplit("/", 1)[1])
            if not role:
                return self.answer(200, ROLE + "\n", "text/plain")
            return self.aws_keys() if role == ROLE else self.answer(404, "")
        if get and path == "/container":
            return self.aws_keys() if h.get("Authorization") == CONTAINER_TOKEN else self.answer(401, "{}")
        if self.command == "POST" and form.get("Action") == "AssumeRoleWithWebIdentity":
            return self.web_identity(form)
        if self.command == "POST" and form.get("Action") == "AssumeRole":
            return self.role(form, body)
        if self.command == "POST" and path == f"/{TENANT}/oauth2/v2.0/token":
            return self.directory(form)
        resource = query.get("resource") == "https://storage.azure.com/"
        if get and path == "/metadata/identity/oauth2/token" and h.get("Metadata") == "true" and resource:
            return self.microsoft_token()
        if get and path == "/app" and h.get("X-IDENTITY-HEADER") == IDENTITY_HEADER and resource:
            return self.microsoft_token()
        return self.answer(400, "{}")

    do_GET = do_PUT = do_POST = handle_one


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--id", default="id")
    p.add_argument("--secret", default="secret")
    p.add_argument("--life", type=int, default=3600)
    p.add_argument("--broken", action="store_true")
    Handler.args = p.parse_args()
    d = tempfile.mkdtemp(prefix="mops-identity-")
    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name, text in (("web-token", WEB_TOKEN), ("container-token", CONTAINER_TOKEN)):
        with open(os.path.join(d, name), "w", encoding="ascii") as f:
            f.write(text + "\n")
    print(f"ready port={server.server_address[1]} dir={d}", flush=True)
    sys.stdin.read()
    shutil.rmtree(d, ignore_errors=True)


main()
