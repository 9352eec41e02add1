/*
 * Uploads: a session is opened, the blob goes to its Location, the last word
 * is the digest. A Location is opaque, may lead elsewhere, and the newest one
 * counts.
 *
 *   where we are                  what is sent
 *   a location is known           GET: how far did it come? Gone: open another
 *   nothing was taken yet         PUT of the whole blob
 *   part of it was taken          PATCH of the rest, then an empty PUT
 *   too large for the server,     PATCHes of a chunk each, then an empty PUT;
 *   or cut off twice              smaller chunks when these do not go either
 *
 * What the server says of an offset is believed only as a question about the
 * session: the digest of the whole decides.
 */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/strbuf.h"
#include "storage/http_headers.h"
#include "storage/registry_http_internal.h"
#include "storage/upload_record.h"

#define FORGET_MS    2000        /* for closing a session that is of no use */
#define RESUME_MIN   (16u << 20) /* smaller ones are not recorded */
#define CHUNK_FIRST  (64u << 20)
#define CHUNK_MIN    (1u << 20)
#define CUTS_ALLOWED 2 /* of requests of one size */
#define REALIGNMENTS 5 /* answers of 416 in a row */
#define CONTENT      "application/octet-stream"

/* A piece of the blob as a feed of its own. Remembers how far the other side
 * has come: going further than ever before is progress, coming as far again
 * is not. */
struct piece {
	struct feed feed;
	struct feed *blob;
	uint64_t off;
	uint64_t *reached;
};

static int piece_pread(struct feed *f, void *buf, size_t n, uint64_t off,
		       struct error **errp)
{
	struct piece *p = (struct piece *)f;

	*p->reached = MAX(*p->reached, p->off + off);
	return p->blob->pread(p->blob, buf, n, p->off + off, errp);
}

struct upload {
	struct registry_http *h;
	const char *repo;
	const struct digest *digest;
	struct feed *blob;
	uint64_t reached;

	struct http_url at; /* host NULL: no session */
	bool stranger;      /* a foreign host said that it is there */
	bool inherited;     /* opened by an earlier run */
	uint64_t offset;    /* taken by it */
	uint64_t chunk;     /* 0: all in one */
	uint64_t chunk_min; /* the registry's wish */
	unsigned cuts;
	unsigned realigned;
	struct upload_record record;
	const struct op *op;
};

/* What an attempt that got an answer amounts to. */
static enum attempt refused(struct upload *u, struct http_response *r,
			    struct error **errp)
{
	enum attempt a = attempt_of_status(r->status);

	r->code = registry_http_refused(u->h, r, NULL, errp);
	return a == ATTEMPT_OK ? ATTEMPT_PROTOCOL : a;
}

/*
 * The session.
 */

void registry_http_close_session(struct registry_http *h, const char *repo,
				 const struct http_url *at, bool stranger,
				 const struct op *op)
{
	cleanup_http_response struct http_response answer = {.retry_after_ms =
								     -1};
	struct op brief = op ? *op : (struct op)OP_INIT;
	const struct registry_call c = {
		.repo = repo,
		.access = ACCESS_PUSH,
		.method = HTTP_DELETE,
		.url = at,
		.stranger = stranger,
		.max_body = SMALL_BODY_MAX,
	};
	struct retry retry;

	brief.deadline_ns = MIN(brief.deadline_ns, time_deadline_ms(FORGET_MS));
	retry_init(&retry, &h->times, brief.deadline_ns);
	registry_http_once(h, &c, &retry, &answer, &brief, NULL);
}

static void leave_session(struct upload *u)
{
	http_url_release(&u->at);
	u->at = (struct http_url){0};
	u->stranger = false;
	u->inherited = false;
	u->offset = 0;
}

/* Go on where the answer says; one without a Location goes on where it was. */
static enum attempt move_on(struct upload *u, const struct http_url *asked,
			    struct http_response *r, bool required,
			    struct error **errp)
{
	struct http_url next = {0};

	if (!required && !http_response_header(r, "location"))
		return ATTEMPT_OK;
	r->code = registry_http_location(asked, r, &next, errp);
	if (r->code < 0)
		return ATTEMPT_PROTOCOL;
	http_url_release(&u->at);
	u->at = next;
	u->stranger |= r->strayed;
	/* Who goes on with it would not know whose word this is. */
	if (u->stranger && http_url_same_origin(&u->at, &u->h->origin))
		upload_record_remove(&u->record);
	else
		upload_record_set(&u->record, &u->at);
	return ATTEMPT_OK;
}

