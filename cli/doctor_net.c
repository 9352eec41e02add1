/* doctor: names, proxies, the registry, its clock, who we are to it. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "cli/doctor.h"
#include "engine/store_look.h"
#include "storage/http_proxy.h"

#define STEP_MS        15000
#define FEW_SECONDS    60
#define SIGNED_SECONDS 900 /* what S3 and Azure let pass */

static const char *const be_online =
	"do without --offline, MOPS_OFFLINE and offline";

static int64_t distance(int64_t v)
{
	return v < 0 ? -v : v;
}

static void say_clock(const struct registry_probe *p, struct checks *k)
{
	static const char remedy[] =
		"have the clock set, by chrony or systemd-timesyncd";
	int64_t off = distance(p->ahead_s);
	const char *how = p->ahead_s < 0 ? "ahead of" : "behind";

	if (!p->has_clock)
		check_bad(k, CHECK_NOTE, "clock",
			  "compare it with another machine's",
			  "the registry does not say what time it is");
	else if (off > SIGNED_SECONDS)
		check_bad(k, CHECK_FAILED, "clock", remedy,
			  "%" PRId64 " s %s the registry's: stores refuse "
			  "what is signed with it",
			  off, how);
	else if (off > FEW_SECONDS)
		check_bad(k, CHECK_WARNING, "clock", remedy,
			  "%" PRId64 " s %s the registry's", off, how);
	else
		check_ok(k, "clock", "%" PRId64 " s from the registry's", off);
}

static void say_login(const struct registry_probe *p, bool anonymous,
		      struct checks *k)
{
	const char *from = p->login_from;

	if (p->wants_login && from)
		check_ok(k, "registry.login", "accepted, by way of %s", from);
	else if (p->wants_login)
		check_ok(k, "registry.login", "%s",
			 anonymous ? "anonymous, as was asked"
				   : "anonymous: no login is stored");
	else
		check_ok(k, "registry.login", "none is wanted%s%s",
			 from ? "; stored in " : "", from ? from : "");
}

static void say_refused(const struct registry_probe *p, const char *host,
			const struct error *err, struct checks *k)
{
	cleanup_free char *remedy = xasprintf("try 'mops login %s'", host);
	cleanup_error struct error *whole = error_copy(err);

	if (p->login_from)
		error_prefix(&whole, -err->code, "login of %s", p->login_from);
	else
		error_prefix(&whole, -err->code, "no login");
	check_error(k, "registry.login", whole, remedy);
}

static void say_name(const struct registry_probe *p, struct checks *k)
{
	if (!p->named)
		check_ok(k, "dns", "not needed: an address");
	else if (p->proxy)
		check_ok(k, "dns", "left to the proxy");
	else
		check_ok(k, "dns", "the registry's name is found");
}

/* What was reached, in the order of the steps, and what was not. */
static void say_steps(const struct registry_probe *p, const char *host,
		      bool anonymous, const struct error *err, struct checks *k)
{
	if (p->proxy)
		check_ok(k, "proxy", "'%s' for '%s'", p->proxy, p->url);
	else
		check_ok(k, "proxy", "none for '%s'", p->url);
	if (p->step == REGISTRY_NAME) {
		check_error(k, "dns", err,
			    "look at the name, and at /etc/resolv.conf");
		return;
	}
	say_name(p, k);
	if (p->step == REGISTRY_ANSWER) {
		check_error(k, "registry.reach", err,
			    "look at the registry, at firewalls between, and "
			    "at https_proxy; plain_http and ca_file say how "
			    "it is spoken to");
		return;
	}
	check_ok(k, "registry.reach", "'%s' answers", p->url);
	say_clock(p, k);
	if (p->step == REGISTRY_OPEN)
		say_login(p, anonymous, k);
	else
		say_refused(p, host, err, k);
}

