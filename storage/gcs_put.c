/*
 * Resumable uploads: a session is opened for an object that is not there yet,
 * then pieces are sent in order.
 *
 *   answer to a piece        what follows
 *   308, Range: bytes=0-N    go on at N + 1; without Range at 0
 *   200, 201                 the object is there
 *   failed, or refused       ask the session how far it is, go on there: it
 *                            may have more than an answer told us
 *   404, 410                 the session is gone: a new one, once more
 *
 * Each piece is hashed before it is sent; the last one goes out only when the
 * whole is what it should be.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "storage/gcs_internal.h"
#include "storage/http_headers.h"

#define SESSIONS_MAX 2
#define ID_MAX       2048

struct session_upload {
	struct gcs *g;
	const struct pointer_uri *uri;
	struct feed *feed;
	const struct digest *want;
	char id[ID_MAX];
	struct hasher *whole;
	uint64_t hashed; /* of @feed, in order */
	uint64_t at;     /* what the session has */
	bool done;
};

static void upload_release(struct session_upload *u)
{
	hasher_free(u->whole);
}
#define cleanup_upload __attribute__((cleanup(upload_release)))

/* "upload_id" in the query of the Location, decoded; where that is does not
 * matter: a session is asked at the endpoint only. */
static bool take_id(const struct http_response *r, char ret[ID_MAX])
{
	const char *s = http_response_header(r, "location");
	const char *p = s ? strchr(s, '?') : NULL;

	while (p && strncmp(p + 1, "upload_id=", 10) != 0)
		p = strchr(p + 1, '&');
	if (!p)
		return false;
	p += 11;
	if (strcspn(p, "&") >= ID_MAX || !*p)
		return false;
	snprintf(ret, ID_MAX, "%.*s", (int)strcspn(p, "&"), p);
	/* Ids are made of unreserved bytes: anything else is none of ours. */
	for (p = ret; *p; p++)
		if (*p < 0x21 || *p > 0x7e || strchr("%&=?#+", *p))
			return false;
	return true;
}

static char *metadata_of(const struct digest *sha256)
{
	struct strbuf sb = STRBUF_INIT;
	struct json_writer w;

	json_writer_init(&w, &sb);
	json_begin_object(&w, NULL);
	json_put_str(&w, "contentType", "application/octet-stream");
	json_begin_object(&w, "metadata");
	json_put_str(&w, "sha256", digest_to_hex(sha256).str);
	json_end_object(&w);
	json_end_object(&w);
	return strbuf_steal(&sb);
}

static int open_session(struct session_upload *u, const struct op *op,
			struct error **errp)
{
	cleanup_http_response struct http_response r = {.retry_after_ms = -1};
	cleanup_free char *text = metadata_of(u->want);
	cleanup_free char *size =
		xasprintf("%llu", (unsigned long long)u->feed->size);
	const struct sign_pair headers[] = {{"X-Upload-Content-Length", size}};
	const struct sign_pair query[] = {
		{"ifGenerationMatch", "0"},
		{"name", u->uri->key},
		{"uploadType", "resumable"},
	};
	struct feed_mem body;
	const struct object_call c = {
		.method = HTTP_POST,
		.uri = u->uri,
		.kind = GCS_UPLOAD,
		.query = query,
		.n_query = ARRAY_SIZE(query),
		.headers = headers,
		.n_headers = 1,
		.body = &body.feed,
		.content_type = "application/json; charset=UTF-8",
		.max_body = OBJECT_ANSWER_MAX,
	};
	int rc;

	feed_mem_init(&body, text, strlen(text));
	rc = object_call(&u->g->http, &c, &r, op, errp);
	if (rc < 0)
		return rc;
	u->at = 0;
	return take_id(&r, u->id)
		       ? 0
		       : error_set(errp, EPROTO, "the store opened no upload");
}

/* How far the session is, from an answer of its own. */
static int take_progress(struct session_upload *u,
			 const struct http_response *r, struct error **errp)
{
	const char *s = http_response_header(r, "range");
	uint64_t last;

	if (r->status != 308) {
		u->done = true;
		return 0;
	}
	if (!s) {
		u->at = 0;
		return 0;
	}
	if (strncmp(s, "bytes=0-", 8) != 0 ||
	    !http_parse_length(s + 8, &last) || last >= u->feed->size)
		return error_set(errp, EPROTO,
				 "the upload is further than it can be");
	u->at = last + 1;
	return 0;
}

