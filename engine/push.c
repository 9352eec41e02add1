#include "engine/push.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/log.h"
#include "engine/bump.h"
#include "engine/counted_feed.h"
#include "engine/elsewhere.h"
#include "engine/tag_guard.h"
#include "engine/push_trace.h"

struct pusher {
	struct session *s;
	const struct push_options *o;
	const struct op *op;
	struct registry *registry;
	struct workspace ws;
	struct plan plan;
	struct composed composed;
	struct elsewhere elsewhere;
	struct pool *pool;
	struct progress *progress;
	char **tags;             /* the first one is the reference's */
	struct tag_found *found; /* of each */
	char *bumped;            /* or NULL: what --bump makes of the version */
	char *trace;             /* or NULL: the text to attach */
	size_t trace_len;
	struct push_result *out;
	atomic_uint_fast64_t sent, bytes_sent, externals_sent;
};

static void pusher_release(struct pusher *p)
{
	pool_freep(&p->pool);
	progress_free(p->progress);
	elsewhere_release(&p->elsewhere);
	composed_release(&p->composed);
	plan_release(&p->plan);
	workspace_release(&p->ws);
	strv_free(p->tags);
	free(p->found);
	free(p->bumped);
	free(p->trace);
}
#define cleanup_pusher __attribute__((cleanup(pusher_release)))

void push_result_release(struct push_result *r)
{
	reference_release(&r->ref);
	strv_free(r->warnings);
	*r = (struct push_result){0};
}

/*
 * Where to: --to, or the bundle file's name and version below the default
 * registry.
 */

static int reference_text(const struct pusher *p, char **ret,
			  struct error **errp)
{
	const char *version = p->ws.bf.version;

	if (p->o->to) {
		*ret = xstrdup(p->o->to);
		return 0;
	}
	if (!p->ws.bf.name)
		return error_hint(
			errp,
			error_set(errp, EINVAL, "'%s' has no name to push to",
				  p->o->dir),
			"say --to NAME@VERSION, or write a %s (mops init)",
			BUNDLE_FILE_NAME);
	if (p->o->tags && p->o->tags[0])
		version = p->o->tags[0];
	if (p->bumped)
		version = p->bumped;
	*ret = xasprintf("%s@%s", p->ws.bf.name, version ? version : "latest");
	return 0;
}

static int bump(struct pusher *p, struct error **errp)
{
	const struct bundle_file *bf = &p->ws.bf;

	if (p->o->to || (p->o->tags && p->o->tags[0]))
		return error_set(errp, EINVAL,
				 "--bump is of the bundle file's version, and "
				 "goes with neither --to nor --tag");
	if (!bf->version)
		return error_set(errp, EINVAL, "'%s' has no version to bump",
				 p->o->dir);
	return version_bump(bf->version, p->o->bump, &p->bumped, errp);
}

static int choose_target(struct pusher *p, struct error **errp)
{
	cleanup_free char *text = NULL;
	struct reference *ref = &p->out->ref;
	char *const *t;
	int r = p->o->bump ? bump(p, errp) : 0;

	if (r == 0)
		r = reference_text(p, &text, errp);
	if (r < 0)
		return r;
	r = reference_parse(text, session_settings(p->s)->registry, ref, errp);
	if (r < 0)
		return r;
	if (ref->has_digest || !ref->repo)
		return error_set(errp, EINVAL,
				 "cannot push to '%s': a push goes to a name "
				 "and a version, the digest is its result",
				 text);
	strv_append(&p->tags, xstrdup(ref->tag));
	for (t = p->o->tags; t && *t; t++) {
		if (!tag_valid(*t))
			return error_set(errp, EINVAL, "'%s' is not a tag", *t);
		if (strcmp(*t, ref->tag) != 0)
			strv_append(&p->tags, xstrdup(*t));
	}
	p->found = xcalloc(strv_len(p->tags), sizeof(*p->found));
	return session_registry(p->s, ref, &p->registry, errp);
}

/*
 * Inventory, plan, composition.
 */

/* Where packs of the folder are remembered: beside its files, which every scan
 * writes anew. Without it they are read. */
static struct hashes *open_packs(struct pusher *p)
{
	cleanup_free char *real = realpath(p->o->dir, NULL);
	cleanup_free char *key =
		xasprintf("%s/.mops/packs", real ? real : p->o->dir);
	struct hashes *h = NULL;
	struct cache *c;

	if (session_cache(p->s, &c, NULL) < 0 ||
	    hashes_open(c, key, &h, NULL) < 0)
		return NULL;
	return h;
}

static int compose_known(struct pusher *p, struct compose_options *co,
			 struct error **errp)
{
	cleanup_error struct error *err = NULL;
	int r;

