"""A second, small implementation of S3 with Signature Version 4, so that tests
can make, change and look at objects without the client under test.
"""
import datetime
import hashlib
import hmac
import http.client
import urllib.parse


def _hmac(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


class S3:
    def __init__(self, port, key, secret, region="us-east-1"):
        self.port, self.key, self.secret, self.region = int(port), key, secret, region

    def _authorization(self, method, path, query, headers, payload, now):
        names = sorted(headers)
        canonical = "\n".join([
            method, path, query, "".join(f"{n}:{headers[n]}\n" for n in names), ";".join(names), payload])
        scope = f"{now[:8]}/{self.region}/s3/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        key = ("AWS4" + self.secret).encode()
        for step in (now[:8], self.region, "s3", "aws4_request"):
            key = _hmac(key, step)
        signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
        return f"AWS4-HMAC-SHA256 Credential={self.key}/{scope},SignedHeaders={';'.join(names)},Signature={signature}"

    def request(self, method, path, body=b"", query=(), headers=None):
        """(status, headers in lower case, body) of one signed request."""
        path = urllib.parse.quote(path, safe="/-._~")
        encoded = "&".join(sorted(
            f"{urllib.parse.quote(k, safe='-._~')}={urllib.parse.quote(v, safe='-._~')}" for k, v in query))
        payload = hashlib.sha256(body).hexdigest()
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        fields = {"host": f"127.0.0.1:{self.port}", "x-amz-date": now, "x-amz-content-sha256": payload,
                  **(headers or {})}
        fields["authorization"] = self._authorization(method, path, encoded, fields, payload, now)
        conn = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            conn.request(method, path + ("?" + encoded if encoded else ""), body or None, fields)
            answer = conn.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        finally:
            conn.close()

    def _must(self, *args, **kw):
        status, headers, body = self.request(*args, **kw)
        if status // 100 != 2:
            raise RuntimeError(f"{args[0]} {args[1]}: {status} {body[:300]}")
        return headers, body

    def make_bucket(self, bucket):
        self._must("PUT", f"/{bucket}")

    def put(self, bucket, key, body, **headers):
        self._must("PUT", f"/{bucket}/{key}", body, headers={k.replace("_", "-"): v for k, v in headers.items()})

    def get(self, bucket, key):
        return self._must("GET", f"/{bucket}/{key}")[1]

    def head(self, bucket, key):
        return self._must("HEAD", f"/{bucket}/{key}")[0]

    def delete(self, bucket, key):
        self._must("DELETE", f"/{bucket}/{key}")

    def uploads(self, bucket):
        return self._must("GET", f"/{bucket}", query=[("uploads", "")])[1].count(b"<Upload>")

    def parts(self, bucket, key):
        """How many parts each unfinished upload of @key has."""
        body = self._must("GET", f"/{bucket}", query=[("uploads", ""), ("prefix", key)])[1].decode()
        ids = [u.split("</UploadId>")[0] for u in body.split("<UploadId>")[1:]]
        return [self._must("GET", f"/{bucket}/{key}", query=[("uploadId", i)])[1].count(b"<Part>") for i in ids]
