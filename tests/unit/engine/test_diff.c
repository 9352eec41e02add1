#include "engine/diff.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <string.h>

#include "trees.h"
#include "workspace_fixture.h"

static void add(struct tree_builder *b, const char *path, const char *content,
		bool executable)
{
	struct tree_file f = {
		.executable = executable,
		.size = strlen(content),
		.digest = digest_of_str(content),
		.source = TREE_NONE,
	};
	struct tree_source_spec s = {
		.kind = TREE_SOURCE_BLOB, .digest = f.digest, .size = f.size};

	if (f.size)
		f.source = tree_builder_source(b, &s);
	cr_assert(eq(int, tree_builder_add_file(b, path, &f, NULL), 0));
}

/* "path=content", "path*=content" (executable), "path/", "path>target"; NULL
 * ends. */
static struct made_tree tree_of(const char *const *entries)
{
	struct tree_builder *b = tree_builder_new();

	for (; *entries; entries++) {
		size_t n = strcspn(*entries, "*=>");
		cleanup_free char *path = xstrndup(*entries, n);
		const char *rest = *entries + n;
		int r = 0;

		if (!*rest)
			path[n - 1] = '\0';
		if (!*rest)
			r = tree_builder_add_dir(b, path, 0, NULL);
		else if (*rest == '>')
			r = tree_builder_add_symlink(b, path, rest + 1, 0,
						     NULL);
		else
			add(b, path, strchr(rest, '=') + 1, *rest == '*');
		cr_assert(eq(int, r, 0), "%s", *entries);
	}
	return make_tree(b);
}

static void add_path(struct strbuf *out, const struct tree *t, uint32_t i)
{
	if (i == TREE_NONE)
		strbuf_addc(out, '-');
	else
		cr_assert(eq(int, tree_path(t, i, out, NULL), 0));
}

/* "added - new, renamed old at, " */
static char *text_of(const struct diff *d, const struct tree *a,
		     const struct tree *b)
{
	struct strbuf out = STRBUF_INIT;

	for (size_t i = 0; i < d->n; i++) {
		const struct diff_change *c = &d->changes[i];

		strbuf_addf(&out, "%s%s ", i ? ", " : "",
			    diff_kind_name(c->kind));
		add_path(&out, a, c->a);
		strbuf_addc(&out, ' ');
		add_path(&out, b, c->b);
	}
	return strbuf_steal(&out);
}

#define T(...) ((const char *const[]){__VA_ARGS__, NULL})

static void expect(const char *const *x, const char *const *y, const char *want)
{
	cleanup_made_tree struct made_tree a = tree_of(x), b = tree_of(y);
	cleanup_diff struct diff d = {0};
	cleanup_free char *got = NULL;

	cr_assert(eq(int, diff_trees(a.tree, b.tree, &d, NULL), 0));
	got = text_of(&d, a.tree, b.tree);
	cr_expect(eq(str, got, (char *)want));
}

Test(diff, of_a_tree_and_itself_is_nothing)
{
	cleanup_made_tree struct made_tree a = make_rich_tree(),
					   b = make_rich_tree();
	cleanup_diff struct diff d = {0};

	cr_assert(eq(int, diff_trees(a.tree, b.tree, &d, NULL), 0));
	cr_expect(eq(sz, d.n, 0));
	cr_expect(gt(u64, d.same.entries, 0));
	cr_expect(eq(u64, d.a.a_bytes, d.b.b_bytes));
	cr_expect(eq(u64, d.a.entries, d.same.entries));
}

Test(diff, names_what_is_on_one_side_alone)
{
	expect(T("a=1", "c=3"), T("b=2", "c=3"), "removed a -, added - b");
	expect(T("c=3"), T("c=3", "d/e/f=1", "d/g=2"),
	       "added - d/e/f, added - d/g");
	expect(T("c=3", "d/e/f=1", "d/g=2"), T("c=3"),
	       "removed d/e/f -, removed d/g -");
}

Test(diff, tells_content_mode_and_kind)
{
	expect(T("a=1"), T("a=2"), "modified a a");
	expect(T("a=1"), T("a*=1"), "mode a a");
	expect(T("a=1"), T("a*=2"), "modified a a");
	expect(T("a=1"), T("a>1"), "modified a a");
	expect(T("a>x"), T("a>y"), "modified a a");
	expect(T("a>x"), T("a>x"), "");
	expect(T("a="), T("a=1"), "modified a a");
}

Test(diff, of_a_file_and_a_folder_of_one_name)
{
	expect(T("a=1"), T("a/b=2", "a/c=3"),
	       "removed a -, added - a/b, added - a/c");
	expect(T("a/b=2"), T("a>b"), "removed a/b -, added - a");
	expect(T("a=1"), T("a/"), "removed a -, added - a");
}

Test(diff, counts_folders_that_are_empty)
{
	expect(T("a=1"), T("a=1", "d/"), "added - d");
	expect(T("a=1", "d/"), T("a=1"), "removed d -");
	expect(T("a=1", "d/"), T("a=1", "d/"), "");
	expect(T("a=1", "d/"), T("a=1", "d/x=2"), "added - d/x");
	expect(T("a=1", "d/x=2"), T("a=1", "d/"), "removed d/x -");
}

Test(diff, finds_renames_by_content)
{
	expect(T("a=1", "b=2"), T("a=1", "c=2"), "renamed b c");
	expect(T("old/f=1"), T("new/sub/g=1"), "renamed old/f new/sub/g");
	expect(T("b=2"), T("c*=2"), "renamed b c");
	/* A copy is none, and neither is what was there before. */
	expect(T("a=1"), T("a=1", "b=1"), "added - b");
	expect(T("a=1", "b=2"), T("a=2"), "modified a a, removed b -");
}

