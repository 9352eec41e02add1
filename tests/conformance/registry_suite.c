#include "tests/conformance/conformance.h"

#include <stdlib.h>

#include "base/alloc.h"

/* A repository that no run and no other case has used. */
static char *fresh_repo(const struct conformance *c, const char *prefix)
{
	return xasprintf("%s/%s-%d", prefix, conformance_run_id(), c->cases);
}

static void run_cases(struct conformance *c, struct registry *r,
		      const char *prefix, const struct registry_case *cases)
{
	for (; cases->name; cases++) {
		cleanup_free char *repo = fresh_repo(c, prefix);
		struct registry_fixture f = {.r = r, .repo = repo};

		conformance_begin(c);
		cases->run(c, &f);
		conformance_end(c, cases->name);
	}
}

void conformance_registry(struct conformance *c, struct registry *r,
			  const char *prefix)
{
	run_cases(c, r, prefix, registry_blob_cases);
	run_cases(c, r, prefix, registry_manifest_cases);
	run_cases(c, r, prefix, registry_concurrent_cases);
}
