#!/usr/bin/python3
"""mops show --html: the page in a browser, headless: its sums, its script, its colours, names that are markup, and that
it asks nobody for anything."""
import html.parser
import json
import os
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from mopstest import Failed, need_program, run, write_random  # noqa: E402
from documents import Base, Place, oracle  # noqa: E402

LIGHT, DARK = ("--blink-settings=preferredColorScheme=1",), ("--blink-settings=preferredColorScheme=0",)
POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy".*?>')
EVIL = "<img src=x onerror=document.title='owned'>"


def check(got, want):
    if got != want:
        raise Failed(f"{got}, not {want}")


class Dom(html.parser.HTMLParser):
    """What the tests look at of a document."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.rows, self.data, self.cells, self.text = [], {}, {}, [], {}
        self.table = self.key = self.into = None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append((tag, attrs))
        if tag == "table":
            self.table = self.rows.setdefault(attrs["id"], [])
        elif tag == "tr":
            self.row = {"text": [], "codes": []}
        elif tag == "data":
            key = attrs.get("id") or attrs["class"]
            (self.row if self.table is not None else self.data)[key] = int(attrs["value"])
        elif tag in ("title", "code", "th"):
            self.into = tag
            self.said = ""
        if attrs.get("id"):
            self.text.setdefault(attrs["id"], "")
            self.key = attrs["id"]

    def handle_endtag(self, tag):
        if tag == "table":
            self.table = None
        elif tag == "tr" and self.row["codes"]:
            self.table.append(self.row)
        elif tag == self.into:
            if self.table is not None:
                self.row["codes" if tag == "code" else "text"].append(self.said)
            elif tag == "title":
                self.cells.append(self.said)
            self.into = None

    def handle_data(self, data):
        if self.into:
            self.said += data
        if self.key:
            self.text[self.key] += data


def open_page(env, page, *flags):
    """(document when its script has run, what the console says, what the page asked for)"""
    net = env.fresh("net") / "log"
    p = env.run(need_program("chromium"), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
                "--disable-dev-shm-usage", "--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr",
                f"--user-data-dir={env.fresh('profile')}", f"--log-net-log={net}", *flags, "--dump-dom", f"file://{page}",
                timeout=120, env={"HOME": str(env.fresh("home"))})
    said = [line for line in p.stderr.decode(errors="replace").splitlines() if "CONSOLE" in line]
    # The browser asks its maker for things, too; those are of no site.
    asked = re.findall(r'"network_isolation_key":"file:[^\n]*?"url":"([^"]*)"', net.read_text())
    return p.stdout.decode(), said, [u for u in asked if not u.startswith("file:")]


def browse(env, page, *flags):
    """The document; nothing may have been wrong, or asked for."""
    text, said, asked = open_page(env, page, *flags)
    check((said, asked), ([], []))
    return text


def show(env, ref, name="page.html", **kw):
    page = env.base / name
    env.mops("show", ref, "--html", page, **kw)
    return page


def bundle(env):
    """Three layers, three roles, all places; the cache has a part of it."""
    top, store = env.fresh("ws"), env.fresh("store")
    for i in range(3):
        write_random(top / f"weights/w{i}.bin", (2 << 20) + 1000 * i, i)
    write_random(top / "weights/small", 1000, 8)
    for i in range(300):
        write_random(top / f"src/d{i % 7}/{i % 5}/f{i}.py", 10 + 13 * i, i)
    (top / "src/empty").touch()
    for i in range(4):
        write_random(top / f"far/x{i}", 300000 + i, 50 + i)
    (top / ".mops-bundle.yaml").write_text(
        "bundle:\n  name: m\n  layers:\n    - {name: code, paths: [src/**]}\n    - {name: weights, paths: [weights/**]}\n"
        "    - {name: data, paths: [far/**]}\n"
        "  roles: {default: [code, weights], all: [code, weights, data], code: [code]}\n"
        f'external_storage:\n  - {{pattern: "far/**", storage: "file://{store}"}}\n')
    env.vars["MOPS_FILE_ROOTS"] = str(store)
    env.push(top, "m:1")
    env.mops("pull", "m:1", "--path", "weights/w[01].bin")
    return "m:1"


def sums_are_those_of_json(env):
    ref = bundle(env)
    dom = Dom(browse(env, show(env, ref)))
    want = env.mops_json("show", ref)
    check((dom.data["files"], dom.data["bytes"]), (want["files"], want["bytes"]))
    check(dom.data["external"], sum(x["bytes_external"] for x in want["layers"]))
    check(dom.data["registry"], sum(b["size"] for b in want["blobs"]) +
          len((env.cache() / "bundles" / want["digest"][7:] / "root").read_bytes()))
    for row, layer in zip(dom.rows["layers"], want["layers"], strict=True):
        check(row["text"][0], layer["name"])
        check([row[k] for k in ("bytes", "blob", "pack", "external")],
              [layer[k] for k in ("bytes", "bytes_blob", "bytes_pack", "bytes_external")])
        check(row["codes"], [layer["tree"]])
    for row, role in zip(dom.rows["roles"], want["roles"], strict=True):
        entries = env.mops_json("ls", ref, "-R", "--role", role["name"])["entries"]
        check((row["text"][0], row["bytes"]), (role["name"], sum(e.get("size", 0) for e in entries)))
    files = sorted((e for e in env.mops_json("ls", ref, "-R", "--role", "all")["entries"] if e.get("size")),
                   key=lambda e: -e["size"])[:40]
    check([(r["bytes"], r["codes"]) for r in dom.rows["largest"]], [(e["size"], [e["digest"]]) for e in files])
    check([r["codes"][0] for r in dom.rows["blobs"]][1:], [b["digest"] for b in want["blobs"]])
    check(dom.text["digest"].split()[0], want["digest"])
    titles = {c.split("\n")[0]: c for c in dom.cells[1:]}
    if "100 % cached" not in titles["weights/w0.bin"] or " 0 % cached" not in titles["weights/w2.bin"]:
        raise Failed(titles)
    if "external" not in titles["far/x0"] or "layer data" not in titles["far/x0"]:
        raise Failed(titles["far/x0"])


def the_script_only_adds(env):
    page = show(env, bundle(env))
    raw, ran = Dom(page.read_text()), Dom(browse(env, page))
    check(raw.rows, ran.rows)
    check(raw.cells, ran.cells)
    codes = [a for t, a in ran.tags if t == "code"]
    check({a.get("role") for a in codes}, {"button"})
    check({a.get("tabindex") for a in codes}, {"0"})
    details = [a for t, a in ran.tags if a.get("id") == "details"]
    check(["hidden" in a for a in details], [False])
    keys = page.read_text().replace("</script>", """
