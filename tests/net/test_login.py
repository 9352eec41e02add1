#!/usr/bin/python3
"""mops login, logout: tried before it is kept; nothing else in the file changes; no secret is shown."""
import base64
import fcntl
import json
import os
import pathlib
import pty
import re
import signal
import subprocess
import sys
import termios
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from mopstest import MOPS, DockerRegistry, Failed, need_program, need_root, run, terminate, wait_for  # noqa: E402

USER, WORD = "alice", "correct horse:canary"


def check(got, want):
    if got != want:
        raise Failed(f"{got}, not {want}")


def config(env):
    return env.base / "home/.docker/config.json"


def login(env, host, *args, word=WORD, code=0, user=USER):
    """By standard input. Returns standard output; the word is nowhere."""
    p = subprocess.run([str(MOPS), "login", host, "--username", user, "--password-stdin", *args], env=env.vars,
                       input=word.encode() + b"\n", stdout=-1, stderr=-1, timeout=60, check=False)
    if p.returncode != code or word.encode() in p.stdout + p.stderr:
        raise Failed(f"exit {p.returncode}, not {code}: {p.stdout + p.stderr}")
    return p.stdout


def pushes(env, host, code=0):
    top = env.fresh("ws")
    (top / "a").write_text("a")
    env.mops("push", top, "--to", f"{host}/m:1", code=code)


def use(env, reg):
    (env.dir("home/.docker") / "config.json").write_text(json.dumps({"HttpHeaders": {"a": "b"}, "auths": {"x": {}}}))
    pushes(env, reg.host, 3)
    before = config(env).read_bytes()
    login(env, reg.host, word="wrong", code=3)
    error = json.loads(login(env, reg.host, "--json", user="mallory", code=3))
    if "canary" in str(error):
        raise Failed(str(error))
    check(config(env).read_bytes(), before)
    said = json.loads(login(env, reg.host, "--json"))
    check(said, {"checked": True, "file": str(config(env)), "registry": reg.host, "user": USER})
    check(config(env).stat().st_mode & 0o777, 0o600)
    auth = base64.b64encode(f"{USER}:{WORD}".encode()).decode()
    check(json.loads(config(env).read_text()), {"HttpHeaders": {"a": "b"}, "auths": {"x": {}, reg.host: {"auth": auth}}})
    pushes(env, reg.host)
    check(env.mops_json("logout", reg.host), {"file": str(config(env)), "left": False, "registry": reg.host,
                                              "removed": True})
    check(json.loads(config(env).read_text()), {"HttpHeaders": {"a": "b"}, "auths": {"x": {}}})
    check(env.mops_json("logout", reg.host)["removed"], False)
    pushes(env, reg.host, 3)


def by_a_login(env):
    use(env, DockerRegistry(env, USER, WORD))


def by_a_token_service(env):
    use(env, DockerRegistry(env, USER, WORD, tokens={}))


def over_tls(env):
    reg = DockerRegistry(env, USER, WORD, tls=True)
    env.vars["MOPS_PLAIN_HTTP"] = "false"
    login(env, reg.host, code=3)  # nobody vouches for it
    login(env, reg.host, "--ca-file", str(reg.dir / "ca.pem"))


def where_no_login_is_wanted_it_is_not_tried(env):
    reg = DockerRegistry(env)
    check(json.loads(login(env, reg.host, "--json"))["checked"], False)


def of_the_default_registry(env):
    reg = DockerRegistry(env, USER, WORD)
    env.vars["MOPS_REGISTRY"] = f"{reg.host}/team"
    p = subprocess.run([str(MOPS), "login", "-u", USER, "--password-stdin"], env=env.vars, input=WORD.encode(),
                       stdout=-1, timeout=60, check=True)
    if reg.host not in p.stdout.decode():
        raise Failed(p.stdout.decode())
    env.mops("logout")
    check(json.loads(config(env).read_text()), {"auths": {}})


def what_is_no_host_is_not_quoted(env):
    for host in ("https://u:canary@h", "u:canary@h.example", "h.example/team"):
        p = env.mops("login", host, "-u", "x", code=2)
        if b"canary" in p.stdout + p.stderr:
            raise Failed(p.stderr.decode())
    env.mops("login", code=2)  # the default registry is a folder
    env.mops("login", "127.0.0.1:1", "--anonymous", "-u", "x", code=2)
    env.mops("login", "127.0.0.1:1", "--password-stdin", code=2)
    login(env, "127.0.0.1:1", "--offline", code=3)
    login(env, "127.0.0.1:1", word="two\nlines", code=2)
    for host in ("", "h.example:port", "oci:x", "a b", "h.example?x"):
        p = env.mops("login", host, "-u", "x", code=2)  # before anything is asked
        if b"is no registry host" not in p.stderr:
            raise Failed(p.stderr.decode())
    if config(env).exists():
        raise Failed("something was kept")


