"""A second, small implementation of Azure Blob Storage's shared key and shared
access signatures, so that tests can make and change blobs without the client
under test.
"""
import base64
import email.utils
import hashlib
import hmac
import http.client
import ssl
import urllib.parse

VERSION = "2023-11-03"


class Azure:
    """An account below http(s)://127.0.0.1:PORT/ACCOUNT."""

    def __init__(self, port, account, key, ca=None):
        self.port, self.account, self.key, self.ca = int(port), account, base64.b64decode(key), ca

    def endpoint(self):
        return f"{'https' if self.ca else 'http'}://127.0.0.1:{self.port}/{self.account}"

    def _mac(self, text):
        return base64.b64encode(hmac.new(self.key, text.encode(), hashlib.sha256).digest()).decode()

    def _authorization(self, method, path, query, fields, n):
        slots = [fields.get(k, "") for k in ("content-encoding", "content-language")]
        slots += [str(n) if n else ""]
        slots += [fields.get(k, "") for k in ("content-md5", "content-type", "date", "if-modified-since", "if-match",
                                              "if-none-match", "if-unmodified-since", "range")]
        text = "\n".join([method, *slots]) + "\n"
        text += "".join(f"{k}:{fields[k]}\n" for k in sorted(fields) if k.startswith("x-ms-"))
        text += f"/{self.account}{path}" + "".join(f"\n{k}:{v}" for k, v in sorted(query))
        return f"SharedKey {self.account}:{self._mac(text)}"

    def request(self, method, path, body=b"", query=(), headers=None):
        path = f"/{self.account}" + urllib.parse.quote(path, safe="/-._~")
        fields = {"x-ms-date": email.utils.formatdate(usegmt=True), "x-ms-version": VERSION, **(headers or {})}
        if body:
            fields["content-type"] = "application/octet-stream"
        fields["authorization"] = self._authorization(method, path, query, fields, len(body))
        if method == "PUT":
            fields["content-length"] = str(len(body))
        target = path + ("?" + urllib.parse.urlencode(query) if query else "")
        if self.ca:
            conn = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=60,
                                               context=ssl.create_default_context(cafile=self.ca))
        else:
            conn = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            conn.request(method, target, body or None, fields)
            answer = conn.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        finally:
            conn.close()

    def _must(self, *args, **kw):
        status, headers, body = self.request(*args, **kw)
        if status // 100 != 2:
            raise RuntimeError(f"{args[0]} {args[1]}: {status} {body[:300]}")
        return headers, body

    def make_container(self, name):
        self._must("PUT", f"/{name}", query=[("restype", "container")])

    def put(self, container, key, body):
        self._must("PUT", f"/{container}/{key}", body, headers={"x-ms-blob-type": "BlockBlob"})

    def get(self, container, key):
        return self._must("GET", f"/{container}/{key}")[1]

    def delete(self, container, key):
        self._must("DELETE", f"/{container}/{key}")

    def set_tier(self, container, key, tier):
        self._must("PUT", f"/{container}/{key}", query=[("comp", "tier")], headers={"x-ms-access-tier": tier})

    def sas(self, container, permissions, start="2020-01-01T00:00:00Z", end="2099-01-01T00:00:00Z"):
        """A signature for what is in @container."""
        text = "\n".join([permissions, start, end, f"/blob/{self.account}/{container}", "", "", "", VERSION, "c", "",
                          "", "", "", "", "", ""])
        return urllib.parse.urlencode({"sp": permissions, "st": start, "se": end, "sv": VERSION, "sr": "c",
                                       "sig": self._mac(text)})
