/*
 * A reader that believes nothing twice: it takes from a header what an entry is
 * called, how big it is and whether it is executable, writes the header that
 * the writer would write for that, and wants the same bytes. So one archive
 * has one meaning, and no field is left in which two readers could disagree.
 *
 * Entries come in byte order of their paths with every folder before what is
 * in it. The folders that can still get something are then those whose path is
 * a prefix (as a string) of the last entry's, so their lengths say all: a
 * bit each.
 */
#include "engine/tar.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/path.h"
#include "engine/tar_format.h"

#define POINTERS     ".mops/ptr/"
#define POINTERS_LEN (sizeof(POINTERS) - 1)
/* The longest path: the pointer file of the longest path of a bundle. */
#define TAR_PATH_MAX (PATH_BYTES_MAX + POINTERS_LEN + 5)
/* Three records, of which two are long. */
#define TAR_PAX_MAX (TAR_PATH_MAX + LINK_TARGET_MAX + 128)

struct tar_reader {
	int (*read)(void *ctx, void *buf, size_t n, struct error **errp);
	void *ctx;
	uint64_t total;      /* bytes read so far */
	uint64_t left;       /* of the current file's content */
	uint64_t padding;    /* behind it */
	bool ended;          /* well; or not at all: every call says so */
	struct strbuf raw;   /* the entry's header blocks, as read */
	struct strbuf again; /* and as they should be */
	char path[TAR_PATH_MAX + 2];
	char before[TAR_PATH_MAX + 2]; /* the entry before this one */
	char target[LINK_TARGET_MAX + 1];
	uint8_t dirs[TAR_PATH_MAX / 8 + 1]; /* by length of path */
};

struct tar_reader *tar_reader_new(int (*read)(void *ctx, void *buf, size_t n,
					      struct error **errp),
				  void *ctx)
{
	struct tar_reader *r = xcalloc(1, sizeof(*r));

	r->read = read;
	r->ctx = ctx;
	return r;
}

void tar_reader_free(struct tar_reader *r)
{
	if (!r)
		return;
	strbuf_release(&r->raw);
	strbuf_release(&r->again);
	free(r);
}

static int bad(struct error **errp, const char *what)
{
	return error_set(errp, EINVAL, "archive: %s", what);
}

/* Read exactly @n bytes. */
static int read_full(struct tar_reader *r, void *buf, size_t n,
		     struct error **errp)
{
	for (size_t got = 0; got < n;) {
		int k = r->read(r->ctx, (char *)buf + got, n - got, errp);

		if (k < 0)
			return k;
		if (!k)
			return bad(errp, "it ends too early");
		got += (size_t)k;
		r->total += (size_t)k;
	}
	return 0;
}

static bool all_zero(const void *p, size_t n)
{
	const unsigned char *c = p;

	while (n && !*c) {
		c++;
		n--;
	}
	return !n;
}

static int read_zeros(struct tar_reader *r, uint64_t n, struct error **errp)
{
	char buf[TAR_BLOCK] = {0};
	int k;

	while (n) {
		size_t step = MIN(n, sizeof(buf));

		k = read_full(r, buf, step, errp);
		if (k < 0)
			return k;
		if (!all_zero(buf, step))
			return bad(errp, "padding that is not zero");
		n -= step;
	}
	return 0;
}

/* After the first zero block: another, zeros to a whole record, and the end. */
static int read_end(struct tar_reader *r, struct error **errp)
{
	char byte;
	int k;

	k = read_zeros(r, tar_trailer(r->total - TAR_BLOCK) - TAR_BLOCK, errp);
	if (k < 0)
		return k;
	k = r->read(r->ctx, &byte, 1, errp);
	if (k < 0)
		return k;
	if (k)
		return bad(errp, "bytes follow its end");
	r->ended = true;
	return 0;
}

static int read_block(struct tar_reader *r, struct tar_block *b,
		      struct error **errp)
{
	int k = read_full(r, b, sizeof(*b), errp);

	if (k < 0)
		return k;
	strbuf_add(&r->raw, b, sizeof(*b));
	return 0;
}

/* Octal digits up to the field's NUL: what else is there shows when the header
 * is compared. */
static uint64_t get_octal(const char *field, size_t n)
{
	uint64_t v = 0;

	for (size_t i = 0; i + 1 < n && field[i] >= '0' && field[i] <= '7'; i++)
		v = v << 3 | (uint64_t)(field[i] - '0');
	return v;
}

/* The value of record @key at *@p, when that is the next one. */
static bool get_pax(const char **p, const char *end, const char *key,
		    const char **ret, size_t *ret_len)
{
	const char *s = *p, *line;
	size_t n = 0, k = strlen(key);

	while (s < end && *s >= '0' && *s <= '9' && n <= TAR_PAX_MAX)
		n = n * 10 + (size_t)(*s++ - '0');
	if (n > (size_t)(end - *p) || s >= end || *s != ' ')
		return false;
	line = *p + n;
	s++;
	if (line <= s || line[-1] != '\n' || (size_t)(line - s) < k + 2 ||
	    memcmp(s, key, k) != 0 || s[k] != '=')
		return false;
	*ret = s + k + 1;
	*ret_len = (size_t)(line - 1 - *ret);
	*p = line;
	return true;
}

