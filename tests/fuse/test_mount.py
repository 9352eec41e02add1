#!/usr/bin/python3
"""A mount shows what was pushed, by both data paths, and nothing changes it."""
import errno
import json
import mmap
import os
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
import mopstest  # noqa: E402
from mopstest import Failed, Skip  # noqa: E402

BIG = 5 * (1 << 20) + 12345
# That libfuse was asked for where scripts/test says so; elsewhere something is missing.
NO_PASSTHROUGH = Skip(("peer: " if os.environ.get("MOPS_TEST_LIBFUSE") == "system" else "") +
                      "built without passthrough")


def workspace(env, name="ws"):
    top = env.fresh(name)
    (top / "code/deep/er").mkdir(parents=True)
    for i in range(200):
        (top / f"code/f{i:03}.txt").write_text(f"file {i}\n" * (i + 1))
    (top / "code/run.sh").write_text("#!/bin/sh\necho ran\n")
    (top / "code/run.sh").chmod(0o755)
    (top / "code/empty").write_bytes(b"")
    (top / "code/deep/er/x").write_text("x")
    (top / "code/ünï code.txt").write_text("name")
    (top / "code/link").symlink_to("deep/er/x")
    (top / "code/dangling").symlink_to("nowhere")
    mopstest.write_random(top / "data/big.bin", BIG, 1)
    mopstest.write_random(top / "data/one.bin", 1 << 20, 2)
    mopstest.write_random(top / "data/small.bin", 4097, 3)
    (top / ".mops-bundle.yaml").write_text("""bundle:
  name: demo
  version: "1.0"
  layers:
    - {name: code, paths: ["code/**"]}
    - {name: data, paths: ["data/**"]}
  roles:
    default: [code, data]
    code: [code]
""")
    return top


def expected(top):
    return {k: v for k, v in mopstest.snapshot(top).items() if not k.startswith(".mops")}


def status(env, at):
    return json.loads(env.mopsfs("status", at, "--json").stdout)


def errno_of(fn, *args, **kw):
    try:
        fn(*args, **kw)
    except OSError as e:
        return e.errno
    return 0


def check_all(env, io):
    mopstest.need_root()
    top = workspace(env)
    env.push(top, "demo:1.0")
    want = expected(top)
    for temperature in ("cold", "warm"):
        with env.mount("demo:1.0", "-o", f"io={io}") as at:
            mopstest.same(expected(at), want, f"{io}, {temperature}")
            mopstest.same(expected(at), want, f"{io}, {temperature}, again")
            got = status(env, at)
            if got["data_path"]["mode"] != io:
                raise Failed(f"wanted {io}: {got['data_path']}")
            if temperature == "warm" and got["fetch"]["bytes_network"] != 0:
                raise Failed(f"a warm mount fetched: {got['fetch']}")
            if got["errors"]:
                raise Failed(f"errors: {got['errors']}")


def cached_mount_shows_what_was_pushed(env):
    check_all(env, "cached")


def passthrough_mount_shows_what_was_pushed(env):
    if not json.loads(env.mopsfs("version", "--json").stdout)["passthrough"]:
        raise NO_PASSTHROUGH
    check_all(env, "passthrough")


def passthrough_takes_complete_files_only(env):
    mopstest.need_root()
    if not json.loads(env.mopsfs("version", "--json").stdout)["passthrough"]:
        raise NO_PASSTHROUGH
    env.push(workspace(env), "demo:1.0")
    with env.mount("demo:1.0", "-o", "io=passthrough") as at:
        first = mopstest.sha256_file(at / "data/big.bin")
        if status(env, at)["data_path"]["passthrough_opens"]:
            raise Failed("an absent file was passed through")

        def passed():
            if mopstest.sha256_file(at / "data/big.bin") != first:
                raise Failed("other bytes")
            path = status(env, at)["data_path"]
            if "declined" in path:
                raise Skip(path["declined"])
            return path["passthrough_opens"]
        mopstest.wait_for("the sealed file to be passed through", passed)
        mopstest.sha256_file(at / "code/f001.txt")
        before = status(env, at)["data_path"]
        mopstest.sha256_file(at / "code/f001.txt")
        after = status(env, at)["data_path"]
        if after["passthrough_opens"] != before["passthrough_opens"]:
            raise Failed("a packed file was passed through")
        # Many opens of one inode share one backing id.
        files = [open(at / "data/big.bin", "rb") for _ in range(50)]
        if status(env, at)["data_path"]["backing_ids"] > 2:
            raise Failed("more than one backing id for a file")
        for f in files:
            f.close()


