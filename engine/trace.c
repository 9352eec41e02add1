#include "engine/trace.h"

#include <errno.h>
#include <string.h>

#include "base/path.h"

static int bad(const struct trace_reader *t, const char *what,
	       struct error **errp)
{
	return error_set_kind(errp, ERROR_VALIDATION, EINVAL,
			      "trace: line %llu: %s",
			      (unsigned long long)t->line, what);
}

int trace_begin(struct trace_reader *t, const void *text, size_t n,
		struct error **errp)
{
	const size_t head = strlen(TRACE_HEAD);

	*t = (struct trace_reader){.at = text, .line = 1};
	if (n > TRACE_BYTES_MAX)
		return error_set_kind(errp, ERROR_VALIDATION, EFBIG,
				      "a trace of more than %u bytes",
				      TRACE_BYTES_MAX);
	if (n < head || memcmp(text, TRACE_HEAD, head) != 0)
		return bad(t, "it is not that of a trace", errp);
	t->end = t->at + n;
	t->at += head;
	return 0;
}

/* Decimal, in the one way to write it, and a space behind it. NULL: it is not. */
static const char *take_number(const char *p, const char *end, uint32_t *ret)
{
	const char *from = p;
	uint64_t v = 0;

	for (; p < end && *p >= '0' && *p <= '9' && v <= UINT32_MAX; p++)
		v = 10 * v + (uint64_t)(*p - '0');
	if (p == from || (*from == '0' && p > from + 1) || v > UINT32_MAX ||
	    p == end || *p != ' ')
		return NULL;
	*ret = (uint32_t)v;
	return p + 1;
}

int trace_next(struct trace_reader *t, struct trace_record *ret,
	       struct error **errp)
{
	struct trace_record rec = {0};
	const char *p = t->at, *eol;
	const char *flaw;

	if (p == t->end)
		return 0;
	t->line++;
	eol = memchr(p, '\n', (size_t)(t->end - p));
	if (!eol)
		return bad(t, "it has no end", errp);
	p = take_number(p, eol, &rec.first);
	if (p)
		p = take_number(p, eol, &rec.count);
	if (!p || !rec.count || rec.first > UINT32_MAX - rec.count)
		return bad(t, "that is no row of chunks", errp);
	rec.path = p;
	rec.path_len = (size_t)(eol - p);
	flaw = path_flaw(p, rec.path_len);
	if (flaw)
		return bad(t, flaw, errp);
	t->at = eol + 1;
	*ret = rec;
	return 1;
}

int trace_check(const void *text, size_t n, struct error **errp)
{
	struct trace_reader t;
	struct trace_record rec;
	int r = trace_begin(&t, text, n, errp);

	if (r == 0)
		while ((r = trace_next(&t, &rec, errp)) > 0)
			;
	return r;
}

int trace_find(const struct trace_record *r, const struct tree *t,
	       uint32_t *ret_node)
{
	char path[PATH_BYTES_MAX + 1];

	memcpy(path, r->path, r->path_len); /* as trace_next() holds to */
	path[r->path_len] = '\0';
	return tree_find(t, path, ret_node, NULL);
}

void trace_write(const struct trace_record *r, struct strbuf *out)
{
	strbuf_addf(out, "%u %u ", r->first, r->count);
	strbuf_add(out, r->path, r->path_len);
	strbuf_addc(out, '\n');
}
