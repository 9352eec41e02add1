/*
 * So many bytes a second: a token bucket, for transfers and for reading disks.
 *
 * Threads: a rate_limit belongs to one thread, which never waits in it; a
 * rate_gate is for any, and they do.
 */
#ifndef BASE_RATE_LIMIT_H
#define BASE_RATE_LIMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/lock.h"
#include "base/op.h"

struct rate_limit {
	uint64_t per_second; /* 0: none */
	int64_t balance;     /* bytes that may pass now; may be negative */
	int64_t last_ns;
};

void rate_limit_init(struct rate_limit *r, uint64_t per_second);
/* True when @n bytes may pass now; then they are counted. */
bool rate_limit_take(struct rate_limit *r, size_t n);
/* Milliseconds until bytes may pass again, 0: now. */
int64_t rate_limit_wait_ms(struct rate_limit *r);

struct rate_gate {
	struct mutex lock;
	struct rate_limit limit;
};

void rate_gate_init(struct rate_gate *g, uint64_t per_second);
void rate_gate_release(struct rate_gate *g);
/* Wait until @n bytes may pass. 0; -ECANCELED or -ETIMEDOUT, by @op. */
int rate_gate_pass(struct rate_gate *g, size_t n, const struct op *op);

#endif
