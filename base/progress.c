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

struct progress {
	char *verb;
	atomic_uint_fast64_t files, total_files, bytes, total_bytes;
	int64_t start_ns;
	bool shown; /* the thread runs */
	pthread_t thread;
	struct mutex lock; /* of @ending */
	struct cond end;
	bool ending;
};

static void add_count(struct strbuf *sb, uint64_t done, uint64_t total)
{
	strbuf_addf(sb, "%llu", (unsigned long long)done);
	if (total)
		strbuf_addf(sb, "/%llu", (unsigned long long)total);
}

static void add_line(struct progress *p, struct strbuf *sb)
{
	uint64_t bytes = atomic_load(&p->bytes);
	uint64_t total = atomic_load(&p->total_bytes);
	int64_t ms = (time_mono_ns() - p->start_ns) / NS_PER_MS;

	strbuf_addf(sb, "%s: ", p->verb);
	add_count(sb, atomic_load(&p->files), atomic_load(&p->total_files));
	strbuf_adds(sb, " files, ");
	strbuf_add_size(sb, bytes);
	if (total) {
		strbuf_adds(sb, " of ");
		strbuf_add_size(sb, total);
	}
	if (ms >= 1000) {
		strbuf_adds(sb, ", ");
		strbuf_add_size(sb, bytes / (uint64_t)ms * 1000);
		strbuf_adds(sb, "/s");
	}
}

/* To the start of the line, the text, and away with what was longer. */
static void show(struct progress *p)
{
	cleanup_strbuf struct strbuf sb = STRBUF_INIT;

	strbuf_addc(&sb, '\r');
	add_line(p, &sb);
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

	p->verb = xstrdup(verb);
	p->start_ns = time_mono_ns();
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

void progress_counts(struct progress *p, uint64_t *ret_files,
		     uint64_t *ret_bytes)
{
	*ret_files = p ? atomic_load(&p->files) : 0;
	*ret_bytes = p ? atomic_load(&p->bytes) : 0;
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
	free(p->verb);
	free(p);
}