def passthrough_declines_a_blob_with_a_second_link(env):
    mopstest.need_root()
    if not json.loads(env.mopsfs("version", "--json").stdout)["passthrough"]:
        raise NO_PASSTHROUGH
    env.push(workspace(env), "demo:1.0")
    with env.mount("demo:1.0", "-o", "io=passthrough") as at:
        digest = mopstest.sha256_file(at / "data/big.bin")
        blob = env.cache() / "blobs/sha256" / digest[:2] / digest
        mopstest.wait_for("the blob to be sealed", blob.exists)
        os.link(blob, env.base / "other-name")
        for _ in range(3):
            if mopstest.sha256_file(at / "data/big.bin") != digest:
                raise Failed("other bytes")
        if status(env, at)["data_path"]["passthrough_opens"]:
            raise Failed("a blob with two links was passed through")


def passthrough_from_an_overlay_has_to_be_allowed(env):
    if not json.loads(env.mopsfs("version", "--json").stdout)["passthrough"]:
        raise NO_PASSTHROUGH
    mopstest.need_root()
    env.push(workspace(env), "demo:1.0")
    layers = env.fresh("layers")
    p = env.run("mount", "-t", "tmpfs", "layers", layers, code=None)
    if p.returncode:
        raise Skip(p.stderr.decode())
    try:
        for name in ("low", "up", "work", "all"):
            (layers / name).mkdir()
        p = env.run("mount", "-t", "overlay", "-o", f"lowerdir={layers}/low,upperdir={layers}/up,workdir={layers}/work",
                    "overlay", layers / "all", code=None)
        if p.returncode:
            raise Skip(p.stderr.decode())
        try:
            env.vars["MOPS_CACHE_DIR"] = str(layers / "all/cache")
            env.mops("pull", "demo:1.0")
            for options, passed in (("io=passthrough", 0), ("io=passthrough,stacked_cache", 1)):
                with env.mount("demo:1.0", "-o", options) as at:
                    mopstest.sha256_file(at / "data/big.bin")
                    path = status(env, at)["data_path"]
                    if path["passthrough_opens"] != passed or ("stacked_cache" in path.get("declined", "")) == passed:
                        raise Failed(f"{options}: {path}")
        finally:
            # The process of a mount that was just unmounted may still be ending.
            mopstest.wait_for("the cache", lambda: env.run("umount", layers / "all", code=None).returncode == 0)
    finally:
        env.run("umount", layers)


def passthrough_ends_with_damage(env):
    """Each open looks at the blob anew, also when its backing is still there."""
    mopstest.need_root()
    if not json.loads(env.mopsfs("version", "--json").stdout)["passthrough"]:
        raise NO_PASSTHROUGH
    env.push(workspace(env), "demo:1.0")
    env.mops("pull", "demo:1.0", "-q")
    with env.mount("demo:1.0", "-o", "io=passthrough") as at:
        digest = mopstest.sha256_file(at / "data/big.bin")
        path = status(env, at)["data_path"]
        if "declined" in path:
            raise Skip(path["declined"])
        if not path["passthrough_opens"]:
            raise Failed("a sealed file was not passed through")
        blob = env.cache() / "blobs/sha256" / digest[:2] / digest
        blob.chmod(0o644)
        with open(blob, "r+b") as f:
            f.seek(100000)
            f.write(b"FORGED!!")
        blob.chmod(0o444)
        for _ in range(2):
            if mopstest.sha256_file(at / "data/big.bin") != digest:
                raise Failed("bytes that were changed in the cache")
            env.mops("verify", "--cache", code=None)


