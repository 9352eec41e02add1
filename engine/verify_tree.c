/*
 * Trees. Every layer's is loaded, one at a time, its blobs must be in the
 * manifest, and its externals are looked at. Deep: every rule of every tree, merged trees rebuilt from the layers', and packs:
 * their headers say what the tree says, and every file of the tree that is in
 * a pack is one of the pack's files.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "engine/role_tree.h"
#include "engine/tar.h"
#include "engine/verify_internal.h"

/*
 * Packs.
 */

struct pack_check {
	struct verify *v;
	const struct tree *t;
	uint32_t index;
	struct fetch_source *src;
	uint64_t size, off; /* of the pack; where its reader is */
	struct map files;   /* offset → 1: files the pack has */
	int failed;         /* reading, not the pack's form */
};

static int read_pack(void *ctx, void *buf, size_t n, struct error **errp)
{
	struct pack_check *c = ctx;
	struct fetch_range rg = {
		.source = c->src,
		.off = c->off,
		.len = (size_t)MIN((uint64_t)MIN(n, (size_t)CHUNK_SIZE),
				   c->size - c->off),
	};
	ssize_t got;

	if (!rg.len)
		return 0;
	got = fetch_read(c->v->fetcher, &rg, buf, c->v->op, errp);
	if (got < 0)
		c->failed = (int)got;
	else
		c->off += (uint64_t)got;
	return (int)got;
}

static int hash_entry(struct tar_reader *tr, struct digest *ret,
		      struct error **errp)
{
	cleanup_hasher struct hasher *h = hasher_new();
	cleanup_free char *buf = xmalloc(CHUNK_SIZE);
	ssize_t n;

	while ((n = tar_reader_read(tr, buf, CHUNK_SIZE, errp)) > 0)
		hasher_update(h, buf, (size_t)n);
	*ret = hasher_final(h);
	return (int)n;
}

static int wrong(const struct tar_entry *e, const char *what,
		 struct error **errp)
{
	return error_set(errp, EBADMSG, "'%s' %s", e->path, what);
}

/* The reader stands behind the header. */
static int check_file(struct pack_check *c, struct tar_reader *tr,
		      const struct tar_entry *e, const struct tree_node *n,
		      struct error **errp)
{
	uint64_t off = c->off;
	struct digest got;
	int r;

	if (n->kind != TREE_FILE || n->source != c->index || n->offset != off)
		return wrong(e, "lies elsewhere in the tree", errp);
	if (n->size != e->size || n->executable != e->executable)
		return wrong(e, "is another file in the tree", errp);
	r = hash_entry(tr, &got, errp);
	if (r < 0)
		return r;
	if (!digest_equal(&got, n->digest))
		return wrong(e, "has another digest in the tree", errp);
	map_put(&c->files, &off, sizeof(off), c);
	return 0;
}

static int check_entry(struct pack_check *c, struct tar_reader *tr,
		       const struct tar_entry *e, struct error **errp)
{
	struct tree_node n;
	uint32_t node;
	int r = tree_find(c->t, e->path, &node, NULL);

	if (r == -ENOENT || r == -ENOTDIR)
		return wrong(e, "is not in the tree", errp);
	if (r >= 0)
		r = tree_node(c->t, node, &n, errp);
	if (r < 0)
		return r;
	if (e->kind == TAR_FILE)
		return check_file(c, tr, e, &n, errp);
	if (e->kind != TAR_DIR || n.kind != TREE_DIR)
		return wrong(e, "is of another kind in the tree", errp);
	return 0;
}

static int is_in_pack(void *ctx, uint32_t node, const struct tree_node *n,
		      const char *path, struct error **errp)
{
	struct pack_check *c = ctx;

	if (n->kind != TREE_FILE || n->source != c->index ||
	    map_get(&c->files, &n->offset, sizeof(n->offset)))
		return 0;
	return error_set(errp, EBADMSG, "'%s' is none of its files", path);
}