struct pax {
	const char *path, *linkpath, *size;
	size_t path_len, linkpath_len, size_len;
};

static int parse_pax(const char *p, size_t n, struct pax *ret,
		     struct error **errp)
{
	const char *end = p + n;

	get_pax(&p, end, "path", &ret->path, &ret->path_len);
	get_pax(&p, end, "linkpath", &ret->linkpath, &ret->linkpath_len);
	get_pax(&p, end, "size", &ret->size, &ret->size_len);
	if (p != end)
		return bad(errp, "a PAX record that is not known here");
	return 0;
}

/* The PAX header in @b, and the header that follows it, to @b. */
static int read_pax(struct tar_reader *r, struct tar_block *b, struct pax *ret,
		    struct error **errp)
{
	uint64_t size = get_octal(b->size, sizeof(b->size));
	char data[TAR_PAX_MAX + TAR_BLOCK];
	int k;

	if (size > TAR_PAX_MAX)
		return bad(errp, "a PAX header is too long");
	k = read_full(r, data, size + tar_padding(size), errp);
	if (k < 0)
		return k;
	strbuf_add(&r->raw, data, size + tar_padding(size));
	k = read_block(r, b, errp);
	if (k < 0)
		return k;
	return parse_pax(r->raw.buf + TAR_BLOCK, size, ret, errp);
}

static int take(char *to, size_t max, const char *from, size_t n,
		struct error **errp)
{
	if (n > max || memchr(from, '\0', n))
		return bad(errp, "a name that cannot be");
	memcpy(to, from, n);
	to[n] = '\0';
	return 0;
}

static int take_path(struct tar_reader *r, const struct tar_block *b,
		     const struct pax *pax, struct error **errp)
{
	size_t prefix = strnlen(b->prefix, sizeof(b->prefix)), n;
	size_t name = strnlen(b->name, sizeof(b->name));
	int k;

	if (pax->path) {
		k = take(r->path, TAR_PATH_MAX + 1, pax->path, pax->path_len,
			 errp);
		if (k < 0)
			return k;
	} else {
		snprintf(r->path, sizeof(r->path), "%.*s%s%.*s", (int)prefix,
			 b->prefix, prefix ? "/" : "", (int)name, b->name);
	}
	n = strlen(r->path);
	if (b->type == TAR_TYPE_DIR && n && r->path[n - 1] == '/')
		r->path[n - 1] = '\0';
	return 0;
}

static int take_size(const struct tar_block *b, const struct pax *pax,
		     uint64_t *ret, struct error **errp)
{
	uint64_t v = 0;

	if (!pax->size) {
		*ret = get_octal(b->size, sizeof(b->size));
		return 0;
	}
	for (size_t i = 0; i < pax->size_len; i++) {
		if (pax->size[i] < '0' || pax->size[i] > '9' ||
		    v > INT64_MAX / 10 - 1)
			return bad(errp, "a size that cannot be");
		v = v * 10 + (uint64_t)(pax->size[i] - '0');
	}
	*ret = v;
	return 0;
}

static int take_target(struct tar_reader *r, const struct tar_block *b,
		       const struct pax *pax, struct error **errp)
{
	if (pax->linkpath)
		return take(r->target, LINK_TARGET_MAX, pax->linkpath,
			    pax->linkpath_len, errp);
	return take(r->target, LINK_TARGET_MAX, b->linkname,
		    strnlen(b->linkname, sizeof(b->linkname)), errp);
}

static int take_entry(struct tar_reader *r, const struct tar_block *b,
		      const struct pax *pax, struct tar_entry *e,
		      struct error **errp)
{
	int k = take_path(r, b, pax, errp);

	if (k < 0)
		return k;
	*e = (struct tar_entry){.path = r->path};
	switch (b->type) {
	case TAR_TYPE_FILE:
		e->kind = TAR_FILE;
		e->executable = get_octal(b->mode, sizeof(b->mode)) & 0100;
		return take_size(b, pax, &e->size, errp);
	case TAR_TYPE_DIR:
		e->kind = TAR_DIR;
		return 0;
	case TAR_TYPE_SYMLINK:
		e->kind = TAR_SYMLINK;
		e->target = r->target;
		return take_target(r, b, pax, errp);
	default:
		return error_set(errp, EINVAL,
				 "archive: '%s' is of a kind that does not "
				 "belong here",
				 r->path);
	}
}

/* The folder of pointer files is the one thing below .mops that export writes;
 * its files are named as those that they point to. */