	co->packs = open_packs(p);
	r = compose(&p->ws.inv, &p->ws.bf, &p->plan, co, &p->composed, errp);
	if (r == 0 && co->packs && hashes_save(co->packs, &err) < 0)
		log_debug("%s", err->message);
	if (co->packs)
		hashes_free(co->packs);
	return r;
}

static int prepare(struct pusher *p, struct error **errp)
{
	struct plan_options po = {
		.rules = p->o->rules,
		.pack_nothing = p->o->pack_nothing,
		.externals = p->o->externals,
		.n_externals = p->o->n_externals,
	};
	struct compose_options co = {
		.no_budget = p->o->pack_nothing,
		.pool = p->pool,
		.progress = p->progress,
	};
	int r = plan_make(&p->ws.inv, &p->ws.bf, &po, &p->plan, errp);

	if (r == 0)
		r = compose_known(p, &co, errp);
	if (r < 0)
		return r;
	p->out->digest = p->composed.digest;
	p->out->files = p->composed.files;
	p->out->bytes = p->composed.bytes;
	p->out->unowned = p->ws.inv.n_unowned;
	p->out->warnings = steal_ptr(&p->ws.inv.warnings);
	p->out->blobs_total = p->composed.n_blobs;
	return 0;
}

/*
 * Uploading.
 */

/* What is not asked for is not kept. */
static void forget_packs(struct pusher *p)
{
	cleanup_error struct error *err = NULL;
	struct hashes *h = open_packs(p);

	if (!h)
		return;
	if (hashes_save(h, &err) < 0)
		log_warn("%s", err->message);
	hashes_free(h);
}

/* Its files have not changed: what was remembered of it was not so. */
static int check_pack(struct pusher *p, const struct composed_blob *b,
		      struct error **errp)
{
	cleanup_free struct digest *chunks = NULL;
	struct digest now;
	uint32_t n_chunks;
	int r = pack_hash(b->pack, &now, &chunks, &n_chunks, errp);

	if (r < 0 || digest_equal(&now, &b->desc.digest))
		return r;
	forget_packs(p);
	error_set_kind(errp, ERROR_VALIDATION, ESTALE,
		       "a pack has other bytes than when it was last hashed");
	return error_hint(errp, -ESTALE,
			  "what was known of it is forgotten: push again");
}

/* The registry refused the bytes: was it the file that changed? */
static int explain_refusal(struct pusher *p, const struct composed_blob *b,
			   int code, struct error **errp)
{
	cleanup_error struct error *why = NULL;
	struct digest now;
	int r = 0;

	if (b->pack) {
		r = check_pack(p, b, &why);
	} else if (b->file) {
		cleanup_fd int fd = inventory_open(&p->ws.inv, b->file, &why);

		r = fd < 0 ? fd
			   : digest_of_fd(fd, b->file_off, b->desc.size, &now,
					  &why);
		if (r == 0 && !digest_equal(&now, &b->desc.digest))
			r = error_set_kind(&why, ERROR_VALIDATION, ESTALE,
					   "'%s' changed since it was scanned",
					   b->file->path);
	}
	if (r == 0)
		return code;
	error_free(errp ? steal_ptr(errp) : NULL);
	return error_propagate(errp, &why, r);
}

static int send_blob(struct pusher *p, const struct composed_blob *b,
		     struct error **errp)
{
	const char *repo = p->out->ref.repo;
	const struct digest *d = &b->desc.digest;
	struct feed_mem mem;
	struct feed_fd file;
	struct counted_feed counted;
	cleanup_fd int fd = -1;
	struct feed *feed;
	int r;

	if (b->mem) {
		feed_mem_init(&mem, b->mem, b->desc.size);
		feed = &mem.feed;
	} else if (b->pack) {
		feed = pack_feed(b->pack);
	} else {
		fd = inventory_open(&p->ws.inv, b->file, errp);
		if (fd < 0)
			return fd;
		feed_fd_init(&file, fd, b->file_off, b->desc.size);
		feed = &file.feed;
	}
	counted_feed_init(&counted, feed, p->progress);
	r = p->registry->ops->put_blob(p->registry, repo, d, &counted.feed,
				       p->op, errp);
	if (r < 0)
		return explain_refusal(p, b, r, errp);
	counted_feed_end(&counted);
	return 0;
}

/* 1 when the registry has the blob already. */
static int have_blob(struct pusher *p, const struct composed_blob *b,
		     struct error **errp)
{
	struct error *err = NULL;
	uint64_t size;
	int r;

