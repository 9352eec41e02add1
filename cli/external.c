#include "cli/external.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"

int externals_of(const struct cli *cli, struct externals *ret,
		 struct error **errp)
{
	const char *text;
	size_t cap = 0;

	while ((text = cli_value_at(cli, "external", ret->n))) {
		const char *eq = strchr(text, '=');

		if (!eq || eq == text || !eq[1])
			return error_set(errp, EINVAL,
					 "--external wants PATH=URI, not '%s'",
					 text);
		strv_append(&ret->paths, xstrndup(text, (size_t)(eq - text)));
		ARRAY_GROW(ret->v, ret->n, cap);
		ret->v[ret->n] = (struct plan_external){
			.path = ret->paths[ret->n],
			.uri = eq + 1,
		};
		ret->n++;
	}
	return 0;
}

void externals_release(struct externals *e)
{
	strv_free(e->paths);
	free(e->v);
	*e = (struct externals){0};
}
