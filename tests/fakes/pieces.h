/*
 * What a store in memory does with streams: all of @p to a sink, all of a feed
 * to @buf, in pieces; @op is looked at between them and counts.
 */
#ifndef TESTS_FAKES_PIECES_H
#define TESTS_FAKES_PIECES_H

#include "storage/sink.h"

int sink_put(struct sink *s, const char *p, uint64_t n, const struct op *op,
	     struct error **errp);
int feed_get(struct feed *f, char *buf, const struct op *op,
	     struct error **errp);

#endif
