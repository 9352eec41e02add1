/*
 * Reading a range of a blob, whatever the server makes of it.
 *
 *   answer                          what follows
 *   206, exactly what was asked     deliver
 *   206, a shorter piece of it      deliver, ask for the rest
 *   206, anything else              not a byte of it; ask once without a range
 *   200                             the whole blob: skip to the range
 *   200 of another length           -EPROTO
 *   416                             -EPROTO: the blob has another size
 *   refused at a redirect's target  back to the registry, twice at most
 *   broken off                      resume at the first byte not delivered
 */
#include <errno.h>
#include <string.h>

#include "storage/http_headers.h"
#include "storage/http_range.h"
#include "storage/registry_http_internal.h"

#define TARGETS_TRIED 2

struct blob_read {
	struct http_range range;
	struct registry_http *h;
	const char *repo;
	const char *path;
	uint64_t size; /* of the blob */
	unsigned targets_refused;
	bool other_size; /* the answer that is arriving is of another blob */
};

static int other_size(struct blob_read *b, struct error **errp)
{
	b->other_size = true;
	return error_set_kind(errp, ERROR_VALIDATION, EPROTO,
			      "it is not of the size that was expected");
}

static int on_head(void *ctx, const struct http_response *head,
		   struct error **errp)
{
	struct blob_read *b = ctx;
	uint64_t total = UINT64_MAX;
	int r;

	if (head->status != 206 && head->status != 200)
		return 0;
	r = http_range_on_head(&b->range, head, &total, errp);
	if (r == 0 && total != UINT64_MAX && total != b->size)
		return other_size(b, errp);
	if (r == 0 && head->status == 200)
		b->range.room = b->size;
	return r;
}

/* One request. *@ret_at_target: not the registry itself answered. */
static enum attempt read_once(struct blob_read *b, const struct retry *retry,
			      struct http_response *ret, bool *ret_at_target,
			      const struct op *op, struct error **errp)
{
	bool whole = b->range.pos == 0 && b->range.end == b->size;
	cleanup_free char *range = http_range_ask(&b->range, whole);
	cleanup_free char *line = range ? xasprintf("Range: %s", range) : NULL;
	cleanup_http_url struct http_url target = {0};
	const char *headers[] = {line, NULL};
	struct registry_call c = {
		.repo = b->repo,
		.headers = headers,
		.sink = &b->range.sink,
		.max_body = b->size,
		.follow = true,
		.on_head = on_head,
		.ctx = b,
	};
	bool known = registry_http_target_get(b->h, b->path, &target);
	enum attempt a;

	b->other_size = false;
	c.url = known ? &target : NULL;
	c.path = known ? NULL : b->path;
	a = registry_http_once(b->h, &c, retry, ret, op, errp);
	*ret_at_target = known || ret->redirected;
	/* A place of the registry's own that a foreign host chose is not kept:
	 * the next read would show our name there. */
	if (!known && ret->redirected && a == ATTEMPT_OK &&
	    attempt_of_status(ret->status) == ATTEMPT_OK &&
	    !(ret->strayed &&
	      http_url_same_origin(&ret->final_url, &b->h->origin)))
		registry_http_target_set(b->h, b->path, &ret->final_url);
	return a;
}

/* Answers that a fresh redirect may cure. */
static bool is_stale_target(enum attempt a, const struct http_response *r)
{
	if (a != ATTEMPT_OK)
		return a == ATTEMPT_CONNECT || a == ATTEMPT_DNS_UNKNOWN ||
		       a == ATTEMPT_DNS_TEMPORARY;
	return r->status == 400 || r->status == 401 || r->status == 403 ||
	       r->status == 404 || r->status == 410;
}

/* What the attempt amounts to; ATTEMPT_OK: its answer was taken whole. */
static enum attempt judge(struct blob_read *b, enum attempt a,
			  struct http_response *r, struct error **errp)
{
	if (a == ATTEMPT_TOO_BIG) {
		error_free(steal_ptr(errp));
		other_size(b, errp);
	}
	if (b->other_size)
		return ATTEMPT_RANGE;
	if (a != ATTEMPT_OK)
		return a;
	if (r->status == 200 || r->status == 206) {
		if (b->range.room == 0)
			return ATTEMPT_OK;
		error_set(errp, EIO, "the answer ended early");
		return ATTEMPT_RESET;
	}
	r->code = registry_http_refused(b->h, r, NULL, errp);
	if (r->status == 416)
		error_kind(errp, -EPROTO, ERROR_VALIDATION);
	a = attempt_of_status(r->status);
	return a == ATTEMPT_OK ? ATTEMPT_PROTOCOL : a;
}

/* After a failure: 0 to go on, or -errno. */
static int recover(struct blob_read *b, struct retry *retry, enum attempt a,
		   struct http_response *r, bool at_target, const struct op *op,
		   struct error **take_err, struct error **errp)
{
	bool again = false;

	if (at_target && (a == ATTEMPT_UNAUTHORIZED || a == ATTEMPT_FORBIDDEN ||
			  is_stale_target(r->status ? ATTEMPT_OK : a, r))) {
		registry_http_target_forget(b->h, b->path);
		again = ++b->targets_refused <= TARGETS_TRIED;
	}
	if (b->range.bad && !b->range.no_range)
		again = b->range.no_range = true;
	if (!again)
		return http_again(retry, a, r, op, take_err, errp);
	http_response_release(r);
	error_free(steal_ptr(take_err));
	return 0;
}

static int read_all(struct blob_read *b, const struct op *op,
		    struct error **errp)
{
	struct http_range *g = &b->range;
	struct retry retry;
	int r = 0;

