#include "engine/ignore.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/path.h"
#include "engine/glob.h"

struct rule {
	struct glob *glob;
	bool take;     /* '!' */
	bool dir_only; /* '/' at the end */
	bool anywhere; /* no other '/': for the last component alone */
};

struct ignore {
	struct rule *rules; /* in the file's order */
	size_t n;
};

/* Blanks at the end do not count unless a backslash stands before them. */
static size_t trim(const char *s, size_t n)
{
	size_t keep = 0;

	for (size_t i = 0; i < n; i++) {
		if (s[i] == ' ')
			continue;
		if (s[i] == '\\' && i + 1 < n)
			i++;
		keep = i + 1;
	}
	return keep;
}

/* A pattern of @n > 0 bytes, comment marks and blanks taken care of. */
static struct rule make_rule(const char *s, size_t n)
{
	struct rule rule = {0};

	if (*s == '!') {
		rule.take = true;
		s++;
		n--;
	}
	if (n && s[n - 1] == '/') {
		rule.dir_only = true;
		n--;
	}
	rule.anywhere = !memchr(s, '/', n);
	if (n && *s == '/') {
		s++;
		n--;
	}
	rule.glob = glob_compile_ignore(s, n);
	return rule;
}

static int add_line(struct ignore *ig, size_t *cap, const char *s, size_t n,
		    struct error **errp)
{
	cleanup_free char *nfc = NULL;
	int r;

	if (n && s[n - 1] == '\r')
		n--;
	if (!n || *s == '#')
		return 0;
	n = trim(s, n);
	if (!n)
		return 0;
	r = path_to_nfc(s, n, &nfc, errp);
	if (r < 0)
		return r;
	ARRAY_GROW(ig->rules, ig->n, *cap);
	ig->rules[ig->n++] = make_rule(nfc, strlen(nfc));
	return 0;
}

static void ignore_freep(struct ignore **ig)
{
	ignore_free(*ig);
}

int ignore_parse(const char *buf, size_t n, const char *file,
		 struct ignore **ret, struct error **errp)
{
	__attribute__((cleanup(ignore_freep))) struct ignore *ig =
		xcalloc(1, sizeof(*ig));
	const char *p = buf, *end = buf + n;
	size_t cap = 0;

	if (n >= 3 && memcmp(p, "\xef\xbb\xbf", 3) == 0)
		p += 3;
	for (unsigned line = 1; p < end; line++) {
		const char *lf = memchr(p, '\n', (size_t)(end - p));
		const char *to = lf ? lf : end;
		int r;

		if (memchr(p, '\0', (size_t)(to - p)))
			return error_set(errp, EINVAL, "%s:%u: a NUL character",
					 file, line);
		r = add_line(ig, &cap, p, (size_t)(to - p), errp);
		if (r < 0)
			return error_prefix(errp, r, "%s:%u", file, line);
		p = lf ? lf + 1 : end;
	}
	*ret = steal_ptr(&ig);
	return 0;
}

enum ignore_verdict ignore_match(const struct ignore *ig, const char *path,
				 size_t n, bool is_dir)
{
	const char *slash = memrchr(path, '/', n);
	const char *name = slash ? slash + 1 : path;
	size_t name_len = n - (size_t)(name - path);

	for (size_t i = ig->n; i-- > 0;) {
		const struct rule *rule = &ig->rules[i];
		bool match;

		if (rule->dir_only && !is_dir)
			continue;
		match = rule->anywhere ? glob_match(rule->glob, name, name_len)
				       : glob_match(rule->glob, path, n);
		if (match)
			return rule->take ? IGNORE_TAKE : IGNORE_LEAVE_OUT;
	}
	return IGNORE_NO_OPINION;
}

void ignore_free(struct ignore *ig)
{
	if (!ig)
		return;
	for (size_t i = 0; i < ig->n; i++)
		glob_free(ig->rules[i].glob);
	free(ig->rules);
	free(ig);
}
