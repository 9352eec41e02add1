#include "tests/fakes/fakes.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "tests/fakes/fault_internal.h"

struct object_store_fault {
	struct object_store store;
	struct object_store *inner;
	struct fault_state state;
};

static struct object_store_fault *fault_of(struct object_store *s)
{
	return (struct object_store_fault *)s;
}

static int fault_stat(struct object_store *s, const struct pointer_uri *uri,
		      struct object_info *ret, const struct op *op,
		      struct error **errp)
{
	struct object_store_fault *f = fault_of(s);
	int hit = fault_hit(&f->state, "stat", op, errp);

	return hit < 0 ? hit
		       : f->inner->ops->stat(f->inner, uri, ret, op, errp);
}

static int fault_read(struct object_store *s, const struct pointer_uri *uri,
		      const char *validator, uint64_t off, uint64_t len,
		      struct sink *sink, const struct op *op,
		      struct error **errp)
{
	struct object_store_fault *f = fault_of(s);
	int hit = fault_hit(&f->state, "read", op, errp);
	struct fault_sink fs;

	if (hit < 0)
		return hit;
	if (hit)
		len = fault_length(&f->state.fault, len);
	if (hit && len == 0)
		return 0;
	fault_sink_init(&fs, sink, len, hit ? &f->state.fault : NULL);
	return f->inner->ops->read(f->inner, uri, validator, off, len, &fs.sink,
				   op, errp);
}

static int fault_put(struct object_store *s, const struct pointer_uri *uri,
		     struct feed *feed, const struct digest *sha256,
		     const struct op *op, struct error **errp)
{
	struct object_store_fault *f = fault_of(s);
	int hit = fault_hit(&f->state, "put", op, errp);
	struct fault_feed ff;

	if (hit < 0)
		return hit;
	fault_feed_init(&ff, feed, hit ? &f->state.fault : NULL);
	return f->inner->ops->put(f->inner, uri, &ff.feed, sha256, op, errp);
}

static int fault_remove(struct object_store *s, const struct pointer_uri *uri,
			const struct op *op, struct error **errp)
{
	struct object_store_fault *f = fault_of(s);
	int hit = fault_hit(&f->state, "remove", op, errp);

	return hit < 0 ? hit : f->inner->ops->remove(f->inner, uri, op, errp);
}

static void fault_free(struct object_store *s)
{
	struct object_store_fault *f = fault_of(s);

	object_store_free(f->inner);
	fault_state_release(&f->state);
	free(f);
}

static const struct object_store_ops fault_ops = {
	.stat = fault_stat,
	.read = fault_read,
	.put = fault_put,
	.remove = fault_remove,
	.free = fault_free,
};

struct object_store *object_store_fault_new(struct object_store *inner,
					    const struct fault *fault)
{
	struct object_store_fault *f = xcalloc(1, sizeof(*f));

	f->store.ops = &fault_ops;
	f->inner = inner;
	fault_state_init(&f->state, fault);
	return &f->store;
}

unsigned object_store_fault_calls(struct object_store *s)
{
	return fault_state_calls(&fault_of(s)->state);
}
