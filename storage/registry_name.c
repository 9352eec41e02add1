#include "storage/registry.h"

#include <errno.h>
#include <string.h>

#define REPO_NAME_MAX 255
#define TAG_MAX       128

static bool is_lower_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static const char *skip_alnum(const char *s)
{
	while (is_lower_alnum(*s))
		s++;
	return s;
}

/* After one separator (".", "_", "__" or any run of "-"); @s itself when there
 * is none. */
static const char *skip_separator(const char *s)
{
	if (*s == '.')
		return s + 1;
	if (*s == '_')
		return s[1] == '_' ? s + 2 : s + 1;
	while (*s == '-')
		s++;
	return s;
}

/* After one component of a name; NULL when there is none. */
static const char *skip_component(const char *s)
{
	for (;;) {
		const char *end = skip_alnum(s);

		if (end == s)
			return NULL;
		s = skip_separator(end);
		if (s == end)
			return s;
	}
}

bool repo_name_valid(const char *s)
{
	if (strnlen(s, REPO_NAME_MAX + 1) > REPO_NAME_MAX)
		return false;
	for (;;) {
		s = skip_component(s);
		if (!s)
			return false;
		if (*s == '\0')
			return true;
		if (*s++ != '/')
			return false;
	}
}

static bool is_word(char c)
{
	return is_lower_alnum(c) || (c >= 'A' && c <= 'Z') || c == '_';
}

bool tag_valid(const char *s)
{
	size_t n;

	if (!is_word(s[0]))
		return false;
	for (n = 1; s[n]; n++)
		if (n >= TAG_MAX ||
		    !(is_word(s[n]) || s[n] == '.' || s[n] == '-'))
			return false;
	return true;
}

int registry_check_names(const char *repo, const char *tag, struct error **errp)
{
	if (!repo_name_valid(repo))
		return error_set(errp, EINVAL, "'%s' is no repository name",
				 repo);
	if (tag && !tag_valid(tag))
		return error_set(errp, EINVAL, "'%s' is no tag", tag);
	return 0;
}
