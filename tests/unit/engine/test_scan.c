#include "engine/scan.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/io.h"
#include "base/strbuf.h"
#include "base/time.h"
#include "engine/scan_walk.h"
#include "tests/lib/tmpdir.h"
#include "tests/unit/engine/workspace_fixture.h"

#define TWO_LAYERS                                               \
	"bundle:\n"                                              \
	"  layers:\n"                                            \
	"    - name: code\n"                                     \
	"      paths: [\"src/**\", \"*.toml\"]\n"                \
	"      ignore: [\"**/__pycache__/**\", \"src/*.bak\"]\n" \
	"    - name: data\n"                                     \
	"      paths: [\"data/**\", \"src/**\"]\n"

static void expect_paths(const struct ws *ws, const char *want)
{
	cleanup_inventory struct inventory inv = INVENTORY_INIT;
	cleanup_error struct error *err = NULL;
	cleanup_free char *got = NULL;
	int r = ws_scan(ws, &inv, &err);

	cr_assert(r == 0, "%s", err ? err->message : "");
	got = inventory_paths(&inv);
	cr_expect(eq(str, got, (char *)want));
}

static void expect_error(const struct ws *ws, bool follow, int code,
			 const char *part)
{
	cleanup_inventory struct inventory inv = INVENTORY_INIT;
	cleanup_error struct error *err = NULL;
	int r = follow ? ws_scan_follow(ws, &inv, &err)
		       : ws_scan(ws, &inv, &err);

	cr_assert(r == -code, "%d: %s", r, err ? err->message : "");
	cr_expect(eq(int, err->kind, ERROR_VALIDATION));
	cr_expect(strstr(err->message, part) != NULL, "'%s' without '%s'",
		  err->message, part);
}

Test(scan, takes_everything_into_one_layer_by_default)
{
	cleanup_ws struct ws ws;
	cleanup_inventory struct inventory inv = INVENTORY_INIT;
	cleanup_free char *text = NULL;

	ws_open(&ws, NULL);
	ws_put(&ws, "a", "hello", 0644);
	ws_put(&ws, "b/c", "", 0755);
	ws_put(&ws, ".hidden/.x", "hello", 0600);
	ws_mkdir(&ws, "empty/one");
	ws_link(&ws, "b/l", "../a");
	cr_assert(eq(int, ws_scan(&ws, &inv, NULL), 0));
	text = inventory_text(&inv);
	cr_expect(eq(str, text,
		     "f- 0 5 2cf24dba .hidden/.x\n"
		     "f- 0 5 2cf24dba a\n"
		     "fx 0 0 e3b0c442 b/c\n"
		     "l- 0 0 00000000 b/l -> ../a\n"
		     "d- 0 0 00000000 empty/one\n"));
	cr_expect(eq(sz, inv.n_hashed, 2), "an empty file is not read");
}

Test(scan, sorts_by_the_bytes_of_whole_paths)
{
	cleanup_ws struct ws ws;

	ws_open(&ws, NULL);
	ws_put(&ws, "a/b", "", 0644);
	ws_put(&ws, "a-b", "", 0644);
	ws_put(&ws, "a.b", "", 0644);
	ws_put(&ws, "a0", "", 0644);
	ws_put(&ws, "B", "", 0644);
	ws_put(&ws, "\xc3\xa9", "", 0644);
	expect_paths(&ws, "B a-b a.b a/b a0 \xc3\xa9");
}

Test(scan, the_first_layer_that_matches_owns)
{
	cleanup_ws struct ws ws;
	cleanup_inventory struct inventory inv = INVENTORY_INIT;
	cleanup_free char *text = NULL;

	ws_open(&ws, TWO_LAYERS);
	ws_put(&ws, "src/a.py", "a", 0644);
	ws_put(&ws, "src/old.bak", "not in data either", 0644);
	ws_put(&ws, "src/__pycache__/a.pyc", "x", 0644);
	ws_put(&ws, "x.toml", "x", 0644);
	ws_put(&ws, "data/d", "d", 0644);
	ws_put(&ws, "README", "nobody's", 0644);
	ws_put(&ws, "deep/x.toml", "nobody's", 0644);
	cr_assert(eq(int, ws_scan(&ws, &inv, NULL), 0));
	text = inventory_text(&inv);
	cr_expect(eq(str, text,
		     "f- 1 1 18ac3e73 data/d\n"
		     "f- 0 1 ca978112 src/a.py\n"
		     "f- 0 1 2d711642 x.toml\n"
		     "unowned README\n"
		     "unowned deep/x.toml\n"));
	cr_expect(eq(sz, inv.n_unowned, 2));
	cr_expect(eq(ptr, inv.unowned[2], NULL));
}

