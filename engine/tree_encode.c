/*
 * The canonical form: breadth-first, children sorted by the bytes of their
 * names, strings and sources in order of first use.
 */
#include "engine/tree_builder.h"

#include <errno.h>

#include "base/path.h"
#include "engine/tree_build.h"
#include "engine/tree_format.h"

struct encode {
	const struct tree_builder *b;
	uint32_t *start;  /* node → its first child in @child */
	uint32_t *child;  /* nodes, grouped by parent, sorted by name */
	uint32_t *order;  /* record → node */
	uint32_t *at;     /* node → record */
	uint32_t *string; /* string → offset in names, TREE_NONE: unused */
	uint32_t *source; /* source → record, TREE_NONE: unused */
	uint32_t *source_order;
	size_t n_used; /* sources */
	uint64_t names_len, n_records, n_chunks;
	uint8_t *out;
	size_t out_len;
	struct tree_disk_node *nodes;
	char *names;
	struct tree_disk_source *records;
	struct digest *chunks;
};

static void encode_release(struct encode *e)
{
	free(e->start);
	free(e->child);
	free(e->order);
	free(e->at);
	free(e->string);
	free(e->source);
	free(e->source_order);
	free(e->out);
}
#define cleanup_encode __attribute__((cleanup(encode_release)))

static uint32_t *new_map(size_t n)
{
	uint32_t *map = xmalloc(MAX(n, (size_t)1) * sizeof(*map));

	memset(map, 0xff, n * sizeof(*map));
	return map;
}

static int by_name(const void *pa, const void *pb, void *ctx)
{
	const struct tree_builder *b = ctx;
	uint32_t x = b->nodes[*(const uint32_t *)pa].name;
	uint32_t y = b->nodes[*(const uint32_t *)pb].name;
	uint32_t nx = b->strings.strings[x].len, ny = b->strings.strings[y].len;
	int r = memcmp(intern_str(&b->strings, x), intern_str(&b->strings, y),
		       MIN(nx, ny));

	return r ? r : (nx > ny) - (nx < ny);
}

/* Counting sort by parent, then each folder by name. */
static void encode_children(struct encode *e)
{
	const struct tree_builder *b = e->b;
	size_t n = b->n_nodes;
	cleanup_free uint32_t *fill = xcalloc(n, sizeof(*fill));

	e->start = xcalloc(n + 1, sizeof(*e->start));
	e->child = new_map(n);
	for (size_t i = 1; i < n; i++)
		e->start[b->nodes[i].parent + 1]++;
	for (size_t i = 0; i < n; i++)
		e->start[i + 1] += e->start[i];
	for (size_t i = 1; i < n; i++) {
		uint32_t up = b->nodes[i].parent;

		e->child[e->start[up] + fill[up]++] = (uint32_t)i;
	}
	for (size_t i = 0; i < n; i++)
		qsort_r(e->child + e->start[i], e->start[i + 1] - e->start[i],
			sizeof(*e->child), by_name, (void *)(uintptr_t)b);
}

static void encode_order(struct encode *e)
{
	size_t n = e->b->n_nodes, end = 1;

	e->order = new_map(n);
	e->at = new_map(n);
	e->order[0] = TREE_ROOT;
	for (size_t i = 0; i < n; i++) {
		uint32_t node = e->order[i];

		e->at[node] = (uint32_t)i;
		for (uint32_t c = e->start[node]; c < e->start[node + 1]; c++)
			e->order[end++] = e->child[c];
	}
}

static int use_string(struct encode *e, uint32_t s, struct error **errp)
{
	uint32_t len = e->b->strings.strings[s].len;

	if (e->string[s] != TREE_NONE)
		return 0;
	if (len > UINT32_MAX - 1 - e->names_len)
		return error_set(errp, EOVERFLOW,
				 "too many names for one tree");
	e->string[s] = len ? (uint32_t)e->names_len : 0;
	e->names_len += len;
	return 0;
}

static void use_source(struct encode *e, uint32_t s)
{
	if (e->source[s] != TREE_NONE)
		return;
	e->source[s] = (uint32_t)e->n_records;
	e->source_order[e->n_used++] = s;
	e->n_records += 1 + e->b->sources[s].n_parts;
	e->n_chunks += e->b->sources[s].n_chunks;
}

