/* A look at a registry for `doctor`: by what a command does, step by step. */
#include <errno.h>
#include <string.h>

#include "storage/http_headers.h"
#include "storage/registry_http_internal.h"

static int look_up_name(struct registry_http *h, struct registry_probe *p,
			const struct op *op, struct error **errp)
{
	enum address_class class;
	enum attempt a;

	p->step = REGISTRY_NAME;
	p->url = xasprintf("%s://%s:%u", h->origin.tls ? "https" : "http",
			   h->origin.host, h->origin.port);
	p->proxy = http_client_proxy(h->client, &h->origin);
	p->named = !address_class_literal(h->origin.host, &class);
	if (!p->named || p->proxy)
		return 0;
	a = http_look_up(h->origin.host, op);
	if (a == ATTEMPT_OK)
		return 0;
	return error_set(errp, retry_rule(a)->code, "'%s': %s", h->origin.host,
			 retry_rule(a)->what);
}

/* HTTP says whole seconds, and some time went by: what can be is not wrong. */
static void compare_clocks(const struct http_response *r, int64_t before_s,
			   struct registry_probe *p)
{
	const char *s = http_response_header(r, "date");
	int64_t date = s ? http_parse_date(s) : -1;
	int64_t after_s = time_wall_s();

	if (date < 0)
		return;
	p->has_clock = true;
	if (date > after_s)
		p->ahead_s = date - after_s;
	else if (date + 1 < before_s)
		p->ahead_s = date - before_s;
}

/* Once, and showing nothing: any answer will do. */
static int ask_who(struct registry_http *h, struct registry_probe *p,
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
	int64_t before_s = time_wall_s();
	enum attempt a;

	p->step = REGISTRY_ANSWER;
	a = http_request(h->client, &rq, &r, NULL, NULL, op, errp);
	if (a != ATTEMPT_OK)
		return http_code(a, &r);
	p->wants_login = r.status == 401;
	compare_clocks(&r, before_s, p);
	return 0;
}

/* As for a read of @repo. */
static int log_in(struct registry_http *h, const char *repo,
		  struct registry_probe *p, const struct op *op,
		  struct error **errp)
{
	cleanup_http_response struct http_response r = {.retry_after_ms = -1};
	const struct registry_call call = {
		.repo = repo,
		.access = ACCESS_PULL,
		.path = "/v2/",
		.max_body = SMALL_BODY_MAX,
	};
	int rc = 0;

	p->step = REGISTRY_LOGIN;
	if (h->credentials)
		rc = credentials_source(h->credentials, h->host, repo,
					&p->login_from, op, errp);
	if (rc >= 0)
		rc = registry_http_call(h, &call, &r, op, errp);
	if (rc < 0)
		return rc;
	if (r.status / 100 != 2)
		return registry_http_refused(h, &r, p->url, errp);
	p->step = REGISTRY_OPEN;
	return 0;
}

int registry_http_probe(struct registry *r, const char *repo,
			struct registry_probe *ret, const struct op *op,
			struct error **errp)
{
	struct registry_http *h = registry_http_of(r);
	int rc;

	*ret = (struct registry_probe){0};
	rc = look_up_name(h, ret, op, errp);
	if (rc == 0)
		rc = ask_who(h, ret, op, errp);
	if (rc == 0)
		rc = log_in(h, repo, ret, op, errp);
	return rc;
}

void registry_probe_release(struct registry_probe *p)
{
	free(p->url);
	free(p->proxy);
	free(p->login_from);
}
