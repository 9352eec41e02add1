#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "engine/tar.h"
#include "engine/tar_format.h"

/* An archive in memory, given out in bites of @bite bytes. */
struct source {
	struct strbuf bytes;
	size_t pos, bite;
};

static int source_read(void *ctx, void *buf, size_t n, struct error **errp)
{
	struct source *s = ctx;

	n = MIN(n, MIN(s->bite, s->bytes.len - s->pos));
	memcpy(buf, s->bytes.buf + s->pos, n);
	s->pos += n;
	return (int)n;
}

static void put(struct source *s, const struct tar_entry *e)
{
	tar_header(&s->bytes, e);
	for (uint64_t i = 0; i < e->size; i++)
		strbuf_addc(&s->bytes, (char)('a' + i % 26));
	for (uint64_t i = tar_padding(e->size); i; i--)
		strbuf_addc(&s->bytes, '\0');
}

static void put_end(struct source *s)
{
	for (uint64_t i = tar_trailer(s->bytes.len); i; i--)
		strbuf_addc(&s->bytes, '\0');
}

/* Read all: "path/ path=content path->target ". */
static int list(struct source *s, struct strbuf *out, struct error **errp)
{
	struct tar_reader *t = tar_reader_new(source_read, s);
	struct tar_entry e;
	char buf[100];
	ssize_t n;
	int r;

	s->pos = 0;
	while ((r = tar_reader_next(t, &e, errp)) > 0) {
		strbuf_addf(out, "%s%s", e.path, e.executable ? "*" : "");
		if (e.kind == TAR_DIR)
			strbuf_addc(out, '/');
		if (e.kind == TAR_SYMLINK)
			strbuf_addf(out, "->%s", e.target);
		/* One is left for the reader to skip. */
		while (strcmp(e.path, "skipped") != 0 &&
		       (n = tar_reader_read(t, buf, sizeof(buf), errp)) != 0) {
			if (n < 0) {
				tar_reader_free(t);
				return (int)n;
			}
			strbuf_addf(out, "+%zd", n);
		}
		strbuf_addc(out, ' ');
	}
	if (!r)
		r = tar_reader_next(t, &e, errp);
	tar_reader_free(t);
	return r;
}

Test(tar, ends_with_two_blocks_in_a_whole_record)
{
	for (uint64_t size = 0; size < 5 * TAR_RECORD; size += TAR_BLOCK) {
		uint64_t end = tar_trailer(size);

		cr_expect(ge(u64, end, 2 * TAR_BLOCK));
		cr_expect(lt(u64, end, 2 * TAR_BLOCK + TAR_RECORD));
		cr_expect(eq(u64, (size + end) % TAR_RECORD, 0), "%llu",
			  (unsigned long long)size);
	}
}

static struct tar_entry file(const char *path, uint64_t size)
{
	return (struct tar_entry){.kind = TAR_FILE, .path = path, .size = size};
}

static struct tar_entry dir(const char *path)
{
	return (struct tar_entry){.kind = TAR_DIR, .path = path};
}

static struct tar_entry symlink_to(const char *path, const char *target)
{
	return (struct tar_entry){
		.kind = TAR_SYMLINK, .path = path, .target = target};
}

static void put_sample(struct source *s)
{
	struct tar_entry run = file("a/run", 700);

	run.executable = true;
	put(s, &(struct tar_entry){.kind = TAR_DIR, .path = "a"});
	put(s, &(struct tar_entry){.kind = TAR_FILE, .path = "a-b"});
	put(s, &run);
	put(s, &(struct tar_entry){.kind = TAR_DIR, .path = "a/x"});
	put(s, &(struct tar_entry){.kind = TAR_SYMLINK,
				   .path = "a/x/l",
				   .target = "../run"});
	put(s, &(struct tar_entry){
		       .kind = TAR_FILE, .path = "skipped", .size = 600});
	put_end(s);
}

