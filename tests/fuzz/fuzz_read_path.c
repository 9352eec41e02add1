/*
 * The read path as a state machine: a stream of operations on sources, against
 * the bytes that the sources are known to have. Four bytes each: what, which
 * source, where (16 bits, spread over the source).
 *
 *   read, look, ask, cancel   what readers do; a file in a pack is read as such
 *   whole                     what pull does
 *   fault                     the registry fails, cuts or corrupts what follows
 *   damage                    a byte of a file of the cache flips
 *   again                     the cache is closed, and opened by a new fetcher
 *
 * A read gives the right bytes or an error, an error only after a fault, and
 * each question is answered once: whatever was damaged is fetched again.
 */
#include <assert.h>
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/lock.h"
#include "engine/fetch.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/cache/fixture.h"

#define N_SOURCES ARRAY_SIZE(sizes)
#define OPS_MAX   24
#define READ_MAX  70000
#define ROUNDS    128 /* inputs that share a cache folder */

static const uint64_t sizes[] = {
	1, 700, 40000, CHUNK_SIZE, CHUNK_SIZE + 5000, 2 * CHUNK_SIZE + 1,
};

enum fault { NONE, FAILS, CUTS, CORRUPTS };

static struct {
	struct registry registry;
	struct mutex lock;
	enum fault fault;
	unsigned left; /* reads that the fault hits */
	struct source sources[N_SOURCES];
	bool made[N_SOURCES];
} remote;

static enum fault take_fault(void)
{
	enum fault now;

	mutex_lock(&remote.lock);
	now = remote.left ? remote.fault : NONE;
	remote.left -= now != NONE;
	mutex_unlock(&remote.lock);
	return now;
}

static const struct source *find(const struct digest *d)
{
	for (size_t i = 0; i < N_SOURCES; i++)
		if (remote.made[i] &&
		    digest_equal(&remote.sources[i].spec.digest, d))
			return &remote.sources[i];
	abort();
}

static int send(const struct source *s, uint64_t off, uint64_t len,
		bool corrupt, struct sink *sink, struct error **errp)
{
	cleanup_free unsigned char *copy = xmemdup(s->data + off, len);

	if (corrupt)
		copy[len / 2] ^= 1;
	return sink->write(sink, copy, len, errp);
}

static int read_blob(struct registry *r, const char *repo,
		     const struct digest *d, uint64_t size, uint64_t off,
		     uint64_t len, struct sink *sink, const struct op *op,
		     struct error **errp)
{
	const struct source *s = find(d);
	enum fault fault = take_fault();
	int rc;

	assert(size == s->spec.size && len && off + len <= size);
	if (fault == FAILS)
		return error_set(errp, EIO, "as told");
	if (fault != CUTS)
		return send(s, off, len, fault == CORRUPTS, sink, errp);
	rc = len > 1 ? send(s, off, len / 2, false, sink, errp) : 0;
	return rc < 0 ? rc : error_set(errp, EIO, "cut");
}

static const struct registry_ops ops = {.read_blob = read_blob};

/* One question of fetch_ask(). */
struct question {
	uint64_t ticket;
	unsigned answers;
	int result;
};

struct run {
	struct fetcher *f;
	struct remote remote;
	struct fetch_source *open[N_SOURCES];
	struct question questions[OPS_MAX];
	size_t n_questions;
	bool faulty; /* errors may be seen from now on */
	bool damaged;
};

static struct fixture cache;

static void at_exit(void)
{
	for (size_t i = 0; i < N_SOURCES; i++)
		source_release(&remote.sources[i]);
	fixture_close(&cache);
}

static void open_cache(void)
{
	static unsigned rounds;

	if (!remote.registry.ops) {
		remote.registry.ops = &ops;
		mutex_init(&remote.lock, LOCK_REGISTRY);
		if (access("/dev/shm", W_OK) == 0)
			setenv("TMPDIR", "/dev/shm", 0);
		atexit(at_exit);
	}
	if (rounds++ % ROUNDS == 0) {
		if (cache.dir)
			fixture_close(&cache);
		fixture_open(&cache);
	}
}

/* Contents that no input before this one had. */
static struct source *source_of(size_t i)
{
	static unsigned seed;
	struct source *s = &remote.sources[i];

	if (!remote.made[i]) {
		if (!s->data)
			source_init(s, sizes[i], 1);
		seed++;
		memcpy(s->data, &seed, MIN(sizeof(seed), (size_t)sizes[i]));
		source_rehash(s);
		remote.made[i] = true;
	}
	return s;
}

static struct fetch_source *open_source(struct run *run, size_t i)
{
	struct fetch_source_spec spec = {
		.remote = &run->remote,
		.kind = i % 2 ? TREE_SOURCE_PACK : TREE_SOURCE_BLOB,
		.content = source_of(i)->spec,
	};

	if (!run->open[i] &&
	    fetch_source_open(run->f, &spec, &run->open[i], NULL) < 0)
		abort();
	return run->open[i];
}

static void start(struct run *run)
{
	struct fetcher_options o = {.cache = cache.c,
				    .threads = 2,
				    .io_ms = 30000,
				    .memory = 2 * CHUNK_SIZE};

	run->f = fetcher_new(&o);
}

