#!/usr/bin/python3
"""Where a registry on the Internet may send us, and what we show there.

Runs in a network namespace in which every address of both families leads to a server
of ours, which notes each connection: what must not be contacted is seen not to be. A
registry at 8.8.8.8 redirects downloads and uploads to addresses and names in every
spelling, and along graphs of redirects. Its login is a canary."""
import base64
import hashlib
import json
import pathlib
import random
import socket
import sys
import threading

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lib"))
sys.path.insert(0, str(HERE.parent / "servers"))
from faults import Closed, Exchange  # noqa: E402
from mopstest import Failed, need_program, need_root, run, write_random  # noqa: E402
from names import own_names  # noqa: E402

HOME, OTHER, PORT = "8.8.8.8", "1.1.1.1", 7000
CANARY = "canary-of-the-registry"
LOGIN = "Basic " + base64.b64encode(f"alice:{CANARY}".encode()).decode()
NAMES = {}  # name → its addresses, one an answer

# Never, from a registry on the Internet: literal addresses in any spelling.
FORBIDDEN = """
0.0.0.0 0 0x0 0.0.0.1 0.1.2.3 127.0.0.1 127.1 127.0.1 0x7f000001 0x7f.1 2130706433 017700000001 0177.0.0.1 127.255.255.254
0x7f.0x0.0x0.0x1 127.000.000.001 10.0.0.1 10.1 0x0a000001 167772161 012.0.0.1 10.255.255.255 172.16.0.1 172.31.255.254
0xac100001 2886729729 192.168.0.1 192.168.1 0xc0a80001 3232235521 0300.0250.0.1 192.168.255.255 100.64.0.1 100.127.255.254
100.100.100.200 0x646464c8 168.63.129.16 2822734096 169.254.169.254 169.254.0.1 169.254.170.2 169.254.170.23 0xa9fea9fe
2852039166 0251.0376.0251.0376 169.254.43518 0xa9.254.0xa9fe 192.0.0.1 192.0.0.192 192.0.2.1 198.18.0.1 198.19.255.254
198.51.100.7 203.0.113.9 224.0.0.1 239.255.255.250 240.0.0.1 255.255.255.255 4294967295 0xffffffff
[::] [::1] [0:0:0:0:0:0:0:1] [::ffff:127.0.0.1] [::ffff:7f00:1] [::ffff:10.0.0.1] [::ffff:169.254.169.254]
[::ffff:192.168.0.1] [::ffff:0.0.0.0] [::127.0.0.1] [::10.0.0.1] [::169.254.169.254] [::ffff:0:127.0.0.1]
[64:ff9b::127.0.0.1] [64:ff9b::10.0.0.1] [64:ff9b::169.254.169.254] [64:ff9b::7f00:1] [64:ff9b:1::1] [2002:7f00:1::]
[2002:a00:1::1] [2002:a9fe:a9fe::1] [2002:c0a8:1::] [2001:0:808:808:0:0:80ff:fffe] [2001:0:808:808::5601:5601]
[2001:0:1:2:3:4:f5ff:fffe] [fe80::1] [fe80::5efe:7f00:1] [febf::1] [fec0::1] [fc00::1] [fd00::1] [fdff:ffff::1]
[fd00:ec2::254] [fd20:ce::254] [ff02::1] [ff05::2] [ff0e::1] [100::1] [2001:db8::1] [3fff::1] [5f00::1]
[2606:4700::5efe:127.0.0.1] [2606:4700::200:5efe:10.0.0.1] [2606:4700::5efe:169.254.169.254]
localhost LOCALHOST localhost. a.localhost metadata.google.internal METADATA.google.internal. metadata
10.0.0.1%2f 127.0.0.1. [::1%25lo] 127.0.0.1%00.example.com
""".split()
# Names whose addresses may not be contacted.
INWARD = ["127.0.0.1", "127.8.8.8", "10.1.2.3", "172.20.1.1", "192.168.7.7", "169.254.169.254", "100.64.1.1", "0.0.0.0",
          "224.0.0.5", "255.255.255.255", "192.0.0.8", "100.100.100.200"]
ALLOWED = ["1.1.1.1", "9.9.9.9", "93.184.216.34", "100.63.255.255", "100.128.0.1", "172.15.255.255", "172.32.0.1",
           "11.0.0.1", "192.169.0.1", "223.255.255.255", "[2606:4700:4700::1111]", "[2a00:1450::1]", "public.test"]


