#include "engine/copy_list.h"

#include <errno.h>
#include <stdlib.h>

#define DOCS_MAX      4096
#define DOC_BYTES_MAX (64u << 20)
#define DEPTH_MAX     8 /* of indexes in indexes, of referrers of referrers */

struct listing {
	struct registry *from;
	const char *repo;
	const struct op *op;
	struct copy_list *out;
};

static void doc_free(struct copy_doc *doc)
{
	manifest_info_release(&doc->info);
	manifest_bytes_release(&doc->bytes);
	free(doc);
}

static void doc_freep(struct copy_doc **doc)
{
	if (*doc)
		doc_free(*doc);
}

void copy_list_release(struct copy_list *l)
{
	for (size_t i = 0; i < l->n_docs; i++)
		doc_free(l->docs[i]);
	free(l->docs);
	free(l->blobs);
	error_free(l->left_out);
	map_release(&l->seen_docs);
	map_release(&l->seen_blobs);
	*l = (struct copy_list){0};
}

/* The bytes may have been spoiled on the way: they are asked for once more. */
static int read_doc(const struct listing *l, const struct digest *d,
		    struct manifest_bytes *ret, struct error **errp)
{
	struct digest got = {0};

	for (int tries = 0; tries < 2; tries++) {
		int r;

		manifest_bytes_release(ret);
		r = l->from->ops->get_manifest(l->from, l->repo, d, ret, l->op,
					       errp);
		if (r < 0)
			return r;
		got = digest_of_buf(ret->buf, ret->len);
		if (digest_equal(&got, d))
			return 0;
	}
	return error_set(errp, EBADMSG, "manifest '%s' arrived as '%s'",
			 digest_to_str(d).str, digest_to_str(&got).str);
}

static int load_doc(const struct listing *l, const struct digest *d,
		    struct copy_doc **ret, struct error **errp)
{
	__attribute__((cleanup(doc_freep))) struct copy_doc *doc =
		xcalloc(1, sizeof(*doc));
	int r = read_doc(l, d, &doc->bytes, errp);

	if (r == 0)
		r = manifest_info_parse(doc->bytes.buf, doc->bytes.len,
					doc->bytes.media_type, &doc->info,
					errp);
	if (r < 0)
		return r;
	*ret = steal_ptr(&doc);
	return 0;
}

static int count_doc(struct copy_list *out, const struct copy_doc *doc,
		     struct error **errp)
{
	out->doc_bytes += doc->bytes.len;
	if (out->n_docs >= DOCS_MAX || out->doc_bytes > DOC_BYTES_MAX)
		return error_set(errp, EFBIG,
				 "there are more manifests than %d, or than "
				 "%u MiB of them",
				 DOCS_MAX, DOC_BYTES_MAX >> 20);
	return 0;
}

/* @out has it from here on. */
static void append_doc(struct copy_list *out, struct copy_doc *doc)
{
	ARRAY_GROW(out->docs, out->n_docs, out->cap_docs);
	out->docs[out->n_docs] = doc;
	out->n_referrers += doc->is_referrer;
	out->n_docs++;
}

static int add_blob(struct copy_list *out, const struct descriptor *d,
		    struct error **errp)
{
	const struct descriptor *known =
		map_get(&out->seen_blobs, d->digest.b, DIGEST_SIZE);

	if (known && known->size != d->size)
		return error_set(errp, EINVAL,
				 "blob '%s' has two sizes, %llu and %llu",
				 digest_to_str(&d->digest).str,
				 (unsigned long long)known->size,
				 (unsigned long long)d->size);
	if (known)
		return 0;
	if (__builtin_add_overflow(out->bytes, d->size, &out->bytes))
		return error_set(errp, EINVAL, "sizes that are too large");
	map_put(&out->seen_blobs, d->digest.b, DIGEST_SIZE, (void *)d);
	ARRAY_GROW(out->blobs, out->n_blobs, out->cap_blobs);
	out->blobs[out->n_blobs++] = d;
	return 0;
}

static int add_referrers(const struct listing *l, const struct digest *subject,
			 unsigned depth, struct error **errp);

static int add_doc(const struct listing *l, struct copy_doc **take_doc,
		   unsigned depth, struct error **errp);

/* One of an index. */
static int add_child(const struct listing *l, const struct descriptor *d,
		     unsigned depth, struct error **errp)
{
	struct copy_doc *doc = NULL;
	int r;

	if (map_get(&l->out->seen_docs, d->digest.b, DIGEST_SIZE))
		return 0;
	r = load_doc(l, &d->digest, &doc, errp);
	if (r == -ENOENT)
		error_kind(errp, r, ERROR_DOWNLOAD);
	if (r == 0)
		r = add_doc(l, &doc, depth, errp);
	return error_prefix(errp, r, "manifest '%s'",
			    digest_to_str(&d->digest).str);
}

static int add_needs(const struct listing *l, const struct copy_doc *doc,
		     unsigned depth, struct error **errp)
{
	const struct manifest_info *info = &doc->info;
	int r = 0;

	for (size_t i = 0; i < info->n_needs && r == 0; i++)
		r = info->is_index
			    ? add_child(l, &info->needs[i], depth + 1, errp)
			    : add_blob(l->out, &info->needs[i], errp);
	return r;
}

