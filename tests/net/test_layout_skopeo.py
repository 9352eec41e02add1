"""The layout folder and skopeo read what the other wrote."""
import json
import os
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from mopstest import Failed, need_program, run, sha256_file, terminate, write_random  # noqa: E402

TOOL = os.environ.get("LAYOUT_TOOL", "build/tests/net/layout-tool")
NAME = "org.opencontainers.image.ref.name"


def tool(env, *args, **kw):
    return env.run(TOOL, *args, **kw).stdout.decode()


def skopeo(env, *args, **kw):
    return env.run(need_program("skopeo"), "--insecure-policy", *args, **kw).stdout


def two_files(env):
    a, b = env.base / "a", env.base / "b"
    write_random(a, 3_000_001, 1)
    b.write_bytes(b"hello\n")
    return a, b


def index_of(folder):
    return json.loads((folder / "index.json").read_text())


def equal(got, want, what):
    if got != want:
        raise Failed(f"{what}: {got!r}, wanted {want!r}")


def skopeo_inspects_what_we_wrote(env):
    layout = env.base / "layout"
    digest = tool(env, "push", layout, "team/epi-sir", "1.3.2", *two_files(env)).strip()
    raw = skopeo(env, "inspect", "--raw", f"oci:{layout}:team/epi-sir:1.3.2")
    equal(raw, (layout / "blobs/sha256" / digest[7:]).read_bytes(), "raw manifest")


def skopeo_copies_what_we_wrote(env):
    a, b = two_files(env)
    layout, out = env.base / "layout", env.base / "out"
    tool(env, "push", layout, "x", "1", a, b)
    skopeo(env, "copy", f"oci:{layout}:x:1", f"dir:{out}")
    for path in (a, b):
        name = sha256_file(path)
        equal(sha256_file(out / name), name, path.name)


def we_read_what_skopeo_wrote(env):
    a, b = two_files(env)
    one, two = env.base / "one", env.base / "two"
    before = tool(env, "push", one, "x", "1", a, b)
    skopeo(env, "copy", f"oci:{one}:x:1", f"oci:{two}:team/y:2.0")
    lines = tool(env, "check", two, "team/y", "2.0").splitlines()
    equal(lines[0], before.strip(), "digest")
    equal(len(lines), 4, "lines")
    equal(tool(env, "tags", two, "team/y"), "2.0\n", "tags")


def both_write_into_one_folder(env):
    a, b = two_files(env)
    other, shared = env.base / "other", env.base / "shared"
    tool(env, "push", other, "x", "1", b)
    tool(env, "push", shared, "ours", "1", a)
    skopeo(env, "copy", f"oci:{other}:x:1", f"oci:{shared}:theirs:1")
    tool(env, "push", shared, "ours", "2", a, b)
    for repo, tag in (("ours", "1"), ("theirs", "1"), ("ours", "2")):
        tool(env, "check", shared, repo, tag)
        skopeo(env, "inspect", "--raw", f"oci:{shared}:{repo}:{tag}")


def each_moves_the_tags_of_the_other(env):
    a, b = two_files(env)
    other, shared = env.base / "other", env.base / "shared"
    first = tool(env, "push", shared, "x", "latest", a)
    second = tool(env, "push", other, "x", "1", b)
    skopeo(env, "copy", f"oci:{other}:x:1", f"oci:{shared}:x:latest")
    equal(tool(env, "check", shared, "x", "latest").splitlines()[0], second.strip(), "after skopeo")
    tool(env, "push", shared, "x", "latest", a)
    raw = skopeo(env, "inspect", "--raw", f"oci:{shared}:x:latest")
    equal(raw, (shared / "blobs/sha256" / first.strip()[7:]).read_bytes(), "after us")
    names = [m.get("annotations", {}).get(NAME) for m in index_of(shared)["manifests"]]
    equal(names.count("x:latest"), 1, "entries with the name")


def keeps_what_other_tools_put_into_the_index(env):
    a, b = two_files(env)
    layout = env.base / "layout"
    tool(env, "push", layout, "x", "1", b)
    index = index_of(layout)
    index["annotations"] = {"com.example": "kept"}
    index["manifests"][0]["platform"] = {"architecture": "amd64", "os": "linux"}
    index["manifests"].append({"mediaType": "application/x", "digest": "sha512:" + "ab" * 64, "size": 7})
    (layout / "index.json").write_text(json.dumps(index, indent=3))
    tool(env, "push", layout, "x", "1", a)
    now = index_of(layout)
    equal(now["annotations"], {"com.example": "kept"}, "annotations")
    equal(now["manifests"][0]["platform"], {"architecture": "amd64", "os": "linux"}, "platform")
    equal(now["manifests"][1], index["manifests"][1], "foreign entry")
    tool(env, "check", layout, "x", "1")


def skopeo_never_sees_half_an_index(env):
    _, b = two_files(env)
    layout = env.base / "layout"
    tool(env, "push", layout, "x", "fixed", b)
    script = 'for i in $(seq 60); do "$1" push "$2" x "t$i" "$3" || exit 1; done'
    writer = env.start("sh", "-c", script, "sh", TOOL, layout, b, stdout=subprocess.DEVNULL)
    try:
        while writer.poll() is None:
            skopeo(env, "inspect", "--raw", f"oci:{layout}:x:fixed")
    finally:
        status = terminate(writer)
    equal(status, 0, "writer's status")
    equal(len(tool(env, "tags", layout, "x").splitlines()), 61, "tags")


def a_killed_writer_leaves_a_readable_folder(env):
    a, b = two_files(env)
    layout = env.base / "layout"
    tool(env, "push", layout, "x", "fixed", b)
    for i in range(30):
        p = env.start(TOOL, "push", layout, "x", f"k{i}", a, b, stdout=subprocess.DEVNULL)
        try:
            p.wait(0.001 * i)
        except subprocess.TimeoutExpired:
            p.kill()
            p.wait()
        tool(env, "check", layout, "x", "fixed")
        for tag in tool(env, "tags", layout, "x").split():
            tool(env, "check", layout, "x", tag)
    for path in (layout / "blobs/sha256").iterdir():
        equal(sha256_file(path), path.name, "a blob's content")


if __name__ == "__main__":
    run([
        skopeo_inspects_what_we_wrote,
        skopeo_copies_what_we_wrote,
        we_read_what_skopeo_wrote,
        both_write_into_one_folder,
        each_moves_the_tags_of_the_other,
        keeps_what_other_tools_put_into_the_index,
        skopeo_never_sees_half_an_index,
        a_killed_writer_leaves_a_readable_folder,
    ])
