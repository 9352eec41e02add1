/*
 * Every rule at once, canonical form included. tree_node() and tree_source()
 * know what concerns one record; this adds what only the whole shows: the order
 * of records, that nothing is unused and nothing is there twice. Sections of
 * compatible features that are not known here are left alone.
 */
#include "engine/tree.h"

#include <errno.h>

#include "engine/intern.h"
#include "engine/root.h"
#include "engine/tree_format.h"

struct validate {
	const struct tree *t;
	struct intern strings;
	struct index32 sources;
	uint32_t next_child;
	uint32_t next_source;
	uint64_t next_chunk;
};

static void validate_release(struct validate *v)
{
	intern_release(&v->strings);
	index32_release(&v->sources);
}
#define cleanup_validate __attribute__((cleanup(validate_release)))

static int not_canonical(struct error **errp, const char *what)
{
	return error_set(errp, EBADMSG, "tree: not in canonical form: %s",
			 what);
}

/* The string at @p is either new and next, or where it was first used. */
static int validate_string(struct validate *v, const char *p, size_t len,
			   struct error **errp)
{
	uint32_t i = intern_add(&v->strings, p, len);

	if (v->strings.strings[i].off != (uint64_t)(p - v->t->names))
		return not_canonical(errp, "order of strings");
	return 0;
}

static int validate_source_record(struct validate *v, uint32_t i,
				  const struct tree_source *s,
				  struct error **errp)
{
	uint64_t size;
	struct digest d;
	int r;

	if (s->kind == TREE_SOURCE_BLOB && s->size > PART_SIZE)
		return error_set(errp, EBADMSG,
				 "tree: source %u is too big for one blob", i);
	for (uint32_t k = 0; k < s->n_parts; k++) {
		r = tree_source_part(v->t, i, k, &d, &size, errp);
		if (r < 0)
			return r;
		if (k + 1 < s->n_parts && size != PART_SIZE)
			return error_set(errp, EBADMSG,
					 "tree: source %u has a part of the "
					 "wrong size",
					 i);
	}
	if (s->n_chunks && s->chunks != v->t->chunks + v->next_chunk)
		return not_canonical(errp, "order of chunks");
	v->next_chunk += s->n_chunks;
	return 0;
}

struct record_key {
	const struct tree *t;
	const struct tree_disk_source *s;
};

/* URIs are distinct strings at distinct places by now. */
static bool record_eq(const void *ctx, uint32_t i)
{
	const struct record_key *k = ctx;
	const struct tree_disk_source *s = &k->t->sources[i];

	return s->kind == k->s->kind && s->tier == k->s->tier &&
	       s->size == k->s->size && s->uri == k->s->uri &&
	       s->uri_len == k->s->uri_len &&
	       digest_equal(&s->digest, &k->s->digest);
}

static int validate_distinct(struct validate *v, uint32_t i,
			     struct error **errp)
{
	struct record_key key = {v->t, &v->t->sources[i]};
	uint64_t hash = index_hash(&key.s->digest, DIGEST_SIZE);

	if (index32_find(&v->sources, hash, record_eq, &key) != INDEX_NONE)
		return not_canonical(errp, "a source is there twice");
	index32_add(&v->sources, hash, i);
	return 0;
}

static int validate_use(struct validate *v, uint32_t source,
			struct error **errp)
{
	if (source == TREE_NONE || source < v->next_source)
		return 0;
	if (source != v->next_source)
		return not_canonical(errp, "order of sources");
	v->next_source = tree_next_source(v->t, source);
	return 0;
}

static int validate_node(struct validate *v, uint32_t i, struct error **errp)
{
	struct tree_node n;
	int r;

	r = tree_node(v->t, i, &n, errp);
	if (r < 0)
		return r;
	r = validate_string(v, n.name, n.name_len, errp);
	if (r >= 0 && n.kind == TREE_SYMLINK)
		r = validate_string(v, n.target, n.target_len, errp);
	if (r >= 0 && n.kind == TREE_FILE)
		r = validate_use(v, n.source, errp);
	if (r < 0 || n.kind != TREE_DIR)
		return r;
	if (n.first != v->next_child)
		return not_canonical(errp, "order of nodes");
	v->next_child += n.count;
	return 0;
}