const keys = k => map.dispatchEvent(new KeyboardEvent("keydown", {key: k}));
map.dispatchEvent(new Event("focus"));
const seen = [details_text()];
function details_text() { return document.getElementById("details").textContent; }
for (const k of ["ArrowRight", "ArrowDown", "ArrowLeft", "ArrowUp"]) { keys(k); seen.push(details_text()); }
keys("Escape");
seen.push(details_text());
const copied = [];
Object.defineProperty(navigator, "clipboard", {value: {writeText: t => { copied.push(t); return Promise.resolve(); }}});
document.querySelector("#digest code").click();
const key = new KeyboardEvent("keydown", {key: "Enter"});
document.querySelector("#layers code").dispatchEvent(key);
document.body.dataset.seen = JSON.stringify({seen, copied});
</script>""")
    other = env.base / "keys.html"
    other.write_text(POLICY.sub("", keys))
    got = json.loads(next(a["data-seen"] for t, a in Dom(browse(env, other)).tags if t == "body"))
    if got["seen"][0] not in ran.cells or len(set(got["seen"])) < 4 or "arrow keys" not in got["seen"][-1]:
        raise Failed(got["seen"])
    check(got["copied"], [ran.text["digest"].split()[0], ran.rows["layers"][0]["codes"][0]])


def names_are_text(env):
    top = env.fresh("ws")
    for name in (EVIL, "</script><b>", "<!--", "a\"b'c&amp;", "{{style}}", "\u202eexe.txt", "back\\slash-not", "\u2028sep"):
        path = top / "<" / name if "/" not in name else top / name
        path = pathlib.Path(str(path).replace("\\", ""))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    env.push(top, "evil:1")
    text = browse(env, show(env, "evil:1"))
    dom = Dom(text)
    check([t for t, a in dom.tags if t in ("img", "b", "script", "style")], ["style", "script"])
    said = {r["text"][0] for r in dom.rows["largest"]}
    for name in (f"</{EVIL}", "</script><b>", "</<!--", "</a\"b'c&amp;", "</{{style}}", "</\\xe2\\x80\\xaeexe.txt"):
        if name not in said:
            raise Failed(f"{name!r} is not among {said}")


def titles_of_blobs_are_text(env):
    base = Base()
    manifest = json.loads(base.bundle.manifest)
    titles = (EVIL, "</script>", "two\nlines", "\u202etxt", "\x1b[31m", "x" * 5000)
    for d, title in zip(manifest["layers"], titles):
        d["annotations"]["org.opencontainers.image.title"] = title
    place, doc = Place(env, base, 0), oracle.canonical(manifest)
    place.put(doc)
    place.layout(base.seal(doc))
    page = show(env, place.ref)
    dom = Dom(browse(env, page))
    check([t for t, a in dom.tags if t in ("img", "script")], ["script"])
    said = [r["text"][0] for r in dom.rows["blobs"]][1:]
    for i, want in enumerate((EVIL, "</script>", "two\\x0alines", "\\xe2\\x80\\xaetxt", "\\x1b[31m", "…" + "x" * 400)):
        check(said[i], want)


def it_stays_small(env):
    top = env.fresh("ws")
    for i in range(3000):
        path = top / f"{i % 3}/{i % 11}/{i % 2}/{i:05}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{i}" * (i % 50))
    env.push(top, "many:1")
    page = show(env, "many:1")
    dom = Dom(page.read_text())
    if page.stat().st_size > 300000 or len(dom.cells) > 1000:
        raise Failed(f"{page.stat().st_size} bytes, {len(dom.cells)} cells")
    shown, folded = re.search(r"([\d,]+) files have a cell of their own, <b id=\"folded\">([\d,]+)<", page.read_text()).groups()
    check(int(shown.replace(",", "")) + int(folded.replace(",", "")), 3000)
    check(dom.data["files"], 3000)


def nothing_is_taken_from_elsewhere(env):
    page = show(env, bundle(env)).read_text()
    policy = re.search(r'Content-Security-Policy" content="(.*?)"', page)[1]
    check(re.sub(r"sha256-[A-Za-z0-9+/]{43}=", "HASH", policy),
          "default-src 'none'; style-src 'HASH'; script-src 'HASH'; base-uri 'none'; form-action 'none'")
    tags = Dom(page).tags
    check([(t, k) for t, a in tags for k in a if k in ("src", "href", "xlink:href", "style", "srcset", "action") or
           k.startswith("on")], [])
    found = re.findall(r"url\(|@import|https?:", page)
    check(found, [])
    # Nor would what got into it all the same.
    more = page.replace("</body>", "<img src=http://example.invalid/x><script>document.title = 'ran'</script></body>")
    other = env.base / "other.html"
    for text, want in (more, []), (POLICY.sub("", more), ["http://example.invalid/x"]):
        other.write_text(text)
        dom, _, asked = open_page(env, other)
        check((asked, "<title>ran" in dom), (want, bool(want)))


PROBE = """
<script>
const at = [];
const back = e => {
    for (; e; e = e.parentElement) {
        const rect = e.tagName === "svg" && e.querySelector("rect");
        const c = rect ? getComputedStyle(rect).fill : getComputedStyle(e).backgroundColor;
        if (c && c !== "rgba(0, 0, 0, 0)" && c !== "none") return c;
    }
    return "rgb(255, 255, 255)";
};
for (const e of document.querySelectorAll("body *")) {
    const own = [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim());
    if (!own || e.tagName === "SCRIPT" || e.tagName === "title") continue;
    const s = getComputedStyle(e);
    at.push([e.tagName + "." + e.getAttribute("class"), e.ownerSVGElement ? s.fill : s.color, back(e), s.opacity]);
}
document.body.dataset.seen = JSON.stringify(at);
</script>"""


def luminance(rgb):
    lin = [v / 12.92 if v <= 0.03928 else ((v + 0.055) / 1.055) ** 2.4 for v in (c / 255 for c in rgb)]
    return 0.2126 * lin[0] + 0.7152 * lin[1] + 0.0722 * lin[2]


def contrast(text, back, opacity):
    fore, back = ([float(v) for v in re.findall(r"[\d.]+", c)[:3]] for c in (text, back))
    fore = [f * opacity + b * (1 - opacity) for f, b in zip(fore, back)]
    one, two = sorted((luminance(fore), luminance(back)))
    return (two + 0.05) / (one + 0.05)


def it_can_be_read_in_light_and_dark(env):
    page = env.base / "probe.html"
    page.write_text(POLICY.sub("", show(env, bundle(env)).read_text()).replace("</body>", PROBE + "</body>"))
    pages = {}
    for name, flags in ("light", LIGHT), ("dark", DARK):
        seen = json.loads(next(a["data-seen"] for t, a in Dom(browse(env, page, *flags)).tags if t == "body"))
        pages[name] = next(back for what, text, back, o in seen if what.startswith("BDI"))
        for what, text, back, opacity in seen:
            ratio = contrast(text, back, float(opacity))
            if ratio < 4.5:
                raise Failed(f"{name}: {what}: {text} on {back} is {ratio:.2f}")
        if len(seen) < 100:
            raise Failed(f"{len(seen)} texts")
    dark, light = (luminance([float(v) for v in re.findall(r"[\d.]+", pages[n])[:3]]) for n in ("dark", "light"))
    if dark > 0.05 or light < 0.8:
        raise Failed(str(pages))


def the_file_is_whole_or_not_there(env):
    ref = bundle(env)
    page = show(env, ref)
    first = page.read_bytes()
    page.write_text("old")
    said = env.mops_json("show", ref, "--html", page)
    check(said, env.mops_json("show", ref))
    check(page.read_bytes(), first)
    check(env.mops("show", ref, "--html", page).stdout.decode().split(), [said["digest"]])
    env.mops("show", ref, "--html", env.fresh("folder"), code=3)
    env.mops("show", ref, "--html", env.base / "no/where", code=3)
    env.mops("show", "m:none", "--html", env.base / "none.html", code=1)
    check([n for n in os.listdir(env.base) if "html" in n], ["page.html"])


run([
    sums_are_those_of_json,
    the_script_only_adds,
    names_are_text,
    titles_of_blobs_are_text,
    it_stays_small,
    nothing_is_taken_from_elsewhere,
    it_can_be_read_in_light_and_dark,
    the_file_is_whole_or_not_there,
])