Test(scan, leaves_out_what_is_built_in)
{
	cleanup_ws struct ws ws;

	ws_open(&ws, "bundle: {name: x}\n");
	ws_put(&ws, ".git/config", "x", 0644);
	ws_put(&ws, "a/.GiT/config", "x", 0644);
	ws_put(&ws, "b/.gIT", "gitdir: x", 0644);
	ws_put(&ws, ".mops/ptr/x.json", "x", 0644);
	ws_put(&ws, ".mopsignore", "", 0644);
	ws_put(&ws, "c/.mopsignore", "", 0644);
	ws_put(&ws, "d/.mops/x", "kept: not at the top", 0644);
	ws_put(&ws, "d/" BUNDLE_FILE_NAME, "kept: not at the top", 0644);
	ws_put(&ws, "e/.gitignore", "kept", 0644);
	expect_paths(&ws, "a/ b/ c/ d/.mops-bundle.yaml d/.mops/x "
			  "e/.gitignore");
}

Test(scan, keeps_other_reserved_names_out)
{
	cleanup_ws struct ws ws;

	ws_open(&ws, NULL);
	ws_put(&ws, ".mopsx", "x", 0644);
	expect_error(&ws, false, EINVAL, "'.mopsx'");
}

Test(scan, applies_ignore_files_of_every_folder)
{
	cleanup_ws struct ws ws;

	ws_open(&ws, NULL);
	ws_put(&ws, ".mopsignore", "*.log\nbuild/\n/only-top\n!keep.log\n",
	       0644);
	ws_put(&ws, "x.log", "", 0644);
	ws_put(&ws, "keep.log", "", 0644);
	ws_put(&ws, "only-top", "", 0644);
	ws_put(&ws, "a/only-top", "", 0644);
	ws_put(&ws, "a/build/x", "", 0644);
	ws_put(&ws, "a/build/.mopsignore", "!x\n", 0644);
	ws_put(&ws, "a/.mopsignore", "!*.log\n/t\n", 0644);
	ws_put(&ws, "a/x.log", "", 0644);
	ws_put(&ws, "a/b/y.log", "", 0644);
	ws_put(&ws, "a/b/.mopsignore", "y*\n", 0644);
	ws_put(&ws, "a/t", "", 0644);
	ws_put(&ws, "a/c/t", "", 0644);
	ws_put(&ws, "z", "", 0644);
	expect_paths(&ws, "a/b/ a/c/t a/only-top a/x.log keep.log z");
}

Test(scan, keeps_a_folder_that_ignoring_emptied)
{
	cleanup_ws struct ws ws;

	ws_open(&ws, TWO_LAYERS);
	ws_put(&ws, "data/x", "x", 0644);
	ws_put(&ws, "src/x", "x", 0644);
	ws_put(&ws, "data/e/.git/x", "x", 0644);
	ws_put(&ws, "data/f/.mopsignore", "*\n", 0644);
	ws_put(&ws, "data/f/y", "y", 0644);
	ws_mkdir(&ws, "data/g/h");
	ws_mkdir(&ws, "other/nobodys");
	ws_put(&ws, "src/z/y.bak", "not ignored here", 0644);
	ws_put(&ws, "src/q/__pycache__/y", "ignored by the layer", 0644);
	expect_paths(&ws, "data/e/ data/f/ data/g/h/ data/x src/x "
			  "src/z/y.bak");
}

Test(scan, does_not_look_into_what_is_ignored)
{
	cleanup_ws struct ws ws;
	cleanup_free char *fifo = NULL;

	ws_open(&ws, NULL);
	ws_put(&ws, ".mopsignore", "bad*\n", 0644);
	ws_put(&ws, "bad\\name", "x", 0644);
	ws_put(&ws, "bad\xff", "x", 0644);
	ws_put(&ws, "baddir/a\\b", "x", 0644);
	ws_link(&ws, "badlink", "/etc/passwd");
	fifo = ws_path(&ws, "badfifo");
	cr_assert(eq(int, mkfifo(fifo, 0600), 0));
	ws_put(&ws, "good", "", 0644);
	expect_paths(&ws, "good");
}

