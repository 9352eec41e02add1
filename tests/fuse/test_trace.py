#!/usr/bin/python3
"""In what order readers asked for what: recorded by a mount, and what is done with it."""
import functools
import hashlib
import json
import os
import statistics
import pathlib
import signal
import sys
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
import mopstest  # noqa: E402
from mopstest import Failed, fault_registry, same, snapshot, wait_for  # noqa: E402

MIB = 1 << 20
HEAD = "mops-trace 1\n"
SLOW = ("-o", "readahead_kb=0")  # the kernel asks for what is asked of it


def check(what, got, want):
    if got != want:
        raise Failed(f"{what}: {got}, not {want}")


def bundle(env):
    """Two big files, and a pack of small ones."""
    mopstest.need_root()
    top = env.fresh("ws")
    for i, name in enumerate(("a.bin", "b.bin")):
        mopstest.write_random(top / "big" / name, 12 * MIB + i, 10 + i)
    for k in range(20):
        mopstest.write_random(top / "small" / f"file {k}", 1000 + k, k)
    env.push(top, "demo:1")
    return top


def status(env, at):
    return json.loads(env.mopsfs("status", at, "--json").stdout)


def read_at(at, top, path, off, n=4096):
    """And compare. No page but these is asked for."""
    fd = os.open(at / path, os.O_RDONLY)
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
        got = os.pread(fd, n, off)
    finally:
        os.close(fd)
    with open(top / path, "rb") as f:
        f.seek(off)
        if got != f.read(n):
            raise Failed(f"wrong bytes of {path} at {off}")


# What a job reads, and the trace of that.
JOB = (("big/b.bin", 9 * MIB), ("small/file 7", 0), ("big/a.bin", 10 * MIB), ("big/a.bin", 11 * MIB),
       ("big/b.bin", 9 * MIB + 8192), ("big/a.bin", 0), ("small/file 7", 0), ("small/file 3", 0), ("big/b.bin", 12 * MIB))
ROWS = HEAD + ("9 1 big/b.bin\n0 1 small/file 7\n10 2 big/a.bin\n0 1 big/a.bin\n"
               "0 1 small/file 3\n12 1 big/b.bin\n")


def run_job(at, top):
    for path, off in JOB:
        read_at(at, top, path, off)


def a_mount_records_the_order_of_first_demand(env):
    top = bundle(env)
    out = env.base / "trace"
    for how in (("--record", out), ("-o", f"record={out}")):
        env.new_cache()
        out.unlink(missing_ok=True)
        with env.mount("demo:1", *how, *SLOW) as at:
            run_job(at, top)
            seen = status(env, at)
            check("status", (seen["record"]["file"], seen["record"]["full"]), (str(out), False))
            check("data path", (seen["data_path"]["mode"], seen["data_path"]["why"]),
                  ("cached", "a recording has to see each read"))
        check("trace", out.read_text(), ROWS)
        check("mode", out.stat().st_mode & 0o777, 0o644)
    # What is local is asked for just so.
    with env.mount("demo:1", "--record", out, *SLOW) as at:
        run_job(at, top)
    check("warm", out.read_text(), ROWS)


def it_goes_on_when_the_worker_is_replaced(env):
    top = bundle(env)
    out = env.base / "trace"
    with env.mount("demo:1", "--record", out, *SLOW) as at:
        for i, (path, off) in enumerate(JOB):
            read_at(at, top, path, off)
            if i % 3 == 1:
                os.kill(status(env, at)["pid"], signal.SIGKILL)
        check("restarts", status(env, at)["worker"]["restarts"], 3)
    check("trace", out.read_text(), ROWS)


def it_goes_on_over_an_upgrade(env):
    top = bundle(env)
    out = env.base / "trace"
    with env.mount("demo:1", "--record", out, *SLOW) as at:
        for path, off in JOB[:4]:
            read_at(at, top, path, off)
        env.mopsfs("upgrade", at)
        for path, off in JOB[4:]:
            read_at(at, top, path, off)
    check("trace", out.read_text(), ROWS)


