#!/usr/bin/python3
"""The unit that is installed, and the examples for systemd and Slurm, do what they say."""
import configparser
import os
import pathlib
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
import mopstest  # noqa: E402
from mopstest import BUILD, MOPSFS, Failed, Skip, is_mounted  # noqa: E402

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples"
UNIT = "mopsfs@.service"
GENERATOR = pathlib.Path("/usr/lib/systemd/system-generators/systemd-fstab-generator")
INSIDE = "MOPS_TEST_NAMESPACE"


def unit_here(env):
    """The unit, of the program under test: its folder, and its sections."""
    text = (BUILD / "fs" / UNIT).read_text()
    start = next(line for line in text.splitlines() if line.startswith("ExecStart="))
    installed = shlex.split(start.partition("=")[2])[0]
    if pathlib.Path(installed).name != "mopsfs" or not installed.startswith("/"):
        raise Failed(f"ExecStart runs '{installed}'")
    folder = env.fresh("units")
    (folder / UNIT).write_text(text.replace(installed, str(MOPSFS)))
    ini = configparser.ConfigParser(interpolation=None, strict=True)
    ini.optionxform = str
    ini.read(folder / UNIT)
    return folder, ini


def verified(*units):
    analyze = shutil.which("systemd-analyze")
    if not analyze:
        raise Skip("systemd-analyze is not installed")
    p = subprocess.run([analyze, "verify", "--man=no", *map(str, units)], check=False, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, timeout=60)
    said = [line for line in p.stdout.decode().splitlines() if any(u.name in line for u in units)]
    if p.returncode != 0 or said:
        raise Failed(p.stdout.decode())


def systemd_finds_no_fault_in_the_unit(env):
    folder, _ = unit_here(env)
    instance = folder / "mopsfs@model.service"
    instance.symlink_to(folder / UNIT)
    verified(instance)
    # What it would say otherwise is heard.
    text = (folder / UNIT).read_text()
    (folder / UNIT).write_text(text.replace("KillMode=mixed", "KillMode=warp").replace(str(MOPSFS), "/missing/mopsfs"))
    try:
        verified(instance)
    except Failed:
        return
    raise Failed("a unit with faults passes")


class Service:
    """A process started as the unit says, by a manager that listens."""

    def __init__(self, env, ini, values):
        self.env, self.ini, self.values = env, ini["Service"], values
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        path = str(env.fresh("run") / "notify")
        self.socket.bind(path)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.socket.settimeout(30)
        env.run(*self.command("ExecStartPre"))
        self.process = env.start(*self.command("ExecStart"), env={"NOTIFY_SOCKET": path}, stderr=subprocess.PIPE)

    def command(self, key):
        def value(word):
            return self.values[word[2:-1]] if word.startswith("${") else word
        return [value(word) for word in shlex.split(self.ini[key])]

    def wait_ready(self):
        said, control, _, _ = self.socket.recvmsg(4096, 256)
        pid = struct.unpack("iii", control[0][2])[0]
        if b"READY=1" not in said.splitlines():
            raise Failed(str(said))
        if pid != self.process.pid and self.ini["NotifyAccess"] == "main":
            raise Failed(f"told by {pid}, which is not the main process")

    def stop(self):
        self.env.run(*self.command("ExecStop"))
        return self.wait()

    def wait(self):
        self.process.communicate(timeout=30)
        return self.process.returncode

    def numbers(self, key):
        return [int(word) for word in self.ini[key].split()]


def bundle(env):
    mopstest.need_root()
    mopstest.need_fuse()
    top = env.fresh("ws")
    (top / "a.txt").write_text("a\n")
    env.push(top, "demo:1.0")
    at = env.base / "models" / "demo"
    env.mounts.append(at)
    return at


def the_service_is_started_when_the_tree_can_be_read(env):
    at = bundle(env)
    _, ini = unit_here(env)
    if ini["Service"]["Type"] != "notify":
        raise Failed("it does not wait")
    for end in ("ExecStop", signal.SIGTERM):
        service = Service(env, ini, {"REFERENCE": "demo@1.0", "FOLDER": str(at), "OPTIONS": ""})
        service.wait_ready()
        if (at / "a.txt").read_text() != "a\n":
            raise Failed("not readable")
        if end == "ExecStop":
            status, good = service.stop(), [0]
        else:
            service.process.send_signal(end)
            status, good = service.wait(), service.numbers("SuccessExitStatus")
        if status not in good or is_mounted(at):
            raise Failed(f"status {status} after {end}")


