#include "engine/import_layout.h"

#include <errno.h>

#include "base/alloc.h"
#include "engine/copy_list.h"
#include "storage/layout_folder.h"

/* In an archive what is missing is no failure to find it. */
static int malformed(int r, struct error **errp)
{
	return r == -ENOENT || r == -EPROTO
		       ? error_kind(errp, r, ERROR_VALIDATION)
		       : r;
}

static int choose(const struct layout_index *idx, const struct reference *to,
		  struct digest *ret, struct error **errp)
{
	const struct layout_entry *e = NULL;

	if (to->has_digest)
		e = layout_index_by_digest(idx, &to->digest);
	else if (idx->n == 1)
		e = &idx->entries[0];
	if (e && e->usable) {
		*ret = e->desc.digest;
		return 0;
	}
	if (to->has_digest)
		return error_set(errp, EINVAL, "it has no '%s'",
				 digest_to_str(&to->digest).str);
	error_set(errp, EINVAL, "it has %zu manifests, not one", idx->n);
	return error_hint(errp, -EINVAL,
			  "say which one: --to NAME:TAG@sha256:…");
}

static int read_index(const char *folder, const struct reference *to,
		      struct digest *ret, struct error **errp)
{
	cleanup_layout_index struct layout_index idx = LAYOUT_INDEX_INIT;
	cleanup_fd int fd = layout_open(folder, errp);
	int r;

	if (fd < 0)
		return fd;
	r = malformed(layout_read_index(fd, &idx, errp), errp);
	return r < 0 ? r : choose(&idx, to, ret, errp);
}

static int check_blob(struct registry *reg, const struct descriptor *d,
		      const struct op *op, struct error **errp)
{
	uint64_t size = 0;
	int r = reg->ops->has_blob(reg, "any", &d->digest, &size, op, errp);

	if (r < 0 || (r == 1 && size == d->size))
		return MIN(r, 0);
	return error_set(errp, EINVAL,
			 r ? "blob '%s' has the wrong size"
			   : "blob '%s' is missing",
			 digest_to_str(&d->digest).str);
}

static int check_all(struct session *s, const struct reference *from,
		     const struct op *op, struct error **errp)
{
	cleanup_copy_list struct copy_list list = {0};
	struct registry *reg;
	int r = session_registry(s, from, &reg, errp);

	if (r == 0)
		r = malformed(copy_list_make(reg, reference_repo(from),
					     &from->digest, &list, op, errp),
			      errp);
	for (size_t i = 0; r == 0 && i < list.n_blobs; i++)
		r = check_blob(reg, list.blobs[i], op, errp);
	return r;
}

/* The folder may be gone in a moment: nobody is to look for the bundle there. */
static void forget(struct session *s, const struct reference *from)
{
	cleanup_free char *key = reference_digest_key(from, &from->digest);
	struct cache *c;

	if (key && session_cache(s, &c, NULL) == 0)
		cache_ref_forget(c, key);
}

int import_layout(struct session *s, const char *folder, const char *file,
		  const struct reference *to, const struct copy_options *o,
		  struct copy_result *ret, const struct op *op,
		  struct error **errp)
{
	cleanup_reference struct reference from = {
		.layout = true,
		.registry = xstrdup(folder),
		.has_digest = true,
		.text = xstrdup(file),
	};
	int r = read_index(folder, to, &from.digest, errp);

	if (r == 0)
		r = check_all(s, &from, op, errp);
	if (r < 0)
		return error_prefix(errp, r, "importing '%s'", file);
	r = copy_artifact(s, &from, to, o, ret, op, errp);
	forget(s, &from);
	return r;
}
