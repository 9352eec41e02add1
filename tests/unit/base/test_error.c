#include "base/error.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>

#include "base/alloc.h"

Test(error, returns_the_negative_code_with_nobody_listening)
{
	cr_assert(eq(int, error_set(NULL, ENOENT, "x"), -ENOENT));
	cr_assert(eq(int, error_set_errno(NULL, EIO, "x"), -EIO));
	cr_assert(eq(int, error_prefix(NULL, -5, "x"), -5));
	cr_assert(eq(int, error_hint(NULL, -5, "x"), -5));
	cr_assert(eq(int, error_kind(NULL, -5, ERROR_ROLE), -5));
}

Test(error, gathers_context_on_the_way_up)
{
	cleanup_error struct error *err = NULL;
	int r = error_set_errno(&err, ENOSPC, "cannot flush");

	r = error_prefix(&err, r, "committing blob '%s'", "9f86");
	r = error_prefix(&err, r, "pulling '%s'", "weather:v3");
	cr_assert(eq(int, r, -ENOSPC));
	cr_assert(eq(int, err->code, ENOSPC));
	cr_assert(eq(str, err->message,
		     "pulling 'weather:v3': committing blob '9f86': "
		     "cannot flush: No space left on device"));
	cr_assert(eq(ptr, err->hint, NULL));
}

Test(error, derives_the_kind_from_the_code)
{
	static const struct {
		int code;
		enum error_kind kind;
	} cases[] = {
		{EINVAL, ERROR_VALIDATION},       {EBADMSG, ERROR_VALIDATION},
		{ERANGE, ERROR_VALIDATION},       {EOVERFLOW, ERROR_VALIDATION},
		{ENAMETOOLONG, ERROR_VALIDATION}, {ELOOP, ERROR_VALIDATION},
		{ENOENT, ERROR_DOWNLOAD},         {EIO, ERROR_DOWNLOAD},
		{ENOSPC, ERROR_DOWNLOAD},         {EACCES, ERROR_DOWNLOAD},
		{ETIMEDOUT, ERROR_DOWNLOAD},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup_error struct error *err = NULL;

		error_set(&err, cases[i].code, "x");
		cr_expect(eq(int, err->kind, cases[i].kind), "code %d",
			  cases[i].code);
	}
}

Test(error, keeps_a_kind_that_was_said)
{
	cleanup_error struct error *err = NULL;

	error_set_kind(&err, ERROR_NOT_FOUND, ENOENT, "no bundle '%s'", "a");
	cr_assert(eq(int, err->kind, ERROR_NOT_FOUND));
	error_prefix(&err, -ENOENT, "x");
	cr_assert(eq(int, err->kind, ERROR_NOT_FOUND));
	error_kind(&err, -ENOENT, ERROR_ROLE);
	cr_assert(eq(int, err->kind, ERROR_ROLE));
}

Test(error, keeps_the_first_hint)
{
	cleanup_error struct error *err = NULL;

	error_hint(&err, -1, "nothing to attach to");
	cr_assert(eq(ptr, err, NULL));
	error_set(&err, EIO, "x");
	error_hint(&err, -EIO, "run '%s'", "mops doctor");
	error_hint(&err, -EIO, "too late");
	cr_assert(eq(str, err->hint, "run 'mops doctor'"));
}

Test(error, propagates_to_the_caller_or_frees)
{
	cleanup_error struct error *out = NULL;
	struct error *err = NULL;

	error_set(&err, EIO, "inner");
	cr_assert(eq(int, error_propagate(&out, &err, -EIO), -EIO));
	cr_assert(eq(ptr, err, NULL));
	cr_assert(eq(str, out->message, "inner"));

	error_set(&err, EIO, "dropped");
	error_propagate(NULL, &err, -EIO);
	cr_assert(eq(ptr, err, NULL));
}

Test(error, copies_deeply)
{
	cleanup_error struct error *err = NULL, *copy = NULL;

	error_set_kind(&err, ERROR_CONFLICT, EEXIST, "m");
	error_hint(&err, 0, "h");
	copy = error_copy(err);
	cr_assert(ne(ptr, copy->message, err->message));
	cr_assert(eq(str, copy->message, "m"));
	cr_assert(eq(str, copy->hint, "h"));
	cr_assert(eq(int, copy->code, EEXIST));
	cr_assert(eq(int, copy->kind, ERROR_CONFLICT));
	cr_assert(eq(ptr, error_copy(NULL), NULL));
}

Test(error, names_are_those_that_scripts_rely_on)
{
	cr_assert(eq(str, error_kind_name(1), "BundleNotFound"));
	cr_assert(eq(str, error_kind_name(2), "ValidationError"));
	cr_assert(eq(str, error_kind_name(3), "DownloadError"));
	cr_assert(eq(str, error_kind_name(10), "UnsupportedMediaType"));
	cr_assert(eq(str, error_kind_name(11), "RoleLayerMismatch"));
	cr_assert(eq(str, error_kind_name(12), "WorkdirConflict"));
}
