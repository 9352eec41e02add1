#!/usr/bin/env python3
"""An S3 that checks signatures: OpenStack Swift with its s3api, in one process,
on free loopback ports, with a store of its own.

  s3.py [--region NAME]

Prints "ready port=PORT dir=FOLDER key=ID secret=SECRET region=NAME bucket=NAME"
once it answers and has that bucket, or "skip REASON". Virtual hosts are BUCKET.s3.localhost. Ends, and
removes the folder, when its standard input does.

Access keys are Swift's own user names, account and user with a colon between.
"""
import argparse
import os
import shutil
import signal
import sys
import tempfile
import threading
import types

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "..", "lib"))
import s3client  # noqa: E402

KEY, SECRET, BUCKET = "test:alice", "canary-s3-secret", "bucket"
KINDS = ("account", "container", "object")
HASH_CONF = "[swift-hash]\nswift_hash_path_suffix = mops\n\n" \
            "[storage-policy:0]\nname = only\ndefault = yes\n"
FILTERS = {
    "s3api": "location = %(region)s\nstorage_domain = s3.localhost\n"
             "check_bucket_owner = false\nmin_segment_size = 1\n",
    "tempauth": "user_test_alice = %(secret)s .admin\n"
                "user_test_bob = bobs-secret\n",
}
PIPELINE = ("catch_errors gatekeeper memory listing_formats bulk s3api tempauth slo "
            "dlo versioned_writes proxy-server")


def skip(why):
    print("skip", why, flush=True)
    os._exit(0)


def listeners(eventlet, n):
    """Sockets on free ports, bound at once so that nobody else gets them."""
    socks = [eventlet.listen(("127.0.0.1", 0)) for _ in range(n)]
    return socks, [s.getsockname()[1] for s in socks]


def write(path, text):
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)


def write_configs(d, region):
    write(d + "/swift.conf", HASH_CONF)
    for kind in KINDS:
        write(f"{d}/{kind}.conf",
              f"[DEFAULT]\nswift_dir = {d}\ndevices = {d}/srv\n"
              f"mount_check = false\nlog_level = ERROR\n\n"
              f"[pipeline:main]\npipeline = {kind}-server\n\n"
              f"[app:{kind}-server]\nuse = egg:swift#{kind}\n")
    text = f"[DEFAULT]\nswift_dir = {d}\nlog_level = ERROR\n\n" \
           f"[pipeline:main]\npipeline = {PIPELINE}\n\n" \
           "[app:proxy-server]\nuse = egg:swift#proxy\n" \
           "account_autocreate = true\nallow_account_management = true\n\n"
    for name in PIPELINE.split()[:-1]:
        use = "paste.filter_factory = memory:filter_factory" \
            if name == "memory" else f"use = egg:swift#{name}"
        text += f"[filter:{name}]\n{use}\n" + \
            FILTERS.get(name, "") % {"region": region, "secret": SECRET} + "\n"
    write(d + "/proxy.conf", text)


def use_folder(d):
    """Swift looks for its configuration in /etc unless told otherwise."""
    from swift.common import storage_policy, utils
    modules = [utils, storage_policy]
    try:
        import swift.common.utils.config as newer
        modules.append(newer)
    except ImportError:
        pass
    for m in modules:
        m.SWIFT_CONF_FILE = d + "/swift.conf"
    storage_policy.reload_storage_policies()
    utils.validate_hash_conf()


def write_ring(d, kind, port):
    from swift.common.ring import RingBuilder
    ring = RingBuilder(4, 1, 0)
    ring.add_dev({"id": 0, "region": 1, "zone": 1, "weight": 1, "device": "d1",
                  "ip": "127.0.0.1", "port": port,
                  "replication_ip": "127.0.0.1", "replication_port": port})
    ring.rebalance()
    ring.get_ring().save(f"{d}/{kind}.ring.gz")


class Memory:
    """What memcached is to Swift, in this process: the s3api will not do
    without. Nothing is kept for long, and nothing has to be."""

    def __init__(self):
        self.data = {}

    def get(self, key, *_, **__):
        return self.data.get(key)

    def set(self, key, value, *_, **__):
        self.data[key] = value

    def delete(self, key, *_, **__):
        self.data.pop(key, None)

    def incr(self, key, delta=1, *_, **__):
        self.data[key] = max(0, self.data.get(key, 0) + delta)
        return self.data[key]

    def decr(self, key, delta=1, *_, **__):
        return self.incr(key, -delta)

    def get_multi(self, keys, *_, **__):
        return [self.data.get(k) for k in keys]

    def set_multi(self, mapping, *_, **__):
        self.data.update(mapping)


def memory_filter(_global_conf, **_conf):
    cache = Memory()

    def make(app):
        def call(env, start_response):
            env["swift.cache"] = cache
            return app(env, start_response)
        return call
    return make


class Silent:
    def write(self, *_):
        pass


def end_with_stdin(d):
    sys.stdin.buffer.raw.read()
    shutil.rmtree(d, ignore_errors=True)
    os._exit(0)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--region", default="us-east-1")
    args = p.parse_args()
    try:
        import eventlet
        import swift  # noqa: F401
    except ImportError as e:
        skip(f"python3-swift is not installed ({e})")
    eventlet.monkey_patch(thread=False)
    from eventlet import wsgi
    from swift.common.wsgi import SwiftHttpProtocol, loadapp

    # Swift loads its filters by the names of modules.
    module = types.ModuleType("memory")
    module.filter_factory = memory_filter
    sys.modules["memory"] = module

    d = tempfile.mkdtemp(prefix="mops-s3-")
    os.makedirs(d + "/srv/d1")
    try:
        os.setxattr(d + "/srv", "user.test", b"1")
    except OSError as e:
        shutil.rmtree(d)
        skip(f"no extended attributes in {d}: {e.strerror}")

    def stop(*_):
        shutil.rmtree(d, ignore_errors=True)
        os._exit(0)
    signal.signal(signal.SIGTERM, stop)
    write_configs(d, args.region)
    use_folder(d)
    socks, ports = listeners(eventlet, 4)
    for kind, sock, port in zip(KINDS, socks, ports):
        write_ring(d, kind, port)
        eventlet.spawn(wsgi.server, sock, loadapp(f"{d}/{kind}.conf"),
                       Silent(), protocol=SwiftHttpProtocol, log_output=False)
    threading.Thread(target=end_with_stdin, args=(d,), daemon=True).start()
    proxy = eventlet.spawn(
        wsgi.server, socks[3], loadapp(d + "/proxy.conf"), Silent(),
        protocol=SwiftHttpProtocol, log_output=False)
    s3client.S3(ports[3], KEY, SECRET, args.region).make_bucket(BUCKET)
    print(f"ready port={ports[3]} dir={d} key={KEY} secret={SECRET} "
          f"region={args.region} bucket={BUCKET}", flush=True)
    proxy.wait()


main()