static int add_doc(const struct listing *l, struct copy_doc **take_doc,
		   unsigned depth, struct error **errp)
{
	__attribute__((cleanup(doc_freep))) struct copy_doc *doc =
		steal_ptr(take_doc);
	const struct descriptor *self = &doc->info.self;
	struct digest d = self->digest;
	int r = op_go_on(l->op, errp);

	if (r == 0)
		r = count_doc(l->out, doc, errp);
	if (r == 0 && depth > DEPTH_MAX)
		r = error_set(errp, ELOOP, "manifests are nested too deep");
	if (r < 0)
		return r;
	map_put(&l->out->seen_docs, d.b, DIGEST_SIZE, (void *)self);
	/* Its blobs are pointed at, so it is to stay where it is. */
	r = add_needs(l, doc, depth, errp);
	append_doc(l->out, steal_ptr(&doc));
	return r < 0 ? r : add_referrers(l, &d, depth + 1, errp);
}

/* What it is, or that there is nothing, rather than that it cannot be had now.
 */
static bool is_bad(int r)
{
	return r == -EBADMSG || r == -EINVAL || r == -EFBIG ||
	       r == -EOVERFLOW || r == -ERANGE || r == -ELOOP ||
	       r == -EPROTONOSUPPORT || r == -ENOENT;
}

/* What is referred to has nothing to do with it. */
static int leave_out(struct copy_list *out, struct error **take_err)
{
	if (!out->n_left_out++)
		out->left_out = steal_ptr(take_err);
	error_freep(take_err);
	return 0;
}

/* As it was when it had @docs and @blobs. */
static void take_back(struct copy_list *out, const struct copy_list *before)
{
	while (out->n_docs > before->n_docs) {
		struct copy_doc *doc = out->docs[--out->n_docs];

		map_del(&out->seen_docs, doc->info.self.digest.b, DIGEST_SIZE);
		doc_free(doc);
	}
	while (out->n_blobs > before->n_blobs)
		map_del(&out->seen_blobs, out->blobs[--out->n_blobs]->digest.b,
			DIGEST_SIZE);
	out->n_referrers = before->n_referrers;
	out->bytes = before->bytes;
	out->doc_bytes = before->doc_bytes;
}

/* What became of it is its own matter: a list may be old. */
static int add_referrer(const struct listing *l, const struct digest *subject,
			const struct descriptor *d, unsigned depth,
			struct error **errp)
{
	const struct copy_list before = *l->out;
	struct copy_doc *doc = NULL;
	struct error *err = NULL;
	int r;

	if (map_get(&l->out->seen_docs, d->digest.b, DIGEST_SIZE))
		return 0;
	r = load_doc(l, &d->digest, &doc, &err);
	if (r == -ENOENT) {
		error_free(err);
		return 0;
	}
	if (r == 0 && !manifest_info_refers(&doc->info, subject, NULL)) {
		doc_free(doc);
		return 0;
	}
	if (r == 0) {
		doc->is_referrer = true;
		r = add_doc(l, &doc, depth, &err);
	}
	error_prefix(&err, r, "referrer '%s'", digest_to_str(&d->digest).str);
	if (is_bad(r)) {
		take_back(l->out, &before);
		return leave_out(l->out, &err);
	}
	return error_propagate(errp, &err, r);
}

static int add_referrers(const struct listing *l, const struct digest *subject,
			 unsigned depth, struct error **errp)
{
	struct descriptor *found = NULL;
	struct error *err = NULL;
	size_t n = 0;
	int r = l->from->ops->referrers(l->from, l->repo, subject, NULL, &found,
					&n, l->op, &err);

	error_prefix(&err, r, "looking for referrers");
	if (r < 0)
		return is_bad(r) ? leave_out(l->out, &err)
				 : error_propagate(errp, &err, r);
	for (size_t i = 0; i < n && r == 0; i++)
		r = add_referrer(l, subject, &found[i], depth, errp);
	descriptors_free(found, n);
	return r;
}

static void find_top(struct copy_list *l, const struct digest *d)
{
	for (size_t i = 0; i < l->n_docs; i++)
		if (digest_equal(&l->docs[i]->info.self.digest, d))
			l->top = i;
}

int copy_list_make(struct registry *from, const char *repo,
		   const struct digest *d, struct copy_list *ret,
		   const struct op *op, struct error **errp)
{
	cleanup_copy_list struct copy_list out = {0};
	const struct listing l = {from, repo, op, &out};
	struct copy_doc *doc = NULL;
	int r = load_doc(&l, d, &doc, errp);

	if (r == -ENOENT)
		return error_kind(errp, r, ERROR_NOT_FOUND);
	if (r == 0)
		r = add_doc(&l, &doc, 0, errp);
	if (r < 0)
		return r;
	find_top(&out, d);
	*ret = out;
	out = (struct copy_list){0};
	return 0;
}