Test(scan, counts_what_no_layer_wants_whatever_it_is)
{
	cleanup_ws struct ws ws;
	cleanup_inventory struct inventory inv = INVENTORY_INIT;
	cleanup_free char *fifo = NULL;

	ws_open(&ws, TWO_LAYERS);
	ws_put(&ws, "src/x", "x", 0644);
	ws_put(&ws, "data/x", "x", 0644);
	ws_put(&ws, "a\\b", "x", 0644);
	ws_link(&ws, "out", "/etc/passwd");
	fifo = ws_path(&ws, "fifo");
	cr_assert(eq(int, mkfifo(fifo, 0600), 0));
	cr_assert(eq(int, ws_scan(&ws, &inv, NULL), 0));
	cr_expect(eq(sz, inv.n_unowned, 3));
}

Test(scan, refuses_names_that_a_bundle_cannot_hold)
{
	static const char *const names[] = {
		"a\\b",         "a\nb",          "a\x7f",    "a\xc2\x85",
		"\xff\xfe",     "a\xed\xa0\x80", "\xcd\xb8", /* unassigned */
		"dir\\x/plain",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		cleanup_ws struct ws ws;

		ws_open(&ws, NULL);
		ws_put(&ws, names[i], "x", 0644);
		expect_error(&ws, false, EINVAL, names[i]);
	}
}

Test(scan, refuses_paths_without_end)
{
	cleanup_ws struct ws ws;
	struct strbuf deep = STRBUF_INIT, path = STRBUF_INIT;

	ws_open(&ws, NULL);
	for (int i = 0; i < 63; i++)
		strbuf_adds(&deep, "d/");
	strbuf_addf(&path, "%sx", deep.buf);
	ws_put(&ws, path.buf, "64 components", 0644);
	expect_paths(&ws, path.buf);
	strbuf_reset(&path);
	strbuf_addf(&path, "%sy/x", deep.buf);
	ws_put(&ws, path.buf, "65 components", 0644);
	expect_error(&ws, false, EINVAL, "y/x");
	strbuf_release(&deep);
	strbuf_release(&path);
}

Test(scan, stores_names_in_nfc)
{
	cleanup_ws struct ws ws;
	cleanup_inventory struct inventory inv = INVENTORY_INIT;
	cleanup_fd int fd = -1;

	ws_open(&ws, NULL);
	ws_put(&ws, "e\xcc\x81/e\xcc\x81", "x", 0644);
	ws_link(&ws, "l", "e\xcc\x81/e\xcc\x81");
	cr_assert(eq(int, ws_scan(&ws, &inv, NULL), 0));
	cr_assert(eq(sz, inv.n, 2));
	cr_expect(eq(str, inv.entries[0].path, "l"));
	cr_expect(eq(str, inv.entries[0].target, "\xc3\xa9/\xc3\xa9"));
	cr_expect(eq(str, inv.entries[1].path, "\xc3\xa9/\xc3\xa9"));
	cr_expect(eq(str, inv.entries[1].fs_path, "e\xcc\x81/e\xcc\x81"));
	fd = inventory_open(&inv, &inv.entries[1], NULL);
	cr_expect(ge(int, fd, 0));
}

Test(scan, refuses_names_that_become_equal_and_spells_both)
{
	static const char *const pairs[][2] = {
		{"e\xcc\x81", "\xc3\xa9"},
		{"d/e\xcc\x81", "d/\xc3\xa9"},
		{"e\xcc\x81/x", "\xc3\xa9/y"},
		{"e\xcc\x81/x", "\xc3\xa9"},
	};

	for (size_t i = 0; i < 4; i++) {
		cleanup_ws struct ws ws;

		ws_open(&ws, NULL);
		ws_put(&ws, pairs[i][0], "x", 0644);
		ws_put(&ws, pairs[i][1], "x", 0644);
		expect_error(&ws, false, EINVAL, "(e%CC%81)");
		expect_error(&ws, false, EINVAL, "(%C3%A9)");
	}
}

