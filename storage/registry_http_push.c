/*
 * Uploads: a session is opened, the blob goes to its Location in one request
 * whose last word is the digest. A Location is opaque and may lead elsewhere.
 */
#include <errno.h>
#include <string.h>

#include "base/strbuf.h"
#include "storage/registry_http_internal.h"

#define FORGET_MS 2000 /* for closing a session that is of no use */

/* Remembers how far the other side has come: going further than ever before
 * is progress, coming as far again is not. */
struct high_water {
	struct feed feed;
	struct feed *inner;
	uint64_t reached;
};

static int high_water_pread(struct feed *f, void *buf, size_t n, uint64_t off,
			    struct error **errp)
{
	struct high_water *w = (struct high_water *)f;

	w->reached = MAX(w->reached, off);
	return w->inner->pread(w->inner, buf, n, off, errp);
}

struct upload {
	struct registry_http *h;
	const char *repo;
	const struct digest *digest;
	struct high_water feed;
};

static void add_digest(struct http_url *u, const struct digest *d)
{
	struct strbuf sb = STRBUF_INIT;

	if (u->query && *u->query)
		strbuf_addf(&sb, "%s&", u->query);
	strbuf_addf(&sb, "digest=sha256%%3A%s", digest_to_hex(d).str);
	free(u->query);
	u->query = strbuf_steal(&sb);
}

/* The URL that @path of the registry has, to resolve a Location against. */
static void url_at(const struct registry_http *h, const char *path,
		   struct http_url *ret)
{
	http_url_copy(&h->origin, ret);
	free(ret->path);
	ret->path = xstrndup(path, strcspn(path, "?"));
}

/* What an attempt that got an answer amounts to. */
static enum attempt refused(struct upload *u, struct http_response *r,
			    struct error **errp)
{
	enum attempt a = attempt_of_status(r->status);

	r->code = registry_http_refused(u->h, r, NULL, errp);
	return a == ATTEMPT_OK ? ATTEMPT_PROTOCOL : a;
}

/* POST; *@ret_location is where the bytes go. */
static enum attempt open_session(struct upload *u, const struct retry *retry,
				 struct http_url *ret_location,
				 struct http_response *answer,
				 const struct op *op, struct error **errp)
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
	enum attempt a = registry_http_once(u->h, &c, retry, answer, op, errp);

	if (a != ATTEMPT_OK)
		return a;
	if (answer->status != 202)
		return refused(u, answer, errp);
	url_at(u->h, path, &asked);
	answer->code =
		registry_http_location(&asked, answer, ret_location, errp);
	return answer->code < 0 ? ATTEMPT_PROTOCOL : ATTEMPT_OK;
}

static enum attempt send_bytes(struct upload *u, const struct retry *retry,
			       struct http_url *location,
			       struct http_response *answer,
			       const struct op *op, struct error **errp)
{
	const struct registry_call c = {
		.repo = u->repo,
		.access = ACCESS_PUSH,
		.method = HTTP_PUT,
		.url = location,
		.content_type = "application/octet-stream",
		.body = &u->feed.feed,
		.max_body = SMALL_BODY_MAX,
	};
	enum attempt a;

	add_digest(location, u->digest);
	a = registry_http_once(u->h, &c, retry, answer, op, errp);
	if (a != ATTEMPT_OK || answer->status == 201 || answer->status == 204)
		return a;
	return refused(u, answer, errp);
}

/* DELETE of a session; whether that works is the registry's affair. */
static void close_session(struct registry_http *h, const char *repo,
			  const struct http_url *location, const struct op *op)
{
	cleanup_http_response struct http_response answer = {.retry_after_ms =
								     -1};
	struct op brief = op ? *op : (struct op)OP_INIT;
	const struct registry_call c = {
		.repo = repo,
		.access = ACCESS_PUSH,
		.method = HTTP_DELETE,
		.url = location,
		.max_body = SMALL_BODY_MAX,
	};
	struct retry retry;

	brief.deadline_ns = MIN(brief.deadline_ns, time_deadline_ms(FORGET_MS));
	retry_init(&retry, &h->times, brief.deadline_ns);
	registry_http_once(h, &c, &retry, &answer, &brief, NULL);
}

