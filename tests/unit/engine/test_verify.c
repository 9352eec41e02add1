#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "bundles.h"
#include "engine/role_tree.h"
#include "engine/verify.h"
#include "tests/fakes/fakes.h"

struct lines {
	char **v;
	struct digest expected, found; /* of the last that had them */
	char path[64];
};

static void add_line(void *ctx, const struct verify_finding *f)
{
	struct lines *l = ctx;

	strv_append(&l->v, xstrdup(f->line));
	if (f->digest)
		l->expected = *f->digest;
	if (f->found)
		l->found = *f->found;
	snprintf(l->path, sizeof(l->path), "%s", f->path ? f->path : "");
}

static bool said(const struct lines *l, const char *part)
{
	for (size_t i = 0; i < strv_len(l->v); i++)
		if (strstr(l->v[i], part))
			return true;
	return false;
}

struct scene {
	struct made_bundle m;
	struct bundle *b;
	struct lines lines;
	struct verify_result res;
	struct error *err;
};

static void scene_open(struct scene *s, const struct fault *fault)
{
	memset(s, 0, sizeof(*s));
	bundle_make(&s->m, fault);
	cr_assert(eq(int,
		     bundle_open(s->m.session, &s->m.ref, NULL, &s->b, NULL),
		     0));
}

static void scene_close(struct scene *s)
{
	strv_free(s->lines.v);
	error_freep(&s->err);
	bundle_close(s->b);
	bundle_release(&s->m);
}
#define cleanup_scene __attribute__((cleanup(scene_close)))

static int run_as(struct scene *s, struct verify_options o)
{
	o.report = add_line;
	o.ctx = &s->lines;
	return verify_bundle(s->b, &o, &s->res, NULL, &s->err);
}

static int run(struct scene *s, bool deep)
{
	return run_as(s, (struct verify_options){.deep = deep});
}

Test(verify, a_whole_bundle_is_right)
{
	cleanup_scene struct scene s;

	scene_open(&s, NULL);
	cr_assert(eq(int, run(&s, false), 0), "%s",
		  s.err ? s.err->message : "");
	cr_expect(eq(u64, s.res.damaged + s.res.unchecked, 0));
	cr_expect(eq(u64, s.res.externals, 1));
	cr_expect(eq(u64, s.res.externals_by_size, 1));
}

Test(verify, deep_reads_every_byte_and_rebuilds)
{
	cleanup_scene struct scene s;

	scene_open(&s, NULL);
	cr_assert(eq(int, run(&s, true), 0), "%s",
		  s.lines.v ? s.lines.v[0]
		  : s.err   ? s.err->message
			    : "");
	cr_expect(eq(u64, s.res.damaged + s.res.unchecked, 0));
	cr_expect(eq(u64, s.res.externals_hashed, 1));
	cr_expect(ge(u64, s.res.bytes, 5u << 20));
}

Test(verify, a_missing_external_is_damage)
{
	cleanup_scene struct scene s;

	scene_open(&s, NULL);
	unlink(s.m.external);
	cr_assert(eq(int, run(&s, false), -EBADMSG));
	cr_expect(eq(int, s.err->kind, ERROR_VALIDATION));
	cr_expect(eq(u64, s.res.damaged, 1));
	cr_expect(said(&s.lines, "('data/ext.bin'): missing"));
	cr_expect(eq(str, s.lines.path, "data/ext.bin"));
}

Test(verify, an_external_of_another_size_is_damage)
{
	cleanup_scene struct scene s;

	scene_open(&s, NULL);
	cr_assert(eq(int,
		     io_write_file_atomic(AT_FDCWD, s.m.external, "x", 1, 0644),
		     0));
	cr_expect(eq(int, run(&s, false), -EBADMSG));
}

Test(verify, only_deep_sees_other_bytes_of_the_same_size)
{
	cleanup_scene struct scene s;
	cleanup_free char *p = NULL;
	size_t n;

	scene_open(&s, NULL);
	p = bundle_content("data/ext.bin", &n);
	p[100] ^= 1;
	cr_assert(eq(int,
		     io_write_file_atomic(AT_FDCWD, s.m.external, p, n, 0644),
		     0));
	cr_expect(eq(int, run(&s, false), 0));
	cr_expect(eq(int, run(&s, true), -EBADMSG));
	cr_expect(eq(str, s.lines.path, "data/ext.bin"));
	struct digest now = digest_of_buf(p, n);
	cr_expect(digest_equal(&s.lines.found, &now));
	p[100] ^= 1;
	now = digest_of_buf(p, n);
	cr_expect(digest_equal(&s.lines.expected, &now));
}

