#include "engine/verify.h"

#include <errno.h>
#include <inttypes.h>

#include "base/thread.h"
#include "engine/verify_internal.h"

static void __attribute__((format(printf, 4, 0)))
finding(struct verify *v, const struct verify_about *about, bool damaged,
	const char *fmt, va_list ap)
{
	cleanup_free char *line = xvasprintf(fmt, ap);
	const struct verify_finding f = {
		.damaged = damaged,
		.line = line,
		.digest = about ? about->digest : NULL,
		.found = about ? about->found : NULL,
		.path = about ? about->path : NULL,
		.repaired = about && about->repaired,
	};

	mutex_lock(&v->lock);
	if (damaged)
		v->out->damaged++;
	else
		v->out->unchecked++;
	v->out->repaired += f.repaired;
	if (v->o->report)
		v->o->report(v->o->ctx, &f);
	mutex_unlock(&v->lock);
}

void verify_damaged(struct verify *v, const struct verify_about *about,
		    const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	finding(v, about, true, fmt, ap);
	va_end(ap);
}

void verify_unchecked(struct verify *v, const struct verify_about *about,
		      const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	finding(v, about, false, fmt, ap);
	va_end(ap);
}

void verify_failed(struct verify *v, const struct verify_about *about, int r,
		   const struct error *err, const char *what)
{
	const char *why = err ? err->message : "failed";

	if (r == -ENOENT)
		verify_damaged(v, about, "%s: missing", what);
	else if (r == -EBADMSG || r == -ESTALE || r == -EINVAL)
		verify_damaged(v, about, "%s: %s", what, why);
	else
		verify_unchecked(v, about, "%s: not checked: %s", what, why);
}

void verify_differs(struct verify *v, const struct verify_about *about,
		    const char *what)
{
	verify_damaged(v, about, "%s: expected %s, found %s", what,
		       digest_to_str(about->digest).str,
		       digest_to_str(about->found).str);
}

static int hash_write(struct sink *sink, const void *buf, size_t n,
		      struct error **errp)
{
	struct verify_sink *s = (struct verify_sink *)sink;

	(void)errp;
	hasher_update(s->hasher, buf, n);
	s->bytes += n;
	progress_add(s->progress, 0, n);
	return 0;
}

void verify_sink_init(struct verify_sink *s, struct progress *p)
{
	*s = (struct verify_sink){
		.sink.write = hash_write,
		.hasher = hasher_new(),
		.progress = p,
	};
}

struct digest verify_sink_final(struct verify_sink *s)
{
	struct digest d = hasher_final(s->hasher);

	hasher_freep(&s->hasher);
	return d;
}

static void count_blob(struct verify *v, uint64_t size)
{
	mutex_lock(&v->lock);
	v->out->blobs++;
	v->out->bytes += size;
	mutex_unlock(&v->lock);
	progress_add(v->progress, 1, 0);
}

static int check_one(void *ctx, size_t i, struct error **errp)
{
	struct verify *v = ctx;
	const struct manifest *m = &v->b->manifest;
	const struct descriptor *d = i ? &m->layers[i - 1] : &m->config;
	int r = op_go_on(v->op, errp);

	if (r < 0)
		return r;
	verify_blob(v, d);
	count_blob(v, d->size);
	return 0;
}

/* The registry's own copy, not the cache's. */
static void check_manifest(struct verify *v)
{
	struct registry *reg = v->b->registry;
	cleanup_manifest_bytes struct manifest_bytes m = {0};
	cleanup_error struct error *err = NULL;
	int r = reg->ops->get_manifest(reg, v->b->remote.repo, &v->b->digest,
				       &m, v->op, &err);
	struct digest got;
	struct verify_about about = {.digest = &v->b->digest};

	if (r < 0) {
		verify_failed(v, &about, r, err, "manifest");
		return;
	}
	got = digest_of_buf(m.buf, m.len);
	about.found = &got;
	if (!digest_equal(&got, &v->b->digest))
		verify_differs(v, &about, "manifest");
	count_blob(v, m.len);
}

static int check_registry(struct verify *v, struct error **errp)
{
	if (!v->b->registry) {
		verify_unchecked(v, NULL, "registry: not checked: offline");
		return 0;
	}
	check_manifest(v);
	return pool_for_each(v->pool, v->b->manifest.n_layers + 1, check_one, v,
			     errp);
}

static int run(struct verify *v, struct error **errp)
{
	int r = check_registry(v, errp);

	if (r >= 0)
		r = verify_trees(v, errp);
	if (r >= 0 && v->out->externals && !v->b->remote.stores)
		verify_unchecked(v, NULL, "externals: not checked: offline");
	return r;
}

static int verdict(const struct verify *v, struct error **errp)
{
	const struct verify_result *o = v->out;

	uint64_t left = o->damaged - o->repaired;

	if (left)
		return error_set(errp, EBADMSG,
				 "'%s' is damaged: %" PRIu64 " %s",
				 v->b->ref.text, left,
				 left == 1 ? "finding" : "findings");
	if (o->unchecked)
		return error_set(errp, EIO,
				 "%" PRIu64 " %s of '%s' could not be checked",
				 o->unchecked,
				 o->unchecked == 1 ? "part" : "parts",
				 v->b->ref.text);
	return 0;
}

static void totals(struct verify *v)
{
	const struct manifest *m = &v->b->manifest;
	uint64_t bytes = m->config.size;

	for (size_t i = 0; i < m->n_layers; i++)
		if (__builtin_add_overflow(bytes, m->layers[i].size, &bytes))
			bytes = UINT64_MAX;
	progress_total(v->progress, m->n_layers + 2, v->deep ? bytes : 0);
}

int verify_bundle(struct bundle *b, const struct verify_options *o,
		  struct verify_result *ret, const struct op *op,
		  struct error **errp)
{
	struct verify v = {
		.b = b,
		.o = o,
		.deep = o->deep,
		.op = op,
		.out = ret,
	};
	int r = session_fetcher(b->session, &v.fetcher, errp);

	*ret = (struct verify_result){0};
	if (r < 0)
		return r;
	mutex_init(&v.lock, LOCK_SOURCE);
	v.pool = pool_new("verify", MAX(cpu_count(), 8u));
	v.progress = progress_new("verifying", o->show_progress);
	v.unsound = xcalloc(b->root.n_layers, sizeof(*v.unsound));
	totals(&v);
	r = run(&v, errp);
	map_release(&v.uris);
	free(v.unsound);
	progress_free(v.progress);
	pool_free(v.pool);
	mutex_destroy(&v.lock);
	return r < 0 ? r : verdict(&v, errp);
}
