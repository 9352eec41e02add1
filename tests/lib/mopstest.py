"""What the Python tests share: TAP output, temporary folders, the programs under
test, real mounts, and a docker-registry on loopback.

A test file is a list of functions given to run(); each gets a fresh Env. A
function passes when it returns, fails when it raises, and is skipped when it
raises Skip. MOPS_TEST_REQUIRE=all turns skips into failures (scripts/tap-count
does that for the whole run).
"""
import base64
import contextlib
import hashlib
import http.server
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
import traceback

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent / "servers"))
BUILD = pathlib.Path(os.environ.get("MOPS_BUILD", "build")).resolve()
MOPS = BUILD / "cli" / "mops"
MOPSFS = BUILD / "fs" / "mopsfs"
SERVERS = pathlib.Path(__file__).resolve().parent.parent / "servers"
TOOLS = pathlib.Path(__file__).resolve().parent.parent / "tools"


class Skip(Exception):
    """The reason why this machine cannot run the test."""


class Failed(Exception):
    """A program under test did what it should not."""


def need_root():
    if os.geteuid() != 0:
        raise Skip("needs root")


def need_fuse():
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR))
    except OSError as e:
        raise Skip(f"/dev/fuse: {e.strerror}") from e


def need_program(name):
    path = shutil.which(name)
    if not path:
        raise Skip(f"{name} is not installed")
    return path


def wait_for(what, probe, seconds=20.0):
    """Poll until probe() is true; an event, never a fixed sleep."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = probe()
        if value:
            return value
        time.sleep(0.01)
    raise Failed(f"waited {seconds:.0f} s for {what}")


def gone(*pids):
    """A probe: have they ended? Also when nobody has asked for their exit status yet."""
    def ended(pid):
        try:
            return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
        except (FileNotFoundError, ProcessLookupError):
            return True
    return lambda: all(ended(p) for p in pids)


def hang(pid):
    """Stop each thread of a process: one that is not yet stopped could still take a
    request from the kernel, and then stop before anybody knows."""
    os.kill(pid, signal.SIGSTOP)
    wait_for("its threads to stop", lambda: all(
        p.read_text().rsplit(")", 1)[1].split()[0] == "T" for p in pathlib.Path(f"/proc/{pid}/task").glob("*/stat")))


PLAIN_USER = """
set -e
mknod "$1/fuse" c 10 229
chmod 666 "$1/fuse"
mount --bind "$1/fuse" /dev/fuse
# fusermount3 looks for the mount in there; a root that was never booted lacks it.
if [ ! -e /etc/mtab ]; then
	cp -a /etc "$1/etc"
	ln -s /proc/self/mounts "$1/etc/mtab"
	mount --bind "$1/etc" /etc
