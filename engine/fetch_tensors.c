/*
 * Weight files: a reader who misses one byte of a tensor will want the rest of
 * it, in an order that is no stream (columns, slices, many threads). So the
 * tensor is read ahead whole once its file's header is known:
 *
 *   fetch_weights()   asks for the first chunk, and for more as long as the
 *                     header says so; parses it on the thread that is told
 *   a miss            up to 64 MiB: the whole tensor, from the miss on, then
 *                     what lies before it
 *                     larger, its beginning: the first 64 MiB
 *                     larger, elsewhere: nothing; rows of such a table are
 *                     looked up one by one
 *
 * Each tensor once, and none while many wait: what readers ask for, and the
 * windows of those who read on, go first.
 */
#include <malloc.h>
#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "engine/fetch_internal.h"

#define WEIGHTS_MIN ((uint64_t)16 << 20) /* smaller files have windows enough */
#define ROUNDS_MAX  16

/* A header on its way. */
struct header {
	struct fetcher *f;
	struct fetch_source *s; /* a reference */
	enum weights format;
	size_t need;
	unsigned rounds;
	bool read; /* the file's own bytes say what becomes of it */
	struct tensors *tensors;
};

static void header_told(void *ctx, int result, const struct error *err);

static struct fetch_range header_range(const struct header *h)
{
	return (struct fetch_range){
		.source = h->s, .len = h->need, .apart = true};
}

static void header_ask(struct header *h)
{
	struct fetch_range r = header_range(h);

	h->rounds++;
	fetch_ask(h->f, &r, header_told, h);
}

/* -EAGAIN: more of it has to come. */
static int header_parse(struct header *h, struct error **errp)
{
	cleanup_free void *buf = malloc(h->need);
	struct fetch_range range = header_range(h);
	size_t need = 0;
	ssize_t n;

	if (!buf)
		return error_set_errno(errp, ENOMEM, "a header");
	n = fetch_try_read(h->f, &range, buf, errp);
	if (n < 0)
		return (int)n;
	int r = tensors_parse(h->format, buf, h->need, h->s->size, &h->tensors,
			      &need, errp);
	if (r == -EAGAIN)
		h->need = need;
	h->read = r != -EAGAIN;
	return r;
}

/* However many come at once. */
static int header_read(struct header *h, struct error **errp)
{
	mutex_lock(&h->f->header);
	int r = header_parse(h, errp);
	/* Each thread's arena would keep what its largest one took. */
	malloc_trim(0);
	mutex_unlock(&h->f->header);
	return r;
}

static size_t asked_size(const struct tensors *t)
{
	return t->n / 8u + 1;
}

static size_t table_size(const struct tensors *t)
{
	return sizeof(*t) + t->n * sizeof(t->v[0]) + asked_size(t);
}

/* Without its table a file is read like any other. */
static void keep_table_locked(struct fetch_source *s, struct tensors **take)
{
	struct fetcher *f = s->fetcher;

	if (!*take || table_size(*take) + atomic_load(&f->tensor_bytes) >
			      FETCH_TABLES_MAX)
		return;
	atomic_fetch_add(&f->tensor_bytes, table_size(*take));
	s->tensors_asked = xcalloc(asked_size(*take), 1);
	s->tensors = steal_ptr(take);
}

static void header_end(struct header *h)
{
	struct fetch_source *s = h->s;

	fetcher_lock(h->f);
	s->weights = h->read ? FETCH_WEIGHTS_KNOWN : FETCH_WEIGHTS_NONE;
	keep_table_locked(s, &h->tensors);
	fetcher_unlock(h->f);
	free(h->tensors);
	fetch_source_close(s);
	free(h);
}

static void header_told(void *ctx, int result, const struct error *err)
{
	cleanup_error struct error *why = NULL;
	struct header *h = ctx;
	int r = result < 0 ? result : header_read(h, &why);

	if (r == -EAGAIN && result == 0 && h->rounds < ROUNDS_MAX) {
		header_ask(h);
		return;
	}
	if (r < 0)
		log_debug("weights '%s': %s", digest_to_str(&h->s->digest).str,
			  why   ? why->message
			  : err ? err->message
				: "no header");
	header_end(h);
}

void fetch_weights(struct fetcher *f, struct fetch_source *s,
		   enum weights format)
{
	struct header *h;

	if (format == WEIGHTS_NONE || s->size < WEIGHTS_MIN ||
	    s->kind == TREE_SOURCE_PACK || content_sealed(s->content))
		return;
	fetcher_lock(f);
	bool go = s->weights == FETCH_WEIGHTS_NONE && fetch_can_ahead_locked(s);
	if (go) {
		s->weights = FETCH_WEIGHTS_ASKED;
		fetch_source_ref_locked(s);
	}
	fetcher_unlock(f);
	if (!go)
		return;
	h = xcalloc(1, sizeof(*h));
	h->f = f;
	h->s = s;
	h->format = format;
	h->need = CHUNK_SIZE;
	header_ask(h);
}

void fetch_tensors_drop_locked(struct fetch_source *s)
{
	if (s->tensors)
		atomic_fetch_sub(&s->fetcher->tensor_bytes,
				 table_size(s->tensors));
	freep(&s->tensors);
	freep(&s->tensors_asked);
}

/*
 * Reading ahead.
 */

static bool many_wait(const struct fetcher *f)
{
	unsigned n = 0;
	struct fetch_run *run;

	for (run = TAILQ_FIRST(&f->tensors); run; run = TAILQ_NEXT(run, link))
		n++;
	return n >= FETCH_TENSOR_RUNS;
}

/* Tensor @k, as chunk @at of it was missed. */
static void one_ahead(struct fetch_source *s, int64_t k, uint32_t at)
{
	const struct tensor *t = &s->tensors->v[k];
	unsigned char *asked = &s->tensors_asked[k / 8], bit = 1u << k % 8;
	uint32_t first = (uint32_t)(t->from / CHUNK_SIZE);
	uint32_t end = (uint32_t)((t->to - 1) / CHUNK_SIZE) + 1;

	if ((*asked & bit) || end - first == 1 ||
	    (end - first > FETCH_TENSOR_MAX && at > first) ||
	    many_wait(s->fetcher))
		return;
	*asked |= bit;
	atomic_fetch_add(&s->fetcher->counted->tensors, 1);
	end = MIN(end, first + FETCH_TENSOR_MAX);
	fetch_ahead_locked(s, at, end, FETCH_PART_MIN, FETCH_TENSOR);
	fetch_ahead_locked(s, first, at, FETCH_PART_MIN, FETCH_TENSOR);
}

void fetch_tensors_ahead_locked(struct fetch_source *s, uint64_t off,
				uint64_t len)
{
	uint64_t last = off + len - 1;
	int64_t k, j;

	if (!s->tensors || !s->tensors->n || !fetch_can_ahead_locked(s))
		return;
	k = tensors_at(s->tensors, off);
	j = tensors_at(s->tensors, last);
	if (k >= 0)
		one_ahead(s, k, (uint32_t)(off / CHUNK_SIZE));
	/* The one that begins in what was asked for. */
	if (j >= 0 && j != k)
		one_ahead(s, j, (uint32_t)(s->tensors->v[j].from / CHUNK_SIZE));
}
