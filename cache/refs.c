/*
 * refs/<SHA-256 of the key>: a tag as it was last resolved.
 *
 *	mopsref1 <XXH3 of all that follows, 16 hex digits>\n
 *	sha256:<64 hex digits>\n
 *	<the key, to the end of the file>
 */
#include "cache/cache.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/io.h"
#include "base/strbuf.h"
#include "cache/internal.h"

#define REF_MAX   (64u << 10)
#define REF_MAGIC "mopsref1 "
#define REF_HEAD  (sizeof(REF_MAGIC) - 1 + 16 + 1)
#define REF_BODY  (DIGEST_STR_LEN + 1)

static void ref_head(char *ret, const void *body, size_t n)
{
	snprintf(ret, REF_HEAD + 1, REF_MAGIC "%016" PRIx64 "\n",
		 (uint64_t)XXH3_64bits(body, n));
}

int ref_parse(const void *buf, size_t n, struct digest *ret,
	      const char **ret_key, size_t *ret_len)
{
	const char *p = buf;
	char head[REF_HEAD + 1];

	if (n < REF_HEAD + REF_BODY)
		return -EBADMSG;
	ref_head(head, p + REF_HEAD, n - REF_HEAD);
	if (memcmp(p, head, REF_HEAD) != 0 ||
	    p[REF_HEAD + DIGEST_STR_LEN] != '\n' ||
	    memchr(p + REF_HEAD + REF_BODY, 0, n - REF_HEAD - REF_BODY) ||
	    digest_parse(p + REF_HEAD, DIGEST_STR_LEN, ret, NULL) < 0)
		return -EBADMSG;
	*ret_key = p + REF_HEAD + REF_BODY;
	*ret_len = n - REF_HEAD - REF_BODY;
	return 0;
}

int cache_ref_put(struct cache *c, const char *key, const struct digest *d,
		  struct error **errp)
{
	struct digest name = digest_of_str(key);
	cleanup_strbuf struct strbuf body = STRBUF_INIT;
	cleanup_strbuf struct strbuf all = STRBUF_INIT;
	char head[REF_HEAD + 1];
	int r = -ENAMETOOLONG;

	strbuf_addf(&body, "%s\n%s", digest_to_str(d).str, key);
	ref_head(head, body.buf, body.len);
	strbuf_adds(&all, head);
	strbuf_add(&all, body.buf, body.len);
	if (all.len <= REF_MAX)
		r = io_write_file_atomic(c->room[ROOM_REFS],
					 digest_to_hex(&name).str, all.buf,
					 all.len, 0644);
	if (r < 0)
		return error_set_errno(errp, -r, "cannot remember '%s'", key);
	return 0;
}

/* @key: what the file's name stands for, or NULL to learn it: *@ret_key leads
 * into *@ret_buf then. */
static int ref_read(struct cache *c, const char *name, const char *key,
		    struct digest *ret, char **ret_buf, const char **ret_key)
{
	size_t len = 0, key_len;
	int r = io_read_file(c->room[ROOM_REFS], name, REF_MAX, ret_buf, &len);

	if (r < 0)
		return r;
	r = ref_parse(*ret_buf, len, ret, ret_key, &key_len);
	return r == 0 && key && strcmp(*ret_key, key) != 0 ? -EBADMSG : r;
}

int cache_ref_get(struct cache *c, const char *key, struct digest *ret,
		  struct error **errp)
{
	struct digest name = digest_of_str(key);
	struct digest_hex hex = digest_to_hex(&name);
	cleanup_free char *buf = NULL;
	const char *stored;
	int r = ref_read(c, hex.str, key, ret, &buf, &stored);

	if (r == -EBADMSG || r == -EFBIG || r == -EIO) {
		quarantine(c, ROOM_REFS, hex.str, -1);
		r = -ENOENT;
	}
	if (r == -ENOENT)
		return error_set(errp, ENOENT, "'%s' was never resolved here",
				 key);
	if (r < 0)
		return error_set_errno(errp, -r, "cannot look up '%s'", key);
	return 0;
}

void cache_ref_forget(struct cache *c, const char *key)
{
	struct digest name = digest_of_str(key);

	(void)unlinkat(c->room[ROOM_REFS], digest_to_hex(&name).str, 0);
}

struct each_ref {
	struct cache *c;
	int (*fn)(void *ctx, const char *key, const struct digest *d);
	void *ctx;
};

/* What is damaged, or under another name than its key's, is nobody's. */
static int each_ref(void *ctx, int dirfd, const char *name)
{
	struct each_ref *e = ctx;
	cleanup_free char *buf = NULL;
	struct digest d, of_key;
	const char *key;

	(void)dirfd;
	if (ref_read(e->c, name, NULL, &d, &buf, &key) < 0)
		return 0;
	of_key = digest_of_str(key);
	return strcmp(digest_to_hex(&of_key).str, name) == 0
		       ? e->fn(e->ctx, key, &d)
		       : 0;
}

int cache_ref_each(struct cache *c,
		   int (*fn)(void *ctx, const char *key,
			     const struct digest *d),
		   void *ctx, struct error **errp)
{
	struct each_ref e = {.c = c, .fn = fn, .ctx = ctx};
	int r = dir_each(c->room[ROOM_REFS], each_ref, &e);

	if (r < 0)
		return error_set_errno(errp, -r, "cannot list '%s/refs'",
				       c->path);
	return r;
}
