/*
 * What a refusal means, and which of them can be cured:
 *
 *   the bucket is in another region    learn it, sign for it
 *   our clock is off                   take the store's
 *   the keys are no longer good        fetch them anew
 *
 * HEAD has no body: what its status may mean is found out by asking.
 */
#include <errno.h>
#include <string.h>

#include "storage/s3_internal.h"
#include "storage/xml_text.h"

static bool is_one_of(const char *s, const char *const *list)
{
	for (; *list; list++)
		if (strcmp(s, *list) == 0)
			return true;
	return false;
}

static bool take_region(struct s3 *s, const char *bucket,
			const struct http_response *r)
{
	const struct xml_span doc = {r->body, r->body_len};
	char region[65];

	if (s3_learn_region(s, bucket,
			    http_response_header(r, "x-amz-bucket-region")))
		return true;
	return doc.n && xml_text(doc, "Region", region, sizeof(region)) &&
	       s3_learn_region(s, bucket, region);
}

/* Any answer about the bucket names its region. */
static bool ask_region(struct s3 *s, const struct object_call *c,
		       const struct op *op)
{
	static const struct sign_pair query[] = {{"list-type", "2"},
						 {"max-keys", "0"}};
	cleanup_http_response struct http_response r = {.retry_after_ms = -1};
	const struct object_call ask = {
		.uri = c->uri,
		.bucket = true,
		.query = query,
		.n_query = 2,
		.max_body = OBJECT_ANSWER_MAX,
	};
	struct retry retry;

	retry_init(&retry, &s->http.times, op_deadline(op));
	object_try(&s->http, &ask, &retry, &r, op, NULL);
	/* What that call learned by itself counts as well. */
	return take_region(s, c->uri->container, &r) || r.status == 200;
}

static bool cure_region(struct s3 *s, const struct object_call *c,
			const struct http_response *r,
			const struct object_said *said,
			struct object_cures *cures, const struct op *op)
{
	static const char *const codes[] = {
		"AuthorizationHeaderMalformed",
		"AuthorizationQueryParametersError",
		"PermanentRedirect",
		"TemporaryRedirect",
		"IllegalLocationConstraintException",
		"InvalidRegion",
		NULL,
	};
	bool blind = c->method == HTTP_HEAD &&
		     (r->status == 400 || r->status == 301);

	if (cures->region ||
	    (!blind && r->status != 301 && !is_one_of(said->code, codes)))
		return false;
	cures->region = true;
	if (take_region(s, c->uri->container, r))
		return true;
	return blind && ask_region(s, c, op);
}

static bool cure_clock(struct s3 *s, const struct object_call *c,
		       const struct object_wire *w,
		       const struct http_response *r,
		       const struct object_said *said,
		       struct object_cures *cures)
{
	if (!w->secret || r->status != 403)
		return false;
	if (c->method != HTTP_HEAD &&
	    strcmp(said->code, "RequestTimeTooSkewed") != 0 &&
	    strcmp(said->code, "AccessDenied") != 0)
		return false;
	return object_cure_clock(&s->http, w, r, cures);
}

static bool cure_secret(struct s3 *s, const struct object_call *c,
			const struct object_wire *w,
			const struct http_response *r,
			const struct object_said *said,
			struct object_cures *cures, const struct op *op)
{
	static const char *const codes[] = {
		"ExpiredToken",          "ExpiredTokenException",
		"InvalidToken",          "InvalidAccessKeyId",
		"SignatureDoesNotMatch", "TokenRefreshRequired",
		"AccessDenied",          NULL,
	};

	if (cures->secret || !s->keeper ||
	    (r->status != 403 && r->status != 400 && r->status != 401))
		return false;
	if (c->method != HTTP_HEAD && !is_one_of(said->code, codes))
		return false;
	cures->secret = true;
	return keeper_replace(s->keeper, w->secret, op);
}

static enum attempt final_word(struct s3 *s, const struct object_call *c,
			       const struct object_wire *w,
			       const struct http_response *r,
			       const struct object_said *said,
			       struct error **errp)
{
	static const char *const torn[] = {"XAmzContentSHA256Mismatch",
					   "BadDigest", NULL};
	enum attempt a;

	if (strcmp(said->code, "InvalidObjectState") == 0)
		return object_archived(
			c,
			"restore it first: aws s3api restore-object --bucket "
			"B --key K --restore-request Days=7",
			errp);
	a = object_refuse(c, r, said, errp);
	if (is_one_of(said->code, torn)) {
		if (*errp)
			(*errp)->code = EBADMSG;
		error_kind(errp, -EBADMSG, ERROR_VALIDATION);
		return ATTEMPT_REJECTED;
	}
	if (strcmp(said->code, "RequestTimeout") == 0 ||
	    strcmp(said->code, "SlowDown") == 0)
		return ATTEMPT_BUSY;
	if (a == ATTEMPT_FORBIDDEN && !w->secret && s->keeper)
		error_hint(errp, -EACCES,
			   "no AWS credentials were found: set "
			   "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
			   "AWS_PROFILE");
	else if (a == ATTEMPT_FORBIDDEN && c->method == HTTP_HEAD)
		error_hint(errp, -EACCES,
			   "the keys lack a permission, or the object is "
			   "missing and they lack s3:ListBucket");
	return a;
}

enum attempt s3_refused(struct object_http *h, const struct object_call *c,
			const struct object_wire *w,
			const struct http_response *r,
			struct object_cures *cures, bool *ret_again,
			const struct op *op, struct error **errp)
{
	struct s3 *s = s3_of(h);
	struct object_said said;

	object_said_xml(r, &said);
	*ret_again = cure_region(s, c, r, &said, cures, op) ||
		     cure_clock(s, c, w, r, &said, cures) ||
		     cure_secret(s, c, w, r, &said, cures, op);
	return final_word(s, c, w, r, &said, errp);
}
