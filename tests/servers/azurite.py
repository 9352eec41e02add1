#!/usr/bin/env python3
"""Azurite, the emulator of Azure Blob Storage, on a free loopback port; it keeps
everything in memory and checks keys and signatures.

  azurite.py [--oauth]

--oauth: over TLS, accepting bearer tokens as well. Prints "ready port=PORT
account=NAME key=BASE64 container=NAME [ca=FILE] dir=FOLDER" once it answers and
has that container, or "skip REASON". Ends when its standard input does.

scripts/install-azurite puts it where this looks: the folder MOPS_AZURITE, else
~/.cache/mops-tests/azurite.
"""
import argparse
import base64
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "..", "lib"))
from azureclient import Azure  # noqa: E402

ACCOUNT, CONTAINER = "mopstest", "container"
KEY = base64.b64encode(b"canary-azure-key-" * 4).decode()


def skip(why):
    print("skip", why, flush=True)
    sys.exit(0)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def make_certificate(d):
    """One that is its own authority, for localhost."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days",
         "2", "-subj", "/CN=localhost", "-addext",
         "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout",
         d + "/srv.key", "-out", d + "/srv.pem"],
        check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def wait_for(port, child):
    for _ in range(400):
        if child.poll() is not None:
            return False
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return True
        except OSError:
            time.sleep(0.05)
    return False


def start(args, d, program):
    for _ in range(5):  # another program may take the port first
        port = free_port()
        argv = ["node", program, "--blobHost", "127.0.0.1", "--blobPort",
                str(port), "--inMemoryPersistence", "--silent",
                "--disableTelemetry"]
        if args.oauth:
            argv += ["--oauth", "basic", "--cert", d + "/srv.pem", "--key",
                     d + "/srv.key"]
        with open(d + "/log", "a") as log:
            child = subprocess.Popen(
                argv, cwd=d, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={"PATH": os.environ["PATH"], "HOME": d,
                     "AZURITE_ACCOUNTS": f"{ACCOUNT}:{KEY}"})
        if wait_for(port, child):
            return child, port
        child.kill()
        child.wait()
    return None, 0


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--oauth", action="store_true")
    args = p.parse_args()
    top = os.environ.get("MOPS_AZURITE") or os.path.expanduser(
        "~/.cache/mops-tests/azurite")
    program = top + "/node_modules/azurite/dist/src/blob/main.js"
    if not os.path.exists(program):
        skip("azurite is not installed (scripts/install-azurite)")
    if not shutil.which("node"):
        skip("no node")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    d = tempfile.mkdtemp(prefix="mops-azurite-")
    child = None
    try:
        if args.oauth:
            make_certificate(d)
        child, port = start(args, d, program)
        if not child:
            skip("azurite does not start: " +
                 open(d + "/log").read()[-200:].replace("\n", " "))
        ca = d + "/srv.pem" if args.oauth else None
        Azure(port, ACCOUNT, KEY, ca).make_container(CONTAINER)
        print(f"ready port={port} account={ACCOUNT} key={KEY} "
              f"container={CONTAINER} dir={d}" + (f" ca={ca}" if ca else ""),
              flush=True)
        sys.stdin.read()
    finally:
        if child:
            child.kill()
            child.wait()
        shutil.rmtree(d, ignore_errors=True)


main()
