#include "fs/unmount.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <sys/resource.h>

/* As long as nobody can tell, it may be there. */
Test(unmount, what_cannot_be_looked_for_is_not_gone)
{
	const struct mount_identity own = {0, 42, 0};
	struct rlimit l, none;

	cr_assert(eq(int, unmount_own("/nowhere/at/all", &own), 0));
	cr_assert(eq(int, getrlimit(RLIMIT_NOFILE, &l), 0));
	none = (struct rlimit){3, l.rlim_max};
	cr_assert(eq(int, setrlimit(RLIMIT_NOFILE, &none), 0));
	cr_expect(eq(int, unmount_own("/nowhere/at/all", &own), -EMFILE));
	cr_assert(eq(int, setrlimit(RLIMIT_NOFILE, &l), 0));
}
