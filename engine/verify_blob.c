/* The registry's blobs: there, with their sizes; deep: with their bytes. */
#include <errno.h>
#include <inttypes.h>

#include "engine/verify_internal.h"

static char *describe(const struct descriptor *d)
{
	const char *title = descriptor_annotation(d, ANNOTATION_TITLE);

	return title ? xasprintf("blob '%s' ('%s')",
				 digest_to_str(&d->digest).str, title)
		     : xasprintf("blob '%s'", digest_to_str(&d->digest).str);
}

/* 1: right; 0: wrong, *@ret is what is there; or what reading failed with. */
static int hash_blob(struct verify *v, const struct descriptor *d,
		     struct digest *ret, struct error **errp)
{
	struct registry *reg = v->b->registry;
	struct verify_sink s;
	int r;

	verify_sink_init(&s, v->progress);
	r = reg->ops->read_blob(reg, v->b->remote.repo, &d->digest, d->size, 0,
				d->size, &s.sink, v->op, errp);
	*ret = verify_sink_final(&s);
	if (r < 0)
		return r;
	return s.bytes == d->size && digest_equal(ret, &d->digest);
}

/* What is wrong with a blob. */
struct flaw {
	char *text; /* heap; NULL: nothing */
	bool has_found;
	struct digest found;
};

/* Wrong bytes may be the way's fault: they are asked for once more. */
static int look_at_bytes(struct verify *v, const struct descriptor *d,
			 struct flaw *ret, struct error **errp)
{
	int r = 0;

	for (int tries = 0; tries < 2 && r == 0; tries++)
		r = hash_blob(v, d, &ret->found, errp);
	if (r != 0)
		return r;
	ret->has_found = true;
	ret->text = xasprintf("expected %s, found %s",
			      digest_to_str(&d->digest).str,
			      digest_to_str(&ret->found).str);
	return 0;
}

static int look(struct verify *v, const struct descriptor *d, struct flaw *ret,
		struct error **errp)
{
	struct registry *reg = v->b->registry;
	uint64_t size = 0;
	int r = reg->ops->has_blob(reg, v->b->remote.repo, &d->digest, &size,
				   v->op, errp);

	if (r < 0)
		return r;
	if (r == 0)
		ret->text = xstrdup("missing");
	else if (size != d->size)
		ret->text = xasprintf("has %" PRIu64 " bytes, not %" PRIu64,
				      size, d->size);
	else if (v->deep && d->size)
		return look_at_bytes(v, d, ret, errp);
	return 0;
}

/* A registry may keep what it has under a digest, however wrong. */
static int is_right_now(struct verify *v, const struct descriptor *d,
			struct error **errp)
{
	struct flaw now = {0};
	int r = look(v, d, &now, errp);

	if (r >= 0 && now.text)
		r = error_set(errp, EIO, "the registry keeps what it has (%s)",
			      now.text);
	free(now.text);
	return r;
}

static int put_back(struct verify *v, const struct descriptor *d,
		    struct error **errp)
{
	struct registry *reg = v->b->registry;
	cleanup_fd int fd = -1;
	struct feed_fd feed;
	struct cache *c;
	int r = session_cache(v->b->session, &c, errp);

	if (r < 0)
		return r;
	fd = cache_blob_open(c, &d->digest, d->size, NULL);
	if (fd < 0)
		return error_set(errp, ENOENT, "the cache does not have it");
	feed_fd_init(&feed, fd, 0, d->size);
	r = reg->ops->put_blob(reg, v->b->remote.repo, &d->digest, &feed.feed,
			       v->op, errp);
	return r < 0 ? r : is_right_now(v, d, errp);
}

static void repair(struct verify *v, const struct descriptor *d,
		   struct verify_about *about, const char *what,
		   const char *flaw)
{
	cleanup_error struct error *err = NULL;

	about->repaired = put_back(v, d, &err) >= 0;
	if (about->repaired)
		verify_damaged(v, about, "%s: %s; put there from the cache",
			       what, flaw);
	else
		verify_damaged(v, about, "%s: %s; not repaired: %s", what, flaw,
			       err ? err->message : "failed");
}

void verify_blob(struct verify *v, const struct descriptor *d)
{
	cleanup_free char *what = describe(d);
	cleanup_error struct error *err = NULL;
	struct verify_about about = {
		.digest = &d->digest,
		.path = descriptor_annotation(d, ANNOTATION_FILEPATH),
	};
	struct flaw flaw = {0};
	int r = look(v, d, &flaw, &err);

	if (r == -ENOENT && !flaw.text)
		flaw.text = xstrdup("missing");
	about.found = flaw.has_found ? &flaw.found : NULL;
	if (flaw.text && v->o->repair)
		repair(v, d, &about, what, flaw.text);
	else if (flaw.text)
		verify_damaged(v, &about, "%s: %s", what, flaw.text);
	else if (r < 0)
		verify_failed(v, &about, r, err, what);
	free(flaw.text);
}
