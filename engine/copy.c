#include "engine/copy.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "base/log.h"
#include "base/pool.h"
#include "base/progress.h"
#include "engine/copy_feed.h"
#include "engine/copy_list.h"
#include "engine/counted_feed.h"
#include "engine/elsewhere.h"
#include "engine/tag_guard.h"
#include "engine/role_tree.h"

struct copier {
	struct session *s;
	const struct reference *from_ref, *to_ref;
	const struct copy_options *o;
	const struct op *op;
	struct registry *from, *to;
	const char *from_repo, *to_repo;
	struct copy_list list;
	struct elsewhere elsewhere;
	struct pool *pool;
	struct progress *progress;
	struct copy_result *out;
	struct tag_found found;
	atomic_uint_fast64_t sent, bytes_sent, mounted;
};

static void copier_release(struct copier *c)
{
	pool_freep(&c->pool);
	progress_free(c->progress);
	elsewhere_release(&c->elsewhere);
	copy_list_release(&c->list);
}
#define cleanup_copier __attribute__((cleanup(copier_release)))

static const struct copy_doc *top(const struct copier *c)
{
	return c->list.docs[c->list.top];
}

/*
 * From where, to where, and what.
 */

static int open_both(struct copier *c, struct error **errp)
{
	int r;

	if (!c->to_ref->repo)
		return error_set(errp, EINVAL, "'%s' names no bundle",
				 c->to_ref->text);
	c->from_repo = reference_repo(c->from_ref);
	c->to_repo = c->to_ref->repo;
	r = session_registry(c->s, c->from_ref, &c->from, errp);
	return r < 0 ? r : session_registry(c->s, c->to_ref, &c->to, errp);
}

/* As who opens a bundle does: what a tag has now was seen here. */
static void remember(const struct copier *c, const struct digest *d)
{
	cleanup_free char *key = reference_cache_key(c->from_ref);
	cleanup_error struct error *err = NULL;
	struct cache *cache;
	int r = session_cache(c->s, &cache, &err);

	if (r >= 0 && key)
		r = cache_ref_put(cache, key, d, &err);
	if (r < 0)
		log_debug("remembering '%s': %s", key, err->message);
}

static int resolve(struct copier *c, struct error **errp)
{
	struct digest *d = &c->out->digest;
	int r;

	if (c->from_ref->has_digest) {
		*d = c->from_ref->digest;
		return 0;
	}
	if (session_settings(c->s)->require_digest)
		return error_set(errp, EINVAL,
				 "'%s' has no digest, and require_digest is "
				 "set",
				 c->from_ref->text);
	r = c->from->ops->resolve(c->from, c->from_repo, c->from_ref->tag, d,
				  c->op, errp);
	if (r == -ENOENT)
		return error_kind(errp, r, ERROR_NOT_FOUND);
	if (r == 0)
		remember(c, d);
	return r;
}

static int check_wanted(const struct copier *c, struct error **errp)
{
	if (!c->to_ref->has_digest ||
	    digest_equal(&c->to_ref->digest, &c->out->digest))
		return 0;
	return error_set(errp, EINVAL, "'%s' is '%s', which is not '%s'",
			 c->from_ref->text, digest_to_str(&c->out->digest).str,
			 c->to_ref->text);
}

static bool is_bundle(const struct manifest_info *info)
{
	const char *type = info->self.artifact_type;

	return !info->is_index && type &&
	       strcmp(type, ARTIFACT_TYPE_BUNDLE) == 0;
}

/* Whoever mounts it will trust the trees that its root pins. */
static int check_bundle(struct copier *c, struct error **errp)
{
	struct reference pinned = *c->from_ref;
	cleanup_bundle struct bundle *b = NULL;
	int r;

	if (!is_bundle(&top(c)->info))
		return 0;
	pinned.has_digest = true;
	pinned.digest = c->out->digest;
	r = bundle_open(c->s, &pinned, c->op, &b, errp);
	return r < 0 ? r : role_trees_check(b, c->op, errp);
}

/*
 * Blobs.
 */

static int send_once(struct copier *c, const struct descriptor *d,
		     struct error **errp)
{
	cleanup_copy_feed struct copy_feed feed;
	struct counted_feed counted;
	int r;

	copy_feed_init(&feed, c->from, c->from_repo, d, c->op);
	counted_feed_init(&counted, &feed.feed, c->progress);
	r = c->to->ops->put_blob(c->to, c->to_repo, &d->digest, &counted.feed,
				 c->op, errp);
	if (r == 0)
		counted_feed_end(&counted);
	return r;
}

/* Wrong bytes may be the way's fault: they are asked for once more. */
static int send_blob(struct copier *c, const struct descriptor *d,
		     struct error **errp)
{
	struct error *err = NULL;
	int r = send_once(c, d, &err);

	if (r == -EBADMSG) {
		log_debug("%s; once more", err->message);
		error_freep(&err);
		r = send_once(c, d, &err);
	}
	if (r == -ENOENT)
		error_kind(&err, r, ERROR_DOWNLOAD);
	return error_propagate(errp, &err, r);
}

/* 1 when it is there already. */
static int have_blob(const struct copier *c, const struct descriptor *d,
		     struct error **errp)
{
	struct error *err = NULL;
	uint64_t size;
	int r = c->to->ops->has_blob(c->to, c->to_repo, &d->digest, &size,
				     c->op, &err);

	if (r == -EACCES) { /* the upload itself will tell */
		error_free(err);
		return 0;
	}
	if (r < 0)
		return error_propagate(errp, &err, r);
	return r == 1 ? size == d->size : 0;
}

/* 1 when another repository of the registry had it. What goes wrong here does
 * not matter: the upload does without. */
