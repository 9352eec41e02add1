#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <string.h>

#include "trees.h"

static uint32_t find(const struct made_tree *m, const char *path)
{
	uint32_t i = TREE_NONE;

	tree_find(m->tree, path, &i, NULL);
	return i;
}

static struct tree_node node(const struct made_tree *m, const char *path)
{
	cleanup_error struct error *err = NULL;
	struct tree_node n;
	int r = tree_node(m->tree, find(m, path), &n, &err);

	cr_assert(eq(int, r, 0), "%s: %s", path, err ? err->message : "");
	return n;
}

Test(tree_builder, an_empty_tree_has_a_root_alone)
{
	cleanup_made_tree struct made_tree m = make_tree(tree_builder_new());
	struct tree_node n = node(&m, "");

	cr_expect(eq(u32, tree_nodes(m.tree), 1));
	cr_expect(eq(u32, n.count, 0));
	cr_expect(eq(u32, n.first, 1));
	cr_expect(eq(int, tree_validate(m.tree, NULL), 0));
}

Test(tree_builder, gives_back_what_was_put_in)
{
	cleanup_made_tree struct made_tree m = make_rich_tree();
	cleanup_error struct error *err = NULL;
	struct tree_source s;
	struct tree_node n;
	struct digest d;
	uint64_t size;

	cr_assert(eq(int, tree_validate(m.tree, &err), 0), "%s",
		  err ? err->message : "");

	n = node(&m, "a/one");
	cr_expect(eq(int, n.kind, TREE_FILE));
	cr_expect(eq(u64, n.size, 100));
	cr_expect(eq(u64, n.offset, 512));
	cr_expect(digest_equal(n.digest, &(struct digest){0}) == 0);
	cr_assert(eq(int, tree_source(m.tree, n.source, &s, NULL), 0));
	cr_expect(eq(int, s.kind, TREE_SOURCE_PACK));
	cr_expect(eq(u64, s.size, 4096));
	cr_expect(eq(u32, n.source, node(&m, "a-b").source));

	n = node(&m, "a/empty");
	cr_expect(eq(u32, n.source, TREE_NONE));
	cr_expect(eq(u64, n.size, 0));

	n = node(&m, "run.sh");
	cr_expect(n.executable);
	cr_expect(not(node(&m, "a/one").executable));

	n = node(&m, "data/latest");
	cr_expect(eq(int, n.kind, TREE_SYMLINK));
	cr_assert(eq(u16, n.target_len, 8));
	cr_expect(eq(int, memcmp(n.target, "../a/one", 8), 0));

	n = node(&m, "void/inner");
	cr_expect(eq(int, n.kind, TREE_DIR));
	cr_expect(eq(u32, n.count, 0));

	n = node(&m, "data/fit.parquet");
	cr_assert(eq(int, tree_source(m.tree, n.source, &s, NULL), 0));
	cr_expect(eq(int, s.tier, TREE_TIER_COOL));
	cr_expect(eq(u32, s.n_chunks, 3));
	cr_assert(eq(u32, s.uri_len, 24));
	cr_expect(eq(int, memcmp(s.uri, "s3://bucket/key%20with/x", 24), 0));

	n = node(&m, "weights/huge");
	cr_assert(eq(int, tree_source(m.tree, n.source, &s, NULL), 0));
	cr_expect(eq(u32, s.n_parts, 2));
	cr_expect(eq(u32, s.n_chunks, 5121));
	cr_assert(eq(int,
		     tree_source_part(m.tree, n.source, 1, &d, &size, NULL),
		     0));
	cr_expect(eq(u64, size, 9));
	struct digest want = digest_of_str("weights/huge part 1");
	cr_expect(digest_equal(&d, &want));
	cr_expect(eq(int,
		     tree_source_part(m.tree, n.source, 2, &d, &size, NULL),
		     -EBADMSG));
	cr_expect(eq(int, tree_source(m.tree, n.source + 1, &s, NULL),
		     -EBADMSG),
		  "a part is no source");
	cr_expect(eq(u32, tree_next_source(m.tree, n.source), n.source + 3));
}

