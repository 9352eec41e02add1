/*
 * A token bucket: bytes accrue with time, up to a tenth of a second's worth;
 * one piece may overdraw it, so a piece larger than the bucket still passes.
 */
#include "storage/http_internal.h"

#define BURST_PARTS 10

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
