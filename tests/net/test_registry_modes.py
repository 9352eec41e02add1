#!/usr/bin/env python3
"""mops and mopsfs against docker-registry as it is run: for everyone, behind a
login, behind a token service, behind TLS with client certificates."""
import http.server
import pathlib
import shutil
import ssl
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent / "servers"))
from mopstest import DockerRegistry, Failed, LocalServer, Skip, run, same, snapshot, write_random  # noqa: E402
from proxy import Proxy  # noqa: E402

USER, WORD = "alice", "won:der-canary"


def make_bundle(env):
    folder = env.fresh("src")
    write_random(folder / "weights.bin", 5 << 20, "weights")
    for i in range(20):
        write_random(folder / f"small/{i}.txt", 3000, f"small {i}")
    return folder


def expect(ok, what):
    if not ok:
        raise Failed(what)


def use(env, registry, repo="team/model"):
    """Push, pull, verify, mount; yields nothing, fails loudly."""
    source = make_bundle(env)
    ref = f"{registry.host}/{repo}:v1"
    said = env.mops("push", source, "--to", ref, "-vvv")
    expect(b"canary" not in said.stdout + said.stderr, "a secret is in the output")
    env.new_cache()
    dest = env.fresh("dest")
    said = env.mops("pull", ref, "--dest", dest, "-vvv")
    expect(b"canary" not in said.stdout + said.stderr, "a secret is in the output")
    same(snapshot(source), snapshot(dest))
    env.mops("verify", ref, "--deep")
    env.mops("tags", f"{registry.host}/{repo}")
    try:
        env.new_cache()
        with env.mount(ref) as at:
            same(snapshot(source), snapshot(at))
    except Skip as e:
        print(f"# no mount: {e}", flush=True)
    return ref


def refused(env, ref, *args, env_vars=None, hint=None):
    env.new_cache()
    p = env.mops("pull", ref, *args, code=3, env=env_vars)
    expect(hint is None or hint in p.stderr, f"no '{hint}' in {p.stderr}")


def anonymous(env):
    use(env, DockerRegistry(env))


def basic(env):
    registry = DockerRegistry(env, USER, WORD)
    refused(env, f"{registry.host}/team/model:v1", hint=b"mops login")
    env.log_in(registry.host, USER, WORD)
    ref = use(env, registry)
    refused(env, ref, "--anonymous")
    env.log_in(registry.host, USER, "wrong")
    refused(env, ref, hint=b"mops login")


def token(env):
    registry = DockerRegistry(env, USER, WORD, tokens={})
    refused(env, f"{registry.host}/team/model:v1", hint=b"mops login")
    env.log_in(registry.host, USER, WORD)
    ref = use(env, registry)
    use(env, registry, "public/model")
    env.mops("pull", f"{registry.host}/public/model:v1", "--anonymous")
    refused(env, ref, "--anonymous")
    env.log_in(registry.host, USER, "wrong")
    refused(env, ref, hint=b"--anonymous")


def token_of_an_identity(env):
    registry = DockerRegistry(env, USER, WORD, tokens={})
    config = env.dir("home/.docker") / "config.json"
    config.write_text(f'{{"auths":{{"{registry.host}":{{"identitytoken":"refresh-{USER}"}}}}}}')
    use(env, registry)
    expect({kind for kind, _ in registry.tokens.log} == {"refresh_token"}, registry.tokens.log)


def token_from_a_helper(env):
    registry = DockerRegistry(env, USER, WORD, tokens={})
    bin_dir = env.dir("bin")
    helper = bin_dir / "docker-credential-test"
    helper.write_text("#!/bin/sh\nread server\n"
                      f"[ \"$server\" = '{registry.host}' ] || exit 1\n"
                      f"echo '{{\"Username\":\"{USER}\",\"Secret\":\"{WORD}\"}}'\n")
    helper.chmod(0o755)
    (env.dir("home/.docker") / "config.json").write_text('{"credsStore":"test"}')
    env.vars["PATH"] = f"{bin_dir}:{env.vars['PATH']}"
    use(env, registry)