/* A failure of our own leaves a session that nobody will use. */
static bool is_ours(enum attempt a)
{
	return a == ATTEMPT_LOCAL || a == ATTEMPT_REJECTED;
}

static enum attempt upload_once(struct upload *u, const struct retry *retry,
				struct http_response *answer,
				const struct op *op, struct error **errp)
{
	cleanup_http_url struct http_url location = {0};
	cleanup_http_url struct http_url session = {0};
	enum attempt a = open_session(u, retry, &location, answer, op, errp);

	if (a != ATTEMPT_OK)
		return a;
	http_response_release(answer);
	http_url_copy(&location, &session);
	a = send_bytes(u, retry, &location, answer, op, errp);
	if (is_ours(a))
		close_session(u->h, u->repo, &session, op);
	return a;
}

static int upload(struct upload *u, const struct op *op, struct error **errp)
{
	struct retry retry;
	int r;

	retry_init(&retry, &u->h->times, op_deadline(op));
	retry.must_exist = true; /* a session that got lost is opened again */
	do {
		struct http_response answer;
		struct error *err = NULL;
		uint64_t before = u->feed.reached;
		enum attempt a = upload_once(u, &retry, &answer, op, &err);

		if (a == ATTEMPT_OK) {
			http_response_release(&answer);
			return 0;
		}
		if (u->feed.reached > before)
			retry_progress(&retry);
		r = http_again(&retry, a, &answer, op, &err, errp);
	} while (r == 0);
	return r;
}

int registry_http_put_blob(struct registry *r, const char *repo,
			   const struct digest *d, struct feed *feed,
			   const struct op *op, struct error **errp)
{
	struct registry_http *h = registry_http_of(r);
	cleanup_free char *what = NULL;
	struct upload u = {
		.h = h,
		.repo = repo,
		.digest = d,
		.feed =
			{
				.feed = {.size = feed->size,
					 .pread = high_water_pread},
				.inner = feed,
			},
	};
	int rc = registry_http_check(repo, NULL, errp);

	if (rc < 0)
		return rc;
	what = xasprintf("uploading blob '%s' to '%s/%s'", digest_to_str(d).str,
			 h->host, repo);
	rc = upload(&u, op, errp);
	return rc < 0 ? error_prefix(errp, rc, "%s", what) : 0;
}

int registry_http_mount_blob(struct registry *r, const char *repo,
			     const char *from_repo, const struct digest *d,
			     const struct op *op, struct error **errp)
{
	cleanup_http_response struct http_response answer = {.retry_after_ms =
								     -1};
	struct registry_http *h = registry_http_of(r);
	cleanup_http_url struct http_url asked = {0}, session = {0};
	cleanup_free char *path = NULL;
	cleanup_strbuf struct strbuf from = STRBUF_INIT;
	struct registry_call c = {
		.repo = repo,
		.access = ACCESS_PUSH,
		.from = from_repo,
		.method = HTTP_POST,
		.max_body = SMALL_BODY_MAX,
	};
	int rc = registry_http_check(repo, NULL, errp);

	if (rc == 0)
		rc = registry_http_check(from_repo, NULL, errp);
	if (rc < 0)
		return rc;
	uri_encode(&from, from_repo, strlen(from_repo), false);
	path = xasprintf("/v2/%s/blobs/uploads/?mount=sha256%%3A%s&from=%s",
			 repo, digest_to_hex(d).str, strbuf_str(&from));
	c.path = path;
	rc = registry_http_call(h, &c, &answer, op, errp);
	if (rc < 0)
		return error_prefix(errp, rc, "mounting blob '%s' in '%s/%s'",
				    digest_to_str(d).str, h->host, repo);
	if (answer.status == 201)
		return 1;
	url_at(h, path, &asked);
	if (answer.status == 202 &&
	    registry_http_location(&asked, &answer, &session, NULL) == 0)
		close_session(h, repo, &session, op);
	/* A registry that knows no mounts, or not for us: upload instead. */
	return 0;
}