Test(tar, gives_back_what_was_written_however_it_arrives)
{
	static const size_t bites[] = {1, 7, 511, 512, 513, 1u << 20};

	for (size_t i = 0; i < ARRAY_SIZE(bites); i++) {
		cleanup_strbuf struct strbuf out = STRBUF_INIT;
		cleanup_error struct error *err = NULL;
		struct source s = {.bite = bites[i]};
		int r;

		put_sample(&s);
		cr_expect(eq(sz, s.bytes.len % TAR_RECORD, 0));
		r = list(&s, &out, &err);
		cr_assert(eq(int, r, 0), "%s", err ? err->message : "");
		if (bites[i] > 100)
			cr_expect(eq(str, (char *)strbuf_str(&out),
				     "a/ a-b a/run*+100+100+100+100+100+100+100"
				     " a/x/ a/x/l->../run skipped "));
		strbuf_release(&s.bytes);
	}
}

static bool has_pax(const struct tar_entry *e)
{
	cleanup_strbuf struct strbuf out = STRBUF_INIT;

	tar_header(&out, e);
	return out.len > TAR_BLOCK;
}

/* @n letters. */
static char *letters(size_t n)
{
	char *s = xmalloc(n + 1);

	memset(s, 'n', n);
	s[n] = '\0';
	return s;
}

