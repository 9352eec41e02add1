#include "engine/artifact.h"

#include <errno.h>
#include <string.h>

#include "base/map.h"
#include "base/path.h"
#include "engine/root.h"

#define ANNOTATION_UNPACK "io.deis.oras.content.unpack"

void artifact_release(struct artifact *a)
{
	manifest_info_release(&a->info);
	free(a->files);
	*a = (struct artifact){0};
}

static int refuse(const char *title, const char *why, struct error **errp)
{
	return error_set(errp, EINVAL, "title '%s' %s", title, why);
}

static int check_title(const struct descriptor *d, const char *title,
		       struct error **errp)
{
	const char *unpack = descriptor_annotation(d, ANNOTATION_UNPACK);
	const char *flaw = path_flaw(title, strlen(title));

	if (flaw)
		return error_set(errp, EINVAL, "title '%s': %s", title, flaw);
	if (unpack && strcmp(unpack, "true") == 0)
		return error_set_kind(errp, ERROR_MEDIA_TYPE, EPROTONOSUPPORT,
				      "'%s' is a folder in an archive, which "
				      "is not unpacked",
				      title);
	return 0;
}

static int by_path(const void *a, const void *b)
{
	const struct artifact_file *x = a, *y = b;

	return strcmp(x->path, y->path);
}

static int take_files(struct artifact *a, struct error **errp)
{
	a->files = xcalloc(a->info.n_needs + 1, sizeof(*a->files));
	for (size_t i = 0; i < a->info.n_needs; i++) {
		const struct descriptor *d = &a->info.needs[i];
		const char *title = descriptor_annotation(d, ANNOTATION_TITLE);
		int r = title ? check_title(d, title, errp) : 0;

		if (r < 0)
			return r;
		if (title)
			a->files[a->n_files++] =
				(struct artifact_file){title, d};
		else if (i) /* the first one is the config */
			a->n_untitled++;
	}
	qsort(a->files, a->n_files, sizeof(*a->files), by_path);
	return 0;
}

/* Blobs that are listed twice are one file. */
static void drop_repeated(struct artifact *a)
{
	size_t n = 0;

	for (size_t i = 0; i < a->n_files; i++) {
		const struct artifact_file *f = &a->files[i];

		if (n && strcmp(a->files[n - 1].path, f->path) == 0 &&
		    digest_equal(&a->files[n - 1].desc->digest,
				 &f->desc->digest))
			continue;
		a->files[n++] = *f;
	}
	a->n_files = n;
}

/* A name, without regard to case, is one file or one folder. */
static int claim(struct map *names, const char *path, size_t n, bool is_file,
		 struct error **errp)
{
	static char file, folder;
	char *kind = is_file ? &file : &folder;
	cleanup_free char *folded = NULL;
	char *was;

	if (path_casefold(path, n, &folded, NULL) < 0)
		return refuse(path, "is no UTF-8", errp);
	was = map_put_str(names, folded, kind);
	return !was || (was == &folder && !is_file)
		       ? 0
		       : refuse(path, "clashes with another one", errp);
}

static int check_clashes(const struct artifact *a, struct error **errp)
{
	cleanup_map struct map names = MAP_INIT;
	int r = 0;

	for (size_t i = 0; i < a->n_files && r == 0; i++) {
		const char *path = a->files[i].path;

		for (const char *p = strchr(path, '/'); p && r == 0;
		     p = strchr(p + 1, '/'))
			r = claim(&names, path, (size_t)(p - path), false,
				  errp);
		if (r == 0)
			r = claim(&names, path, strlen(path), true, errp);
	}
	return r;
}

static int load(struct artifact *a, const struct op *op, struct error **errp)
{
	cleanup_manifest_bytes struct manifest_bytes m = {0};
	struct digest got;
	int r = a->registry->ops->get_manifest(a->registry, a->repo, &a->digest,
					       &m, op, errp);

	if (r < 0)
		return r;
	got = digest_of_buf(m.buf, m.len);
	if (!digest_equal(&got, &a->digest))
		return error_set(errp, EBADMSG, "manifest '%s' arrived wrong",
				 digest_to_str(&a->digest).str);
	return manifest_info_parse(m.buf, m.len, m.media_type, &a->info, errp);
}

static int open_it(struct session *s, const struct reference *ref,
		   struct artifact *a, const struct op *op, struct error **errp)
{
	int r = session_registry(s, ref, &a->registry, errp);

	a->repo = reference_repo(ref);
	a->digest = ref->digest;
	if (r == 0 && !ref->has_digest)
		r = a->registry->ops->resolve(a->registry, a->repo, ref->tag,
					      &a->digest, op, errp);
	if (r == 0)
		r = load(a, op, errp);
	if (r < 0)
		return r;
	if (a->info.is_index ||
	    (a->info.self.artifact_type &&
	     strcmp(a->info.self.artifact_type, ARTIFACT_TYPE_BUNDLE) == 0))
		return 0;
	r = take_files(a, errp);
	if (r < 0)
		return r;
	drop_repeated(a);
	r = check_clashes(a, errp);
	return r < 0 ? r : a->n_files > 0;
}

int artifact_open(struct session *s, const struct reference *ref,
		  struct artifact *ret, const struct op *op,
		  struct error **errp)
{
	cleanup_artifact struct artifact a = {0};
	int r = open_it(s, ref, &a, op, errp);

	if (r == 1) {
		*ret = a;
		a = (struct artifact){0};
	}
	return r < 0 ? error_prefix(errp, r, "artifact '%s'", ref->text) : r;
}
