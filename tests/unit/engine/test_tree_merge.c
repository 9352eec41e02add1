#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <string.h>

#include "trees.h"

static const char *const names[] = {"code", "data", "more"};

/* The merge of @n trees, or its error; releases the trees. */
static int merge(struct made_tree *in, size_t n, struct made_tree *ret,
		 struct error **errp)
{
	struct tree *trees[3] = {0};
	int r;

	*ret = (struct made_tree){0};
	for (size_t i = 0; i < n; i++)
		trees[i] = in[i].tree;
	r = tree_merge(trees, names, n, &ret->buf, &ret->len, errp);
	if (r == 0)
		r = tree_open_mem(ret->buf, ret->len, &ret->tree, errp);
	if (r == 0)
		r = tree_validate(ret->tree, errp);
	for (size_t i = 0; i < n; i++)
		made_tree_release(&in[i]);
	return r;
}

static uint16_t layer_of(const struct made_tree *m, const char *path)
{
	struct tree_node n;
	uint32_t i;

	cr_assert(eq(int, tree_find(m->tree, path, &i, NULL), 0), "%s", path);
	cr_assert(eq(int, tree_node(m->tree, i, &n, NULL), 0));
	return n.layer;
}

Test(tree_merge, of_one_layer_is_that_layers_tree)
{
	cleanup_made_tree struct made_tree m = {0}, same = make_rich_tree();
	struct made_tree in[] = {make_rich_tree()};

	cr_assert(eq(int, merge(in, 1, &m, NULL), 0));
	cr_assert(eq(sz, m.len, same.len));
	cr_expect(eq(int, memcmp(m.buf, same.buf, m.len), 0));
}

Test(tree_merge, of_no_layers_is_empty)
{
	cleanup_made_tree struct made_tree m = {0};

	cr_assert(eq(int, merge(NULL, 0, &m, NULL), 0));
	cr_expect(eq(u32, tree_nodes(m.tree), 1));
}

Test(tree_merge, takes_an_entry_from_the_first_layer_that_has_it)
{
	struct tree_builder *a = tree_builder_new(), *b = tree_builder_new();
	cleanup_made_tree struct made_tree m = {0};
	struct tree_source s;
	struct tree_node n;
	uint32_t i;

	/* Equal content, once as a blob and once in a pack. */
	add_blob(a, "d/same", 10);
	add_packed(b, "d/same", "pack", 4096, 512, 10);
	add_packed(b, "d/only", "pack", 4096, 1024, 10);
	cr_assert(eq(int, tree_builder_add_dir(a, "void", 0, NULL), 0));
	cr_assert(eq(int, tree_builder_add_dir(b, "void", 0, NULL), 0));
	cr_assert(eq(int, tree_builder_add_symlink(a, "l", "d", 0, NULL), 0));
	cr_assert(eq(int, tree_builder_add_symlink(b, "l", "d", 0, NULL), 0));
	struct made_tree in[] = {make_tree(a), make_tree(b)};

	cr_assert(eq(int, merge(in, 2, &m, NULL), 0));
	cr_expect(eq(u16, layer_of(&m, "d"), 0));
	cr_expect(eq(u16, layer_of(&m, "d/same"), 0));
	cr_expect(eq(u16, layer_of(&m, "d/only"), 1));
	cr_expect(eq(u16, layer_of(&m, "void"), 0));
	cr_expect(eq(u16, layer_of(&m, "l"), 0));
	cr_assert(eq(int, tree_find(m.tree, "d/same", &i, NULL), 0));
	cr_assert(eq(int, tree_node(m.tree, i, &n, NULL), 0));
	cr_assert(eq(int, tree_source(m.tree, n.source, &s, NULL), 0));
	cr_expect(eq(int, s.kind, TREE_SOURCE_BLOB));
}

Test(tree_merge, keeps_runs_and_externals)
{
	struct tree_builder *b = tree_builder_new();
	cleanup_made_tree struct made_tree m = {0};
	struct made_tree in[2];
	struct tree_source s;
	struct tree_node n;
	struct digest d;
	uint64_t size;
	uint32_t i;

	add_blob(b, "0", 3u << 20);
	in[0] = make_tree(b);
	in[1] = make_rich_tree();
	cr_assert(eq(int, merge(in, 2, &m, NULL), 0));
	cr_assert(eq(int, tree_find(m.tree, "weights/huge", &i, NULL), 0));
	cr_assert(eq(int, tree_node(m.tree, i, &n, NULL), 0));
	cr_assert(eq(int, tree_source(m.tree, n.source, &s, NULL), 0));
	cr_expect(eq(u32, s.n_parts, 2));
	cr_expect(eq(int,
		     tree_source_part(m.tree, n.source, 1, &d, &size, NULL),
		     0));
	cr_expect(eq(u64, size, 9));
	cr_assert(eq(int, tree_find(m.tree, "data/fit.parquet", &i, NULL), 0));
	cr_assert(eq(int, tree_node(m.tree, i, &n, NULL), 0));
	cr_assert(eq(int, tree_source(m.tree, n.source, &s, NULL), 0));
	cr_expect(eq(int, s.tier, TREE_TIER_COOL));
	cr_expect(eq(u16, n.layer, 1));
}