def tls(env):
    registry = DockerRegistry(env, tls=True, clients=True)
    ref = f"{registry.host}/team/model:v1"
    trust = {"MOPS_CA_FILE": str(registry.dir / "ca.pem")}
    show = {"MOPS_CERT_FILE": str(registry.dir / "client.pem"), "MOPS_KEY_FILE": str(registry.dir / "client.key")}
    refused(env, ref)  # plain HTTP, as it is on loopback
    env.vars["MOPS_PLAIN_HTTP"] = "false"
    refused(env, ref, hint=b"certificate")
    refused(env, ref, env_vars=trust)
    refused(env, ref, env_vars=show)
    env.vars.update(trust | show)
    use(env, registry)


def tls_by_flags(env):
    registry = DockerRegistry(env, tls=True, clients=True)
    env.vars["MOPS_PLAIN_HTTP"] = "false"
    ref = f"{registry.host}/team/model:v1"
    trust = ("--ca-file", registry.dir / "ca.pem")
    show = ("--cert-file", registry.dir / "client.pem", "--key-file", registry.dir / "client.key")
    env.mops("push", make_bundle(env), "--to", ref, *trust, *show)
    for some in (trust, show, trust + show[:2]):
        refused(env, ref, *some)
    env.mops("pull", ref, *trust, *show[2:], code=2)  # a key without its certificate
    env.new_cache()
    env.mops("pull", ref, *trust, *show)


def tls_by_certs_d(env):
    registry = DockerRegistry(env, tls=True, clients=True)
    env.vars["MOPS_PLAIN_HTTP"] = "false"
    at = env.dir(f"config/containers/certs.d/{registry.host}")
    for name, to in (("ca.pem", "ca.crt"), ("client.pem", "client.cert"), ("client.key", "client.key")):
        shutil.copy(registry.dir / name, at / to)
    ref = use(env, registry)
    (at / "client.key").unlink()
    refused(env, ref, hint=b"client.key")


def tls_by_a_folder_of_authorities(env):
    registry = DockerRegistry(env, tls=True)
    env.vars["MOPS_PLAIN_HTTP"] = "false"
    at = env.fresh("ca")
    env.vars["MOPS_CA_FILE"] = str(at)
    refused(env, f"{registry.host}/team/model:v1", hint=b"holds no")
    shutil.copy(registry.dir / "ca.pem", at / "ours.pem")
    use(env, registry)


def behind(env, registry):
    """The registry under a name that only a proxy knows."""
    registry.real = registry.host
    registry.host = f"registry.test:{registry.port}"
    env.log_in(registry.host, USER, WORD)
    return f"{registry.host}/team/model:v1"


def a_proxy_for_http(env):
    registry, proxy = DockerRegistry(env, USER, WORD), Proxy(env, "me", "pro:xy")
    ref = behind(env, registry)
    env.vars.update(MOPS_PLAIN_HTTP="true", MOPS_CONNECT_TIMEOUT="2s", http_proxy=f"http://me:pro%3Axy@{proxy.host}")
    use(env, registry)
    expect(all(m != "CONNECT" and t.startswith("http://registry.test:") for m, t, _ in proxy.log), proxy.log)
    n = len(proxy.log)
    refused(env, ref, env_vars={"no_proxy": ".test"})
    refused(env, ref, env_vars={"http_proxy": f"http://me:wrong@{proxy.host}"}, hint=b"407")
    said = env.mops("pull", ref, code=2, env={"http_proxy": "gopher://canary@x"}).stderr
    expect(b"http_proxy" in said and b"canary" not in said, said)
    expect(len(proxy.log) <= n + 2, "a proxy is asked too often")


