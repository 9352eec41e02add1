"""A folder on tests/tools/faultfs.c."""
import contextlib
import subprocess

from mopstest import BUILD, Failed, is_mounted, terminate, wait_for


@contextlib.contextmanager
def faulty(env, backing, spec, counts):
    """Yields where @backing is shown with the faults of @spec, KIND:N:SEED; how many there
    were is added to @counts."""
    at = env.fresh("faulty")
    server = env.start(BUILD / "tests/tools/faultfs", backing, at, env={"FAULTFS": spec}, stderr=subprocess.PIPE)
    try:
        wait_for("faultfs", lambda: is_mounted(at) or server.poll() is not None)
        if server.poll() is not None:
            raise Failed("faultfs: " + server.stderr.read().decode())
        yield at
    finally:
        if is_mounted(at):
            subprocess.run(["umount", "-l", at], check=False)
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            terminate(server)
        counts.append(int(server.stderr.read().decode().split(" faults")[0] or 0))
        server.stderr.close()
