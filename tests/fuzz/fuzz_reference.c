/*
 * A reference that is accepted is written and read back the same, and leads
 * nowhere but to a host name or a folder without ':' and '@'.
 */
#include <assert.h>
#include <string.h>

#include "base/alloc.h"
#include "engine/reference.h"
#include "storage/registry.h"
#include "tests/fuzz/fuzz.h"

static void check(const struct reference *r)
{
	assert(r->registry && *r->registry);
	assert(r->tag || r->has_digest);
	assert(r->repo || (r->layout && r->has_digest));
	assert(!r->repo || repo_name_valid(r->repo));
	assert(!r->tag || tag_valid(r->tag));
	if (r->layout)
		assert(!strpbrk(r->registry, ":@"));
	else
		assert(!strpbrk(r->registry, "/@\\ ?#%"));
}

static void check_again(const struct reference *a)
{
	cleanup_reference struct reference b = {0};
	cleanup_free char *sa = reference_str(a), *sb = NULL;

	if (reference_parse(sa, NULL, &b, NULL) < 0)
		abort();
	sb = reference_str(&b);
	assert(strcmp(sa, sb) == 0);
	assert(a->layout == b.layout);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const defaults[] = {NULL, "r.example.com/team",
					       "oci:/srv/registry"};
	cleanup_free char *s = xstrndup((const char *)data, size);

	for (size_t i = 0; i < ARRAY_SIZE(defaults); i++) {
		cleanup_reference struct reference ref = {0};
		cleanup_error struct error *err = NULL;
		cleanup_free char *key = NULL;

		if (reference_parse(s, defaults[i], &ref, &err) < 0) {
			assert(err && !ref.text);
			continue;
		}
		assert(!reference_is_path(s));
		check(&ref);
		check_again(&ref);
		key = reference_cache_key(&ref);
		assert(!key == !ref.tag);
	}
	return 0;
}
