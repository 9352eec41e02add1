#include "storage/retry.h"

#include <assert.h>
#include <errno.h>

#include "base/alloc.h"
#include "base/random.h"

#define BACKOFF_FIRST_MS 100
#define BACKOFF_MAX_MS   10000
#define WAIT_SLICE_MS    20 /* how late a cancellation may be noticed */

const struct retry_times RETRY_TIMES_DEFAULT = {
	.connect_ms = 10000,
	.stall_ms = 20000,
	.io_ms = 120000,
};

/* The policy. A row with 0 tries ends with its budget, hence ETIMEDOUT. */
static const struct retry_rule rules[ATTEMPT_KINDS] = {
	[ATTEMPT_OK] = {ATTEMPT_OK, 1, 0, "done"},
	[ATTEMPT_DNS_TEMPORARY] = {ATTEMPT_DNS_TEMPORARY, 0, ETIMEDOUT,
				   "name resolution failed for now"},
	[ATTEMPT_DNS_UNKNOWN] = {ATTEMPT_DNS_UNKNOWN, 3, EIO, "no such host"},
	[ATTEMPT_CONNECT] = {ATTEMPT_CONNECT, 0, ETIMEDOUT, "cannot connect"},
	[ATTEMPT_TLS] = {ATTEMPT_TLS, 1, EIO, "TLS failed"},
	[ATTEMPT_RESET] = {ATTEMPT_RESET, 0, ETIMEDOUT, "connection lost"},
	[ATTEMPT_STALL] = {ATTEMPT_STALL, 0, ETIMEDOUT, "stalled"},
	[ATTEMPT_UNAUTHORIZED] = {ATTEMPT_UNAUTHORIZED, 1, EACCES,
				  "unauthorized"},
	[ATTEMPT_FORBIDDEN] = {ATTEMPT_FORBIDDEN, 1, EACCES, "forbidden"},
	[ATTEMPT_NOT_FOUND] = {ATTEMPT_NOT_FOUND, 2, ENOENT, "not found"},
	[ATTEMPT_BUSY] = {ATTEMPT_BUSY, 0, ETIMEDOUT, "server busy"},
	[ATTEMPT_RANGE] = {ATTEMPT_RANGE, 1, EPROTO, "size differs"},
	[ATTEMPT_PROTOCOL] = {ATTEMPT_PROTOCOL, 1, EPROTO, "protocol violated"},
	[ATTEMPT_TOO_BIG] = {ATTEMPT_TOO_BIG, 1, EFBIG, "answer too large"},
	[ATTEMPT_ADDRESS] = {ATTEMPT_ADDRESS, 1, EIO, "address refused"},
	[ATTEMPT_REJECTED] = {ATTEMPT_REJECTED, 1, EIO, "request rejected"},
	[ATTEMPT_LOCAL] = {ATTEMPT_LOCAL, 1, EIO, "local failure"},
	[ATTEMPT_CANCELLED] = {ATTEMPT_CANCELLED, 1, ECANCELED, "cancelled"},
	[ATTEMPT_DEADLINE] = {ATTEMPT_DEADLINE, 1, ETIMEDOUT,
			      "deadline passed"},
};

const struct retry_rule *retry_rule(enum attempt a)
{
	assert(a < ATTEMPT_KINDS);
	return &rules[a];
}

enum attempt attempt_of_status(long status)
{
	if (status >= 200 && status < 300)
		return ATTEMPT_OK;
	switch (status) {
	case 401:
		return ATTEMPT_UNAUTHORIZED;
	case 403:
		return ATTEMPT_FORBIDDEN;
	case 404:
	case 410:
		return ATTEMPT_NOT_FOUND;
	case 408:
	case 425:
	case 429:
	case 500:
	case 502:
	case 503:
	case 504:
		return ATTEMPT_BUSY;
	case 416:
		return ATTEMPT_RANGE;
	default:
		return status >= 400 && status < 600 ? ATTEMPT_REJECTED
						     : ATTEMPT_PROTOCOL;
	}
}

void retry_init(struct retry *r, const struct retry_times *t,
		int64_t hard_deadline_ns)
{
	*r = (struct retry){
		.times = t,
		.deadline_ns = time_deadline_ms(t->io_ms),
		.moved_ns = time_mono_ns(),
		.hard_deadline_ns = hard_deadline_ns,
	};
}

void retry_progress(struct retry *r, uint64_t bytes)
{
	int64_t now = time_mono_ns();

	r->bytes += bytes;
	if (!bytes || r->bytes < (uint64_t)((now - r->moved_ns) / NS_PER_S) *
					 STALL_BYTES_S)
		return;
	r->moved_ns = now;
	r->bytes = 0;
	r->deadline_ns = time_deadline_ms(r->times->io_ms);
	r->attempts = 0;
	r->same = 0;
}

int64_t retry_give_up_ns(const struct retry *r)
{
	return MIN(r->deadline_ns, r->hard_deadline_ns);
}

/* Full jitter: many clients that failed together must not return together. */
static int64_t backoff_ms(unsigned attempts)
{
	int64_t ms = BACKOFF_FIRST_MS;

	while (--attempts > 0 && ms < BACKOFF_MAX_MS)
		ms *= 2;
	return (int64_t)random_below((uint64_t)MIN(ms, BACKOFF_MAX_MS) + 1);
}

static bool tries_used_up(const struct retry *r, enum attempt a)
{
	unsigned tries = retry_rule(a)->tries;

	if (a == ATTEMPT_NOT_FOUND && !r->must_exist)
		tries = 1;
	return tries && r->same >= tries;
}

int64_t retry_next_ms(struct retry *r, enum attempt a, int64_t retry_after_ms)
{
	int64_t left_ms, wait;

	r->attempts++;
	r->same = r->attempts > 1 && a == r->last ? r->same + 1 : 1;
	r->last = a;
	if (tries_used_up(r, a))
		return -1;
	left_ms = (retry_give_up_ns(r) - time_mono_ns()) / NS_PER_MS;
	if (left_ms <= 0)
		return -1;
	if (retry_after_ms < 0)
		return MIN(backoff_ms(r->attempts), left_ms);
	/* Coming early would be answered the same way. */
	if (retry_after_ms > left_ms)
		return -1;
	wait = retry_after_ms + (int64_t)random_below(BACKOFF_FIRST_MS);
	return MIN(wait, left_ms);
}

enum attempt retry_wait(int64_t ms, const struct op *op)
{
	int64_t end = time_deadline_ms(ms);
	int64_t now;

	for (;;) {
		if (op_cancelled(op))
			return ATTEMPT_CANCELLED;
		now = time_mono_ns();
		if (now >= op_deadline(op))
			return ATTEMPT_DEADLINE;
		if (now >= end)
			return ATTEMPT_OK;
		time_sleep_ms(MIN(WAIT_SLICE_MS, (end - now) / NS_PER_MS + 1));
	}
}
