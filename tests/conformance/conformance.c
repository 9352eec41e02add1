#include "tests/conformance/conformance.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/random.h"
#include "base/strbuf.h"

/* Reports. */

bool conformance_check(struct conformance *c, bool good, const char *file,
		       int line, const char *fmt, ...)
{
	va_list ap;

	if (good)
		return true;
	c->case_failed = true;
	printf("# %s:%d: ", file, line);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	return false;
}

void conformance_begin(struct conformance *c)
{
	c->case_failed = false;
	c->skip[0] = '\0';
}

void conformance_end(struct conformance *c, const char *name)
{
	c->cases++;
	c->failed += c->case_failed;
	printf("%sok %d - %s: %s%s%s\n", c->case_failed ? "not " : "", c->cases,
	       c->label, name, c->skip[0] ? " # SKIP peer: " : "", c->skip);
	fflush(stdout);
}

void conformance_skip(struct conformance *c, const char *why)
{
	snprintf(c->skip, sizeof(c->skip), "%s", why);
}

int conformance_done(const struct conformance *c)
{
	printf("1..%d\n", c->cases);
	return c->failed ? 1 : 0;
}

/* Content. */

const char *conformance_run_id(void)
{
	static char id[17];

	if (!id[0])
		snprintf(id, sizeof(id), "%08" PRIx64 "%08" PRIx64,
			 (uint64_t)time_wall_s() & 0xffffffff,
			 random_below(UINT64_C(1) << 32));
	return id;
}

char *conformance_bytes(const char *seed, size_t n)
{
	cleanup_free char *text =
		xasprintf("%s %s", seed, conformance_run_id());
	struct digest d = digest_of_str(text);
	uint64_t x = digest_prefix64(&d) | 1;
	char *p = xmalloc(n + 1);
	size_t i;

	for (i = 0; i < n; i++) { /* xorshift: any bytes that differ will do */
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		p[i] = (char)x;
	}
	p[n] = '\0';
	return p;
}

/* Streams that look at what passes. */

static int probe_write(struct sink *sink, const void *buf, size_t n,
		       struct error **errp)
{
	struct probe_sink *s = (struct probe_sink *)sink;

	s->writes++;
	if (s->at && s->writes >= s->at) {
		if (s->to_set)
			atomic_store(s->to_set, true);
		if (s->code)
			return error_set(errp, s->code, "the sink is full");
	}
	hasher_update(s->hasher, buf, n);
	s->bytes += n;
	s->biggest = MAX(s->biggest, n);
	return 0;
}

void probe_sink_init(struct probe_sink *s)
{
	memset(s, 0, sizeof(*s));
	s->sink.write = probe_write;
	s->hasher = hasher_new();
}

struct digest probe_sink_digest(struct probe_sink *s)
{
	return hasher_final(s->hasher);
}

void probe_sink_release(struct probe_sink *s)
{
	hasher_free(s->hasher);
	s->hasher = NULL;
}

static int probe_pread(struct feed *feed, void *buf, size_t n, uint64_t off,
		       struct error **errp)
{
	struct probe_feed *f = (struct probe_feed *)feed;

	if (off + n > f->fail_from)
		return error_set(errp, f->code, "the feed broke");
	memcpy(buf, f->p + off, n);
	f->biggest = MAX(f->biggest, n);
	return 0;
}

void probe_feed_init(struct probe_feed *f, const char *p, size_t n)
{
	memset(f, 0, sizeof(*f));
	f->feed.size = n;
	f->feed.pread = probe_pread;
	f->p = p;
	f->fail_from = UINT64_MAX;
}

/* Threads. */

struct worker {
	pthread_t thread;
	pthread_barrier_t *start;
	int (*fn)(void *ctx, unsigned i);
	void *ctx;
	unsigned i;
	int r;
};

static void *work(void *arg)
{
	struct worker *w = arg;

	pthread_barrier_wait(w->start);
	w->r = w->fn(w->ctx, w->i);
	return NULL;
}

int conformance_threads(unsigned n, int (*fn)(void *ctx, unsigned i), void *ctx)
{
	cleanup_free struct worker *w = xcalloc(n, sizeof(*w));
	pthread_barrier_t start;
	int bad = 0;
	unsigned i;

	pthread_barrier_init(&start, NULL, n);
	for (i = 0; i < n; i++) {
		w[i] = (struct worker){.start = &start, .fn = fn, .ctx = ctx};
		w[i].i = i;
		if (pthread_create(&w[i].thread, NULL, work, &w[i]) != 0)
			abort();
	}
	for (i = 0; i < n; i++) {
		pthread_join(w[i].thread, NULL);
		bad += w[i].r != 0;
	}
	pthread_barrier_destroy(&start);
	return bad;
}

/* Blobs and manifests. */

struct digest put_bytes(struct conformance *c, struct registry *r,
			const char *repo, const char *p, size_t n)
{
	struct digest d = digest_of_buf(p, n);
	cleanup_error struct error *err = NULL;
	struct feed_mem feed;

	feed_mem_init(&feed, p, n);
	check_code(c, r->ops->put_blob(r, repo, &d, &feed.feed, NULL, &err), 0,
		   err);
	return d;
}

char *make_manifest(struct conformance *c, struct registry *r, const char *repo,
		    const char *note, const struct descriptor *subject,
		    const char *artifact_type)
{
	cleanup_free char *layer = conformance_bytes(note, 100);
	struct descriptor d = {.media_type = (char *)"application/octet-stream",
			       .size = 100};
	struct descriptor config = {.media_type = (char *)"application/x.none",
				    .size = 2};
	struct strbuf out = STRBUF_INIT;
	struct json_writer w;

	config.digest = put_bytes(c, r, repo, "{}", 2);
	d.digest = put_bytes(c, r, repo, layer, 100);
	json_writer_init(&w, &out);
	json_begin_object(&w, NULL);
	json_begin_object(&w, "annotations");
	json_put_str(&w, "note", note);
	json_end_object(&w);
	if (artifact_type)
		json_put_str(&w, "artifactType", artifact_type);
	descriptor_write(&w, "config", &config);
	json_begin_array(&w, "layers");
	descriptor_write(&w, NULL, &d);
	json_end_array(&w);
	json_put_str(&w, "mediaType", MEDIA_TYPE_MANIFEST);
	json_put_int(&w, "schemaVersion", 2);
	if (subject)
		descriptor_write(&w, "subject", subject);
	json_end_object(&w);
	return strbuf_steal(&out);
}

int put_text(struct registry *r, const char *repo, const char *tag,
	     const char *text, struct error **errp)
{
	return r->ops->put_manifest(r, repo, tag, MEDIA_TYPE_MANIFEST, text,
				    strlen(text), NULL, errp);
}
