#include "engine/compose_internal.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/time.h"
#include "cache/content.h"
#include "cache/hashes.h"

static void composer_release(struct composer *c)
{
	size_t i;

	for (i = 0; c->packed && i < c->plan->n_packs; i++)
		free(c->packed[i].chunks);
	free(c->packed);
	for (i = 0; i < c->n_runs; i++)
		free(c->runs[i].parts);
	free(c->runs);
	map_release(&c->run_by_digest);
	map_release(&c->blob_by_digest);
	map_release(&c->external_by_uri);
	root_release(&c->root);
}
#define cleanup_composer __attribute__((cleanup(composer_release)))

/*
 * Packs and parts: the only steps that read files.
 */

/* Packs outlive the composer, the inventory outlives the packs. */
static int open_item(void *ctx, const struct pack_item *it, struct error **errp)
{
	return inventory_open(ctx, it->user, errp);
}

/* What a pack's bytes are a function of, in place of a path. */
static char *pack_key(const struct plan_pack *p)
{
	cleanup_hasher struct hasher *h = hasher_new();
	struct digest d;

	for (size_t i = 0; i < p->n; i++) {
		const struct pack_item *it = &p->items[i];

		hasher_update(h, it->path, strlen(it->path) + 1);
		hasher_update(h, it->executable ? "x" : "-", 1);
		hasher_update(h, &it->digest, sizeof(it->digest));
	}
	d = hasher_final(h);
	return xasprintf("pack-%d/%s", PACK_FORMAT, digest_to_hex(&d).str);
}

/* A pack of which nothing has changed is not read again. */
static bool known_pack(struct composer *c, const char *key, uint64_t size,
		       struct packed *ret)
{
	const struct stat st = {.st_size = (off_t)size};
	size_t n;

	if (!c->o->packs ||
	    !hashes_get(c->o->packs, key, &st, &ret->digest, &ret->chunks, &n))
		return false;
	ret->n_chunks = (uint32_t)n;
	return true;
}

static void keep_pack(struct composer *c, const char *key, uint64_t size,
		      const struct packed *p)
{
	const struct stat st = {.st_size = (off_t)size};

	if (c->o->packs)
		hashes_put(c->o->packs, key, &st, time_wall_ns(), &p->digest,
			   p->chunks, p->n_chunks);
}

static int hash_pack(void *ctx, size_t i, struct error **errp)
{
	struct composer *c = ctx;
	struct packed *p = &c->packed[i];
	uint64_t size = pack_size(c->out->packs[i]);
	cleanup_free char *key = pack_key(&c->plan->packs[i]);
	int r;

	if (known_pack(c, key, size, p)) {
		progress_less(c->o->progress, size);
		progress_add(c->o->progress, 1, 0);
		return 0;
	}
	r = pack_hash(c->out->packs[i], &p->digest, &p->chunks, &p->n_chunks,
		      errp);
	if (r < 0)
		return r;
	keep_pack(c, key, size, p);
	progress_add(c->o->progress, 1, size);
	return 0;
}

static int make_packs(struct composer *c, struct error **errp)
{
	const struct plan *plan = c->plan;
	struct composed *out = c->out;
	uint64_t bytes = 0;

	c->packed =
		xcalloc(plan->n_packs ? plan->n_packs : 1, sizeof(*c->packed));
	out->packs =
		xcalloc(plan->n_packs ? plan->n_packs : 1, sizeof(*out->packs));
	for (size_t i = 0; i < plan->n_packs; i++)
		out->packs[i] = pack_new(plan->packs[i].items, plan->packs[i].n,
					 open_item, (void *)out->inv);
	out->n_packs = plan->n_packs;
	for (size_t i = 0; i < plan->n_packs; i++)
		bytes += pack_size(out->packs[i]);
	progress_phase(c->o->progress, "packing", "packs", plan->n_packs,
		       bytes);
	return pool_for_each(c->o->pool, plan->n_packs, hash_pack, c, errp);
}