Test(scan, warns_of_names_that_differ_only_in_case)
{
	cleanup_ws struct ws ws;
	cleanup_inventory struct inventory inv = INVENTORY_INIT;

	ws_open(&ws, NULL);
	ws_put(&ws, "README", "", 0644);
	ws_put(&ws, "readme", "", 0644);
	ws_put(&ws, "Dir/x", "", 0644);
	ws_put(&ws, "dir/y", "", 0644);
	ws_put(&ws, "dir/z", "", 0644);
	ws_put(&ws, "\xc3\x89", "", 0644);
	ws_put(&ws, "\xc3\xa9", "", 0644);
	ws_put(&ws, "a/x", "", 0644);
	ws_put(&ws, "b/X", "", 0644);
	cr_assert(eq(int, ws_scan(&ws, &inv, NULL), 0));
	cr_assert(eq(sz, strv_len(inv.warnings), 3));
	cr_expect(eq(str, inv.warnings[0],
		     "'Dir' and 'dir' differ only in case"));
	cr_expect(eq(str, inv.warnings[1],
		     "'README' and 'readme' differ only in case"));
	cr_expect(eq(str, inv.warnings[2],
		     "'\xc3\x89' and '\xc3\xa9' differ only in case"));
}

Test(scan, refuses_special_files)
{
	for (int i = 0; i < 2; i++) {
		cleanup_ws struct ws ws;
		struct sockaddr_un addr = {.sun_family = AF_UNIX};
		cleanup_fd int fd = socket(AF_UNIX, SOCK_STREAM, 0);
		cleanup_free char *path = NULL;

		ws_open(&ws, NULL);
		ws_put(&ws, "a", "", 0644);
		path = ws_path(&ws, "s");
		if (i == 0) {
			cr_assert(eq(int, mkfifo(path, 0600), 0));
		} else {
			strncpy(addr.sun_path, path, sizeof(addr.sun_path) - 1);
			cr_assert(eq(int,
				     bind(fd, (struct sockaddr *)&addr,
					  sizeof(addr)),
				     0));
		}
		expect_error(&ws, false, EINVAL, i ? "socket" : "fifo");
		expect_error(&ws, true, EINVAL, i ? "socket" : "fifo");
	}
}

struct link_case {
	const char *at, *target;
	bool ok;
};

Test(scan, keeps_symlinks_that_stay_inside)
{
	static const struct link_case cases[] = {
		{"l", "a", true},          {"l", "nowhere/at/all", true},
		{"d/l", "../a", true},     {"d/e/l", "../../a", true},
		{"d/l", "x", true},        {"l", "../a", false},
		{"l", "..", false},        {"d/l", "../..", false},
		{"d/l", "../../a", false}, {"l", "/etc/passwd", false},
		{"l", "a/../b", false},    {"l", "./a", false},
		{"l", "a//b", false},      {"l", "a/", false},
		{"l", "a\\b", false},      {"l", "\xff", false},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		cleanup_ws struct ws ws;
		cleanup_inventory struct inventory inv = INVENTORY_INIT;
		cleanup_error struct error *err = NULL;
		int r;

		ws_open(&ws, NULL);
		ws_put(&ws, "a", "x", 0644);
		ws_link(&ws, cases[i].at, cases[i].target);
		r = ws_scan(&ws, &inv, &err);
		cr_expect(r == (cases[i].ok ? 0 : -EINVAL), "%s -> %s: %d",
			  cases[i].at, cases[i].target, r);
		if (!cases[i].ok)
			cr_expect(err &&
				  strstr(err->hint, "--follow-symlinks"));
	}
}

Test(scan, follows_symlinks_when_asked)
{
	cleanup_ws struct ws ws;
	cleanup_tmpdir char *outside = tmpdir_new();
	cleanup_inventory struct inventory inv = INVENTORY_INIT;
	cleanup_free char *text = NULL, *blob = NULL, *blob_dir = NULL;
	cleanup_fd int fd = -1;

	blob = xasprintf("%s/blob", outside);
	blob_dir = xasprintf("%s/sub/deep", outside);
	cr_assert(eq(int, io_mkdirs(blob_dir, 0755), 0));
	cr_assert(eq(int,
		     io_write_file_atomic(AT_FDCWD, blob, "hello", 5, 0755),
		     0));
	ws_open(&ws, NULL);
	ws_link(&ws, "model.bin", blob);
	ws_link(&ws, "again", "model.bin");
	ws_link(&ws, "d", outside);
	ws_put(&ws, "real/x", "x", 0644);
	ws_link(&ws, "alias", "real");
	cr_assert(eq(int, ws_scan_follow(&ws, &inv, NULL), 0));
	text = inventory_text(&inv);
	cr_expect(eq(str, text,
		     "fx 0 5 2cf24dba again\n"
		     "f- 0 1 2d711642 alias/x\n"
		     "fx 0 5 2cf24dba d/blob\n"
		     "d- 0 0 00000000 d/sub/deep\n"
		     "fx 0 5 2cf24dba model.bin\n"
		     "f- 0 1 2d711642 real/x\n"));
	fd = inventory_open(&inv, &inv.entries[0], NULL);
	cr_expect(ge(int, fd, 0));
}