Test(tree_builder, does_not_depend_on_the_order_of_entries)
{
	static const char *const paths[] = {"b",   "a/x", "a/y/z",
					    "a-b", "a.b", "c/d"};
	struct made_tree first = {0};

	for (size_t shift = 0; shift < ARRAY_SIZE(paths); shift++) {
		struct tree_builder *b = tree_builder_new();
		struct made_tree m;

		for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
			const char *p = paths[(i + shift) % ARRAY_SIZE(paths)];

			add_packed(b, p, "pack", 1u << 21, 512, 3);
		}
		cr_assert(eq(int, tree_builder_add_dir(b, "a", 0, NULL), 0));
		m = make_tree(b);
		if (!shift) {
			first = m;
			continue;
		}
		cr_assert(eq(sz, m.len, first.len));
		cr_expect(eq(int, memcmp(m.buf, first.buf, m.len), 0),
			  "shift %zu", shift);
		made_tree_release(&m);
	}
	made_tree_release(&first);
}

Test(tree_builder, a_folder_belongs_to_the_first_layer_with_something_in_it)
{
	struct tree_builder *b = tree_builder_new();

	cr_assert(eq(int, tree_builder_add_dir(b, "d/e", 3, NULL), 0));
	cr_assert(eq(int, tree_builder_add_symlink(b, "d/l", "x", 1, NULL), 0));
	cr_assert(eq(int, tree_builder_add_dir(b, "d/e", 2, NULL), 0));
	cleanup_made_tree struct made_tree m = make_tree(b);

	cr_expect(eq(u16, node(&m, "d").layer, 1));
	cr_expect(eq(u16, node(&m, "d/e").layer, 2));
	cr_expect(eq(u16, node(&m, "").layer, 0));
}

Test(tree_builder, drops_sources_that_no_file_uses)
{
	struct tree_builder *b = tree_builder_new();

	tree_builder_source(
		b, &(struct tree_source_spec){.kind = TREE_SOURCE_BLOB,
					      .digest = digest_of_str("unused"),
					      .size = 9});
	add_blob(b, "f", 2);
	cleanup_made_tree struct made_tree m = make_tree(b);

	cr_expect(eq(u32, tree_source_records(m.tree), 1));
	cr_expect(eq(int, tree_validate(m.tree, NULL), 0));
}

Test(tree_builder, refuses_a_path_that_is_taken)
{
	cleanup_tree_builder struct tree_builder *b = tree_builder_new();
	cleanup_error struct error *err = NULL;
	struct tree_file f = {.source = TREE_NONE, .digest = DIGEST_EMPTY};

	add_empty(b, "d/f");
	cr_expect(eq(int, tree_builder_add_file(b, "d/f", &f, &err), -EEXIST));
	cr_assert(ne(ptr, err, NULL));
	cr_expect(eq(str, err->message, "'d/f' is there already"));
	cr_expect(eq(int, tree_builder_add_file(b, "d", &f, NULL), -EEXIST));
	cr_expect(eq(int, tree_builder_add_dir(b, "d/f", 0, NULL), -EEXIST));
	cr_expect(eq(int, tree_builder_add_symlink(b, "d", "x", 0, NULL),
		     -EEXIST));
	cr_expect(eq(int, tree_builder_add_dir(b, "d/f/g", 0, NULL), -ENOTDIR));
	cr_expect(eq(int, tree_builder_add_dir(b, "d", 0, NULL), 0));
}

