#include "engine/setting_values.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/path.h"
#include "base/strbuf.h"
#include "engine/reference.h"
#include "engine/units.h"

#define CONCURRENCY_MAX 256
#define FILE_ROOTS_MAX  64
#define LIST_MAX        64

const char *setting_switch(void *field, const struct setting_value *v)
{
	static const char *const on[] = {"true", "1", "yes", "on"};
	static const char *const off[] = {"false", "0", "no", "off"};
	bool *b = field;

	for (size_t i = 0; i < ARRAY_SIZE(on); i++) {
		if (strcmp(v->text, on[i]) == 0) {
			*b = true;
			return NULL;
		}
		if (strcmp(v->text, off[i]) == 0) {
			*b = false;
			return NULL;
		}
	}
	return "is neither true nor false";
}

const char *setting_concurrency(void *field, const struct setting_value *v)
{
	unsigned *u = field;
	uint64_t n;

	if (strlen(v->text) != strspn(v->text, "0123456789") ||
	    parse_size(v->text, &n) < 0 || n < 1 || n > CONCURRENCY_MAX)
		return "is not a number from 1 to 256";
	*u = (unsigned)n;
	return NULL;
}

const char *setting_size(void *field, const struct setting_value *v)
{
	if (parse_size(v->text, field) < 0)
		return "is not a size (512, 10MB, 1GiB)";
	return NULL;
}

const char *setting_duration(void *field, const struct setting_value *v)
{
	int64_t ms;

	if (parse_duration_ms(v->text, &ms) < 0 || ms < 1 ||
	    ms == DURATION_HARD)
		return "is not a duration above zero (500ms, 10s, 2m)";
	*(int64_t *)field = ms;
	return NULL;
}

const char *setting_duration_or_hard(void *field, const struct setting_value *v)
{
	int64_t ms;

	if (parse_duration_ms(v->text, &ms) < 0 || ms < 1)
		return "is not a duration above zero (500ms, 10s, 2m) or "
		       "'hard'";
	*(int64_t *)field = ms;
	return NULL;
}

void setting_replace(char **field, char *take)
{
	free(*field);
	*field = take;
}

const char *setting_shared(void *field, const struct setting_value *v)
{
	bool group = !strcmp(v->text, "group");

	if (!group && strcmp(v->text, "private") != 0)
		return "is neither 'private' nor 'group'";
	*(bool *)field = group;
	return NULL;
}

const char *setting_role(void *field, const struct setting_value *v)
{
	if (!layer_name_valid(v->text))
		return "is not a role's name";
	setting_replace(field, xstrdup(v->text));
	return NULL;
}

/* A value from a file must not depend on where the program was started. */
static const char *absolute_path(const struct setting_value *v,
				 const char *path, char **ret)
{
	char cwd[PATH_MAX];

	if (strlen(path) >= PATH_MAX)
		return "is longer than a path can be";
	if (*path == '/') {
		*ret = xstrdup(path);
	} else if (v->home && strncmp(path, "~/", 2) == 0) {
		*ret = xasprintf("%s/%s", v->home, path + 2);
	} else if (v->in_file) {
		return "is not an absolute path";
	} else {
		if (!getcwd(cwd, sizeof(cwd)))
			return "is relative, and the working folder is gone";
		*ret = xasprintf("%s/%s", cwd, path);
	}
	return NULL;
}

const char *setting_path(void *field, const struct setting_value *v)
{
	char *path;
	const char *flaw = absolute_path(v, v->text, &path);

	if (!flaw)
		setting_replace(field, path);
	return flaw;
}

const char *setting_registry(void *field, const struct setting_value *v)
{
	cleanup_free char *path = NULL;
	char *registry = NULL;
	const char *flaw;

	if (strncmp(v->text, "oci:", 4) == 0 && v->text[4]) {
		flaw = absolute_path(v, v->text + 4, &path);
		if (flaw)
			return flaw;
		registry = xasprintf("oci:%s", path);
	} else {
		registry = xstrdup(v->text);
	}
	flaw = registry_flaw(registry);
	if (flaw) {
		free(registry);
		return "is not a registry: host[:port][/prefix] or "
		       "oci:<folder>, the folder without ':' and '@'";
	}
	setting_replace(field, registry);
	return NULL;
}

/* Folders, separated by ':'. */
const char *setting_folders(void *field, const struct setting_value *v)
{
	char ***list = field;
	cleanup_strv char **fresh = NULL;
	const char *p = v->text;

	for (size_t n = 0;; n++) {
		size_t len = strcspn(p, ":");
		cleanup_free char *item = xstrndup(p, len);
		char *path;
		const char *flaw;

		if (n == FILE_ROOTS_MAX)
			return "has more than 64 folders";
		flaw = len ? absolute_path(v, item, &path)
			   : "has an empty folder";
		if (flaw)
			return flaw;
		strv_append(&fresh, path);
		if (!p[len])
			break;
		p += len + 1;
	}
	strv_free(*list);
	*list = steal_ptr(&fresh);
	return NULL;
}

/* Separated by ','; @flaw_of says what is wrong with one of them. */
static const char *set_list(char ***list, const char *p,
			    const char *(*flaw_of)(const char *item))
{
	cleanup_strv char **fresh = NULL;

	for (size_t n = 0;; n++) {
		size_t len = strcspn(p, ",");
		char *item = xstrndup(p, len);
		const char *flaw;

		strv_append(&fresh, item);
		flaw = n == LIST_MAX ? "has more than 64 of them"
				     : flaw_of(item);
		if (flaw)
			return flaw;
		if (!p[len])
			break;
		p += len + 1;
	}
	strv_free(*list);
	*list = steal_ptr(&fresh);
	return NULL;
}

static const char *host_flaw(const char *s)
{
	if (registry_flaw(s) || strchr(s, '/') || strncmp(s, "oci:", 4) == 0)
		return "is not a list of hosts: host[:port],…";
	return NULL;
}

const char *setting_hosts(void *field, const struct setting_value *v)
{
	return set_list(field, v->text, host_flaw);
}

static const char *mirror_flaw(const char *s)
{
	static const char *const flaw =
		"is not a list of mirrors: "
		"HOST=[http[s]://]MIRROR[:PORT][/PREFIX],…";
	const char *equals = strchr(s, '=');
	cleanup_free char *host = NULL;
	const char *place;

	if (!equals)
		return flaw;
	host = xstrndup(s, (size_t)(equals - s));
	place = strstr(equals, "://");
	place = place ? place + 3 : equals + 1;
	if (place != equals + 1 && strncmp(equals + 1, "http://", 7) != 0 &&
	    strncmp(equals + 1, "https://", 8) != 0)
		return flaw;
	if ((strcmp(host, "*") != 0 && host_flaw(host)) ||
	    registry_flaw(place) || strncmp(place, "oci:", 4) == 0)
		return flaw;
	return NULL;
}

const char *setting_mirrors(void *field, const struct setting_value *v)
{
	return set_list(field, v->text, mirror_flaw);
}

static const char *bucket_flaw(const char *s)
{
	size_t n = strlen(s);

	return n < 3 || n > 63 ||
			       strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789"
					 ".-") != n
		       ? "is not a list of buckets: name,…"
		       : NULL;
}

const char *setting_buckets(void *field, const struct setting_value *v)
{
	return set_list(field, v->text, bucket_flaw);
}