static int hash_run(void *ctx, size_t i, struct error **errp)
{
	struct composer *c = ctx;
	struct run *run = &c->runs[i];
	cleanup_fd int fd = inventory_open(c->inv, run->inv, errp);
	uint64_t off = 0;

	if (fd < 0)
		return fd;
	for (uint32_t k = 0; k < run->n; k++) {
		struct tree_part *p = &run->parts[k];
		int r;

		p->size = MIN(c->part_size, run->inv->size - off);
		r = digest_of_fd(fd, off, p->size, &p->digest, errp);
		if (r < 0)
			return error_prefix(errp, r, "reading '%s'",
					    run->inv->path);
		progress_add(c->o->progress, 0, p->size);
		off += p->size;
	}
	progress_add(c->o->progress, 1, 0);
	return 0;
}

static int make_runs(struct composer *c, struct error **errp)
{
	size_t cap = 0;
	uint64_t bytes = 0;

	for (size_t i = 0; i < c->plan->n; i++) {
		const struct plan_entry *e = &c->plan->entries[i];
		struct run *run;

		if (e->place != PLACE_BLOB || e->inv->size <= c->part_size ||
		    map_get(&c->run_by_digest, &e->inv->digest, DIGEST_SIZE))
			continue;
		ARRAY_GROW(c->runs, c->n_runs, cap);
		run = &c->runs[c->n_runs++];
		run->inv = e->inv;
		run->n = (uint32_t)((e->inv->size - 1) / c->part_size + 1);
		run->parts = xcalloc(run->n, sizeof(*run->parts));
		map_put(&c->run_by_digest, &e->inv->digest, DIGEST_SIZE,
			(void *)(uintptr_t)c->n_runs);
	}
	for (size_t i = 0; i < c->n_runs; i++)
		bytes += c->runs[i].inv->size;
	if (c->n_runs)
		progress_phase(c->o->progress, "hashing", "large files",
			       c->n_runs, bytes);
	return pool_for_each(c->o->pool, c->n_runs, hash_run, c, errp);
}

const struct run *compose_run(const struct composer *c,
			      const struct inv_entry *e)
{
	size_t at =
		(uintptr_t)map_get(&c->run_by_digest, &e->digest, DIGEST_SIZE);

	assert(at > 0);
	return &c->runs[at - 1];
}

static void collect_externals(struct composer *c)
{
	size_t cap = 0;

	for (size_t i = 0; i < c->plan->n; i++) {
		const struct plan_entry *e = &c->plan->entries[i];

		if (e->place != PLACE_EXTERNAL || e->registered ||
		    map_put_str(&c->external_by_uri, e->uri, (void *)1))
			continue;
		ARRAY_GROW(c->out->externals, c->out->n_externals, cap);
		c->out->externals[c->out->n_externals++] = e;
	}
}

static int compose_steps(struct composer *c, struct error **errp)
{
	int r = make_packs(c, errp);

	if (r == 0)
		r = make_runs(c, errp);
	if (r == 0)
		r = compose_trees(c, errp);
	if (r == 0)
		r = compose_blobs(c, errp);
	if (r < 0)
		return r;
	collect_externals(c);
	return compose_manifest(c, errp);
}

int compose(const struct inventory *inv, const struct bundle_file *bf,
	    const struct plan *plan, const struct compose_options *o,
	    struct composed *ret, struct error **errp)
{
	cleanup_composed struct composed out = {.inv = inv};
	cleanup_composer struct composer c = {
		.inv = inv,
		.bf = bf,
		.plan = plan,
		.o = o,
		.out = &out,
		.part_size = o->part_size ? o->part_size : PART_SIZE,
	};
	int r = compose_steps(&c, errp);

	if (r < 0)
		return r;
	*ret = out;
	out = (struct composed){0};
	return 0;
}

void composed_release(struct composed *c)
{
	for (size_t i = 0; i < c->n_blobs; i++)
		descriptor_release(&c->blobs[i].desc);
	free(c->blobs);
	for (size_t i = 0; i < c->n_packs; i++)
		pack_free(c->packs[i]);
	free(c->packs);
	for (size_t i = 0; i < c->n_trees; i++)
		free(c->trees[i].mem);
	free(c->trees);
	free(c->externals);
	strbuf_release(&c->root);
	strbuf_release(&c->manifest);
	*c = (struct composed){0};
}
