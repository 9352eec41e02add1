#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <unistd.h>

#include "bundles.h"
#include "engine/archive.h"

static int export(struct made_bundle *m, const char *file, struct error **errp)
{
	cleanup_bundle struct bundle *b = NULL;
	cleanup_role_view struct role_view *v = bundle_view(m, NULL, &b);
	struct export_result res;

	return export_role(v, file, false, false, &res, NULL, errp);
}

Test(export, holds_every_file_of_the_role)
{
	cleanup_made_bundle struct made_bundle m;
	cleanup_error struct error *err = NULL;
	struct import_result res;

	bundle_make(&m, NULL);
	cleanup_free char *file = xasprintf("%s/role.tar", m.dir);
	cleanup_free char *dest = xasprintf("%s/unpacked", m.dir);
	cr_assert(eq(int, export(&m, file, &err), 0), "%s",
		  err ? err->message : "");
	cr_assert(eq(int, import_archive(file, dest, &res, NULL, NULL), 0));
	cr_expect(eq(u64, res.files, 8));
}

/* Both a file that is checked as a whole and one that is read by chunk. */
Test(export, a_file_that_is_not_what_its_tree_says_is_never_archived)
{
	static const char *const paths[] = {"src/a.py", "data/large.txt"};

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		cleanup_made_bundle struct made_bundle m;
		cleanup_error struct error *err = NULL;

		bundle_make_forged(&m, paths[i]);
		cleanup_free char *file = xasprintf("%s/role.tar", m.dir);
		cr_expect(eq(int, export(&m, file, &err), -EBADMSG), "%s",
			  paths[i]);
		cr_assert(ne(ptr, err, NULL));
		cr_expect(eq(int, err->kind, ERROR_VALIDATION));
		cr_expect(ne(int, access(file, F_OK), 0));
	}
}

Test(export, a_trailing_slash_changes_nothing_for_import)
{
	cleanup_made_bundle struct made_bundle m;
	cleanup_error struct error *err = NULL;
	struct import_result res;

	bundle_make(&m, NULL);
	cleanup_free char *file = xasprintf("%s/role.tar", m.dir);
	cleanup_free char *dest = xasprintf("%s/unpacked//", m.dir);
	cleanup_free char *inside = xasprintf("%s/unpacked/README.md", m.dir);
	cr_assert(eq(int, export(&m, file, NULL), 0));
	cr_assert(eq(int, import_archive(file, dest, &res, NULL, &err), 0),
		  "%s", err ? err->message : "");
	cr_expect(eq(int, access(inside, F_OK), 0));
}

Test(export, does_not_write_into_a_folder_what_cannot_get_its_name)
{
	cleanup_made_bundle struct made_bundle m;

	bundle_make(&m, NULL);
	cleanup_free char *slash = xasprintf("%s/role.tar/", m.dir);
	cr_expect(eq(int, export(&m, slash, NULL), -EISDIR));
	cr_expect(eq(int, export(&m, m.dir, NULL), -EISDIR));
}