/* @n bytes at u->at; 0: ask how far it is. */
static enum attempt send_piece(struct session_upload *u, uint64_t n,
			       const struct retry *retry,
			       struct http_response *ret, const struct op *op,
			       struct error **errp)
{
	unsigned long long total = u->feed->size, at = u->at;
	cleanup_free char *range =
		n ? xasprintf("bytes %llu-%llu/%llu", at, at + n - 1, total)
		  : xasprintf("bytes */%llu", total);
	const struct sign_pair headers[] = {{"Content-Range", range}};
	const struct sign_pair query[] = {
		{"name", u->uri->key},
		{"upload_id", u->id},
		{"uploadType", "resumable"},
	};
	struct slice_feed body;
	const struct object_call c = {
		.method = HTTP_PUT,
		.uri = u->uri,
		.kind = GCS_SESSION,
		.query = query,
		.n_query = ARRAY_SIZE(query),
		.headers = headers,
		.n_headers = 1,
		.body = n ? &body.feed : NULL,
		.max_body = OBJECT_ANSWER_MAX,
	};

	slice_feed_init(&body, u->feed, u->at, n);
	return object_try(&u->g->http, &c, retry, ret, op, errp);
}

/* Hash up to @end; the whole must be right before its last byte goes out. */
static int hash_to(struct session_upload *u, uint64_t end, const struct op *op,
		   struct error **errp)
{
	unsigned char md5[16];
	struct digest piece, got;
	bool has_md5;
	int r;

	if (u->hashed >= end && u->feed->size)
		return 0;
	r = object_hash_piece(u->feed, u->hashed, end - u->hashed, u->whole,
			      &piece, md5, &has_md5, op, errp);
	if (r < 0)
		return r;
	u->hashed = end;
	if (end < u->feed->size)
		return 0;
	got = hasher_final(u->whole);
	if (!digest_equal(&got, u->want))
		return error_set(errp, EBADMSG,
				 "what is to be uploaded is '%s'",
				 digest_to_str(&got).str);
	return 0;
}

static int send_all(struct session_upload *u, const struct op *op,
		    struct error **errp)
{
	bool ask = false; /* the session, not send */
	uint64_t refused_at = UINT64_MAX;
	struct retry retry;
	int r = 0;

	retry_init(&retry, &u->g->http.times, op_deadline(op));
	while (r == 0 && !u->done) {
		uint64_t n = MIN(u->g->piece_size, u->feed->size - u->at);
		uint64_t before = u->at;
		struct http_response answer;
		struct error *err = NULL;
		enum attempt a;

		r = ask ? 0 : hash_to(u, u->at + n, op, errp);
		if (r < 0)
			return r;
		a = send_piece(u, ask ? 0 : n, &retry, &answer, op, &err);
		if (a == ATTEMPT_REJECTED && !ask && refused_at != u->at) {
			refused_at = u->at;
			error_free(err);
			http_response_release(&answer);
			ask = true;
			continue;
		}
		if (a != ATTEMPT_OK) {
			r = http_again(&retry, a, &answer, op, &err, errp);
			ask = true;
			continue;
		}
		r = take_progress(u, &answer, errp);
		http_response_release(&answer);
		if (!ask && !u->done && u->at <= before)
			return error_set(errp, EIO,
					 "the upload does not go on");
		if (u->at > before)
			retry_progress(&retry, u->at - before);
		ask = false;
	}
	return r;
}

int gcs_put(struct object_store *s, const struct pointer_uri *uri,
	    struct feed *feed, const struct digest *sha256, const struct op *op,
	    struct error **errp)
{
	struct object_http *h = object_http_of(s);
	cleanup_upload struct session_upload u = {
		.g = gcs_of(h),
		.uri = uri,
		.feed = feed,
		.want = sha256,
		.whole = hasher_new(),
	};
	struct error *err = NULL;
	int r = object_present(h, uri, feed->size, sha256, op, errp);

	if (r != 0)
		return r < 0 ? r : 0;
	for (int i = 0; i < SESSIONS_MAX; i++) {
		error_free(steal_ptr(&err));
		r = open_session(&u, op, &err);
		if (r == 0)
			r = send_all(&u, op, &err);
		if (r != -ENOENT)
			break;
	}
	return object_put_end(h, uri, feed->size, sha256, r, op, &err, errp);
}