	if (p->o->reupload)
		return 0;
	r = p->registry->ops->has_blob(p->registry, p->out->ref.repo,
				       &b->desc.digest, &size, p->op, &err);
	if (r == -EACCES) { /* the upload itself will tell */
		error_free(err);
		return 0;
	}
	if (r < 0)
		return error_propagate(errp, &err, r);
	return r == 1 ? size == b->desc.size : 0;
}

/* 1 when another repository of the registry had it. What goes wrong here does
 * not matter: the upload does without. */
static int mount_blob(struct pusher *p, const struct composed_blob *b)
{
	const char *from = elsewhere_find(&p->elsewhere, &b->desc.digest);

	if (!from || p->o->reupload || p->o->dry_run)
		return 0;
	return p->registry->ops->mount_blob(p->registry, p->out->ref.repo, from,
					    &b->desc.digest, p->op, NULL) == 1;
}

static int upload_blob(void *ctx, size_t i, struct error **errp)
{
	struct pusher *p = ctx;
	const struct composed_blob *b = &p->composed.blobs[i];
	int have = have_blob(p, b, errp);
	int r = have < 0 ? have : 0;

	if (have == 0)
		have = mount_blob(p, b);
	if (have == 0 && !p->o->dry_run)
		r = send_blob(p, b, errp);
	if (r < 0)
		return error_prefix(errp, r, "sending blob '%s'",
				    digest_to_str(&b->desc.digest).str);
	if (have == 0) {
		atomic_fetch_add(&p->sent, 1);
		atomic_fetch_add(&p->bytes_sent, b->desc.size);
		return 0;
	}
	progress_less(p->progress, b->desc.size);
	progress_add(p->progress, 1, 0);
	return 0;
}

static int put_external(struct pusher *p, const struct plan_entry *e,
			const struct pointer_uri *uri, struct error **errp)
{
	const struct object_stores *stores = session_stores(p->s);
	struct object_store *store = object_stores_for(stores, uri, errp);
	cleanup_fd int fd = -1;
	struct counted_feed counted;
	struct feed_fd feed;
	struct digest now;
	int r;

	if (!store)
		return -EPROTONOSUPPORT;
	fd = inventory_open(&p->ws.inv, e->inv, errp);
	if (fd < 0)
		return fd;
	/* A store does not check SHA-256 as a registry does. */
	r = digest_of_fd(fd, 0, e->inv->size, &now, errp);
	if (r < 0)
		return r;
	if (!digest_equal(&now, &e->inv->digest))
		return error_set_kind(errp, ERROR_VALIDATION, ESTALE,
				      "'%s' changed since it was scanned",
				      e->inv->path);
	feed_fd_init(&feed, fd, 0, e->inv->size);
	counted_feed_init(&counted, &feed.feed, p->progress);
	r = store->ops->put(store, uri, &counted.feed, &e->inv->digest, p->op,
			    errp);
	if (r == 0)
		counted_feed_end(&counted);
	return r;
}

static int upload_external(void *ctx, size_t i, struct error **errp)
{
	struct pusher *p = ctx;
	const struct plan_entry *e = p->composed.externals[i];
	cleanup_pointer_uri struct pointer_uri uri = {0};
	int r = pointer_uri_parse(e->uri, strlen(e->uri), &uri, errp);

	if (r == 0 && !p->o->dry_run)
		r = put_external(p, e, &uri, errp);
	if (r < 0)
		return error_prefix(errp, r, "sending '%s'", e->inv->path);
	atomic_fetch_add(&p->externals_sent, 1);
	return 0;
}

/* A version that is there already is not the next one. One that comes while
 * this is sent, the second look finds. */
static int check_new(const struct pusher *p, struct error **errp)
{
	const struct tag_found *now = &p->found[0];

	if (p->o->force || !now->there ||
	    digest_equal(&now->digest, &p->out->digest))
		return 0;
	error_set(errp, EINVAL, "version '%s' is there already, as '%s'",
		  p->bumped, digest_to_str(&now->digest).str);
	return error_hint(errp, -EINVAL,
			  "write the version that it follows into the bundle "
			  "file; --force replaces it");
}

static int check_tag(struct pusher *p, size_t i, struct error **errp)
{
	return tag_guard_check(p->s, &p->out->ref, p->tags[i], &p->out->digest,
			       p->o->force, &p->found[i], p->op, errp);
}

/* Before anything is sent, and again when all of it was. */
static int check_tags(struct pusher *p, struct error **errp)
{
	for (size_t i = 0; p->tags[i]; i++) {
		int r = check_tag(p, i, errp);

		if (r < 0)
			return r;
	}
	return p->bumped ? check_new(p, errp) : 0;
}

