/*
 * One policy for trying again, for every store.
 *
 * The budget of an operation counts only time without progress: bytes that
 * arrive move the deadline on, unless they come so slowly that it is a stall
 * by many requests. Backoff is 100 ms doubling to 10 s with
 * full jitter; a server's Retry-After is obeyed up to the remaining budget and
 * shared by all transfers to that host.
 *
 * The table itself (cause → retry, errno) is in retry.c and printed in
 * docs/operations.md.
 */
#ifndef STORAGE_RETRY_H
#define STORAGE_RETRY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/op.h"

/* What happened to one attempt. */
enum attempt {
	ATTEMPT_OK,
	ATTEMPT_DNS_TEMPORARY,
	ATTEMPT_DNS_UNKNOWN, /* no such host: 3 tries */
	ATTEMPT_CONNECT,     /* refused, unreachable, connect time-out */
	ATTEMPT_TLS,         /* certificate or protocol: never retried */
	ATTEMPT_RESET,       /* connection lost in the middle, short body */
	ATTEMPT_STALL,
	ATTEMPT_UNAUTHORIZED, /* 401 that credentials did not cure */
	ATTEMPT_FORBIDDEN,    /* 403 */
	ATTEMPT_NOT_FOUND,    /* 404, 410: one retry where the caller says
				   that the object must exist */
	ATTEMPT_BUSY,         /* 408, 425, 429, 500, 502, 503, 504 */
	ATTEMPT_RANGE,        /* 416, or a size that differs */
	ATTEMPT_PROTOCOL,     /* an answer that breaks the protocol */
	ATTEMPT_TOO_BIG,      /* more bytes than the caller allows */
	ATTEMPT_ADDRESS,      /* a redirect or an address that we refuse */
	ATTEMPT_REJECTED,     /* any other 4xx or 5xx */
	ATTEMPT_LOCAL,        /* the caller's own sink or feed failed */
	ATTEMPT_CANCELLED,
	ATTEMPT_DEADLINE, /* the operation's own deadline passed */
	ATTEMPT_KINDS
};

struct retry_rule {
	enum attempt attempt;
	unsigned tries; /* attempts in all; 0: until the budget is used up */
	int code;       /* errno when given up */
	const char *what;
};

const struct retry_rule *retry_rule(enum attempt a);
/* What a final status means: 2xx is ATTEMPT_OK, a 3xx that nobody followed is
 * ATTEMPT_PROTOCOL. */
enum attempt attempt_of_status(long http_status);

#define STALL_BYTES_S 1024 /* slower than this is as good as standing */

/* The times of the policy; from settings. */
struct retry_times {
	int64_t connect_ms; /* 10,000 */
	int64_t stall_ms;   /* 20,000 below STALL_BYTES_S */
	int64_t io_ms;      /* 120,000; INT64_MAX: hard */
};
extern const struct retry_times RETRY_TIMES_DEFAULT;

/* State of one operation's attempts. */
struct retry {
	const struct retry_times *times;
	int64_t deadline_ns; /* without progress; moved by retry_progress() */
	int64_t moved_ns;    /* when it was */
	uint64_t bytes;      /* that came since */
	int64_t hard_deadline_ns; /* the op's own */
	bool must_exist;   /* set by the caller: 404 deserves one more try */
	unsigned attempts; /* failed since the last progress */
	unsigned same;     /* of these, failed the same way in a row */
	enum attempt last;
};
void retry_init(struct retry *r, const struct retry_times *t,
		int64_t hard_deadline_ns);
/* @bytes more came. Counts as progress once all that came since the last time
 * makes STALL_BYTES_S. */
void retry_progress(struct retry *r, uint64_t bytes);
/*
 * After a failed attempt: milliseconds to wait before the next one, or -1 to
 * give up. @retry_after_ms is the server's wish, or -1.
 */
int64_t retry_next_ms(struct retry *r, enum attempt a, int64_t retry_after_ms);
/* When the operation is given up unless something moves: the earlier of the
 * two deadlines. */
int64_t retry_give_up_ns(const struct retry *r);
/* Wait. ATTEMPT_OK, or ATTEMPT_CANCELLED or ATTEMPT_DEADLINE as soon as @op
 * says so. */
enum attempt retry_wait(int64_t ms, const struct op *op);

#endif