Test(scan, following_ends_where_links_lead_nowhere)
{
	static const struct link_case cases[] = {
		{"l", "missing", false}, {"l", "l", false},
		{"l", ".", false},       {"d/l", "..", false},
		{"d/l", "../d", false},  {"l", "/dev/null", false},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		cleanup_ws struct ws ws;
		cleanup_inventory struct inventory inv = INVENTORY_INIT;
		cleanup_error struct error *err = NULL;
		int r;

		ws_open(&ws, NULL);
		ws_put(&ws, "a", "x", 0644);
		ws_link(&ws, cases[i].at, cases[i].target);
		r = ws_scan_follow(&ws, &inv, &err);
		cr_expect(r == -EINVAL || r == -ELOOP, "%s -> %s: %d",
			  cases[i].at, cases[i].target, r);
		cr_assert(err != NULL);
		cr_expect(eq(int, err->kind, ERROR_VALIDATION));
	}
}

Test(scan, a_layer_without_a_file_is_refused_with_its_place)
{
	cleanup_ws struct ws ws;

	ws_open(&ws, TWO_LAYERS);
	ws_put(&ws, "src/x", "x", 0644);
	ws_mkdir(&ws, "data/only-a-folder");
	expect_error(&ws, false, EINVAL,
		     BUNDLE_FILE_NAME ":6:7: layer 'data' has no file");
}

Test(scan, an_empty_workspace_is_refused)
{
	cleanup_ws struct ws ws;

	ws_open(&ws, NULL);
	expect_error(&ws, false, EINVAL, "'data' has no file");
}

Test(scan, an_ignore_file_must_be_a_regular_file)
{
	cleanup_ws struct ws ws;

	ws_open(&ws, NULL);
	ws_put(&ws, "a", "", 0644);
	ws_link(&ws, ".mopsignore", "a");
	expect_error(&ws, false, EINVAL, ".mopsignore");
}

Test(scan, a_missing_folder_is_not_found)
{
	cleanup_ws struct ws ws;
	cleanup_inventory struct inventory inv = INVENTORY_INIT;
	cleanup_error struct error *err = NULL;
	struct scan_options o = {.hash = true};

	ws_open(&ws, NULL);
	cr_assert(eq(int, scan("/no/such", &ws.bf, &o, &inv, &err), -ENOENT));
	cr_expect(eq(int, err->kind, ERROR_NOT_FOUND));
}

Test(scan, without_hashing_knows_sizes)
{
	cleanup_ws struct ws ws;
	cleanup_inventory struct inventory inv = INVENTORY_INIT;
	struct scan_options o = {.hash = false};

	ws_open(&ws, NULL);
	ws_put(&ws, "a", "hello", 0644);
	cr_assert(eq(int, scan(ws.dir, &ws.bf, &o, &inv, NULL), 0));
	cr_expect(eq(u64, inv.entries[0].size, 5));
	cr_expect(eq(sz, inv.n_hashed, 0));
}

