/*
 * Access to a tree. Every rule about a record is checked when the record is
 * touched; nothing is remembered, so that a reader needs no memory of its own
 * and no lock.
 *
 * What makes a hostile tree harmless: a child's index is larger than its
 * directory's and its parent field names that directory, so going down rises,
 * going up falls, and no node is met twice.
 */
#include "engine/tree.h"

#include <errno.h>

#include "base/path.h"
#include "base/uri.h"
#include "engine/tree_format.h"

uint32_t tree_nodes(const struct tree *t)
{
	return t->n_nodes;
}

uint32_t tree_source_records(const struct tree *t)
{
	return t->n_sources;
}

static int bad_node(struct error **errp, uint32_t i, const char *what)
{
	return error_set(errp, EBADMSG, "tree: node %u: %s", i, what);
}

static int bad_source(struct error **errp, uint32_t i, const char *what)
{
	return error_set(errp, EBADMSG, "tree: source %u: %s", i, what);
}

static bool names_hold(const struct tree *t, uint32_t off, uint32_t len)
{
	return off <= t->names_len && len <= t->names_len - off;
}

static int name_cmp(const struct tree *t, const struct tree_disk_node *d,
		    const char *name, size_t len)
{
	size_t n = le16toh(d->name_len);
	int r = memcmp(t->names + le32toh(d->name), name, MIN(n, len));

	return r ? r : (n > len) - (n < len);
}

/* The parts of a run are all as long as the first, but the last. */
static int run_check(const struct tree *t, uint32_t i, struct error **errp)
{
	const struct tree_disk_source *s = &t->sources[i];
	uint64_t size = le64toh(s->size), part;
	uint32_t n = le32toh(s->n_parts);

	if (n < 2 || n > t->n_sources - i - 1)
		return bad_source(errp, i, "impossible number of parts");
	if (s[1].kind != TREE_SOURCE_PART)
		return bad_source(errp, i, "parts are missing");
	part = le64toh(s[1].size);
	if (!part || part >= size || (size - 1) / part + 1 != n)
		return bad_source(errp, i, "the parts do not make its size");
	return 0;
}

static const char *uri_flaw(const struct tree *t,
			    const struct tree_disk_source *s)
{
	uint32_t len = le32toh(s->uri_len);

	if (s->kind != TREE_SOURCE_EXTERNAL)
		return s->uri || len || s->tier ? "unused bytes are not zero"
						: NULL;
	if (s->tier > TREE_TIER_ARCHIVE)
		return "unknown tier";
	if (!len || !names_hold(t, le32toh(s->uri), len))
		return "its URI is out of bounds";
	return NULL;
}

static const char *chunks_flaw(const struct tree *t,
			       const struct tree_disk_source *s)
{
	uint64_t n = tree_chunks_of(le64toh(s->size));
	uint64_t first = le64toh(s->first_chunk);

	if (!n)
		return first != TREE_NO_CHUNKS ? "it needs no chunk list"
					       : NULL;
	if (n > UINT32_MAX || first > t->n_chunks || n > t->n_chunks - first)
		return "its chunk list is out of bounds";
	return NULL;
}

/* All that costs no more than the record itself: done for each file node. */
static int source_check(const struct tree *t, uint32_t i, struct error **errp)
{
	const struct tree_disk_source *s;
	const char *flaw;

	if (i >= t->n_sources)
		return bad_source(errp, i, "out of bounds");
	s = &t->sources[i];
	if (s->kind < TREE_SOURCE_BLOB || s->kind > TREE_SOURCE_EXTERNAL)
		return bad_source(errp, i, "not one that a file can have");
	if (s->zero || (s->kind != TREE_SOURCE_RUN && s->n_parts))
		return bad_source(errp, i, "unused bytes are not zero");
	if (!s->size || le64toh(s->size) > INT64_MAX)
		return bad_source(errp, i, "impossible size");
	flaw = uri_flaw(t, s);
	if (!flaw)
		flaw = chunks_flaw(t, s);
	if (flaw)
		return bad_source(errp, i, flaw);
	return s->kind == TREE_SOURCE_RUN ? run_check(t, i, errp) : 0;
}

