#include "cache/content_internal.h"

#include <errno.h>

#include "base/log.h"

/* The real digest of one chunk, taken in the reading that hashes the whole. */
struct watch {
	uint32_t i;
	struct digest got;
};

static int watch_chunk(void *ctx, uint32_t i, const void *buf, uint32_t n)
{
	struct watch *w = ctx;

	if (i == w->i)
		w->got = digest_of_buf(buf, n);
	return 0;
}

static int judge(struct content *ct, struct backing *b, uint32_t i)
{
	struct watch w = {.i = i};
	struct digest whole;
	int r;

	/* Not worth a hash, which its owner could make come out right. */
	if (b->foreign) {
		blob_condemn(ct->c, &ct->digest, b->fd);
		backing_forget(ct, b);
		return 0;
	}
	r = hash_file(b->fd, ct->size, watch_chunk, &w, &whole);

	if (r < 0 && r != -EIO)
		return r;
	if (r < 0 || !digest_equal(&whole, &ct->digest)) {
		log_debug("cache: blob '%s' is damaged",
			  digest_to_hex(&ct->digest).str);
		blob_condemn(ct->c, &ct->digest, b->fd);
		backing_forget(ct, b);
		return 0; /* look again: healed by someone else, or absent */
	}
	/* In one reading the whole was right and the chunk was not: the list
	 * is wrong. Otherwise the first reading was. */
	if (!digest_equal(&w.got, &ct->chunks[i])) {
		fault_remember(ct);
		return -EBADMSG;
	}
	return 0;
}

/* One thread hashes; false: another did, see what it found. */
static bool judge_begin(struct content *ct)
{
	bool mine;

	mutex_lock(&ct->lock);
	mine = !ct->checking;
	while (ct->checking)
		cond_wait(&ct->changed, &ct->lock);
	if (mine)
		ct->checking = true;
	mutex_unlock(&ct->lock);
	return mine;
}

static void judge_end(struct content *ct)
{
	mutex_lock(&ct->lock);
	ct->checking = false;
	cond_broadcast(&ct->changed);
	mutex_unlock(&ct->lock);
}

int heal_sealed(struct content *ct, struct backing *b, uint32_t i)
{
	int r;

	if (!judge_begin(ct))
		return fault_known(ct) ? -EBADMSG : 0;
	r = judge(ct, b, i);
	judge_end(ct);
	return r;
}