static int mount_blob(struct copier *c, const struct descriptor *d)
{
	const char *repo = c->from == c->to
				   ? c->from_repo
				   : elsewhere_find(&c->elsewhere, &d->digest);

	if (!repo || c->o->dry_run || !strcmp(repo, c->to_repo) ||
	    c->to->ops->mount_blob(c->to, c->to_repo, repo, &d->digest, c->op,
				   NULL) != 1)
		return 0;
	atomic_fetch_add(&c->mounted, 1);
	return 1;
}

static int copy_blob(void *ctx, size_t i, struct error **errp)
{
	struct copier *c = ctx;
	const struct descriptor *d = c->list.blobs[i];
	int have = have_blob(c, d, errp);
	int r = have < 0 ? have : 0;

	if (have == 0)
		have = mount_blob(c, d);
	if (have == 0 && !c->o->dry_run)
		r = send_blob(c, d, errp);
	if (r < 0)
		return error_prefix(errp, r, "copying blob '%s'",
				    digest_to_str(&d->digest).str);
	if (have == 0) {
		atomic_fetch_add(&c->sent, 1);
		atomic_fetch_add(&c->bytes_sent, d->size);
		return 0;
	}
	progress_less(c->progress, d->size);
	progress_add(c->progress, 1, 0);
	return 0;
}

static int copy_blobs(struct copier *c, struct error **errp)
{
	unsigned n = session_settings(c->s)->concurrency;
	const struct copy_list *l = &c->list;
	int r;

	if (c->from != c->to)
		elsewhere_load(c->s, c->to_ref, &c->elsewhere);
	progress_phase(c->progress, "copying", "blobs", l->n_blobs, l->bytes);
	c->pool = pool_new("copy", n ? n : 8);
	r = pool_for_each(c->pool, l->n_blobs, copy_blob, c, errp);
	c->out->blobs_sent = c->sent;
	c->out->bytes_sent = c->bytes_sent;
	c->out->blobs_mounted = c->mounted;
	return r;
}

/*
 * Manifests, and the tag.
 */

static int put_doc(const struct copier *c, const struct copy_doc *doc,
		   const char *tag, struct error **errp)
{
	const struct descriptor *self = &doc->info.self;
	int r = c->to->ops->put_manifest(c->to, c->to_repo, tag,
					 self->media_type, doc->bytes.buf,
					 doc->bytes.len, c->op, errp);

	return error_prefix(errp, r, "manifest '%s'",
			    digest_to_str(&self->digest).str);
}

static int put_docs(const struct copier *c, struct error **errp)
{
	const struct copy_list *l = &c->list;
	bool by_tag = c->to_ref->tag && !l->n_referrers;
	int r = 0;

	for (size_t i = 0; i < l->n_docs && r == 0; i++)
		if (i != l->top || !by_tag)
			r = put_doc(c, l->docs[i], NULL, errp);
	return r;
}

/* 1: it is there already. */
static int check_tag(struct copier *c, struct error **errp)
{
	return c->to_ref->tag ? tag_guard_check(c->s, c->to_ref, c->to_ref->tag,
						&c->out->digest, c->o->force,
						&c->found, c->op, errp)
			      : 1;
}

static int move_tag(struct copier *c, struct error **errp)
{
	const struct reference *to = c->to_ref;
	const struct copy_doc *doc = top(c);
	int r = check_tag(c, errp);

	if (r < 0)
		return r;
	c->out->tag_moved = r == 0;
	if (c->o->dry_run || !to->tag)
		return 0;
	if (r == 0) {
		tag_guard_moving(c->s, to, to->tag, &c->out->digest);
		r = put_doc(c, doc, to->tag, errp);
		if (r < 0)
			return error_prefix(errp, r, "tag '%s'", to->tag);
	}
	tag_guard_moved(c->s, to, to->tag, &c->out->digest);
	if (!doc->info.is_index)
		elsewhere_note(c->s, to, &c->out->digest, doc->bytes.buf,
			       doc->bytes.len);
	return 0;
}

static void warn_of_left_out(const struct copy_list *l)
{
	if (l->n_left_out == 1)
		log_warn("left out: %s", l->left_out->message);
	else if (l->n_left_out)
		log_warn("left out: %s; and %zu more referrers",
			 l->left_out->message, l->n_left_out - 1);
}

static int copy_steps(struct copier *c, struct error **errp)
{
	int r = open_both(c, errp);

	if (r == 0)
		r = resolve(c, errp);
	if (r == 0)
		r = check_wanted(c, errp);
	if (r < 0)
		return r;
	c->progress = progress_new("looking", c->o->show_progress);
	r = copy_list_make(c->from, c->from_repo, &c->out->digest, &c->list,
			   c->op, errp);
	if (r < 0)
		return r;
	warn_of_left_out(&c->list);
	c->out->blobs = c->list.n_blobs;
	c->out->bytes = c->list.bytes;
	c->out->referrers = c->list.n_referrers;
	r = check_bundle(c, errp);
	if (r == 0)
		r = check_tag(c, errp);
	if (r >= 0)
		r = copy_blobs(c, errp);
	if (r == 0 && !c->o->dry_run)
		r = put_docs(c, errp);
	return r < 0 ? r : move_tag(c, errp);
}

int copy_artifact(struct session *s, const struct reference *from,
		  const struct reference *to, const struct copy_options *o,
		  struct copy_result *ret, const struct op *op,
		  struct error **errp)
{
	struct copy_result out = {0};
	cleanup_copier struct copier c = {
		.s = s,
		.from_ref = from,
		.to_ref = to,
		.o = o,
		.op = op,
		.out = &out,
	};
	int r = copy_steps(&c, errp);

	if (r < 0)
		return error_prefix(errp, r, "copying '%s'", from->text);
	*ret = out;
	return 0;
}
