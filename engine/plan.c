/*
 * Three passes over the inventory, each taking files from those that are left:
 * externals by rule, own blobs by rank, packs. Then the bundle's budget.
 */
#include "engine/plan.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/map.h"
#include "base/path.h"
#include "engine/plan_external.h"

struct planner {
	const struct inventory *inv;
	const struct bundle_file *bf;
	const struct plan_options *o;
	const struct plan_rules *rules;
	uint64_t part_size;
	struct plan *plan;
};

/* Neither a folder, nor a link, nor empty, and not placed yet. */
static bool is_unplaced(const struct plan_entry *e)
{
	return e->inv->kind == TREE_FILE && e->inv->size &&
	       e->place == PLACE_NONE;
}

/*
 * Paths. What a scan makes cannot clash; what is added to it is checked.
 */

/* @a is a file or link where @b has a folder, or both are one path. */
static bool clash(const struct inv_entry *a, const struct inv_entry *b,
		  size_t a_len)
{
	return b->path[a_len] == '\0' || b->path[a_len] == '/';
}

/* The entries whose paths are the beginning of this one's stand right before
 * it, shortest first. */
static int check_paths(const struct inventory *inv, struct error **errp)
{
	struct {
		const struct inv_entry *e;
		size_t len;
	} above[PATH_BYTES_MAX + 1];
	size_t n = 0;

	for (size_t i = 0; i < inv->n; i++) {
		const struct inv_entry *e = &inv->entries[i];
		size_t len = strlen(e->path);
		const char *flaw = path_flaw(e->path, len);

		if (flaw)
			return error_set(errp, EINVAL,
					 "'%s' cannot be in a bundle: %s",
					 e->path, flaw);
		while (n && strncmp(above[n - 1].e->path, e->path,
				    above[n - 1].len) != 0)
			n--;
		for (size_t k = 0; k < n; k++)
			if (clash(above[k].e, e, above[k].len))
				return error_set_kind(
					errp, ERROR_ROLE, EEXIST,
					"'%s' and '%s' cannot both be there",
					above[k].e->path, e->path);
		above[n].e = e;
		above[n++].len = len;
	}
	return 0;
}

/*
 * Own blobs: the distinct contents that are large enough, largest first, as
 * long as there is room.
 */

static uint64_t weight(const struct planner *pl, uint64_t size)
{
	return (size - 1) / pl->part_size + 1;
}

static int compare_ranks(const void *a, const void *b)
{
	const struct plan_entry *const *x = a, *const *y = b;

	if ((*x)->inv->size != (*y)->inv->size)
		return (*x)->inv->size > (*y)->inv->size ? -1 : 1;
	return digest_cmp(&(*x)->inv->digest, &(*y)->inv->digest);
}

static bool is_candidate(const struct planner *pl, const struct plan_entry *e)
{
	return is_unplaced(e) &&
	       (e->inv->size >= pl->rules->own_blob_min || pl->o->pack_nothing);
}

static void place_blob(struct planner *pl, struct plan_entry *e)
{
	e->place = PLACE_BLOB;
	e->reason = e->inv->size > pl->part_size ? "large, in parts"
						 : "among the largest";
}

/* Equal contents are neighbours: the first of them pays. */
static void place_ranked(struct planner *pl, struct plan_entry **ranked,
			 size_t n)
{
	uint64_t used = 0;

	for (size_t i = 0; i < n; i++) {
		bool again =
			i && compare_ranks(&ranked[i - 1], &ranked[i]) == 0;
		uint64_t w = again ? 0 : weight(pl, ranked[i]->inv->size);

		if (w > pl->rules->max_own_blobs - used && !pl->o->pack_nothing)
			break;
		used += w;
		place_blob(pl, ranked[i]);
	}
	pl->plan->n_blob_descriptors = (size_t)used;
}

static void place_blobs(struct planner *pl)
{
	struct plan *p = pl->plan;
	cleanup_free struct plan_entry **ranked = NULL;
	size_t n = 0;

	ranked = xcalloc(p->n ? p->n : 1, sizeof(struct plan_entry *));
	for (size_t i = 0; i < p->n; i++)
		if (is_candidate(pl, &p->entries[i]))
			ranked[n++] = &p->entries[i];
	qsort(ranked, n, sizeof(struct plan_entry *), compare_ranks);
	place_ranked(pl, ranked, n);
}

