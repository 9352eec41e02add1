#!/usr/bin/env python3
"""TLS before a server on this machine that speaks none, with a certificate of
an authority of its own.

  tls.py --to PORT

Prints "ready port=PORT dir=FOLDER"; the authority's certificate is ca.pem there.
Ends when its standard input does.
"""
import argparse
import asyncio
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import threading


def make_certificates(d):
    def openssl(*argv):
        subprocess.run(["openssl", *argv], check=True, cwd=d, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-subj",
            "/CN=tls-ca", "-days", "2", "-addext", "basicConstraints=critical,CA:TRUE")
    with open(os.path.join(d, "san"), "w", encoding="ascii") as f:
        f.write("subjectAltName=DNS:localhost,IP:127.0.0.1")
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "srv.key", "-out", "srv.csr", "-subj", "/CN=localhost")
    openssl("x509", "-req", "-in", "srv.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
            "-extfile", "san", "-out", "srv.pem")


async def copy(reader, writer):
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def serve(args, d):
    async def one(reader, writer):
        try:
            there = await asyncio.open_connection("127.0.0.1", args.to)
        except OSError:
            writer.close()
            return
        await asyncio.gather(copy(reader, there[1]), copy(there[0], writer))

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(os.path.join(d, "srv.pem"), os.path.join(d, "srv.key"))
    server = await asyncio.start_server(one, "127.0.0.1", 0, ssl=context)
    print(f"ready port={server.sockets[0].getsockname()[1]} dir={d}", flush=True)
    await server.serve_forever()


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--to", type=int, required=True)
    args = p.parse_args()
    d = tempfile.mkdtemp(prefix="mops-tls-")
    make_certificates(d)
    threading.Thread(target=lambda: asyncio.run(serve(args, d)), daemon=True).start()
    sys.stdin.read()
    shutil.rmtree(d, ignore_errors=True)
    os._exit(0)  # whatever the loop still does


main()
