/*
 * Single flight per digest: the claim table keeps the threads of this process
 * apart (a file's lock does not), then a lock on the byte at the first 62 bits
 * of the digest in locks/claim keeps the processes apart.
 */
#include "cache/cache.h"

#include <errno.h>
#include <stdlib.h>

#include "cache/internal.h"

struct claim {
	struct cache *c;
	struct digest digest;
};

static uint64_t claim_offset(const struct digest *d)
{
	return digest_prefix64(d) >> 2;
}

/* Enter the table, waiting for the thread that is in it. */
static int table_enter(struct cache *c, struct claim *cl, int64_t deadline_ns)
{
	int r = 0;

	mutex_lock(&c->lock);
	while (r == 0 && map_get(&c->claims, cl->digest.b, DIGEST_SIZE))
		if (!cond_wait_until(&c->claim_released, &c->lock, deadline_ns))
			r = -ETIMEDOUT;
	if (r == 0)
		map_put(&c->claims, cl->digest.b, DIGEST_SIZE, cl);
	mutex_unlock(&c->lock);
	return r;
}

static void table_leave(struct claim *cl)
{
	mutex_lock(&cl->c->lock);
	map_del(&cl->c->claims, cl->digest.b, DIGEST_SIZE);
	cond_broadcast(&cl->c->claim_released);
	mutex_unlock(&cl->c->lock);
}

int claim_take(struct cache *c, const struct digest *d, int64_t deadline_ns,
	       struct claim **ret)
{
	struct claim *cl = xcalloc(1, sizeof(*cl));
	int r;

	cl->c = c;
	cl->digest = *d;
	r = table_enter(c, cl, deadline_ns);
	if (r < 0) {
		free(cl);
		return r;
	}
	r = ofd_lock_until(c->claim_fd, LOCK_EXCLUSIVE, claim_offset(d), 1,
			   deadline_ns);
	if (r == -ETIMEDOUT) {
		table_leave(cl);
		free(cl);
		return r;
	}
	/* Any other failure: no locks here. Two downloads are no harm. */
	*ret = cl;
	return 0;
}

void claim_release(struct claim *cl)
{
	ofd_unlock(cl->c->claim_fd, claim_offset(&cl->digest), 1);
	table_leave(cl);
	free(cl);
}