def it_is_written_meanwhile(env):
    """A machine that is switched off has what there was."""
    top = bundle(env)
    out = env.base / "trace"
    with env.mount("demo:1", "--record", out, *SLOW) as at:
        run_job(at, top)
        wait_for("the trace", lambda: out.exists() and out.read_text().startswith(HEAD + "9 1 big/b.bin\n"))
        check("folder", [p.name for p in env.base.iterdir() if "trace" in p.name], ["trace"])
        seen = status(env, at)
        os.kill(seen["supervisor_pid"], signal.SIGKILL)
        wait_for("the end", lambda: not mopstest.is_mounted(at))
    if not ROWS.startswith(out.read_text()):
        raise Failed(out.read_text())


def a_place_that_cannot_be_is_refused(env):
    bundle(env)
    for where in ("/nowhere/at/all", env.base, "/dev/null", ""):
        p = env.mopsfs("mount", "demo:1", env.fresh("mnt"), "-o", f"record={where}", code=2)
        if b"record" not in p.stderr:
            raise Failed(p.stderr.decode())
    at = env.fresh("mnt")
    env.mopsfs("mount", "demo:1", at, "--record", at / "trace", code=2)
    p = env.mopsfs("mount", "demo:1", at, "--record", env.base / "trace", "-o", "io=passthrough", code=3)
    if b"see each read" not in p.stderr:
        raise Failed(p.stderr.decode())
    if (env.base / "trace").exists():
        raise Failed("a mount that was none left a trace")


