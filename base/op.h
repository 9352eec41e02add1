/*
 * What bounds one operation: when it must end, who may cancel it, what it
 * reports. Passed down unchanged from the edge to the network.
 *
 * A NULL op is valid: no deadline, not cancellable, no counting.
 */
#ifndef BASE_OP_H
#define BASE_OP_H

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
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

/* For loops that touch no network: 0, -ECANCELED or -ETIMEDOUT. */
static inline int op_go_on(const struct op *op, struct error **errp)
{
	if (op_cancelled(op))
		return error_set(errp, ECANCELED, "cancelled");
	if (op_deadline(op) != TIME_NEVER && time_mono_ns() >= op_deadline(op))
		return error_set(errp, ETIMEDOUT, "out of time");
	return 0;
}

static inline void op_count_in(const struct op *op, uint64_t n)
{
	if (op && op->bytes_in)
		atomic_fetch_add(op->bytes_in, n);
}

static inline void op_count_out(const struct op *op, uint64_t n)
{
	if (op && op->bytes_out)
		atomic_fetch_add(op->bytes_out, n);
}

#endif
