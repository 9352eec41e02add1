/*
 * The reader against trees that break one rule each: byte-level mutations of a
 * tree with one of everything.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <string.h>
#include <sys/mman.h>

#include "trees.h"

#include "engine/tree_format.h"

/* A private copy of the rich tree, to be damaged. */
struct victim {
	uint8_t *p;
	size_t len;
	struct tree *t;
	struct tree_disk_header *head;
	struct tree_disk_section *table;
	struct tree_disk_node *nodes;
	char *names;
	struct tree_disk_source *sources;
	struct digest *chunks;
};

static void victim_release(struct victim *v)
{
	tree_close(v->t);
	free(v->p);
}

static struct victim victim_new(void)
{
	cleanup_made_tree struct made_tree m = make_rich_tree();
	struct victim v = {.p = xmemdup(m.buf, m.len), .len = m.len};

	v.head = (void *)v.p;
	v.table = (void *)(v.p + sizeof(*v.head));
	v.nodes = (void *)(v.p + le64toh(v.table[0].offset));
	v.names = (void *)(v.p + le64toh(v.table[1].offset));
	v.sources = (void *)(v.p + le64toh(v.table[2].offset));
	v.chunks = (void *)(v.p + le64toh(v.table[3].offset));
	if (tree_open_mem(v.p, v.len, &v.t, NULL) < 0)
		abort();
	return v;
}
#define cleanup_victim __attribute__((cleanup(victim_release)))

static uint32_t at(const struct victim *v, const char *path)
{
	uint32_t i = TREE_NONE;

	cr_assert(eq(int, tree_find(v->t, path, &i, NULL), 0), "%s", path);
	return i;
}

static struct tree_disk_source *source_of(struct victim *v, const char *path)
{
	return &v->sources[le32toh(v->nodes[at(v, path)].source)];
}

static int reopen(const struct victim *v)
{
	struct tree *t = NULL;
	int r = tree_open_mem(v->p, v->len, &t, NULL);

	tree_close(t);
	return r;
}

Test(tree_open, refuses_what_is_no_tree)
{
	static const uint64_t zeros[64];
	struct tree *t = NULL;

	cr_expect(eq(int, tree_open_mem(zeros, 0, &t, NULL), -EBADMSG));
	cr_expect(eq(int, tree_open_mem(zeros, 512, &t, NULL), -EBADMSG));
	cr_expect(eq(int, tree_open_mem((char *)zeros + 4, 64, &t, NULL),
		     -EINVAL));
	cr_expect(eq(ptr, t, NULL));
}

Test(tree_open, knows_what_it_cannot_read)
{
	cleanup_error struct error *err = NULL;
	cleanup_victim struct victim v = victim_new();
	struct tree *t = NULL;

	v.head->version = htole32(2);
	cr_expect(
		eq(int, tree_open_mem(v.p, v.len, &t, &err), -EPROTONOSUPPORT));
	cr_expect(eq(int, err->kind, ERROR_MEDIA_TYPE));
	v.head->version = htole32(1);
	v.head->incompatible = htole64(1ull << 63);
	cr_expect(eq(int, reopen(&v), -EPROTONOSUPPORT));
}

Test(tree_open, skips_sections_of_compatible_features)
{
	cleanup_victim struct victim v = victim_new();
	size_t extra = sizeof(struct tree_disk_section),
	       len = v.len + extra + 8;
	cleanup_free uint8_t *p = xcalloc(1, len);
	size_t body = sizeof(*v.head) + 4 * extra;
	struct tree_disk_header *head = (void *)p;
	struct tree_disk_section *table = (void *)(p + sizeof(*head));
	cleanup_tree struct tree *t = NULL;
	struct tree *none = NULL;
	uint32_t i;

	memcpy(p, v.p, body);
	memcpy(p + body + extra, v.p + body, v.len - body);
	for (i = 0; i < 4; i++)
		table[i].offset = htole64(le64toh(table[i].offset) + extra);
	table[4] = (struct tree_disk_section){.type = htole32(9),
					      .offset = htole64(v.len + extra),
					      .length = htole64(3)};
	memcpy(p + v.len + extra, "new", 3);
	head->n_sections = htole32(5);
	cr_expect(eq(int, tree_open_mem(p, len, &none, NULL), -EBADMSG),
		  "no feature announces it");
	head->compatible = htole64(4);
	cr_assert(eq(int, tree_open_mem(p, len, &t, NULL), 0));
	cr_expect(eq(int, tree_find(t, "a/two", &i, NULL), 0));
	cr_expect(eq(int, tree_validate(t, NULL), 0));
	p[len - 1] = 1;
	cr_expect(eq(int, tree_open_mem(p, len, &none, NULL), -EBADMSG),
		  "its padding is checked all the same");
	p[len - 1] = 0;
	table[4].type = htole32(4);
	cr_expect(eq(int, tree_open_mem(p, len, &none, NULL), -EBADMSG));
}

