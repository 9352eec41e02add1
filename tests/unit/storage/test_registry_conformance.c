/* One suite for every registry that needs no server. */
#include "base/alloc.h"
#include "storage/registry.h"
#include "tests/conformance/conformance.h"
#include "tests/fakes/fakes.h"
#include "tests/lib/tmpdir.h"

static struct registry *open_layout(void *ctx)
{
	return registry_layout_new(ctx);
}

static void test_layout(struct conformance *c)
{
	cleanup_tmpdir char *folder = tmpdir_new();
	cleanup_registry struct registry *r = registry_layout_new(folder);

	c->label = "layout";
	conformance_registry_processes(c, open_layout, folder, "c");
	conformance_registry(c, r, "c");
}

static void test_fake(struct conformance *c)
{
	cleanup_registry struct registry *r = registry_fake_new();

	c->label = "fake";
	conformance_registry(c, r, "c");
}

static void test_fault(struct conformance *c)
{
	/* A fault that no call reaches must change nothing. */
	struct fault never = {.action = FAULT_FAIL, .nth = 1000000, .code = 5};
	cleanup_registry struct registry *r =
		registry_fault_new(registry_fake_new(), &never);

	c->label = "fault";
	conformance_registry(c, r, "c");
}

int main(void)
{
	struct conformance c = {.cases = 0};

	test_layout(&c);
	test_fake(&c);
	test_fault(&c);
	return conformance_done(&c);
}
