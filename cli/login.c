/* login, logout: a registry's credentials, kept where docker keeps them. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/escape.h"
#include "base/secret.h"
#include "cli/output.h"
#include "cli/prompt.h"
#include "cli/run.h"
#include "cli/verbs.h"
#include "storage/credentials.h"
#include "storage/registry_http.h"

const struct arg_option options_login[] = {
	{"username", 'u', "NAME", false, "who (default: asked for)"},
	{"password-stdin", 0, NULL, false,
	 "read the password or token from standard input"},
	{0},
};

/* The one that is named, or the default registry's. Heap. */
static int choose_host(const struct cli *cli, char **ret, struct error **errp)
{
	const char *s = cli->n_args ? cli->args[0] : cli->settings.registry;

	/* It may hold a password: it is not quoted. */
	if (strstr(s, "://") || strchr(s, '@'))
		return error_set(errp, EINVAL,
				 "a registry is a host, host[:port], without a "
				 "scheme or a user");
	if (!cli->n_args && strncmp(s, "oci:", 4) == 0)
		return error_hint(
			errp,
			error_set(errp, EINVAL,
				  "no registry was named, and the default one "
				  "is a folder"),
			"say which: 'mops %s HOST'", cli->verb->name);
	*ret = cli->n_args ? xstrdup(s) : xstrndup(s, strcspn(s, "/"));
	return registry_http_check_host(*ret, errp);
}

static int ask(const struct cli *cli, const char *host, struct login *ret,
	       struct error **errp)
{
	const char *user = cli_value(cli, "username");
	bool by_stdin = cli_has(cli, "password-stdin");
	int r = 0;

	if (user)
		ret->user = xstrdup(user);
	else if (by_stdin)
		r = error_set(errp, EINVAL,
			      "--password-stdin goes with --username");
	else
		r = prompt("User: ", false, &ret->user, errp);
	if (r == 0 && by_stdin)
		r = prompt_stdin(&ret->secret, errp);
	else if (r == 0)
		r = prompt("Password or token: ", true, &ret->secret, errp);
	if (r == -ENOTTY)
		error_hint(errp, r,
			   "mops login %s --username NAME --password-stdin "
			   "< FILE",
			   host);
	if (r < 0)
		return error_kind(errp, r, ERROR_VALIDATION);
	if (!*ret->user || strpbrk(ret->user, ":\r\n"))
		return error_set(errp, EINVAL, "that is no user's name");
	return 0;
}

static void say_login(const struct cli *cli, const char *host,
		      const struct login *l, const struct login_place *p,
		      bool checked)
{
	cleanup_strbuf struct strbuf doc = STRBUF_INIT;
	struct json_writer w;

	if (!cli->json) {
		if (!checked && !cli->quiet)
			print_line(stderr,
				   "mops: warning: registry '%s' wants no "
				   "login, so this one was not tried",
				   host);
		print_line(stdout, "logged in to %s as %s; kept %s%s in %s",
			   host, l->user,
			   p->helper ? "by docker-credential-" : "",
			   p->helper ? p->helper : "unencrypted", p->file);
		return;
	}
	json_writer_init(&w, &doc);
	json_begin_object(&w, NULL);
	json_put_bool(&w, "checked", checked);
	output_put_text(&w, "file", p->file);
	if (p->helper)
		output_put_text(&w, "helper", p->helper);
	output_put_text(&w, "registry", host);
	output_put_text(&w, "user", l->user);
	json_end_object(&w);
	output_json(&doc);
}

int verb_login(struct cli *cli, struct error **errp)
{
	cleanup_run struct run run = {0};
	cleanup_login_place struct login_place place = {0};
	cleanup_login struct login login = {0};
	cleanup_free char *host = NULL;
	bool asked = false;
	int r = run_begin(cli, &run, errp);

	if (r == 0 && cli->settings.anonymous)
		r = error_set(errp, EINVAL,
			      "--anonymous is to go without a login");
	if (r == 0)
		r = choose_host(cli, &host, errp);
	if (r == 0)
		r = ask(cli, host, &login, errp);
	if (r == 0)
		r = session_try_login(run.session, host, &login, &asked,
				      &run.op, errp);
	if (r < 0)
		return r;
	r = credentials_store(host, &login, &place, &run.op, errp);
	if (r < 0)
		return r;
	say_login(cli, host, &login, &place, asked);
	return 0;
}

/* The other files are of other programs. */
static bool is_left(const char *host, const struct op *op)
{
	struct credentials *c = credentials_new();
	cleanup_login struct login l = {0};
	int r = credentials_get(c, host, NULL, &l, op, NULL);

	credentials_free(c);
	return r == 1;
}

static void say_logout(const struct cli *cli, const char *host,
		       const struct login_place *p, bool removed, bool left)
{
	cleanup_strbuf struct strbuf doc = STRBUF_INIT;
	struct json_writer w;

	if (!cli->json) {
		print_line(stdout, "%s %s in %s",
			   removed ? "forgot the login for"
				   : "there was no login for",
			   host, p->file);
		if (left && !cli->quiet)
			print_line(stderr,
				   "mops: warning: another file, podman's "
				   "maybe, still has a login for %s",
				   host);
		return;
	}
	json_writer_init(&w, &doc);
	json_begin_object(&w, NULL);
	output_put_text(&w, "file", p->file);
	json_put_bool(&w, "left", left);
	output_put_text(&w, "registry", host);
	json_put_bool(&w, "removed", removed);
	json_end_object(&w);
	output_json(&doc);
}

int verb_logout(struct cli *cli, struct error **errp)
{
	cleanup_run struct run run = {0};
	cleanup_login_place struct login_place place = {0};
	cleanup_free char *host = NULL;
	int r = run_begin(cli, &run, errp);

	if (r == 0)
		r = choose_host(cli, &host, errp);
	if (r == 0)
		r = credentials_forget(host, &place, &run.op, errp);
	if (r < 0)
		return r;
	say_logout(cli, host, &place, r == 1, is_left(host, &run.op));
	return 0;
}