static int move_tag(struct pusher *p, size_t i, struct error **errp)
{
	const struct reference *ref = &p->out->ref;
	const struct strbuf *m = &p->composed.manifest;
	const char *tag = p->tags[i];
	int r = check_tag(p, i, errp);

	if (r < 0)
		return r;
	if (r == 0)
		p->out->tag_moved = true;
	if (p->o->dry_run)
		return 0;
	if (r == 0) {
		tag_guard_moving(p->s, ref, tag, &p->out->digest);
		r = p->registry->ops->put_manifest(p->registry, ref->repo, tag,
						   MEDIA_TYPE_MANIFEST, m->buf,
						   m->len, p->op, errp);
		if (r < 0)
			return error_prefix(errp, r, "tag '%s'", tag);
	}
	tag_guard_moved(p->s, ref, tag, &p->out->digest);
	return 0;
}

/* It refers to the manifest, which goes first, and is there when the tag is. */
static int attach_trace(struct pusher *p, struct error **errp)
{
	struct push_trace t = {
		.registry = p->registry,
		.repo = p->out->ref.repo,
		.manifest = &p->composed.manifest,
		.text = p->trace,
		.len = p->trace_len,
	};
	int r;

	push_trace_compare(&t, &p->ws.inv, &p->out->warnings);
	if (p->o->dry_run)
		return 0;
	r = push_trace_attach(&t, &p->out->trace, p->op, errp);
	p->out->has_trace = r == 0;
	return r;
}

/* The commit point: everything the manifest names is there. */
static int move_tags(struct pusher *p, struct error **errp)
{
	int r = 0;

	for (size_t i = 0; p->tags[i] && r == 0; i++)
		r = move_tag(p, i, errp);
	return r;
}

static void begin_sending(struct pusher *p)
{
	const struct composed *c = &p->composed;
	uint64_t bytes = 0;

	for (size_t i = 0; i < c->n_externals; i++)
		bytes += c->externals[i]->inv->size;
	for (size_t i = 0; i < c->n_blobs; i++)
		bytes += c->blobs[i].desc.size;
	progress_phase(p->progress, "sending", "blobs",
		       c->n_externals + c->n_blobs, bytes);
}

static int upload(struct pusher *p, struct error **errp)
{
	int r = check_tags(p, errp);

	begin_sending(p);
	if (r == 0)
		r = pool_for_each(p->pool, p->composed.n_externals,
				  upload_external, p, errp);
	elsewhere_load(p->s, &p->out->ref, &p->elsewhere);
	if (r == 0)
		r = pool_for_each(p->pool, p->composed.n_blobs, upload_blob, p,
				  errp);
	if (r == 0 && p->trace)
		r = attach_trace(p, errp);
	if (r == 0)
		r = move_tags(p, errp);
	if (r == 0 && !p->o->dry_run)
		elsewhere_note(p->s, &p->out->ref, &p->out->digest,
			       p->composed.manifest.buf,
			       p->composed.manifest.len);
	p->out->blobs_sent = p->sent;
	p->out->bytes_sent = p->bytes_sent;
	p->out->externals_sent = p->externals_sent;
	return r;
}

static int push_steps(struct pusher *p, struct error **errp)
{
	unsigned n = session_settings(p->s)->concurrency;
	struct workspace_options wo = {
		.follow_symlinks = p->o->follow_symlinks,
		.externals = p->o->externals,
		.n_externals = p->o->n_externals,
		.op = p->op,
	};
	int r;

	p->progress = progress_new("scanning", p->o->show_progress);
	wo.progress = p->progress;
	r = p->o->trace ? push_trace_read(p->o->trace, &p->trace, &p->trace_len,
					  errp)
			: 0;
	if (r == 0)
		r = workspace_open(p->s, p->o->dir, &wo, &p->ws, errp);
	if (r == 0)
		r = choose_target(p, errp);
	if (r < 0)
		return r;
	p->pool = pool_new("push", n ? n : 8);
	r = prepare(p, errp);
	if (r == 0)
		r = upload(p, errp);
	if (r == 0 && p->bumped && !p->o->dry_run)
		r = bundle_file_bump(p->o->dir, p->ws.bf.version, p->bumped,
				     errp);
	return r;
}

int push(struct session *s, const struct push_options *o,
	 struct push_result *ret, const struct op *op, struct error **errp)
{
	cleanup_push_result struct push_result out = {0};
	cleanup_pusher struct pusher p = {
		.s = s,
		.o = o,
		.op = op,
		.ws = WORKSPACE_INIT,
		.out = &out,
	};
	int r = push_steps(&p, errp);

	if (r < 0)
		return error_prefix(errp, r, "pushing '%s'", o->dir);
	*ret = out;
	out = (struct push_result){0};
	return 0;
}