Test(scan, hashes_files_of_every_size_as_they_are)
{
	static const size_t sizes[] = {1,
				       32767,
				       32768,
				       32769,
				       65536,
				       CHUNK_SIZE - 1,
				       CHUNK_SIZE,
				       CHUNK_SIZE + 1,
				       2 * CHUNK_SIZE,
				       5 * CHUNK_SIZE + 7,
				       17 * CHUNK_SIZE};
	cleanup_ws struct ws ws;
	cleanup_inventory struct inventory inv = INVENTORY_INIT;

	ws_open(&ws, NULL);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		char name[] = {(char)('a' + i), 0};

		ws_put_bytes(&ws, name, sizes[i], (unsigned)i);
	}
	cr_assert(eq(int, ws_scan(&ws, &inv, NULL), 0));
	for (size_t i = 0; i < inv.n; i++) {
		const struct inv_entry *e = &inv.entries[i];
		cleanup_free char *buf = NULL;
		size_t n;

		cr_assert(eq(int,
			     io_read_file(inv.dirfd, e->path, (size_t)64 << 20,
					  &buf, &n),
			     0));
		struct digest want = digest_of_buf(buf, n);

		cr_expect(digest_equal(&want, &e->digest), "%zu bytes", n);
		cr_expect(eq(uint, e->n_chunks,
			     n <= CHUNK_SIZE
				     ? 0
				     : (n + CHUNK_SIZE - 1) / CHUNK_SIZE));
		for (size_t k = 0; k < e->n_chunks; k++) {
			size_t off = k * CHUNK_SIZE;
			struct digest c = digest_of_buf(
				buf + off, MIN(n - off, (size_t)CHUNK_SIZE));

			cr_expect(digest_equal(&c, &e->chunks[k]));
		}
	}
}

/* The same workspace, made in another order under another umask. */
static void fill(const struct ws *ws, bool backwards)
{
	for (int i = 0; i < 40; i++) {
		int k = backwards ? 39 - i : i;
		cleanup_free char *path =
			xasprintf("%s/%c%c%d", k % 3 ? "d" : "D/e", 'a' + k % 7,
				  'A' + k % 5, k);

		ws_put_bytes(ws, path, (size_t)k * 997, (unsigned)k);
	}
}

