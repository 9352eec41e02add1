"""Servers of tests/servers/ for the Python tests, and what a program needs to
find them.
"""
import http.client
import pathlib
import subprocess
import urllib.parse

from azureclient import Azure
from mopstest import Failed, Skip
from s3client import S3

SERVERS = pathlib.Path(__file__).resolve().parent.parent / "servers"

# None of the machine's own identities may leak into a test.
CLEAN = dict.fromkeys([
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_DEFAULT_PROFILE",
    "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_KEY", "AZURE_STORAGE_CONNECTION_STRING", "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_FEDERATED_TOKEN_FILE",
    "GOOGLE_APPLICATION_CREDENTIALS", "STORAGE_EMULATOR_HOST", "CLOUDSDK_CONFIG", "GS_ACCESS_KEY_ID"], "")
CLEAN.update(AWS_EC2_METADATA_DISABLED="true", AZURE_TOKEN_CREDENTIALS="dev", NO_GCE_CHECK="true")


class Server:
    """A server that says "ready KEY=VALUE …" and ends with its input."""

    def __init__(self, env, script, *args):
        self.proc = subprocess.Popen(["/usr/bin/python3", str(SERVERS / script), *args], stdin=subprocess.PIPE,
                                     stdout=subprocess.PIPE, text=True)
        env.servers.append(self)
        line = self.proc.stdout.readline().strip()
        if line.startswith("skip"):
            raise Skip(line[5:])
        if not line.startswith("ready"):
            raise Failed(f"{script} said '{line}'")
        self.values = dict(word.split("=", 1) for word in line.split()[1:])

    def __getitem__(self, key):
        return self.values[key]

    def stop(self):
        if self.proc.poll() is None:
            self.proc.stdin.close()
            try:
                self.proc.wait(10)
            except subprocess.TimeoutExpired:
                self.proc.kill()
                self.proc.wait()


def clean(env):
    """Once: a second store must not take away what the first one set."""
    if not getattr(env, "is_clean", False):
        env.vars.update(CLEAN)
        env.is_clean = True


class Gcs:
    """Behind the back of a client of the double: no tokens, no rules."""

    def __init__(self, port):
        self.port = int(port)

    def _raw(self, method, key, body=None):
        conn = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            conn.request(method, "/raw/" + urllib.parse.quote(key), body)
            return conn.getresponse().read()
        finally:
            conn.close()

    def get(self, key):
        return self._raw("GET", key)

    def put(self, key, body):
        self._raw("PUT", key, body)

    def delete(self, key):
        self._raw("DELETE", key)


def start_gcs(env, *args):
    """The same with our double of Google's."""
    clean(env)
    server = Server(env, "gcs.py", *args)
    env.vars.update(STORAGE_EMULATOR_HOST=f"127.0.0.1:{server['port']}",
                    GOOGLE_APPLICATION_CREDENTIALS=f"{server['dir']}/service.json")
    return server, Gcs(server["port"])


def start_azure(env, *args):
    """The same with an Azurite."""
    clean(env)
    server = Server(env, "azurite.py", *args)
    azure = Azure(server["port"], server["account"], server["key"], server.values.get("ca"))
    env.vars.update(AZURE_STORAGE_CONNECTION_STRING=(
        f"AccountName={server['account']};AccountKey={server['key']};BlobEndpoint={azure.endpoint()}"))
    return server, azure


def start_s3(env, *args):
    """An S3 and a second client of it; programs of @env find it from now on."""
    clean(env)
    server = Server(env, "s3.py", *args)
    env.vars.update(AWS_ACCESS_KEY_ID=server["key"], AWS_SECRET_ACCESS_KEY=server["secret"],
                    AWS_ENDPOINT_URL_S3=f"http://127.0.0.1:{server['port']}")
    return server, S3(server["port"], server["key"], server["secret"], server["region"])
