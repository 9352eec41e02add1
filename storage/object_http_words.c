/*
 * What the answers of object stores say, in the words of our errors.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "storage/http_headers.h"
#include "storage/object_http.h"
#include "storage/xml_text.h"

static const struct json_limits error_limits = {
	.max_bytes = 65536,
	.max_values = 1000,
};

char *object_name(const struct pointer_uri *u)
{
	return xasprintf("%s://%s%s%s%s%s", uri_scheme_name(u->scheme),
			 u->account ? u->account : "", u->account ? "/" : "",
			 u->container ? u->container : "",
			 u->container ? "/" : "", u->key);
}

void object_said_xml(const struct http_response *r, struct object_said *ret)
{
	const struct xml_span doc = {r->body, r->body_len};

	*ret = (struct object_said){0};
	if (!doc.n)
		return;
	xml_text(doc, "Code", ret->code, sizeof(ret->code));
	xml_text(doc, "Message", ret->words, sizeof(ret->words));
	ret->words[strcspn(ret->words, "\r\n")] = '\0';
}

void object_said_json(const struct http_response *r, struct object_said *ret)
{
	cleanup_json struct json *doc = NULL;
	const struct json *error;
	const char *code, *words;

	*ret = (struct object_said){0};
	if (!r->body ||
	    json_parse(r->body, r->body_len, &error_limits, &doc, NULL) < 0)
		return;
	error = json_get(doc, "error");
	code = json_str(
		json_get(json_first(json_get(error, "errors")), "reason"));
	words = json_str(json_get(error, "message"));
	if (!code)
		code = json_str(json_get(error, "status"));
	if (json_type(error) == JSON_STRING) { /* OAuth's own form */
		code = json_str(error);
		words = json_str(json_get(doc, "error_description"));
	}
	snprintf(ret->code, sizeof(ret->code), "%s", code ? code : "");
	snprintf(ret->words, sizeof(ret->words), "%s", words ? words : "");
	ret->words[strcspn(ret->words, "\r\n")] = '\0';
}

static int errno_of(long status, enum attempt a)
{
	switch (status) {
	case 405:
	case 501:
		return EOPNOTSUPP;
	case 409:
		return EEXIST;
	case 412:
		return ESTALE;
	case 413:
		return EFBIG;
	}
	return retry_rule(a)->code;
}

enum attempt object_refuse(const struct object_call *c,
			   const struct http_response *r,
			   const struct object_said *said, struct error **errp)
{
	cleanup_free char *name = object_name(c->uri);
	enum attempt a = attempt_of_status(r->status);
	int code;

	/* Not implemented is no passing trouble; a moved bucket is none. */
	if (r->status == 501)
		a = ATTEMPT_REJECTED;
	if (a == ATTEMPT_OK)
		a = ATTEMPT_PROTOCOL;
	code = errno_of(r->status, a);
	if (said->code[0] || said->words[0])
		error_set(errp, code, "'%s': status %ld (%s%s%s)", name,
			  r->status, said->code,
			  said->code[0] && said->words[0] ? ": " : "",
			  said->words);
	else
		error_set(errp, code, "'%s': status %ld", name, r->status);
	return a;
}

enum attempt object_archived(const struct object_call *c, const char *hint,
			     struct error **errp)
{
	cleanup_free char *name = object_name(c->uri);

	error_set(errp, EIO, "'%s' is archived and cannot be read now", name);
	error_hint(errp, -EIO, "%s", hint);
	return ATTEMPT_REJECTED;
}

void object_etag(const struct http_response *r, char ret[128])
{
	const char *s = http_response_header(r, "etag");
	size_t n = s ? strlen(s) : 0;

	ret[0] = '\0';
	/* A weak one matches objects that are not the same bytes. */
	if (!n || n >= 128 || strncmp(s, "W/", 2) == 0)
		return;
	for (size_t i = 0; i < n; i++)
		if (s[i] < 0x21 || s[i] > 0x7e)
			return;
	memcpy(ret, s, n + 1);
}

void object_claim(const struct http_response *r, const char *name,
		  struct object_info *info)
{
	const char *s = http_response_header(r, name);

	if (info->sha256_from != OBJECT_SHA256_UNKNOWN || !s ||
	    digest_parse_hex(s, strlen(s), &info->sha256, NULL) < 0)
		return;
	info->has_sha256 = true;
	info->sha256_from = OBJECT_SHA256_METADATA;
}

int object_length(const struct http_response *r, const char *what,
		  uint64_t *ret, struct error **errp)
{
	const char *s = http_response_header(r, "content-length");

	if (!s || !http_parse_length(s, ret))
		return error_set(errp, EPROTO,
				 "%s: the store does not say "
				 "its size",
				 what);
	return 0;
}