/* Strings and sources in order of first use. */
static int encode_uses(struct encode *e, struct error **errp)
{
	const struct tree_builder *b = e->b;
	int r = 0;

	e->string = new_map(b->strings.n);
	e->source = new_map(b->n_sources);
	e->source_order = new_map(b->n_sources);
	for (size_t i = 0; i < b->n_nodes && r >= 0; i++) {
		const struct build_node *n = &b->nodes[e->order[i]];

		r = use_string(e, n->name, errp);
		if (r >= 0 && n->kind == TREE_SYMLINK)
			r = use_string(e, n->target, errp);
		if (n->kind == TREE_FILE && n->source != TREE_NONE)
			use_source(e, n->source);
	}
	for (size_t i = 0; i < e->n_used && r >= 0; i++)
		if (b->sources[e->source_order[i]].uri != TREE_NONE)
			r = use_string(e, b->sources[e->source_order[i]].uri,
				       errp);
	if (r >= 0 && e->n_records >= TREE_NONE)
		return error_set(errp, EOVERFLOW,
				 "too many sources for one tree");
	return r;
}

static void *place_section(struct encode *e, enum tree_section type,
			   uint64_t len, uint64_t *end)
{
	struct tree_disk_section *s =
		(void *)(e->out + sizeof(struct tree_disk_header));
	uint64_t off = *end;

	s[type - 1] = (struct tree_disk_section){
		.type = htole32(type),
		.offset = htole64(off),
		.length = htole64(len),
	};
	*end += tree_align(len);
	return e->out + off;
}

static int encode_layout(struct encode *e, struct error **errp)
{
	uint64_t end = sizeof(struct tree_disk_header) +
		       TREE_SECTIONS * sizeof(struct tree_disk_section);
	uint64_t nodes = e->b->n_nodes * sizeof(*e->nodes);
	uint64_t records = e->n_records * sizeof(*e->records);
	uint64_t chunks = e->n_chunks * sizeof(*e->chunks);
	struct tree_disk_header *h;

	e->out_len = end + nodes + tree_align(e->names_len) + records + chunks;
	e->out = calloc(1, e->out_len);
	if (!e->out) {
		error_set_errno(errp, ENOMEM, "tree of %zu bytes", e->out_len);
		return -ENOMEM;
	}
	h = (void *)e->out;
	*h = (struct tree_disk_header){
		.version = htole32(TREE_VERSION),
		.node_size = htole32(sizeof(*e->nodes)),
		.n_sections = htole32(TREE_SECTIONS),
	};
	memcpy(h->magic, TREE_MAGIC, sizeof(h->magic));
	e->nodes = place_section(e, TREE_NODES, nodes, &end);
	e->names = place_section(e, TREE_NAMES, e->names_len, &end);
	e->records = place_section(e, TREE_SOURCES, records, &end);
	e->chunks = place_section(e, TREE_CHUNKS, chunks, &end);
	return 0;
}

static void write_file(const struct encode *e, struct tree_disk_node *d,
		       const struct build_node *n)
{
	d->flags = n->executable ? TREE_EXECUTABLE : 0;
	d->file.size = htole64(n->size);
	d->file.offset = htole64(n->offset);
	d->digest = n->digest;
	if (n->source != TREE_NONE)
		d->source = htole32(e->source[n->source]);
}

/* @next is the record of the next folder's first child. */
static void write_node(const struct encode *e, size_t i, uint32_t *next)
{
	uint32_t node = e->order[i];
	const struct build_node *n = &e->b->nodes[node];
	struct tree_disk_node *d = &e->nodes[i];
	uint32_t count = e->start[node + 1] - e->start[node];

	d->name = htole32(e->string[n->name]);
	d->name_len = htole16((uint16_t)e->b->strings.strings[n->name].len);
	d->kind = n->kind;
	d->parent = htole32(e->at[n->parent]);
	d->layer = htole16(n->layer);
	d->source = htole32(TREE_NONE);
	if (n->kind == TREE_FILE) {
		write_file(e, d, n);
	} else if (n->kind == TREE_DIR) {
		d->dir.first = htole32(*next);
		d->dir.count = htole32(count);
		*next += count;
	} else {
		d->link.target = htole32(e->string[n->target]);
		d->target_len =
			htole16((uint16_t)e->b->strings.strings[n->target].len);
	}
}