static int read_entries(struct pack_check *c, struct error **errp)
{
	struct tar_reader *tr = tar_reader_new(read_pack, c);
	struct tar_entry e;
	int r;

	while ((r = tar_reader_next(tr, &e, errp)) > 0) {
		r = check_entry(c, tr, &e, errp);
		if (r < 0)
			break;
	}
	tar_reader_free(tr);
	if (r < 0)
		return c->failed ? c->failed : -EBADMSG;
	return tree_walk(c->t, TREE_ROOT, is_in_pack, c, errp);
}

static void check_pack(struct verify *v, const struct tree *t, uint32_t index,
		       const struct tree_source *src)
{
	struct pack_check c = {
		.v = v, .t = t, .index = index, .size = src->size};
	cleanup_error struct error *err = NULL;
	cleanup_free char *what =
		xasprintf("pack '%s'", digest_to_str(&src->digest).str);
	const struct verify_about about = {.digest = &src->digest};
	int r = bundle_source(v->b, t, index, &c.src, &err);

	if (r >= 0)
		r = read_entries(&c, &err);
	if (r < 0)
		verify_failed(v, &about, r, err, what);
	fetch_source_close(c.src);
	map_release(&c.files);
}

/*
 * Sources and nodes.
 */

static int check_sources(struct verify *v, const struct tree *t,
			 struct error **errp)
{
	uint32_t records = tree_source_records(t);

	for (uint32_t i = 0; i < records; i = tree_next_source(t, i)) {
		struct fetch_source *s = NULL;
		struct tree_source src;
		int r = tree_source(t, i, &src, errp);

		if (r >= 0)
			r = bundle_source(v->b, t, i, &s, errp);
		if (r < 0)
			return r;
		fetch_source_close(s);
		r = op_go_on(v->op, errp);
		if (r < 0)
			return r;
		if (v->deep && src.kind == TREE_SOURCE_PACK)
			check_pack(v, t, i, &src);
	}
	return 0;
}

static int check_tree(struct verify *v, const struct tree *t,
		      struct error **errp)
{
	int r = v->deep ? tree_validate(t, errp) : 0;

	return r < 0 ? r : check_sources(v, t, errp);
}

static int check_layer(struct verify *v, size_t i, struct error **errp)
{
	cleanup_free char *what =
		xasprintf("layer '%s'", v->b->root.layers[i].name);
	const struct verify_about about = {
		.digest = &v->b->root.layers[i].tree.digest};
	cleanup_error struct error *err = NULL;
	cleanup_tree struct tree *t = NULL;
	int r = bundle_layer_tree(v->b, i, v->op, &t, &err);

	if (r >= 0)
		r = check_tree(v, t, &err);
	v->unsound[i] = r < 0;
	if (r < 0 && r != -ECANCELED)
		verify_failed(v, &about, r, err, what);
	r = op_go_on(v->op, errp);
	return r < 0 || !t ? r : verify_externals(v, t, errp);
}

/*
 * Merged trees.
 */

/* Of a layer that is not right there is a finding already. */
static bool is_sound(const struct verify *v, const struct root_role *role)
{
	for (size_t i = 0; i < role->n_layers; i++)
		if (v->unsound[role->layers[i]])
			return false;
	return true;
}

static void check_role(struct verify *v, const struct root_role *role)
{
	cleanup_free char *what = xasprintf("role '%s'", role->name);
	cleanup_error struct error *err = NULL;
	struct digest want = {0};
	const struct verify_about about = {.digest = &want,
					   .found = &role->tree.digest};
	int r = role_tree_digest(v->b, role, v->op, &want, &err);

	if (r < 0 && r != -ECANCELED)
		verify_failed(v, NULL, r, err, what);
	else if (r >= 0 && !digest_equal(&want, &role->tree.digest))
		verify_damaged(v, &about,
			       "%s: its tree is not the union of its layers",
			       what);
}

int verify_trees(struct verify *v, struct error **errp)
{
	const struct root *root = &v->b->root;
	int r = 0;

	for (size_t i = 0; i < root->n_layers && r >= 0; i++)
		r = check_layer(v, i, errp);
	for (size_t i = 0; v->deep && i < root->n_roles && r >= 0; i++) {
		if (is_sound(v, &root->roles[i]))
			check_role(v, &root->roles[i]);
		r = op_go_on(v->op, errp);
	}
	return r;
}
