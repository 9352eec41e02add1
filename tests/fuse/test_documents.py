#!/usr/bin/python3
"""The shell examples of the documents are run as they stand.

MOPS_DOCUMENTS is the folder that has README.md, docs/ and examples/ (the source); without
MOPS_BUILD the programs are those that are installed.
"""
import contextlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lib"))
import mopstest  # noqa: E402
import pages  # noqa: E402
from mopstest import DockerRegistry, Failed  # noqa: E402

TOP = pathlib.Path(os.environ.get("MOPS_DOCUMENTS", HERE.parents[1]))
INSIDE = "MOPS_TEST_NAMESPACE"
USER, WORD = "alice", "won:der"
# Blocks that no test can run as they stand; what they name is looked at.
EXCEPTIONS = 12


def mounted():
    with open("/proc/self/mountinfo", encoding="utf-8") as f:
        return [line.split()[4] for line in f if " fuse.mopsfs " in line]


def enter_namespace():
    """Run this script again where mounts, ports and names of hosts are its own."""
    if os.geteuid() != 0:
        return
    if INSIDE not in os.environ:
        if subprocess.run(["unshare", "--mount", "--net", "true"], check=False).returncode == 0:
            os.execvpe("unshare", ["unshare", "--mount", "--net", sys.executable, *sys.argv], {**os.environ, INSIDE: "1"})
        return
    for point in mounted():  # by others, which may be dead
        subprocess.run(["umount", "-l", point], check=False)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for folder in ("/mnt", "/run"):
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], check=True)
    hosts = pathlib.Path("/run/hosts")
    hosts.write_text("127.0.0.1 localhost registry.example\n127.0.0.2 backup.example\n")
    subprocess.run(["mount", "--bind", hosts, "/etc/hosts"], check=True)


def world(env):
    """A home, a folder with the examples, and the registries that the documents speak of."""
    mopstest.need_root()
    mopstest.need_fuse()
    if INSIDE not in os.environ:
        raise mopstest.Skip("no namespaces of its own")
    cwd = env.dir("here")
    shutil.copytree(TOP / "examples", cwd / "examples")
    if "MOPS_BUILD" in os.environ:
        env.vars["PATH"] = f"{mopstest.MOPS.parent}:{mopstest.MOPSFS.parent}:{env.vars['PATH']}"
    for name in ("MOPS_CACHE_DIR", "DOCKER_CONFIG", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"):
        del env.vars[name]
    registries(env)
    return cwd


def registries(env):
    """registry.example, which wants a login and has nothing yet, and backup.example."""
    ours = DockerRegistry(env, USER, WORD, tls=True, at="127.0.0.1:443")
    backup = DockerRegistry(env, tls=True, at="127.0.0.2:443")
    both = env.base / "authorities.pem"
    both.write_text("".join((r.dir / "ca.pem").read_text() for r in (ours, backup)))
    env.vars["MOPS_CA_FILE"] = str(both)
    (env.base / "home/.registry-password").write_text(WORD + "\n")


@contextlib.contextmanager
def a_job_of_slurm(env, cwd):
    """Between prolog and epilog."""
    env.log_in("registry.example", USER, WORD)
    env.run("mops", "push", "examples/epi-sir", "--to", "registry.example/models/epi-sir@1.3.2", cwd=cwd)
    job = (TOP / "examples/slurm/README.md").read_text(encoding="utf-8")
    env.vars.update(SLURM_JOB_ID="7", SLURM_JOB_COMMENT=re.search(r"#SBATCH --comment=(\S+)", job)[1],
                    MOPS_BIN=str(pathlib.Path(shutil.which("mopsfs", path=env.vars["PATH"])).parent))
    env.run(TOP / "examples/slurm/prolog")
    try:
        yield
    finally:
        env.run(TOP / "examples/slurm/epilog")


@contextlib.contextmanager
def nothing(env, cwd):
    yield


# What a page needs around it.
PAGES = {
    "README.md": nothing,
    "docs/quick-start.md": nothing,
    "docs/guide.md": nothing,
    "docs/faq.md": nothing,
    "examples/prometheus/README.md": nothing,
    "examples/slurm/README.md": a_job_of_slurm,
    "examples/training/README.md": nothing,
}


def test_of(page):
    def play(env):
        cwd = world(env)
        try:
            with PAGES[page](env, cwd):
                n = pages.play(env, TOP / page, cwd)
            if not n or mounted():
                raise Failed(f"{n} blocks were run; left mounted: {mounted()}")
        finally:
            env.mounts += mounted()
        print(f"# {page}: {n} blocks", flush=True)
    play.__name__ = page
    return play


def every_page():
    return [*TOP.glob("*.md"), *TOP.glob("docs/*.md"), *TOP.glob("examples/**/*.md")]


def links_lead_somewhere(env):
    """A file, and a heading of it by the name that it gets on a page."""
    flaws, n = [], 0
    for page in every_page():
        for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
            name, _, heading = link.partition("#")
            to = page.parent / name if name else page
            n += 1
            if ":" in name:
                continue
            text = to.read_text(encoding="utf-8") if to.is_file() else ""
            names = [re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in re.findall(r"^#+ (.*)$", text, re.M)]
            flaws += [f"{page.name}: {link}"] * (not to.exists() or bool(heading) and heading not in names)
    if flaws or n < 50:
        raise Failed("\n".join([*flaws, f"{n} links"]))


def no_block_is_left_out(env):
    """What is not run says why, is shell, and names files that are there."""
    excepted = []
    for page in every_page():
        for block in pages.blocks(page):
            if block.why:
                excepted.append(block)
            elif str(page.relative_to(TOP)) not in PAGES:
                raise Failed(f"{block.where} is not run")
    for block in excepted:
        text = "\n".join(block.lines)
        env.run("bash", "-n", "-c", text)
        for word in re.findall(r"(?<!\S)(?:\./)?((?:scripts|bench|examples)/[\w./-]+)", text):
            if not (TOP / word).exists():
                raise Failed(f"{block.where} names {word}")
    if len(excepted) != EXCEPTIONS:
        raise Failed(f"{len(excepted)} are not run: {[b.where for b in excepted]}")


def the_example_runs_in_both_roles(env):
    cwd = world(env)
    env.run("mops", "push", "examples/epi-sir", cwd=cwd)
    for role, dots in (("runtime", 0), ("default", 120)):
        with env.mount("epi-sir@1.3.2", "--role", role) as at:
            if (at / "data").exists() != bool(dots):
                raise Failed(f"{role}: {sorted(os.listdir(at))}")
            said = [env.run("/usr/bin/python3", at / "src" / name).stdout.decode() for name in ("run.py", "plot.py")]
        if said[0] != "peak on day 36: 40760 infected\n" or said[1].count("<circle") != dots or \
                xml.etree.ElementTree.fromstring(said[1]).find("{*}polyline") is None:
            raise Failed(f"{role}: {[s[:200] for s in said]}")


if __name__ == "__main__":
    enter_namespace()
    mopstest.run([links_lead_somewhere, no_block_is_left_out, the_example_runs_in_both_roles, *map(test_of, PAGES)])