def a_proxy_for_https(env):
    registry, proxy = DockerRegistry(env, USER, WORD, tls=True), Proxy(env)
    ref = behind(env, registry)
    env.vars.update(MOPS_CA_FILE=str(registry.dir / "ca.pem"), HTTPS_PROXY=proxy.host)
    use(env, registry)
    expect({(m, t) for m, t, _ in proxy.log} == {("CONNECT", registry.host)}, proxy.log)
    expect(not any(shown for _, _, shown in proxy.log), "a proxy was shown a login")
    refused(env, ref, env_vars={"NO_PROXY": "example.com, registry.test"})
    locked = Proxy(env, "me", "word")
    refused(env, ref, env_vars={"HTTPS_PROXY": locked.host}, hint=b"407")
    expect(len(locked.log) <= 2, "a proxy is asked too often")
    refused(env, f"10.0.0.1:{registry.port}/team/model:v1", env_vars={"NO_PROXY": "10.0.0.0/8", "MOPS_IO_TIMEOUT": "1s"})
    expect(all(t == registry.host for _, t, _ in proxy.log), proxy.log)


def a_token_service_of_another_site(env):
    """A login is shown there where token_realms says so."""
    registry, proxy = DockerRegistry(env, USER, WORD, tls=True, tokens={}), Proxy(env)
    service = LocalServer(env, registry.tokens.handler())
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(registry.dir / "srv.pem", registry.dir / "srv.key")
    service.server.socket = tls.wrap_socket(service.server.socket, server_side=True)
    elsewhere = service.host.replace("127.0.0.1", "tokens.elsewhere")
    registry.tokens.realm = f"https://{elsewhere}/token"
    registry.auth = registry.tokens.config()
    registry.stop()
    registry.start()
    ref = behind(env, registry)
    env.vars.update(MOPS_CA_FILE=str(registry.dir / "ca.pem"), HTTPS_PROXY=proxy.host)
    refused(env, ref)
    said = env.mops("login", registry.host, "-u", USER, "--password-stdin", input=WORD.encode(), code=3).stderr
    expect(b"token_realms" in said, said)
    expect(("CONNECT", elsewhere) in {(m, t) for m, t, _ in proxy.log}, proxy.log)
    env.vars["MOPS_TOKEN_REALMS"] = elsewhere
    use(env, registry)


def docker_hub_by_its_api_host(env):
    """Seen by a proxy; nobody leaves this machine."""
    proxy = Proxy(env)
    env.vars.update(https_proxy=f"http://{proxy.host}", MOPS_IO_TIMEOUT="500ms", MOPS_CONNECT_TIMEOUT="500ms")
    for host in ("docker.io", "index.docker.io"):
        refused(env, f"{host}/team/model:v1")
    expect({t for _, t, _ in proxy.log} == {"registry-1.docker.io:443"}, proxy.log)


class Snoop:
    """A mirror that wants to know who is asking; and whatever else is at its host. It
    has no use for anything. @files: where its certificate and ca.pem are."""

    def __init__(self, env, files=None, challenge='Basic realm="tell me"'):
        self.seen = []  # (path, Authorization, whether a certificate was shown)
        snoop = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *args):
                pass

            def do_GET(self):
                shown = files and self.connection.getpeercert()
                snoop.seen.append((self.path, self.headers.get("Authorization"), bool(shown)))
                self.send_response(401)
                if challenge and (not files or self.path == "/v2/"):
                    self.send_header("WWW-Authenticate", challenge.replace("HOST", snoop.host))
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_POST = do_HEAD = do_PUT = do_GET

        server = LocalServer(env, Handler)
        self.host = server.host
        if files:
            tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=files / "ca.pem")
            tls.verify_mode = ssl.CERT_OPTIONAL
            tls.load_cert_chain(files / "srv.pem", files / "srv.key")
            server.server.socket = tls.wrap_socket(server.server.socket, server_side=True)

    def paths(self):
        return {p.split("?")[0] for p, _, _ in self.seen}


def mirrors(env):
    registry = DockerRegistry(env)
    mirror = DockerRegistry(env, mirror_of=registry)
    env.vars["MOPS_MIRRORS"] = f"{registry.host}=http://{mirror.host}"
    ref = use(env, registry)
    asked = [p for m, p, _, _ in mirror.requests() if m == "GET" and "/blobs/" in p]
    expect(asked and all(f"ns={registry.host}" in p.replace("%3A", ":") for p in asked), asked)
    expect(not any(m in ("PUT", "POST") for m, _, _, _ in mirror.requests()), "a push went to the mirror")
    registry.forget()
    env.new_cache()
    env.mops("pull", ref)
    expect(registry.content_bytes() == 0, "content came from the registry although the mirror has it")
    mirror.stop()
    env.new_cache()
    env.mops("pull", ref)