int tree_source(const struct tree *t, uint32_t i, struct tree_source *ret,
		struct error **errp)
{
	cleanup_pointer_uri struct pointer_uri uri = {0};
	const struct tree_disk_source *s;
	int r;

	r = source_check(t, i, errp);
	if (r < 0)
		return r;
	s = &t->sources[i];
	*ret = (struct tree_source){
		.kind = s->kind,
		.tier = s->tier,
		.digest = s->digest,
		.size = le64toh(s->size),
		.n_chunks = (uint32_t)tree_chunks_of(le64toh(s->size)),
		.n_parts = le32toh(s->n_parts),
	};
	if (ret->n_chunks)
		ret->chunks = t->chunks + le64toh(s->first_chunk);
	if (s->kind != TREE_SOURCE_EXTERNAL)
		return 0;
	ret->uri = t->names + le32toh(s->uri);
	ret->uri_len = le32toh(s->uri_len);
	if (pointer_uri_parse(ret->uri, ret->uri_len, &uri, NULL) < 0)
		return bad_source(errp, i, "its URI is not in normal form");
	return 0;
}

int tree_source_part(const struct tree *t, uint32_t i, uint32_t k,
		     struct digest *ret, uint64_t *ret_size,
		     struct error **errp)
{
	const struct tree_disk_source *run, *s;
	uint64_t size, part;
	int r;

	r = source_check(t, i, errp);
	if (r < 0)
		return r;
	run = &t->sources[i];
	if (k >= le32toh(run->n_parts))
		return bad_source(errp, i, "no such part");
	s = run + 1 + k;
	if (s->kind != TREE_SOURCE_PART || s->tier || s->zero || s->n_parts ||
	    s->uri || s->uri_len || le64toh(s->first_chunk) != TREE_NO_CHUNKS)
		return bad_source(errp, i + 1 + k, "not a part");
	part = le64toh(run[1].size);
	size = MIN(part, le64toh(run->size) - k * part);
	if (le64toh(s->size) != size)
		return bad_source(errp, i + 1 + k, "a part of the wrong size");
	*ret = s->digest;
	*ret_size = size;
	return 0;
}

uint32_t tree_next_source(const struct tree *t, uint32_t i)
{
	uint32_t n = 0;

	if (i >= t->n_sources)
		return t->n_sources;
	if (t->sources[i].kind == TREE_SOURCE_RUN)
		n = le32toh(t->sources[i].n_parts);
	return MIN(n, t->n_sources - i - 1) + i + 1;
}

static int dir_check(const struct tree *t, uint32_t i, struct error **errp)
{
	const struct tree_disk_node *d = &t->nodes[i];
	uint32_t first = le32toh(d->dir.first), count = le32toh(d->dir.count);

	if (d->kind != TREE_DIR)
		return bad_node(errp, i, "not a directory");
	if (first <= i || first > t->n_nodes || count > t->n_nodes - first)
		return bad_node(errp, i, "its children are out of bounds");
	return 0;
}

/* Is @i one of the children that its parent claims? Cheap enough for each step
 * of a binary search. */
static int child_check(const struct tree *t, uint32_t i, struct error **errp)
{
	const struct tree_disk_node *d = &t->nodes[i];
	uint32_t up = le32toh(d->parent);
	int r;

	if (up >= i)
		return bad_node(errp, i, "its parent does not come before it");
	r = dir_check(t, up, errp);
	if (r < 0)
		return r;
	if (i < le32toh(t->nodes[up].dir.first) ||
	    i - le32toh(t->nodes[up].dir.first) >=
		    le32toh(t->nodes[up].dir.count))
		return bad_node(errp, i, "its parent does not hold it");
	if (!names_hold(t, le32toh(d->name), le16toh(d->name_len)))
		return bad_node(errp, i, "its name is out of bounds");
	return 0;
}