static void add_file(struct tree_builder *b, const char *path,
		     const char *content, bool executable)
{
	struct tree_file f = {
		.executable = executable,
		.size = strlen(content),
		.digest = digest_of_str(content),
	};
	struct tree_source_spec s = {
		.kind = TREE_SOURCE_BLOB, .digest = f.digest, .size = f.size};

	f.source = tree_builder_source(b, &s);
	cr_assert(eq(int, tree_builder_add_file(b, path, &f, NULL), 0));
}

/* What the second layer may say about "d/x" without a quarrel: nothing here. */
static void other_content(struct tree_builder *b)
{
	add_file(b, "d/x", "other", false);
}

static void other_mode(struct tree_builder *b)
{
	add_file(b, "d/x", "content", true);
}

static void a_directory(struct tree_builder *b)
{
	tree_builder_add_dir(b, "d/x", 0, NULL);
}

static void something_below(struct tree_builder *b)
{
	add_file(b, "d/x/y", "content", false);
}

static void a_symlink(struct tree_builder *b)
{
	tree_builder_add_symlink(b, "d/x", "content", 0, NULL);
}

static void a_file_above(struct tree_builder *b)
{
	add_file(b, "d", "content", false);
}

static void an_empty_file(struct tree_builder *b)
{
	add_empty(b, "d/x");
}

Test(tree_merge, refuses_layers_that_disagree)
{
	static void (*const say[])(struct tree_builder *) = {
		other_content, other_mode,   a_directory,   something_below,
		a_symlink,     a_file_above, an_empty_file,
	};

	for (size_t i = 0; i < ARRAY_SIZE(say); i++)
		for (int turn = 0; turn < 2; turn++) {
			struct tree_builder *a = tree_builder_new();
			struct tree_builder *b = tree_builder_new();
			cleanup_error struct error *err = NULL;
			struct made_tree m, in[2];

			add_file(a, "d/x", "content", false);
			say[i](b);
			in[turn] = make_tree(a);
			in[!turn] = make_tree(b);
			cr_expect(eq(int, merge(in, 2, &m, &err), -EEXIST),
				  "case %zu", i);
			cr_assert(ne(ptr, err, NULL));
			cr_expect(eq(int, err->kind, ERROR_ROLE));
			cr_expect(ne(ptr, strstr(err->message, "'code'"), NULL),
				  "%s", err->message);
			cr_expect(
				ne(ptr, strstr(err->message, "'data'"), NULL));
			cr_expect(ne(ptr, strstr(err->message, "'d"), NULL));
		}
}

Test(tree_merge, refuses_a_source_that_is_described_in_two_ways)
{
	struct tree_builder *b[2] = {tree_builder_new(), tree_builder_new()};
	struct made_tree in[2], m;
	cleanup_error struct error *err = NULL;

	for (int i = 0; i < 2; i++) {
		struct digest chunks[2] = {digest_of_str("0"),
					   digest_of_str(i ? "x" : "1")};
		struct tree_source_spec s = {.kind = TREE_SOURCE_PACK,
					     .digest = digest_of_str("pack"),
					     .size = 2u << 20,
					     .chunks = chunks,
					     .n_chunks = 2};
		struct tree_file f = {.size = 1, .digest = digest_of_str("y")};

		f.source = tree_builder_source(b[i], &s);
		cr_assert(
			eq(int,
			   tree_builder_add_file(b[i], i ? "p" : "q", &f, NULL),
			   0));
		in[i] = make_tree(b[i]);
	}
	cr_expect(eq(int, merge(in, 2, &m, &err), -EBADMSG));
}

Test(tree_merge, refuses_layer_numbers_in_a_layers_own_tree)
{
	struct tree_builder *b = tree_builder_new();
	struct made_tree in[1], m;

	cr_assert(eq(int, tree_builder_add_dir(b, "d", 1, NULL), 0));
	in[0] = make_tree(b);
	cr_expect(eq(int, merge(in, 1, &m, NULL), -EBADMSG));
}

Test(tree_merge, refuses_pointers_that_collide_between_layers)
{
	struct tree_builder *a = tree_builder_new(), *b = tree_builder_new();
	struct made_tree m;

	add_external(a, "x", "s3://bucket/1", TREE_TIER_NONE, 5);
	add_external(b, "x.json/y", "s3://bucket/2", TREE_TIER_NONE, 5);
	struct made_tree in[] = {make_tree(a), make_tree(b)};

	cr_expect(eq(int, merge(in, 2, &m, NULL), -EINVAL));
}
