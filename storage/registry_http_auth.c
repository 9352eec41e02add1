/*
 * Showing who we are: only to the registry's own origin, and only what it
 * asked for.
 *
 * What is shown for a repository and a kind of access is a grant: a token
 * with its lifetime, or a login. A grant is made when the registry refuses a
 * request for the lack of one; from the second on, the registry's way of
 * asking is known, and it is made beforehand.
 *
 *   a grant that              is
 *   is not there, has ended   waited for by who needs it
 *   has a fifth of its life   renewed by one of its users; the others go on
 *   was refused (401)         made anew, with the scopes of the challenge
 *
 * One thread at a time makes a grant; the others wait for it and share its
 * failure.
 */
#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "base/strbuf.h"
#include "storage/challenge.h"
#include "storage/registry_http_internal.h"
#include "storage/token.h"

#define WAIT_SLICE_MS 20 /* how late a cancellation may be noticed */

struct grant {
	char *authorization; /* NULL: none */
	int64_t renew_ns;
	int64_t end_ns;
	char **scopes; /* ours, then those of challenges */
	bool in_the_making;
	unsigned made; /* how often, failures included */
	struct error *failure;
	enum attempt failed_as;
};

static void grant_free(struct grant *g)
{
	wipe_str(&g->authorization);
	strv_free(g->scopes);
	error_free(g->failure);
	free(g);
}

void registry_http_auth_release(struct registry_http *h)
{
	size_t pos = 0;
	void *g;

	while (map_next(&h->grants, &pos, NULL, NULL, &g))
		grant_free(g);
	map_release(&h->grants);
	auth_way_release(&h->way);
	wipe_str(&h->refresh_token);
}

/*
 * Whose grant.
 */

static const char *const actions[] = {
	[ACCESS_PULL] = "pull",
	[ACCESS_PUSH] = "pull,push",
	[ACCESS_DELETE] = "delete,pull,push",
};

static char **scopes_of(const struct registry_call *c)
{
	cleanup_free char *scope = NULL;
	cleanup_free char *from = NULL;
	char **list = NULL;

	if (!c->repo)
		return NULL;
	scope = xasprintf("repository:%s:%s", c->repo, actions[c->access]);
	scopes_add(&list, scope);
	if (c->from) {
		from = xasprintf("repository:%s:pull", c->from);
		scopes_add(&list, from);
	}
	return list;
}

static struct grant *grant_locked(struct registry_http *h,
				  const struct registry_call *c)
	REQUIRES(h->lock)
{
	cleanup_free char *key = xasprintf("%s %s %s", c->repo ? c->repo : "",
					   c->repo ? actions[c->access] : "",
					   c->from ? c->from : "");
	struct grant *g = map_get_str(&h->grants, key);

	if (!g) {
		g = xcalloc(1, sizeof(*g));
		g->scopes = scopes_of(c);
		map_put_str(&h->grants, key, g);
	}
	return g;
}

/*
 * Making one.
 */

/* One call's wish for a grant. */
struct wish {
	struct registry_http *h;
	const struct registry_call *call;
	const struct retry *retry;
	const struct op *op;
	struct http_response *answer; /* gets code and retry_after_ms */
};

char *basic_authorization(const char *user, const char *secret)
{
	cleanup_secret char *plain = xasprintf("%s:%s", user, secret);
	struct strbuf sb = STRBUF_INIT;
	cleanup_secret char *encoded = NULL;

	base64_encode(&sb, plain, strlen(plain));
	encoded = strbuf_steal(&sb);
	return xasprintf("Basic %s", encoded);
}

/* By the way the registry asks; *@ret NULL: there is nothing to show. */
static enum attempt make(const struct wish *w, const struct auth_way *way,
			 char *const *scopes, char **ret, int64_t *ret_life_ms,
			 struct error **errp)
{
	cleanup_login struct login login = {0};
	struct registry_http *h = w->h;
	int r = 0;

	*ret_life_ms = INT64_MAX;
	if (h->credentials)
		r = credentials_get(h->credentials, h->host, w->call->repo,
				    &login, w->op, errp);
	if (r < 0) {
		w->answer->code = r;
		return ATTEMPT_LOCAL;
	}
	if (way->scheme == AUTH_BASIC) {
		if (login.user)
			*ret = basic_authorization(login.user, login.secret);
		return ATTEMPT_OK;
	}
	if (login.registry_token) {
		*ret = xasprintf("Bearer %s", login.registry_token);
		return ATTEMPT_OK;
	}
	return registry_http_token(h, way, scopes, &login, w->retry, ret,
				   ret_life_ms, w->answer, w->op, errp);
}

