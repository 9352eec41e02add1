/*
 * A workdir in a folder that other users can write to. Only root can give a
 * folder away, hence a suite of its own that scripts/test runs as root.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "bundles.h"
#include "engine/materialize.h"

#define SOMEBODY 12345

static struct made_bundle m;
static struct bundle *b;
static struct role_view *v;
static char *dest;

static void setup(void)
{
	if (geteuid() != 0)
		cr_skip_test("only root can give a folder away");
	bundle_make(&m, NULL);
	v = bundle_view(&m, NULL, &b);
	dest = xasprintf("%s/work", m.dir);
}

static void teardown(void)
{
	role_view_close(v);
	bundle_close(b);
	free(dest);
	bundle_release(&m);
}

TestSuite(materialize_foreign, .init = setup, .fini = teardown);

static void refused(const char *planted)
{
	cleanup_materialize_result struct materialize_result res = {0};
	cleanup_error struct error *err = NULL;
	struct materialize_options o = {.dest = dest, .overwrite = true};
	cleanup_free char *path = xasprintf("%s/%s", dest, planted);
	cleanup_free char *final = xasprintf("%s/README.md", dest);

	cr_assert(eq(int, io_mkdirs(path, 0755), 0));
	cr_assert(eq(int, chown(path, SOMEBODY, SOMEBODY), 0));
	cr_expect(lt(int, materialize(v, &o, &res, NULL, &err), 0));
	cr_assert(ne(ptr, err, NULL));
	cr_expect(eq(int, err->kind, ERROR_CONFLICT), "%s", err->message);
	cr_expect(ne(int, access(final, F_OK), 0));
}

Test(materialize_foreign, nothing_is_staged_in_a_folder_of_another_user)
{
	refused(".mops");
}