fi
shift
exec setpriv --reuid 65534 --regid 65534 --clear-groups "$@"
"""


def plain_user(env):
    """What goes before a command that nobody (65534) is to run, with a /dev/fuse of his own that he may open."""
    need_root()
    need_fuse()
    need_program("fusermount3")
    setpriv = need_program("setpriv")
    env.base.chmod(0o755)
    if subprocess.run([setpriv, "--reuid", "65534", "--regid", "65534", "--clear-groups", "test", "-x", MOPSFS],
                      check=False).returncode:
        raise Skip("the build folder is closed to others")
    return "unshare", "-m", "sh", "-c", PLAIN_USER, "sh", env.fresh("dev")


# What a supervisor's log says of a worker that a sanitizer ended, or a fault of its own.
SANITIZER_STATUS = 77
CRASHED = re.compile(rf"ended with status {SANITIZER_STATUS}\b|ended by signal (4|6|7|8|11)\b")


def sanitizer_options(given):
    """With an exit status that tells; faults stay signals."""
    return ":".join(filter(None, (given, f"exitcode={SANITIZER_STATUS}", "halt_on_error=1", "handle_segv=0",
                                  "handle_abort=0")))


class Env:
    """A world of its own: home, cache, embedded registry, mount points."""

    def __init__(self, base):
        self.base = pathlib.Path(base)
        self.n = 0
        self.mounts = []
        self.servers = []
        self.logs = []
        self.crashes = False  # set by a test that has workers crash
        self.vars = dict(os.environ)
        for name in list(self.vars):
            if name.startswith("MOPS_") and name not in ("MOPS_BUILD", "MOPS_TEST_REQUIRE"):
                del self.vars[name]
        self.vars.update(
            HOME=str(self.dir("home")),
            DOCKER_CONFIG=str(self.base / "home/.docker"),
            XDG_DATA_HOME=str(self.dir("data")),
            XDG_CONFIG_HOME=str(self.dir("config")),
            XDG_STATE_HOME=str(self.dir("state")),
            XDG_RUNTIME_DIR=str(self.dir("runtime", mode=0o700)),
            MOPS_CACHE_DIR=str(self.base / "cache"),
        )
        for name in "ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS":
            self.vars[name] = sanitizer_options(self.vars.get(name))

    def dir(self, name, mode=0o755):
        path = self.base / name
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(mode)
        return path

    def fresh(self, name):
        self.n += 1
        return self.dir(f"{name}-{self.n}")

    def cache(self):
        return pathlib.Path(self.vars["MOPS_CACHE_DIR"])

    def new_cache(self):
        """An empty cache from here on."""
        self.n += 1
        self.vars["MOPS_CACHE_DIR"] = str(self.base / f"cache-{self.n}")

    def run(self, *argv, code=0, timeout=300, env=None, **kw):
        """Run to its end; code=None takes any exit status."""
        if "input" not in kw:
            kw["stdin"] = subprocess.DEVNULL
        p = subprocess.run([str(a) for a in argv], env={**self.vars, **(env or {})}, timeout=timeout,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, **kw)
        if code is not None and p.returncode != code:
            raise Failed(f"{' '.join(map(str, argv))}: exit {p.returncode}, wanted {code}\n"
                         f"{p.stdout.decode(errors='replace')[-2000:]}{p.stderr.decode(errors='replace')[-2000:]}")
        return p

    def mops(self, *args, **kw):
        return self.run(MOPS, *args, **kw)

    def mops_json(self, *args, **kw):
        return json.loads(self.mops(*args, "--json", **kw).stdout)

    def mopsfs(self, *args, **kw):
        if args[0] == "mount" and "-f" not in args:
            args = self.logged(args)
        return self.run(MOPSFS, *args, **kw)

    def logged(self, args):
        if "--log" not in args:
            return args[0], "--log", self.logged_to(self.base / "mount.log"), *args[1:]
        self.logged_to(args[args.index("--log") + 1])
        return args

    def logged_to(self, path):
        if path not in self.logs:
            self.logs.append(path)
        return path

    def check_logs(self):
        """A worker that crashed was replaced: nobody else would tell."""
        if self.crashes:
            return
        for path in map(pathlib.Path, self.logs):
            text = path.read_text(errors="replace") if path.is_file() else ""
            for line in text.splitlines():
                if CRASHED.search(line):
                    raise Failed(line)

    def start(self, *argv, env=None, **kw):
        return subprocess.Popen([str(a) for a in argv], env={**self.vars, **(env or {})}, stdin=subprocess.DEVNULL, **kw)

    def log_in(self, host, user, password):
        """Into docker's configuration file."""
        auth = base64.b64encode(f"{user}:{password}".encode()).decode()
        path = self.dir("home/.docker") / "config.json"
        path.write_text(json.dumps({"auths": {host: {"auth": auth}}}))

    def push(self, folder, ref, *args):
        return self.mops_json("push", folder, "--to", ref, *args)

    @contextlib.contextmanager
    def mount(self, ref, *args, env=None):
        """A mount for the length of a with block; yields its folder."""
        need_fuse()
        at = self.fresh("mnt")
        self.mopsfs("mount", ref, at, *args, env=env, timeout=120)
        self.mounts.append(at)
        try:
            yield at
        finally:
            self.umount(at)

    def umount(self, at):
        if at in self.mounts:
            self.mounts.remove(at)
        if is_mounted(at):
            self.run(MOPSFS, "umount", at, code=None, timeout=30)
        if is_mounted(at):
            subprocess.run(["umount", "-l", str(at)], check=False, stderr=subprocess.DEVNULL)

    def close(self):
        for at in list(self.mounts):
            self.umount(at)
        for server in self.servers:
            server.stop()


def is_mounted(path):
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as f:
        return any(line.split()[4] == str(path) for line in f)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class LocalServer:
    """An HTTP server on loopback, in threads of this process, as long as @env."""

    class Quiet(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request, client_address):
            """A client that went away is no news."""

    def __init__(self, env, handler):
        self.server = self.Quiet(("127.0.0.1", 0), handler)
        self.host = f"127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        env.servers.append(self)

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