static void close_all(struct run *run)
{
	for (size_t i = 0; i < N_SOURCES; i++)
		if (run->open[i])
			fetch_source_close(steal_ptr(&run->open[i]));
	fetcher_free(run->f);
	for (size_t i = 0; i < run->n_questions; i++)
		assert(run->questions[i].answers == 1);
	run->n_questions = 0;
}

static struct fetch_range range_at(struct run *run, size_t i, unsigned where,
				   struct digest *file)
{
	const struct source *s = source_of(i);
	struct fetch_range r = {.source = open_source(run, i)};

	r.off = s->spec.size * where / 65536;
	r.len = (size_t)MIN(s->spec.size - r.off,
			    (uint64_t)(where * 37u % READ_MAX + 1));
	/* Some of a pack are files, checked by digests of their own. */
	if (i % 2 && where % 3 == 0) {
		*file = digest_of_buf(s->data + r.off, r.len);
		r.file_digest = file;
		r.file_off = r.off;
		r.file_size = r.len;
	}
	return r;
}

static void check(const struct run *run, const struct source *s,
		  const struct fetch_range *r, const void *buf, ssize_t n)
{
	if (n < 0) {
		assert(run->faulty);
		return;
	}
	assert(n == (ssize_t)r->len);
	if (memcmp(buf, s->data + r->off, r->len) != 0)
		abort();
}

static void do_read(struct run *run, size_t i, unsigned where, bool look)
{
	static unsigned char buf[READ_MAX + 1];
	struct digest file;
	struct fetch_range r = range_at(run, i, where, &file);
	ssize_t n = look ? fetch_try_read(run->f, &r, buf, NULL)
			 : fetch_read(run->f, &r, buf, NULL, NULL);

	if (!look || n != -EAGAIN)
		check(run, source_of(i), &r, buf, n);
}

static void told(void *ctx, int result, const struct error *err)
{
	struct question *q = ctx;

	q->result = result;
	__atomic_add_fetch(&q->answers, 1, __ATOMIC_RELEASE);
}

static void do_ask(struct run *run, size_t i, unsigned where)
{
	struct digest file;
	struct fetch_range r = range_at(run, i, where, &file);
	struct question *q = &run->questions[run->n_questions++];

	*q = (struct question){0};
	/* The digest must live as long as the question does. */
	r.file_digest = NULL;
	q->ticket = fetch_ask(run->f, &r, told, q);
}

static void do_whole(struct run *run, size_t i)
{
	struct fetch_source *s = open_source(run, i);

	/* What waits to be flushed and is damaged meanwhile is no success. */
	if (fetch_whole(run->f, &s, 1, NULL, NULL) < 0)
		assert(run->faulty || run->damaged);
}

static unsigned victim, seen;

static int flip(const char *path, const struct stat *st, int type,
		struct FTW *ftw)
{
	if (type != FTW_F || !st->st_size ||
	    (!strstr(path, "/blobs/") && !strstr(path, "/partial/")))
		return 0;
	if (seen++ != victim % 8)
		return 0;
	flip_byte(path, (long)(victim % (uint64_t)st->st_size));
	return 1;
}

static void do_damage(struct run *run, unsigned where)
{
	run->damaged = true;
	victim = where;
	seen = 0;
	nftw(cache.dir, flip, 8, FTW_PHYS);
}

static void do_fault(struct run *run, unsigned where)
{
	mutex_lock(&remote.lock);
	remote.fault = (enum fault)(where % 4);
	remote.left = remote.fault == NONE ? 0 : where / 4 % 8 + 1;
	mutex_unlock(&remote.lock);
	run->faulty |= remote.fault != NONE;
}

static void do_again(struct run *run)
{
	close_all(run);
	fixture_reopen(&cache);
	start(run);
}

static void step(struct run *run, const uint8_t *p)
{
	size_t i = p[1] % N_SOURCES;
	unsigned where = p[2] | (unsigned)p[3] << 8;

	switch (p[0] % 9) {
	case 0:
	case 1:
		do_read(run, i, where, false);
		break;
	case 2:
		do_read(run, i, where, true);
		break;
	case 3:
		do_ask(run, i, where);
		break;
	case 4:
		if (run->n_questions)
			fetch_cancel(run->f,
				     run->questions[where % run->n_questions]
					     .ticket);
		break;
	case 5:
		do_whole(run, i);
		break;
	case 6:
		do_fault(run, where);
		break;
	case 7:
		do_damage(run, where);
		break;
	case 8:
		if (p[1] % 4 == 0)
			do_again(run);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct run run = {
		.remote = {.registry = &remote.registry, .repo = "r"}};

	open_cache();
	remote.left = 0;
	start(&run);
	for (size_t at = 0; at + 4 <= size && at < 4 * OPS_MAX; at += 4)
		step(&run, data + at);
	close_all(&run);
	(void)cache_sync(cache.c, NULL); /* nothing is left to the next */
	memset(remote.made, 0, sizeof(remote.made));
	return 0;
}
