/*
 * For entries that fit, the very bytes of Python's tarfile in USTAR_FORMAT; for
 * others a PAX header in front, and a fixed text in the field that is too
 * small.
 */
#include "engine/tar.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "engine/tar_format.h"

/* What stands where something does not fit. */
#define PAX_NAME  "././@PaxHeader"
#define LONG_PATH "@LongPath/" /* without the slash for files */
#define LONG_LINK "@LongLink"

uint64_t tar_padding(uint64_t size)
{
	return -size % TAR_BLOCK;
}

uint64_t tar_trailer(uint64_t size)
{
	uint64_t records = (size + 2 * TAR_BLOCK - 1) / TAR_RECORD + 1;

	return records * TAR_RECORD - size;
}

/* Digits that fill a field but for its NUL. */
static void put_octal(char *field, size_t n, uint64_t v)
{
	field[n - 1] = '\0';
	for (size_t i = n - 1; i-- > 0; v >>= 3)
		field[i] = (char)('0' + (v & 7));
	assert(!v);
}

static void block_init(struct tar_block *b, char type, unsigned mode,
		       uint64_t size)
{
	memset(b, 0, sizeof(*b));
	put_octal(b->mode, sizeof(b->mode), mode);
	put_octal(b->uid, sizeof(b->uid), 0);
	put_octal(b->gid, sizeof(b->gid), 0);
	put_octal(b->size, sizeof(b->size), size);
	put_octal(b->mtime, sizeof(b->mtime), 0);
	memcpy(b->magic,
	       "ustar\0"
	       "00",
	       sizeof(b->magic));
	b->type = type;
}

static void block_add(struct strbuf *out, struct tar_block *b)
{
	const unsigned char *p = (const unsigned char *)b;
	unsigned sum = 0;

	memset(b->checksum, ' ', sizeof(b->checksum));
	for (size_t i = 0; i < sizeof(*b); i++)
		sum += p[i];
	put_octal(b->checksum, sizeof(b->checksum) - 1, sum);
	strbuf_add(out, b, sizeof(*b));
}

/* Copy @path, split when that is needed and possible. */
static bool put_path(struct tar_block *b, const char *path, size_t len)
{
	const char *slash = path;

	if (len <= sizeof(b->name)) {
		memcpy(b->name, path, len);
		return true;
	}
	while ((slash = memchr(slash, '/', len - (size_t)(slash - path)))) {
		size_t prefix = (size_t)(slash - path);
		size_t rest = len - prefix - 1;

		if (rest && rest <= sizeof(b->name)) {
			if (prefix > sizeof(b->prefix))
				return false;
			memcpy(b->prefix, path, prefix);
			memcpy(b->name, slash + 1, rest);
			return true;
		}
		slash++;
	}
	return false;
}

static unsigned digits(size_t n)
{
	unsigned d = 1;

	while (n /= 10)
		d++;
	return d;
}

/* "<length> <key>=<value>\n", where the length counts itself. */
static void put_pax(struct strbuf *out, const char *key, const char *value)
{
	size_t body = strlen(key) + strlen(value) + 3;
	size_t n = body + digits(body);

	if (digits(n) != digits(body))
		n = body + digits(n);
	strbuf_addf(out, "%zu %s=%s\n", n, key, value);
}

static void add_pax(struct strbuf *out, const struct strbuf *records)
{
	static const char zeros[TAR_BLOCK];
	struct tar_block b;

	block_init(&b, TAR_TYPE_PAX, 0, records->len);
	memcpy(b.name, PAX_NAME, sizeof(PAX_NAME));
	block_add(out, &b);
	strbuf_add(out, records->buf, records->len);
	strbuf_add(out, zeros, tar_padding(records->len));
}

static void fill_path(struct tar_block *b, const struct tar_entry *e,
		      struct strbuf *pax)
{
	cleanup_strbuf struct strbuf path = STRBUF_INIT;

	strbuf_adds(&path, e->path);
	if (e->kind == TAR_DIR)
		strbuf_addc(&path, '/');
	if (put_path(b, strbuf_str(&path), path.len))
		return;
	put_pax(pax, "path", strbuf_str(&path));
	memcpy(b->name, LONG_PATH, sizeof(LONG_PATH));
	if (e->kind != TAR_DIR)
		b->name[sizeof(LONG_PATH) - 2] = '\0';
}

static void fill_target(struct tar_block *b, const char *target,
			struct strbuf *pax)
{
	size_t len = strlen(target);

	if (len <= sizeof(b->linkname)) {
		memcpy(b->linkname, target, len);
		return;
	}
	put_pax(pax, "linkpath", target);
	memcpy(b->linkname, LONG_LINK, sizeof(LONG_LINK));
}

static void block_start(struct tar_block *b, const struct tar_entry *e)
{
	switch (e->kind) {
	case TAR_DIR:
		block_init(b, TAR_TYPE_DIR, 0755, 0);
		break;
	case TAR_SYMLINK:
		block_init(b, TAR_TYPE_SYMLINK, 0777, 0);
		break;
	case TAR_FILE:
		block_init(b, TAR_TYPE_FILE, e->executable ? 0755 : 0644,
			   e->size > TAR_SIZE_MAX ? 0 : e->size);
		break;
	}
}

void tar_header(struct strbuf *out, const struct tar_entry *e)
{
	cleanup_strbuf struct strbuf pax = STRBUF_INIT;
	struct tar_block b;

	block_start(&b, e);
	fill_path(&b, e, &pax);
	if (e->kind == TAR_SYMLINK)
		fill_target(&b, e->target, &pax);
	if (e->kind == TAR_FILE && e->size > TAR_SIZE_MAX) {
		char size[24];

		snprintf(size, sizeof(size), "%llu",
			 (unsigned long long)e->size);
		put_pax(&pax, "size", size);
	}
	if (pax.len)
		add_pax(out, &pax);
	block_add(out, &b);
}