def digest_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Internet:
    """All addresses at once. The registry is at HOME; /step/N leads to the N+1st URL of
    the plan, the last of which has the blob."""

    def __init__(self, layout):
        self.blobs, self.manifest = {}, None
        index = json.loads((layout / "index.json").read_text())
        for path in (layout / "blobs/sha256").iterdir():
            self.blobs["sha256:" + path.name] = path.read_bytes()
        self.manifest = self.blobs[index["manifests"][0]["digest"]]
        self.big = max(self.blobs, key=lambda d: len(self.blobs[d]))
        self.plan, self.seen, self.pushed = [], [], {}
        for family, any_address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
            for port in (PORT, 80, 443):
                s = socket.socket(family)
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                s.bind((any_address, port))
                s.listen(128)
                threading.Thread(target=self.accept, args=(s,), daemon=True).start()

    def begin(self, plan):
        self.plan, self.seen, self.pushed = plan, [], {}

    def accept(self, listener):
        while True:
            s, _ = listener.accept()
            threading.Thread(target=self.connection, args=(s,), daemon=True).start()

    def connection(self, s):
        here = s.getsockname()[0]
        self.seen.append((here, "CONNECT", "", None))
        try:
            x = Exchange(s, here)
            while True:
                x.request()
                self.seen.append((here, x.method, x.target, x.header("authorization")))
                self.answer(x, here)
        except (Closed, OSError, ValueError):
            s.close()

    def answer(self, x, here):
        body = x.f.read(int(x.header("content-length") or 0))
        if x.path.startswith("/step/"):
            self.step(x, int(x.path.split("/")[2]), body)
        elif here != HOME:
            x.answer(404)
        elif x.header("authorization") != LOGIN:
            x.answer(401, b"", 'WWW-Authenticate: Basic realm="home"')
        elif "/manifests/" in x.path and x.method == "PUT":
            x.answer(201, b"", "Docker-Content-Digest: " + digest_of(body))
        elif "/manifests/" in x.path:
            x.answer(200, self.manifest, "Docker-Content-Digest: " + digest_of(self.manifest),
                     "Content-Type: application/vnd.oci.image.manifest.v1+json")
        elif "/uploads/" in x.path:
            x.answer(202, b"", "Location: " + self.plan[0])
        elif x.method == "HEAD":
            x.answer(404)
        elif x.path.endswith(self.big) and self.plan:
            x.answer(307, b"", "Location: " + self.plan[0])
        else:
            self.blob(x, x.path.rsplit("/", 1)[1])

    def step(self, x, n, body):
        if n + 1 < len(self.plan):
            x.answer(307, b"", "Location: " + self.plan[n + 1])
        elif x.method == "PUT":
            self.pushed[digest_of(body)] = body
            x.answer(201)
        else:
            self.blob(x, self.big)

    def blob(self, x, digest):
        data, asked = self.blobs.get(digest), x.header("range")
        if data is None:
            x.answer(404)
        elif asked:
            first, last = asked.split("=")[1].split("-")
            first, last = int(first), min(int(last or len(data)), len(data) - 1)
            x.answer(206, data[first:last + 1], f"Content-Range: bytes {first}-{last}/{len(data)}")
        else:
            x.answer(200, data)

    def hosts(self):
        return {host.removeprefix("::ffff:") for host, _, _, _ in self.seen}

    def canary_elsewhere(self):
        return [(h, m, p) for h, m, p, auth in self.seen if auth and h != HOME]


def name(asked, consume):
    """The answers of a name are given in turn; the last one stays."""
    answers = NAMES.get(asked)
    if not answers:
        return None
    return answers.pop(0) if consume and len(answers) > 1 else answers[0]


def own_internet(env):
    """Namespaces of our own; all addresses are local."""
    need_root()
    need_program("ip")
    own_names(env, name, net=[
        "ip link set lo up", f"ip addr add {HOME}/32 dev lo", "ip addr add 2a00:1450::5/128 dev lo",
        "ip route add local 0.0.0.0/0 dev lo", "ip -6 route add local ::/0 dev lo"])


class World:
    def __init__(self, env):
        self.src = env.fresh("src")
        write_random(self.src / "big.bin", 1200000, 1)
        env.mops("push", self.src, "--to", f"oci:{env.base / 'layout'}:demo:1", "-q")
        self.net = Internet(env.base / "layout")
        config = env.dir("docker")
        (config / "config.json").write_text(json.dumps(
            {"auths": {f"{HOME}:{PORT}": {"auth": LOGIN.split()[1]}}}))
        self.env = env
        env.vars.update(DOCKER_CONFIG=str(config), MOPS_IO_TIMEOUT="2s", MOPS_CONNECT_TIMEOUT="1s", MOPS_PLAIN_HTTP="1")
        self.ref = f"{HOME}:{PORT}/demo:1"

    def pull(self, plan):
        self.net.begin(plan)
        self.env.new_cache()
        return self.env.mops("pull", self.ref, "-q", code=None, timeout=60)

    def push(self, plan):
        self.net.begin(plan)
        return self.env.mops("push", self.src, "--to", self.ref, "-q", code=None, timeout=60)

    def check(self, what, p, allowed):
        """Nobody but @allowed was contacted, and nobody but home saw the login."""
        foreign = self.net.hosts() - allowed
        if foreign:
            raise Failed(f"{what}: {foreign} was contacted: {self.net.seen}")
        if self.net.canary_elsewhere():
            raise Failed(f"{what}: the login was shown to {self.net.canary_elsewhere()}")
        if CANARY.encode() in p.stdout + p.stderr or LOGIN.split()[1].encode() in p.stdout + p.stderr:
            raise Failed(f"{what}: the login is told: {p.stderr.decode()}")