/*
 * Packs: per layer, in byte order of the paths, each content once.
 */

struct packing {
	struct pack_item *items;
	size_t n, cap;
	struct map where; /* digest → 1 + index into items */
};

static void packings_free(struct packing *all, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(all[i].items);
		map_release(&all[i].where);
	}
	free(all);
}

static int too_large_for_pack(const struct plan_entry *e, struct error **errp)
{
	int r = error_set(errp, EINVAL,
			  "'%s' (%llu bytes) is too large for a pack, and "
			  "there is no room for a blob of its own",
			  e->inv->path, (unsigned long long)e->inv->size);

	return error_hint(errp, r,
			  "move large files out of the registry with "
			  "external_storage");
}

static int add_item(const struct planner *pl, struct packing *to,
		    struct plan_entry *e, struct error **errp)
{
	const struct digest *d = &e->inv->digest;
	uintptr_t at = (uintptr_t)map_get(&to->where, d->b, sizeof(d->b));

	if (e->inv->size > pl->part_size)
		return too_large_for_pack(e, errp);
	e->place = PLACE_PACK;
	e->reason = e->inv->size < pl->rules->own_blob_min
			    ? "small"
			    : "no room for another blob";
	if (at) {
		e->pack_item = (uint32_t)at - 1;
		return 0;
	}
	ARRAY_GROW(to->items, to->n, to->cap);
	to->items[to->n] = (struct pack_item){
		.path = e->inv->path,
		.executable = e->inv->executable,
		.size = e->inv->size,
		.digest = *d,
		.user = (void *)e->inv,
	};
	e->pack_item = (uint32_t)to->n++;
	/* NOLINTNEXTLINE(performance-no-int-to-ptr): an index, not a pointer */
	map_put(&to->where, d->b, sizeof(d->b), (void *)(uintptr_t)to->n);
	return 0;
}

static void add_pack(struct plan *p, uint32_t layer, uint32_t number,
		     const struct pack_item *items, size_t n)
{
	p->packs = xrealloc(p->packs, p->n_packs + 1, sizeof(*p->packs));
	p->packs[p->n_packs++] = (struct plan_pack){
		.layer = layer,
		.number = number,
		.items = xmemdup(items, n * sizeof(*items)),
		.n = n,
	};
}

/* Cut a layer's items; *@ret_pack_of says which pack each went into, and
 * *@ret_first at which item that pack begins. */
static void cut_layer(struct plan *p, uint32_t layer,
		      const struct packing *from, uint32_t *pack_of,
		      uint32_t *first)
{
	size_t at = 0;

	for (uint32_t number = 0; at < from->n; number++) {
		size_t n = p->rules->cut(from->items + at, from->n - at,
					 p->pack_step);

		for (size_t i = at; i < at + n; i++) {
			pack_of[i] = (uint32_t)p->n_packs;
			first[i] = (uint32_t)at;
		}
		add_pack(p, layer, number, from->items + at, n);
		at += n;
	}
}

/* Entries know an index into the layer's items; now it becomes one into the
 * pack's. */
static void settle(struct plan *p, uint32_t layer, const uint32_t *pack_of,
		   const uint32_t *first)
{
	for (size_t i = 0; i < p->n; i++) {
		struct plan_entry *e = &p->entries[i];
		uint32_t item = e->pack_item;

		if (e->place != PLACE_PACK || e->inv->layer != layer)
			continue;
		e->pack = pack_of[item];
		e->pack_item = item - first[item];
	}
}

static void cut_all(struct planner *pl, const struct packing *all)
{
	size_t n_layers = pl->bf->n_layers;
	cleanup_free struct pack_layer *layers =
		xcalloc(n_layers, sizeof(*layers));

	for (size_t i = 0; i < n_layers; i++)
		layers[i] = (struct pack_layer){all[i].items, all[i].n};
	pl->plan->pack_step = pl->rules->step(layers, n_layers);
	for (uint32_t i = 0; i < n_layers; i++) {
		cleanup_free uint32_t *pack_of = NULL, *first = NULL;

		if (!all[i].n)
			continue;
		pack_of = xcalloc(all[i].n, sizeof(*pack_of));
		first = xcalloc(all[i].n, sizeof(*first));
		cut_layer(pl->plan, i, &all[i], pack_of, first);
		settle(pl->plan, i, pack_of, first);
	}
}

