#!/usr/bin/python3
"""Secrets of every kind, in use, with everything told (-vvv): none is found in what
commands print, in logs, in the cache and other state, or in anybody's arguments,
neither as it is nor in base64, hex or percent-encoded."""
import base64
import os
import pathlib
import sys
import threading
import time
import urllib.parse

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "lib"), str(HERE.parent / "servers")]
import mopstest  # noqa: E402
import stores  # noqa: E402
from fault_registry import HEADS, Registry  # noqa: E402
from mopstest import BUILD, DockerRegistry, Failed, need_fuse, need_root, write_random  # noqa: E402
from proxy import Proxy  # noqa: E402

MIB = 1 << 20


def spellings(secret):
    raw = secret.encode()
    yield raw
    yield base64.b64encode(raw).rstrip(b"=")
    yield base64.urlsafe_b64encode(raw).rstrip(b"=")
    yield raw.hex().encode()
    yield urllib.parse.quote(secret, safe="").encode()


class Watch:
    """What must not be seen, and where it was."""

    def __init__(self, env):
        self.env, self.secrets, self.told, self.arguments = env, {}, [], set()
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.sample, daemon=True)
        self.thread.start()

    def add(self, name, value):
        if len(value) < 8:
            raise Failed(f"{name} is too short to be looked for")
        self.secrets[name] = value

    def sample(self):
        """The arguments of our programs and of what they start."""
        while not self.over.is_set():
            for p in pathlib.Path("/proc").iterdir():
                if not p.name.isdigit():
                    continue
                try:
                    line = (p / "cmdline").read_bytes()
                    if str(BUILD) in os.readlink(p / "exe") or b"docker-credential" in line:
                        self.arguments.add(line)
                except OSError:
                    pass
            time.sleep(0.002)

    def mops(self, *args, **kw):
        p = self.env.mops(*args, "-vvv", **kw)
        self.told.append(p.stdout + p.stderr)
        return p

    def use(self, ref, top, *push):
        """Every command that goes out, and the failures of some."""
        env = self.env
        self.mops("push", top, "--to", ref, *push)
        env.new_cache()
        for verb in ("resolve", "show", "ls", "verify"):
            self.mops(verb, ref)
        self.mops("cat", ref, "big/f.bin")
        self.mops("verify", ref, "--deep")
        self.mops("pull", ref, "--dest", env.fresh("dest"))
        self.mops("cat", ref, "nothing", code=None)
        env.new_cache()
        log = env.fresh("log") / "log"
        with env.mount(ref, "-vvv", "--log", log) as at:
            if (at / "big/f.bin").read_bytes() != (top / "big/f.bin").read_bytes():
                raise Failed("other bytes")
            for what in ((), ("--json",)):
                p = env.mopsfs("status", at, *what)
                self.told.append(p.stdout + p.stderr)
        if not log.read_bytes():
            raise Failed("the mount said nothing")

    def end(self, *known):
        """Look everywhere but into the files @known, which held secrets before."""
        self.over.set()
        self.thread.join()
        if not self.arguments:
            raise Failed("no process was seen")
        places = [("the output", b"\n".join(self.told)), ("arguments", b"\n".join(self.arguments))]
        for at, _, files in os.walk(self.env.base):
            if "/registry-" in at or "/src-" in at:
                continue
            for name in files:
                path = os.path.join(at, name)
                if path not in map(str, known) and os.path.isfile(path) and not os.path.islink(path):
                    with open(path, "rb") as f:
                        places.append((path, f.read()))
        for name, secret in self.secrets.items():
            for form in spellings(secret):
                for where, text in places:
                    if form in text:
                        i = text.index(form)
                        raise Failed(f"{name} is in {where}: {text[max(i - 200, 0):i + 100]}")
        print(f"# {', '.join(self.secrets)}: {len(places)} places", flush=True)


def folder(env):
    top = env.fresh("src")
    write_random(top / "big/f.bin", 2 * MIB + 5, 1)
    (top / "small.txt").write_text("small\n")
    return top


