/*
 * A token bucket: bytes accrue with time, up to a tenth of a second's worth;
 * one piece may overdraw it, so a piece larger than the bucket still passes.
 */
#include "base/rate_limit.h"

#include "base/alloc.h"

#define BURST_PARTS 10
/* So often a waiter looks whether it is to end. */
#define NAP_MS 50

void rate_limit_init(struct rate_limit *r, uint64_t per_second)
{
	*r = (struct rate_limit){
		.per_second = MIN(per_second, (uint64_t)1 << 40),
		.last_ns = time_mono_ns(),
	};
}

static void accrue(struct rate_limit *r)
{
	int64_t now = time_mono_ns();
	int64_t burst = (int64_t)(r->per_second / BURST_PARTS) + 1;
	double add = (double)(now - r->last_ns) / 1e9 * (double)r->per_second;

	if (add < 1)
		return; /* keep the time until it is worth a byte */
	r->last_ns = now;
	if (add > (double)(burst - r->balance))
		r->balance = burst;
	else
		r->balance += (int64_t)add;
}

bool rate_limit_take(struct rate_limit *r, size_t n)
{
	if (!r->per_second)
		return true;
	accrue(r);
	if (r->balance <= 0)
		return false;
	r->balance -= (int64_t)n;
	return true;
}

int64_t rate_limit_wait_ms(struct rate_limit *r)
{
	if (!r->per_second)
		return 0;
	accrue(r);
	if (r->balance > 0)
		return 0;
	return (-r->balance + 1) * 1000 / (int64_t)r->per_second + 1;
}

void rate_gate_init(struct rate_gate *g, uint64_t per_second)
{
	mutex_init(&g->lock, LOCK_RATE);
	rate_limit_init(&g->limit, per_second);
}

void rate_gate_release(struct rate_gate *g)
{
	mutex_destroy(&g->lock);
}

/* 0 passed; else how long to wait before asking again. */
static int64_t gate_try(struct rate_gate *g, size_t n)
{
	int64_t wait = 0;

	mutex_lock(&g->lock);
	if (!rate_limit_take(&g->limit, n))
		wait = MAX(rate_limit_wait_ms(&g->limit), 1);
	mutex_unlock(&g->lock);
	return wait;
}

int rate_gate_pass(struct rate_gate *g, size_t n, const struct op *op)
{
	for (;;) {
		int r = op_go_on(op, NULL);
		int64_t wait;

		if (r < 0)
			return r;
		wait = gate_try(g, n);
		if (!wait)
			return 0;
		time_sleep_ms(MIN(wait, NAP_MS));
	}
}
