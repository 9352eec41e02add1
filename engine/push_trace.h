/*
 * The trace that a push attaches to its manifest.
 *
 * Threads: one.
 */
#ifndef ENGINE_PUSH_TRACE_H
#define ENGINE_PUSH_TRACE_H

#include "engine/scan.h"
#include "storage/registry.h"

struct push_trace {
	struct registry *registry;
	const char *repo;
	const struct strbuf *manifest; /* what it is about */
	const char *text;
	size_t len;
};

/* A file, checked. *@ret is on the heap. */
int push_trace_read(const char *path, char **ret, size_t *ret_len,
		    struct error **errp);
/* A trace of something else is allowed, and of no use: warn. */
void push_trace_compare(const struct push_trace *t, const struct inventory *inv,
			char ***warnings);
/* Put manifest and trace. @ret: of the manifest that refers to it. */
int push_trace_attach(const struct push_trace *t, struct digest *ret,
		      const struct op *op, struct error **errp);

#endif
