#include "cli/nearest.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/uri.h"

#define NAME_MAX_LETTERS 32u

unsigned name_distance(const char *a, const char *b)
{
	unsigned d[NAME_MAX_LETTERS + 1][NAME_MAX_LETTERS + 1];
	size_t n = strlen(a), m = strlen(b);

	if (n > NAME_MAX_LETTERS || m > NAME_MAX_LETTERS)
		return (unsigned)MIN(MAX(n, m), (size_t)1 << 16);
	for (size_t i = 0; i <= n; i++)
		d[i][0] = (unsigned)i;
	for (size_t k = 0; k <= m; k++)
		d[0][k] = (unsigned)k;
	for (size_t i = 1; i <= n; i++) {
		for (size_t k = 1; k <= m; k++) {
			unsigned change =
				d[i - 1][k - 1] + (a[i - 1] != b[k - 1]);
			unsigned v = MIN(d[i - 1][k], d[i][k - 1]) + 1;

			v = MIN(v, change);
			if (i > 1 && k > 1 && a[i - 1] == b[k - 2] &&
			    a[i - 2] == b[k - 1])
				v = MIN(v, d[i - 2][k - 2] + 1);
			d[i][k] = v;
		}
	}
	return d[n][m];
}

const struct verb *nearest_verb(const struct program *p, const char *name)
{
	const struct verb *best = NULL;
	unsigned best_distance = 3; /* two slips are one word, three another */

	for (const struct verb *v = p->verbs; v->name; v++) {
		unsigned d = name_distance(name, v->name);

		/* Of a short word not the half. */
		if (d < best_distance && 2 * (size_t)d < strlen(v->name)) {
			best = v;
			best_distance = d;
		}
	}
	return best;
}

int no_such_verb(const struct program *p, const char *name, struct error **errp)
{
	const struct verb *v = nearest_verb(p, name);
	cleanup_free char *text = uri_without_secrets(name);
	int r = error_set(errp, EINVAL, "there is no command '%s'", text);

	if (v)
		return error_hint(errp, r, "did you mean '%s'? see '%s help'",
				  v->name, p->name);
	return error_hint(errp, r, "see '%s help'", p->name);
}