Test(verify, what_cannot_be_asked_is_unchecked_not_damaged)
{
	cleanup_scene struct scene s;
	static char *none[] = {NULL};

	scene_open(&s, NULL);
	bundle_close(steal_ptr(&s.b));
	s.m.settings.file_roots = none;
	bundle_restart(&s.m);
	cr_assert(eq(int, bundle_open(s.m.session, &s.m.ref, NULL, &s.b, NULL),
		     0));
	cr_assert(eq(int, run(&s, false), -EIO));
	cr_expect(eq(int, s.err->kind, ERROR_DOWNLOAD));
	cr_expect(eq(u64, s.res.unchecked, 1));
	cr_expect(eq(u64, s.res.damaged, 0));
}

Test(verify, a_registry_that_fails_is_unchecked)
{
	struct fault down = {.action = FAULT_FAIL,
			     .nth = 3,
			     .every = true,
			     .code = ETIMEDOUT};
	cleanup_scene struct scene s;

	scene_open(&s, &down); /* resolve and manifest work */
	cr_assert(eq(int, run(&s, false), -EIO));
	cr_expect(gt(u64, s.res.unchecked, 3));
	cr_expect(eq(u64, s.res.damaged, 0));
}

Test(verify, layers_that_cannot_be_had_say_nothing_about_a_role)
{
	struct fault down = {.action = FAULT_FAIL,
			     .nth = 3,
			     .every = true,
			     .code = ETIMEDOUT};
	cleanup_scene struct scene s;
	struct digest d;

	scene_open(&s, &down); /* resolve and manifest work */
	cr_expect(
		eq(int,
		   role_tree_digest(s.b, root_find_role(&s.b->root, "default"),
				    NULL, &d, &s.err),
		   -ETIMEDOUT));
	cr_expect(eq(int, s.err->kind, ERROR_DOWNLOAD));
}

Test(verify, wrong_bytes_at_the_registry_are_damage)
{
	struct fault bad = {
		.action = FAULT_CORRUPT, .nth = 4, .every = true, .arg = 1};
	cleanup_scene struct scene s;

	scene_open(&s, &bad); /* opening and the manifest are right */
	cr_assert(eq(int, run(&s, true), -EBADMSG));
	cr_expect(eq(int, s.err->kind, ERROR_VALIDATION));
	cr_expect(said(&s.lines, ": expected sha256:"));
	cr_expect(said(&s.lines, ", found sha256:"));
}

Test(verify, blobs_that_are_gone_are_damage)
{
	cleanup_scene struct scene s;
	struct registry *empty = registry_fake_new();

	scene_open(&s, NULL);
	cr_assert(eq(int, run(&s, true), 0), "all is in the cache");
	s.b->registry = empty;
	cr_assert(eq(int, run(&s, false), -EBADMSG));
	cr_expect(said(&s.lines, "manifest: missing"));
	cr_expect(gt(u64, s.res.damaged, 5));
	registry_free(empty);
}

Test(verify, repair_puts_back_what_the_registry_lost)
{
	cleanup_scene struct scene s;
	struct registry *empty = registry_fake_new(), *old;
	struct verify_options repair = {.repair = true};
	uint64_t left;

	scene_open(&s, NULL);
	cr_assert(eq(int, run(&s, true), 0), "trees and packs are cached now");
	old = s.b->registry;
	s.b->registry = empty;
	cr_assert(eq(int, run_as(&s, repair), -EBADMSG));
	cr_expect(ge(u64, s.res.repaired, 4));
	cr_expect(said(&s.lines, "missing; put there from the cache"));
	cr_expect(said(&s.lines, "not repaired: the cache does not have it"));
	left = s.res.damaged - s.res.repaired;
	error_freep(&s.err);
	cr_assert(eq(int, run(&s, true), -EBADMSG));
	cr_expect(eq(u64, s.res.damaged, left));
	s.b->registry = old;
	registry_free(empty);
}
