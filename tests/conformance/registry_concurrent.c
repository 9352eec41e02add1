#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "tests/conformance/conformance.h"

#define THREADS     8
#define PROCESSES   4
#define TAGS_EACH   10
#define SHARED_SIZE ((size_t)1 << 20)

struct shared {
	struct registry *r;
	const char *repo;
	const char *p;
	struct digest d;
	char **manifests;
};

static int put_shared(void *ctx, unsigned i)
{
	struct shared *s = ctx;
	struct feed_mem feed;

	feed_mem_init(&feed, s->p, SHARED_SIZE);
	return s->r->ops->put_blob(s->r, s->repo, &s->d, &feed.feed, NULL,
				   NULL);
}

/* Thread i reads from the i-th eighth to the end. */
static int read_shared(void *ctx, unsigned i)
{
	struct shared *s = ctx;
	uint64_t off = SHARED_SIZE / THREADS * i;
	uint64_t len = SHARED_SIZE - off;
	struct digest want = digest_of_buf(s->p + off, (size_t)len), got;
	cleanup_probe_sink struct probe_sink sink = {0};
	int r;

	probe_sink_init(&sink);
	r = s->r->ops->read_blob(s->r, s->repo, &s->d, SHARED_SIZE, off, len,
				 &sink.sink, NULL, NULL);
	got = probe_sink_digest(&sink);
	return r == 0 && digest_equal(&want, &got) ? 0 : -EIO;
}

static void takes_one_blob_from_many_threads(struct conformance *c,
					     struct registry_fixture *f)
{
	cleanup_free char *p = conformance_bytes("threads", SHARED_SIZE);
	struct shared s = {.r = f->r, .repo = f->repo, .p = p};
	int bad;

	s.d = digest_of_buf(p, SHARED_SIZE);
	bad = conformance_threads(THREADS, put_shared, &s);
	check(c, bad == 0, "%d of %d puts failed", bad, THREADS);
	bad = conformance_threads(THREADS, read_shared, &s);
	check(c, bad == 0, "%d of %d reads failed", bad, THREADS);
}

static int put_tag(void *ctx, unsigned i)
{
	struct shared *s = ctx;
	char tag[20];

	snprintf(tag, sizeof(tag), "t%u", i);
	return put_text(s->r, s->repo, tag, s->manifests[i], NULL);
}

static void loses_no_tag_of_many_threads(struct conformance *c,
					 struct registry_fixture *f)
{
	struct shared s = {.r = f->r, .repo = f->repo};
	cleanup_strv char **tags = NULL;
	cleanup_strv char **manifests = NULL;
	cleanup_error struct error *err = NULL;
	int i, bad;

	for (i = 0; i < THREADS; i++) {
		char note[20];

		snprintf(note, sizeof(note), "t%d", i);
		strv_append(&manifests,
			    make_manifest(c, f->r, f->repo, note, NULL, NULL));
	}
	s.manifests = manifests;
	bad = conformance_threads(THREADS, put_tag, &s);
	check(c, bad == 0, "%d of %d puts failed", bad, THREADS);
	check_code(c, f->r->ops->list_tags(f->r, f->repo, &tags, NULL, &err), 0,
		   err);
	check(c, strv_len(tags) == THREADS, "%zu tags", strv_len(tags));
}

const struct registry_case registry_concurrent_cases[] = {
	{"takes one blob from eight threads", takes_one_blob_from_many_threads},
	{"loses no tag of eight threads", loses_no_tag_of_many_threads},
	{NULL, NULL},
};

/* Processes. Children report by their exit status alone. */

struct crowd {
	struct registry *(*open)(void *ctx);
	void *ctx;
	const char *repo;
};

/* One blob that all put, then tags of their own. */
static bool child_puts(struct registry *r, const struct crowd *cr, unsigned i)
{
	cleanup_free char *p = conformance_bytes("processes", SHARED_SIZE);
	struct conformance quiet = {.label = "child"};
	struct shared s = {.r = r, .repo = cr->repo, .p = p};
	unsigned j;

	s.d = digest_of_buf(p, SHARED_SIZE);
	if (put_shared(&s, i) != 0 || read_shared(&s, i % THREADS) != 0)
		return false;
	for (j = 0; j < TAGS_EACH; j++) {
		cleanup_free char *tag = xasprintf("p%u-%u", i, j);
		cleanup_free char *text =
			make_manifest(&quiet, r, cr->repo, tag, NULL, NULL);

		if (put_text(r, cr->repo, tag, text, NULL) != 0)
			return false;
	}
	return !quiet.case_failed;
}

/* After all of them, from a process that took no part. */
static bool child_checks(struct registry *r, const struct crowd *cr, unsigned i)
{
	cleanup_strv char **tags = NULL;

	return r->ops->list_tags(r, cr->repo, &tags, NULL, NULL) == 0 &&
	       strv_len(tags) == (size_t)PROCESSES * TAGS_EACH;
}

static pid_t start_child(const struct crowd *cr, unsigned i,
			 bool (*fn)(struct registry *r, const struct crowd *cr,
				    unsigned i))
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		struct registry *r = cr->open(cr->ctx);
		bool good = r && fn(r, cr, i);

		fflush(stdout);
		registry_free(r);
		_exit(good ? 0 : 1);
	}
	return pid;
}

static bool child_ended_well(pid_t pid)
{
	int status = 0;

	return pid > 0 && waitpid(pid, &status, 0) == pid &&
	       WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

void conformance_registry_processes(struct conformance *c,
				    struct registry *(*open)(void *ctx),
				    void *ctx, const char *prefix)
{
	cleanup_free char *repo =
		xasprintf("%s/%s-processes", prefix, conformance_run_id());
	struct crowd cr = {.open = open, .ctx = ctx, .repo = repo};
	pid_t pids[PROCESSES];
	unsigned i;

	conformance_begin(c);
	for (i = 0; i < PROCESSES; i++)
		pids[i] = start_child(&cr, i, child_puts);
	for (i = 0; i < PROCESSES; i++)
		check(c, child_ended_well(pids[i]), "process %u failed", i);
	check(c, child_ended_well(start_child(&cr, 0, child_checks)),
	      "not every tag of every process is there");
	conformance_end(c, "takes blobs and tags from four processes");
}
