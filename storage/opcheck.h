/* May a store go on with an operation? For loops that touch no network. */
#ifndef STORAGE_OPCHECK_H
#define STORAGE_OPCHECK_H

#include <errno.h>

#include "base/error.h"
#include "base/op.h"

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
