#include "engine/workspace.h"

#include "engine/pointer.h"
#include "engine/register.h"
#include "engine/unfetched.h"

static int scan_hashed(struct session *s, const char *dir,
		       const struct workspace_options *o, struct workspace *ws,
		       struct error **errp)
{
	struct scan_options so = {
		.follow_symlinks = o->follow_symlinks,
		.hash = true,
		.incomplete = o->n_externals > 0,
		.progress = o->progress,
		.op = o->op,
	};
	struct cache *cache;
	int r = session_cache(s, &cache, errp);

	if (r == 0)
		r = hashes_open(cache, dir, &so.hashes, errp);
	if (r < 0)
		return r;
	r = scan(dir, &ws->bf, &so, &ws->inv, errp);
	if (r == 0)
		r = hashes_save(so.hashes, errp);
	hashes_free(so.hashes);
	return r;
}

/* What is made of the folder would not have them, and nothing would say so. */
static int check_fetched(const struct workspace_options *o,
			 struct workspace *ws, struct error **errp)
{
	cleanup_free char *first = NULL, *more = NULL;
	size_t n;
	int r = unfetched_count(&ws->inv, &ws->bf, &n, &first, errp);

	if (r < 0 || !n)
		return r;
	more = n > 1 ? xasprintf(" and %zu more", n - 1) : xstrdup("");
	if (o->unfetched_warn) {
		strv_append(&ws->inv.warnings,
			    xasprintf("'%s'%s external: only the pointer is in "
				      "the folder",
				      first, more));
		return 0;
	}
	return error_hint(
		errp,
		error_set(errp, EINVAL,
			  "external files that are in the folder as pointers "
			  "alone would be lost: '%s'%s",
			  first, more),
		"fetch them (mops materialize --prefetch-external), say where "
		"they are (--external), or remove their pointers in %s",
		POINTER_FOLDER);
}

int workspace_open(struct session *s, const char *dir,
		   const struct workspace_options *o, struct workspace *ret,
		   struct error **errp)
{
	cleanup_workspace struct workspace ws = WORKSPACE_INIT;
	int r = bundle_file_load(dir, &ws.bf, errp);

	if (r == 0)
		r = scan_hashed(s, dir, o, &ws, errp);
	for (size_t i = 0; i < o->n_externals && r == 0; i++)
		r = register_external(session_stores(s), &o->externals[i],
				      !o->sizes_only, &ws.bf, &ws.inv, o->op,
				      errp);
	if (r == 0)
		r = check_fetched(o, &ws, errp);
	if (r == 0)
		r = inventory_check_layers(&ws.inv, &ws.bf, errp);
	if (r < 0)
		return r;
	*ret = ws;
	ws = (struct workspace)WORKSPACE_INIT;
	return 0;
}

void workspace_release(struct workspace *ws)
{
	inventory_release(&ws->inv);
	bundle_file_release(&ws->bf);
}