static enum attempt open_session(struct upload *u, const struct retry *retry,
				 struct http_response *answer,
				 struct error **errp)
{
	cleanup_free char *path = xasprintf("/v2/%s/blobs/uploads/", u->repo);
	cleanup_http_url struct http_url asked = {0};
	const struct registry_call c = {
		.repo = u->repo,
		.access = ACCESS_PUSH,
		.method = HTTP_POST,
		.path = path,
		.max_body = SMALL_BODY_MAX,
	};
	enum attempt a =
		registry_http_once(u->h, &c, retry, answer, u->op, errp);
	const char *min;

	if (a != ATTEMPT_OK)
		return a;
	if (answer->status != 202)
		return refused(u, answer, errp);
	min = http_response_header(answer, "oci-chunk-min-length");
	if (!min || !http_parse_length(min, &u->chunk_min))
		u->chunk_min = 0;
	registry_http_url_at(u->h, path, &asked);
	return move_on(u, &asked, answer, true, errp);
}

/* How far a session came; *@ret_known false: it is of no use. */
static enum attempt ask_session(struct upload *u, const struct retry *retry,
				bool *ret_known, struct http_response *answer,
				struct error **errp)
{
	cleanup_http_url struct http_url asked = {0};
	const struct registry_call c = {
		.repo = u->repo,
		.access = ACCESS_PUSH,
		.url = &asked,
		.stranger = u->stranger,
		.max_body = SMALL_BODY_MAX,
	};
	uint64_t next = 0;
	const char *range;
	enum attempt a;

	*ret_known = false;
	http_response_release(answer);
	http_url_copy(&u->at, &asked);
	a = registry_http_once(u->h, &c, retry, answer, u->op, errp);
	if (a != ATTEMPT_OK)
		return a;
	if (attempt_of_status(answer->status) == ATTEMPT_BUSY)
		return refused(u, answer, errp);
	range = http_response_header(answer, "range");
	*ret_known = answer->status == 204 &&
		     (!range || http_parse_upload_range(range, &next)) &&
		     next <= u->blob->size &&
		     move_on(u, &asked, answer, false, NULL) == ATTEMPT_OK;
	if (*ret_known)
		log_debug("upload of '%s': %llu of %llu bytes are there",
			  digest_to_str(u->digest).str,
			  (unsigned long long)next,
			  (unsigned long long)u->blob->size);
	u->offset = *ret_known ? next : 0;
	return ATTEMPT_OK;
}

/* After an answer that does not fit what was sent: ATTEMPT_RESET unless the
 * session is at @want (any offset: UINT64_MAX). */
static enum attempt realign(struct upload *u, const struct retry *retry,
			    uint64_t want, struct http_response *answer,
			    struct error **errp)
{
	bool known;
	enum attempt a = ask_session(u, retry, &known, answer, errp);

	if (a != ATTEMPT_OK ||
	    (known && (want == UINT64_MAX || u->offset == want)))
		return a;
	leave_session(u);
	error_set(errp, EPROTO, "the registry lost count of the upload");
	return ATTEMPT_RESET;
}

/* A session that goes on, or a new one. */
static enum attempt have_session(struct upload *u, const struct retry *retry,
				 struct http_response *answer,
				 struct error **errp)
{
	enum attempt a = ATTEMPT_OK;
	bool known = false;

	if (u->at.host)
		a = ask_session(u, retry, &known, answer, errp);
	if (a != ATTEMPT_OK || known)
		return a;
	leave_session(u);
	http_response_release(answer);
	return open_session(u, retry, answer, errp);
}

/*
 * The bytes.
 */

static void add_digest(struct http_url *u, const struct digest *d)
{
	struct strbuf sb = STRBUF_INIT;

	if (u->query && *u->query)
		strbuf_addf(&sb, "%s&", u->query);
	strbuf_addf(&sb, "digest=sha256%%3A%s", digest_to_hex(d).str);
	free(u->query);
	u->query = strbuf_steal(&sb);
}