static const char *pointer_flaw(const struct tar_entry *e)
{
	const char *s = e->path + POINTERS_LEN;
	size_t n = strlen(s);

	if (e->kind == TAR_SYMLINK)
		return "a symlink among the pointer files";
	if (e->kind == TAR_FILE) {
		if (n < 5 || memcmp(s + n - 5, ".json", 5) != 0)
			return "not a pointer file";
		n -= 5;
	}
	return path_flaw(s, n);
}

static const char *entry_flaw(const struct tar_entry *e)
{
	const char *flaw;
	unsigned depth = 0;

	if (!strncmp(e->path, POINTERS, POINTERS_LEN))
		return pointer_flaw(e);
	if (e->kind == TAR_DIR &&
	    (!strcmp(e->path, ".mops") || !strcmp(e->path, ".mops/ptr")))
		return NULL;
	flaw = path_flaw(e->path, strlen(e->path));
	if (flaw || e->kind != TAR_SYMLINK)
		return flaw;
	for (const char *s = e->path; (s = strchr(s, '/')); s++)
		depth++;
	return link_target_flaw(e->target, strlen(e->target), depth);
}

static size_t common(const char *a, const char *b)
{
	size_t n = 0;

	while (a[n] && a[n] == b[n])
		n++;
	return n;
}

/* Strictly behind the entry before, in a folder that was there. */
static int check_place(struct tar_reader *r, const struct tar_entry *e,
		       struct error **errp)
{
	const char *slash = strrchr(e->path, '/');
	size_t len = strlen(e->path);
	size_t up = slash ? (size_t)(slash - e->path) : 0;

	if (strcmp(r->before, e->path) >= 0)
		return error_set(errp, EINVAL, "archive: '%s' is out of order",
				 e->path);
	for (size_t i = common(r->before, e->path) + 1; i <= TAR_PATH_MAX; i++)
		r->dirs[i / 8] &= (uint8_t) ~(1u << i % 8);
	if (slash && !(r->dirs[up / 8] >> up % 8 & 1))
		return error_set(errp, EINVAL,
				 "archive: the folder of '%s' is missing",
				 e->path);
	if (e->kind == TAR_DIR)
		r->dirs[len / 8] |= (uint8_t)(1u << len % 8);
	memcpy(r->before, e->path, len + 1);
	return 0;
}

static int check_entry(struct tar_reader *r, const struct tar_entry *e,
		       struct error **errp)
{
	const char *flaw = entry_flaw(e);

	if (flaw)
		return error_set(errp, EINVAL, "archive: '%s': %s", e->path,
				 flaw);
	strbuf_reset(&r->again);
	tar_header(&r->again, e);
	if (r->again.len != r->raw.len ||
	    memcmp(r->again.buf, r->raw.buf, r->raw.len) != 0)
		return error_set(errp, EINVAL,
				 "archive: the header of '%s' is not in the "
				 "one form that is written",
				 e->path);
	return check_place(r, e, errp);
}

static int next_entry(struct tar_reader *r, struct tar_entry *ret,
		      struct error **errp)
{
	struct tar_block b;
	struct pax pax = {0};
	int k;

	strbuf_reset(&r->raw);
	k = read_block(r, &b, errp);
	if (k < 0)
		return k;
	if (all_zero(&b, sizeof(b)))
		return read_end(r, errp);
	if (b.type == TAR_TYPE_PAX) {
		k = read_pax(r, &b, &pax, errp);
		if (k < 0)
			return k;
	}
	k = take_entry(r, &b, &pax, ret, errp);
	if (k < 0)
		return k;
	k = check_entry(r, ret, errp);
	if (k < 0)
		return k;
	r->left = ret->size;
	r->padding = tar_padding(ret->size);
	return 1;
}

static int skip_content(struct tar_reader *r, struct error **errp)
{
	char buf[16384];
	ssize_t n;

	do
		n = tar_reader_read(r, buf, sizeof(buf), errp);
	while (n > 0);
	return (int)n;
}

int tar_reader_next(struct tar_reader *r, struct tar_entry *ret,
		    struct error **errp)
{
	int k;

	if (r->ended)
		return 0;
	k = skip_content(r, errp);
	return k < 0 ? k : next_entry(r, ret, errp);
}

ssize_t tar_reader_read(struct tar_reader *r, void *buf, size_t n,
			struct error **errp)
{
	int k;

	if (r->left && n) {
		n = MIN(MIN(r->left, (uint64_t)n), (uint64_t)1 << 30);
		k = r->read(r->ctx, buf, n, errp);
		if (!k)
			return bad(errp, "it ends too early");
		if (k > 0) {
			r->left -= (uint64_t)k;
			r->total += (uint64_t)k;
		}
		return k;
	}
	if (!n)
		return 0;
	k = read_zeros(r, r->padding, errp);
	r->padding = 0;
	return k;
}
