#include "storage/credential_helper.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "base/json.h"
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

static int ask(char *program, const char *server, struct login *ret,
	       const struct op *op, struct error **errp)
{
	char *argv[] = {program, (char *)"get", NULL};
	cleanup_program_output char *text = NULL;
	int status = 0;
	int r = program_run(argv, server, &text, &status, op, errp);

	if (r < 0)
		return r;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return credential_helper_parse(text, strlen(text), ret, errp);
	if (WIFEXITED(status) &&
	    strncmp(text, NOT_FOUND, strlen(NOT_FOUND)) == 0)
		return 0;
	return program_failed(status, EIO, errp);
}

int credential_helper_get(const char *suffix, const char *server,
			  struct login *ret, const struct op *op,
			  struct error **errp)
{
	cleanup_free char *program = NULL;
	cleanup_free char *name = NULL;
	int r;

	if (!is_suffix(suffix))
		return error_set(errp, EINVAL,
				 "'%s' is no credential helper's name", suffix);
	name = xasprintf("docker-credential-%s", suffix);
	if (!is_server(server))
		return error_set(errp, EINVAL, "%s is not asked about '%s'",
				 name, server);
	program = program_find(name);
	if (!program)
		return error_set(errp, EIO, "%s is not in PATH", name);
	r = ask(program, server, ret, op, errp);
	return r < 0 ? error_prefix(errp, r, "%s", name) : r;
}
