/*
 * bench-tree [FILES]: a tree of so many small files in packs (a million) made,
 * walked, looked up, validated and merged. One line each: what, seconds of CPU,
 * nanoseconds a node; then the tree's size and the peak memory.
 */
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>

#include "engine/tree_builder.h"

#define PER_PACK   10000u
#define PER_FOLDER 500u

static double cpu(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void report(const char *what, double start, uint32_t n)
{
	double s = cpu() - start;

	printf("%-10s %6.2f %6.0f\n", what, s, s * 1e9 / n);
}

static struct tree_builder *fill(uint32_t n)
{
	struct tree_builder *b = tree_builder_new();
	struct digest chunks[30] = {{{1}}};

	for (uint32_t i = 0; i < n; i++) {
		struct tree_source_spec s = {.kind = TREE_SOURCE_PACK,
					     .size = 30u << 20,
					     .chunks = chunks,
					     .n_chunks = 30};
		struct tree_file f = {.size = 100,
				      .offset = i % PER_PACK * 1024ull};
		char path[64];

		memcpy(s.digest.b, &(uint32_t){i / PER_PACK}, 4);
		memcpy(f.digest.b, &i, sizeof(i));
		f.source = tree_builder_source(b, &s);
		snprintf(path, sizeof(path), "data/%03u/%05u/sample-%07u.json",
			 i / PER_PACK, i / PER_FOLDER, i);
		if (tree_builder_add_file(b, path, &f, NULL) < 0)
			abort();
	}
	return b;
}

static int count(void *ctx, uint32_t node, const struct tree_node *n,
		 const char *path, struct error **errp)
{
	++*(uint32_t *)ctx;
	return 0;
}

static void look_up_all(const struct tree *t)
{
	struct tree_node n;
	uint32_t found;

	for (uint32_t i = 1; i < tree_nodes(t); i++)
		if (tree_node(t, i, &n, NULL) < 0 ||
		    tree_lookup(t, n.parent, n.name, n.name_len, &found, NULL) <
			    0 ||
		    found != i)
			abort();
}

static void use(struct tree *t)
{
	struct tree *twice[] = {t, t};
	const char *names[] = {"a", "b"};
	uint32_t seen = 0;
	double start = cpu();
	void *buf = NULL;
	size_t len;

	if (tree_walk(t, TREE_ROOT, count, &seen, NULL) < 0)
		abort();
	report("walk", start, seen);
	start = cpu();
	look_up_all(t);
	report("lookup", start, seen);
	start = cpu();
	if (tree_validate(t, NULL) < 0)
		abort();
	report("validate", start, seen);
	start = cpu();
	if (tree_merge(twice, names, 2, &buf, &len, NULL) < 0)
		abort();
	report("merge two", start, 2 * seen);
	free(buf);
}

int main(int argc, char **argv)
{
	uint32_t n = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 1000000;
	double start = cpu();
	struct tree_builder *b = fill(n);
	cleanup_tree struct tree *t = NULL;
	cleanup_free void *buf = NULL;
	struct rusage peak;
	size_t len;

	if (tree_builder_finish(b, &buf, &len, NULL) < 0 ||
	    tree_open_mem(buf, len, &t, NULL) < 0)
		abort();
	report("build", start, n);
	getrusage(RUSAGE_SELF, &peak);
	tree_builder_free(b);
	printf("tree %.1f MB, peak of building %ld MB\n", (double)len / 1e6,
	       peak.ru_maxrss / 1024);
	use(t);
	return 0;
}
