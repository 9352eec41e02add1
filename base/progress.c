#include "base/progress.h"

#include <stdatomic.h>
#include <stdio.h>

#include "base/alloc.h"
#include "base/io.h"
#include "base/lock.h"
#include "base/strbuf.h"
#include "base/thread.h"
#include "base/time.h"

#define TICK_MS 250
/* The rate is that of the last eight seconds: what a limit or another server
 * changes is seen soon, and a pause between two blobs is not. */
#define TICKS 32

/* What was done at a moment. */
struct sample {
	int64_t ns;
	uint64_t bytes;
};

struct progress {
	atomic_uint_fast64_t files, total_files, bytes, total_bytes;
	bool shown; /* the thread runs */
	pthread_t thread;
	struct mutex lock; /* of all that follows */
	const char *verb, *unit;
	struct sample samples[TICKS]; /* of this phase, a ring */
	unsigned n_samples;           /* ever taken */
	struct cond end;
	bool ending;
};

static void add_count(struct strbuf *sb, uint64_t done, uint64_t total)
{
	strbuf_addf(sb, "%llu", (unsigned long long)done);
	if (total)
		strbuf_addf(sb, "/%llu", (unsigned long long)total);
}

/* Bytes in a second, since the oldest moment that is remembered. */
static uint64_t rate_locked(struct progress *p, uint64_t bytes)
{
	struct sample now = {time_mono_ns(), bytes};
	unsigned n = p->n_samples;
	struct sample then = n < TICKS ? p->samples[0] : p->samples[n % TICKS];
	int64_t ms = (now.ns - then.ns) / NS_PER_MS;

	p->samples[n % TICKS] = now;
	p->n_samples++;
	if (!n || ms < 1000 || bytes < then.bytes)
		return 0;
	return (bytes - then.bytes) * 1000 / (uint64_t)ms;
}

/* "45s", "2m10s", "3h05m" */
static void add_remaining(struct strbuf *sb, uint64_t s)
{
	if (s >= 100 * 3600)
		strbuf_adds(sb, ", days left");
	else if (s >= 3600)
		strbuf_addf(sb, ", %uh%02um left", (unsigned)(s / 3600),
			    (unsigned)(s / 60 % 60));
	else if (s >= 60)
		strbuf_addf(sb, ", %um%02us left", (unsigned)(s / 60),
			    (unsigned)(s % 60));
	else
		strbuf_addf(sb, ", %us left", (unsigned)s);
}

static void add_line_locked(struct progress *p, struct strbuf *sb)
{
	uint64_t bytes = atomic_load(&p->bytes);
	uint64_t total = atomic_load(&p->total_bytes);
	uint64_t rate = rate_locked(p, bytes);

	strbuf_addf(sb, "%s: ", p->verb);
	add_count(sb, atomic_load(&p->files), atomic_load(&p->total_files));
	strbuf_addf(sb, " %s, ", p->unit);
	strbuf_add_size(sb, bytes);
	if (total) {
		strbuf_adds(sb, " of ");
		strbuf_add_size(sb, total);
	}
	if (!rate)
		return;
	strbuf_adds(sb, ", ");
	strbuf_add_size(sb, rate);
	strbuf_adds(sb, "/s");
	if (bytes < total)
		add_remaining(sb, (total - bytes + rate - 1) / rate);
}

/* To the start of the line, the text, and away with what was longer. */
static void show(struct progress *p)
{
	cleanup_strbuf struct strbuf sb = STRBUF_INIT;

	strbuf_addc(&sb, '\r');
	mutex_lock(&p->lock);
	add_line_locked(p, &sb);
	mutex_unlock(&p->lock);
	/* A line that wraps could not be erased. */
	if (sb.len > 79)
		strbuf_truncate(&sb, 79);
	strbuf_adds(&sb, "\033[K");
	(void)io_write_full(STDERR_FILENO, sb.buf, sb.len);
}

static void *progress_run(void *arg)
{
	struct progress *p = arg;
	bool ending = false;

	while (!ending) {
		int64_t deadline = time_deadline_ms(TICK_MS);

		show(p);
		mutex_lock(&p->lock);
		while (!p->ending &&
		       cond_wait_until(&p->end, &p->lock, deadline))
			;
		ending = p->ending;
		mutex_unlock(&p->lock);
	}
	(void)io_write_full(STDERR_FILENO, "\r\033[K", 4);
	return NULL;
}

struct progress *progress_new(const char *verb, int show_it)
{
	struct progress *p = xcalloc(1, sizeof(*p));

	p->verb = verb;
	p->unit = "files";
	mutex_init(&p->lock, LOCK_PROGRESS);
	cond_init(&p->end);
	if (show_it)
		p->shown = thread_start(&p->thread, "progress", progress_run,
					p) == 0;
	return p;
}

void progress_total(struct progress *p, uint64_t files, uint64_t bytes)
{
	if (!p)
		return;
	atomic_store(&p->total_files, files);
	atomic_store(&p->total_bytes, bytes);
}

void progress_add(struct progress *p, uint64_t files, uint64_t bytes)
{
	if (!p)
		return;
	atomic_fetch_add_explicit(&p->files, files, memory_order_relaxed);
	atomic_fetch_add_explicit(&p->bytes, bytes, memory_order_relaxed);
}

void progress_phase(struct progress *p, const char *verb, const char *unit,
		    uint64_t files, uint64_t bytes)
{
	if (!p)
		return;
	mutex_lock(&p->lock);
	p->verb = verb;
	p->unit = unit;
	p->n_samples = 0;
	atomic_store(&p->files, 0);
	atomic_store(&p->bytes, 0);
	progress_total(p, files, bytes);
	mutex_unlock(&p->lock);
}

void progress_less(struct progress *p, uint64_t bytes)
{
	if (p)
		atomic_fetch_sub(&p->total_bytes, bytes);
}

void progress_free(struct progress *p)
{
	if (!p)
		return;
	if (p->shown) {
		mutex_lock(&p->lock);
		p->ending = true;
		cond_signal(&p->end);
		mutex_unlock(&p->lock);
		pthread_join(p->thread, NULL);
	}
	cond_destroy(&p->end);
	mutex_destroy(&p->lock);
	free(p);
}
