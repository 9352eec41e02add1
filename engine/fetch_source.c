/*
 * Sources: one per (digest, chunk list, remote) in a fetcher, and the way from
 * a position in a source's stream to the blob, part or object that has it.
 */
#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <inttypes.h>

#include "base/log.h"
#include "engine/fetch_internal.h"

static void grid_free(struct fetch_grid *g)
{
	free(g->chunks);
	free(g);
}

/* What the cache, too, tells partials apart by: the size and every chunk. */
static struct digest grid_key(const struct content_spec *c)
{
	cleanup_hasher struct hasher *h = hasher_new();
	uint64_t size = htole64(c->size);

	hasher_update(h, c->digest.b, DIGEST_SIZE);
	hasher_update(h, &size, sizeof(size));
	if (c->size > CHUNK_SIZE)
		hasher_update(h, c->chunks,
			      (size_t)chunk_count(c->size) * DIGEST_SIZE);
	return hasher_final(h);
}

static struct digest source_key(const struct fetch_source_spec *spec,
				const struct digest *grid)
{
	cleanup_hasher struct hasher *h = hasher_new();
	unsigned char kind = (unsigned char)spec->kind;
	const struct remote *r = spec->remote;
	const uintptr_t where[] = {(uintptr_t)r->registry,
				   (uintptr_t)r->stores};

	hasher_update(h, grid->b, DIGEST_SIZE);
	hasher_update(h, &kind, 1);
	hasher_update(h, where, sizeof(where));
	if (r->repo)
		hasher_update(h, r->repo, strlen(r->repo) + 1);
	if (spec->uri)
		hasher_update(h, spec->uri, spec->uri_len);
	for (uint32_t i = 0; i < spec->n_parts; i++)
		hasher_update(h, spec->parts[i].digest.b, DIGEST_SIZE);
	return hasher_final(h);
}

static int spec_check(const struct fetch_source_spec *spec, struct error **errp)
{
	const struct content_spec *c = &spec->content;
	uint64_t sum = 0;

	if (!c->size || c->size > INT64_MAX ||
	    c->size / CHUNK_SIZE >= UINT32_MAX)
		return error_set(errp, EINVAL, "a source of %" PRIu64 " bytes",
				 c->size);
	if (c->size > CHUNK_SIZE && !c->chunks)
		return error_set(errp, EINVAL, "a source without chunk list");
	if (spec->kind == TREE_SOURCE_EXTERNAL)
		return spec->uri ? 0
				 : error_set(errp, EINVAL,
					     "an external without URI");
	if (spec->kind != TREE_SOURCE_RUN)
		return 0;
	for (uint32_t i = 0; i < spec->n_parts; i++)
		if (!spec->parts[i].size ||
		    __builtin_add_overflow(sum, spec->parts[i].size, &sum))
			return error_set(errp, EINVAL, "a part without size");
	if (sum != c->size)
		return error_set(errp, EBADMSG,
				 "parts of %" PRIu64 " bytes in a file of "
				 "%" PRIu64,
				 sum, c->size);
	return 0;
}

/* Chunk lists come from a mapped tree and are as large as what is there. */
static struct fetch_grid *grid_new(const struct content_spec *c,
				   const struct digest *key)
{
	struct fetch_grid *g = xcalloc(1, sizeof(*g));
	size_t n = (size_t)chunk_count(c->size) * DIGEST_SIZE;

	g->key = *key;
	if (c->size <= CHUNK_SIZE)
		return g;
	g->chunks = malloc(n);
	if (!g->chunks) {
		free(g);
		return NULL;
	}
	memcpy(g->chunks, c->chunks, n);
	return g;
}

static int grid_get(struct fetcher *f, const struct content_spec *c,
		    const struct digest *key, struct fetch_grid **ret,
		    struct error **errp)
{
	struct fetch_grid *g, *fresh = grid_new(c, key);

	if (!fresh)
		return error_set_errno(errp, ENOMEM, "a chunk list");
	fetcher_lock(f);
	g = map_get(&f->grids, key->b, DIGEST_SIZE);
	if (!g) {
		g = fresh;
		fresh = NULL;
		map_put(&f->grids, key->b, DIGEST_SIZE, g);
	}
	g->refs++;
	fetcher_unlock(f);
	if (fresh)
		grid_free(fresh);
	*ret = g;
	return 0;
}

static void grid_unref(struct fetcher *f, struct fetch_grid *g)
{
	fetcher_lock(f);
	bool last = --g->refs == 0;
	if (last)
		map_del(&f->grids, g->key.b, DIGEST_SIZE);
	fetcher_unlock(f);
	if (last)
		grid_free(g);
}