def logins(env):
    """A password in each place that holds one."""
    for n, place in enumerate(("auth", "fields", "containers", "helper")):
        word, user = f"canary-password-{n}", "alice"
        w = Watch(env)
        w.add(f"the password in {place}", word)
        registry = DockerRegistry(env, user, word)
        auth = base64.b64encode(f"{user}:{word}".encode()).decode()
        docker = env.dir("home/.docker") / "config.json"
        containers = env.dir("config/containers") / "auth.json"
        docker.unlink(missing_ok=True)
        if place == "auth":
            docker.write_text('{"auths":{"%s":{"auth":"%s"}}}' % (registry.host, auth))
        elif place == "fields":
            docker.write_text('{"auths":{"%s":{"username":"%s","password":"%s"}}}' % (registry.host, user, word))
        elif place == "containers":
            containers.write_text('{"auths":{"%s":{"auth":"%s"}}}' % (registry.host, auth))
        else:
            bin_dir = env.dir("bin")
            (bin_dir / "secret").write_text('{"Username":"%s","Secret":"%s"}' % (user, word))
            helper = bin_dir / "docker-credential-canary"
            helper.write_text(f"#!/bin/sh\nsleep 0.05\ncat {bin_dir}/secret\n")
            helper.chmod(0o755)
            env.vars["PATH"] = f"{bin_dir}:{env.vars['PATH']}"
            docker.write_text('{"credHelpers":{"%s":"canary"}}' % registry.host)
        w.use(f"{registry.host}/team/model:1", folder(env))
        w.end(docker, containers, env.base / "bin/secret")
        containers.unlink(missing_ok=True)


def tokens(env):
    """A login and an identity for tokens, and the tokens."""
    w = Watch(env)
    registry = DockerRegistry(env, "canary-user", "canary-password-of-tokens", tokens={})
    service, issue = registry.tokens, registry.tokens.token
    issued = []

    def noted(*args):
        issued.append(issue(*args))
        return issued[-1]
    service.token = noted
    w.add("a login for tokens", "canary-password-of-tokens")
    w.add("an identity token", "refresh-canary-user")
    docker = env.dir("home/.docker") / "config.json"
    env.log_in(registry.host, "canary-user", "canary-password-of-tokens")
    w.use(f"{registry.host}/team/model:1", folder(env))
    docker.write_text('{"auths":{"%s":{"identitytoken":"refresh-canary-user"}}}' % registry.host)
    w.use(f"{registry.host}/team/other:1", folder(env))
    if len(issued) < 4:
        raise Failed("hardly any token was asked for")
    for n, token in enumerate(issued):
        w.add(f"token {n}", token[-60:])
    w.end(docker)


class Signing(Registry):
    """Wants a registry token, sends readers to signed URLs and uploads to sessions
    with a state."""

    TOKEN, SIGNATURE, STATE = "canary-registry-token", "canary-signature", "canary-upload-state"

    def __init__(self):
        super().__init__()
        self.used = set()

    def answer(self, x):
        if x.path.startswith("/signed/"):
            self.used.add("signature" if self.SIGNATURE in x.target else "")
            super().blob(x, x.path.rsplit("/", 1)[1])
            return
        if x.header("authorization") != "Bearer " + self.TOKEN:
            x.f.read(int(x.header("content-length") or 0))
            x.answer(401, b"", 'WWW-Authenticate: Bearer realm="http://127.0.0.1:1/token",service="s"')
            return
        self.used.add("token")
        if self.STATE in x.target:
            self.used.add("state")
        super().answer(x)

    def blob(self, x, digest):
        if x.method == "HEAD" or digest not in self.blobs:
            super().blob(x, digest)
        else:
            x.answer(307, b"", f"Location: /signed/{digest}?X-Amz-Signature={self.SIGNATURE}&sig={self.SIGNATURE}")

    def upload(self, x, parts):
        if x.method == "POST":
            send = x.answer

            def with_state(code, body=b"", *lines):
                send(code, body, *[f"{line}?_state={self.STATE}" if line.startswith("Location:") else line
                                   for line in lines])
            x.answer = with_state
            super().upload(x, parts)
            x.answer = send
        else:
            super().upload(x, parts)


def what_a_registry_signs(env):
    w = Watch(env)
    server = Signing()
    env.servers.append(server)
    for name, secret in (("a registry token", server.TOKEN), ("a signature", server.SIGNATURE),
                         ("the state of an upload", server.STATE)):
        w.add(name, secret)
    docker = env.dir("home/.docker") / "config.json"
    docker.write_text('{"auths":{"%s":{"registrytoken":"%s"}}}' % (server.host, server.TOKEN))
    ref = f"{server.host}/model:1"
    w.use(ref, folder(env))
    # Failures tell most.
    env.vars.update(MOPS_IO_TIMEOUT="1s", MOPS_STALL_TIMEOUT="1s")
    for fault in ("403", "500", "416", "garbage", "tls-self-signed", "loop"):
        HEADS[fault]  # that there is one
        env.new_cache()
        server.arm(fault)
        w.mops("pull", ref, code=None)
        server.arm(None)
    if not {"token", "signature", "state"} <= server.used:
        raise Failed(f"only {server.used} were used")
    w.end(docker)


