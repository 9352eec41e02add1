#!/usr/bin/env python3
"""tests/lib/mopstest.py's docker-registry for tests in C.

  registry.py [--user NAME --password WORD [--tokens]] [--tls [--clients]]

With --clients FOLDER/client.pem and client.key must be shown. Prints
"ready host=127.0.0.1:PORT dir=FOLDER [ca=FILE]" once it answers, or
"skip REASON". Ends, and removes the folder, when its standard input does.
"""
import argparse
import pathlib
import signal
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from mopstest import DockerRegistry, Env, Failed, Skip  # noqa: E402


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--user")
    p.add_argument("--password", default="")
    p.add_argument("--tokens", action="store_true")
    p.add_argument("--tls", action="store_true")
    p.add_argument("--clients", action="store_true")
    args = p.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with tempfile.TemporaryDirectory(prefix="mops-registry-", ignore_cleanup_errors=True) as folder:
        env = Env(folder)
        try:
            reg = DockerRegistry(env, args.user, args.password, tls=args.tls, clients=args.clients,
                                 tokens={} if args.tokens else None)
            ca = f" ca={reg.dir}/ca.pem" if args.tls else ""
            print(f"ready host={reg.host} dir={reg.dir}{ca}", flush=True)
            sys.stdin.read()
        except (Skip, Failed) as e:
            print("skip", e, flush=True)
        finally:
            env.close()


main()
