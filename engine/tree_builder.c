#include "engine/tree_builder.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/path.h"
#include "base/uri.h"
#include "engine/tree_build.h"
#include "engine/tree_format.h"

static uint64_t place_hash(uint32_t parent, uint32_t name)
{
	uint64_t key = (uint64_t)parent << 32 | name;

	return index_hash(&key, sizeof(key));
}

struct place_key {
	const struct tree_builder *b;
	uint32_t parent, name;
};

static bool place_eq(const void *ctx, uint32_t i)
{
	const struct place_key *k = ctx;

	return k->b->nodes[i].parent == k->parent &&
	       k->b->nodes[i].name == k->name;
}

uint32_t build_child(const struct tree_builder *b, uint32_t parent,
		     const char *s, size_t n)
{
	struct place_key key = {b, parent, intern_find(&b->strings, s, n)};

	if (key.name == INDEX_NONE)
		return TREE_NONE;
	return index32_find(&b->by_place, place_hash(parent, key.name),
			    place_eq, &key);
}

uint32_t build_find(const struct tree_builder *b, const char *path)
{
	uint32_t at = TREE_ROOT;

	for (;;) {
		size_t n = strcspn(path, "/");
		uint32_t child = build_child(b, at, path, n);

		if (child == TREE_NONE)
			return at;
		at = child;
		if (!path[n])
			return at;
		path += n + 1;
	}
}

void build_path(const struct tree_builder *b, uint32_t i, struct strbuf *out)
{
	uint32_t up[PATH_DEPTH_MAX];
	size_t depth = 0;

	for (; i != TREE_ROOT; i = b->nodes[i].parent) {
		assert(depth < PATH_DEPTH_MAX);
		up[depth++] = b->nodes[i].name;
	}
	while (depth--) {
		strbuf_add(out, intern_str(&b->strings, up[depth]),
			   b->strings.strings[up[depth]].len);
		if (depth)
			strbuf_addc(out, '/');
	}
}

struct tree_builder *tree_builder_new(void)
{
	struct tree_builder *b = xcalloc(1, sizeof(*b));

	ARRAY_GROW(b->nodes, b->n_nodes, b->cap_nodes);
	/* The root is nobody's child, so the index never finds it. */
	b->nodes[b->n_nodes++] = (struct build_node){
		.kind = TREE_DIR,
		.name = intern_add(&b->strings, "", 0),
	};
	return b;
}

void tree_builder_free(struct tree_builder *b)
{
	if (!b)
		return;
	intern_release(&b->strings);
	index32_release(&b->by_place);
	index32_release(&b->by_source);
	free(b->nodes);
	free(b->sources);
	free(b->chunks);
	free(b->parts);
	free(b);
}

static uint32_t add_node(struct tree_builder *b, uint32_t parent, const char *s,
			 size_t n, uint16_t layer)
{
	uint32_t i = (uint32_t)b->n_nodes;

	assert(b->n_nodes < TREE_NONE - 1);
	ARRAY_GROW(b->nodes, b->n_nodes, b->cap_nodes);
	b->nodes[b->n_nodes++] = (struct build_node){
		.name = intern_add(&b->strings, s, n),
		.parent = parent,
		.kind = TREE_DIR,
		.layer = layer,
	};
	index32_add(&b->by_place, place_hash(parent, b->nodes[i].name), i);
	return i;
}

static bool same_dir(const struct tree_builder *b, const char *path, size_t len,
		     uint16_t layer)
{
	return len && len == b->last_len && layer == b->last_layer &&
	       !memcmp(path, b->last_dir, len);
}

static void remember_dir(struct tree_builder *b, const char *path, size_t len,
			 uint16_t layer, uint32_t node)
{
	b->last_len = len;
	b->last_layer = layer;
	b->last_node = node;
	memcpy(b->last_dir, path, len);
}

/*
 * The folder that is the first @len bytes of @path, made when missing. A folder
 * belongs to the first layer that has something in it, whatever the order in
 * which entries come. Nothing is made before all that is there has been passed,
 * so a refusal leaves the builder as it was.
 */
