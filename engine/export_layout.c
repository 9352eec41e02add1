/* A bundle as an OCI image layout in one tar, for skopeo and the like. */
#include <errno.h>

#include "base/io.h"
#include "base/progress.h"
#include "engine/archive_members.h"
#include "engine/bundle_internal.h"
#include "storage/layout_folder.h"

struct layout_export {
	struct bundle *bundle;
	struct cache *cache;
	bool fresh; /* what the cache has was wrong */
	struct progress *progress;
	const struct op *op;
	struct archive_members members;
};

static void add_owned(struct layout_export *x, const char *path, char *content,
		      size_t len)
{
	struct archive_member *m = archive_add(&x->members, path, TAR_FILE);

	m->owned = content;
	m->owned_len = len;
	m->entry.size = len;
}

static char *blob_path(const struct digest *d)
{
	return xasprintf(LAYOUT_BLOBS "/%s", digest_to_hex(d).str);
}

static int add_blob(struct layout_export *x, const struct descriptor *d,
		    struct export_result *out, struct error **errp)
{
	cleanup_free char *path = blob_path(&d->digest);
	struct digest empty = digest_of_buf("", 0);
	struct archive_member *m;

	/* Nobody reads what has no bytes. */
	if (d->size == 0 && !digest_equal(&d->digest, &empty))
		return error_set(errp, EBADMSG, "'%s' cannot be empty",
				 digest_to_str(&d->digest).str);
	m = archive_add(&x->members, path, TAR_FILE);
	m->entry.size = d->size;
	m->of = d;
	out->files++;
	out->bytes += d->size;
	return 0;
}

/* The very bytes: written anew, what other writers added would be gone. */
static int add_manifest(struct layout_export *x, struct descriptor *self,
			struct error **errp)
{
	struct doc_request rq = {.digest = &x->bundle->digest,
				 .manifest = true,
				 .what = "manifest"};
	cleanup_free char *path = blob_path(&x->bundle->digest);
	char *buf;
	size_t len;
	int r = bundle_doc(x->bundle, &rq, x->op, &buf, &len, NULL, errp);

	if (r < 0)
		return r;
	add_owned(x, path, buf, len);
	self->media_type = xstrdup(MEDIA_TYPE_MANIFEST);
	self->artifact_type = xstrdup(ARTIFACT_TYPE_BUNDLE);
	self->digest = x->bundle->digest;
	self->size = len;
	return 0;
}

static int add_index(struct layout_export *x, const struct descriptor *self,
		     struct error **errp)
{
	cleanup_layout_index struct layout_index idx = LAYOUT_INDEX_INIT;
	cleanup_strbuf struct strbuf doc = STRBUF_INIT;
	const struct reference *ref = &x->bundle->ref;
	cleanup_free char *name =
		ref->repo && ref->tag ? xasprintf("%s:%s", ref->repo, ref->tag)
				      : NULL;
	size_t len;
	int r;

	layout_index_set(&idx, name, self);
	r = layout_index_write(&idx, &doc, errp);
	if (r < 0)
		return r;
	len = doc.len;
	add_owned(x, "index.json", strbuf_steal(&doc), len);
	add_owned(x, LAYOUT_VERSION_FILE, xstrdup(LAYOUT_VERSION_TEXT),
		  strlen(LAYOUT_VERSION_TEXT));
	return 0;
}

static int add_all(struct layout_export *x, struct export_result *out,
		   struct error **errp)
{
	const struct manifest *manifest = &x->bundle->manifest;
	cleanup_descriptor struct descriptor self = {0};
	int r;

	archive_add(&x->members, "blobs", TAR_DIR);
	archive_add(&x->members, LAYOUT_BLOBS, TAR_DIR);
	r = add_manifest(x, &self, errp);
	if (r == 0)
		r = add_index(x, &self, errp);
	if (r == 0)
		r = add_blob(x, &manifest->config, out, errp);
	for (size_t i = 0; r == 0 && i < manifest->n_layers; i++)
		r = add_blob(x, &manifest->layers[i], out, errp);
	return r;
}

struct blob_sink {
	struct sink sink;
	struct hasher *hasher;
	struct archive_out *out;
	struct progress *progress;
	uint64_t bytes, size;
};

static int blob_write(struct sink *sink, const void *buf, size_t n,
		      struct error **errp)
{
	struct blob_sink *s = (struct blob_sink *)sink;