def a_mapping_keeps_an_inode_in_its_mode(env):
    """An open in another mode than a living mapping is EIO in the kernel."""
    mopstest.need_root()
    env.push(workspace(env), "demo:1.0")
    with env.mount("demo:1.0") as at:
        path = at / "data/big.bin"
        with open(path, "rb") as f:
            mapped = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)
        want = mopstest.sha256_file(path)
        blob = env.cache() / "blobs/sha256" / want[:2] / want
        mopstest.wait_for("the blob to be sealed", blob.exists)
        for _ in range(20):
            if mopstest.sha256_file(path) != want:
                raise Failed("other bytes")
        if len(mapped[:]) != BIG:
            raise Failed("short mapping")
        mapped.close()
        if mopstest.sha256_file(path) != want:
            raise Failed("other bytes after the mapping")


def all_ways_to_read_agree(env):
    mopstest.need_root()
    top = workspace(env)
    env.push(top, "demo:1.0")
    want = (top / "data/big.bin").read_bytes()
    for io in ("cached", "auto"):
        env.new_cache()
        with env.mount("demo:1.0", "-o", f"io={io}") as at:
            path = at / "data/big.bin"
            with open(path, "rb") as f, mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ) as m:
                for off in (BIG - 1, 3 << 20, (1 << 20) - 3, 0):
                    if m[off:off + 4096] != want[off:off + 4096]:
                        raise Failed(f"mmap at {off}")
                if m[:] != want:
                    raise Failed("mmap")
            fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
            buf = mmap.mmap(-1, 1 << 20)
            for off in (0, 1 << 20, 4096, 5 << 20):
                n = os.preadv(fd, [buf], off)
                if buf[:n] != want[off:off + (1 << 20)]:
                    raise Failed(f"O_DIRECT at {off}")
            os.close(fd)
            fd = os.open(path, os.O_RDONLY)
            for off, n in ((0, 1), (BIG - 1, 100), (BIG, 10), (BIG + 5, 1), (1048575, 2), (12345, 3 << 20)):
                if os.pread(fd, n, off) != want[off:off + n]:
                    raise Failed(f"pread at {off}")
            os.close(fd)


def every_change_is_refused(env):
    mopstest.need_root()
    env.push(workspace(env), "demo:1.0")
    with env.mount("demo:1.0") as at:
        f = at / "code/f001.txt"

        def append():
            # Where opens are no messages, the write itself is refused.
            with open(f, "ab", 0) as out:
                out.write(b"x")
        calls = {
            "write": lambda: f.write_bytes(b"x"),
            "append": append,
            "truncate": lambda: os.truncate(f, 0),
            "create": lambda: os.open(at / "new", os.O_CREAT | os.O_WRONLY),
            "mkdir": lambda: os.mkdir(at / "new"),
            "unlink": lambda: os.unlink(f),
            "rmdir": lambda: os.rmdir(at / "code/deep/er"),
            "rename": lambda: os.rename(f, at / "code/g"),
            "link": lambda: os.link(f, at / "code/g"),
            "symlink": lambda: os.symlink("x", at / "code/g"),
            "chmod": lambda: os.chmod(f, 0o777),
            "chown": lambda: os.chown(f, 1, 1),
            "utime": lambda: os.utime(f),
            "setxattr": lambda: os.setxattr(f, "user.x", b"y"),
            "mknod": lambda: os.mknod(at / "new"),
        }
        for name, call in calls.items():
            if errno_of(call) != errno.EROFS:
                raise Failed(f"{name}: {errno.errorcode.get(errno_of(call))}")
        # An administrator makes it writable: then we refuse ourselves.
        if subprocess.run(["mount", "-i", "-o", "remount,rw", str(at)], check=False).returncode == 0:
            for name, call in calls.items():
                if errno_of(call) not in (errno.EROFS, errno.EOPNOTSUPP):
                    raise Failed(f"writable, {name}: {errno.errorcode.get(errno_of(call))}")


