/*
 * A cache, a registry that counts and misbehaves on demand, and a fetcher
 * between them.
 */
#ifndef TESTS_UNIT_ENGINE_FETCHING_H
#define TESTS_UNIT_ENGINE_FETCHING_H

#include "base/lock.h"
#include "engine/fetch.h"
#include "tests/fakes/fakes.h"
#include "tests/unit/cache/fixture.h"

#define TEST_REPO "team/data"

struct fetching {
	struct fixture fx;
	struct registry *registry; /* from registry_fault_new() */
	struct remote remote;
	struct fetcher *f;
};

/* @fault NULL: none. It counts from the first blob that is read: uploads go to
 * the inner registry. */
void fetching_open(struct fetching *t, const struct fault *fault);
void fetching_close(struct fetching *t);
#define cleanup_fetching __attribute__((cleanup(fetching_close)))
/* A new fetcher on the same cache, which is opened anew. */
void fetching_restart(struct fetching *t, int64_t io_ms);

/* Put @n bytes into the registry. */
void upload(struct fetching *t, const void *p, size_t n);
struct fetch_source *open_source(struct fetching *t, const struct source *s);
/* @kind TREE_SOURCE_BLOB or _PACK. */
struct fetch_source *open_kind(struct fetching *t, const struct source *s,
			       enum tree_source_kind kind);

struct fetch_range range_of(struct fetch_source *src, uint64_t off, size_t len);
/* fetch_read() of [@off, @off + @len): 0 and the right bytes, -1000 wrong ones,
 * or the error. */
int read_and_compare(struct fetching *t, struct fetch_source *src,
		     const struct source *s, uint64_t off, size_t len,
		     struct error **errp);
/* So far, when nothing is in flight any more (waits for that). */
uint64_t bytes_asked(struct fetching *t);
unsigned requests(struct fetching *t);

/* Another process, as far as locks can tell, seals all there is, until the
 * descriptor is closed. */
int hold_gate(struct fetching *t);

/* What a callback was told. */
struct told {
	struct mutex lock;
	struct cond cond;
	int calls, result;
	struct error *err;
};
void told_init(struct told *t);
void told_release(struct told *t);
void told_done(void *ctx, int result, const struct error *err);
/* The result, or -EBUSY when nothing is told within @ms. */
int told_wait(struct told *t, int64_t ms);

#endif
