#include "fetching.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/lock.h"
#include "cache/internal.h"
#include "tests/fakes/fakes.h"

static struct registry *inner; /* of the registry made last */

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "fetching: %s\n", what);
	abort();
}

static void start(struct fetching *t, int64_t io_ms)
{
	struct fetcher_options o = {
		.cache = t->fx.c, .threads = 4, .io_ms = io_ms};

	t->f = fetcher_new(&o);
}

void fetching_open(struct fetching *t, const struct fault *fault)
{
	memset(t, 0, sizeof(*t));
	fixture_open(&t->fx);
	inner = registry_fake_new();
	t->registry = registry_fault_new(inner, fault);
	t->remote = (struct remote){.registry = t->registry, .repo = TEST_REPO};
	start(t, 30000);
}

void fetching_restart(struct fetching *t, int64_t io_ms)
{
	fetcher_free(t->f);
	fixture_reopen(&t->fx);
	start(t, io_ms);
}

void fetching_close(struct fetching *t)
{
	fetcher_free(t->f);
	registry_free(t->registry);
	fixture_close(&t->fx);
}

void upload(struct fetching *t, const void *p, size_t n)
{
	struct digest d = digest_of_buf(p, n);
	struct feed_mem feed;

	feed_mem_init(&feed, p, n);
	must(inner->ops->put_blob(inner, TEST_REPO, &d, &feed.feed, NULL,
				  NULL) == 0,
	     "upload");
}

struct fetch_source *open_kind(struct fetching *t, const struct source *s,
			       enum tree_source_kind kind)
{
	struct fetch_source_spec spec = {
		.remote = &t->remote, .kind = kind, .content = s->spec};
	struct fetch_source *src = NULL;

	must(fetch_source_open(t->f, &spec, &src, NULL) == 0, "open");
	return src;
}

struct fetch_source *open_source(struct fetching *t, const struct source *s)
{
	return open_kind(t, s, TREE_SOURCE_BLOB);
}

struct fetch_range range_of(struct fetch_source *src, uint64_t off, size_t len)
{
	return (struct fetch_range){.source = src, .off = off, .len = len};
}

int read_and_compare(struct fetching *t, struct fetch_source *src,
		     const struct source *s, uint64_t off, size_t len,
		     struct error **errp)
{
	cleanup_free unsigned char *buf = xmalloc(len);
	struct fetch_range r = range_of(src, off, len);
	ssize_t n = fetch_read(t->f, &r, buf, NULL, errp);

	if (n < 0)
		return (int)n;
	return n == (ssize_t)len && !memcmp(buf, s->data + off, len) ? 0
								     : -1000;
}

/* Readers are answered before the request that brought the bytes has ended. */
static void settle(struct fetching *t)
{
	struct fetch_stats st = {.in_flight = 1};

	while (st.in_flight) {
		fetcher_stats(t->f, &st);
		time_sleep_ms(1);
	}
}

uint64_t bytes_asked(struct fetching *t)
{
	settle(t);
	return registry_fault_counts(t->registry).bytes_read;
}

unsigned requests(struct fetching *t)
{
	settle(t);
	return registry_fault_counts(t->registry).read_blob;
}

int hold_gate(struct fetching *t)
{
	cleanup_free char *path =
		xasprintf("%s/locks/gate", cache_path(t->fx.c));
	int fd = open(path, O_RDWR | O_CLOEXEC);

	must(fd >= 0, path);
	must(ofd_try_lock(fd, LOCK_EXCLUSIVE, 0, 0) == 0, "lock");
	return fd;
}

void told_init(struct told *t)
{
	memset(t, 0, sizeof(*t));
	mutex_init(&t->lock, LOCK_SOURCE);
	cond_init(&t->cond);
}

void told_release(struct told *t)
{
	error_freep(&t->err);
	cond_destroy(&t->cond);
	mutex_destroy(&t->lock);
}

void told_done(void *ctx, int result, const struct error *err)
{
	struct told *t = ctx;

	mutex_lock(&t->lock);
	t->calls++;
	t->result = result;
	if (err && !t->err)
		t->err = error_copy(err);
	cond_signal(&t->cond);
	mutex_unlock(&t->lock);
}

int told_wait(struct told *t, int64_t ms)
{
	int64_t end = time_deadline_ms(ms);
	int r = -EBUSY;

	mutex_lock(&t->lock);
	while (!t->calls && cond_wait_until(&t->cond, &t->lock, end))
		;
	if (t->calls)
		r = t->result;
	mutex_unlock(&t->lock);
	return r;
}