static void write_parts(const struct encode *e, const struct build_source *s,
			struct tree_disk_source *d)
{
	for (uint32_t i = 0; i < s->n_parts; i++)
		d[i] = (struct tree_disk_source){
			.kind = TREE_SOURCE_PART,
			.size = htole64(e->b->parts[s->parts + i].size),
			.digest = e->b->parts[s->parts + i].digest,
			.first_chunk = htole64(TREE_NO_CHUNKS),
		};
}

static void write_source(const struct encode *e, const struct build_source *s,
			 struct tree_disk_source *d, uint64_t *chunk)
{
	*d = (struct tree_disk_source){
		.kind = (uint8_t)s->kind,
		.tier = (uint8_t)s->tier,
		.n_parts = htole32(s->n_parts),
		.size = htole64(s->size),
		.digest = s->digest,
		.first_chunk = htole64(s->n_chunks ? *chunk : TREE_NO_CHUNKS),
	};
	if (s->n_chunks)
		memcpy(e->chunks + *chunk, e->b->chunks + s->chunks,
		       s->n_chunks * sizeof(*e->chunks));
	*chunk += s->n_chunks;
	if (s->uri != TREE_NONE) {
		d->uri = htole32(e->string[s->uri]);
		d->uri_len = htole32(e->b->strings.strings[s->uri].len);
	}
	write_parts(e, s, d + 1);
}

static void encode_write(const struct encode *e)
{
	const struct tree_builder *b = e->b;
	uint32_t next = 1;
	uint64_t chunk = 0;

	for (size_t i = 0; i < b->n_nodes; i++)
		write_node(e, i, &next);
	for (size_t i = 0; i < b->strings.n; i++)
		if (e->string[i] != TREE_NONE)
			memcpy(e->names + e->string[i],
			       intern_str(&b->strings, (uint32_t)i),
			       b->strings.strings[i].len);
	for (size_t i = 0; i < e->n_used; i++)
		write_source(e, &b->sources[e->source_order[i]],
			     e->records + e->source[e->source_order[i]],
			     &chunk);
}

static bool is_external(const struct tree_builder *b, uint32_t i)
{
	const struct build_node *n = &b->nodes[i];

	return n->kind == TREE_FILE && n->source != TREE_NONE &&
	       b->sources[n->source].kind == TREE_SOURCE_EXTERNAL;
}

/* The pointer file of `x` is x.json, and so is the folder for those of what is
 * below `x.json/`. */
static int pointer_collision(const struct tree_builder *b, uint32_t i,
			     const bool *holds, struct error **errp)
{
	cleanup_strbuf struct strbuf path = STRBUF_INIT;
	const struct build_node *n = &b->nodes[i];
	char name[TREE_EXTERNAL_NAME_MAX + sizeof(".json")];
	size_t len = b->strings.strings[n->name].len;
	uint32_t other;

	memcpy(name, intern_str(&b->strings, n->name), len);
	memcpy(name + len, ".json", sizeof(".json"));
	other = build_child(b, n->parent, name, len + 5);
	if (other == TREE_NONE || !holds[other])
		return 0;
	build_path(b, i, &path);
	return error_set(errp, EINVAL,
			 "'%s' cannot be external together with files below "
			 "'%s.json/': their pointer files collide",
			 strbuf_str(&path), strbuf_str(&path));
}

static int check_pointers(const struct tree_builder *b, struct error **errp)
{
	cleanup_free bool *holds = xcalloc(b->n_nodes, sizeof(*holds));
	int r;

	for (size_t i = 1; i < b->n_nodes; i++) {
		uint32_t up = b->nodes[i].parent;

		if (!is_external(b, (uint32_t)i))
			continue;
		for (; up != TREE_ROOT && !holds[up]; up = b->nodes[up].parent)
			holds[up] = true;
	}
	for (size_t i = 1; i < b->n_nodes; i++) {
		if (!is_external(b, (uint32_t)i))
			continue;
		r = pointer_collision(b, (uint32_t)i, holds, errp);
		if (r < 0)
			return r;
	}
	return 0;
}

int tree_builder_finish(struct tree_builder *b, void **ret, size_t *ret_len,
			struct error **errp)
{
	cleanup_encode struct encode e = {.b = b};
	int r;

	r = check_pointers(b, errp);
	if (r < 0)
		return r;
	encode_children(&e);
	encode_order(&e);
	r = encode_uses(&e, errp);
	if (r < 0)
		return r;
	r = encode_layout(&e, errp);
	if (r < 0)
		return r;
	encode_write(&e);
	*ret_len = e.out_len;
	*ret = steal_ptr(&e.out);
	return 0;
}
