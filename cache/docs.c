#include "cache/cache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/io.h"
#include "cache/internal.h"

/* What the name holds, hashed; damaged bytes are quarantined: -ENOENT. */
static int doc_load(struct cache *c, const struct digest *d, size_t max,
		    char **ret, size_t *ret_len)
{
	struct shard_name name = shard_name(d);
	cleanup_free char *buf = NULL;
	struct digest got;
	size_t len = 0;
	int r = io_read_file(c->room[ROOM_BLOBS], name.str, max, &buf, &len);

	if (r == -EIO || r == -EISDIR || r == -ELOOP) {
		quarantine(c, ROOM_BLOBS, name.str, -1);
		return -ENOENT;
	}
	if (r < 0)
		return r;
	got = digest_of_buf(buf, len);
	if (!digest_equal(&got, d)) {
		quarantine(c, ROOM_BLOBS, name.str, -1);
		return -ENOENT;
	}
	statindex_touch(c, d);
	*ret = steal_ptr(&buf);
	*ret_len = len;
	return 0;
}

/* A damaged document that is there already must not keep a good one out. */
static bool doc_is_there(struct cache *c, const struct digest *d, size_t n)
{
	cleanup_free char *old = NULL;
	size_t len;

	return doc_load(c, d, n, &old, &len) == 0;
}

int cache_doc_put(struct cache *c, const struct digest *d, const void *buf,
		  size_t n, struct error **errp)
{
	cleanup_draft struct draft *s = NULL;
	struct digest got = digest_of_buf(buf, n);
	int r;

	if (!digest_equal(&got, d))
		return error_set(errp, EBADMSG, "document '%s' arrived as '%s'",
				 digest_to_hex(d).str, digest_to_hex(&got).str);
	if (doc_is_there(c, d, n))
		return 0;
	r = draft_new(c, n, &s, errp);
	if (r == 0)
		r = draft_write(s, buf, n, errp);
	if (r == 0)
		r = draft_publish(s, d, errp);
	return r;
}

int cache_doc_get(struct cache *c, const struct digest *d, size_t max,
		  char **ret, size_t *ret_len, struct error **errp)
{
	int r = doc_load(c, d, max, ret, ret_len);

	if (r == -ENOENT)
		r = alternates_read(c, d, max, ret, ret_len);
	if (r == -ENOENT)
		return error_set(errp, ENOENT,
				 "document '%s' is not in the cache",
				 digest_to_hex(d).str);
	if (r < 0)
		return error_set_errno(errp, -r, "cannot read document '%s'",
				       digest_to_hex(d).str);
	return 0;
}