static void keep_locked(struct registry_http *h, struct grant *g,
			char **take_authorization, int64_t life_ms)
	REQUIRES(h->lock)
{
	wipe_str(&g->authorization);
	g->authorization = steal_ptr(take_authorization);
	g->end_ns = time_deadline_ms(life_ms);
	g->renew_ns = time_deadline_ms(life_ms - life_ms / 5);
}

static enum attempt make_locked(const struct wish *w, struct grant *g,
				struct error **errp) REQUIRES(w->h->lock)
{
	cleanup_auth_way struct auth_way way = {0};
	cleanup_secret char *authorization = NULL;
	cleanup_strv char **scopes = NULL;
	struct error *err = NULL;
	int64_t life_ms = 0;
	enum attempt a;

	auth_way_copy(&w->h->way, &way);
	for (char **s = g->scopes; s && *s; s++)
		strv_append(&scopes, xstrdup(*s));
	g->in_the_making = true;
	mutex_unlock(&w->h->lock);
	a = make(w, &way, scopes, &authorization, &life_ms, &err);
	mutex_lock(&w->h->lock);
	g->in_the_making = false;
	g->made++;
	if (a == ATTEMPT_OK)
		keep_locked(w->h, g, &authorization, life_ms);
	error_free(g->failure);
	g->failure = err ? error_copy(err) : NULL;
	g->failed_as = a;
	cond_broadcast(&w->h->grant_made);
	if (a != ATTEMPT_OK)
		error_propagate(errp, &err, 0);
	return a;
}

static enum attempt wait_locked(const struct wish *w, struct grant *g,
				struct error **errp) REQUIRES(w->h->lock)
{
	enum attempt a = ATTEMPT_OK;

	while (g->in_the_making && a == ATTEMPT_OK) {
		if (op_cancelled(w->op))
			a = ATTEMPT_CANCELLED;
		else if (time_mono_ns() >= op_deadline(w->op))
			a = ATTEMPT_DEADLINE;
		else
			cond_wait_until(&w->h->grant_made, &w->h->lock,
					time_deadline_ms(WAIT_SLICE_MS));
	}
	if (a != ATTEMPT_OK)
		error_set(errp, retry_rule(a)->code, "%s", retry_rule(a)->what);
	return a;
}

static bool is_other(const struct grant *g, const char *used)
{
	return g->authorization &&
	       (!used || strcmp(g->authorization, used) != 0);
}

/* A failure that whoever waited would meet as well. */
static bool is_shared(const struct grant *g)
{
	return g->failed_as != ATTEMPT_OK &&
	       g->failed_as != ATTEMPT_CANCELLED &&
	       g->failed_as != ATTEMPT_DEADLINE;
}

/* Let @g hold something else than @used, if there is anything. */
static enum attempt obtain_locked(const struct wish *w, struct grant *g,
				  const char *used, struct error **errp)
	REQUIRES(w->h->lock)
{
	unsigned made = g->made;
	enum attempt a = wait_locked(w, g, errp);

	if (a != ATTEMPT_OK || (made != g->made && is_other(g, used)))
		return a;
	if (made == g->made || !is_shared(g))
		return make_locked(w, g, errp);
	if (g->failure && errp)
		*errp = error_copy(g->failure);
	return g->failed_as;
}

/*
 * Before a request.
 */

static enum attempt hand_out_locked(const struct wish *w, struct grant *g,
				    char **ret, struct error **errp)
	REQUIRES(w->h->lock)
{
	enum attempt a = ATTEMPT_OK;

	if (!g->authorization || time_mono_ns() >= g->end_ns) {
		wipe_str(&g->authorization);
		a = obtain_locked(w, g, NULL, errp);
	}
	if (a == ATTEMPT_OK && g->authorization)
		*ret = xstrdup(g->authorization);
	return a;
}