Test(tree_open, refuses_a_damaged_header_or_table)
{
#define REFUSED(field, value)                                               \
	do {                                                                \
		cleanup_victim struct victim v = victim_new();              \
		v.field = value;                                            \
		cr_expect(eq(int, reopen(&v), -EBADMSG), "%s = %s", #field, \
			  #value);                                          \
	} while (0)
	REFUSED(head->magic[7], 'F');
	REFUSED(head->node_size, htole32(64));
	REFUSED(head->zero, 1);
	REFUSED(head->n_sections, htole32(3));
	REFUSED(head->n_sections, htole32(5));
	REFUSED(head->n_sections, htole32(UINT32_MAX));
	REFUSED(table[0].type, htole32(2));
	REFUSED(table[0].zero, 1);
	REFUSED(table[0].offset, htole64(144));
	REFUSED(table[1].offset, htole64(UINT64_MAX));
	REFUSED(table[1].length, htole64(UINT64_MAX));
	REFUSED(table[0].length, htole64(71));
	REFUSED(table[0].length, 0);
	REFUSED(table[2].length, htole64(63));
	REFUSED(table[3].length, htole64(le64toh(v.table[3].length) + 32));
	REFUSED(table[3].length, htole64(le64toh(v.table[3].length) - 32));
	REFUSED(len, v.len - 8);
	REFUSED(len, 40);
	REFUSED(len, 135);
#undef REFUSED
}

Test(tree_open, refuses_padding_that_is_not_zero)
{
	cleanup_victim struct victim v = victim_new();
	uint64_t end = le64toh(v.table[1].offset) + le64toh(v.table[1].length);

	cr_assert(ne(u64, end % 8, 0), "the fixture must have padding");
	v.p[end] = 1;
	cr_expect(eq(int, reopen(&v), -EBADMSG));
}

Test(tree_open, refuses_chunk_lists_that_cannot_all_be_there)
{
	cleanup_victim struct victim v = victim_new();
	struct tree_disk_source *s = source_of(&v, "big.bin");
	uint64_t size = le64toh(s->size);

	s->size = htole64(size + CHUNK_SIZE);
	cr_expect(eq(int, reopen(&v), -EBADMSG));
	s->size = htole64(INT64_MAX);
	cr_expect(eq(int, reopen(&v), -EBADMSG));
	s->size = htole64(size);
	cr_expect(eq(int, reopen(&v), 0));
}

Test(tree_open, maps_a_file_and_refuses_a_short_one)
{
	cleanup_made_tree struct made_tree m = make_rich_tree();
	cleanup_fd int fd = memfd_create("tree", MFD_CLOEXEC);
	cleanup_tree struct tree *t = NULL;
	struct tree *none = NULL;

	cr_assert(eq(sz, (size_t)write(fd, m.buf, m.len), m.len));
	cr_expect(eq(int, tree_open_fd(fd, m.len + 1, &none, NULL), -EBADMSG));
	cr_expect(eq(int, tree_open_fd(fd, 0, &none, NULL), -EBADMSG));
	cr_assert(eq(int, tree_open_fd(fd, m.len, &t, NULL), 0));
	close(steal_fd(&fd));
	cr_expect(eq(int, tree_validate(t, NULL), 0));
}

/* Damage one field, and the node that it is about is refused. */
#define NODE_REFUSED(path, stmt)                                          \
	do {                                                              \
		cleanup_victim struct victim v = victim_new();            \
		cleanup_error struct error *err = NULL;                   \
		uint32_t i = at(&v, path);                                \
		struct tree_disk_node *d = &v.nodes[i];                   \
		struct tree_node n;                                       \
		cr_assert(eq(int, tree_node(v.t, i, &n, NULL), 0));       \
		stmt;                                                     \
		cr_expect(eq(int, tree_node(v.t, i, &n, &err), -EBADMSG), \
			  "%s: %s", path, #stmt);                         \
		cr_expect(err && err->kind == ERROR_VALIDATION);          \
		cr_expect(eq(int, tree_validate(v.t, NULL), -EBADMSG),    \
			  "%s: %s", path, #stmt);                         \
		(void)d;                                                  \
	} while (0)

/* The source of the file at @path. */
Test(tree_node, refuses_indices_beyond_the_end)
{
	cleanup_victim struct victim v = victim_new();
	struct tree_node n;

	cr_expect(eq(int, tree_node(v.t, tree_nodes(v.t), &n, NULL), -EBADMSG));
	cr_expect(eq(int, tree_node(v.t, TREE_NONE, &n, NULL), -EBADMSG));
}

Test(tree_node, refuses_what_is_out_of_bounds)
{
	NODE_REFUSED("a/one", d->name = htole32(1u << 30));
	NODE_REFUSED("a/one", d->name = htole32(UINT32_MAX));
	NODE_REFUSED("data/latest", d->link.target = htole32(UINT32_MAX));
	NODE_REFUSED("a", d->dir.count = htole32(UINT32_MAX));
	NODE_REFUSED("a", d->dir.count = htole32(1000));
	NODE_REFUSED("a", d->dir.first = htole32(UINT32_MAX));
	NODE_REFUSED("a/one", d->source = htole32(999));
	NODE_REFUSED("a/one", d->source = htole32(TREE_NONE - 1));
}

Test(tree_node, refuses_a_root_that_is_none)
{
	NODE_REFUSED("", d->name_len = htole16(1));
	NODE_REFUSED("", d->name = htole32(1));
	NODE_REFUSED("", d->parent = htole32(1));
	NODE_REFUSED("", d->layer = htole16(1));
	NODE_REFUSED("", d->kind = TREE_FILE);
	NODE_REFUSED("", d->kind = TREE_SYMLINK);
	NODE_REFUSED("", d->dir.first = 0);
}

Test(tree_node, refuses_children_and_parents_that_disagree)
{
	NODE_REFUSED("a/one", d->parent = htole32(i));
	NODE_REFUSED("a/one", d->parent = htole32(i + 1));
	NODE_REFUSED("a/one", d->parent = 0);
	NODE_REFUSED("a/one", d->parent = htole32(at(&v, "data")));
	NODE_REFUSED("a/one", d->parent = htole32(at(&v, "a-b")));
	NODE_REFUSED("a/one", d->parent = htole32(UINT32_MAX));
	NODE_REFUSED("a", d->dir.first = 0);
	NODE_REFUSED("a", d->dir.first = htole32(i));
	NODE_REFUSED("void/inner", d->dir.first = htole32(i));
	NODE_REFUSED("void/inner", d->dir.first = htole32(tree_nodes(v.t) + 1));
	NODE_REFUSED("a/two",
		     v.nodes[le32toh(d->parent)].dir.count = htole32(1));
	NODE_REFUSED("a/one", v.nodes[le32toh(d->parent)].kind = TREE_FILE);
}

Test(tree_node, refuses_names_that_break_the_rules)
{
	NODE_REFUSED("a/one", d->name_len = 0);
	NODE_REFUSED("a/one", memcpy(v.names + le32toh(d->name), "o/e", 3));
	NODE_REFUSED("a/one", memcpy(v.names + le32toh(d->name), "o\\e", 3));
	NODE_REFUSED("a/one", memcpy(v.names + le32toh(d->name), "o\0e", 3));
	NODE_REFUSED("a/one", memcpy(v.names + le32toh(d->name),
				     "o\x1f"
				     "e",
				     3));
	NODE_REFUSED("a/one", memcpy(v.names + le32toh(d->name), "on\x7f", 3));
	NODE_REFUSED("a/one", memcpy(v.names + le32toh(d->name),
				     "o\xff"
				     "e",
				     3));
	NODE_REFUSED("a/one",
		     memcpy(v.names + le32toh(d->name), "o\xc2\x85", 3));
	NODE_REFUSED("a/one", (memcpy(v.names + le32toh(d->name), "..e", 3),
			       d->name_len = htole16(2)));
	NODE_REFUSED("weights/huge",
		     memcpy(v.names + le32toh(d->name), ".gIt", 4));
	NODE_REFUSED("weights",
		     memcpy(v.names + le32toh(d->name), ".mopsxy", 7));
	NODE_REFUSED("a/two", memcpy(v.names + le32toh(d->name), "one", 3));
	NODE_REFUSED("a/two", memcpy(v.names + le32toh(d->name), "aaa", 3));
}

Test(tree_node, refuses_bytes_that_should_be_zero)
{
	NODE_REFUSED("a/one", d->zero = 1);
	NODE_REFUSED("a/one", d->flags = 2);
	NODE_REFUSED("a/one", d->target_len = htole16(1));
	NODE_REFUSED("a", d->zero = 1);
	NODE_REFUSED("a", d->flags = 1);
	NODE_REFUSED("a", d->dir.zero = 1);
	NODE_REFUSED("a", d->source = 0);
	NODE_REFUSED("a", d->target_len = htole16(1));
	NODE_REFUSED("a", d->digest.b[31] = 1);
	NODE_REFUSED("data/latest", d->link.zero[0] = 1);
	NODE_REFUSED("data/latest", d->link.zero[2] = 1);
	NODE_REFUSED("data/latest", d->flags = 1);
	NODE_REFUSED("data/latest", d->source = 0);
	NODE_REFUSED("data/latest", d->digest.b[0] = 1);
	NODE_REFUSED("a/one", d->kind = 0);
	NODE_REFUSED("a/one", d->kind = 4);
}

Test(tree_node, refuses_files_that_are_not_what_their_source_is)
{
	NODE_REFUSED("a/one", d->file.size = htole64(4096));
	NODE_REFUSED("a/one", d->file.size = htole64(UINT64_MAX));
	NODE_REFUSED("a/one", d->file.offset = htole64(4096));
	NODE_REFUSED("a/one", d->file.offset = htole64(UINT64_MAX - 50));
	NODE_REFUSED("big.bin", d->file.offset = htole64(1));
	NODE_REFUSED("big.bin", d->file.size = htole64(2u << 20));
	NODE_REFUSED("big.bin", d->digest.b[0] ^= 1);
	NODE_REFUSED("data/x", d->digest.b[0] ^= 1);
	NODE_REFUSED("data/x", d->file.size = htole64(6));
	NODE_REFUSED("weights/huge", d->digest.b[31] ^= 1);
	NODE_REFUSED("weights/huge", d->file.size = htole64(5ull << 30));
	NODE_REFUSED("weights/huge",
		     d->source = htole32(le32toh(d->source) + 1));
	NODE_REFUSED("a/empty", d->source = 0);
	NODE_REFUSED("a/empty", d->file.offset = htole64(1));
	NODE_REFUSED("a/empty", d->digest.b[5] ^= 1);
	NODE_REFUSED("a/one", d->file.size = 0);
}

Test(tree_node, refuses_targets_that_lead_out)
{
#define TARGET (v.names + le32toh(d->link.target))
	NODE_REFUSED("data/latest", memcpy(TARGET, "../../on", 8));
	NODE_REFUSED("data/latest", memcpy(TARGET, "/etc/one", 8));
	NODE_REFUSED("data/latest", memcpy(TARGET, "../a/../", 8));
	NODE_REFUSED("data/latest", memcpy(TARGET, "x/../one", 8));
	NODE_REFUSED("data/latest", memcpy(TARGET, "../a//ne", 8));
	NODE_REFUSED("data/latest", memcpy(TARGET, "../a\nxyz", 8));
	NODE_REFUSED("data/latest", d->target_len = 0);
#undef TARGET
}

Test(tree_node, refuses_layers_that_a_role_does_not_have)
{
	cleanup_victim struct victim v = victim_new();
	struct tree_node n;
	uint32_t i = at(&v, "a/one");

	v.nodes[i].layer = htole16(2);
	cr_expect(eq(int, tree_node(v.t, i, &n, NULL), 0));
	tree_limit_layers(v.t, 3);
	cr_expect(eq(int, tree_node(v.t, i, &n, NULL), 0));
	tree_limit_layers(v.t, 2);
	cr_expect(eq(int, tree_node(v.t, i, &n, NULL), -EBADMSG));
	cr_expect(eq(int, tree_validate(v.t, NULL), -EBADMSG));
	cr_expect(eq(int, tree_node(v.t, 0, &n, NULL), 0));
}

Test(tree_source, refuses_records_that_break_the_rules)
{
#define SOURCE_REFUSED(path, stmt)                                           \
	NODE_REFUSED(path, struct tree_disk_source *s = source_of(&v, path); \
		     stmt)
	SOURCE_REFUSED("a/one", s->kind = 0);
	SOURCE_REFUSED("a/one", s->kind = TREE_SOURCE_PART);
	SOURCE_REFUSED("a/one", s->kind = TREE_SOURCE_BLOB);
	SOURCE_REFUSED("a/one", s->kind = 6);
	SOURCE_REFUSED("a/one", s->tier = 1);
	SOURCE_REFUSED("a/one", s->zero = 1);
	SOURCE_REFUSED("a/one", s->n_parts = htole32(2));
	SOURCE_REFUSED("a/one", s->size = 0);
	SOURCE_REFUSED("a/one", s->size = htole64(611));
	SOURCE_REFUSED("a/one", s->first_chunk = 0);
	SOURCE_REFUSED("a/one", s->size = htole64(1ull << 63));
	SOURCE_REFUSED("a/one", s->size = htole64(1ull << 40));
	SOURCE_REFUSED("a/one", s->uri_len = htole32(3));
	SOURCE_REFUSED("a/one", s->uri = htole32(3));
	SOURCE_REFUSED("big.bin", s->first_chunk = htole64(TREE_NO_CHUNKS));
	SOURCE_REFUSED("big.bin", s->first_chunk = htole64(1u << 20));
	SOURCE_REFUSED("big.bin", s->first_chunk = htole64(UINT64_MAX - 1));
	SOURCE_REFUSED("data/x", s->tier = 4);
	SOURCE_REFUSED("data/x", s->uri_len = 0);
	SOURCE_REFUSED("data/x", s->uri_len = htole32(1u << 30));
	SOURCE_REFUSED("data/x", s->uri = htole32(UINT32_MAX));
	SOURCE_REFUSED("weights/huge", s->n_parts = htole32(1));
	SOURCE_REFUSED("weights/huge", s->n_parts = htole32(3));
	SOURCE_REFUSED("weights/huge", s->n_parts = htole32(UINT32_MAX));
	SOURCE_REFUSED("weights/huge", s[1].kind = TREE_SOURCE_BLOB);
	SOURCE_REFUSED("weights/huge", s[1].size = 0);
	SOURCE_REFUSED("weights/huge", s[1].size = htole64(9));
	SOURCE_REFUSED("weights/huge", s[1].size = s->size);
}

Test(tree_source, refuses_parts_and_uris_when_they_are_asked_for)
{
	cleanup_victim struct victim v = victim_new();
	uint32_t run = le32toh(v.nodes[at(&v, "weights/huge")].source);
	uint32_t ext = le32toh(v.nodes[at(&v, "data/x")].source);
	struct tree_disk_source good = v.sources[run + 2];
	struct tree_source s;
	struct digest d;
	uint64_t size;

#define PART_REFUSED(stmt)                                                   \
	do {                                                                 \
		struct tree_disk_source *p = &v.sources[run + 2];            \
		stmt;                                                        \
		cr_expect(eq(int,                                            \
			     tree_source_part(v.t, run, 1, &d, &size, NULL), \
			     -EBADMSG),                                      \
			  "%s", #stmt);                                      \
		cr_expect(eq(int, tree_validate(v.t, NULL), -EBADMSG));      \
		*p = good;                                                   \
	} while (0)
	PART_REFUSED(p->kind = TREE_SOURCE_BLOB);
	PART_REFUSED(p->size = htole64(10));
	PART_REFUSED(p->tier = 1);
	PART_REFUSED(p->zero = 1);
	PART_REFUSED(p->n_parts = htole32(1));
	PART_REFUSED(p->first_chunk = 0);
	PART_REFUSED(p->uri_len = htole32(1));
#undef PART_REFUSED
	cr_expect(eq(int, tree_source(v.t, ext, &s, NULL), 0));
	v.names[le32toh(v.sources[ext].uri)] = 'h'; /* hs://… */
	cr_expect(eq(int, tree_source(v.t, ext, &s, NULL), -EBADMSG));
	cr_expect(eq(int, tree_validate(v.t, NULL), -EBADMSG));
}

/* Two sources change places, and their files follow. */
static void swap_sources(struct victim *v, const char *a, const char *b)
{
	struct tree_disk_node *x = &v->nodes[at(v, a)];
	struct tree_disk_node *y = &v->nodes[at(v, b)];
	struct tree_disk_source *sx = source_of(v, a), *sy = source_of(v, b);
	struct tree_disk_source s = *sx;
	uint32_t i = x->source;

	*sx = *sy;
	*sy = s;
	x->source = y->source;
	y->source = i;
}

Test(tree_validate, refuses_what_is_not_canonical)
{
#define INVALID(stmt)                                                        \
	do {                                                                 \
		cleanup_victim struct victim v = victim_new();               \
		stmt;                                                        \
		cr_expect(eq(int, tree_validate(v.t, NULL), -EBADMSG), "%s", \
			  #stmt);                                            \
	} while (0)
	INVALID(swap_sources(&v, "run.sh", "data/x"));
	/* A chunk list that overlaps another's. */
	INVALID(source_of(&v, "big.bin")->first_chunk = htole64(1));
	/* A string that is not the one that was written. */
	INVALID(v.nodes[at(&v, "void/inner")].name_len = htole16(4));
	/* An empty folder whose children would be elsewhere. */
	INVALID(v.nodes[at(&v, "void/inner")].dir.first =
			htole32(at(&v, "void/inner") + 1));
#undef INVALID
}

struct visit {
	struct strbuf seen;
	const char *stop;
};

static int visit(void *ctx, uint32_t node, const struct tree_node *n,
		 const char *path, struct error **errp)
{
	struct visit *v = ctx;

	if (v->stop && !strcmp(path, v->stop))
		return 7;
	strbuf_addf(&v->seen, "%s%s ", path, n->kind == TREE_DIR ? "/" : "");
	return 0;
}

Test(tree_validate, wants_parts_and_blobs_of_the_one_size)
{
	struct tree_builder *b = tree_builder_new();
	struct tree_node n;
	uint32_t i;

	add_run(b, "run", 3u << 20, 1u << 20);
	cleanup_made_tree struct made_tree m = make_tree(b);

	cr_assert(eq(int, tree_find(m.tree, "run", &i, NULL), 0));
	cr_expect(eq(int, tree_node(m.tree, i, &n, NULL), 0));
	cr_expect(eq(int, tree_validate(m.tree, NULL), -EBADMSG));

	b = tree_builder_new();
	add_blob(b, "blob", (5ull << 30) + 1);
	cleanup_made_tree struct made_tree big = make_tree(b);

	cr_expect(eq(int, tree_validate(big.tree, NULL), -EBADMSG));
}

/* A chain of folders, all of one name, that no builder would make. */
static struct made_tree make_chain(uint32_t depth, uint16_t name_len)
{
	size_t names = (name_len + 7u) / 8 * 8;
	size_t nodes = (depth + 1) * sizeof(struct tree_disk_node);
	struct made_tree m = {.len = 136 + nodes + names};
	struct tree_disk_header *h = m.buf = xcalloc(1, m.len);
	struct tree_disk_section *s = (void *)(h + 1);
	struct tree_disk_node *n = (void *)(s + 4);
	size_t at = 136;

	*h = (struct tree_disk_header){.version = htole32(1),
				       .node_size = htole32(72),
				       .n_sections = htole32(4)};
	memcpy(h->magic, TREE_MAGIC, 8);
	for (uint32_t i = 0; i < 4; i++) {
		size_t len = i == 0 ? nodes : i == 1 ? name_len : 0;

		s[i] = (struct tree_disk_section){.type = htole32(i + 1),
						  .offset = htole64(at),
						  .length = htole64(len)};
		at += (len + 7) / 8 * 8;
	}
	for (uint32_t i = 0; i <= depth; i++) {
		n[i].kind = TREE_DIR;
		n[i].parent = htole32(i ? i - 1 : 0);
		n[i].name_len = htole16(i ? name_len : 0);
		n[i].source = htole32(TREE_NONE);
		n[i].dir.first = htole32(i + 1);
		n[i].dir.count = htole32(i < depth);
	}
	memset((char *)m.buf + 136 + nodes, 'n', name_len);
	if (tree_open_mem(m.buf, m.len, &m.tree, NULL) < 0)
		abort();
	return m;
}

Test(tree_node, refuses_paths_that_are_too_deep_or_too_long)
{
	static const struct {
		uint16_t name_len;
		uint32_t deepest;
	} cases[] = {{1, 64}, {31, 64}, {32, 62}, {255, 8}};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup_made_tree struct made_tree fits =
			make_chain(cases[i].deepest, cases[i].name_len);
		cleanup_made_tree struct made_tree over =
			make_chain(100000, cases[i].name_len);
		struct visit v = {.seen = STRBUF_INIT};
		struct tree_node n;
		uint32_t last = cases[i].deepest;

		cr_expect(eq(int, tree_validate(fits.tree, NULL), 0));
		cr_expect(eq(int, tree_node(over.tree, last, &n, NULL), 0));
		cr_expect(eq(int, tree_node(over.tree, last + 1, &n, NULL),
			     -EBADMSG));
		cr_expect(eq(int, tree_node(over.tree, 99999, &n, NULL),
			     -EBADMSG));
		cr_expect(eq(int, tree_walk(over.tree, 0, visit, &v, NULL),
			     -EBADMSG));
		cr_expect(eq(int, tree_path(over.tree, 99999, &v.seen, NULL),
			     -EBADMSG));
		strbuf_release(&v.seen);
	}
}

/* The source of @path becomes an external, with the URI of @other's. */
static void make_external(struct made_tree *m, const char *path,
			  const char *other)
{
	struct tree_disk_section *s =
		(void *)((uint8_t *)m->buf + sizeof(struct tree_disk_header));
	struct tree_disk_source *sources =
		(void *)((uint8_t *)m->buf + le64toh(s[2].offset));
	struct tree_disk_source *to, *from;
	struct tree_node n;
	uint32_t i;

	cr_assert(eq(int, tree_find(m->tree, other, &i, NULL), 0));
	cr_assert(eq(int, tree_node(m->tree, i, &n, NULL), 0));
	from = &sources[n.source];
	cr_assert(eq(int, tree_find(m->tree, path, &i, NULL), 0));
	cr_assert(eq(int, tree_node(m->tree, i, &n, NULL), 0));
	to = &sources[n.source];
	to->kind = TREE_SOURCE_EXTERNAL;
	to->uri = from->uri;
	to->uri_len = from->uri_len;
}

Test(tree_validate, refuses_pointers_that_collide)
{
	struct tree_builder *b = tree_builder_new();

	add_blob(b, "d/x", 9);
	add_blob(b, "d/y", 9);
	add_external(b, "d/x.json/deep/z", "s3://bucket/z", TREE_TIER_HOT, 7);
	cleanup_made_tree struct made_tree m = make_tree(b);

	make_external(&m, "d/y", "d/x.json/deep/z");
	cr_expect(eq(int, tree_validate(m.tree, NULL), 0), "another name");
	make_external(&m, "d/x", "d/x.json/deep/z");
	cr_expect(eq(int, tree_validate(m.tree, NULL), -EBADMSG));
}

Test(tree_node, refuses_external_names_that_leave_no_room_for_json)
{
	struct tree_builder *b = tree_builder_new();
	struct tree_node n;
	char name[252] = "";
	uint32_t i;

	memset(name, 'n', 251);
	add_blob(b, name, 9);
	add_blob(b, name + 1, 9);
	add_external(b, "x", "s3://bucket/z", TREE_TIER_HOT, 7);
	cleanup_made_tree struct made_tree m = make_tree(b);

	make_external(&m, name + 1, "x");
	make_external(&m, name, "x");
	cr_assert(eq(int, tree_find(m.tree, name + 1, &i, NULL), 0));
	cr_expect(eq(int, tree_node(m.tree, i, &n, NULL), 0));
	cr_assert(eq(int, tree_find(m.tree, name, &i, NULL), 0));
	cr_expect(eq(int, tree_node(m.tree, i, &n, NULL), -EBADMSG));
}

static int no_memory(void *ctx, uint32_t node, const struct tree_node *n,
		     const char *path, struct error **errp)
{
	const size_t *before = ctx;

	cr_expect(eq(sz, mallinfo2().uordblks, *before), "%s", path);
	return 0;
}

Test(tree_walk, holds_no_memory)
{
	cleanup_victim struct victim v = victim_new();
	size_t before;

	cr_expect(true); /* what Criterion allocates once */
	before = mallinfo2().uordblks;
	cr_assert(eq(int, tree_walk(v.t, TREE_ROOT, no_memory, &before, NULL),
		     0));
}

Test(tree_lookup, finds_every_name_and_no_other)
{
	cleanup_victim struct victim v = victim_new();
	uint32_t i, found;
	struct tree_node n;

	for (i = 1; i < tree_nodes(v.t); i++) {
		cr_assert(eq(int, tree_node(v.t, i, &n, NULL), 0));
		cr_assert(eq(int,
			     tree_lookup(v.t, n.parent, n.name, n.name_len,
					 &found, NULL),
			     0));
		cr_expect(eq(u32, found, i));
	}
	cr_expect(eq(int, tree_lookup(v.t, 0, "b", 1, &i, NULL), -ENOENT));
	cr_expect(eq(int, tree_lookup(v.t, 0, "", 0, &i, NULL), -ENOENT));
	cr_expect(eq(int, tree_lookup(v.t, 0, "a-", 2, &i, NULL), -ENOENT));
	cr_expect(eq(int, tree_lookup(v.t, 0, "zzz", 3, &i, NULL), -ENOENT));
	cr_expect(eq(int, tree_lookup(v.t, at(&v, "big.bin"), "x", 1, &i, NULL),
		     -ENOTDIR));
	cr_expect(eq(int,
		     tree_lookup(v.t, at(&v, "data/latest"), "x", 1, &i, NULL),
		     -ENOTDIR));
	cr_expect(eq(int, tree_lookup(v.t, 9999, "x", 1, &i, NULL), -EBADMSG));
}

Test(tree_find, takes_relative_paths)
{
	cleanup_victim struct victim v = victim_new();
	uint32_t i;

	cr_expect(eq(int, tree_find(v.t, "", &i, NULL), 0));
	cr_expect(eq(u32, i, TREE_ROOT));
	cr_expect(eq(int, tree_find(v.t, ".", &i, NULL), 0));
	cr_expect(eq(u32, i, TREE_ROOT));
	cr_expect(eq(int, tree_find(v.t, "a/none", &i, NULL), -ENOENT));
	cr_expect(eq(int, tree_find(v.t, "a-b/x", &i, NULL), -ENOTDIR));
	cr_expect(eq(int, tree_find(v.t, "/a", &i, NULL), -ENOENT));
	cr_expect(eq(int, tree_find(v.t, "a/", &i, NULL), -ENOENT));
	cr_expect(eq(int, tree_find(v.t, "a/../a", &i, NULL), -ENOENT));
}

Test(tree_walk, goes_depth_first_in_order_of_names)
{
	cleanup_victim struct victim t = victim_new();
	struct visit v = {.seen = STRBUF_INIT};

	cr_assert(eq(int, tree_walk(t.t, 0, visit, &v, NULL), 0));
	cr_expect(eq(str, (char *)strbuf_str(&v.seen),
		     "a/ a/empty a/one a/two a-b big.bin data/ "
		     "data/fit.parquet data/latest data/x run.sh void/ "
		     "void/inner/ weights/ weights/huge "));
	strbuf_reset(&v.seen);
	cr_assert(eq(int, tree_walk(t.t, at(&t, "data"), visit, &v, NULL), 0));
	cr_expect(eq(str, (char *)strbuf_str(&v.seen),
		     "data/fit.parquet data/latest data/x "));
	strbuf_reset(&v.seen);
	cr_assert(eq(int, tree_walk(t.t, at(&t, "a-b"), visit, &v, NULL), 0));
	cr_expect(eq(sz, v.seen.len, 0));
	v.stop = "a/one";
	cr_expect(eq(int, tree_walk(t.t, 0, visit, &v, NULL), 7));
	strbuf_release(&v.seen);
}

Test(tree_walk, reaches_the_deepest_and_longest_path)
{
	cleanup_strbuf struct strbuf path = STRBUF_INIT, got = STRBUF_INIT;
	struct tree_builder *b = tree_builder_new();
	uint32_t last;

	for (int i = 0; i < 64; i++)
		strbuf_addf(&path, "%s%.*s", i ? "/" : "", i < 63 ? 31 : 32,
			    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
	cr_assert(eq(sz, path.len, 2048));
	add_empty(b, path.buf);
	cleanup_made_tree struct made_tree m = make_tree(b);
	struct visit v = {.seen = STRBUF_INIT};

	cr_expect(eq(int, tree_validate(m.tree, NULL), 0));
	cr_assert(eq(int, tree_walk(m.tree, 0, visit, &v, NULL), 0));
	last = tree_nodes(m.tree) - 1;
	cr_assert(eq(int, tree_path(m.tree, last, &got, NULL), 0));
	cr_expect(eq(str, got.buf, path.buf));
	strbuf_release(&v.seen);
}

/* Everything a reader can do, on a tree that may be anything. */
static bool use_everything(struct tree *t)
{
	struct visit v = {.seen = STRBUF_INIT};
	struct tree_source s;
	struct tree_node n;
	struct digest d;
	uint64_t size;
	uint32_t i, found;
	bool bad = false;

	for (i = 0; i < tree_nodes(t); i++) {
		if (tree_node(t, i, &n, NULL) < 0) {
			bad = true;
			continue;
		}
		strbuf_reset(&v.seen);
		strbuf_add(&v.seen, n.name, n.name_len);
		if (n.kind == TREE_SYMLINK)
			strbuf_add(&v.seen, n.target, n.target_len);
		if (i && tree_lookup(t, n.parent, n.name, n.name_len, &found,
				     NULL) < 0)
			bad = true;
		if (tree_path(t, i, &v.seen, NULL) < 0)
			bad = true;
	}
	for (i = 0; i < tree_source_records(t); i = tree_next_source(t, i)) {
		if (tree_source(t, i, &s, NULL) < 0) {
			bad = true;
			continue;
		}
		for (uint32_t k = 0; k < s.n_parts; k++)
			if (tree_source_part(t, i, k, &d, &size, NULL) < 0)
				bad = true;
		for (uint32_t k = 0; k < s.n_chunks; k++)
			strbuf_add(&v.seen, &s.chunks[k], sizeof(d));
	}
	if (tree_walk(t, TREE_ROOT, visit, &v, NULL) < 0)
		bad = true;
	strbuf_release(&v.seen);
	return bad;
}

/* Small: every byte counts here, and each is tried in several ways. */
static struct made_tree make_small_tree(void)
{
	struct tree_builder *b = tree_builder_new();

	add_packed(b, "d/a", "pack", 4096, 512, 100);
	add_packed(b, "d/b", "pack", 4096, 1024, 100);
	add_blob(b, "big", 2u << 20);
	add_external(b, "ext", "s3://bucket/key", TREE_TIER_HOT, 7);
	add_empty(b, "e");
	if (tree_builder_add_symlink(b, "d/l", "../big", 0, NULL) < 0)
		abort();
	return make_tree(b);
}

Test(tree, any_changed_byte_is_refused_or_stays_within_bounds)
{
	static const uint8_t flips[] = {0x01, 0x02, 0x04, 0x10, 0x80, 0xff};
	cleanup_made_tree struct made_tree m = make_small_tree();
	size_t accepted = 0, refused = 0;

	for (size_t i = 0; i < m.len; i++)
		for (size_t k = 0; k < ARRAY_SIZE(flips); k++) {
			/* At the end of a block of its own: a sanitizer sees
			 * every step beyond. */
			cleanup_free uint8_t *p = xmemdup(m.buf, m.len);
			cleanup_tree struct tree *t = NULL;
			bool bad;

			p[i] ^= flips[k];
			if (tree_open_mem(p, m.len, &t, NULL) < 0) {
				refused++;
				continue;
			}
			bad = use_everything(t);
			if (tree_validate(t, NULL) < 0)
				refused++;
			else {
				cr_expect(not(bad), "byte %zu", i);
				accepted++;
			}
		}
	/* What carries no rule: digests, layers, some letters of names. */
	cr_expect(gt(sz, refused, accepted));
	cr_log_info("%zu refused, %zu accepted\n", refused, accepted);
}

Test(tree, any_cut_is_refused)
{
	cleanup_made_tree struct made_tree m = make_small_tree();

	for (size_t n = 0; n < m.len; n++) {
		cleanup_free uint8_t *p = xmemdup(m.buf, n);
		struct tree *t = NULL;

		cr_expect(eq(int, tree_open_mem(p, n, &t, NULL), -EBADMSG),
			  "%zu bytes", n);
	}
}
