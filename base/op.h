/*
 * What bounds one operation: when it must end, who may cancel it, what it
 * reports. Passed down unchanged from the edge to the network.
 *
 * A NULL op is valid: no deadline, not cancellable, no counting.
 */
#ifndef BASE_OP_H
#define BASE_OP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/time.h"

struct op {
	int64_t deadline_ns;             /* of time_mono_ns(); TIME_NEVER */
	const atomic_bool *cancelled;    /* NULL, or set by another thread */
	atomic_uint_fast64_t *bytes_in;  /* NULL, or network bytes read */
	atomic_uint_fast64_t *bytes_out; /* NULL, or network bytes sent */
};

#define OP_INIT                           \
	{                                 \
		.deadline_ns = TIME_NEVER \
	}

static inline bool op_cancelled(const struct op *op)
{
	return op && op->cancelled &&
	       atomic_load_explicit(op->cancelled, memory_order_relaxed);
}

static inline int64_t op_deadline(const struct op *op)
{
	return op ? op->deadline_ns : TIME_NEVER;
}

#endif