class DockerRegistry:
    """Debian's docker-registry on a free loopback port, with an access log.

    @user: it wants a login; @tokens: by way of a token service, whose options they are.
    @tls: with ca.pem; @clients: it wants client.pem and client.key shown.
    @mirror_of: it is a pull-through cache of that registry. @at: its address and port.
    """

    LINE = re.compile(r'"(GET|HEAD|PUT|POST|PATCH|DELETE) (\S+) HTTP/[0-9.]+" (\d+) (\d+)')

    def __init__(self, env, user=None, password=None, tls=False, tokens=None, clients=False,
                 mirror_of=None, at=None):
        need_program("docker-registry")
        self.dir = env.fresh("registry")
        self.log_path = self.dir / "log"
        self.tokens = None
        if tokens is not None:
            need_program("openssl")
            from tokens import TokenService
            self.tokens = TokenService(self.dir, user, password, **tokens)
            self.tokens.serve(LocalServer(env, self.tokens.handler()).host)
            self.auth = self.tokens.config()
        else:
            self.auth = self.make_users(user, password) if user else ""
        self.tls = self.make_certificate(clients) if tls else ""
        self.mirror = f"proxy: {{remoteurl: 'http://{mirror_of.host}'}}\n" if mirror_of else ""
        self.proc = None
        env.servers.append(self)
        for _ in range(5):  # another program may take the port first
            self.host = at or f"127.0.0.1:{free_port()}"
            self.port = int(self.host.rpartition(":")[2])
            if self.start():
                return
        raise Failed("docker-registry ended: " + self.log_path.read_text()[-500:])

    def make_users(self, user, password):
        need_program("htpasswd")
        line = subprocess.run(["htpasswd", "-Bbn", user, password], check=True, stdout=subprocess.PIPE).stdout
        (self.dir / "htpasswd").write_bytes(line)
        return f"auth: {{htpasswd: {{realm: test, path: {self.dir}/htpasswd}}}}\n"

    def make_certificate(self, clients):
        """ca.pem, and certificates for loopback and for a client that it signed."""
        def openssl(*argv):
            subprocess.run(["openssl", *argv], check=True, cwd=self.dir, stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL)
        need_program("openssl")
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-subj",
                "/CN=test-ca", "-days", "2", "-addext", "basicConstraints=critical,CA:TRUE")
        names = "localhost", "registry.test", "tokens.elsewhere", "registry.example", "backup.example"
        (self.dir / "san").write_text("subjectAltName=IP:127.0.0.1," + ",".join(f"DNS:{name}" for name in names))
        for name, subject in (("srv", "/CN=localhost"), ("client", "/CN=client")):
            openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj",
                    subject)
            openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                    "-days", "2", "-extfile", "san", "-out", f"{name}.pem")
        wanted = f", clientcas: [{self.dir}/ca.pem]" if clients else ""
        return f"  tls: {{certificate: {self.dir}/srv.pem, key: {self.dir}/srv.key{wanted}}}\n"

    def config(self):
        return (f"version: 0.1\nlog: {{level: warn}}\n"
                f"storage: {{filesystem: {{rootdirectory: {self.dir}/data}}, delete: {{enabled: true}}}}\n"
                f"http:\n  addr: {self.host}\n{self.tls}{self.auth}{self.mirror}")

    def start(self):
        """False when it ended at once."""
        (self.dir / "config.yml").write_text(self.config())
        with open(self.log_path, "ab") as log:
            self.proc = subprocess.Popen(["docker-registry", "serve", str(self.dir / "config.yml")],
                                         stdin=subprocess.DEVNULL, stdout=log, stderr=log)

        def answers():
            try:
                socket.create_connection((self.host.rpartition(":")[0], self.port), 1).close()
                return True
            except OSError:
                return False
        return wait_for("docker-registry", lambda: answers() or self.proc.poll() is not None) and \
            self.proc.poll() is None

    def stop(self):
        if self.proc and self.proc.poll() is None:
            self.proc.terminate()
            try:
                self.proc.wait(10)
            except subprocess.TimeoutExpired:
                self.proc.kill()
                self.proc.wait()

    def log(self):
        """A request's line is written when who asked may have gone on with the answer: it is quiet for a moment first."""
        text = None
        while text != (text := self.log_path.read_text(errors="replace")):
            time.sleep(0.05)
        return text

    def requests(self):
        """(method, path, status, bytes) of every request so far."""
        return [(m, p, int(s), int(n)) for m, p, s, n in self.LINE.findall(self.log())]

    def forget(self):
        """Let requests() begin anew."""
        self.log()
        os.truncate(self.log_path, 0)

    def content_bytes(self):
        """Bytes of blobs sent since forget()."""
        return sum(n for m, p, s, n in self.requests() if m == "GET" and "/blobs/" in p and s in (200, 206))

    def blob_path(self, hexdigest):
        return self.dir / "data/docker/registry/v2/blobs/sha256" / hexdigest[:2] / hexdigest / "data"