def with_a_helper(env):
    reg = DockerRegistry(env, USER, WORD)
    bin_dir, kept = env.dir("bin"), env.base / "kept"
    helper = bin_dir / "docker-credential-test"
    helper.write_text(f"""#!/bin/sh
case $1 in
store) cat > {kept};;
get) cat {kept} 2>/dev/null && exit; echo credentials not found in native keychain; exit 1;;
erase) rm {kept};;
esac
""")
    helper.chmod(0o755)
    env.vars["PATH"] = f"{bin_dir}:{env.vars['PATH']}"
    (env.dir("home/.docker") / "config.json").write_text('{"credsStore": "test"}')
    check(json.loads(login(env, reg.host, "--json"))["helper"], "test")
    check(json.loads(config(env).read_text()), {"auths": {reg.host: {}}, "credsStore": "test"})
    check(json.loads(kept.read_text()), {"ServerURL": reg.host, "Username": USER, "Secret": WORD})
    pushes(env, reg.host)
    env.mops("logout", reg.host)
    if kept.exists():
        raise Failed("the helper has it still")
    pushes(env, reg.host, 3)


def another_programs_file_is_left_alone(env):
    auth = env.dir("config/containers") / "auth.json"
    text = json.dumps({"auths": {"h.example": {"auth": "eDp5"}}})
    auth.write_text(text)
    check(env.mops_json("logout", "h.example"), {"file": str(config(env)), "left": True, "registry": "h.example",
                                                 "removed": False})
    check(auth.read_text(), text)
    env.vars["REGISTRY_AUTH_FILE"] = str(auth)
    check(env.mops_json("logout", "h.example")["removed"], True)


def catches_interrupts(pid):
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search("^SigCgt:\t(.*)$", text, re.M)[1], 16) & (1 << (signal.SIGINT - 1))


def another_run_is_waited_for(env):
    text = '{"auths": {"h.example": {"auth": "eDp5"}}}'
    folder = os.open(env.dir("home/.docker"), os.O_RDONLY)
    config(env).write_text(text)
    fcntl.flock(folder, fcntl.LOCK_EX)
    p = env.start(MOPS, "logout", "h.example", stdout=-1, stderr=-1)
    wait_for("signals to be caught", lambda: catches_interrupts(p.pid))
    check(terminate(p, signal.SIGINT), 130)
    p.communicate()
    p = env.start(MOPS, "logout", "h.example", "--json", stdout=-1)
    time.sleep(0.3)
    check(p.poll(), None)
    check(config(env).read_text(), text)
    os.close(folder)
    check(json.loads(p.communicate(timeout=60)[0])["removed"], True)


