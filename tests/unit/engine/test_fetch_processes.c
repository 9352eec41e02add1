/*
 * 32 processes on one cold cache: each chunk is downloaded by exactly one of
 * them, also when one of them is killed in the middle.
 */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/random.h"
#include "fetching.h"
#include "tests/lib/tap.h"
#include "tests/lib/tmpdir.h"

#define PROCESSES 32
#define SOURCES   10
#define CHUNKS    16

/* Shared by all processes. */
struct tally {
	atomic_uint bytes[SOURCES][CHUNKS];
	atomic_uint requests;
	atomic_uint_fast64_t total;
};
static struct tally *tally;
static struct source sources[SOURCES];

/* A registry that serves the sources and counts what it delivers. */
static unsigned number_of(const struct digest *d)
{
	unsigned i = 0;

	while (!digest_equal(&sources[i].spec.digest, d))
		i++;
	return i;
}

static int serve(struct registry *r, const char *repo, const struct digest *d,
		 uint64_t size, uint64_t off, uint64_t len, struct sink *sink,
		 const struct op *op, struct error **errp)
{
	unsigned i = number_of(d);
	int rc = 0;

	atomic_fetch_add(&tally->requests, 1);
	time_sleep_ms(5);
	while (rc == 0 && len && !op_cancelled(op)) {
		size_t n = MIN(len, CHUNK_SIZE - off % CHUNK_SIZE);

		n = MIN(n, (size_t)65536);
		rc = sink->write(sink, sources[i].data + off, n, errp);
		atomic_fetch_add(&tally->bytes[i][off / CHUNK_SIZE],
				 (unsigned)n);
		atomic_fetch_add(&tally->total, n);
		off += n;
		len -= n;
	}
	return rc;
}

static const struct registry_ops serve_ops = {.read_blob = serve};
static struct registry registry = {.ops = &serve_ops};

struct process {
	struct cache *c;
	struct fetcher *f;
	struct remote remote;
	struct fetch_source *src[SOURCES];
};

static int process_open(struct process *p, const char *dir)
{
	struct fetcher_options o = {.threads = 2, .io_ms = 30000};

	if (cache_open(dir, &p->c, NULL) < 0)
		return -1;
	o.cache = p->c;
	p->f = fetcher_new(&o);
	p->remote = (struct remote){.registry = &registry, .repo = "r"};
	for (unsigned i = 0; i < SOURCES; i++) {
		struct fetch_source_spec spec = {.remote = &p->remote,
						 .kind = TREE_SOURCE_BLOB,
						 .content = sources[i].spec};

		if (fetch_source_open(p->f, &spec, &p->src[i], NULL) < 0)
			return -1;
	}
	return 0;
}

static void process_close(struct process *p)
{
	for (unsigned i = 0; i < SOURCES; i++)
		fetch_source_close(p->src[i]);
	fetcher_free(p->f);
	cache_close(p->c);
}

/* Some random reads, then everything. */
static int work(const char *dir)
{
	struct process p = {0};
	int bad = process_open(&p, dir) < 0;

	for (unsigned n = 0; n < 20 && !bad; n++) {
		unsigned i = (unsigned)random_below(SOURCES);
		uint64_t off = random_below(sources[i].spec.size);
		unsigned char buf[100];
		struct fetch_range r =
			range_of(p.src[i], off,
				 MIN(sizeof(buf), sources[i].spec.size - off));

		bad |= fetch_read(p.f, &r, buf, NULL, NULL) != (ssize_t)r.len ||
		       memcmp(buf, sources[i].data + off, r.len) != 0;
	}
	bad |= fetch_whole(p.f, p.src, SOURCES, NULL, NULL) < 0;
	process_close(&p);
	return bad;
}

static pid_t spawn(const char *dir)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(work(dir));
	return pid;
}

static unsigned wait_all(const pid_t *pids, unsigned n)
{
	unsigned bad = 0;

	for (unsigned i = 0; i < n; i++) {
		int st = 0;

		waitpid(pids[i], &st, 0);
		bad += !WIFEXITED(st) || WEXITSTATUS(st) != 0;
	}
	return bad;
}

static unsigned not_once(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < SOURCES; i++)
		for (uint32_t k = 0; k < sources[i].n; k++)
			n += atomic_load(&tally->bytes[i][k]) !=
			     chunk_len(sources[i].spec.size, k);
	return n;
}

static void each_once(const char *dir)
{
	pid_t pids[PROCESSES];

	for (unsigned i = 0; i < PROCESSES; i++)
		pids[i] = spawn(dir);
	ok(wait_all(pids, PROCESSES) == 0, "32 processes get everything");
	unsigned n = not_once();
	printf("# %u requests, %u chunks not fetched exactly once\n",
	       atomic_load(&tally->requests), n);
	ok(n == 0, "each chunk is downloaded once");
}

static void killed(const char *dir)
{
	pid_t first, rest[8];

	memset(tally, 0, sizeof(*tally));
	first = spawn(dir);
	for (unsigned i = 0; i < 8; i++)
		rest[i] = spawn(dir);
	while (atomic_load(&tally->total) < 2 * CHUNK_SIZE)
		time_sleep_ms(1);
	kill(first, SIGKILL);
	waitpid(first, NULL, 0);
	ok(wait_all(rest, 8) == 0, "a killed process holds nobody up");
}

int main(void)
{
	char *dir = tmpdir_new();
	cleanup_free char *a = xasprintf("%s/a", dir);
	cleanup_free char *b = xasprintf("%s/b", dir);

	setvbuf(stdout, NULL, _IOLBF, 0); /* children inherit it empty */
	tally = mmap(NULL, sizeof(*tally), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (tally == MAP_FAILED)
		return 99;
	for (unsigned i = 0; i < SOURCES; i++)
		source_init(&sources[i], i % 4 ? i * 900000u : 5000 + i, 7 + i);
	each_once(a);
	killed(b);
	for (unsigned i = 0; i < SOURCES; i++)
		source_release(&sources[i]);
	tmpdir_remove(dir);
	return tap_done();
}
