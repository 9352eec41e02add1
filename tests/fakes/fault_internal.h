/*
 * What both fault injectors are made of: the decision which call is hit, and
 * a sink and a feed that shorten or corrupt what passes.
 */
#ifndef TESTS_FAULT_INTERNAL_H
#define TESTS_FAULT_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/lock.h"
#include "base/op.h"
#include "tests/fakes/fakes.h"
#include "storage/sink.h"

/* Threads: any. @fault does not change after init. */
struct fault_state {
	struct mutex lock;
	struct fault fault;
	bool armed;
	unsigned calls;
};
/* @fault NULL: count only. */
void fault_state_init(struct fault_state *s, const struct fault *fault);
void fault_state_release(struct fault_state *s);
unsigned fault_state_calls(struct fault_state *s);

/*
 * Count a call. 0: go on; 1: go on and let the fault act on the bytes; else
 * the error that was injected (or the op's own, which ended during a delay).
 */
int fault_hit(struct fault_state *s, const char *call, const struct op *op,
	      struct error **errp);

/* CORRUPT: @buf holds the bytes from @off of @total; others: nothing. */
void fault_flip(const struct fault *f, void *buf, size_t n, uint64_t off,
		uint64_t total);
/* SHORTEN: what is left of @len; others: @len. */
uint64_t fault_length(const struct fault *f, uint64_t len);

/* @fault NULL in both: only counted. @total: bytes that will pass. */
struct fault_sink {
	struct sink sink;
	struct sink *inner;
	uint64_t bytes, total;
	const struct fault *fault;
};
void fault_sink_init(struct fault_sink *s, struct sink *inner, uint64_t total,
		     const struct fault *fault);

struct fault_feed {
	struct feed feed;
	struct feed *inner;
	uint64_t bytes;
	const struct fault *fault;
};
void fault_feed_init(struct fault_feed *f, struct feed *inner,
		     const struct fault *fault);

#endif