static int place_packed(struct planner *pl, struct error **errp)
{
	struct plan *p = pl->plan;
	struct packing *all = xcalloc(pl->bf->n_layers, sizeof(*all));
	int r = 0;

	for (size_t i = 0; i < p->n && r == 0; i++) {
		struct plan_entry *e = &p->entries[i];

		if (is_unplaced(e))
			r = add_item(pl, &all[e->inv->layer], e, errp);
	}
	if (r == 0)
		cut_all(pl, all);
	packings_free(all, pl->bf->n_layers);
	return r;
}

/*
 * The budget.
 */

static bool same_layers(char *const *a, char *const *b)
{
	while (*a && *b && strcmp(*a, *b) == 0)
		a++, b++;
	return !*a && !*b;
}

/* Each layer has a tree; a role of several has one of its own, unless another
 * role has the same layers. */
static size_t count_trees(const struct bundle_file *bf)
{
	size_t n = bf->n_layers;

	for (size_t i = 0; i < bf->n_roles; i++) {
		bool distinct = strv_len(bf->roles[i].layers) > 1;

		for (size_t k = 0; k < i && distinct && n <= MAX_TREES; k++)
			distinct = !same_layers(bf->roles[i].layers,
						bf->roles[k].layers);
		n += distinct;
		if (n > MAX_TREES)
			break;
	}
	return n;
}

static int check_budget(const struct planner *pl, struct error **errp)
{
	const struct plan *p = pl->plan;
	size_t total = p->n_trees + p->n_packs + p->n_blob_descriptors;
	int r;

	if (p->n_trees > MAX_TREES) {
		r = error_set(errp, EINVAL,
			      "the layers and roles need more than %d trees",
			      MAX_TREES);
		return error_hint(errp, r,
				  "use fewer layers, or fewer roles that join "
				  "different layers");
	}
	if (total <= MAX_LAYER_DESCRIPTORS || pl->o->pack_nothing)
		return 0;
	r = error_set(errp, EINVAL,
		      "the bundle needs %zu blobs (%zu trees, %zu packs, %zu "
		      "files and parts), and %d fit",
		      total, p->n_trees, p->n_packs, p->n_blob_descriptors,
		      MAX_LAYER_DESCRIPTORS);
	return error_hint(errp, r,
			  "move files out of the registry with "
			  "external_storage");
}

static const char *reason_for_none(const struct inv_entry *e)
{
	switch (e->kind) {
	case TREE_DIR:
		return "an empty folder";
	case TREE_SYMLINK:
		return "a symlink";
	case TREE_FILE:
		break;
	}
	return e->size ? NULL : "an empty file";
}

int plan_make(const struct inventory *inv, const struct bundle_file *bf,
	      const struct plan_options *o, struct plan *ret,
	      struct error **errp)
{
	cleanup_plan struct plan p = {
		.rules = o->rules ? o->rules : plan_rules_newest(),
	};
	struct planner pl = {.inv = inv,
			     .bf = bf,
			     .o = o,
			     .rules = p.rules,
			     .part_size =
				     o->part_size ? o->part_size : PART_SIZE,
			     .plan = &p};
	int r = check_paths(inv, errp);

	if (r < 0)
		return r;
	p.entries = xcalloc(inv->n ? inv->n : 1, sizeof(*p.entries));
	p.n = inv->n;
	for (size_t i = 0; i < p.n; i++) {
		p.entries[i].inv = &inv->entries[i];
		p.entries[i].reason = reason_for_none(&inv->entries[i]);
	}
	p.n_trees = count_trees(bf);
	r = plan_place_externals(&p, bf, o, errp);
	if (r == 0) {
		place_blobs(&pl);
		r = place_packed(&pl, errp);
	}
	if (r == 0)
		r = check_budget(&pl, errp);
	if (r < 0)
		return r;
	*ret = p;
	p = (struct plan){0};
	return 0;
}

void plan_release(struct plan *p)
{
	for (size_t i = 0; i < p->n; i++)
		free(p->entries[i].uri);
	for (size_t i = 0; i < p->n_packs; i++)
		free(p->packs[i].items);
	free(p->entries);
	free(p->packs);
	*p = (struct plan){0};
}