def attributes_tell_what_a_file_is(env):
    mopstest.need_root()
    top = workspace(env)
    digest = env.push(top, "demo:1.0")["digest"]
    with env.mount("demo:1.0") as at:
        def get(path, name):
            return os.getxattr(at / path, "user.mops." + name).decode()
        if (get(".", "manifest"), get(".", "role")) != (digest, "default"):
            raise Failed("root attributes")
        if not get(".", "reference").endswith("demo:1.0"):
            raise Failed(get(".", "reference"))
        if get("data/big.bin", "state") != "absent":
            raise Failed(get("data/big.bin", "state"))
        os.close(os.open(at / "data/big.bin", os.O_RDONLY))
        with open(at / "data/big.bin", "rb") as f:
            f.read()
        want = "sha256:" + mopstest.sha256_file(top / "data/big.bin")
        if get("data/big.bin", "digest") != want or get("data/big.bin", "source") != "blob " + want:
            raise Failed("digest or source")
        if get("data/big.bin", "state") != "complete" or get("data/big.bin", "layer") != "data":
            raise Failed("state or layer")
        if not get("code/f001.txt", "source").startswith("pack sha256:"):
            raise Failed(get("code/f001.txt", "source"))
        if get("code/empty", "source") != "empty":
            raise Failed("empty file")
        names = os.listxattr(at / "data/big.bin")
        if sorted(names) != ["user.mops." + n for n in ("digest", "layer", "source", "state")]:
            raise Failed(names)
        for path, name, want in (("data/big.bin", "user.mops.error", errno.ENODATA),
                                 ("data/big.bin", "user.other", errno.ENODATA),
                                 ("code", "user.mops.digest", errno.ENODATA),
                                 ("code", "security.selinux", errno.EOPNOTSUPP),
                                 ("code", "system.posix_acl_access", errno.EOPNOTSUPP)):
            if errno_of(os.getxattr, at / path, name) != want:
                raise Failed(f"{name} of {path}: {errno_of(os.getxattr, at / path, name)}")


def stat_is_the_same_for_everybody(env):
    mopstest.need_root()
    env.push(workspace(env), "demo:1.0")
    inodes = []
    for _ in range(2):
        with env.mount("demo:1.0") as at:
            st = os.stat(at / "code/run.sh")
            if (st.st_mode, st.st_mtime, st.st_uid) != (0o100755, 315532800, os.getuid()):
                raise Failed(st)
            if os.stat(at / "code/f001.txt").st_mode != 0o100644 or os.stat(at / "code").st_mode != 0o040755:
                raise Failed("modes")
            if subprocess.run([at / "code/run.sh"], check=True, stdout=subprocess.PIPE).stdout != b"ran\n":
                raise Failed("a program does not run")
            vfs = os.statvfs(at)
            if vfs.f_bfree or vfs.f_ffree or vfs.f_files < 200 or vfs.f_blocks * vfs.f_frsize < BIG:
                raise Failed(vfs)
            inodes.append({p: os.lstat(at / p).st_ino for p in ("code", "data/big.bin", "code/link", ".mops")})
            if errno_of(os.stat, at / "code/no-such") != errno.ENOENT:
                raise Failed("a missing name")
            if errno_of(os.stat, at / "code/f001.txt/x") != errno.ENOTDIR:
                raise Failed("below a file")
    if inodes[0] != inodes[1]:
        raise Failed("inode numbers changed")


def options_are_as_promised(env):
    mopstest.need_root()
    env.push(workspace(env), "demo:1.0")
    with env.mount("demo:1.0") as at:
        with open("/proc/self/mountinfo", encoding="utf-8") as f:
            fields = next(line.split() for line in f if line.split()[4] == str(at))
        options, kind, superblock = fields[5].split(","), fields[-3], fields[-1].split(",")
        if not {"ro", "nosuid", "nodev"} <= set(options) or kind != "fuse.mopsfs":
            raise Failed(fields)
        if "default_permissions" not in superblock or "allow_other" in superblock:
            raise Failed(fields)
        with open(f"/sys/class/bdi/{fields[2]}/read_ahead_kb", encoding="ascii") as f:
            if int(f.read()) != 16384:
                raise Failed("read_ahead_kb")
    with env.mount("demo:1.0", "-o", "allow_other,readahead_kb=256,role=code") as at:
        if (at / "data").exists() or not (at / "code").exists():
            raise Failed("role=code")
        with open("/proc/self/mountinfo", encoding="utf-8") as f:
            if "allow_other" not in next(line for line in f if line.split()[4] == str(at)):
                raise Failed("allow_other")