Test(tree_builder, refuses_names_and_targets_that_break_the_rules)
{
	static const char *const paths[] = {
		"",       "/a",     "a/",    "a//b",      ".",       "a/..",
		"a\\b",   "a\x01b", "a\xff", ".mops",     ".mops/x", ".mops-x",
		"a/.git", ".GIT/x", "a\x7f", "a\xc2\x85",
	};
	static const char *const targets[] = {
		"", "/etc/passwd", "../../x", "../..", "a/../b", "x//y", "x/",
	};
	cleanup_tree_builder struct tree_builder *b = tree_builder_new();
	char deep[2 * 65 + 1] = "";

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		cr_expect(eq(int, tree_builder_add_dir(b, paths[i], 0, NULL),
			     -EINVAL),
			  "'%s'", paths[i]);
	for (size_t i = 0; i < ARRAY_SIZE(targets); i++)
		cr_expect(eq(int,
			     tree_builder_add_symlink(b, "d/l", targets[i], 0,
						      NULL),
			     -EINVAL),
			  "'%s'", targets[i]);
	for (int i = 0; i < 65; i++)
		strcat(deep, i ? "/a" : "a");
	cr_expect(eq(int, tree_builder_add_dir(b, deep, 0, NULL), -EINVAL));
	deep[2 * 64 - 1] = '\0';
	cr_expect(eq(int, tree_builder_add_dir(b, deep, 0, NULL), 0));
	cr_expect(eq(int, tree_builder_add_dir(b, "a/.mops", 0, NULL), 0));
	cr_expect(eq(int, tree_builder_add_symlink(b, "d/l", "../x", 0, NULL),
		     0));
}

Test(tree_builder, refuses_an_external_name_that_leaves_no_room_for_json)
{
	cleanup_tree_builder struct tree_builder *b = tree_builder_new();
	char name[252] = "";
	struct tree_file f = {.size = 1, .digest = digest_of_str("x")};

	memset(name, 'n', 251);
	f.source = tree_builder_source(
		b, &(struct tree_source_spec){.kind = TREE_SOURCE_EXTERNAL,
					      .digest = f.digest,
					      .size = 1,
					      .uri = "s3://bucket/k"});
	cr_expect(eq(int, tree_builder_add_file(b, name, &f, NULL), -EINVAL));
	cr_expect(eq(int, tree_builder_add_file(b, name + 1, &f, NULL), 0));
}

Test(tree_builder, refuses_externals_whose_pointer_files_collide)
{
	cleanup_tree_builder struct tree_builder *b = tree_builder_new();
	cleanup_error struct error *err = NULL;
	void *buf = NULL;
	size_t len;

	add_external(b, "d/x", "s3://bucket/1", TREE_TIER_NONE, 5);
	add_blob(b, "d/x.json/y/blob", 5);
	cr_assert(eq(int, tree_builder_finish(b, &buf, &len, &err), 0));
	free(buf);
	add_external(b, "d/x.json/y/ext", "s3://bucket/2", TREE_TIER_NONE, 5);
	cr_assert(eq(int, tree_builder_finish(b, &buf, &len, &err), -EINVAL));
	cr_expect(ne(ptr, strstr(err->message, "'d/x'"), NULL));
}

Test(tree_builder, equal_sources_are_one_and_others_are_not)
{
	cleanup_tree_builder struct tree_builder *b = tree_builder_new();
	struct tree_source_spec s = {
		.kind = TREE_SOURCE_EXTERNAL,
		.digest = digest_of_str("x"),
		.size = 5,
		.uri = "s3://bucket/1",
	};
	uint32_t first = tree_builder_source(b, &s);

	cr_expect(eq(u32, tree_builder_source(b, &s), first));
	s.tier = TREE_TIER_HOT;
	cr_expect(ne(u32, tree_builder_source(b, &s), first));
	s.tier = TREE_TIER_NONE;
	s.uri = "s3://bucket/2";
	cr_expect(ne(u32, tree_builder_source(b, &s), first));
	s = (struct tree_source_spec){
		.kind = TREE_SOURCE_BLOB, .digest = s.digest, .size = 5};
	cr_expect(ne(u32, tree_builder_source(b, &s), first));
}