/* The closing PUT, with the whole blob or with nothing more. */
static enum attempt send_last(struct upload *u, struct feed *body,
			      const struct retry *retry,
			      struct http_response *answer, struct error **errp)
{
	cleanup_http_url struct http_url url = {0};
	const struct registry_call c = {
		.repo = u->repo,
		.access = ACCESS_PUSH,
		.method = HTTP_PUT,
		.url = &url,
		.stranger = u->stranger,
		.content_type = CONTENT,
		.body = body,
		.body_once = true,
		.max_body = SMALL_BODY_MAX,
	};
	enum attempt a;

	http_response_release(answer);
	http_url_copy(&u->at, &url);
	add_digest(&url, u->digest);
	a = registry_http_once(u->h, &c, retry, answer, u->op, errp);
	if (a != ATTEMPT_OK || answer->status == 201 || answer->status == 204)
		return a;
	return refused(u, answer, errp);
}

static enum attempt send_whole(struct upload *u, const struct retry *retry,
			       struct http_response *answer,
			       struct error **errp)
{
	struct piece p = {
		.feed = {.size = u->blob->size, .pread = piece_pread},
		.blob = u->blob,
		.reached = &u->reached,
	};

	return send_last(u, &p.feed, retry, answer, errp);
}

/* A server that took another number of bytes, or says so, is asked once more.
 */
static enum attempt took(struct upload *u, const struct retry *retry,
			 uint64_t want, struct http_response *answer,
			 struct error **errp)
{
	const char *range = http_response_header(answer, "range");
	uint64_t next = want;

	u->offset = want;
	u->realigned = 0;
	if (!range || (http_parse_upload_range(range, &next) && next == want))
		return ATTEMPT_OK;
	return realign(u, retry, want, answer, errp);
}

static enum attempt send_piece(struct upload *u, const struct retry *retry,
			       struct http_response *answer,
			       struct error **errp)
{
	uint64_t left = u->blob->size - u->offset;
	uint64_t n = u->chunk ? MIN(u->chunk, left) : left;
	cleanup_free char *range =
		xasprintf("Content-Range: %llu-%llu",
			  (unsigned long long)u->offset,
			  (unsigned long long)(u->offset + n - 1));
	const char *headers[] = {range, NULL};
	struct piece p = {
		.feed = {.size = n, .pread = piece_pread},
		.blob = u->blob,
		.off = u->offset,
		.reached = &u->reached,
	};
	cleanup_http_url struct http_url asked = {0};
	const struct registry_call c = {
		.repo = u->repo,
		.access = ACCESS_PUSH,
		.method = HTTP_PATCH,
		.url = &asked,
		.stranger = u->stranger,
		.headers = headers,
		.content_type = CONTENT,
		.body = &p.feed,
		.body_once = true,
		.max_body = SMALL_BODY_MAX,
	};
	enum attempt a;

	http_response_release(answer);
	http_url_copy(&u->at, &asked);
	a = registry_http_once(u->h, &c, retry, answer, u->op, errp);
	if (a != ATTEMPT_OK)
		return a;
	if (answer->status == 416 && u->realigned++ < REALIGNMENTS)
		return realign(u, retry, UINT64_MAX, answer, errp);
	if (answer->status < 201 || answer->status > 204)
		return refused(u, answer, errp);
	a = move_on(u, &asked, answer, false, errp);
	return a == ATTEMPT_OK ? took(u, retry, p.off + n, answer, errp) : a;
}

static enum attempt send_rest(struct upload *u, const struct retry *retry,
			      struct http_response *answer, struct error **errp)
{
	enum attempt a = ATTEMPT_OK;

	while (a == ATTEMPT_OK && u->offset < u->blob->size)
		a = send_piece(u, retry, answer, errp);
	return a == ATTEMPT_OK ? send_last(u, NULL, retry, answer, errp) : a;
}

/*
 * The attempts.
 */

static enum attempt upload_once(struct upload *u, const struct retry *retry,
				struct http_response *answer,
				struct error **errp)
{
	enum attempt a;

	*answer = (struct http_response){.retry_after_ms = -1};
	a = have_session(u, retry, answer, errp);
	if (a != ATTEMPT_OK)
		return a;
	if (!u->offset && (!u->chunk || u->chunk >= u->blob->size))
		return send_whole(u, retry, answer, errp);
	return send_rest(u, retry, answer, errp);
}