def a_proxy_and_a_certificate(env):
    w = Watch(env)
    word = "canary-proxy-password"
    w.add("a proxy's password", word)
    proxy = Proxy(env, "alice", word)
    registry = DockerRegistry(env)
    env.vars.update(http_proxy=f"http://alice:{word}@{proxy.host}", MOPS_PLAIN_HTTP="true", no_proxy="")
    w.use(f"registry.test:{registry.port}/model:1", folder(env))
    if not proxy.log:
        raise Failed("the proxy was not used")
    del env.vars["http_proxy"]
    registry = DockerRegistry(env, tls=True, clients=True)
    w.add("a client's key", (registry.dir / "client.key").read_text().splitlines()[5])
    env.vars.update(MOPS_PLAIN_HTTP="false", MOPS_CA_FILE=str(registry.dir / "ca.pem"),
                    MOPS_CERT_FILE=str(registry.dir / "client.pem"), MOPS_KEY_FILE=str(registry.dir / "client.key"))
    w.use(f"{registry.host}/model:1", folder(env))
    w.end()


def external(env, storage):
    top = folder(env)
    (top / ".mops-bundle.yaml").write_text(
        f"bundle:\n  name: ext\n  version: '1'\nexternal_storage:\n  - {{pattern: 'big/**', storage: '{storage}'}}\n")
    return top


def used_as(w, what, storage, **variables):
    """One way to be let in to a store: everything is done with it."""
    before = dict(w.env.vars)
    w.env.vars.update(variables)
    try:
        w.use("ext@1", external(w.env, storage))
    except Failed as e:
        raise Failed(f"{what}: {e}") from e
    finally:
        w.env.vars.clear()
        w.env.vars.update(before)


def keys_of_s3(env):
    w = Watch(env)
    server, _ = stores.start_s3(env)
    key, secret = server["key"], server["secret"]
    w.add("a secret key", secret)
    where = "s3://bucket/data"
    used_as(w, "environment", where)
    env.vars.update(AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="")
    shared = env.dir("home/.aws") / "credentials"
    shared.write_text(f"[canary]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n")
    used_as(w, "a shared file", where, AWS_PROFILE="canary")
    identity = stores.Server(env, "identity.py", "--id", key, "--secret", secret)
    at = f"http://127.0.0.1:{identity['port']}"
    w.add("a session token", "session+token/=")
    w.add("a web identity", "canary-web-token")
    w.add("a container's token", "canary-container-token")
    w.add("a metadata token", "imds-token")
    used_as(w, "web identity", where, AWS_ENDPOINT_URL_STS=at, AWS_ROLE_ARN="arn:aws:iam::1:role/r",
            AWS_WEB_IDENTITY_TOKEN_FILE=identity["dir"] + "/web-token")
    used_as(w, "a container", where, AWS_CONTAINER_CREDENTIALS_FULL_URI=at + "/container",
            AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=identity["dir"] + "/container-token")
    used_as(w, "instance metadata", where, AWS_EC2_METADATA_DISABLED="", AWS_EC2_METADATA_SERVICE_ENDPOINT=at)
    w.end(shared)


def keys_of_azure(env):
    w = Watch(env)
    server, azure = stores.start_azure(env, "--oauth")
    env.vars["MOPS_CA_FILE"] = server["ca"]
    w.add("an account's key", server["key"])
    sas = azure.sas("container", "rwlc")
    w.add("a shared access signature", urllib.parse.parse_qs(sas)["sig"][0])
    where = "az://mopstest/container/data"
    used_as(w, "connection string", where)
    used_as(w, "account key", where, AZURE_STORAGE_CONNECTION_STRING="", AZURE_STORAGE_ACCOUNT=server["account"],
            AZURE_STORAGE_KEY=server["key"], AZURE_STORAGE_BLOB_ENDPOINT=azure.endpoint())
    used_as(w, "signature", where, AZURE_STORAGE_CONNECTION_STRING=(
        f"AccountName={server['account']};SharedAccessSignature={sas};BlobEndpoint={azure.endpoint()}"))
    identity = stores.Server(env, "identity.py")
    at = f"http://127.0.0.1:{identity['port']}"
    w.add("a client's secret", "canary-client-secret")
    w.add("a federated token", "canary-web-token")
    w.add("an identity header", "canary-identity-header")
    token = {"AZURE_STORAGE_CONNECTION_STRING": "", "AZURE_TOKEN_CREDENTIALS": "", "AZURE_AUTHORITY_HOST": at,
             "AZURE_STORAGE_ACCOUNT": server["account"], "AZURE_STORAGE_BLOB_ENDPOINT": azure.endpoint()}
    client = {"AZURE_TENANT_ID": "tenant-1", "AZURE_CLIENT_ID": "client-1"}
    used_as(w, "client secret", where, **token, **client, AZURE_CLIENT_SECRET="canary-client-secret")
    used_as(w, "workload identity", where, **token, **client,
            AZURE_FEDERATED_TOKEN_FILE=identity["dir"] + "/web-token")
    used_as(w, "managed identity", where, **token, IDENTITY_ENDPOINT=at + "/app",
            IDENTITY_HEADER="canary-identity-header")
    w.end()


