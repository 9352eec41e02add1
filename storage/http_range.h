/*
 * A range on its way from a server to a sink: what stands between the HTTP
 * client and who asked, whatever the server makes of "Range".
 *
 *   206, exactly what was asked   deliver
 *   206, a shorter piece of it    deliver; the caller asks for the rest
 *   206, anything else            not a byte of it: `bad`
 *   200                           the whole: skip to the range, stop after it
 *
 * Threads: belongs to the one that reads.
 */
#ifndef STORAGE_HTTP_RANGE_H
#define STORAGE_HTTP_RANGE_H

#include "storage/http.h"

struct http_range {
	struct sink sink; /* for the request */
	struct sink *out;
	uint64_t pos; /* first byte not delivered */
	uint64_t end;
	bool no_range; /* the server's ranges are wrong: ask for all */

	/* Of the answer that is arriving. */
	bool asked_whole;
	bool bad;
	bool enough; /* all came, we broke it off */
	uint64_t skip;
	uint64_t room; /* bytes it may still have */
};

void http_range_init(struct http_range *g, struct sink *out, uint64_t off,
		     uint64_t len);
/* Before each request. Returns the value of Range to send (heap), or NULL when
 * @whole, or since ranges do not work here. */
char *http_range_ask(struct http_range *g, bool whole);
/*
 * At the head of a 206 or 200. *@ret_total: the size of the whole, UINT64_MAX
 * when it is not said. -EPROTO: the answer is of no use, `bad` says whether
 * its range is why.
 */
int http_range_on_head(struct http_range *g, const struct http_response *head,
		       uint64_t *ret_total, struct error **errp);

#endif
