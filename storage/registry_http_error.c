#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "storage/http_headers.h"
#include "storage/registry_http_internal.h"

#define WORDS_MAX    300 /* of a server's own text in a message */
#define WARNINGS_MAX 4096

static const struct json_limits error_limits = {
	.max_bytes = 65536,
	.max_values = 1000,
};

/* What the body says: its first error. */
struct said {
	char code[64];
	char words[WORDS_MAX + 1];
};

/* The body's own text unless it is a page made for browsers. */
static void take_plain(const struct http_response *r, struct said *s)
{
	const char *type = http_response_header(r, "content-type");

	if (type && strncmp(type, "text/plain", 10) == 0 && r->body)
		snprintf(s->words, sizeof(s->words), "%.*s",
			 (int)strcspn(r->body, "\r\n"), r->body);
}

static struct said what_it_says(const struct http_response *r)
{
	cleanup_json struct json *doc = NULL;
	const struct json *first;
	struct said s = {0};
	const char *code, *words;

	if (!r->body ||
	    json_parse(r->body, r->body_len, &error_limits, &doc, NULL) < 0) {
		take_plain(r, &s);
		return s;
	}
	first = json_first(json_get(doc, "errors"));
	code = json_str(json_get(first, "code"));
	words = json_str(json_get(first, "message"));
	snprintf(s.code, sizeof(s.code), "%s", code ? code : "");
	snprintf(s.words, sizeof(s.words), "%s", words ? words : "");
	return s;
}

/* The status decides; the code only refines what 400 can mean. */
static int errno_of(const struct http_response *r, const struct said *s)
{
	enum attempt a;

	if (strcmp(s->code, "DIGEST_INVALID") == 0)
		return EBADMSG;
	if (strcmp(s->code, "MANIFEST_BLOB_UNKNOWN") == 0 ||
	    strcmp(s->code, "BLOB_UNKNOWN") == 0)
		return ENOENT;
	switch (r->status) {
	case 405:
	case 501:
		return EOPNOTSUPP;
	case 413:
		return EFBIG;
	}
	/* A success of another kind than asked for is none. */
	a = attempt_of_status(r->status);
	return retry_rule(a == ATTEMPT_OK ? ATTEMPT_PROTOCOL : a)->code;
}

int registry_http_refused(const struct registry_http *h,
			  const struct http_response *r, const char *what,
			  struct error **errp)
{
	struct said s = what_it_says(r);
	int code = errno_of(r, &s);

	if (s.code[0] || s.words[0])
		error_set(errp, code, "status %ld (%s%s%s)", r->status, s.code,
			  s.code[0] && s.words[0] ? ": " : "", s.words);
	else
		error_set(errp, code, "status %ld", r->status);
	if (what)
		error_prefix(errp, -code, "%s", what);
	if (r->status == 401)
		error_hint(errp, -code, "try 'mops login %s'", h->host);
	return -code;
}

static bool is_news(struct registry_http *h, const char *text)
{
	size_t n = strlen(text);
	bool news;

	mutex_lock(&h->lock);
	news = !map_get_str(&h->warned, text) &&
	       h->warned_bytes + n <= WARNINGS_MAX;
	if (news) {
		map_put_str(&h->warned, text, h);
		h->warned_bytes += n;
	}
	mutex_unlock(&h->lock);
	return news;
}

void registry_http_warnings(struct registry_http *h,
			    const struct http_response *r)
{
	for (size_t i = 0; i < r->n_headers; i++) {
		cleanup_free char *text = NULL;

		if (strcmp(r->headers[i].name, "warning") != 0)
			continue;
		text = http_warning_text(r->headers[i].value);
		if (text && is_news(h, text))
			log_warn("registry '%s': %s", h->host, text);
	}
}