def a_small_role_lists_in_few_messages(env):
    mopstest.need_root()
    top = env.fresh("many")
    (top / "d").mkdir()
    for i in range(5000):
        (top / f"d/file-{i:05}").write_text(str(i))
    env.push(top, "many:1")
    with env.mount("many:1", "-o", "io=auto") as at:
        if status(env, at)["data_path"]["mode"] != "cached":
            raise Failed(status(env, at)["data_path"])
        subprocess.run(["ls", "-lR", str(at)], check=True, stdout=subprocess.DEVNULL)
        first = sum(status(env, at)["requests"].values())
        if first > 400:
            raise Failed(f"ls -lR of 5,000 files took {first} messages: {status(env, at)['requests']}")
        subprocess.run(["ls", "-lR", str(at)], check=True, stdout=subprocess.DEVNULL)
        second = sum(status(env, at)["requests"].values()) - first
        if second > 10:
            raise Failed(f"the second took {second}")
        for _ in range(2):
            for i in range(0, 5000, 50):
                if (at / f"d/file-{i:05}").read_text() != str(i):
                    raise Failed("other bytes")
        got = status(env, at)["requests"]
        if got["open"] > 3 or got["read"] > 110:
            raise Failed(f"opens and reads were not kept: {got}")


def externals_have_pointers(env):
    mopstest.need_root()
    store = env.fresh("store")
    mopstest.write_random(store / "a.bin", 2 << 20, 7)
    mopstest.write_random(store / "b.bin", 100, 8)
    top = env.fresh("ws")
    (top / "data/fit").mkdir(parents=True)
    (top / "plain").mkdir()
    (top / "plain/p").write_text("p")
    for name in ("a.bin", "b.bin"):
        (top / "data/fit" / name).write_bytes((store / name).read_bytes())
    env.vars["MOPS_FILE_ROOTS"] = str(store)
    env.push(top, "ext:1", "--external", f"data/fit/a.bin=file://{store}/a.bin",
             "--external", f"data/fit/b.bin=file://{store}/b.bin")
    with env.mount("ext:1") as at:
        mopstest.same(expected(at), expected(top))
        found = sorted(str(p.relative_to(at / ".mops")) for p in (at / ".mops").rglob("*"))
        if found != [".mops-manifest.json", "ptr", "ptr/data", "ptr/data/fit", "ptr/data/fit/a.bin.json",
                     "ptr/data/fit/b.bin.json"]:
            raise Failed(found)
        pointer = json.loads((at / ".mops/ptr/data/fit/a.bin.json").read_text())
        if pointer["original_path"] != "data/fit/a.bin" or pointer["uri"] != f"file://{store}/a.bin":
            raise Failed(pointer)
        if errno_of(os.stat, at / ".mops/ptr/plain") != errno.ENOENT:
            raise Failed("a folder without externals")
        json.loads((at / ".mops/.mops-manifest.json").read_text())
        if os.getxattr(at / "data/fit/a.bin", "user.mops.source") != f"external file://{store}/a.bin".encode():
            raise Failed("source")


if __name__ == "__main__":
    mopstest.run([
        cached_mount_shows_what_was_pushed,
        passthrough_mount_shows_what_was_pushed,
        passthrough_takes_complete_files_only,
        passthrough_declines_a_blob_with_a_second_link,
        passthrough_from_an_overlay_has_to_be_allowed,
        passthrough_ends_with_damage,
        a_mapping_keeps_an_inode_in_its_mode,
        all_ways_to_read_agree,
        every_change_is_refused,
        attributes_tell_what_a_file_is,
        stat_is_the_same_for_everybody,
        options_are_as_promised,
        a_small_role_lists_in_few_messages,
        externals_have_pointers,
    ])
