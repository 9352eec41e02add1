/*
 * bench-readers MODE THREADS FILE: reads a file as model loaders do, and prints
 * "SECONDS BYTES WORST", WORST the longest that one step took.
 *
 *	random	each thread maps the file and touches its share of blocks of
 *		4 MiB in a random order
 *	shared	pread() of 1 MiB on one descriptor, each thread a part of the file
 *	direct	the same with O_DIRECT, threads taking the next MiB in turn
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define THREADS_MAX 64
#define STEP        ((size_t)1 << 20)
#define BLOCK       ((size_t)4 << 20)

static int fd;
static size_t size;
static unsigned n_threads;
static const unsigned char *map;
static uint32_t *order; /* of the blocks */
static atomic_size_t next_step;
static atomic_ullong bytes, worst_ns;
static atomic_uint sink;

static void __attribute__((noreturn)) die(const char *what)
{
	fprintf(stderr, "bench-readers: %s: %s\n", what, strerror(errno));
	exit(3);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void took(uint64_t since_ns, size_t n)
{
	unsigned long long ns = now_ns() - since_ns;
	unsigned long long was = atomic_load(&worst_ns);

	while (ns > was && !atomic_compare_exchange_weak(&worst_ns, &was, ns))
		;
	atomic_fetch_add(&bytes, n);
}

static void *touch(void *arg)
{
	size_t n = (size + BLOCK - 1) / BLOCK;
	unsigned local = 0;

	for (size_t i = (uintptr_t)arg; i < n; i += n_threads) {
		size_t off = order[i] * BLOCK;
		size_t len = size - off < BLOCK ? size - off : BLOCK;
		uint64_t since = now_ns();

		for (size_t k = 0; k < len; k += 4096)
			local += map[off + k];
		took(since, len);
	}
	atomic_fetch_add(&sink, local);
	return NULL;
}

static void read_step(void *buf, size_t off)
{
	uint64_t since = now_ns();
	ssize_t n = pread(fd, buf, STEP, (off_t)off);

	if (n <= 0)
		die("pread");
	took(since, (size_t)n);
}

static void *read_share(void *arg)
{
	size_t share = (size / n_threads + STEP) / STEP * STEP;
	size_t at = (uintptr_t)arg * share, end = at + share;
	void *buf = malloc(STEP);

	for (; at < end && at < size; at += STEP)
		read_step(buf, at);
	free(buf);
	return NULL;
}

static void *read_next(void *arg)
{
	void *buf = aligned_alloc(4096, STEP);
	size_t at;

	while ((at = atomic_fetch_add(&next_step, STEP)) < size)
		read_step(buf, at);
	free(buf);
	return arg;
}

static void shuffle(void)
{
	size_t n = (size + BLOCK - 1) / BLOCK;

	order = malloc(n * sizeof(*order));
	srandom(1);
	for (size_t i = 0; i < n; i++) {
		size_t k = (size_t)random() % (i + 1);

		order[i] = order[k];
		order[k] = (uint32_t)i;
	}
}

int main(int argc, char **argv)
{
	void *(*fn)(void *) = NULL;
	pthread_t threads[THREADS_MAX];
	struct stat st;
	uint64_t since;
	int flags = O_RDONLY | O_CLOEXEC;

	if (argc == 4 && !strcmp(argv[1], "random"))
		fn = touch;
	else if (argc == 4 && !strcmp(argv[1], "shared"))
		fn = read_share;
	else if (argc == 4 && !strcmp(argv[1], "direct"))
		fn = read_next;
	n_threads = fn ? (unsigned)strtoul(argv[2], NULL, 10) : 0;
	if (!n_threads || n_threads > THREADS_MAX) {
		fprintf(stderr, "usage: bench-readers random|shared|direct "
				"THREADS FILE\n");
		return 2;
	}
	since = now_ns();
	fd = open(argv[3], fn == read_next ? flags | O_DIRECT : flags);
	if (fd < 0 || fstat(fd, &st) < 0)
		die(argv[3]);
	size = (size_t)st.st_size;
	if (fn == touch) {
		map = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
		if (map == MAP_FAILED)
			die("mmap");
		shuffle();
	}
	for (uintptr_t i = 0; i < n_threads; i++)
		if (pthread_create(&threads[i], NULL, fn, (void *)i))
			die("a thread");
	for (unsigned i = 0; i < n_threads; i++)
		pthread_join(threads[i], NULL);
	printf("%.6f %llu %.6f\n", (double)(now_ns() - since) / 1e9,
	       atomic_load(&bytes), (double)atomic_load(&worst_ns) / 1e9);
	return 0;
}
