/*
 * How a registry wants to be shown who we are, and the tokens that its token
 * service gives out.
 *
 * Where the service is, the registry says: a foreign answer. So it is asked
 * over https unless the registry itself is plain HTTP on this machine or is
 * its own token service, at no address further inward than the registry's,
 * and it is shown a login only when it belongs to the registry or the user
 * allowed it.
 */
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "base/log.h"
#include "storage/challenge.h"
#include "storage/registry_http_internal.h"
#include "storage/token.h"

/*
 * The way.
 */

void auth_way_copy(const struct auth_way *from, struct auth_way *to)
{
	*to = (struct auth_way){.scheme = from->scheme};
	if (from->scheme != AUTH_BEARER)
		return;
	http_url_copy(&from->realm, &to->realm);
	to->service = from->service ? xstrdup(from->service) : NULL;
}

void auth_way_release(struct auth_way *w)
{
	http_url_release(&w->realm);
	free(w->service);
	*w = (struct auth_way){0};
}

static bool same_host(const struct registry_http *h, const struct http_url *u)
{
	return strcasecmp(h->origin.host, u->host) == 0;
}

static bool both_loopback(const struct registry_http *h,
			  const struct http_url *u)
{
	return address_host_is_loopback(h->origin.host) &&
	       address_host_is_loopback(u->host);
}

/* Without TLS what goes there can be read and changed on its way. */
static bool may_be_plain(const struct registry_http *h,
			 const struct http_url *u)
{
	return !h->origin.tls && (same_host(h, u) || both_loopback(h, u));
}

static int bearer_way(const struct registry_http *h, const struct challenge *c,
		      struct auth_way *ret, struct error **errp)
{
	const char *realm = challenge_param(c, "realm");
	const char *service = challenge_param(c, "service");
	struct http_url url = {0};

	if (!realm || http_url_parse(realm, &url, NULL) < 0)
		return error_set(errp, EPROTO,
				 "registry '%s' names no token service",
				 h->host);
	if (!url.tls && !may_be_plain(h, &url)) {
		http_url_release(&url);
		return error_set(errp, EPROTO,
				 "the token service of registry '%s' is not "
				 "asked: it is not at an https address",
				 h->host);
	}
	*ret = (struct auth_way){
		.scheme = AUTH_BEARER,
		.realm = url,
		.service = service ? xstrdup(service) : NULL,
	};
	return 0;
}

enum attempt auth_way_choose(const struct registry_http *h,
			     const struct challenges *cs, struct auth_way *ret,
			     struct error **errp)
{
	const struct challenge *bearer = challenges_find(cs, "bearer");
	cleanup_error struct error *err = NULL;

	if (bearer && bearer_way(h, bearer, ret, &err) == 0)
		return ATTEMPT_OK;
	if (challenges_find(cs, "basic")) {
		ret->scheme = AUTH_BASIC;
		return ATTEMPT_OK;
	}
	if (err) {
		error_propagate(errp, &err, 0);
		return ATTEMPT_PROTOCOL;
	}
	log_debug("registry '%s' asks for '%s'", h->host,
		  cs->n ? cs->v[0].scheme : "nothing that we know");
	return ATTEMPT_OK;
}

/*
 * Whom a login is shown.
 */

bool auth_may_see_login(const struct registry_http *h, const struct http_url *u)
{
	cleanup_free char *with_port = xasprintf("%s:%u", u->host, u->port);

	for (char **s = h->token_realms; s && *s; s++)
		if (strcasecmp(*s, u->host) == 0 ||
		    strcasecmp(*s, with_port) == 0)
			return true;
	return same_host(h, u) || both_loopback(h, u) ||
	       hosts_same_site(h->origin.host, u->host);
}

/*
 * Asking.
 */

/* One request to the token service. */
struct token_ask {
	struct registry_http *h;
	const struct http_url *realm;
	struct token_request rq;
	const struct retry *retry;
	const struct op *op;
	struct http_response *answer;
	bool logged_in; /* a login was shown */
};

static enum attempt send_it(struct token_ask *k, const struct http_request *rq,
			    struct error **errp)
{
	int64_t give_up = retry_give_up_ns(k->retry);
	struct http_request full = *rq;

	full.max_body = TOKEN_BODY_MAX;
	full.user_host = same_host(k->h, &rq->url);
	full.no_cert = k->h->mirror_of != NULL;
	full.reach = (enum address_class)atomic_load(&k->h->peer);
	full.idle_deadline_ns = give_up == TIME_NEVER ? 0 : give_up;
	http_response_release(k->answer);
	return http_request(k->h->client, &full, k->answer, NULL, NULL, k->op,
			    errp);
}

static enum attempt send_get(struct token_ask *k, struct error **errp)
{
	cleanup_http_url struct http_url url = {0};
	cleanup_secret char *authorization = NULL;

	http_url_copy(k->realm, &url);
	token_request_query(&k->rq, &url);
	if (k->rq.user)
		authorization = basic_authorization(k->rq.user, k->rq.secret);
	k->logged_in = authorization != NULL;
	const struct http_request rq = {
		.url = url,
		.authorization = authorization,
		.follow = !authorization,
	};
	return send_it(k, &rq, errp);
}