static int validate_nodes(struct validate *v, struct error **errp)
{
	int r;

	v->next_child = 1;
	for (uint32_t i = 0; i < v->t->n_nodes; i++) {
		r = validate_node(v, i, errp);
		if (r < 0)
			return r;
	}
	if (v->next_child != v->t->n_nodes)
		return not_canonical(errp, "a node belongs to no directory");
	if (v->next_source != v->t->n_sources)
		return not_canonical(errp, "a source is not used");
	return 0;
}

static int validate_sources(struct validate *v, struct error **errp)
{
	struct tree_source s;
	int r;

	for (uint32_t i = 0; i < v->t->n_sources;
	     i = tree_next_source(v->t, i)) {
		r = tree_source(v->t, i, &s, errp);
		if (r >= 0 && s.uri)
			r = validate_string(v, s.uri, s.uri_len, errp);
		if (r >= 0)
			r = validate_source_record(v, i, &s, errp);
		if (r >= 0)
			r = validate_distinct(v, i, errp);
		if (r < 0)
			return r;
	}
	if (v->next_chunk != v->t->n_chunks)
		return not_canonical(errp, "a chunk belongs to no source");
	if (v->strings.bytes.len != v->t->names_len)
		return not_canonical(errp, "a string is not used");
	return 0;
}

static bool is_external(const struct tree *t, uint32_t i)
{
	const struct tree_disk_node *d = &t->nodes[i];

	return d->kind == TREE_FILE && le32toh(d->source) != TREE_NONE &&
	       t->sources[le32toh(d->source)].kind == TREE_SOURCE_EXTERNAL;
}

/* A bit a node: a folder with externals below. */
static bool bit(const uint8_t *holds, uint32_t i)
{
	return holds[i / 8] >> i % 8 & 1;
}

static int validate_pointer(const struct tree *t, uint32_t i,
			    const uint8_t *holds, struct error **errp)
{
	const struct tree_disk_node *d = &t->nodes[i];
	char name[TREE_EXTERNAL_NAME_MAX + sizeof(".json")];
	size_t len = le16toh(d->name_len);
	uint32_t other;

	memcpy(name, t->names + le32toh(d->name), len);
	memcpy(name + len, ".json", sizeof(".json"));
	if (tree_lookup(t, le32toh(d->parent), name, len + 5, &other, NULL) ==
		    0 &&
	    bit(holds, other))
		return error_set(errp, EBADMSG,
				 "tree: node %u: its pointer collides", i);
	return 0;
}

/* A child comes after its directory, so one pass from the end sees all. */
static int check_pointers(const struct tree *t, uint8_t *holds,
			  struct error **errp)
{
	int r = 0;

	for (uint32_t i = t->n_nodes - 1; i > 0; i--) {
		uint32_t up = le32toh(t->nodes[i].parent);

		if (is_external(t, i) || bit(holds, i))
			holds[up / 8] |= (uint8_t)(1u << up % 8);
	}
	for (uint32_t i = 1; i < t->n_nodes && r == 0; i++)
		if (is_external(t, i))
			r = validate_pointer(t, i, holds, errp);
	return r;
}

static int validate_pointers(const struct tree *t, struct error **errp)
{
	uint8_t *holds = calloc(1, t->n_nodes / 8 + 1);
	int r;

	if (!holds)
		return error_set_errno(errp, ENOMEM, "checking a tree");
	r = check_pointers(t, holds, errp);
	free(holds);
	return r;
}

int tree_validate(const struct tree *t, struct error **errp)
{
	cleanup_validate struct validate v = {.t = t};
	int r;

	r = validate_nodes(&v, errp);
	if (r < 0)
		return r;
	r = validate_sources(&v, errp);
	if (r < 0)
		return r;
	return validate_pointers(t, errp);
}
