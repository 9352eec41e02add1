#include "storage/http.h"

int http_code(enum attempt a, const struct http_response *r)
{
	return r->code < 0 ? r->code : -retry_rule(a)->code;
}

int http_again(struct retry *retry, enum attempt a, struct http_response *r,
	       const struct op *op, struct error **take_err,
	       struct error **errp)
{
	int64_t wait = retry_next_ms(retry, a, r->retry_after_ms);
	int code = http_code(a, r);

	http_response_release(r);
	if (wait >= 0) {
		a = retry_wait(wait, op);
		if (a == ATTEMPT_OK) {
			error_free(steal_ptr(take_err));
			return 0;
		}
		code = -retry_rule(a)->code;
		error_prefix(take_err, code, "%s", retry_rule(a)->what);
		if (*take_err)
			(*take_err)->code = -code;
	} else if (retry->attempts > 1) {
		error_prefix(take_err, code, "gave up after %u attempts",
			     retry->attempts);
	}
	return error_propagate(errp, take_err, code);
}