def keys_of_gcs(env):
    w = Watch(env)
    server, _ = stores.start_gcs(env)
    text = pathlib.Path(server["dir"], "service.json").read_text()
    w.add("a service account's key", text.split("-----")[2].replace("\\n", "\n").split("\n")[5])
    w.add("a refresh token", "canary-refresh-token")
    w.add("a subject token", "canary-subject-token")
    for name in ("service", "user", "external", "impersonated"):
        used_as(w, name, "gs://bucket/data", GOOGLE_APPLICATION_CREDENTIALS=f"{server['dir']}/{name}.json")
    w.end()


def addresses_with_a_user(env):
    """Where none may be, they are refused, and not quoted."""
    word = "canary-in-an-address"
    addresses = [f"https://alice:{word}@registry.test/team", f"alice:{word}@registry.test", f"{word}@registry.test",
                 f"registry.test=https://alice:{word}@mirror.test", f"https://registry.test/team?sig={word}"]
    file = env.dir("config/mops") / "config.yaml"
    ways = [("show", "model"), ("show", "model", "--json"), ("doctor",), ("doctor", "--json"), ("tags", "model", "-vvv")]
    for name in ("registry", "mirrors", "token_realms", "s3_requester_pays", "role", "limit_rate", "offline"):
        for address in addresses:
            env_too = {f"MOPS_{name.upper()}": address}
            file.write_text(f"{name}: '{address}'\n")
            said = [env.mops(*way, code=2) for way in ways]
            file.unlink()
            said += [env.mops(*way, code=2, env=env_too) for way in ways]
            said.append(env.mops("show", "model", f"--{name.replace('_', '-')}={address}", code=2))
            said.append(env.mopsfs("doctor", code=2, env=env_too))
            for p in said:
                if word.encode() in p.stdout + p.stderr:
                    raise Failed(f"{name}: {p.stdout + p.stderr}")
    for words in (["list"], [], ["cat", "a", "b"], ["show"], ["copy", "a"], ["push", ".", "--to"], ["login"]):
        for address in [f"alice:{word}@registry.test", *addresses[:1]]:
            p = env.mops(*words, address, code=2)
            if word.encode() in p.stdout + p.stderr:
                raise Failed(f"{words}: {p.stdout + p.stderr}")
    endpoints = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AZURE_STORAGE_BLOB_ENDPOINT", "http_proxy", "all_proxy")
    (top := env.fresh("src")).joinpath("f").write_text("f")
    pushed = dict(AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b", AZURE_STORAGE_ACCOUNT="account",
                  AZURE_STORAGE_KEY="a2V5", MOPS_PLAIN_HTTP="1", MOPS_IO_TIMEOUT="200ms")
    for name in endpoints:
        for storage in ("s3://bucket/data", "az://account/container/data"):
            (top / ".mops-bundle.yaml").write_text(
                "bundle: {name: ext, version: '1'}\n"
                f"external_storage:\n  - {{pattern: '**', storage: '{storage}'}}\n")
            for address in (f"https://alice:{word}@127.0.0.1:1/", f"alice:{word}@127.0.0.1:1", f"ftp://a:{word}@h/"):
                p = env.mops("push", top, code=None, env={**pushed, name: address})
                if word.encode() in p.stdout + p.stderr:
                    raise Failed(f"{name}: {p.stdout + p.stderr}")


def alone(test):
    """Needs a mount, so that the long-lived process is watched, too."""
    def wrapped(env):
        need_root()
        need_fuse()
        test(env)
    wrapped.__name__ = test.__name__
    return wrapped


mopstest.run([addresses_with_a_user,
              *(alone(t) for t in (logins, tokens, what_a_registry_signs, a_proxy_and_a_certificate, keys_of_s3,
                                   keys_of_azure, keys_of_gcs))])
