#!/usr/bin/env python3
"""docker-registry on a free loopback port, with a store of its own.

  registry.py [--user NAME --password WORD] [--tls] [--no-delete]

Prints "ready host=127.0.0.1:PORT dir=FOLDER [ca=FILE]" once it answers, or
"skip REASON". Ends, and removes the folder, when its standard input does.
"""
import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

CONFIG = """\
version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage:
  filesystem: {rootdirectory: %(dir)s/data}
  delete: {enabled: %(delete)s}
http:
  addr: 127.0.0.1:%(port)d
%(tls)s%(auth)s"""


def skip(why):
    print("skip", why, flush=True)
    sys.exit(0)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def run(*argv, **kw):
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL, **kw)


def make_certificate(d):
    """A CA and a certificate for localhost signed by it."""
    run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes",
        "-keyout", d + "/ca.key", "-out", d + "/ca.pem", "-subj",
        "/CN=test-ca", "-days", "2", "-addext",
        "basicConstraints=critical,CA:TRUE")
    run("openssl", "req", "-newkey", "rsa:2048", "-nodes", "-keyout",
        d + "/srv.key", "-out", d + "/srv.csr", "-subj", "/CN=localhost")
    with open(d + "/san", "w") as f:
        f.write("subjectAltName=DNS:localhost,IP:127.0.0.1")
    run("openssl", "x509", "-req", "-in", d + "/srv.csr", "-CA",
        d + "/ca.pem", "-CAkey", d + "/ca.key", "-CAcreateserial", "-days",
        "2", "-extfile", d + "/san", "-out", d + "/srv.pem")


def write_config(args, d, port):
    tls = auth = ""
    if args.tls:
        make_certificate(d)
        tls = "  tls: {certificate: %s/srv.pem, key: %s/srv.key}\n" % (d, d)
    if args.user:
        line = subprocess.run(
            ["htpasswd", "-Bbn", args.user, args.password], check=True,
            capture_output=True, text=True).stdout
        with open(d + "/htpasswd", "w") as f:
            f.write(line.strip() + "\n")
        auth = "auth: {htpasswd: {realm: test, path: %s/htpasswd}}\n" % d
    with open(d + "/config.yml", "w") as f:
        f.write(CONFIG % {"dir": d, "port": port, "tls": tls, "auth": auth,
                          "delete": "false" if args.no_delete else "true"})


def wait_for(port, child):
    for _ in range(200):
        if child.poll() is not None:
            return False
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return True
        except OSError:
            time.sleep(0.05)
    return False


def start(args, d):
    for _ in range(5):  # another program may take the port first
        port = free_port()
        write_config(args, d, port)
        with open(d + "/log", "a") as log:
            child = subprocess.Popen(
                ["docker-registry", "serve", d + "/config.yml"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={"PATH": os.environ["PATH"], "HOME": d})
        if wait_for(port, child):
            return child, port
        child.kill()
        child.wait()
    return None, 0


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--user")
    p.add_argument("--password", default="")
    p.add_argument("--tls", action="store_true")
    p.add_argument("--no-delete", action="store_true")
    args = p.parse_args()
    for program in ["docker-registry", "openssl"] + ["htpasswd"] * bool(
            args.user):
        if not shutil.which(program):
            skip("no " + program)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    d = tempfile.mkdtemp(prefix="mops-registry-")
    child = None
    try:
        child, port = start(args, d)
        if not child:
            skip("docker-registry does not start: " +
                 open(d + "/log").read()[-200:].replace("\n", " "))
        print("ready host=127.0.0.1:%d dir=%s%s" %
              (port, d, " ca=%s/ca.pem" % d if args.tls else ""), flush=True)
        sys.stdin.read()
    finally:
        if child:
            child.kill()
            child.wait()
        shutil.rmtree(d, ignore_errors=True)


main()