	if (n > s->size - s->bytes)
		return error_set(errp, EPROTO,
				 "more bytes than were asked for");
	s->bytes += n;
	hasher_update(s->hasher, buf, n);
	progress_add(s->progress, 0, n);
	return archive_out_write(s->out, buf, n, errp);
}

static int from_file(int fd, struct blob_sink *s, const struct op *op,
		     struct error **errp)
{
	cleanup_free char *buf = xmalloc(CHUNK_SIZE);
	int r = 0;

	while (r == 0 && s->bytes < s->size) {
		size_t want = MIN(s->size - s->bytes, CHUNK_SIZE);
		ssize_t got = io_pread_full(fd, buf, want, s->bytes);

		if (got < 0)
			return error_set_errno(errp, (int)-got,
					       "reading the cache");
		if (got == 0)
			return 0; /* which its digest tells */
		r = op_go_on(op, errp);
		if (r == 0)
			r = blob_write(&s->sink, buf, (size_t)got, errp);
	}
	return r;
}

static int from_registry(struct layout_export *x, const struct descriptor *d,
			 struct blob_sink *s, struct error **errp)
{
	struct registry *reg = x->bundle->registry;
	int r;

	if (!reg)
		return error_set_kind(errp, ERROR_DOWNLOAD, ENOENT,
				      "it is not in the cache, and this is "
				      "offline");
	r = reg->ops->read_blob(reg, x->bundle->remote.repo, &d->digest,
				d->size, 0, d->size, &s->sink, x->op, errp);
	/* The bundle is there; what it consists of is not. */
	return r == -ENOENT ? error_kind(errp, r, ERROR_DOWNLOAD) : r;
}

static int copy_blob(void *ctx, const struct archive_member *m,
		     struct archive_out *out, struct error **errp)
{
	struct layout_export *x = ctx;
	const struct descriptor *d = m->of;
	cleanup_hasher struct hasher *h = NULL;
	cleanup_fd int fd = -1;
	struct blob_sink s;
	struct digest got;
	int r;

	if (m->owned)
		return archive_out_write(out, m->owned, m->owned_len, errp);
	h = hasher_new();
	s = (struct blob_sink){.sink = {blob_write},
			       .hasher = h,
			       .out = out,
			       .progress = x->progress,
			       .size = d->size};
	if (!x->fresh)
		fd = cache_blob_open(x->cache, &d->digest, d->size, NULL);
	r = fd >= 0 ? from_file(fd, &s, x->op, errp)
		    : from_registry(x, d, &s, errp);
	if (r < 0)
		return error_prefix(errp, r, "blob '%s'",
				    digest_to_str(&d->digest).str);
	got = hasher_final(h);
	if (s.bytes != d->size || !digest_equal(&got, &d->digest))
		return error_set(errp, EBADMSG, "blob '%s' arrived wrong",
				 digest_to_str(&d->digest).str);
	return 0;
}

static int export_once(struct layout_export *x, const char *file,
		       struct export_result *ret, struct error **errp)
{
	struct export_result out = {0};
	int r = add_all(x, &out, errp);

	if (r == 0) {
		progress_total(x->progress, 0, out.bytes);
		r = archive_write(file, &x->members, copy_blob, x, &out, errp);
	}
	archive_members_release(&x->members);
	x->members = (struct archive_members){0};
	if (r == 0)
		*ret = out;
	return r;
}

int export_layout(struct bundle *b, const char *file, bool show_progress,
		  struct export_result *ret, const struct op *op,
		  struct error **errp)
{
	struct layout_export x = {.bundle = b, .op = op};
	cleanup_error struct error *first = NULL;
	int r = session_cache(b->session, &x.cache, errp);

	if (r < 0)
		return r;
	x.progress = progress_new("exporting", show_progress);
	r = export_once(&x, file, ret, &first);
	/* Wrong bytes may be the cache's fault, or the way's: all of it once
	 * more, since what is written cannot be taken back from a stream. */
	x.fresh = b->registry != NULL;
	if (r == -EBADMSG)
		r = export_once(&x, file, ret, errp);
	else if (r < 0)
		error_propagate(errp, &first, r);
	progress_free(x.progress);
	return r < 0 ? error_prefix(errp, r, "exporting to '%s'", file) : 0;
}