	retry_init(&retry, &b->h->times, op_deadline(op));
	retry.must_exist = !b->h->mirror_of;
	while (r == 0 && g->pos < g->end) {
		struct http_response answer;
		struct error *err = NULL;
		uint64_t before = g->pos;
		bool at_target = false;
		enum attempt a =
			read_once(b, &retry, &answer, &at_target, op, &err);

		retry_progress(&retry, g->pos - before);
		if (!g->enough)
			a = judge(b, a, &answer, &err);
		if (g->enough || a == ATTEMPT_OK) {
			error_free(err);
			http_response_release(&answer);
		} else {
			r = recover(b, &retry, a, &answer, at_target, op, &err,
				    errp);
		}
	}
	return r;
}

int registry_http_read_blob(struct registry *r, const char *repo,
			    const struct digest *d, uint64_t size, uint64_t off,
			    uint64_t len, struct sink *sink,
			    const struct op *op, struct error **errp)
{
	struct registry_http *h = registry_http_of(r);
	cleanup_free char *path = NULL;
	struct blob_read b = {
		.h = h,
		.repo = repo,
		.size = size,
	};
	int rc = registry_check_names(repo, NULL, errp);

	if (rc < 0)
		return rc;
	if (off > size || len > size - off)
		return error_set(errp, EINVAL, "a range beyond blob '%s'",
				 digest_to_str(d).str);
	path = registry_http_blob_path(repo, d);
	b.path = path;
	http_range_init(&b.range, sink, off, len);
	rc = read_all(&b, op, errp);
	if (rc < 0)
		return error_prefix(errp, rc, "reading blob '%s' of '%s/%s'",
				    digest_to_str(d).str, h->host, repo);
	return 0;
}

/* A sink that wants nothing. */
static int refuse_bytes(struct sink *s, const void *buf, size_t n,
			struct error **errp)
{
	return error_set(errp, ECANCELED, "enough");
}

struct size_probe {
	bool known;
	uint64_t size;
};

static int note_size(void *ctx, const struct http_response *head,
		     struct error **errp)
{
	const char *s = http_response_header(head, "content-range");
	const char *len = http_response_header(head, "content-length");
	struct size_probe *p = ctx;
	struct content_range cr;

	if (head->status == 206 && s && http_parse_content_range(s, &cr) &&
	    cr.total != UINT64_MAX) {
		p->size = cr.total;
		p->known = true;
	} else if (head->status == 200 && len) {
		p->known = http_parse_length(len, &p->size);
	}
	return 0;
}

/* Where HEAD is not allowed, the first byte tells as much. */
static int has_by_get(struct registry_http *h, const char *repo,
		      const char *path, const char *what, uint64_t *ret_size,
		      const struct op *op, struct error **errp)
{
	static const char *const headers[] = {"Range: bytes=0-0", NULL};
	struct http_response answer;
	struct sink sink = {.write = refuse_bytes};
	struct size_probe probe = {0};
	const struct registry_call c = {
		.repo = repo,
		.path = path,
		.headers = headers,
		.sink = &sink,
		.max_body = INT64_MAX,
		.follow = true,
		.on_head = note_size,
		.ctx = &probe,
	};
	struct error *err = NULL;
	int r = registry_http_call(h, &c, &answer, op, &err);

	if (probe.known) { /* we broke it off after its head */
		if (ret_size)
			*ret_size = probe.size;
		if (r == 0)
			http_response_release(&answer);
		error_free(err);
		return 1;
	}
	if (r < 0)
		return error_propagate(errp, &err, r);
	/* bytes=0-0 of an empty blob */
	if (answer.status == 416 && ret_size)
		*ret_size = 0;
	r = answer.status == 416
		    ? 1
		    : registry_http_refused(h, &answer, what, errp);
	http_response_release(&answer);
	return r;
}

static int has_by_head(struct registry_http *h, const char *repo,
		       const char *path, uint64_t *ret_size,
		       struct http_response *answer, const struct op *op,
		       struct error **errp)
{
	const struct registry_call c = {
		.repo = repo,
		.method = HTTP_HEAD,
		.path = path,
		.follow = true,
	};
	uint64_t size = 0;
	const char *s;
	int r = registry_http_call(h, &c, answer, op, errp);

	if (r < 0 || answer->status != 200)
		return r < 0 ? r : 0;
	s = http_response_header(answer, "content-length");
	if (!s || !http_parse_length(s, &size))
		return 0;
	if (ret_size)
		*ret_size = size;
	return 1;
}

int registry_http_has_blob(struct registry *r, const char *repo,
			   const struct digest *d, uint64_t *ret_size,
			   const struct op *op, struct error **errp)
{
	cleanup_http_response struct http_response answer = {.retry_after_ms =
								     -1};
	struct registry_http *h = registry_http_of(r);
	cleanup_free char *path = NULL;
	cleanup_free char *what = NULL;
	int rc = registry_check_names(repo, NULL, errp);

	if (rc < 0)
		return rc;
	path = registry_http_blob_path(repo, d);
	what = xasprintf("blob '%s' of '%s/%s'", digest_to_str(d).str, h->host,
			 repo);
	rc = has_by_head(h, repo, path, ret_size, &answer, op, errp);
	if (rc < 0)
		return error_prefix(errp, rc, "%s", what);
	if (rc == 0 && !(answer.status == 404 && !answer.redirected)) {
		struct error *err = NULL;

		rc = has_by_get(h, repo, path, what, ret_size, op, &err);
		if (rc != -ENOENT)
			return error_propagate(errp, &err, rc);
		error_free(err);
		return 0;
	}
	return rc;
}