def url(host, path="/step/0"):
    return f"http://{host}:{PORT}{path}"


def all_of_it(env):
    own_internet(env)
    w = World(env)
    for test in (allowed_addresses, forbidden_addresses, names_that_lead_inward, odd_locations, graphs):
        print(f"# {test(w)} in {test.__name__.replace('_', ' ')}", flush=True)


def allowed_addresses(w):
    """That the net is real: these are contacted."""
    NAMES["public.test"] = ["9.9.9.9"]
    for host in ALLOWED:
        for verb in (w.pull, w.push):
            p = verb([url(host)])
            if p.returncode or len(w.net.hosts()) < 2:
                raise Failed(f"{verb.__name__} through {host}: exit {p.returncode}, {p.stderr.decode()}, {w.net.hosts()}")
            if w.net.canary_elsewhere():
                raise Failed(f"{host}: the login was shown")
    return 2 * len(ALLOWED)


def forbidden_addresses(w):
    for host in FORBIDDEN:
        for verb in (w.pull, w.push):
            p = verb([url(host)])
            w.check(f"{verb.__name__} through {host}", p, {HOME})
            if p.returncode != 3:
                raise Failed(f"{verb.__name__} through {host}: exit {p.returncode}: {p.stderr.decode()}")
    return 2 * len(FORBIDDEN)


def names_that_lead_inward(w):
    n = 0
    for address in INWARD:
        # The second kind changes its mind: outward when looked at, then inward.
        for kind, answers in (("fixed", [address]), ("rebinding", [OTHER, address])):
            name = f"{kind}-{address.replace('.', '-')}.test"
            NAMES[name] = list(answers)
            p = w.pull([url(name), url(name, "/step/1")])
            w.check(f"a name for {address}, {kind}", p, {HOME, OTHER})
            n += 1
    return n


def odd_locations(w):
    """Spellings that fool a parser, not a resolver."""
    bad = [f"http://{OTHER}:{PORT}@127.0.0.1:{PORT}/step/0", f"http://127.0.0.1:{PORT}#@{OTHER}:{PORT}/step/0",
           f"http://127.0.0.1:{PORT}\\@{OTHER}:{PORT}/step/0", f"//127.0.0.1:{PORT}/step/0", "file:///etc/passwd",
           "ftp://10.0.0.1/x", f"gopher://127.0.0.1:{PORT}/_GET", "dict://127.0.0.1:11211/stat", "http:///step/0",
           "http://", "javascript:alert(1)", f"http://127.0.0.1\t:{PORT}/step/0", f"http:/127.0.0.1:{PORT}/step/0",
           f"http:127.0.0.1:{PORT}/step/0", "unix:/run/docker.sock", "http://[::1", f"http://127。0。0。1:{PORT}/",
           f"http://①②⑦.0.0.1:{PORT}/step/0", f"https://127.0.0.1:{PORT}/step/0", f"HTTP://LOCALHOST:{PORT}/step/0"]
    for location in bad:
        for verb in (w.pull, w.push):
            p = verb([location])
            w.check(f"{verb.__name__} to {location}", p, {HOME, OTHER})
            if p.returncode not in (0, 3):
                raise Failed(f"{location}: exit {p.returncode}")
    return 2 * len(bad)


def graphs(w):
    """Chains over home, the world and places that are never to be seen."""
    rng = random.Random(1)
    world = [HOME, OTHER, "9.9.9.9", "[2a00:1450::1]"]
    never = ["127.0.0.1", "10.0.0.1", "169.254.169.254", "[::1]", "2130706433"]
    n = 0
    for i in range(80):
        hosts = [rng.choice(world) for _ in range(rng.randint(1, 12))]
        cut = None
        if i % 2:
            cut = rng.randrange(len(hosts))
            hosts[cut] = rng.choice(never)
        plan = [url(h, f"/step/{k}") for k, h in enumerate(hosts)]
        if i % 10 == 5:
            plan.append(plan[0])  # round and round
        elif i % 5 == 0:
            plan.append(url(hosts[0], f"/step/{len(hosts)}"))  # and back again
        verb = w.push if i % 3 == 0 else w.pull
        p = verb(plan)
        allowed = {h.strip("[]") for h in (hosts[:cut] if cut is not None else hosts)} | {HOME}
        w.check(f"graph {i} {plan}", p, allowed)
        for _, _, path, auth in w.net.seen:
            if path.startswith("/step/") and auth:
                step = int(path.split("/")[2].split("?")[0])
                if step >= len(hosts) or any(h != HOME for h in hosts[:step]):
                    raise Failed(f"graph {i}: the login came back at step {step}: {plan}")
        if cut is not None and p.returncode != 3:
            raise Failed(f"graph {i}: exit {p.returncode}")
        if p.returncode == 0 and verb == w.push and not any(
                len(data) > 1000000 for data in w.net.pushed.values()):
            raise Failed(f"graph {i}: a push that arrived nowhere")
        n += 1
    return n


run([all_of_it])
