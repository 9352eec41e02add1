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

int ref_parse(const void *buf, size_t n, const char *key, struct digest *ret)
{
	const char *p = buf;
	char head[REF_HEAD + 1];

	if (n < REF_HEAD + REF_BODY || n - REF_HEAD - REF_BODY != strlen(key))
		return -EBADMSG;
	ref_head(head, p + REF_HEAD, n - REF_HEAD);
	if (memcmp(p, head, REF_HEAD) != 0 ||
	    p[REF_HEAD + DIGEST_STR_LEN] != '\n' ||
	    memcmp(p + REF_HEAD + REF_BODY, key, strlen(key)) != 0 ||
	    digest_parse(p + REF_HEAD, DIGEST_STR_LEN, ret, NULL) < 0)
		return -EBADMSG;
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

int cache_ref_get(struct cache *c, const char *key, struct digest *ret,
		  struct error **errp)
{
	struct digest name = digest_of_str(key);
	struct digest_hex hex = digest_to_hex(&name);
	cleanup_free char *buf = NULL;
	size_t len = 0;
	int r = io_read_file(c->room[ROOM_REFS], hex.str, REF_MAX, &buf, &len);

	if (r >= 0)
		r = ref_parse(buf, len, key, ret);
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
