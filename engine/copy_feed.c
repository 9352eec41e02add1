#include "engine/copy_feed.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Fills the window. */
struct window_sink {
	struct sink sink;
	struct copy_feed *feed;
	size_t want;
};

static int window_write(struct sink *sink, const void *buf, size_t n,
			struct error **errp)
{
	struct window_sink *s = (struct window_sink *)sink;
	struct copy_feed *f = s->feed;

	if (n > s->want - f->buf_len)
		return error_set(errp, EPROTO, "more bytes than asked for");
	memcpy(f->buf + f->buf_len, buf, n);
	f->buf_len += n;
	return 0;
}

static int wrong(const struct copy_feed *f, const struct digest *got,
		 struct error **errp)
{
	return error_set(errp, EBADMSG, "blob '%s' arrived as '%s'",
			 digest_to_str(&f->desc->digest).str,
			 digest_to_str(got).str);
}

/* A window that was not seen before. */
static int learn(struct copy_feed *f, const struct digest *window,
		 struct error **errp)
{
	struct digest whole;

	ARRAY_GROW(f->windows, f->n_windows, f->cap_windows);
	f->windows[f->n_windows++] = *window;
	hasher_update(f->hasher, f->buf, f->buf_len);
	if (f->buf_at + f->buf_len < f->desc->size)
		return 0;
	whole = hasher_final(f->hasher);
	if (digest_equal(&whole, &f->desc->digest))
		return 0;
	f->n_windows = 0; /* who asks again begins anew */
	return wrong(f, &whole, errp);
}

static int check(struct copy_feed *f, size_t index, struct error **errp)
{
	struct digest got = digest_of_buf(f->buf, f->buf_len);

	if (index == f->n_windows)
		return learn(f, &got, errp);
	if (!digest_equal(&got, &f->windows[index]))
		return error_set(errp, EBADMSG,
				 "blob '%s' changed while it was copied",
				 digest_to_str(&f->desc->digest).str);
	return 0;
}

static int load_window(struct copy_feed *f, size_t index, struct error **errp)
{
	uint64_t at = (uint64_t)index * COPY_WINDOW;
	struct window_sink s = {
		.sink.write = window_write,
		.feed = f,
		.want = (size_t)MIN(f->desc->size - at, (uint64_t)COPY_WINDOW),
	};
	int r;

	if (!f->buf)
		f->buf = xmalloc(COPY_WINDOW);
	f->buf_at = at;
	f->buf_len = 0;
	r = f->from->ops->read_blob(f->from, f->repo, &f->desc->digest,
				    f->desc->size, at, s.want, &s.sink, f->op,
				    errp);
	if (r == 0 && f->buf_len != s.want)
		r = error_set(errp, EPROTO, "blob '%s' ends early",
			      digest_to_str(&f->desc->digest).str);
	if (r == 0)
		r = check(f, index, errp);
	if (r < 0)
		f->buf_len = 0;
	return r;
}

static int have_window(struct copy_feed *f, uint64_t off, struct error **errp)
{
	size_t want = (size_t)(off / COPY_WINDOW);
	int r = 0;

	if (f->buf_len && f->buf_at == (uint64_t)want * COPY_WINDOW)
		return 0;
	/* What the other side has from an earlier run is hashed, too. */
	while (r == 0 && f->n_windows < want)
		r = load_window(f, f->n_windows, errp);
	return r < 0 ? r : load_window(f, want, errp);
}

static int copy_pread(struct feed *feed, void *buf, size_t n, uint64_t off,
		      struct error **errp)
{
	struct copy_feed *f = (struct copy_feed *)feed;
	char *p = buf;

	while (n) {
		size_t skip, take;
		int r = have_window(f, off, errp);

		if (r < 0)
			return r;
		skip = (size_t)(off - f->buf_at);
		take = MIN(n, f->buf_len - skip);
		memcpy(p, f->buf + skip, take);
		p += take;
		off += take;
		n -= take;
	}
	return 0;
}

void copy_feed_init(struct copy_feed *f, struct registry *from,
		    const char *repo, const struct descriptor *desc,
		    const struct op *op)
{
	*f = (struct copy_feed){
		.feed = {.size = desc->size, .pread = copy_pread},
		.from = from,
		.repo = repo,
		.desc = desc,
		.op = op,
		.hasher = hasher_new(),
	};
}

void copy_feed_release(struct copy_feed *f)
{
	hasher_freep(&f->hasher);
	free(f->windows);
	free(f->buf);
}
