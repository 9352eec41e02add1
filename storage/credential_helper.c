#include "storage/credential_helper.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/path.h"
#include "base/secret.h"
#include "storage/program.h"

#define SUFFIX_MAX   64
#define SERVER_MAX   512
#define REPLY_VALUES 100
#define NOT_FOUND    "credentials not found in native keychain"

/* No path, no option, nothing that is special anywhere. */
static bool is_suffix(const char *s)
{
	size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyz"
			     "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-");

	return n && n <= SUFFIX_MAX && !s[n] && *s != '-' && *s != '.';
}

/* The helpers' protocol ends at a line; a server's name is one word. */
static bool is_server(const char *s)
{
	size_t n = strlen(s);

	for (size_t i = 0; i < n; i++)
		if (s[i] <= ' ' || s[i] >= 0x7f)
			return false;
	return n && n <= SERVER_MAX;
}

int credential_helper_parse(const char *buf, size_t n, struct login *ret,
			    struct error **errp)
{
	static const struct json_limits limits = {PROGRAM_OUTPUT_MAX,
						  REPLY_VALUES};
	cleanup_json struct json *doc = NULL;
	const char *user, *secret;

	if (json_parse(buf, n, &limits, &doc, NULL) < 0)
		return error_set(errp, EINVAL, "its answer is no JSON");
	user = json_str(json_get(doc, "Username"));
	secret = json_str(json_get(doc, "Secret"));
	if (!user || !secret || !*secret) {
		json_wipe(doc);
		return error_set(errp, EINVAL,
				 "its answer holds no user and secret");
	}
	if (strcmp(user, "<token>") == 0) {
		ret->identity_token = xstrdup(secret);
	} else {
		ret->user = xstrdup(user);
		ret->secret = xstrdup(secret);
	}
	json_wipe(doc);
	return 1;
}

/* A question to a helper, and its answer. */
struct ask {
	const char *suffix, *server;
	const char *action;
	const char *input; /* for its standard input */
	/* What a success says; NULL: nothing of interest. */
	int (*take)(const char *text, struct login *ret, struct error **errp);
	struct login *ret;
};

static int ask(const struct ask *a, char *program, const struct op *op,
	       struct error **errp)
{
	char *argv[] = {program, (char *)a->action, NULL};
	cleanup_program_output char *text = NULL;
	int status = 0;
	int r = program_run(argv, a->input, &text, &status, op, errp);

	if (r < 0)
		return r;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return a->take ? a->take(text, a->ret, errp) : 1;
	if (WIFEXITED(status) &&
	    strncmp(text, NOT_FOUND, strlen(NOT_FOUND)) == 0)
		return 0;
	return program_failed(status, EIO, errp);
}

/* 1: done; 0: it has nothing of the kind. */
static int find_and_ask(const struct ask *a, const struct op *op,
			struct error **errp)
{
	cleanup_free char *program = NULL;
	cleanup_free char *name = NULL;
	int r;

	if (!is_suffix(a->suffix))
		return error_set(errp, EINVAL,
				 "'%s' is no credential helper's name",
				 a->suffix);
	name = xasprintf("docker-credential-%s", a->suffix);
	if (!is_server(a->server))
		return error_set(errp, EINVAL, "%s is not asked about '%s'",
				 name, a->server);
	program = program_find(name);
	if (!program)
		return error_set(errp, EIO, "%s is not in PATH", name);
	r = ask(a, program, op, errp);
	return r < 0 ? error_prefix(errp, r, "%s", name) : r;
}

static int take_login(const char *text, struct login *ret, struct error **errp)
{
	return credential_helper_parse(text, strlen(text), ret, errp);
}

int credential_helper_get(const char *suffix, const char *server,
			  struct login *ret, const struct op *op,
			  struct error **errp)
{
	const struct ask a = {suffix, server, "get", server, take_login, ret};

	return find_and_ask(&a, op, errp);
}

int credential_helper_store(const char *suffix, const char *server,
			    const struct login *login, const struct op *op,
			    struct error **errp)
{
	size_t room = 6 * (strlen(server) + strlen(login->user) +
			   strlen(login->secret)) +
		      256;
	cleanup_secret_strbuf struct strbuf doc = STRBUF_INIT;
	struct ask a = {suffix, server, "store", NULL, NULL, NULL};
	struct json_writer w;
	int r;

	if (!utf8_valid(login->user, strlen(login->user)) ||
	    !utf8_valid(login->secret, strlen(login->secret)))
		return error_set(errp, EINVAL,
				 "user and password are not UTF-8, which "
				 "docker-credential-%s wants",
				 suffix);
	strbuf_make_room(&doc, room);
	json_writer_init(&w, &doc);
	json_begin_object(&w, NULL);
	json_put_str(&w, "Secret", login->secret);
	json_put_str(&w, "ServerURL", server);
	json_put_str(&w, "Username", login->user);
	json_end_object(&w);
	a.input = strbuf_str(&doc);
	r = find_and_ask(&a, op, errp);
	if (r == 0)
		return error_set(errp, EIO,
				 "docker-credential-%s has not kept it",
				 suffix);
	return r < 0 ? r : 0;
}

int credential_helper_erase(const char *suffix, const char *server,
			    const struct op *op, struct error **errp)
{
	const struct ask a = {suffix, server, "erase", server, NULL, NULL};
	int r = find_and_ask(&a, op, errp);

	return r < 0 ? r : !r;
}
