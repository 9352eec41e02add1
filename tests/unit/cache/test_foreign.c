/*
 * What belongs to another user. Only root can give a file away, hence a suite of
 * its own that scripts/test runs as root.
 */
#include "cache/internal.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "fixture.h"

#define SOMEBODY 12345

static struct fixture f;

static void setup(void)
{
	if (geteuid() != 0)
		cr_skip_test("only root can give a file away");
	fixture_open(&f);
}

static void teardown(void)
{
	fixture_close(&f);
}

TestSuite(foreign, .init = setup, .fini = teardown);

Test(foreign, blob_is_not_believed_by_its_stat)
{
	struct digest d = digest_of_str("some text");
	cleanup_free char *path = blob_path(&f, &d);
	cleanup_fd int fd = -1;

	cr_assert(eq(int, cache_doc_put(f.c, &d, "some text", 9, NULL), 0));
	cr_assert(eq(int, chown(path, SOMEBODY, SOMEBODY), 0));
	fd = cache_blob_open(f.c, &d, 9, NULL);
	cr_expect(ge(int, fd, 0), "hashed");
	cr_expect(eq(int, cache_blob_open_passthrough(f.c, &d, 9), -EAGAIN));
}

Test(foreign, folder_is_no_cache_of_ours)
{
	cleanup_error struct error *err = NULL;
	struct cache *c = NULL;

	cr_assert(eq(int, chown(f.dir, SOMEBODY, SOMEBODY), 0));
	cr_assert(eq(int, cache_open(f.dir, &c, &err), -EACCES));
	cr_expect(eq(int, (int)err->kind, ERROR_VALIDATION));
	cr_expect(ne(ptr, strstr(err->hint, "MOPS_CACHE_DIR"), NULL));
}