static int add_parents(struct tree_builder *b, const char *path, size_t len,
		       uint16_t layer, uint32_t *ret, struct error **errp)
{
	uint32_t at = TREE_ROOT;

	for (const char *s = path; s < path + len;) {
		size_t n = strcspn(s, "/");
		uint32_t child = build_child(b, at, s, n);

		if (child == TREE_NONE)
			child = add_node(b, at, s, n, layer);
		else if (b->nodes[child].kind != TREE_DIR)
			return error_set(errp, ENOTDIR,
					 "'%s': '%.*s' is no directory", path,
					 (int)(s + n - path), path);
		b->nodes[child].layer = MIN(b->nodes[child].layer, layer);
		at = child;
		s += n + 1;
	}
	remember_dir(b, path, len, layer, at);
	*ret = at;
	return 0;
}

/* The node of @path's folder; *@ret_name is the last component. */
static int find_parent(struct tree_builder *b, const char *path, uint16_t layer,
		       uint32_t *ret, const char **ret_name,
		       struct error **errp)
{
	const char *slash = strrchr(path, '/');
	size_t len = slash ? (size_t)(slash - path) : 0;
	const char *flaw = path_flaw(path, strlen(path));

	if (flaw)
		return error_set(errp, EINVAL, "'%s': %s", path, flaw);
	*ret_name = slash ? slash + 1 : path;
	if (same_dir(b, path, len, layer)) {
		*ret = b->last_node;
		return 0;
	}
	return add_parents(b, path, len, layer, ret, errp);
}

/* A new node at @path, which must be free. */
static int add_entry(struct tree_builder *b, const char *path, uint16_t layer,
		     uint32_t *ret, struct error **errp)
{
	const char *name = path;
	uint32_t parent = TREE_ROOT;
	int r;

	r = find_parent(b, path, layer, &parent, &name, errp);
	if (r < 0)
		return r;
	if (build_child(b, parent, name, strlen(name)) != TREE_NONE)
		return error_set(errp, EEXIST, "'%s' is there already", path);
	*ret = add_node(b, parent, name, strlen(name), layer);
	return 0;
}

int tree_builder_add_dir(struct tree_builder *b, const char *path,
			 uint16_t layer, struct error **errp)
{
	const char *name = path;
	uint32_t parent = TREE_ROOT, i;
	int r;

	r = find_parent(b, path, layer, &parent, &name, errp);
	if (r < 0)
		return r;
	i = build_child(b, parent, name, strlen(name));
	if (i == TREE_NONE)
		i = add_node(b, parent, name, strlen(name), layer);
	if (b->nodes[i].kind != TREE_DIR)
		return error_set(errp, EEXIST, "'%s' is there already", path);
	b->nodes[i].layer = MIN(b->nodes[i].layer, layer);
	return 0;
}

/* What a file says about its source is our own doing, never foreign. */
static void file_assert(const struct tree_builder *b, const struct tree_file *f)
{
	const struct build_source *s;

	if (!f->size) {
		assert(f->source == TREE_NONE && !f->offset);
		assert(digest_equal(&f->digest, &DIGEST_EMPTY));
		return;
	}
	assert(f->source < b->n_sources);
	s = &b->sources[f->source];
	assert(f->offset <= s->size && f->size <= s->size - f->offset);
	assert(s->kind == TREE_SOURCE_PACK ||
	       (f->size == s->size && digest_equal(&f->digest, &s->digest)));
}

int tree_builder_add_file(struct tree_builder *b, const char *path,
			  const struct tree_file *f, struct error **errp)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	struct build_node *n;
	uint32_t i = TREE_ROOT;
	int r;

	file_assert(b, f);
	if (f->size && b->sources[f->source].kind == TREE_SOURCE_EXTERNAL &&
	    strlen(name) > TREE_EXTERNAL_NAME_MAX)
		return error_set(errp, EINVAL,
				 "'%s': the name of an external file is at "
				 "most %u bytes",
				 path, TREE_EXTERNAL_NAME_MAX);
	r = add_entry(b, path, f->layer, &i, errp);
	if (r < 0)
		return r;
	n = &b->nodes[i];
	n->kind = TREE_FILE;
	n->executable = f->executable;
	n->source = f->source;
	n->size = f->size;
	n->offset = f->offset;
	n->digest = f->digest;
	return 0;
}