/* Ahead of its end; when that fails there is still time. */
static void renew_locked(struct wish *w, struct grant *g) REQUIRES(w->h->lock)
{
	struct op brief = w->op ? *w->op : (struct op)OP_INIT;
	const struct op *op = w->op;
	int64_t now = time_mono_ns();

	if (!g->authorization || now < g->renew_ns || now >= g->end_ns ||
	    g->in_the_making)
		return;
	brief.deadline_ns = MIN(brief.deadline_ns, g->end_ns);
	w->op = &brief;
	if (make_locked(w, g, NULL) != ATTEMPT_OK)
		g->renew_ns = now + (g->end_ns - now) / 2;
	w->op = op;
}

enum attempt registry_http_authorization(struct registry_http *h,
					 const struct registry_call *c,
					 const struct retry *retry, char **ret,
					 struct http_response *answer,
					 const struct op *op,
					 struct error **errp)
{
	struct wish w = {h, c, retry, op, answer};
	enum attempt a = ATTEMPT_OK;
	struct grant *g;

	mutex_lock(&w.h->lock);
	if (w.h->way.scheme != AUTH_UNKNOWN) {
		g = grant_locked(w.h, c);
		renew_locked(&w, g);
		a = hand_out_locked(&w, g, ret, errp);
	}
	mutex_unlock(&w.h->lock);
	return a;
}

/*
 * After a refusal.
 */

static void take_challenges(const struct http_response *r,
			    struct challenges *ret)
{
	for (size_t i = 0; i < r->n_headers; i++)
		if (strcmp(r->headers[i].name, "www-authenticate") == 0)
			challenges_parse(ret, r->headers[i].value);
}

/* Some registries say what they want at /v2/ only. */
static enum attempt ask_at_base(const struct wish *w, struct challenges *ret,
				struct error **errp)
{
	cleanup_http_response struct http_response r = {.retry_after_ms = -1};
	const struct http_request rq = {
		.url = {.tls = w->h->origin.tls,
			.host = w->h->origin.host,
			.port = w->h->origin.port,
			.path = (char *)"/v2/"},
		.max_body = SMALL_BODY_MAX,
		.user_host = true,
		.no_cert = w->h->mirror_of != NULL,
	};
	enum attempt a =
		http_request(w->h->client, &rq, &r, NULL, NULL, w->op, errp);

	if (a != ATTEMPT_OK) {
		w->answer->code = r.code;
		w->answer->retry_after_ms = r.retry_after_ms;
		return a;
	}
	take_challenges(&r, ret);
	return ATTEMPT_OK;
}

static enum attempt challenge_of(const struct wish *w,
				 const struct http_response *refusal,
				 struct challenges *ret, struct error **errp)
{
	take_challenges(refusal, ret);
	return ret->n ? ATTEMPT_OK : ask_at_base(w, ret, errp);
}

/* Two scopes and more in one challenge: not all are for this grant, but a
 * token that is good for more than asked is good. */
static void add_scopes_locked(struct grant *g, const struct challenges *cs)
{
	const struct challenge *c = challenges_find(cs, "bearer");
	const char *scope = c ? challenge_param(c, "scope") : NULL;

	if (scope)
		scopes_add(&g->scopes, scope);
}

enum attempt registry_http_authenticate(
	struct registry_http *h, const struct registry_call *c,
	const struct retry *retry, const char *used, bool *ret_changed,
	struct http_response *answer, const struct op *op, struct error **errp)
{
	cleanup_challenges struct challenges cs = {0};
	cleanup_auth_way struct auth_way way = {0};
	const struct wish w = {h, c, retry, op, answer};
	struct grant *g;
	enum attempt a;

	*ret_changed = false;
	a = challenge_of(&w, answer, &cs, errp);
	if (a == ATTEMPT_OK)
		a = auth_way_choose(h, &cs, &way, errp);
	if (a != ATTEMPT_OK || way.scheme == AUTH_UNKNOWN)
		return a;
	mutex_lock(&w.h->lock);
	auth_way_release(&h->way);
	h->way = way;
	way = (struct auth_way){0};
	g = grant_locked(w.h, c);
	add_scopes_locked(g, &cs);
	/* Another thread may have been told the same a moment ago. */
	if (!is_other(g, used))
		a = obtain_locked(&w, g, used, errp);
	*ret_changed = a == ATTEMPT_OK && is_other(g, used);
	mutex_unlock(&w.h->lock);
	return a;
}
