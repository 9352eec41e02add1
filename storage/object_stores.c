#include "storage/object_store.h"

#include <errno.h>

#include "base/alloc.h"

struct object_store *object_stores_for(const struct object_stores *s,
				       const struct pointer_uri *uri,
				       struct error **errp)
{
	struct object_store *store = NULL;

	if ((size_t)uri->scheme < ARRAY_SIZE(s->by_scheme))
		store = s->by_scheme[uri->scheme];
	if (!store && s->missing)
		error_set(errp, s->missing->code,
			  "no store for '%s://' here: %s",
			  uri_scheme_name(uri->scheme), s->missing->message);
	else if (!store)
		error_set(errp, EPROTONOSUPPORT, "no store for '%s://' here",
			  uri_scheme_name(uri->scheme));
	return store;
}

void object_stores_release(struct object_stores *s)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(s->by_scheme); i++) {
		object_store_free(s->by_scheme[i]);
		s->by_scheme[i] = NULL;
	}
	error_freep(&s->missing);
}