static int copy_parts(struct fetch_source *s,
		      const struct fetch_source_spec *spec, struct error **errp)
{
	if (spec->kind != TREE_SOURCE_RUN)
		return 0;
	s->parts = reallocarray(NULL, spec->n_parts, sizeof(*s->parts));
	if (!s->parts)
		return error_set_errno(errp, ENOMEM, "a list of parts");
	memcpy(s->parts, spec->parts, spec->n_parts * sizeof(*s->parts));
	s->n_parts = spec->n_parts;
	return 0;
}

static struct fetch_source *source_alloc(struct fetcher *f,
					 const struct fetch_source_spec *spec,
					 const struct digest *key)
{
	struct fetch_source *s = xcalloc(1, sizeof(*s));

	s->fetcher = f;
	s->refs = 1;
	s->key = *key;
	s->kind = spec->kind;
	s->digest = spec->content.digest;
	s->size = spec->content.size;
	s->n_chunks = chunk_count(s->size);
	s->registry = spec->remote->registry;
	s->stores = spec->remote->stores;
	s->repo = xstrdup(spec->remote->repo ? spec->remote->repo : "");
	if (spec->uri)
		s->uri = xstrndup(spec->uri, spec->uri_len);
	TAILQ_INIT(&s->runs);
	TAILQ_INIT(&s->waiters);
	TAILQ_INIT(&s->wholes);
	fetcher_lock(f);
	f->refs++;
	fetcher_unlock(f);
	return s;
}

static int source_new(struct fetcher *f, const struct fetch_source_spec *spec,
		      const struct digest *grid, const struct digest *key,
		      struct fetch_source **ret, struct error **errp)
{
	struct fetch_source *s = source_alloc(f, spec, key);
	struct content_spec c = spec->content;
	int r = copy_parts(s, spec, errp);

	if (r >= 0)
		r = grid_get(f, &c, grid, &s->grid, errp);
	if (r >= 0) {
		c.chunks = s->grid->chunks;
		r = content_open(f->cache, &c, &s->content, errp);
	}
	if (r < 0) {
		fetch_source_destroy(s);
		return r;
	}
	*ret = s;
	return 0;
}

static struct fetch_source *find_ref(struct fetcher *f,
				     const struct digest *key)
{
	fetcher_lock(f);
	struct fetch_source *s = map_get(&f->sources, key->b, DIGEST_SIZE);
	if (s)
		s->refs++;
	fetcher_unlock(f);
	return s;
}

int fetch_source_open(struct fetcher *f, const struct fetch_source_spec *spec,
		      struct fetch_source **ret, struct error **errp)
{
	int r = spec_check(spec, errp);

	if (r < 0)
		return r;
	struct digest grid = grid_key(&spec->content);
	struct digest key = source_key(spec, &grid);
	struct fetch_source *fresh, *s = find_ref(f, &key);

	if (s) {
		*ret = s;
		return 0;
	}
	r = source_new(f, spec, &grid, &key, &fresh, errp);
	if (r < 0)
		return r;
	fetcher_lock(f);
	s = map_get(&f->sources, key.b, DIGEST_SIZE);
	if (s) { /* another thread was quicker */
		s->refs++;
		fresh->refs = 0;
		TAILQ_INSERT_TAIL(&f->dead, fresh, dead);
	} else {
		map_put(&f->sources, key.b, DIGEST_SIZE, fresh);
		s = fresh;
	}
	fetcher_unlock(f);
	*ret = s;
	return 0;
}

struct fetch_source *fetch_source_ref_locked(struct fetch_source *s)
{
	s->refs++;
	return s;
}

void fetch_source_unref_locked(struct fetch_source *s)
{
	struct fetcher *f = s->fetcher;

	assert(s->refs > 0);
	if (--s->refs)
		return;
	if (s->unsynced && !f->closing) {
		/* What arrived is made durable first; that takes a reference,
		 * and the source may be opened again meanwhile. */
		fetch_chore_add_locked(s);
		return;
	}
	if (s->dirty)
		TAILQ_REMOVE(&f->dirty, s, dirty_link);
	s->dirty = false;
	map_del(&f->sources, s->key.b, DIGEST_SIZE);
	TAILQ_INSERT_TAIL(&f->dead, s, dead);
}

void fetch_source_close(struct fetch_source *s)
{
	if (!s)
		return;
	struct fetcher *f = s->fetcher;

	fetcher_lock(f);
	fetch_source_unref_locked(s);
	fetcher_unlock(f);
}

void fetch_source_destroy(struct fetch_source *s)
{
	struct fetcher *f = s->fetcher;

	/* Nobody else has it any more. */
	fetch_failures_clear_locked(s);
	fetch_tensors_drop_locked(s);
	if (s->content) {
		if (s->unsynced)
			content_sync(s->content, NULL);
		content_close(s->content);
	}
	if (s->grid)
		grid_unref(f, s->grid);
	error_free(s->fault);
	free(s->parts);
	free(s->repo);
	free(s->uri);
	free(s);
	fetcher_unref(f);
}