Test(scan, depends_on_content_alone)
{
	cleanup_ws struct ws a, b;
	cleanup_inventory struct inventory ia = INVENTORY_INIT,
					   ib = INVENTORY_INIT;
	cleanup_free char *ta = NULL, *tb = NULL;
	struct timespec old[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
	mode_t mask;

	ws_open(&a, NULL);
	fill(&a, false);
	mask = umask(077);
	ws_open(&b, NULL);
	fill(&b, true);
	cr_assert(eq(int, ws_scan(&a, &ia, NULL), 0));
	setlocale(LC_ALL, "C.UTF-8");
	setenv("TZ", "Asia/Kathmandu", 1);
	for (size_t i = 0; i < ia.n; i++) {
		cleanup_free char *path = ws_path(&b, ia.entries[i].path);

		cr_assert(eq(int, utimensat(AT_FDCWD, path, old, 0), 0));
	}
	cr_assert(eq(int, ws_scan(&b, &ib, NULL), 0));
	umask(mask);
	ta = inventory_text(&ia);
	tb = inventory_text(&ib);
	cr_expect(eq(str, ta, tb));
	cr_expect(eq(sz, ia.n, 40));
}

Test(scan, one_thread_or_many_find_the_same)
{
	cleanup_ws struct ws ws;
	cleanup_free char *first = NULL;

	ws_open(&ws, NULL);
	fill(&ws, false);
	for (unsigned threads = 1; threads <= 8; threads *= 2) {
		cleanup_inventory struct inventory inv = INVENTORY_INIT;
		cleanup_free char *text = NULL;
		struct scan_options o = {.hash = true, .threads = threads};

		cr_assert(eq(int, scan(ws.dir, &ws.bf, &o, &inv, NULL), 0));
		text = inventory_text(&inv);
		if (!first)
			first = xstrdup(text);
		cr_expect(eq(str, text, first));
	}
}

/*
 * The hash cache.
 */

static size_t scan_cached(const struct ws *ws, const char *cache_dir,
			  char **ret_text)
{
	cleanup_inventory struct inventory inv = INVENTORY_INIT;
	struct scan_options o = {.hash = true};
	struct cache *c = NULL;

	cr_assert(eq(int, cache_open(cache_dir, &c, NULL), 0));
	cr_assert(eq(int, hashes_open(c, ws->dir, &o.hashes, NULL), 0));
	cr_assert(eq(int, scan(ws->dir, &ws->bf, &o, &inv, NULL), 0));
	cr_assert(eq(int, hashes_save(o.hashes, NULL), 0));
	hashes_free(o.hashes);
	cache_close(c);
	*ret_text = inventory_text(&inv);
	return inv.n_hashed;
}

Test(scan, the_second_one_reads_only_what_changed)
{
	cleanup_ws struct ws ws;
	cleanup_tmpdir char *cache = tmpdir_new();
	cleanup_free char *first = NULL, *second = NULL, *third = NULL;

	ws_open(&ws, NULL);
	fill(&ws, false);
	ws_put_bytes(&ws, "big", 3 * CHUNK_SIZE, 1);
	time_sleep_ms(2100); /* what is younger is not remembered */
	cr_expect(eq(sz, scan_cached(&ws, cache, &first), 40),
		  "all but the empty one");
	cr_expect(eq(sz, scan_cached(&ws, cache, &second), 0));
	cr_expect(eq(str, first, second));
	ws_put(&ws, "d/bB1", "other", 0644);
	cr_expect(eq(sz, scan_cached(&ws, cache, &third), 1));
	cr_expect(ne(str, first, third));
}

Test(scan, what_is_young_is_read_again)
{
	cleanup_ws struct ws ws;
	cleanup_tmpdir char *cache = tmpdir_new();
	cleanup_free char *first = NULL, *second = NULL;

	ws_open(&ws, NULL);
	ws_put(&ws, "a", "one", 0644);
	cr_expect(eq(sz, scan_cached(&ws, cache, &first), 1));
	ws_put(&ws, "a", "two", 0644); /* same size, perhaps same tick */
	cr_expect(eq(sz, scan_cached(&ws, cache, &second), 1));
	cr_expect(ne(str, first, second));
}

/*
 * Files that change meanwhile.
 */

static void write_other(const struct ws *ws)
{
	ws_put(ws, "d/a", "two", 0644);
}

static void grow(const struct ws *ws)
{
	ws_put(ws, "d/a", "longer", 0644);
}

static void make_executable(const struct ws *ws)
{
	cleanup_free char *path = ws_path(ws, "d/a");

	chmod(path, 0755);
}

static void remove_file(const struct ws *ws)
{
	cleanup_free char *path = ws_path(ws, "d/a");

	unlink(path);
}

static void delete_folder(const struct ws *ws)
{
	cleanup_free char *path = ws_path(ws, "d");

	io_remove_tree(AT_FDCWD, path);
}

static void replace_by_twin(const struct ws *ws)
{
	remove_file(ws);
	ws_put(ws, "d/b", "x", 0644); /* takes the inode number */
	ws_put(ws, "d/a", "one", 0644);
}

static void replace_by_fifo(const struct ws *ws)
{
	cleanup_free char *path = ws_path(ws, "d/a");

	unlink(path);
	mkfifo(path, 0644);
}

static void replace_by_link(const struct ws *ws)
{
	remove_file(ws);
	ws_put(ws, "b", "one", 0644);
	ws_link(ws, "d/a", "../b");
}

static void put_a_link_on_the_way(const struct ws *ws)
{
	cleanup_free char *d = ws_path(ws, "d"), *e = ws_path(ws, "e");

	cr_assert(eq(int, rename(d, e), 0));
	ws_link(ws, "d", "e");
}

/* The two halves of a scan, with something between them. */
static void check_change(void (*change)(const struct ws *ws), const char *what)
{
	cleanup_ws struct ws ws;
	cleanup_owners struct owners *owners = NULL;
	cleanup_fd int fd = -1;
	cleanup_error struct error *err = NULL;
	struct scan_options o = {.hash = true};
	cleanup_walk struct walk w = {.o = &o};
	int r;

	ws_open(&ws, NULL);
	ws_put(&ws, "d/a", "one", 0644);
	cr_assert(eq(int, owners_new(&ws.bf, &owners, NULL), 0));
	fd = open(ws.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	w.owners = owners;
	w.rootfd = fd;
	cr_assert(eq(int, walk_run(&w, NULL), 0));
	time_sleep_ms(20); /* a tick of the file system's clock */
	change(&ws);
	r = scan_hash(&w, &err);
	cr_expect(r == -ESTALE, "%s: %d", what, r);
	cr_assert(err != NULL, "%s", what);
	cr_expect(eq(int, err->kind, ERROR_VALIDATION));
	cr_expect(eq(str, err->message,
		     "'d/a' changed while it was being scanned"));
}

Test(scan, a_file_that_changes_meanwhile_is_an_error_by_name)
{
	check_change(write_other, "other content");
	check_change(grow, "other size");
	check_change(make_executable, "other mode");
	check_change(remove_file, "deleted");
	check_change(delete_folder, "deleted with its folder");
	check_change(replace_by_twin, "another file");
	check_change(replace_by_fifo, "a fifo");
	check_change(replace_by_link, "a link");
	check_change(put_a_link_on_the_way, "a link on the way");
}

Test(scan, an_open_of_what_is_gone_says_so)
{
	cleanup_ws struct ws ws;
	cleanup_inventory struct inventory inv = INVENTORY_INIT;
	cleanup_error struct error *err = NULL;

	ws_open(&ws, NULL);
	ws_put(&ws, "d/a", "x", 0644);
	cr_assert(eq(int, ws_scan(&ws, &inv, NULL), 0));
	cr_assert(eq(int, unlinkat(inv.dirfd, "d/a", 0), 0));
	cr_expect(
		eq(int, inventory_open(&inv, &inv.entries[0], &err), -ESTALE));
	cr_expect(eq(int, err->kind, ERROR_VALIDATION));
	cr_expect(strstr(err->message, "'d/a'") != NULL);
}

Test(scan, an_open_leads_through_no_link_that_came_later)
{
	cleanup_ws struct ws ws;
	cleanup_inventory struct inventory inv = INVENTORY_INIT;

	ws_open(&ws, NULL);
	ws_put(&ws, "d/a", "x", 0644);
	cr_assert(eq(int, ws_scan(&ws, &inv, NULL), 0));
	cr_assert(eq(int, renameat(inv.dirfd, "d", inv.dirfd, "e"), 0));
	cr_assert(eq(int, symlinkat("e", inv.dirfd, "d"), 0));
	cr_expect(
		eq(int, inventory_open(&inv, &inv.entries[0], NULL), -ESTALE));
}

/*
 * Registered files.
 */

static int add(struct inventory *inv, const struct ws *ws, const char *path,
	       const char *text, struct error **errp)
{
	struct digest d = digest_of_str(text);
	struct digest *chunks = NULL;

	return inventory_add(inv, &ws->bf, path, strlen(text), &d, &chunks, 0,
			     errp);
}

Test(scan, takes_files_that_are_registered_elsewhere)
{
	cleanup_ws struct ws ws;
	cleanup_inventory struct inventory inv = INVENTORY_INIT;
	cleanup_free char *paths = NULL;

	ws_open(&ws, TWO_LAYERS);
	ws_put(&ws, "src/x", "x", 0644);
	ws_put(&ws, "data/m", "here", 0644);
	cr_assert(eq(int, ws_scan(&ws, &inv, NULL), 0));
	cr_expect(eq(int, add(&inv, &ws, "data/a", "a", NULL), 0));
	cr_expect(eq(int, add(&inv, &ws, "data/z", "z", NULL), 0));
	cr_expect(eq(int, add(&inv, &ws, "data/m", "here", NULL), 0));
	cr_expect(eq(int, add(&inv, &ws, "data/m", "else", NULL), -EINVAL));
	cr_expect(eq(int, add(&inv, &ws, "other/m", "x", NULL), -EINVAL));
	cr_expect(eq(int, add(&inv, &ws, "data/../m", "x", NULL), -EINVAL));
	paths = inventory_paths(&inv);
	cr_expect(eq(str, paths, "data/a data/m data/z src/x"));
	cr_expect(eq(int, (int)inventory_find(&inv, "data/z")->layer, 1));
	cr_expect(eq(ptr, (void *)inventory_find(&inv, "data/y"), NULL));
	cr_expect(eq(int,
		     inventory_open(&inv, inventory_find(&inv, "data/z"), NULL),
		     -EINVAL));
}

Test(scan, an_empty_folder_is_filled_by_what_is_registered_in_it)
{
	cleanup_ws struct ws ws;
	cleanup_inventory struct inventory inv = INVENTORY_INIT;
	cleanup_free char *paths = NULL;

	ws_open(&ws, TWO_LAYERS);
	ws_put(&ws, "src/x", "x", 0644);
	ws_put(&ws, "data/m", "m", 0644);
	ws_mkdir(&ws, "data/none");
	ws_mkdir(&ws, "data/void");
	cr_assert(eq(int, ws_scan(&ws, &inv, NULL), 0));
	cr_expect(eq(int, add(&inv, &ws, "data/void/a", "a", NULL), 0));
	cr_expect(eq(int, add(&inv, &ws, "data/none", "a", NULL), -EINVAL));
	paths = inventory_paths(&inv);
	cr_expect(eq(str, paths, "data/m data/none/ data/void/a src/x"));
}