/* Folders between the top and @i, and the limits that grow with them. */
static int depth_check(const struct tree *t, uint32_t i, unsigned *ret,
		       struct error **errp)
{
	size_t len = le16toh(t->nodes[i].name_len);
	unsigned depth = 0;
	uint32_t up = le32toh(t->nodes[i].parent);
	uint32_t below = i;

	while (up != TREE_ROOT) {
		if (up >= below)
			return bad_node(errp, up, "parents do not fall");
		len += le16toh(t->nodes[up].name_len) + 1u;
		if (++depth >= PATH_DEPTH_MAX || len > PATH_BYTES_MAX)
			return bad_node(errp, i, "its path is too long");
		below = up;
		up = le32toh(t->nodes[up].parent);
	}
	*ret = depth;
	return 0;
}

static int name_check(const struct tree *t, uint32_t i, struct error **errp)
{
	const struct tree_disk_node *d = &t->nodes[i];
	const char *name = t->names + le32toh(d->name);
	size_t len = le16toh(d->name_len);
	uint32_t up = le32toh(d->parent);
	const char *flaw = path_component_flaw(name, len);

	if (flaw)
		return error_set(errp, EBADMSG, "tree: node %u: %s", i, flaw);
	if (up == TREE_ROOT && path_reserved_at_top(name, len))
		return bad_node(errp, i, "its name is reserved");
	if (i == le32toh(t->nodes[up].dir.first))
		return 0;
	/* What lies before it is held by the same directory. */
	if (!names_hold(t, le32toh(d[-1].name), le16toh(d[-1].name_len)) ||
	    name_cmp(t, d - 1, name, len) >= 0)
		return bad_node(errp, i, "names do not rise");
	return 0;
}

static int root_check(const struct tree *t, struct error **errp)
{
	const struct tree_disk_node *d = &t->nodes[TREE_ROOT];

	if (d->name || d->name_len || d->parent || d->layer ||
	    d->kind != TREE_DIR)
		return bad_node(errp, TREE_ROOT, "not a root");
	return 0;
}

static const struct digest NO_DIGEST;

/* Everything that does not belong to a directory or a symlink is zero. */
static bool no_file(const struct tree_disk_node *d)
{
	return !d->flags && !d->zero && le32toh(d->source) == TREE_NONE &&
	       digest_equal(&d->digest, &NO_DIGEST);
}

static int dir_read(const struct tree *t, uint32_t i, struct tree_node *n,
		    struct error **errp)
{
	const struct tree_disk_node *d = &t->nodes[i];
	int r;

	r = dir_check(t, i, errp);
	if (r < 0)
		return r;
	if (!no_file(d) || d->target_len || d->dir.zero)
		return bad_node(errp, i, "unused bytes are not zero");
	n->first = le32toh(d->dir.first);
	n->count = le32toh(d->dir.count);
	return 0;
}

static int link_read(const struct tree *t, uint32_t i, unsigned depth,
		     struct tree_node *n, struct error **errp)
{
	const struct tree_disk_node *d = &t->nodes[i];
	const char *flaw;

	if (!no_file(d) || d->link.zero[0] || d->link.zero[1] ||
	    d->link.zero[2])
		return bad_node(errp, i, "unused bytes are not zero");
	n->target_len = le16toh(d->target_len);
	if (!names_hold(t, le32toh(d->link.target), n->target_len))
		return bad_node(errp, i, "its target is out of bounds");
	n->target = t->names + le32toh(d->link.target);
	flaw = link_target_flaw(n->target, n->target_len, depth);
	if (flaw)
		return error_set(errp, EBADMSG, "tree: node %u: %s", i, flaw);
	return 0;
}

static const char *file_range_flaw(const struct tree_node *n,
				   const struct tree_disk_source *s)
{
	uint64_t size = le64toh(s->size);

	if (n->offset > size || n->size > size - n->offset)
		return "it passes the end of its source";
	if (s->kind == TREE_SOURCE_EXTERNAL &&
	    n->name_len > TREE_EXTERNAL_NAME_MAX)
		return "its name is too long for an external file";
	if (s->kind != TREE_SOURCE_PACK &&
	    (n->offset || n->size != size ||
	     !digest_equal(n->digest, &s->digest)))
		return "it is not what its source is";
	return NULL;
}