struct content *fetch_source_content(struct fetch_source *s)
{
	return s->content;
}

struct fetch_key fetch_chunk_key(const struct fetch_source *s, uint32_t i)
{
	return (struct fetch_key){
		.digest = s->grid->chunks ? s->grid->chunks[i] : s->digest,
		.len = chunk_len(s->size, i),
	};
}

/*
 * The remote side.
 */

static int pull_blob(struct fetch_source *s, const struct digest *d,
		     uint64_t size, uint64_t off, uint64_t len,
		     struct sink *sink, const struct op *op,
		     struct error **errp)
{
	atomic_fetch_add(&s->fetcher->counted->requests, 1);
	return s->registry->ops->read_blob(s->registry, s->repo, d, size, off,
					   len, sink, op, errp);
}

static int pull_run(struct fetch_source *s, uint64_t off, uint64_t len,
		    struct sink *sink, const struct op *op, struct error **errp)
{
	uint64_t start = 0;

	for (uint32_t i = 0; i < s->n_parts && len; i++) {
		const struct fetch_part *p = &s->parts[i];

		if (off < start + p->size) {
			uint64_t at = off - start;
			uint64_t n = MIN(len, p->size - at);
			int r = pull_blob(s, &p->digest, p->size, at, n, sink,
					  op, errp);
			if (r < 0)
				return r;
			off += n;
			len -= n;
		}
		start += p->size;
	}
	return 0;
}

#define CHANGED_HINT "the object was changed after the bundle was pushed"

static int drifted(struct fetch_source *s, struct error **errp, const char *how)
{
	error_set_kind(errp, ERROR_VALIDATION, ESTALE,
		       "external '%s' is not what the bundle says: %s", s->uri,
		       how);
	return error_hint(errp, -ESTALE, "%s", CHANGED_HINT);
}

/* Learn the validator at first contact, and see early that it is another
 * object. */
static int contact(struct fetch_source *s, struct object_store *store,
		   const struct pointer_uri *uri, char validator[128],
		   const struct op *op, struct error **errp)
{
	struct fetcher *f = s->fetcher;
	struct object_info info = {0};
	int r;

	fetcher_lock(f);
	bool known = s->contacted;
	memcpy(validator, s->validator, sizeof(s->validator));
	fetcher_unlock(f);
	if (known)
		return 0;
	r = store->ops->stat(store, uri, &info, op, errp);
	if (r < 0)
		return r;
	if (info.size != s->size)
		return drifted(s, errp, "its size differs");
	if (info.has_sha256 && !digest_equal(&info.sha256, &s->digest))
		return drifted(s, errp, "its digest differs");
	fetcher_lock(f);
	memcpy(s->validator, info.validator, sizeof(s->validator));
	s->contacted = true;
	fetcher_unlock(f);
	memcpy(validator, info.validator, sizeof(s->validator));
	return 0;
}

static int pull_external(struct fetch_source *s, uint64_t off, uint64_t len,
			 struct sink *sink, const struct op *op,
			 struct error **errp)
{
	cleanup_pointer_uri struct pointer_uri uri = {0};
	struct fetcher *f = s->fetcher;
	struct object_store *store;
	char validator[128];
	int r = pointer_uri_parse(s->uri, strlen(s->uri), &uri, errp);

	if (r < 0)
		return r;
	store = object_stores_for(s->stores, &uri, errp);
	if (!store)
		return -EPROTONOSUPPORT;
	r = contact(s, store, &uri, validator, op, errp);
	if (r < 0)
		return r;
	atomic_fetch_add(&f->counted->requests, 1);
	r = store->ops->read(store, &uri, validator, off, len, sink, op, errp);
	if (r == -ESTALE) { /* the next attempt looks anew */
		fetcher_lock(f);
		s->contacted = false;
		fetcher_unlock(f);
		error_kind(errp, r, ERROR_VALIDATION);
		error_hint(errp, r, "%s", CHANGED_HINT);
	}
	return r;
}

int fetch_source_pull(struct fetch_source *s, uint64_t off, uint64_t len,
		      struct sink *sink, const struct op *op,
		      struct error **errp)
{
	if (s->kind == TREE_SOURCE_EXTERNAL) {
		if (s->stores)
			return pull_external(s, off, len, sink, op, errp);
	} else if (s->registry) {
		if (s->kind == TREE_SOURCE_RUN)
			return pull_run(s, off, len, sink, op, errp);
		return pull_blob(s, &s->digest, s->size, off, len, sink, op,
				 errp);
	}
	error_set_kind(errp, ERROR_DOWNLOAD, ENOTCONN,
		       "'%s' is not in the cache, and this is offline",
		       digest_to_str(&s->digest).str);
	return error_hint(errp, -ENOTCONN, "run 'mops pull' while online");
}