/* False: there is no use in asking more of it. */
static bool look_at_registry(struct run *run, const struct reference *ref,
			     bool named, struct checks *k)
{
	const struct settings *set = &run->cli->settings;
	cleanup_registry_probe struct registry_probe p = {0};
	cleanup_error struct error *err = NULL;
	struct registry *reg;

	if (ref->layout) {
		check_ok(k, "registry.reach", "'%s', a folder", ref->registry);
		return true;
	}
	if (set->offline) {
		check_bad(k, CHECK_NOTE, "registry.reach", be_online,
			  "offline: '%s' is not asked", ref->registry);
		return true;
	}
	run->op.deadline_ns = time_deadline_ms(STEP_MS);
	if (session_registry(run->session, ref, &reg, &err) < 0) {
		check_error(k, "registry.reach", err,
			    "look at the settings below");
		return false;
	}
	if (!reg->ops->probe)
		return true;
	(void)reg->ops->probe(reg, named ? ref->repo : NULL, &p, &run->op,
			      &err);
	say_steps(&p, ref->registry, set->anonymous, err, k);
	return p.step == REGISTRY_OPEN;
}

static void say_store(void *ctx, const struct store_look *l)
{
	cleanup_error struct error *err = NULL;
	struct checks *k = ctx;

	if (!l->err) {
		check_ok(k, "store", "'%s' has '%s'", l->store, l->uri);
		return;
	}
	if (l->err->code == ENOTCONN) {
		check_bad(k, CHECK_NOTE, "store", be_online,
			  "offline: '%s' is not asked", l->store);
		return;
	}
	err = error_copy(l->err);
	if (!strstr(err->message, l->uri))
		error_prefix(&err, -err->code, "'%s'", l->uri);
	check_error(k, "store", err,
		    l->err->code == ENOENT || l->err->code == ESTALE
			    ? "'mops verify REF' names each that is not as "
			      "it was pushed"
			    : "look at the store's credentials, its endpoint "
			      "and, for file://, at file_roots");
}

static void look_at_stores(struct run *run, struct bundle *b, struct checks *k)
{
	cleanup_error struct error *err = NULL;

	run->op.deadline_ns = time_deadline_ms(STEP_MS);
	if (bundle_look_at_stores(b, &run->op, say_store, k, &err) < 0)
		check_error(k, "bundle", err,
			    "'mops verify REF' says more of what is there");
}

static void look_at_bundle(struct run *run, const char *text, struct checks *k)
{
	cleanup_bundle struct bundle *b = NULL;
	cleanup_error struct error *err = NULL;

	run->op.deadline_ns = time_deadline_ms(STEP_MS);
	if (run_bundle(run, text, &b, &err) < 0) {
		check_error(k, "bundle", err,
			    "'mops verify REF' says more of what is there");
		return;
	}
	check_ok(k, "bundle", "%s, %zu layers, %zu roles%s",
		 digest_to_str(&b->digest).str, b->root.n_layers,
		 b->root.n_roles,
		 b->tag_from_cache ? ", as last resolved" : "");
	look_at_stores(run, b, k);
}

/* A wrong variable fails whoever asks anything over HTTP. */
static bool proxies_are_fine(struct checks *k)
{
	cleanup_error struct error *err = NULL;
	struct http_proxies proxies;

	if (http_proxies_load(&proxies, &err) == 0) {
		http_proxies_release(&proxies);
		return true;
	}
	check_error(k, "proxy", err, "set the variable anew, or unset it");
	return false;
}

void doctor_net(struct run *run, const char *text, struct checks *k)
{
	cleanup_reference struct reference ref = {0};
	cleanup_error struct error *err = NULL;
	bool fine = proxies_are_fine(k);

	/* Any name: what stands before it is where bare names resolve. */
	if (run_reference(run, text ? text : "x", &ref, &err) < 0) {
		check_error(k, "registry.reach", err,
			    "write it as 'host/name:version'");
		return;
	}
	if (!fine && !ref.layout)
		return;
	if (look_at_registry(run, &ref, text != NULL, k) && text)
		look_at_bundle(run, text, k);
}