int tree_builder_add_symlink(struct tree_builder *b, const char *path,
			     const char *target, uint16_t layer,
			     struct error **errp)
{
	const char *flaw;
	unsigned depth = 0;
	uint32_t i = TREE_ROOT;
	int r;

	for (const char *s = path; (s = strchr(s, '/')); s++)
		depth++;
	flaw = link_target_flaw(target, strlen(target), depth);
	if (flaw)
		return error_set(errp, EINVAL, "symlink '%s' to '%s': %s", path,
				 target, flaw);
	r = add_entry(b, path, layer, &i, errp);
	if (r < 0)
		return r;
	b->nodes[i].kind = TREE_SYMLINK;
	b->nodes[i].target = intern_add(&b->strings, target, strlen(target));
	return 0;
}

struct source_key {
	const struct tree_builder *b;
	const struct tree_source_spec *s;
	uint32_t uri;
};

static bool source_eq(const void *ctx, uint32_t i)
{
	const struct source_key *k = ctx;
	const struct build_source *s = &k->b->sources[i];

	return s->kind == k->s->kind && s->tier == k->s->tier &&
	       s->size == k->s->size && s->uri == k->uri &&
	       digest_equal(&s->digest, &k->s->digest);
}

static void source_assert(const struct tree_source_spec *s)
{
	cleanup_pointer_uri struct pointer_uri uri = {0};
	bool external = s->kind == TREE_SOURCE_EXTERNAL;

	assert(s->kind >= TREE_SOURCE_BLOB && s->kind <= TREE_SOURCE_EXTERNAL);
	assert(s->size && s->size <= INT64_MAX);
	assert(s->n_chunks == tree_chunks_of(s->size));
	assert((s->kind == TREE_SOURCE_RUN) == (s->n_parts >= 2));
	assert(external == (s->uri != NULL));
	assert(external || s->tier == TREE_TIER_NONE);
	assert(!external ||
	       pointer_uri_parse(s->uri, strlen(s->uri), &uri, NULL) == 0);
}

static void copy_lists(struct tree_builder *b, const struct tree_source_spec *s)
{
	for (uint32_t i = 0; i < s->n_chunks; i++) {
		ARRAY_GROW(b->chunks, b->n_chunks, b->cap_chunks);
		b->chunks[b->n_chunks++] = s->chunks[i];
	}
	for (uint32_t i = 0; i < s->n_parts; i++) {
		ARRAY_GROW(b->parts, b->n_parts, b->cap_parts);
		b->parts[b->n_parts++] = s->parts[i];
	}
}

uint32_t tree_builder_source(struct tree_builder *b,
			     const struct tree_source_spec *s)
{
	struct source_key key = {b, s, TREE_NONE};
	uint64_t hash = index_hash(&s->digest, sizeof(s->digest));
	uint32_t i;

	source_assert(s);
	if (s->uri)
		key.uri = intern_add(&b->strings, s->uri, strlen(s->uri));
	i = index32_find(&b->by_source, hash, source_eq, &key);
	if (i != INDEX_NONE)
		return i;
	i = (uint32_t)b->n_sources;
	ARRAY_GROW(b->sources, b->n_sources, b->cap_sources);
	b->sources[b->n_sources++] = (struct build_source){
		.kind = s->kind,
		.tier = s->tier,
		.digest = s->digest,
		.size = s->size,
		.chunks = b->n_chunks,
		.n_chunks = s->n_chunks,
		.parts = b->n_parts,
		.n_parts = s->n_parts,
		.uri = key.uri,
	};
	copy_lists(b, s);
	index32_add(&b->by_source, hash, i);
	return i;
}
