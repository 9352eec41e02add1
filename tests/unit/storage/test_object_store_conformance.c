/* One suite for every object store that needs no server. */
#include "base/alloc.h"
#include "storage/object_store.h"
#include "tests/conformance/conformance.h"
#include "tests/fakes/fakes.h"
#include "tests/lib/tmpdir.h"

static void test_file(struct conformance *c)
{
	cleanup_tmpdir char *folder = tmpdir_new();
	cleanup_free char *base = xasprintf("file://%s/below", folder);
	char *roots[] = {folder, NULL};
	struct object_store *s = object_store_file_new(roots);

	c->label = "file";
	conformance_object_store(c, s, base);
	object_store_free(s);
}

static void test_fake(struct conformance *c)
{
	struct object_store *s = object_store_fake_new();

	c->label = "fake s3";
	conformance_object_store(c, s, "s3://bucket/prefix");
	c->label = "fake az";
	conformance_object_store(c, s, "az://account/container/prefix");
	object_store_free(s);
}

static void test_fault(struct conformance *c)
{
	struct object_store *s =
		object_store_fault_new(object_store_fake_new(), NULL);

	c->label = "fault";
	conformance_object_store(c, s, "gs://bucket/prefix");
	object_store_free(s);
}

int main(void)
{
	struct conformance c = {.cases = 0};

	test_file(&c);
	test_fake(&c);
	test_fault(&c);
	return conformance_done(&c);
}
