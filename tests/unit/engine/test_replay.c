/* What a trace's lines become: in a tree of externals, which nobody asks for. */
#include "engine/replay.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <string.h>

#include "bundles.h"
#include "engine/trace.h"
#include "trees.h"

#define MIB    ((uint64_t)CHUNK_SIZE)
#define CHUNKS 65536u /* of big */

static struct made_bundle m;
static struct bundle *bundle;
static struct role_view *opened;
static struct made_tree tree;
static struct role_view view;
static struct replay *replay;

static void set_up(void)
{
	struct tree_builder *b = tree_builder_new();

	add_external(b, "big", "file:///none/big", TREE_TIER_NONE,
		     CHUNKS * MIB);
	add_external(b, "other", "file:///none/other", TREE_TIER_NONE,
		     3 * MIB + 1);
	add_empty(b, "empty");
	tree = make_tree(b);
	bundle_make(&m, NULL);
	opened = bundle_view(&m, NULL, &bundle);
	view = *opened;
	view.tree = tree.tree;
	replay = replay_new(&view);
}

static void clean_up(void)
{
	replay_free(replay);
	role_view_close(opened);
	bundle_close(bundle);
	made_tree_release(&tree);
	bundle_release(&m);
}

TestSuite(replay, .init = set_up, .fini = clean_up);

static void add(const char *lines, unsigned times)
{
	cleanup_strbuf struct strbuf text = STRBUF_INIT;
	cleanup_error struct error *err = NULL;

	strbuf_adds(&text, TRACE_HEAD);
	for (unsigned i = 0; i < times; i++)
		strbuf_adds(&text, lines);
	cr_assert(eq(int, replay_add(replay, text.buf, text.len, NULL, &err),
		     0),
		  "%s", err ? err->message : "");
}

static void expect(uint64_t files, uint64_t bytes, uint64_t skipped)
{
	struct replay_counts c;

	replay_count(replay, &c);
	cr_expect(eq(u64, c.files, files));
	cr_expect(eq(u64, c.bytes, bytes));
	cr_expect(eq(u64, c.skipped, skipped));
	cr_expect(eq(u64, replay_missing(replay), bytes));
}

Test(replay, counts_each_chunk_once)
{
	add("2 9 other\n0 1 big\n2 1 other\n0 3 big\n", 1);
	expect(2, MIB + 1 + 3 * MIB, 0);
	add("1 4 big\n", 2);
	expect(2, MIB + 1 + 5 * MIB, 0);
}

Test(replay, passes_over_what_is_not_here)
{
	add("0 1 none\n4 1 other\n0 1 empty\n3 1 other\n0 1 big/x\n", 1);
	expect(1, 1, 4);
}

/* What lines that name the same again and again may cost, in one trace or in
 * several. */
Test(replay, looks_at_so_many_chunks_at_most)
{
	const unsigned times = REPLAY_CHUNKS_MAX / CHUNKS;

	add("0 4294967295 big\n", times - 1);
	add("0 1 other\n", 1);
	expect(2, (CHUNKS + 1) * MIB, 0);
	add("0 4294967295 big\n1 1 other\n", 1);
	add("2 1 other\n", 1);
	expect(2, (CHUNKS + 1) * MIB, 0);
}