def a_service_that_cannot_be_is_not_restarted(env):
    at = bundle(env)
    _, ini = unit_here(env)
    for values in ({"REFERENCE": "demo@9.9", "OPTIONS": "ro"}, {"REFERENCE": "demo@1.0", "OPTIONS": "nonsense"},
                   {"REFERENCE": "demo@1.0", "OPTIONS": "role=nope"}):
        service = Service(env, ini, {"FOLDER": str(at), **values})
        if service.wait() not in service.numbers("RestartPreventExitStatus"):
            raise Failed(f"{values}: status {service.process.returncode}")
        service.socket.setblocking(False)
        try:
            raise Failed(f"{values}: told {service.socket.recv(4096)}")
        except BlockingIOError:
            pass


def the_examples_are_lines_that_mount_takes(env):
    at = bundle(env)
    at.mkdir(parents=True)
    helper = env.base / "mount.mopsfs"
    helper.symlink_to(MOPSFS)
    lines = [line.split() for line in (EXAMPLES / "systemd/fstab").read_text().splitlines() if line[0] != "#"]
    if not lines or any(len(words) != 6 or words[2] != "mopsfs" for words in lines):
        raise Failed(str(lines))
    for words in lines:
        env.run(helper, words[0], at, "-f", "-o", words[3])
    conf = dict(line.split("=", 1) for line in (EXAMPLES / "systemd/epi-sir.conf").read_text().splitlines())
    if set(conf) != {"REFERENCE", "FOLDER", "OPTIONS"}:
        raise Failed(str(conf))
    env.run(helper, conf["REFERENCE"], at, "-f", "-o", conf["OPTIONS"])


def systemd_makes_units_of_the_fstab_example(env):
    mopstest.need_root()
    if not GENERATOR.exists():
        raise Skip("there is no systemd-fstab-generator")
    folder = env.fresh("generated")
    p = env.run("unshare", "--mount", "sh", "-c", f"mount --bind '{EXAMPLES}/systemd/fstab' /etc/fstab && "
                f"exec {GENERATOR} '{folder}' '{folder}' '{folder}'")
    units = [folder / f"models-epi\\x2dsir.{kind}" for kind in ("mount", "automount")]
    if not all(u.exists() for u in units):
        raise Failed(f"{p}: {os.listdir(folder)}")
    text = units[0].read_text()
    if "Type=mopsfs" not in text or "TimeoutSec=3min" not in text:
        raise Failed(text)
    verified(*units)


def a_job_of_slurm_finds_its_bundle(env):
    bundle(env)
    other = env.dir("jobs")

    def slurm(script, comment, job):
        env.run(EXAMPLES / "slurm" / script, timeout=60, env={
            "SLURM_JOB_ID": str(job), "SLURM_JOB_COMMENT": comment, "MOPS_PREFIX": "demo@", "MOPS_BIN": str(MOPSFS.parent),
            "MOPS_JOBS": str(other)})
        return other / str(job)

    at = slurm("prolog", "mops=demo@1.0", 7)
    env.mounts.append(at)
    for _ in range(2):
        if (at / "a.txt").read_text() != "a\n":
            raise Failed("not readable")
        slurm("prolog", "mops=demo@1.0", 7)
    with open(at / "a.txt", "rb"):
        slurm("epilog", "mops=demo@1.0", 7)
    if is_mounted(at) or at.exists():
        raise Failed("the epilog left it")
    # Nothing for others, nothing of elsewhere, and a node stays good when a bundle is missing.
    layout = f"mops=oci:{env.vars['XDG_DATA_HOME']}/mops/registry:demo:1.0"
    for comment in ("", "about demo@1.0", layout):
        if slurm("prolog", comment, 8).exists():
            raise Failed(f"something for '{comment}'")
    if is_mounted(slurm("prolog", "mops=demo@9.9", 9)) or slurm("epilog", "mops=demo@9.9", 9).exists():
        raise Failed("something of a bundle that is missing")


mopstest.run([systemd_finds_no_fault_in_the_unit, the_service_is_started_when_the_tree_can_be_read,
              a_service_that_cannot_be_is_not_restarted, the_examples_are_lines_that_mount_takes,
              systemd_makes_units_of_the_fstab_example,
              a_job_of_slurm_finds_its_bundle])
