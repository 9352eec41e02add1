#!/usr/bin/env python3
"""Files in object stores: pushed by rule and by name, mounted, pulled, verified,
and what a reader meets when the store no longer has them.
"""
import errno
import hashlib
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mopstest  # noqa: E402
import stores  # noqa: E402

MIB = 1 << 20
BUNDLE = """\
bundle:
  name: ext
  version: 1.0.0
external_storage:
  - pattern: "big/**"
    storage: "{storage}"
"""


def make_folder(env, storage):
    top = env.fresh("src")
    (top / ".mops-bundle.yaml").write_text(BUNDLE.format(storage=storage))
    mopstest.write_random(top / "big/a.bin", 5 * MIB + 17, "a")
    mopstest.write_random(top / "big/b.bin", MIB // 3, "b")
    (top / "readme").write_text("small\n")
    return top


def key_of(path):
    h = mopstest.sha256_file(path)
    return f"data/sha256/{h[:2]}/{h}"


def without_bundle_file(snapshot):
    return {k: v for k, v in snapshot.items() if k != ".mops-bundle.yaml"}


def push_mount_pull_and_verify(env):
    server, s3 = stores.start_s3(env)
    top = make_folder(env, "s3://bucket/data/")
    env.mops("push", top)
    body = s3.get("bucket", key_of(top / "big/a.bin"))
    if hashlib.sha256(body).hexdigest() != mopstest.sha256_file(top / "big/a.bin"):
        raise mopstest.Failed("other bytes are at the store")
    again = env.mops_json("push", top)
    if again["externals_sent"] and s3.uploads("bucket"):
        raise mopstest.Failed("an upload was left unfinished")
    want = without_bundle_file(mopstest.snapshot(top))
    with env.mount("ext@1.0.0") as at:
        mopstest.same(mopstest.snapshot(at), want, "mount and source")
    env.new_cache()
    dest = env.fresh("dest")
    env.mops("materialize", "ext@1.0.0", dest / "tree", "--prefetch-external")
    mopstest.same(mopstest.snapshot(dest / "tree"), want, "tree and source")
    env.new_cache()
    env.mops("materialize", "ext@1.0.0", dest / "pointers")
    pointer = json.loads((dest / "pointers/.mops/ptr/big/a.bin.json").read_text())
    if pointer["uri"] != "s3://bucket/" + key_of(top / "big/a.bin"):
        raise mopstest.Failed(f"pointer {pointer}")
    env.mops("pull", "ext@1.0.0")
    error = env.mops("cat", "ext@1.0.0", "big/b.bin", "--offline", code=3).stderr
    if b"offline" not in error:
        raise mopstest.Failed(f"asked although offline: {error}")
    env.mops("warm", "ext@1.0.0")
    env.mops("cat", "ext@1.0.0", "big/b.bin", "--offline")
    report = env.mops_json("verify", "ext@1.0.0")
    if report["externals"] != 2 or report["externals_by_checksum"] + report["externals_by_metadata"] != 2:
        raise mopstest.Failed(f"verify: {report}")
    deep = env.mops_json("verify", "ext@1.0.0", "--deep")
    if deep["externals_hashed"] != 2:
        raise mopstest.Failed(f"verify --deep: {deep}")


def a_file_that_is_there_already(env):
    server, s3 = stores.start_s3(env)
    top = env.fresh("src")
    mopstest.write_random(top / "w.bin", 3 * MIB + 5, "w")
    s3.put("bucket", "there/w +%.bin", (top / "w.bin").read_bytes())
    env.mops("push", top, "--to", "reg@1", "--external", "w.bin=s3://bucket/there/w +%25.bin")
    with env.mount("reg@1") as at:
        if (at / "w.bin").read_bytes() != (top / "w.bin").read_bytes():
            raise mopstest.Failed("other bytes")
    report = env.mops_json("verify", "reg@1")
    if report["externals_by_size"] != 1:
        raise mopstest.Failed(f"verify: {report}")
    env.new_cache()
    p = env.mops("cat", "reg@1", "w.bin", code=None, env={"https_proxy": "gopher://x"})
    if p.returncode == 0 or b"https_proxy" not in p.stderr:
        raise mopstest.Failed(f"what is wrong with the proxy is not said: {p.stderr}")


def a_bucket_whose_readers_pay(env):
    stores.clean(env)
    server = stores.Server(env, "odd_store.py")
    env.vars.update(AWS_ACCESS_KEY_ID="id", AWS_SECRET_ACCESS_KEY="canary", MOPS_IO_TIMEOUT="5s",
                    AWS_ENDPOINT_URL_S3=f"http://127.0.0.1:{server['port']}")
    top = env.fresh("src")
    (top / "w.bin").write_bytes(bytes((7 * i + (i >> 8)) % 256 for i in range(300000)))
    push = ("push", top, "--to", "paid@1", "--external", "w.bin=s3://our-bill/payer")
    env.mops(*push, code=3)
    env.vars["MOPS_S3_REQUESTER_PAYS"] = "our-bill"
    env.mops(*push)
    with env.mount("paid@1") as at:
        mopstest.same(mopstest.snapshot(at), mopstest.snapshot(top))
    env.new_cache()
    env.mops("cat", "paid@1", "w.bin", code=3, env={"MOPS_S3_REQUESTER_PAYS": "another"})


def expect_errno(want, path):
    fd = os.open(path, os.O_RDONLY)
    try:
        os.pread(fd, 4096, 0)
    except OSError as e:
        if e.errno == want:
            return
        raise mopstest.Failed(f"{path}: {e}, not {errno.errorcode[want]}") from e
    finally:
        os.close(fd)
    raise mopstest.Failed(f"{path}: was read")


def what_is_wrong_at_the_store(env):
    server, s3 = stores.start_s3(env)
    top = make_folder(env, "s3://bucket/data/")
    mopstest.write_random(top / "big/c.bin", 2 * MIB, "c")
    env.mops("push", top)
    key = key_of(top / "big/a.bin")
    body = bytearray((top / "big/a.bin").read_bytes())
    body[MIB + 5] ^= 1
    s3.put("bucket", key, bytes(body))
    s3.delete("bucket", key_of(top / "big/b.bin"))
    found = env.mops("verify", "ext@1.0.0", "--deep", code=2).stdout.decode()
    if key not in found or key_of(top / "big/b.bin") not in found:
        raise mopstest.Failed(f"verify said: {found}")
    with env.mount("ext@1.0.0", env={"MOPS_IO_TIMEOUT": "5s"}) as at:
        fd = os.open(at / "big/a.bin", os.O_RDONLY)
        try:
            os.pread(fd, 10, MIB)
            raise mopstest.Failed("a wrong byte came out")
        except OSError as e:
            if e.errno != errno.ESTALE:
                raise mopstest.Failed(f"drift: {e}") from e
        finally:
            os.close(fd)
        expect_errno(errno.EIO, at / "big/b.bin")
        if (at / "big/c.bin").read_bytes() != (top / "big/c.bin").read_bytes():
            raise mopstest.Failed("a sound file suffers with the others")
    with env.mount("ext@1.0.0", env={"AWS_SECRET_ACCESS_KEY": "canary-wrong", "MOPS_CACHE_DIR": str(env.dir("c2"))}) as at:
        expect_errno(errno.EACCES, at / "big/c.bin")


def an_upload_killed_and_gone_on_with(env):
    server, s3 = stores.start_s3(env)
    top = env.fresh("src")
    (top / ".mops-bundle.yaml").write_text(BUNDLE.format(storage="s3://bucket/data"))
    mopstest.write_random(top / "big/huge.bin", 100 * MIB, "huge")
    key = key_of(top / "big/huge.bin")
    p = env.start(mopstest.MOPS, "push", top, "--limit-rate", "40MB")
    mopstest.wait_for("three parts", lambda: any(n >= 3 for n in s3.parts("bucket", key)), 60)
    p.kill()
    p.wait()
    before = s3.parts("bucket", key)[-1]
    env.mops("push", top)
    if s3.uploads("bucket"):
        raise mopstest.Failed("the broken upload was not gone on with")
    if before < 3 or hashlib.sha256(s3.get("bucket", key)).hexdigest() != mopstest.sha256_file(top / "big/huge.bin"):
        raise mopstest.Failed("other bytes are at the store")


def no_secret_shows(env):
    server, s3 = stores.start_s3(env)
    top = make_folder(env, "s3://bucket/data/")
    p = env.mops("push", top, "-vvv")
    q = env.mops("verify", "ext@1.0.0", "-vvv")
    env.vars["AWS_SECRET_ACCESS_KEY"] = "canary-other"
    r = env.mops("verify", "ext@1.0.0", "-vvv", code=3)
    for out in (p, q, r):
        for canary in (server["secret"], "canary-other", "Signature="):
            if canary.encode() in out.stdout + out.stderr:
                raise mopstest.Failed(f"'{canary}' in what was printed")
    slow = env.start(mopstest.MOPS, "verify", "ext@1.0.0", "--deep", "--limit-rate", "1MB")
    try:
        proc = f"/proc/{slow.pid}/"
        mopstest.wait_for("the program", lambda: "Max core file size        0  " in open(proc + "limits").read())
        if b"canary" in open(proc + "cmdline", "rb").read():
            raise mopstest.Failed("a secret among the arguments")
    finally:
        mopstest.terminate(slow)
    for at, _, files in os.walk(env.cache()):
        for name in files:
            with open(os.path.join(at, name), "rb") as f:
                if server["secret"].encode() in f.read():
                    raise mopstest.Failed(f"a secret in {at}/{name}")


def blobs_of_azure(env):
    server, azure = stores.start_azure(env)
    top = make_folder(env, "az://mopstest/container/data/")
    env.mops("push", top)
    want = without_bundle_file(mopstest.snapshot(top))
    env.vars["AZURE_STORAGE_CONNECTION_STRING"] = (
        f"AccountName=mopstest;SharedAccessSignature={azure.sas('container', 'rl')};BlobEndpoint={azure.endpoint()}")
    with env.mount("ext@1.0.0") as at:
        mopstest.same(mopstest.snapshot(at), want, "mount and source")
    report = env.mops_json("verify", "ext@1.0.0", "--deep")
    if report["externals_hashed"] != 2:
        raise mopstest.Failed(f"verify: {report}")
    p = env.mops("verify", "ext@1.0.0", "--deep", "-vvv")
    if b"sig=" in p.stderr + p.stdout or b"canary" in p.stderr + p.stdout:
        raise mopstest.Failed("a signature was printed")


def an_archived_blob(env):
    server, azure = stores.start_azure(env)
    top = make_folder(env, "az://mopstest/container/data/")
    env.mops("push", top)
    azure.set_tier("container", key_of(top / "big/b.bin"), "Archive")
    env.mops("verify", "ext@1.0.0")
    p = env.mops("cat", "ext@1.0.0", "big/b.bin", code=3)
    if b"archived" not in p.stderr or b"set-tier" not in p.stderr:
        raise mopstest.Failed(f"the error does not help: {p.stderr}")
    with env.mount("ext@1.0.0") as at:
        expect_errno(errno.EIO, at / "big/b.bin")
        if (at / "big/a.bin").read_bytes() != (top / "big/a.bin").read_bytes():
            raise mopstest.Failed("a sound file suffers with the other")


MIXED = """\
bundle:
  name: mixed
  version: 1.0.0
external_storage:
  - pattern: "s3/**"
    storage: "s3://bucket/data"
  - pattern: "az/**"
    storage: "az://mopstest/container/data"
  - pattern: "gs/**"
    storage: "gs://bucket/data"
"""


def read_all(path):
    """The whole file, or the errno of what came instead."""
    try:
        return path.read_bytes()
    except OSError as e:
        return errno.errorcode[e.errno]


def expect_reads(at, top, **wrong):
    """What each store's file gives: its bytes unless @wrong says an errno."""
    for store in ("s3", "az", "gs", "reg"):
        got = read_all(at / store / "f.bin")
        want = wrong.get(store) or (top / store / "f.bin").read_bytes()
        if got != want:
            raise mopstest.Failed(f"{store} with {wrong}: {got if isinstance(got, str) else 'other bytes'}")


def four_places_at_once(env):
    """A file in a registry and one in each store; one after the other drifts,
    is deleted, is forbidden: the others do not notice."""
    _, s3 = stores.start_s3(env)
    _, azure = stores.start_azure(env)
    _, gcs = stores.start_gcs(env)
    registry = mopstest.DockerRegistry(env)
    top = env.fresh("src")
    (top / ".mops-bundle.yaml").write_text(MIXED)
    for store in ("s3", "az", "gs", "reg"):
        mopstest.write_random(top / store / "f.bin", 2 * MIB + 77, store)
    ref = f"{registry.host}/mixed:1"
    env.mops("push", top, "--to", ref)
    keys = {s: key_of(top / s / "f.bin") for s in ("s3", "az", "gs")}
    drift = {"s3": lambda b: s3.put("bucket", keys["s3"], b),
             "az": lambda b: azure.put("container", keys["az"], b),
             "gs": lambda b: gcs.put(keys["gs"], b)}
    delete = {"s3": lambda: s3.delete("bucket", keys["s3"]),
              "az": lambda: azure.delete("container", keys["az"]),
              "gs": lambda: gcs.delete(keys["gs"])}
    forbid = {"s3": {"AWS_SECRET_ACCESS_KEY": "canary-wrong"},
              "az": {"AZURE_STORAGE_CONNECTION_STRING": env.vars["AZURE_STORAGE_CONNECTION_STRING"].replace(
                  "AccountKey=", "AccountKey=AAAA")},
              "gs": {"GOOGLE_APPLICATION_CREDENTIALS": ""}}

    def mount(**extra):
        env.new_cache()
        return env.mount(ref, env={"MOPS_IO_TIMEOUT": "5s", **extra})

    with mount() as at:
        expect_reads(at, top)
    for store in ("s3", "az", "gs"):
        body = (top / store / "f.bin").read_bytes()
        with mount(**forbid[store]) as at:
            expect_reads(at, top, **{store: "EACCES"})
        drift[store](body[::-1])
        with mount() as at:
            expect_reads(at, top, **{store: "ESTALE"})
        delete[store]()
        with mount() as at:
            expect_reads(at, top, **{store: "EIO"})
        drift[store](body)
    with mount() as at:
        expect_reads(at, top)


def replaced_under_an_open_file(env):
    """The object changes while it is half read: what was read stands, the rest
    is ESTALE, and no byte of the new object comes out."""
    _, s3 = stores.start_s3(env)
    _, azure = stores.start_azure(env)
    _, gcs = stores.start_gcs(env)
    top = env.fresh("src")
    (top / ".mops-bundle.yaml").write_text(MIXED)
    for store in ("s3", "az", "gs"):
        mopstest.write_random(top / store / "f.bin", 64 * MIB, store)
    env.mops("push", top)
    with env.mount("mixed@1.0.0", env={"MOPS_CACHE_DIR": str(env.dir("cold")), "MOPS_LIMIT_RATE": "4MB"}) as at:
        for store, replace in (("s3", lambda k, b: s3.put("bucket", k, b)),
                               ("az", lambda k, b: azure.put("container", k, b)),
                               ("gs", gcs.put)):
            want = (top / store / "f.bin").read_bytes()
            fd = os.open(at / store / "f.bin", os.O_RDONLY)
            try:
                if os.pread(fd, 4096, 0) != want[:4096]:
                    raise mopstest.Failed("wrong bytes")
                replace(key_of(top / store / "f.bin"), want[:60 * MIB] + want[:4 * MIB])
                os.pread(fd, 4096, 62 * MIB)
                raise mopstest.Failed(f"{store}: the end was read")
            except OSError as e:
                if e.errno != errno.ESTALE:
                    raise mopstest.Failed(f"{store}: {e}") from e
            finally:
                os.close(fd)


mopstest.run([push_mount_pull_and_verify, a_file_that_is_there_already, a_bucket_whose_readers_pay, what_is_wrong_at_the_store,
              an_upload_killed_and_gone_on_with, no_secret_shows, blobs_of_azure, an_archived_blob,
              four_places_at_once, replaced_under_an_open_file])
