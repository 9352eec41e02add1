#!/usr/bin/python3
"""What `meson install` puts where, and that it works from there."""
import json
import os
import pathlib
import re
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
import mopstest
from mopstest import Failed

SOURCE = pathlib.Path(os.environ["MOPS_SOURCE_ROOT"])
EXAMPLE = SOURCE / "examples/epi-sir"


def meson(env, *args):
    return env.run("meson", *args, timeout=600).stdout.decode()


def options(env, build):
    return {o["name"]: o["value"] for o in json.loads(meson(env, "introspect", build, "--buildoptions"))}


def wanted(o):
    """Path below the prefix, or from the root → kind: "program", "file", or where a link leads."""
    data = o["datadir"]
    out = {f"{o['bindir']}/mops": "program", f"{o['bindir']}/mopsfs": "program",
           f"{o['mount_helper_dir'] or o['sbindir']}/mount.mopsfs": os.path.join(o["prefix"], o["bindir"], "mopsfs"),
           f"{data}/bash-completion/completions/mops": "file", f"{data}/bash-completion/completions/mopsfs": "mops",
           f"{o['zsh_completion_dir'] or data + '/zsh/site-functions'}/_mops": "file",
           f"{data}/fish/vendor_completions.d/mops.fish": "file", f"{data}/fish/vendor_completions.d/mopsfs.fish": "mops.fish"}
    if o["systemd_unit_dir"] != "no":
        out[(o["systemd_unit_dir"] or "lib/systemd/system") + "/mopsfs@.service"] = "file"
    if o["man"]:
        for page in (SOURCE / "man").glob("*.scd"):
            out[f"{o['mandir']}/man{page.stem[-1]}/{page.stem}"] = "file"
    return out


def installs_its_own_and_nothing_else(env):
    """Nor the libfuse that is linked into it: another program's build would find it."""
    o = options(env, mopstest.BUILD)
    top = env.fresh("dest")
    meson(env, "install", "-C", mopstest.BUILD, "--no-rebuild", "--destdir", top)
    got = {str(p)[len(str(top)):] for p in top.rglob("*") if p.is_symlink() or not p.is_dir()}
    want = {os.path.join(o["prefix"], p): kind for p, kind in wanted(o).items()}
    if got != set(want):
        raise Failed(f"only installed: {sorted(got - set(want))}, not installed: {sorted(set(want) - got)}")
    bindir = os.path.join(o["prefix"], o["bindir"])
    for path, kind in want.items():
        at = top / path[1:]
        if kind not in ("program", "file"):
            if os.readlink(at) != kind:
                raise Failed(f"{path} leads to {os.readlink(at)}")
        elif (at.stat().st_mode & 0o777) != (0o755 if kind == "program" else 0o644):
            raise Failed(f"{path} has mode {at.stat().st_mode:o}")
    env.vars["PATH"] = f"{top}{bindir}:{env.vars['PATH']}"
    env.run("mops", "push", EXAMPLE)
    env.run("mops", "materialize", "epi-sir@1.3.2", env.base / "work")
    if (env.base / "work/data/cases.csv").read_bytes() != (EXAMPLE / "data/cases.csv").read_bytes():
        raise Failed("another file came back")
    env.run("mopsfs", "version")


def any_prefix(env):
    """Configured only: where things would go, and what they say of each other."""
    build = env.base / "build"
    meson(env, "setup", build, SOURCE, "--prefix=/opt/of mine", "-Dtests=false", "-Dbench=false",
          "-Dbindir=programs", "-Dmount_helper_dir=/sbin", "-Dsystemd_unit_dir=/etc/systemd/system", "-Dzsh_completion_dir=/etc/zsh",
          # The system's, if there is one: nothing is unpacked into the source folder.
          *(["--wrap-mode=nofallback"] if subprocess.run(["pkg-config", "--exists", "fuse3"], check=False).returncode == 0
            else []))
    plan = json.loads(meson(env, "introspect", build, "--installed"))
    got = {os.path.relpath(p, "/opt/of mine") if p.startswith("/opt") else p for p in plan.values()}
    o = options(env, build)
    want = {os.path.relpath(p, "/opt/of mine") if p.startswith("/opt") else p for p in wanted(o)}
    if got != want:
        raise Failed(f"only planned: {sorted(got - want)}, not planned: {sorted(want - got)}")
    service = (build / "fs/mopsfs@.service").read_text()
    called = set(re.findall(r'^Exec(?:Start|Stop)="(.*mopsfs)" ', service, re.M))
    if called != {"/opt/of mine/programs/mopsfs"}:
        raise Failed(f"the service calls {called}")


mopstest.run([installs_its_own_and_nothing_else, any_prefix])
