#include "storage/http_range.h"

#include <errno.h>

#include "storage/http_headers.h"

static int write_wanted(struct sink *sink, const void *buf, size_t n,
			struct error **errp)
{
	struct http_range *g = (struct http_range *)sink;
	const char *p = buf;
	size_t skip, take;
	int r = 0;

	if (n > g->room)
		return error_set(errp, EPROTO, "more bytes than announced");
	g->room -= n;
	skip = (size_t)MIN((uint64_t)n, g->skip);
	g->skip -= skip;
	take = (size_t)MIN((uint64_t)(n - skip), g->end - g->pos);
	if (take)
		r = g->out->write(g->out, p + skip, take, errp);
	if (r < 0)
		return r;
	g->pos += take;
	g->enough = g->pos == g->end && g->room > 0;
	return g->enough ? error_set(errp, ECANCELED, "enough") : 0;
}

void http_range_init(struct http_range *g, struct sink *out, uint64_t off,
		     uint64_t len)
{
	*g = (struct http_range){
		.sink = {.write = write_wanted},
		.out = out,
		.pos = off,
		.end = off + len,
	};
}

char *http_range_ask(struct http_range *g, bool whole)
{
	g->bad = g->enough = false;
	g->skip = g->room = 0;
	g->asked_whole = g->no_range || whole;
	if (g->asked_whole)
		return NULL;
	return xasprintf("bytes=%llu-%llu", (unsigned long long)g->pos,
			 (unsigned long long)(g->end - 1));
}

static int bad_range(struct http_range *g, const char *why, struct error **errp)
{
	g->bad = true;
	return error_set(errp, EPROTO, "a range %s", why);
}

static int on_part(struct http_range *g, const struct http_response *head,
		   uint64_t *ret_total, struct error **errp)
{
	const char *s = http_response_header(head, "content-range");
	const char *len_s = http_response_header(head, "content-length");
	struct content_range cr;
	uint64_t len;

	if (g->asked_whole)
		return bad_range(g, "that nobody asked for", errp);
	if (!s || !http_parse_content_range(s, &cr))
		return bad_range(g, "that does not say which", errp);
	if (cr.first != g->pos || cr.last >= g->end)
		return bad_range(g, "other than asked for", errp);
	g->room = cr.last - cr.first + 1;
	if (len_s && http_parse_length(len_s, &len) && len != g->room)
		return bad_range(g, "of another length than it says", errp);
	*ret_total = cr.total;
	return 0;
}

int http_range_on_head(struct http_range *g, const struct http_response *head,
		       uint64_t *ret_total, struct error **errp)
{
	const char *s = http_response_header(head, "content-length");
	uint64_t len;

	if (head->status == 206)
		return on_part(g, head, ret_total, errp);
	g->skip = g->pos;
	g->room = INT64_MAX;
	*ret_total = UINT64_MAX;
	if (s && http_parse_length(s, &len))
		g->room = *ret_total = len;
	return 0;
}