/* Take smaller steps; false: these are as small as it gets. */
static bool shrink(struct upload *u)
{
	uint64_t was = u->chunk ? u->chunk : UINT64_MAX;
	uint64_t next = MIN((uint64_t)CHUNK_FIRST, was / 4);

	while (next >= u->blob->size && next > CHUNK_MIN)
		next /= 4;
	next = MAX(next, MAX((uint64_t)CHUNK_MIN, u->chunk_min));
	if (next >= was || next >= u->blob->size)
		return false;
	u->chunk = next;
	u->cuts = 0;
	return true;
}

/* Whether to try another way at once. */
static bool adapt(struct upload *u, enum attempt a,
		  const struct http_response *answer)
{
	if (a == ATTEMPT_REJECTED && answer->status == 413)
		return shrink(u);
	if (a == ATTEMPT_RESET && u->at.host && ++u->cuts >= CUTS_ALLOWED)
		shrink(u);
	return false;
}

/*
 * A failure of our own, or a final word, leaves a session that nobody will use.
 * It is kept when it can be found again and what it has is right: bytes that
 * could not be read now (they may come from another registry) can be later.
 */
static bool is_of_use(const struct upload *u, enum attempt a,
		      const struct http_response *answer)
{
	if (a != ATTEMPT_LOCAL)
		return a != ATTEMPT_REJECTED;
	return u->record.fd >= 0 && answer->code != -EBADMSG &&
	       answer->code != -ESTALE && answer->code != -EINVAL;
}

static void clean_up(struct upload *u, enum attempt a,
		     const struct http_response *answer)
{
	if (is_of_use(u, a, answer))
		return;
	if (u->at.host)
		registry_http_close_session(u->h, u->repo, &u->at, u->stranger,
					    u->op);
	leave_session(u);
	upload_record_remove(&u->record);
}

/* What an earlier run sent need not be the beginning of this blob. */
static bool begin_anew(struct upload *u, enum attempt a,
		       const struct http_response *answer)
{
	if (a != ATTEMPT_REJECTED || !u->inherited || !u->at.host)
		return false;
	log_debug("upload of '%s': what was there is refused (%ld)",
		  digest_to_str(u->digest).str, answer->status);
	clean_up(u, a, answer);
	return true;
}

/* The answer may have got lost rather than the upload. */
static bool is_there(struct upload *u, enum attempt a)
{
	uint64_t size = 0;

	if ((a != ATTEMPT_RESET && a != ATTEMPT_NOT_FOUND) ||
	    u->reached < u->blob->size / 2 || !u->blob->size)
		return false;
	return registry_http_has_blob(&u->h->registry, u->repo, u->digest,
				      &size, u->op, NULL) == 1 &&
	       size == u->blob->size;
}

static int upload(struct upload *u, struct error **errp)
{
	struct retry retry;
	int r = 0;

	retry_init(&retry, &u->h->times, op_deadline(u->op));
	retry.must_exist = true; /* a session that got lost is opened again */
	while (r == 0) {
		struct http_response answer;
		struct error *err = NULL;
		uint64_t before = u->reached;
		enum attempt a = upload_once(u, &retry, &answer, &err);
		bool done = a == ATTEMPT_OK || is_there(u, a);

		retry_progress(&retry, u->reached - before);
		if (done || adapt(u, a, &answer) || begin_anew(u, a, &answer)) {
			error_free(err);
			http_response_release(&answer);
			if (done)
				return 0;
			continue;
		}
		clean_up(u, a, &answer);
		r = http_again(&retry, a, &answer, u->op, &err, errp);
	}
	return r;
}

int registry_http_upload(struct registry_http *h, const char *repo,
			 const struct digest *d, struct feed *blob,
			 const struct op *op, struct error **errp)
{
	cleanup_free char *origin = http_url_str(&h->origin);
	cleanup_free char *key =
		xasprintf("%s %s %s", origin, repo, digest_to_str(d).str);
	struct upload u = {
		.h = h,
		.repo = repo,
		.digest = d,
		.blob = blob,
		.record = UPLOAD_RECORD_INIT,
		.op = op,
	};
	int r;

	if (blob->size >= RESUME_MIN)
		upload_record_open(h->uploads, key, &u.record, &u.at);
	u.inherited = u.at.host != NULL;
	r = upload(&u, errp);
	if (r == 0)
		upload_record_remove(&u.record);
	upload_record_release(&u.record);
	http_url_release(&u.at);
	return r;
}