def a_lock_that_stays_is_not_waited_for_for_ever(env):
    folder = os.open(env.dir("home/.docker"), os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    config(env).write_text('{"auths": {"h.example": {"auth": "eDp5"}}}')
    p = env.mops("logout", "h.example", code=3, timeout=60)
    if b"is locked by another process" not in p.stderr:
        raise Failed(p.stderr.decode())
    os.close(folder)


def traced(env, inject, *args, code):
    """Under strace, one call of which fails, or is the last."""
    need_program("strace")
    return env.run("strace", "-f", "-qq", "-o", "/dev/null", "-e", f"inject={inject}", MOPS, *args, code=code,
                   input=WORD.encode())


def a_file_system_without_locks_does(env):
    for error in ("ENOLCK", "EBADF", "EOPNOTSUPP"):
        (env.dir("home/.docker") / "config.json").write_text('{"auths": {"h.example": {"auth": "eDp5"}}}')
        p = traced(env, f"flock:error={error}", "logout", "h.example", "--json", code=0)
        check(json.loads(p.stdout)["removed"], True)


def a_killed_login_leaves_no_file_behind(env):
    reg = DockerRegistry(env)
    text = '{"auths": {"x": {}}}'
    (env.dir("home/.docker") / "config.json").write_text(text)
    for call in ("fchmod", "linkat"):
        traced(env, f"{call}:signal=KILL:when=1", "login", reg.host, "-u", USER, "--password-stdin", code=-9)
        check(sorted(p.name for p in config(env).parent.iterdir()), ["config.json"])
        check(config(env).read_text(), text)


def the_file_of_another_user_stays_his(env):
    need_root()
    reg = DockerRegistry(env, USER, WORD)
    (env.dir("home/.docker") / "config.json").write_text("{}")
    os.chown(config(env), 1234, 2345)
    config(env).chmod(0o640)
    login(env, reg.host)
    st = config(env).stat()
    check((st.st_uid, st.st_gid, st.st_mode & 0o7777), (1234, 2345, 0o640))
    if reg.host not in config(env).read_text():
        raise Failed("the login is not there")


class Terminal:
    """A login that asks at a terminal of its own."""

    def __init__(self, env, host, script='exec "$0" login "$1"'):
        self.pid, self.fd = pty.fork()
        if not self.pid:
            os.execve("/bin/sh", ["sh", "-c", script, MOPS, host], env.vars)
        self.said = b""
        os.set_blocking(self.fd, False)

    def wait(self, text):
        def there():
            try:
                self.said += os.read(self.fd, 4096)
            except (BlockingIOError, OSError):
                pass
            return text in self.said
        wait_for(text, there)

    def echoes(self):
        return bool(termios.tcgetattr(self.fd)[3] & termios.ECHO)

    def answer(self, text):
        os.write(self.fd, text.encode() + b"\n")

    def end(self):
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def asked_at_a_terminal(env):
    reg = DockerRegistry(env, USER, WORD)
    t = Terminal(env, reg.host)
    t.wait(b"User: ")
    check(t.echoes(), True)
    t.answer(USER)
    t.wait(b"Password or token: ")
    check(t.echoes(), False)
    t.answer(WORD)
    t.wait(b"logged in to")
    check(t.end(), 0)
    check(t.echoes(), True)
    if WORD.encode() in t.said:
        raise Failed(str(t.said))
    pushes(env, reg.host)


def an_interrupt_has_the_terminal_echo_again(env):
    t = Terminal(env, "127.0.0.1:1")
    t.wait(b"User: ")
    t.answer(USER)
    t.wait(b"Password or token: ")
    check(t.echoes(), False)
    os.kill(t.pid, signal.SIGINT)
    check(t.end(), 130)
    check(t.echoes(), True)
    if config(env).exists():
        raise Failed("something was kept")


def so_has_whatever_else_ends_it(env):
    for sig in (signal.SIGHUP, signal.SIGQUIT):
        t = Terminal(env, "127.0.0.1:1")
        t.wait(b"User: ")
        t.answer(USER)
        t.wait(b"Password or token: ")
        check(t.echoes(), False)
        os.kill(t.pid, sig)
        check(t.end(), -sig)
        check(t.echoes(), True)


def so_has_a_stop_until_it_goes_on(env):
    reg = DockerRegistry(env, USER, WORD)
    t = Terminal(env, reg.host, 'set -m; "$0" login "$1"; echo STOPPED; read line; fg; echo "ENDED $?"')
    t.wait(b"User: ")
    t.answer(USER)
    t.wait(b"Password or token: ")
    check(t.echoes(), False)
    t.said = b""
    os.write(t.fd, b"\x1a")  # ^Z
    t.wait(b"STOPPED")
    check(t.echoes(), True)
    t.answer("")
    t.wait(b"Password or token: ")
    check(t.echoes(), False)
    t.answer(WORD)
    t.wait(b"ENDED 0")
    check(t.echoes(), True)
    if WORD.encode() in t.said:
        raise Failed(str(t.said))
    os.close(t.fd)
    t.end()


def without_a_terminal_it_says_how(env):
    p = subprocess.run([str(MOPS), "login", "h.example", "--json"], env=env.vars, stdin=subprocess.DEVNULL, stdout=-1,
                       timeout=60, check=False, start_new_session=True)
    error = json.loads(p.stdout)
    if p.returncode != 2 or "--password-stdin" not in error["hint"]:
        raise Failed(str(error))


TESTS = [by_a_login, by_a_token_service, over_tls, where_no_login_is_wanted_it_is_not_tried, of_the_default_registry,
         what_is_no_host_is_not_quoted, with_a_helper, another_programs_file_is_left_alone,
         another_run_is_waited_for, a_lock_that_stays_is_not_waited_for_for_ever, a_file_system_without_locks_does,
         a_killed_login_leaves_no_file_behind, the_file_of_another_user_stays_his,
         asked_at_a_terminal, an_interrupt_has_the_terminal_echo_again,
         so_has_whatever_else_ends_it, so_has_a_stop_until_it_goes_on, without_a_terminal_it_says_how]
run(TESTS)
