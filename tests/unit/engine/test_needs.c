/* What a collection leaves of a bundle that is open or pinned. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <unistd.h>

#include "base/io.h"
#include "bundles.h"
#include "cache/gc.h"
#include "engine/pull.h"

struct scene {
	struct made_bundle m;
	struct bundle *b;
	struct role_view *v;
	struct cache *c;
	struct gc_report gc;
	struct error *err;
};

static void scene_open(struct scene *s)
{
	struct pull_result p;

	memset(s, 0, sizeof(*s));
	bundle_make(&s->m, NULL);
	s->v = bundle_view(&s->m, "default", &s->b);
	cr_assert(eq(int, session_cache(s->m.session, &s->c, NULL), 0));
	cr_assert(eq(int, pull(s->v, NULL, true, 0, &p, NULL, NULL), 0));
}

static void scene_close(struct scene *s)
{
	role_view_closep(&s->v);
	bundle_closep(&s->b);
	error_freep(&s->err);
	bundle_release(&s->m);
}
#define cleanup_scene __attribute__((cleanup(scene_close)))

/* Everything that may go. */
static int collect(struct scene *s)
{
	const struct gc_options o = {.expand = bundle_needs, .ctx = s->c};

	return cache_gc(s->c, &o, &s->gc, &s->err);
}

static uint64_t blobs(struct scene *s)
{
	struct cache_usage u;

	cr_assert(eq(int, cache_usage(s->c, &u, NULL), 0));
	return u.blobs;
}

/* Manifest, root, the trees of two layers and of their role. */
#define DOCS_AND_TREES 5

Test(needs, of_an_open_bundle_are_documents_and_trees)
{
	cleanup_scene struct scene s;

	scene_open(&s);
	cr_assert(gt(u64, blobs(&s), DOCS_AND_TREES));
	cr_assert(eq(int, collect(&s), 0));
	cr_expect(eq(u64, blobs(&s), DOCS_AND_TREES));
	cr_expect(eq(u64, s.gc.kept, DOCS_AND_TREES));
	cr_expect(eq(u64, s.gc.layers, 0));
}

Test(needs, of_a_command_are_everything)
{
	cleanup_scene struct scene s;
	uint64_t before;

	scene_open(&s);
	before = blobs(&s);
	cr_assert(eq(int, bundle_keep_content(s.b, NULL), 0));
	cr_assert(eq(int, collect(&s), 0));
	cr_expect(eq(u64, blobs(&s), before));
	cr_expect(eq(int, role_view_complete(s.v, NULL), 0),
		  "parts, packs and externals too");
}

Test(needs, end_with_the_bundle)
{
	cleanup_scene struct scene s;

	scene_open(&s);
	cr_assert(eq(int, bundle_keep_content(s.b, NULL), 0));
	role_view_closep(&s.v);
	bundle_closep(&s.b);
	cr_assert(eq(int, collect(&s), 0));
	cr_expect(eq(u64, blobs(&s), 0));
}

Test(needs, of_a_pinned_bundle_are_everything)
{
	cleanup_scene struct scene s;
	uint64_t before;

	scene_open(&s);
	before = blobs(&s);
	cr_assert(eq(int, cache_pin(s.c, &s.b->digest, true, NULL), 0));
	role_view_closep(&s.v);
	bundle_closep(&s.b);
	cr_assert(eq(int, collect(&s), 0));
	cr_expect(eq(u64, blobs(&s), before));
}

/* The role that nobody pulled has no tree here: its blobs are not needed, and
 * what is needed is still known. */
Test(needs, leave_out_what_was_never_here)
{
	cleanup_scene struct scene s;

	memset(&s, 0, sizeof(s));
	bundle_make(&s.m, NULL);
	s.v = bundle_view(&s.m, "small", &s.b);
	cr_assert(eq(int, session_cache(s.m.session, &s.c, NULL), 0));
	cr_assert(eq(int, bundle_keep_content(s.b, NULL), 0));
	cr_expect(eq(int, collect(&s), 0));
	cr_expect(eq(u64, blobs(&s), 3), "manifest, root, one tree");
}

Test(needs, that_nobody_knows_end_the_collection)
{
	cleanup_scene struct scene s;
	uint64_t before;

	scene_open(&s);
	cleanup_free char *path =
		xasprintf("%s/blobs/sha256/%.2s/%s", cache_path(s.c),
			  digest_to_hex(&s.b->digest).str,
			  digest_to_hex(&s.b->digest).str);
	cr_assert(eq(int, cache_pin(s.c, &s.b->digest, true, NULL), 0));
	cr_assert(eq(int, unlink(path), 0));
	before = blobs(&s);
	cr_expect(eq(int, collect(&s), -ENOENT));
	cr_expect(ne(ptr, s.err->hint, NULL));
	cr_expect(eq(u64, blobs(&s), before), "nothing goes on a guess");
}
