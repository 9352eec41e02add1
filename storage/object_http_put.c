/*
 * Uploads: what is there already is looked at first and never replaced, and
 * what goes out is hashed on its way.
 */
#include <errno.h>
#include <openssl/evp.h>
#include <string.h>

#include "storage/object_http.h"

#define PIECE ((size_t)256 << 10)

/* Hashed as it is read from 0 on; its last piece is refused (-EBADMSG) when the
 * whole is not @want: so no upload of anything else can end. */
struct checked_feed {
	struct feed feed;
	struct feed *inner;
	struct hasher *hasher;
	struct digest want;
	uint64_t at;      /* hashed so far */
	uint64_t reached; /* the farthest ever */
};

static int checked_pread(struct feed *feed, void *buf, size_t n, uint64_t off,
			 struct error **errp)
{
	struct checked_feed *f = (struct checked_feed *)feed;
	struct digest got;
	int r;

	if (off == 0 && f->at) { /* from the start, after a broken connection */
		hasher_final(f->hasher);
		f->at = 0;
	}
	if (off != f->at)
		return error_set(errp, EIO,
				 "an upload went back to its middle");
	r = f->inner->pread(f->inner, buf, n, off, errp);
	if (r < 0)
		return r;
	hasher_update(f->hasher, buf, n);
	f->at += n;
	f->reached = MAX(f->reached, f->at);
	if (f->at < feed->size)
		return 0;
	got = hasher_final(f->hasher);
	f->at = 0;
	if (!digest_equal(&got, &f->want))
		return error_set(errp, EBADMSG,
				 "what is to be uploaded is '%s'",
				 digest_to_str(&got).str);
	return 0;
}

/* -EBADMSG when it is empty and should not be. */
static int checked_feed_init(struct checked_feed *f, struct feed *inner,
			     const struct digest *want, struct error **errp)
{
	*f = (struct checked_feed){
		.feed = {.size = inner->size, .pread = checked_pread},
		.inner = inner,
		.hasher = hasher_new(),
		.want = *want,
	};
	if (!inner->size && !digest_equal(want, &DIGEST_EMPTY))
		return error_set(errp, EBADMSG,
				 "what is to be uploaded is "
				 "empty");
	return 0;
}

static void checked_feed_release(struct checked_feed *f)
{
	hasher_free(f->hasher);
	*f = (struct checked_feed){0};
}
#define cleanup_checked_feed __attribute__((cleanup(checked_feed_release)))

static int slice_pread(struct feed *feed, void *buf, size_t n, uint64_t off,
		       struct error **errp)
{
	struct slice_feed *f = (struct slice_feed *)feed;

	return f->inner->pread(f->inner, buf, n, f->off + off, errp);
}

void slice_feed_init(struct slice_feed *f, struct feed *inner, uint64_t off,
		     uint64_t size)
{
	*f = (struct slice_feed){
		.feed = {.size = size, .pread = slice_pread},
		.inner = inner,
		.off = off,
	};
}

struct hash_sink {
	struct sink sink;
	struct hasher *hasher;
};

static int hash_write(struct sink *s, const void *buf, size_t n,
		      struct error **errp)
{
	hasher_update(((struct hash_sink *)s)->hasher, buf, n);
	return 0;
}

/* A store that cannot tell: its bytes can. */
static int hash_object(struct object_http *h, const struct pointer_uri *uri,
		       const struct object_info *info, struct digest *ret,
		       const struct op *op, struct error **errp)
{
	cleanup_hasher struct hasher *hasher = hasher_new();
	struct hash_sink sink = {.sink = {hash_write}, .hasher = hasher};
	int r = 0;

	if (info->size)
		r = h->store.ops->read(&h->store, uri, info->validator, 0,
				       info->size, &sink.sink, op, errp);
	*ret = hasher_final(hasher);
	return r;
}

int object_present(struct object_http *h, const struct pointer_uri *uri,
		   uint64_t size, const struct digest *want,
		   const struct op *op, struct error **errp)
{
	cleanup_free char *name = object_name(uri);
	cleanup_error struct error *err = NULL;
	struct object_info info = {0};
	int r = h->store.ops->stat(&h->store, uri, &info, op, &err);

	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return error_propagate(errp, &err, r);
	if (info.size == size && !info.has_sha256) {
		r = hash_object(h, uri, &info, &info.sha256, op, errp);
		if (r < 0)
			return r;
		info.has_sha256 = true;
	}
	if (info.size == size && digest_equal(&info.sha256, want))
		return 1;
	return error_set(errp, EEXIST, "another object is already at '%s'",
			 name);
}

int object_put_end(struct object_http *h, const struct pointer_uri *uri,
		   uint64_t size, const struct digest *sha256, int r,
		   const struct op *op, struct error **take_err,
		   struct error **errp)
{
	cleanup_free char *name = object_name(uri);

	if (r == -ESTALE || r == -EEXIST) { /* somebody was faster */
		error_free(steal_ptr(take_err));
		r = object_present(h, uri, size, sha256, op, errp);
		if (r == 0)
			return error_set(errp, EIO,
					 "'%s' came and went during its upload",
					 name);
		return r < 0 ? r : 0;
	}
	if (r < 0)
		error_prefix(take_err, r, "uploading '%s'", name);
	return error_propagate(errp, take_err, r);
}

int object_put_whole(struct object_http *h, const struct object_call *c,
		     struct feed *feed, const struct digest *sha256,
		     const struct op *op, struct error **errp)
{
	struct digest_hex hex = digest_to_hex(sha256);
	cleanup_checked_feed struct checked_feed checked = {0};
	struct object_call call = *c;
	struct retry retry;
	int r = checked_feed_init(&checked, feed, sha256, errp);

	if (r < 0)
		return r;
	call.body = &checked.feed;
	call.body_sha256 = hex.str;
	call.max_body = OBJECT_ANSWER_MAX;
	retry_init(&retry, &h->times, op_deadline(op));
	do {
		struct http_response answer;
		struct error *err = NULL;
		uint64_t before = checked.reached;
		enum attempt a =
			object_try(h, &call, &retry, &answer, op, &err);

		if (a == ATTEMPT_OK) {
			http_response_release(&answer);
			return 0;
		}
		retry_progress(&retry, checked.reached - before);
		r = http_again(&retry, a, &answer, op, &err, errp);
	} while (r == 0);
	return r;
}

int object_hash_piece(struct feed *feed, uint64_t off, uint64_t size,
		      struct hasher *whole, struct digest *ret_sha256,
		      unsigned char md5[16], bool *ret_has_md5,
		      const struct op *op, struct error **errp)
{
	cleanup_free char *buf = xmalloc(PIECE);
	cleanup_hasher struct hasher *part = hasher_new();
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool has_md5 = ctx && EVP_DigestInit_ex(ctx, EVP_md5(), NULL) == 1;
	int r = 0;

	for (uint64_t end = off + size; off < end && r == 0;) {
		size_t n = (size_t)MIN(end - off, (uint64_t)PIECE);

		r = op_go_on(op, errp);
		if (r == 0)
			r = feed->pread(feed, buf, n, off, errp);
		if (r < 0)
			break;
		hasher_update(whole, buf, n);
		hasher_update(part, buf, n);
		if (has_md5)
			EVP_DigestUpdate(ctx, buf, n);
		off += n;
	}
	*ret_has_md5 = has_md5 && EVP_DigestFinal_ex(ctx, md5, NULL) == 1;
	EVP_MD_CTX_free(ctx);
	*ret_sha256 = hasher_final(part);
	return r;
}
