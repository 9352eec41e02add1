/*
 * Keys that a program prints: the profile's `credential_process`. Its value is
 * a command line of quoted words; no shell looks at it.
 */
#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/strbuf.h"
#include "storage/aws_config.h"
#include "storage/aws_credentials.h"
#include "storage/program.h"
#include "storage/provider.h"

#define WORDS_MAX  100
#define VALUES_MAX 100
#define BLANKS     " \t\r\n"
#define NAME       "credential_process"

/* One word from *@p on: bare, 'as it is', "with \" and \\", or a mix. */
static char *word(const char **p)
{
	struct strbuf sb = STRBUF_INIT;
	const char *s = *p;
	char quote = 0;

	for (; *s && (quote || !strchr(BLANKS, *s)); s++) {
		bool escapes = *s == '\\' && quote != '\'' && s[1] &&
			       (!quote || s[1] == '"' || s[1] == '\\');

		if (escapes)
			strbuf_addc(&sb, *++s);
		else if (quote ? *s == quote : *s == '"' || *s == '\'')
			quote = quote ? 0 : *s;
		else
			strbuf_addc(&sb, *s);
	}
	*p = s;
	if (quote) {
		free(strbuf_steal(&sb));
		return NULL;
	}
	return strbuf_steal(&sb);
}

static int split(const char *command, char ***ret, struct error **errp)
{
	const char *p = command + strspn(command, BLANKS);

	for (size_t n = 0; *p; n++, p += strspn(p, BLANKS)) {
		char *w = n < WORDS_MAX ? word(&p) : NULL;

		if (!w)
			return error_set(errp, EINVAL,
					 "its command line has an open quote "
					 "or over %d words",
					 WORDS_MAX);
		strv_append(ret, w);
	}
	return *ret ? 0 : error_set(errp, EINVAL, "its command line is empty");
}

/* The first word as a path. */
static int locate(char **name, struct error **errp)
{
	char *path = NULL;

	if (strchr(*name, '/') && **name != '/')
		return error_set(errp, EINVAL,
				 "'%s' is neither a name in PATH nor an "
				 "absolute path",
				 *name);
	path = **name == '/' ? xstrdup(*name) : program_find(*name);
	if (!path || access(path, X_OK) < 0) {
		free(path);
		return error_set(errp, EACCES, "there is no program '%s'",
				 *name);
	}
	free(*name);
	*name = path;
	return 0;
}

static int take(const char *text, struct secret **ret, struct error **errp)
{
	static const struct json_limits limits = {PROGRAM_OUTPUT_MAX,
						  VALUES_MAX};
	cleanup_secret_json struct json *doc = NULL;
	int64_t version = 0;

	if (json_parse(text, strlen(text), &limits, &doc, NULL) < 0 ||
	    json_int(json_get(doc, "Version"), &version) < 0 || version != 1)
		return error_set(errp, EPROTO,
				 "its answer is no JSON of version 1");
	return aws_keys_of(doc, "SessionToken", "program", ret, errp);
}

static bool is_command(const char *command, char *const *argv)
{
	cleanup_strv char **words = NULL;
	size_t i = 0;

	if (!command || split(command, &words, NULL) < 0)
		return false;
	assert(words);
	if (locate(&words[0], NULL) < 0)
		return false;
	while (words[i] && argv[i] && !strcmp(words[i], argv[i]))
		i++;
	return !words[i] && !argv[i];
}

bool aws_process_is_configured(char *const *argv)
{
	cleanup_aws_config struct aws_config c = {0};
	int r = aws_config_load(&c, NULL);

	for (unsigned depth = 0; r == 0 && depth <= AWS_SOURCES_MAX; depth++) {
		char *source;

		if (is_command(aws_config_secret(&c, NAME), argv) ||
		    is_command(aws_config_get(&c, NAME, NULL), argv))
			return true;
		if (!aws_config_get(&c, "source_profile", NULL))
			return false;
		source = xstrdup(aws_config_get(&c, "source_profile", NULL));
		free(c.profile);
		c.profile = source;
	}
	return false;
}

int aws_process(const char *command, struct secret **ret, const struct op *op,
		struct error **errp)
{
	cleanup_program_output char *text = NULL;
	cleanup_strv char **argv = NULL;
	int status = 0;
	int r = split(command, &argv, errp);

	if (r == 0) {
		assert(argv);
		r = locate(&argv[0], errp);
	}
	if (r == 0)
		r = program_run(argv, "", &text, &status, op, errp);
	if (r == 0 && status != 0)
		r = program_failed(status, EACCES, errp);
	else if (r == 0)
		r = take(text, ret, errp);
	return error_prefix(errp, r, NAME);
}