Test(tar, splits_a_path_where_ustar_allows_it)
{
	/* prefix, name, fits as a file, fits as a folder */
	static const struct {
		size_t prefix, name;
		bool file, folder;
	} cases[] = {
		{0, 99, true, true},     {0, 100, true, false},
		{0, 101, false, false},  {155, 100, true, false},
		{155, 99, true, true},   {156, 50, false, false},
		{50, 101, false, false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup_free char *a = letters(cases[i].prefix);
		cleanup_free char *b = letters(cases[i].name);
		cleanup_free char *path =
			*a ? xasprintf("%s/%s", a, b) : xstrdup(b);
		struct tar_entry f = file(path, 1), d = dir(path);

		cr_expect(eq(int, has_pax(&f), !cases[i].file), "%zu+%zu",
			  cases[i].prefix, cases[i].name);
		cr_expect(eq(int, has_pax(&d), !cases[i].folder), "%zu+%zu/",
			  cases[i].prefix, cases[i].name);
	}
}

Test(tar, splits_at_the_leftmost_slash_that_fits)
{
	cleanup_free char *tail = letters(60);
	cleanup_free char *path = xasprintf("a/b/c/%s/%s", tail, "end/f");
	cleanup_free char *longer = xasprintf("%s/%s", tail, path);
	struct tar_entry e = file(longer, 0);
	cleanup_strbuf struct strbuf out = STRBUF_INIT;
	const struct tar_block *b;

	tar_header(&out, &e);
	b = (const void *)out.buf;
	cr_expect(eq(int, strncmp(b->prefix, tail, sizeof(b->prefix)), 0));
	cr_expect(eq(int, strncmp(b->name, path, sizeof(b->name)), 0));
}

Test(tar, says_in_pax_what_does_not_fit)
{
	cleanup_free char *name = letters(200), *target = letters(101);
	cleanup_free char *top = xasprintf("%s/x", name);
	struct tar_entry d = dir(name), l = symlink_to(top, target);
	cleanup_strbuf struct strbuf out = STRBUF_INIT;
	struct source s = {.bite = 4096};

	put(&s, &d);
	put(&s, &l);
	put_end(&s);
	cr_assert(eq(int, list(&s, &out, NULL), 0));
	cleanup_free char *want = xasprintf("%s/ %s->%s ", name, top, target);
	cr_expect(eq(str, (char *)strbuf_str(&out), want));
	strbuf_release(&s.bytes);
}

Test(tar, writes_big_sizes_in_pax_from_8_gib_on)
{
	struct tar_entry below = file("f", (1ull << 33) - 1);
	struct tar_entry above = file("f", 1ull << 33);
	cleanup_strbuf struct strbuf out = STRBUF_INIT;

	cr_expect(not(has_pax(&below)));
	tar_header(&out, &above);
	cr_assert(eq(sz, out.len, 3 * TAR_BLOCK));
	cr_expect(eq(int,
		     memcmp(out.buf + TAR_BLOCK, "19 size=8589934592\n", 20),
		     0));
}

Test(tar, a_pax_length_counts_its_own_digits)
{
	/* Around the lengths where one more digit is needed. */
	for (size_t n = 101; n < 1100; n++) {
		cleanup_strbuf struct strbuf out = STRBUF_INIT;
		cleanup_free char *target = letters(n);
		struct tar_entry e = symlink_to("l", target);
		const char *p;

		tar_header(&out, &e);
		p = out.buf + TAR_BLOCK;
		cr_assert(eq(sz, (size_t)(strchr(p, '\n') + 1 - p),
			     strtoul(p, NULL, 10)));
	}
}

Test(tar, keeps_the_longest_path_of_a_bundle_and_of_its_pointer)
{
	cleanup_strbuf struct strbuf path = STRBUF_INIT, ptr = STRBUF_INIT;
	cleanup_strbuf struct strbuf out = STRBUF_INIT;
	struct source s = {.bite = 4096};
	struct tar_entry e;

	e = dir(".mops");
	put(&s, &e);
	e = dir(".mops/ptr");
	put(&s, &e);
	for (int i = 0; i < 9; i++) {
		cleanup_free char *name = letters(i < 8 ? 226 : 232);

		strbuf_addf(&path, "%s%s", i ? "/" : "", name);
		strbuf_reset(&ptr);
		strbuf_addf(&ptr, ".mops/ptr/%s%s", path.buf,
			    i < 8 ? "" : ".json");
		e = i < 8 ? dir(ptr.buf) : file(ptr.buf, 5);
		put(&s, &e);
	}
	cr_assert(eq(sz, path.len, 2048));
	put_end(&s);
	cr_expect(eq(int, list(&s, &out, NULL), 0));
	strbuf_release(&s.bytes);
}

/* Each archive breaks one rule of names, kinds or order. */
static int list_of(const struct tar_entry *e, size_t n)
{
	cleanup_strbuf struct strbuf out = STRBUF_INIT;
	struct source s = {.bite = 4096};
	int r;

	for (size_t i = 0; i < n; i++)
		put(&s, &e[i]);
	put_end(&s);
	r = list(&s, &out, NULL);
	strbuf_release(&s.bytes);
	return r;
}

Test(tar_reader, refuses_names_and_targets_that_break_the_rules)
{
	const struct tar_entry cases[] = {
		file("", 1),
		file("/etc/passwd", 1),
		file("../x", 1),
		file("..", 1),
		file(".", 1),
		file("a\\b", 1),
		file("a\nb", 1),
		file("a\xff", 1),
		file(".git", 1),
		file(".mops-bundle.yaml", 1),
		file(".mops", 1),
		file(".mops/x", 1),
		dir(".mops/x"),
		dir(".mops-x"),
		dir("a//b"),
		dir("a/"),
		symlink_to("l", "/etc/passwd"),
		symlink_to("l", "../x"),
		symlink_to("l", ""),
		symlink_to("l", "a/../b"),
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		cr_expect(eq(int, list_of(&cases[i], 1), -EINVAL), "'%s'",
			  cases[i].path);
}

Test(tar_reader, refuses_what_is_no_pointer_among_pointers)
{
	struct tar_entry e[] = {dir(".mops"), dir(".mops/ptr"), dir("")};
	static const char *const files[] = {".mops/ptr/x", ".mops/ptr/.json",
					    ".mops/ptr/.mops-x.json",
					    ".mops/ptr/.git.json"};

	e[2] = file(".mops/ptr/x.json", 1);
	cr_expect(eq(int, list_of(e, 3), 0));
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		e[2] = file(files[i], 1);
		cr_expect(eq(int, list_of(e, 3), -EINVAL), "%s", files[i]);
	}
	e[2] = symlink_to(".mops/ptr/x.json", "y");
	cr_expect(eq(int, list_of(e, 3), -EINVAL));
	e[2] = symlink_to(".mops/x", "y");
	cr_expect(eq(int, list_of(e, 3), -EINVAL));
}

Test(tar_reader, refuses_entries_out_of_place)
{
	const struct tar_entry bad[][3] = {
		{file("b", 1), file("a", 1), file("c", 1)},
		{file("a", 1), file("a", 1), file("c", 1)},
		{file("a/b", 1), file("b", 1), file("c", 1)},
		{file("a", 1), file("a/b", 1), file("c", 1)},
		{dir("a"), file("a-b/c", 1), file("c", 1)},
		{dir("a"), dir("a/b"), file("a/bc/d", 1)},
		{dir("a"), file("a/b", 1), dir("a")},
		{dir("ab"), dir("b"), file("b/a/x", 1)},
		{dir("ab"), file("b", 1), file("ab/x", 1)},
	};
	const struct tar_entry good[] = {
		dir("a"),   dir("a-b"),       file("a-b/x", 1), file("a/y", 1),
		dir("a/z"), file("a/z/1", 1), file("a/zz", 1),
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		cr_expect(eq(int, list_of(bad[i], 3), -EINVAL), "case %zu", i);
	cr_expect(eq(int, list_of(good, ARRAY_SIZE(good)), 0));
}

Test(tar_reader, refuses_what_ends_early_or_late)
{
	struct source s = {.bite = 4096};
	size_t whole;

	put_sample(&s);
	whole = s.bytes.len;
	for (size_t n = 0; n < whole; n += 256) {
		cleanup_strbuf struct strbuf out = STRBUF_INIT;

		s.bytes.len = n;
		cr_expect(eq(int, list(&s, &out, NULL), -EINVAL), "%zu", n);
	}
	s.bytes.len = whole;
	strbuf_addc(&s.bytes, '\0');
	cleanup_strbuf struct strbuf out = STRBUF_INIT;
	cr_expect(eq(int, list(&s, &out, NULL), -EINVAL));
	strbuf_release(&s.bytes);
}

Test(tar_reader, refuses_any_changed_byte_that_is_not_content)
{
	cleanup_strbuf struct strbuf good = STRBUF_INIT;
	struct source s = {.bite = 4096};
	size_t accepted = 0;

	put_sample(&s);
	cr_assert(eq(int, list(&s, &good, NULL), 0));
	for (size_t i = 0; i < s.bytes.len; i++)
		for (int flip = 1; flip < 256; flip += flip) {
			cleanup_strbuf struct strbuf out = STRBUF_INIT;
			int r;

			s.bytes.buf[i] = (char)(s.bytes.buf[i] ^ flip);
			r = list(&s, &out, NULL);
			s.bytes.buf[i] = (char)(s.bytes.buf[i] ^ flip);
			cr_assert(r == 0 || r == -EINVAL);
			accepted += r == 0;
			/* A header has a checksum: no flip gives another
			 * listing. */
			if (r == 0)
				cr_assert(eq(str, (char *)strbuf_str(&out),
					     (char *)strbuf_str(&good)));
		}
	cr_expect(eq(sz, accepted, 8 * (700 + 600)));
	strbuf_release(&s.bytes);
}

/* The header of @e with one field changed and the checksum made right. */
static int list_forged(const struct tar_entry *e,
		       void (*forge)(struct tar_block *b))
{
	cleanup_strbuf struct strbuf out = STRBUF_INIT;
	struct source s = {.bite = 4096};
	unsigned sum = 0;
	struct tar_block b;
	int r;

	put(&s, e);
	put_end(&s);
	memcpy(&b, s.bytes.buf, sizeof(b));
	forge(&b);
	memset(b.checksum, ' ', sizeof(b.checksum));
	for (size_t i = 0; i < sizeof(b); i++)
		sum += ((unsigned char *)&b)[i];
	snprintf(b.checksum, sizeof(b.checksum), "%06o", sum);
	memcpy(s.bytes.buf, &b, sizeof(b));
	r = list(&s, &out, NULL);
	strbuf_release(&s.bytes);
	return r;
}

#define FORGERIES(F)                                                \
	F(nothing, (void)b, 0)                                      \
	F(mode, memcpy(b->mode, "0000600", 8), -EINVAL)             \
	F(setuid, memcpy(b->mode, "0004755", 8), -EINVAL)           \
	F(uid, memcpy(b->uid, "0001750", 8), -EINVAL)               \
	F(gid, memcpy(b->gid, "0000001", 8), -EINVAL)               \
	F(mtime, memcpy(b->mtime, "00000000001", 12), -EINVAL)      \
	F(size_spaces, memcpy(b->size, "         12", 12), -EINVAL) \
	F(size_binary, b->size[0] = (char)0x80, -EINVAL)            \
	F(hardlink, b->type = '1', -EINVAL)                         \
	F(old_file, b->type = '\0', -EINVAL)                        \
	F(device, b->type = '3', -EINVAL)                           \
	F(block_device, b->type = '4', -EINVAL)                     \
	F(fifo, b->type = '6', -EINVAL)                             \
	F(contiguous, b->type = '7', -EINVAL)                       \
	F(global_pax, b->type = 'g', -EINVAL)                       \
	F(pax, b->type = 'x', -EINVAL)                              \
	F(gnu_name, b->type = 'L', -EINVAL)                         \
	F(gnu_link, b->type = 'K', -EINVAL)                         \
	F(gnu_sparse, b->type = 'S', -EINVAL)                       \
	F(gnu_magic, memcpy(b->magic, "ustar  ", 8), -EINVAL)       \
	F(uname, b->uname[0] = 'r', -EINVAL)                        \
	F(gname, b->gname[0] = 'r', -EINVAL)                        \
	F(devmajor, memcpy(b->devmajor, "0000000", 8), -EINVAL)     \
	F(linkname, b->linkname[0] = 'x', -EINVAL)                  \
	F(behind_name, b->name[50] = 'x', -EINVAL)                  \
	F(prefix, memcpy(b->prefix, "d", 2), -EINVAL)               \
	F(padding, b->padding[11] = 1, -EINVAL)

#define FORGE(name, stmt, want)                       \
	static void forge_##name(struct tar_block *b) \
	{                                             \
		stmt;                                 \
	}
FORGERIES(FORGE)

Test(tar_reader, refuses_headers_that_the_writer_would_not_write)
{
	static const struct {
		const char *name;
		void (*forge)(struct tar_block *b);
		int want;
	} cases[] = {
#define CASE(name, stmt, want) {#name, forge_##name, want},
		FORGERIES(CASE)
#undef CASE
	};
	struct tar_entry e = file("f", 10);

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		cr_expect(eq(int, list_forged(&e, cases[i].forge),
			     cases[i].want),
			  "%s", cases[i].name);
}

/* An archive of one file behind a PAX header with these records. */
static int list_pax(const char *records, size_t n)
{
	cleanup_strbuf struct strbuf out = STRBUF_INIT;
	cleanup_free char *name = letters(101);
	struct tar_entry e = symlink_to("l", name), f = file("f", 10);
	struct source s = {.bite = 4096};
	struct tar_block b;
	unsigned sum = 0;
	int r;

	tar_header(&s.bytes, &e);
	memcpy(&b, s.bytes.buf, sizeof(b));
	snprintf(b.size, sizeof(b.size), "%011o", (unsigned)n);
	memset(b.checksum, ' ', sizeof(b.checksum));
	for (size_t i = 0; i < sizeof(b); i++)
		sum += ((unsigned char *)&b)[i];
	snprintf(b.checksum, sizeof(b.checksum), "%06o", sum);
	strbuf_reset(&s.bytes);
	strbuf_add(&s.bytes, &b, sizeof(b));
	strbuf_add(&s.bytes, records, n);
	for (uint64_t i = tar_padding(n); i; i--)
		strbuf_addc(&s.bytes, '\0');
	put(&s, &f);
	put_end(&s);
	r = list(&s, &out, NULL);
	strbuf_release(&s.bytes);
	return r;
}

Test(tar_reader, refuses_pax_records_that_the_writer_would_not_write)
{
	static const char *const cases[] = {
		"",
		"10 path=f\n",
		"11 size=10\n",
		"12 size=010\n",
		"20 size=99999999999\n",
		"34 size=9999999999999999999999999\n",
		"30 size=18446744073709551626\n",
		"9 path=f\n",
		"11 path=f\n",
		"99999999999999999999 path=f\n",
		"-1 path=f\n",
		"0 path=f\n",
		"3 \n",
		"path=f\n",
		"12 mtime=10\n",
		"22 GNU.sparse.major=1\n",
		"17 comment=hello\n",
		"12 linkpath=",
		"16 linkpath=../x\n10 path=f\n",
	};
	cleanup_free char *big = letters(64u << 10);

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		cr_expect(eq(int, list_pax(cases[i], strlen(cases[i])),
			     -EINVAL),
			  "%s", cases[i]);
	cr_expect(eq(int, list_pax(big, 64u << 10), -EINVAL));
	cr_expect(eq(int, list_pax("12 path=f\0g\n", 12), -EINVAL));
}