class Asked:
    """The embedded registry over HTTP, and what is asked of it, @delay late."""

    def __init__(self, env, delay=0.0):
        self.server = fault_registry(env)
        self.ref = (f"{self.server.host}/demo:1", "--plain-http")
        self.ranges, self.begun, self.delay = [], [], delay
        self.server.data = functools.cache(self.server.data)  # it would read the whole blob each time
        answer = self.server.blob

        def blob(x, digest):
            if x.method == "GET":
                at = x.header("range")
                self.ranges.append((digest, int(at.split("=")[1].split("-")[0]) if at else 0))
                since = time.monotonic()
                time.sleep(self.delay)
                self.begun.append((digest, since, time.monotonic()))
            answer(x, digest)
        self.server.blob = blob

    def big(self, top):
        """(file, chunk) of what was asked of the big files; other blobs are None."""
        names = {"sha256:" + mopstest.sha256_file(f): f"big/{f.name}" for f in (top / "big").iterdir()}
        return [(names.get(d), off // MIB) for d, off in self.ranges]


def wait_for_prefetch(env, at, state="done"):
    wait_for(f"a prefetch that is {state}", lambda: status(env, at)["prefetch"]["state"] == state, 60)
    return status(env, at)["prefetch"]


def a_trace_is_fetched_in_its_order(env):
    top = bundle(env)
    trace = env.base / "trace"
    asked = Asked(env)
    with env.mount(*asked.ref, "--record", trace, *SLOW) as at:
        run_job(at, top)
    check("trace", trace.read_text(), ROWS)
    for how in (("--prefetch", f"trace={trace}"), ("-o", f"prefetch=trace={trace}")):
        env.new_cache()
        # One thread for the background: the order is exact.
        with env.mount(*asked.ref, *how, *SLOW, "--concurrency", "1") as at:
            seen = wait_for_prefetch(env, at)
            check("status", (seen["files"], seen["bytes_left"], seen["skipped"]), (4, 0, 0))
            check("order", asked.big(top)[-5:], [("big/b.bin", 9), (None, 0), ("big/a.bin", 10),
                                                 ("big/a.bin", 0), ("big/b.bin", 12)])
            before = len(asked.ranges)
            misses = status(env, at)["misses"]
            run_job(at, top)
            check("requests", len(asked.ranges), before)
            check("misses", status(env, at)["misses"], misses)
            check("state", os.getxattr(at / "big/a.bin", "user.mops.state"), b"partial 3/12")
    # All threads: the same, nothing twice.
    env.new_cache()
    asked.ranges.clear()
    with env.mount(*asked.ref, "--prefetch", f"trace={trace}") as at:
        wait_for_prefetch(env, at)
        check("all", sorted(x for x in asked.big(top) if x[0]),
              [("big/a.bin", 0), ("big/a.bin", 10), ("big/b.bin", 9), ("big/b.bin", 12)])
        same(snapshot(top), snapshot(at))


def what_a_trace_names_elsewhere_is_passed_over(env):
    bundle(env)
    trace = env.base / "trace"
    asked = Asked(env)
    trace.write_text(HEAD + "0 1 no/such/file\n13 1 big/a.bin\n0 1 big\n0 4294967295 small/file 1\n12 9 big/b.bin\n")
    with env.mount(*asked.ref, "--prefetch", f"trace={trace}") as at:
        seen = wait_for_prefetch(env, at)
        check("status", (seen["files"], seen["skipped"]), (2, 3))
        if "3 lines" not in env.mopsfs("status", at).stdout.decode():
            raise Failed("status does not say so")


def what_is_no_trace_is_refused(env):
    bundle(env)
    trace = env.base / "trace"
    for text in ("", "mops-trace 2\n", HEAD + "0 1 ../../etc/passwd\n", HEAD + "0 1 a", HEAD + "0 0 a\n"):
        trace.write_text(text)
        p = env.mopsfs("mount", "demo:1", env.fresh("mnt"), "--prefetch", f"trace={trace}", code=2)
        if b"trace" not in p.stderr:
            raise Failed(p.stderr.decode())
    with open(trace, "wb") as f:
        f.truncate(64 * MIB)
    env.mopsfs("mount", "demo:1", env.fresh("mnt"), "--prefetch", f"trace={trace}", code=2)
    env.mopsfs("mount", "demo:1", env.fresh("mnt"), "--prefetch", "trace=/nowhere", code=2)
    env.mopsfs("mount", "demo:1", env.fresh("mnt"), "--prefetch", f"list={env.base}", code=2)


def a_list_is_fetched_in_its_order(env):
    top = bundle(env)
    names = env.base / "names"
    names.write_text("# first\nbig/b.bin\nno/such\n\nsmall/\n**/a.*\nbig\n")
    asked = Asked(env)
    for how in (("--prefetch", f"list={names}"), ("-o", f"prefetch=list={names}")):
        env.new_cache()
        asked.ranges.clear()
        with env.mount(*asked.ref, *how, "--concurrency", "1") as at:
            seen = wait_for_prefetch(env, at)
            check("files", (seen["files"], seen["bytes"], seen["bytes_left"]),
                  (22, sum(f.stat().st_size for f in top.rglob("*") if f.is_file()), 0))
            names_asked = [n for n, _ in asked.big(top)]
            check("order", [n for i, n in enumerate(names_asked) if n not in names_asked[i - 1:i]][-3:],
                  ["big/b.bin", None, "big/a.bin"])
        log = env.base / "log"
        with env.mount("demo:1", "--offline", *how, "--log", log) as at:
            same(snapshot(top), snapshot(at))
            if "nothing is prefetched" not in log.read_text() or "prefetch" in status(env, at):
                raise Failed(log.read_text())
        log.unlink()
    names.write_text("big/a.bin\n")
    env.new_cache()
    with env.mount(*asked.ref, "--prefetch", f"list={names}") as at:
        check("files", wait_for_prefetch(env, at)["files"], 1)
        check("other", os.getxattr(at / "big/b.bin", "user.mops.state"), b"absent")
    names.write_text("../up\n")
    p = env.mopsfs("mount", "demo:1", env.fresh("mnt"), "--prefetch", f"list={names}", code=2)
    if b"line 1" not in p.stderr:
        raise Failed(p.stderr.decode())


def scattered(env, name="a.bin", chunks=64):
    """A bundle with two files, and a trace of one of them, backwards."""
    mopstest.need_root()
    top = env.fresh("ws")
    for i, n in enumerate(("a.bin", "b.bin")):
        mopstest.write_random(top / "big" / n, (chunks if n == name else 64) * MIB, 20 + i)
    env.push(top, "demo:1")
    trace = env.base / "trace"
    trace.write_text(HEAD + "".join(f"{i} 1 big/{name}\n" for i in range(chunks - 1, -1, -1)))
    return top, trace


def it_can_be_paused(env):
    top, trace = scattered(env)
    asked = Asked(env)
    for what in (f"trace={trace}", "role"):
        env.new_cache()
        asked.delay = 1  # it is not over before it is paused
        with env.mount(*asked.ref, "--prefetch", what, "--concurrency", "2") as at:
            wait_for("its begin", lambda: status(env, at)["prefetch"]["bytes"])
            env.mopsfs("prefetch", at, "pause")
            wait_for("quiet", lambda: status(env, at)["fetch"]["in_flight"] == 0)
            asked.delay = 0.05
            check("state", status(env, at)["prefetch"]["state"], "paused")
            left = status(env, at)["prefetch"]["bytes_left"]
            if not left:
                raise Failed(f"{what} was over already")
            n = len(asked.ranges)
            read_at(at, top, "big/b.bin", 33 * MIB)  # readers go on
            os.kill(status(env, at)["pid"], signal.SIGKILL)  # and a successor is paused, too
            read_at(at, top, "big/b.bin", 33 * MIB)
            time.sleep(0.5)
            wait_for("a successor that has read it", lambda: "prefetch" in status(env, at))
            check("state", status(env, at)["prefetch"]["state"], "paused")
            if len(asked.ranges) > n + 2:
                raise Failed(f"{len(asked.ranges) - n} requests while it is paused")
            env.mopsfs("prefetch", at, "resume")
            check("left", wait_for_prefetch(env, at)["bytes_left"], 0)
    with env.mount("demo:1") as at:
        p = env.mopsfs("prefetch", at, "pause", code=2)
        if b"prefetches nothing" not in p.stderr:
            raise Failed(p.stderr.decode())
        env.mopsfs("prefetch", at, "stop", code=2)
    env.mopsfs("prefetch", env.base, "pause", code=2)


def a_successor_goes_on_with_it(env):
    top, trace = scattered(env)
    asked = Asked(env, delay=0.02)
    with env.mount(*asked.ref, "--prefetch", f"trace={trace}", "--concurrency", "2") as at:
        for _ in range(3):
            os.kill(status(env, at)["pid"], signal.SIGKILL)
            time.sleep(0.1)
        wait_for("a successor that has read it", lambda: "prefetch" in status(env, at))
        trace.unlink()  # what the next one does not find, it does without
        wait_for_prefetch(env, at)
        os.kill(status(env, at)["pid"], signal.SIGKILL)
        same(snapshot(top), snapshot(at))
        if "prefetch" in status(env, at):
            raise Failed("a trace that is gone is replayed")


def read_beside(env, top, asked, what, wanted):
    """Times of cold reads while @what is prefetched, in as many mounts as that takes."""
    times = []
    for _ in range(8):
        env.new_cache()
        with env.mount(*asked.ref, "--prefetch", what, *SLOW, "--concurrency", "4") as at:
            for i in range(0, 60, 4):
                if what != "none" and not status(env, at)["prefetch"]["bytes_left"]:
                    break  # a slow machine: the replay was faster than the readers
                since = time.monotonic()
                read_at(at, top, "big/b.bin", i * MIB)
                times.append(time.monotonic() - since)
                time.sleep(0.06)  # what was on its way arrives
        if len(times) >= wanted:
            return times
    raise Failed(f"{len(times)} reads beside {what}, all of which was replayed by then")


def a_reader_goes_first(env):
    """Demand beside a replay of single chunks: while a reader's request is under way none of the replay's begins."""
    top, trace = scattered(env, chunks=192)
    asked = Asked(env, delay=0.05)
    mine = "sha256:" + mopstest.sha256_file(top / "big/b.bin")
    median = {}
    for what in ("none", f"trace={trace}"):
        asked.begun.clear()
        median[what] = statistics.median(read_beside(env, top, asked, what, 15))
    waits = [(a, b) for d, a, b in asked.begun if d == mine]
    others = [a for d, a, _ in asked.begun if d != mine]
    if len(others) < len(waits):
        raise Failed(f"only {len(others)} requests of the replay")
    beside = sum(a < t < b for t in others for a, b in waits)
    print(f"# {beside} of {len(others)} requests of the replay began in {len(waits)} waits of "
          f"{sum(b - a for a, b in waits):.2f} s; a cold read took {median['none'] * 1000:.0f} ms alone, "
          f"{median[f'trace={trace}'] * 1000:.0f} ms beside it", flush=True)
    # One is let through each half second, and some are on their way.
    if beside > 0.3 * len(waits) + 2 * sum(b - a for a, b in waits):
        raise Failed(f"{beside} began while a reader waited")


def attach(env, top, ref, text, *args):
    trace = env.base / "attached"
    trace.write_text(text)
    return env.push(top, ref, "--trace", trace, *args)


def referrers(server, repo, digest):
    """What stands under the fallback tag."""
    tag = digest.replace(":", "-")
    rq = urllib.request.Request(f"http://{server.host}/v2/{repo}/manifests/{tag}",
                                headers={"Accept": "application/vnd.oci.image.index.v1+json"})
    with urllib.request.urlopen(rq) as r:
        return json.load(r)["manifests"]


def a_trace_goes_with_its_bundle(env):
    """By a registry without a referrers API, and by a layout folder."""
    top = bundle(env)
    server = mopstest.DockerRegistry(env)
    for ref, plain in ((f"{server.host}/team/demo:1", ["--plain-http"]), ("demo:2", [])):
        digest = env.push(top, ref, *plain)["digest"]
        done = attach(env, top, ref, ROWS, *plain)
        check("digest", done["digest"], digest)
        check("blobs", (done["blobs_sent"], done["tag_moved"]), (0, False))
        check("again", attach(env, top, ref, ROWS, *plain)["trace"], done["trace"])
        env.new_cache()
        server.forget()
        with env.mount(ref, *plain, "--prefetch", "trace", *SLOW) as at:
            seen = wait_for_prefetch(env, at)
            check("status", (seen["files"], seen["bytes_left"], seen["skipped"]), (4, 0, 0))
            misses, asked = status(env, at)["misses"], len(server.requests())
            run_job(at, top)
            check("misses", status(env, at)["misses"], misses)
            check("requests", len(server.requests()), asked)
            check("state", os.getxattr(at / "big/a.bin", "user.mops.state"), b"partial 3/12")
            same(snapshot(top), snapshot(at))
    found = referrers(server, "team/demo", digest)
    check("found", [(m["artifactType"], m["digest"]) for m in found],
          [("application/vnd.modelops.trace.v1", done["trace"])])
    check("tags", env.mops("tags", f"{server.host}/team/demo", "--plain-http").stdout, b"1\n")


def a_push_attaches_before_the_tag_moves(env):
    top = bundle(env)
    done = attach(env, top, "new:1", ROWS)
    with env.mount("new:1", "--prefetch", "trace") as at:
        check("files", wait_for_prefetch(env, at)["files"], 4)
    if not done["tag_moved"] or "trace" not in done:
        raise Failed(str(done))
    trace = env.base / "attached"
    trace.write_text(HEAD + "0 1 elsewhere\n0 1 small/file 1\n")
    p = env.mops("push", top, "--to", "new:2", "--trace", trace, "--dry-run")
    if b"1 lines of the trace" not in p.stderr or b"attached" in p.stderr:
        raise Failed(p.stderr.decode())
    env.mops("resolve", "new:2", code=1)
    for text in ("", "mops-trace 9\n", HEAD + "x\n"):
        trace.write_text(text)
        p = env.mops("push", top, "--to", "new:3", "--trace", trace, code=2)
        if b"trace" not in p.stderr:
            raise Failed(p.stderr.decode())
    env.mops("push", top, "--to", "new:3", "--trace", env.base / "none", code=2)
    env.mops("resolve", "new:3", code=1)


def a_bundle_without_a_trace_says_so(env):
    bundle(env)
    server = mopstest.DockerRegistry(env)
    env.push(bundle(env), f"{server.host}/team/demo:1", "--plain-http")
    for ref in (("demo:1",), (f"{server.host}/team/demo:1", "--plain-http")):
        with env.mount(*ref, "-o", "prefetch=trace") as at:
            check("why", wait_for_prefetch(env, at, "failed")["why"], "no trace is attached to the bundle")


def what_is_attached_is_not_believed(env):
    """Anybody who may push can attach anything."""
    top = bundle(env)
    folder = pathlib.Path(env.vars["XDG_DATA_HOME"]) / "mops/registry"
    good = attach(env, top, "demo:1", HEAD + "0 1 small/file 1\n")
    index = json.loads((folder / "index.json").read_text())
    manifest = json.loads((folder / "blobs/sha256" / good["trace"][7:]).read_text())
    empty = manifest["config"]

    def add(text=b"", **change):
        """Another referrer, which is not what it seems."""
        def put(data):
            d = hashlib.sha256(data).hexdigest()
            (folder / "blobs/sha256" / d).write_bytes(data)
            return {"digest": f"sha256:{d}", "size": len(data)}
        layer = {"mediaType": "application/vnd.modelops.trace.v1", **put(text)}
        doc = {**manifest, "layers": [layer], **change}
        d = put(json.dumps(doc, sort_keys=True, separators=(",", ":")).encode())
        index["manifests"].append({"mediaType": manifest["mediaType"], **d})
        return d["digest"]

    bad = [add(b"no trace"), add(HEAD.encode() + b"0 1 ../../etc/passwd\n"), add(HEAD.encode() + b"0 1 big/a.bin"),
           add(HEAD.encode(), layers=[empty, empty]),
           add(HEAD.encode() + b"0 1 big/a.bin\n0 1 x" + b"/.." * 9 + b"\n")]
    huge = {"mediaType": "application/vnd.modelops.trace.v1", "digest": empty["digest"], "size": 1 << 40}
    bad.append(add(layers=[huge]))
    torn = add(HEAD.encode() + b"0 1 big/b.bin\n")
    layer = json.loads((folder / "blobs/sha256" / torn[7:]).read_text())["layers"][0]["digest"]
    (folder / "blobs/sha256" / layer[7:]).write_bytes(HEAD.encode() + b"0 1 big/a.bin\n")
    (folder / "index.json").write_text(json.dumps(index))
    asked = Asked(env)
    for ref in (("demo:1",), asked.ref):
        env.new_cache()
        check("referrers", len(bad) + 2, 8)  # so many are looked at
        listed = [m for m in index["manifests"] if m["digest"] in (*bad, torn, good["trace"])]
        tag = f"sha256-{good['digest'][7:]}"
        asked.server.manifests["demo", tag] = json.dumps({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [{**m, "artifactType": "application/vnd.modelops.trace.v1"} for m in listed]}).encode()
        with env.mount(*ref, "--prefetch", "trace") as at:
            check("files", wait_for_prefetch(env, at)["files"], 1)
            check("a", os.getxattr(at / "big/a.bin", "user.mops.state"), b"absent")
            check("b", os.getxattr(at / "big/b.bin", "user.mops.state"), b"absent")
            same(snapshot(top), snapshot(at))


mopstest.run([a_trace_goes_with_its_bundle, a_push_attaches_before_the_tag_moves, a_bundle_without_a_trace_says_so,
              what_is_attached_is_not_believed, a_trace_is_fetched_in_its_order, what_a_trace_names_elsewhere_is_passed_over,
              what_is_no_trace_is_refused, a_list_is_fetched_in_its_order, it_can_be_paused,
              a_successor_goes_on_with_it, a_reader_goes_first, a_mount_records_the_order_of_first_demand, it_goes_on_when_the_worker_is_replaced,
              it_goes_on_over_an_upgrade, it_is_written_meanwhile, a_place_that_cannot_be_is_refused])