def fault_registry(env):
    """A registry that misbehaves when told to, over the embedded one of @env."""
    sys.path.insert(0, str(SERVERS))
    from fault_registry import Registry
    server = Registry(pathlib.Path(env.vars["XDG_DATA_HOME"]) / "mops/registry")
    env.servers.append(server)
    return server


def snapshot(top):
    """path → (kind, executable, content digest or link target) of a tree,
    .mops/ left out."""
    out = {}
    top = str(top)
    for at, dirs, files in os.walk(top):
        rel = os.path.relpath(at, top)
        if rel == ".":
            dirs[:] = [d for d in dirs if d != ".mops"]
        for name in list(dirs) + files:
            path = os.path.join(at, name)
            key = os.path.normpath(os.path.join(rel, name))
            st = os.lstat(path)
            if stat.S_ISLNK(st.st_mode):
                out[key] = ("symlink", False, os.readlink(path))
            elif stat.S_ISDIR(st.st_mode):
                out[key] = ("dir", False, "")
            else:
                out[key] = ("file", bool(st.st_mode & 0o100), sha256_file(path))
    return out


def sha256_file(path):
    h = hashlib.sha256()
    with open(path, "rb") as f:
        while block := f.read(1 << 20):
            h.update(block)
    return h.hexdigest()


def same(a, b, what="trees"):
    """Two snapshots are equal, or say the first differences."""
    if a == b:
        return
    lines = []
    for key in sorted(set(a) | set(b)):
        if a.get(key) != b.get(key):
            lines.append(f"{key}: {a.get(key)} against {b.get(key)}")
    raise Failed(f"{what} differ in {len(lines)} places:\n" + "\n".join(lines[:10]))


def sound_cache(cache, kinds=("content", "bit", "mode", "foreign", "record"), rebooted=False):
    """tests/tools/check_cache.py finds none of these in a cache folder."""
    sys.path.insert(0, str(TOOLS))
    from check_cache import check
    findings = [str(f) for f in check(cache, rebooted) if f.kind in kinds]
    if findings:
        raise Failed(f"{cache}: {len(findings)} findings:\n" + "\n".join(findings[:10]))


def write_random(path, size, seed):
    """@size bytes that are the same for the same seed."""
    r = random.Random(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as f:
        left = size
        while left > 0:
            n = min(left, 1 << 20)
            f.write(r.randbytes(n))
            left -= n


def run(tests):
    """Run @tests as a TAP program and exit."""
    print(f"1..{len(tests)}", flush=True)
    failed = False
    only = sys.argv[1:]
    for i, test in enumerate(tests, 1):
        name = test.__name__.replace("_", " ")
        if only and test.__name__ not in only:
            print(f"ok {i} - {name} # SKIP not asked for", flush=True)
            continue
        base = tempfile.mkdtemp(prefix="mops-", dir=os.environ.get("TMPDIR"))
        env = Env(base)
        start = time.monotonic()
        try:
            test(env)
            env.check_logs()
            print(f"ok {i} - {name} ({time.monotonic() - start:.1f} s)", flush=True)
        except Skip as e:
            print(f"ok {i} - {name} # SKIP {e}", flush=True)
        except BaseException as e:  # noqa: B902 - a test may fail in any way
            failed = True
            for line in traceback.format_exc().splitlines():
                print("# " + line)
            print(f"not ok {i} - {name}", flush=True)
            if isinstance(e, KeyboardInterrupt):
                env.close()
                raise
        finally:
            env.close()
            shutil.rmtree(base, ignore_errors=True)
    sys.exit(1 if failed else 0)


def terminate(proc, sig=signal.SIGTERM, seconds=10):
    """End a process of ours by its pid and return its status."""
    if proc.poll() is None:
        proc.send_signal(sig)
    try:
        return proc.wait(seconds)
    except subprocess.TimeoutExpired:
        proc.kill()
        return proc.wait()
