/*
 * Showing who we are: only to the registry's own origin, and only what it
 * asked for.
 */
#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "storage/challenge.h"
#include "storage/registry_http_internal.h"

char *registry_http_authorization(struct registry_http *h)
{
	char *s = NULL;

	mutex_lock(&h->lock);
	if (h->authorization)
		s = xstrdup(h->authorization);
	mutex_unlock(&h->lock);
	return s;
}

static void take_challenges(const struct http_response *r,
			    struct challenges *ret)
{
	for (size_t i = 0; i < r->n_headers; i++)
		if (strcmp(r->headers[i].name, "www-authenticate") == 0)
			challenges_parse(ret, r->headers[i].value);
}

/* Some registries say what they want at /v2/ only. */
static int ask_at_base(struct registry_http *h, struct challenges *ret,
		       const struct op *op, struct error **errp)
{
	cleanup_http_response struct http_response r = {.retry_after_ms = -1};
	const struct http_request rq = {
		.url = {.tls = h->origin.tls,
			.host = h->origin.host,
			.port = h->origin.port,
			.path = (char *)"/v2/"},
		.max_body = SMALL_BODY_MAX,
		.user_host = true,
	};
	enum attempt a = http_request(h->client, &rq, &r, NULL, NULL, op, errp);

	if (a != ATTEMPT_OK)
		return http_code(a, &r);
	take_challenges(&r, ret);
	return 0;
}

static char *basic(const struct login *l)
{
	cleanup_secret char *plain = xasprintf("%s:%s", l->user, l->secret);
	cleanup_secret char *encoded = NULL;
	struct strbuf sb = STRBUF_INIT;

	base64_encode(&sb, plain, strlen(plain));
	encoded = strbuf_steal(&sb);
	return xasprintf("Basic %s", encoded);
}

/* Keep @take_s unless it is what was just refused. */
static int adopt(struct registry_http *h, char **take_s, const char *used)
{
	int changed;

	mutex_lock(&h->lock);
	changed = !used || strcmp(*take_s, used) != 0;
	if (changed) {
		wipe_str(&h->authorization);
		h->authorization = steal_ptr(take_s);
	}
	mutex_unlock(&h->lock);
	return changed;
}

static int show_basic(struct registry_http *h, const char *used,
		      struct error **errp)
{
	cleanup_login struct login l = {0};
	cleanup_secret char *s = NULL;
	int r = 0;

	if (h->credentials)
		r = credentials_get(h->credentials, h->host, &l, errp);
	if (r <= 0)
		return r;
	s = basic(&l);
	return adopt(h, &s, used);
}

/* Another thread may have been told the same a moment ago. */
static bool someone_did(struct registry_http *h, const char *used)
{
	cleanup_secret char *now = registry_http_authorization(h);

	return now && (!used || strcmp(now, used) != 0);
}

int registry_http_authenticate(struct registry_http *h,
			       const struct http_response *r, const char *used,
			       const struct op *op, struct error **errp)
{
	cleanup_challenges struct challenges cs = {0};
	int rc = 0;

	if (someone_did(h, used))
		return 1;
	take_challenges(r, &cs);
	if (!cs.n)
		rc = ask_at_base(h, &cs, op, errp);
	if (rc < 0)
		return rc;
	if (challenges_find(&cs, "basic"))
		return show_basic(h, used, errp);
	log_debug("registry '%s' asks for '%s'", h->host,
		  cs.n ? cs.v[0].scheme : "nothing that we know");
	return 0;
}