static int file_read(const struct tree *t, uint32_t i, struct tree_node *n,
		     struct error **errp)
{
	const struct tree_disk_node *d = &t->nodes[i];
	const char *flaw;
	int r;

	if (d->target_len || d->zero || (d->flags & ~TREE_EXECUTABLE))
		return bad_node(errp, i, "unused bytes are not zero");
	n->executable = d->flags & TREE_EXECUTABLE;
	n->size = le64toh(d->file.size);
	n->offset = le64toh(d->file.offset);
	n->source = le32toh(d->source);
	n->digest = &d->digest;
	if (!n->size) {
		if (n->source != TREE_NONE || n->offset ||
		    !digest_equal(n->digest, &DIGEST_EMPTY))
			return bad_node(errp, i, "not how an empty file looks");
		return 0;
	}
	r = source_check(t, n->source, errp);
	if (r < 0)
		return error_prefix(errp, r, "tree: node %u", i);
	flaw = file_range_flaw(n, &t->sources[n->source]);
	return flaw ? bad_node(errp, i, flaw) : 0;
}

/* What all nodes have: place, depth and name. */
static int place_check(const struct tree *t, uint32_t i, unsigned *ret_depth,
		       struct error **errp)
{
	int r;

	*ret_depth = 0;
	if (i == TREE_ROOT)
		return root_check(t, errp);
	r = child_check(t, i, errp);
	if (r < 0)
		return r;
	r = depth_check(t, i, ret_depth, errp);
	if (r < 0)
		return r;
	return name_check(t, i, errp);
}

int tree_node(const struct tree *t, uint32_t i, struct tree_node *ret,
	      struct error **errp)
{
	const struct tree_disk_node *d;
	unsigned depth;
	int r;

	if (i >= t->n_nodes)
		return bad_node(errp, i, "out of bounds");
	r = place_check(t, i, &depth, errp);
	if (r < 0)
		return r;
	d = &t->nodes[i];
	if (le16toh(d->layer) >= t->n_layers)
		return bad_node(errp, i, "its layer is not one of the role's");
	*ret = (struct tree_node){
		.kind = d->kind,
		.parent = le32toh(d->parent),
		.name = t->names + le32toh(d->name),
		.name_len = le16toh(d->name_len),
		.layer = le16toh(d->layer),
		.source = TREE_NONE,
	};
	switch (d->kind) {
	case TREE_DIR:
		return dir_read(t, i, ret, errp);
	case TREE_FILE:
		return file_read(t, i, ret, errp);
	case TREE_SYMLINK:
		return link_read(t, i, depth, ret, errp);
	default:
		return bad_node(errp, i, "unknown kind");
	}
}

int tree_lookup(const struct tree *t, uint32_t dir, const char *name,
		size_t len, uint32_t *ret, struct error **errp)
{
	uint32_t lo, hi;
	int r, cmp;

	if (dir >= t->n_nodes)
		return bad_node(errp, dir, "out of bounds");
	if (t->nodes[dir].kind == TREE_FILE ||
	    t->nodes[dir].kind == TREE_SYMLINK)
		return error_set(errp, ENOTDIR, "not a directory");
	r = dir_check(t, dir, errp);
	if (r < 0)
		return r;
	lo = le32toh(t->nodes[dir].dir.first);
	hi = lo + le32toh(t->nodes[dir].dir.count);
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		r = child_check(t, mid, errp);
		if (r < 0)
			return r;
		if (le32toh(t->nodes[mid].parent) != dir)
			return bad_node(errp, mid, "held by two directories");
		cmp = name_cmp(t, &t->nodes[mid], name, len);
		if (!cmp) {
			*ret = mid;
			return 0;
		}
		if (cmp < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return error_set(errp, ENOENT, "no such name");
}