def a_mirror_is_not_told_who_we_are(env):
    registry, snoop = DockerRegistry(env, USER, WORD), Snoop(env)
    env.log_in(registry.host, USER, WORD)
    env.vars["MOPS_MIRRORS"] = f"other.example=nowhere.invalid,*={snoop.host}/cached"
    use(env, registry)
    expect(snoop.seen and all(auth is None for _, auth, _ in snoop.seen), snoop.seen)
    expect(all(p.startswith(("/v2/cached/team/model/", "/v2/?")) for p, _, _ in snoop.seen if p != "/v2/"), snoop.seen)


def a_client_certificate_is_for_the_registry(env):
    """Neither a mirror, nor what it names, nor who gives out a store's keys sees it."""
    registry = DockerRegistry(env, tls=True, clients=True)
    env.vars.update(MOPS_PLAIN_HTTP="false", MOPS_CA_FILE=str(registry.dir / "ca.pem"),
                    MOPS_CERT_FILE=str(registry.dir / "client.pem"), MOPS_KEY_FILE=str(registry.dir / "client.key"))
    ref = f"{registry.host}/team/model:v1"
    source = make_bundle(env)
    env.mops("push", source, "--to", ref)
    snoop = Snoop(env, registry.dir, 'Bearer realm="https://HOST/token",service="s"')
    env.new_cache()
    env.mops("pull", ref, env={"MOPS_MIRRORS": f"*=https://{snoop.host}"})
    expect({"/v2/", "/token"} <= snoop.paths(), snoop.seen)
    expect(not any(shown for _, _, shown in snoop.seen), snoop.seen)
    token = env.fresh("identity") / "token"
    token.write_text("somebody")
    store = Snoop(env, registry.dir, None)
    keys = {"AWS_WEB_IDENTITY_TOKEN_FILE": str(token), "AWS_ROLE_ARN": "arn:aws:iam::1:role/r",
            "AWS_ENDPOINT_URL_STS": f"https://{store.host}/sts", "AWS_ENDPOINT_URL": f"https://{store.host}", "AWS_CA_BUNDLE": ""}
    push = ("push", source, "--to", ref, "--external", "weights.bin=s3://bucket/weights.bin")
    env.mops(*push, code=3, env=keys)
    env.mops(*push, "--anonymous", code=3, env=keys)
    expect({"/sts", "/bucket/weights.bin"} <= store.paths(), store.seen)
    expect(not any(shown for _, _, shown in store.seen), store.seen)


def a_push_takes_blobs_from_another_repository(env):
    registry = DockerRegistry(env, USER, WORD, tokens={})
    env.log_in(registry.host, USER, WORD)
    source = make_bundle(env)
    env.mops("push", source, "--to", f"{registry.host}/team/model:v1")
    registry.forget()
    said = env.mops_json("push", source, "--to", f"{registry.host}/prod/model:v1")
    expect(said["blobs_sent"] == 0, said)
    mounts = [p for m, p, s, _ in registry.requests() if m == "POST" and "from=team%2Fmodel" in p and s == 201]
    expect(mounts and not any(m in ("PUT", "PATCH") and "/blobs/" in p for m, p, _, _ in registry.requests()), mounts)
    env.mops("verify", f"{registry.host}/prod/model:v1", "--deep")
    env.new_cache()
    env.mops("pull", f"{registry.host}/prod/model:v1")
    said = env.mops_json("push", source, "--to", f"{registry.host}/third/model:v1")
    expect(said["blobs_sent"] == 0, said)


run([anonymous, basic, token, token_of_an_identity, token_from_a_helper, tls, tls_by_flags,
     tls_by_certs_d, tls_by_a_folder_of_authorities, a_proxy_for_http, a_proxy_for_https,
     a_token_service_of_another_site, docker_hub_by_its_api_host, mirrors,
     a_mirror_is_not_told_who_we_are, a_client_certificate_is_for_the_registry,
     a_push_takes_blobs_from_another_repository])
