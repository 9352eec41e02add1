/* Many threads on one cache; runs under ThreadSanitizer too. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "cache/internal.h"
#include "fixture.h"
#include "tests/lib/tap.h"

#define THREADS 8
#define BIG     (4u * CHUNK_SIZE + 777)

static struct fixture f;
static atomic_uint failures;

static void run(void *(*fn)(void *arg), void *args, size_t size)
{
	pthread_t t[THREADS];

	atomic_store(&failures, 0);
	for (size_t i = 0; i < THREADS; i++)
		if (pthread_create(&t[i], NULL, fn, (char *)args + i * size))
			abort();
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
}

static void expect(bool good)
{
	if (!good)
		atomic_fetch_add(&failures, 1);
}

struct worker {
	const struct source *s;
	unsigned n; /* sources */
	unsigned seed;
};

/* Looks, puts, reads, syncs and seals, in an order of its own. */
static void work_on(const struct source *s, unsigned seed)
{
	struct content *ct = content_of(&f, s);
	int r;

	for (uint32_t k = 0; k < s->n; k++) {
		uint32_t i = (k + seed) % s->n;

		(void)content_has(ct, i);
		r = read_back(ct, s, i);
		expect(r == 0 || r == -ENOENT);
		r = put_chunk(ct, s, i);
		expect(r == 0 || r == -EAGAIN);
		(void)content_have(ct);
		(void)content_sealed(ct);
	}
	expect(content_sync(ct, NULL) == 0);
	r = content_seal(ct, NULL);
	expect(r == 0 || r == -EAGAIN);
	content_close(ct);
}

static void *work(void *arg)
{
	struct worker *w = arg;

	for (unsigned i = 0; i < w->n; i++)
		work_on(&w->s[(i + w->seed) % w->n], w->seed);
	return NULL;
}

static void test_contents(unsigned max_open)
{
	enum { N = 12 };
	struct source s[N];
	struct worker w[THREADS];
	unsigned sealed = 0;

	f.c->open_contents.max = max_open;
	for (unsigned i = 0; i < N; i++)
		source_init(&s[i], i % 2 ? BIG + i : 1000 + i, max_open + i);
	for (unsigned i = 0; i < THREADS; i++)
		w[i] = (struct worker){.s = s, .n = N, .seed = i};
	run(work, w, sizeof(w[0]));
	is_int(atomic_load(&failures), 0, "no thread saw wrong bytes");
	for (unsigned i = 0; i < N; i++) {
		/* The last ones may have got in each other's way. */
		expect(seal_all(&f, &s[i]) == 0);
		sealed += cache_blob_exists(f.c, &s[i].spec.digest,
					    s[i].spec.size);
	}
	is_int(sealed, N, "everything is sealed");
	is_int(count_files(&f, "partial"), 0, "no partial is left");
	is_int(count_files(&f, "quarantine"), 0, "nothing was damaged");
	for (unsigned i = 0; i < N; i++)
		source_release(&s[i]);
}

/* Threads that read a damaged blob: one hashes it, none gets its bytes. */
static void *read_damaged(void *arg)
{
	struct worker *w = arg;
	struct content *ct = content_of(&f, w->s);
	int r = read_back(ct, w->s, 1);

	expect(r == -ENOENT);
	content_close(ct);
	return NULL;
}

static void test_heal(void)
{
	struct worker w[THREADS];
	struct source s;
	char *path;

	source_init(&s, BIG, 99);
	expect(seal_all(&f, &s) == 0);
	path = blob_path(&f, &s.spec.digest);
	flip_byte(path, CHUNK_SIZE + 3);
	for (unsigned i = 0; i < THREADS; i++)
		w[i] = (struct worker){.s = &s};
	run(read_damaged, w, sizeof(w[0]));
	is_int(atomic_load(&failures), 0, "all threads found it absent");
	is_int(count_files(&f, "quarantine"), 1, "it is in quarantine, once");
	is_int(seal_all(&f, &s), 0, "and is fetched again");
	free(path);
	source_release(&s);
}

static atomic_int inside;

static void *claim(void *arg)
{
	struct digest d = digest_of_str("one");

	for (int i = 0; i < 20; i++) {
		struct claim *cl = NULL;

		expect(claim_take(f.c, &d, TIME_NEVER, &cl) == 0);
		expect(atomic_fetch_add(&inside, 1) == 0);
		atomic_fetch_sub(&inside, 1);
		claim_release(cl);
	}
	return NULL;
}

struct linker {
	const struct source *s;
	unsigned id;
};

static void *link_out(void *arg)
{
	struct linker *l = arg;

	for (int i = 0; i < 10; i++) {
		char *to = xasprintf("%s/%u-%d", f.dir, l->id, i);
		struct link_request rq = {
			.digest = &l->s->spec.digest,
			.size = l->s->spec.size,
			.mode = 0644,
		};
		enum link_how done;

		expect(cache_link_out(f.c, &rq, AT_FDCWD, to, &done, NULL) ==
		       0);
		expect(file_size(to) == (long)l->s->spec.size);
		free(to);
	}
	return NULL;
}

static void test_links(void)
{
	struct linker l[THREADS];
	struct source s;
	int fd;

	source_init(&s, 70000, 5);
	expect(seal_all(&f, &s) == 0);
	for (unsigned i = 0; i < THREADS; i++)
		l[i] = (struct linker){.s = &s, .id = i};
	run(link_out, l, sizeof(l[0]));
	is_int(atomic_load(&failures), 0, "threads link one blob at once");
	fd = cache_blob_open(f.c, &s.spec.digest, s.spec.size, NULL);
	ok(fd >= 0, "which stays sound");
	closep(&fd);
	source_release(&s);
}

int main(void)
{
	char none[THREADS] = {0};

	fixture_open(&f);
	test_contents(64);
	test_contents(3);
	test_heal();
	run(claim, none, 1);
	is_int(atomic_load(&failures), 0, "a claim has one holder");
	test_links();
	fixture_close(&f);
	return tap_done();
}