static enum attempt send_post(struct token_ask *k, struct error **errp)
{
	size_t n = 0;
	cleanup_secret char *form = token_request_form(&k->rq, &n);
	struct feed_mem body;
	const struct http_request rq = {
		.method = HTTP_POST,
		.url = *k->realm,
		.body = &body.feed,
		.content_type = "application/x-www-form-urlencoded",
	};

	feed_mem_init(&body, form, n);
	k->logged_in = true;
	return send_it(k, &rq, errp);
}

/* It does not know that way of asking. */
static bool not_this_way(enum attempt a, const struct http_response *r)
{
	return a == ATTEMPT_OK && (r->status == 404 || r->status == 405);
}

/* A token that renews others is tried first, and only as long as it works. */
static enum attempt send_refresh(struct token_ask *k, struct error **errp)
{
	struct registry_http *h = k->h;
	struct token_ask by_token = *k;
	cleanup_secret char *refresh = NULL;
	enum attempt a;

	mutex_lock(&h->lock);
	refresh = h->refresh_token ? xstrdup(h->refresh_token) : NULL;
	mutex_unlock(&h->lock);
	if (!refresh)
		return ATTEMPT_KINDS;
	by_token.rq.user = by_token.rq.secret = NULL;
	by_token.rq.refresh_token = refresh;
	a = send_post(&by_token, errp);
	k->logged_in = true;
	if (a != ATTEMPT_OK || k->answer->status == 200 ||
	    attempt_of_status(k->answer->status) == ATTEMPT_BUSY)
		return a;
	mutex_lock(&h->lock);
	wipe_str(&h->refresh_token);
	mutex_unlock(&h->lock);
	return ATTEMPT_KINDS;
}

static enum attempt send_all(struct token_ask *k, struct error **errp)
{
	enum attempt a;

	if (k->rq.refresh_token)
		return send_post(k, errp);
	a = k->rq.user ? send_refresh(k, errp) : ATTEMPT_KINDS;
	if (a != ATTEMPT_KINDS)
		return a;
	a = send_get(k, errp);
	if (k->rq.user && not_this_way(a, k->answer))
		a = send_post(k, errp);
	return a;
}

static enum attempt refused(struct token_ask *k, struct error **errp)
{
	const struct http_response *r = k->answer;
	enum attempt a = attempt_of_status(r->status);

	if (a == ATTEMPT_OK || a == ATTEMPT_RANGE)
		a = ATTEMPT_PROTOCOL;
	if (r->status == 400 || r->status == 403 || r->status == 404)
		a = ATTEMPT_UNAUTHORIZED;
	error_set(errp, retry_rule(a)->code,
		  "the token service '%s' of registry '%s' answers with "
		  "status %ld",
		  k->realm->host, k->h->host, r->status);
	if (a == ATTEMPT_UNAUTHORIZED && k->logged_in)
		error_hint(errp, 0,
			   "the stored login was not accepted: renew it with "
			   "'mops login %s', or go without by --anonymous",
			   k->h->host);
	else if (a == ATTEMPT_UNAUTHORIZED)
		error_hint(errp, 0, "try 'mops login %s'", k->h->host);
	return a;
}

static enum attempt take(struct token_ask *k, char **ret, int64_t *ret_life_ms,
			 struct error **errp)
{
	cleanup_token_answer struct token_answer got = {0};
	struct http_response *r = k->answer;
	int rc = token_answer_parse(r->body ? r->body : "", r->body_len, &got,
				    errp);

	if (r->body)
		explicit_bzero(r->body, r->body_len);
	if (rc < 0) {
		error_prefix(errp, rc, "the answer of token service '%s'",
			     k->realm->host);
		return ATTEMPT_PROTOCOL;
	}
	*ret = xasprintf("Bearer %s", got.token);
	*ret_life_ms = got.life_ms;
	if (got.refresh_token && k->logged_in) {
		mutex_lock(&k->h->lock);
		wipe_str(&k->h->refresh_token);
		k->h->refresh_token = steal_ptr(&got.refresh_token);
		mutex_unlock(&k->h->lock);
	}
	/* The place of the answer that it is fetched for. */
	http_response_release(r);
	return ATTEMPT_OK;
}

enum attempt registry_http_token(struct registry_http *h,
				 const struct auth_way *way,
				 char *const *scopes, const struct login *login,
				 const struct retry *retry, char **ret,
				 int64_t *ret_life_ms,
				 struct http_response *answer,
				 const struct op *op, struct error **errp)
{
	struct token_ask k = {
		.h = h,
		.realm = &way->realm,
		.rq = {.service = way->service, .scopes = scopes},
		.retry = retry,
		.op = op,
		.answer = answer,
	};
	bool known = login->user || login->identity_token;
	enum attempt a;

	if (known && auth_may_see_login(h, &way->realm)) {
		k.rq.user = login->user;
		k.rq.secret = login->secret;
		k.rq.refresh_token = login->identity_token;
	}
	a = send_all(&k, errp);
	if (a == ATTEMPT_OK && answer->status == 200)
		return take(&k, ret, ret_life_ms, errp);
	if (a == ATTEMPT_OK)
		a = refused(&k, errp);
	if (a == ATTEMPT_UNAUTHORIZED && known && !k.logged_in && errp &&
	    *errp) {
		free((*errp)->hint);
		(*errp)->hint = xasprintf(
			"'%s' is not of the registry's own site, so it was not "
			"shown the login: add it to token_realms if it may see "
			"it",
			way->realm.host);
	}
	return a;
}