Test(diff, does_not_rename_what_has_no_content)
{
	expect(T("a=", "b=1"), T("b=1", "c="), "removed a -, added - c");
	expect(T("a>x", "b=1"), T("b=1", "c>x"), "removed a -, added - c");
}

Test(diff, prefers_the_same_name_among_equal_contents)
{
	expect(T("a/x=1", "a/y=1"), T("b/q=1", "b/x=1"),
	       "renamed a/y b/q, renamed a/x b/x");
	expect(T("a=1", "b=1"), T("x=1"), "removed b -, renamed a x");
	expect(T("a=1"), T("x=1", "y=1"), "renamed a x, added - y");
	expect(T("a=1", "b=1", "c=2"), T("p=2", "q=1", "r=1"),
	       "renamed c p, renamed a q, renamed b r");
}

Test(diff, sums_each_kind_and_both_sides)
{
	cleanup_made_tree struct made_tree a = tree_of(T("gone=12", "mod=123",
							 "old=12345", "same=1",
							 "x=1234567")),
					   b = tree_of(T("at=12345", "mod=1234",
							 "new=123456", "same=1",
							 "x*=1234567"));
	cleanup_diff struct diff d = {0};

	cr_assert(eq(int, diff_trees(a.tree, b.tree, &d, NULL), 0));
	cr_expect(eq(u64, d.sums[DIFF_ADDED].entries, 1));
	cr_expect(eq(u64, d.sums[DIFF_ADDED].b_bytes, 6));
	cr_expect(eq(u64, d.sums[DIFF_ADDED].a_bytes, 0));
	cr_expect(eq(u64, d.sums[DIFF_REMOVED].a_bytes, 2));
	cr_expect(eq(u64, d.sums[DIFF_MODIFIED].a_bytes, 3));
	cr_expect(eq(u64, d.sums[DIFF_MODIFIED].b_bytes, 4));
	cr_expect(eq(u64, d.sums[DIFF_RENAMED].b_bytes, 5));
	cr_expect(eq(u64, d.sums[DIFF_MODE].b_bytes, 7));
	cr_expect(eq(u64, d.same.entries, 1));
	cr_expect(eq(u64, d.a.a_bytes, 2 + 3 + 5 + 1 + 7));
	cr_expect(eq(u64, d.b.b_bytes, 5 + 4 + 6 + 1 + 7));
	cr_expect(eq(u64, d.a.entries, 5));
	cr_expect(eq(u64, d.b.entries, 5));
}

Test(diff, does_not_care_where_content_is)
{
	struct tree_builder *x = tree_builder_new(), *y = tree_builder_new();

	add_blob(x, "f", 3u << 20);
	add_external(y, "f", "s3://bucket/f", TREE_TIER_COOL, 3u << 20);
	cleanup_made_tree struct made_tree a = make_tree(x), b = make_tree(y);
	cleanup_diff struct diff d = {0};

	cr_assert(eq(int, diff_trees(a.tree, b.tree, &d, NULL), 0));
	cr_expect(eq(sz, d.n, 0));
}

/* A tree of an inventory, or of its layer 1 alone. */
static struct made_tree tree_of_folder(const struct ws *ws, bool second)
{
	cleanup_inventory struct inventory inv = INVENTORY_INIT;
	struct made_tree m = {0};
	const bool layers[] = {false, true};
	int r = ws_scan(ws, &inv, NULL);

	cr_assert(eq(int, r, 0));
	r = inventory_tree(&inv, second ? layers : NULL, &m.buf, &m.len, NULL);
	cr_assert(eq(int, r, 0));
	r = tree_open_mem(m.buf, m.len, &m.tree, NULL);
	cr_assert(eq(int, r, 0));
	cr_expect(eq(int, tree_validate(m.tree, NULL), 0));
	return m;
}

Test(diff, takes_a_folder_for_a_tree)
{
	cleanup_ws struct ws ws = {0};

	ws_open(&ws, "bundle:\n  name: n\n  layers:\n"
		     "  - name: code\n    paths: ['*.py', 'hollow']\n"
		     "  - name: data\n    paths: ['data/**']\n");
	ws_put(&ws, "a.py", "content", 0755);
	ws_put(&ws, "data/empty", "", 0644);
	ws_put_bytes(&ws, "data/big", (3u << 20) + 1, 7);
	ws_link(&ws, "data/link", "empty");
	ws_mkdir(&ws, "hollow");
	cleanup_made_tree struct made_tree all = tree_of_folder(&ws, false),
					   data = tree_of_folder(&ws, true);
	cleanup_diff struct diff d = {0};
	cleanup_free char *text = NULL;

	cr_assert(eq(int, diff_trees(all.tree, data.tree, &d, NULL), 0));
	text = text_of(&d, all.tree, data.tree);
	cr_expect(eq(str, text, "removed a.py -, removed hollow -"));
	cr_expect(eq(u64, d.same.entries, 3));
	diff_release(&d);

	ws_put(&ws, "a.py", "content", 0644);
	ws_put_bytes(&ws, "data/big", (3u << 20) + 1, 8);
	cleanup_made_tree struct made_tree now = tree_of_folder(&ws, false);
	cleanup_free char *later = NULL;

	cr_assert(eq(int, diff_trees(all.tree, now.tree, &d, NULL), 0));
	later = text_of(&d, all.tree, now.tree);
	cr_expect(eq(str, later, "mode a.py a.py, modified data/big data/big"));
}
