/*
 * What every implementation of a seam has to hold: the same named cases for
 * the real ones, the fakes, and wrappers around them.
 *
 * A suite prints one TAP line per case to stdout and leaves the plan to the
 * program, which may run several suites one after the other.
 *
 * Threads: the suite makes and joins its own; call it from one thread.
 */
#ifndef TESTS_CONFORMANCE_CONFORMANCE_H
#define TESTS_CONFORMANCE_CONFORMANCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/digest.h"
#include "storage/object_store.h"
#include "storage/registry.h"

/* The count of a program's TAP lines. */
struct conformance {
	const char *label; /* of what is tested now; begins each line */
	int cases, failed;
	bool case_failed;
	char skip[200]; /* not empty: why the case says nothing */
};

/*
 * @prefix: a repository name; the cases use repositories below it that nobody
 * has used before, and leave them behind.
 */
void conformance_registry(struct conformance *c, struct registry *r,
			  const char *prefix);

/*
 * The same registry from several processes. @open is called in each of them,
 * after the fork; call this before the program has threads.
 */
void conformance_registry_processes(struct conformance *c,
				    struct registry *(*open)(void *ctx),
				    void *ctx, const char *prefix);

/*
 * @base: a pointer without a trailing slash ("file:///tmp/x", "s3://b/x"); the
 * cases make and remove objects below it.
 */
void conformance_object_store(struct conformance *c, struct object_store *s,
			      const char *base);

/* Print the plan; returns the exit status. */
int conformance_done(const struct conformance *c);

/* For the suites' own cases. */

struct registry_fixture {
	struct registry *r;
	char *repo; /* a fresh one for each case */
};
struct registry_case {
	const char *name;
	void (*run)(struct conformance *c, struct registry_fixture *f);
};
extern const struct registry_case registry_blob_cases[];       /* NULL name */
extern const struct registry_case registry_manifest_cases[];   /* ends */
extern const struct registry_case registry_concurrent_cases[]; /* each */

bool conformance_check(struct conformance *c, bool good, const char *file,
		       int line, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));
/* Note a failure unless @cond; goes on either way. */
#define check(c, cond, ...) \
	conformance_check(c, (cond), __FILE__, __LINE__, __VA_ARGS__)
/* A result that must be this one; shows the error's message otherwise. */
#define check_code(c, got, want, err)                                      \
	do {                                                               \
		int got_ = (got), want_ = (want);                          \
		check(c, got_ == want_, "got %d, not %d: %s", got_, want_, \
		      (err) ? (err)->message : "no error");                \
	} while (0)

void conformance_begin(struct conformance *c);
void conformance_end(struct conformance *c, const char *name);
/* The peer lacks what the case is about: a skip that stays one even where every
 * other skip is a failure (scripts/tap-count). */
void conformance_skip(struct conformance *c, const char *why);

/* Bytes that are this run's own, so that no store has seen them; on the heap.
 * The same @seed gives the same bytes within a run, in every process. */
char *conformance_bytes(const char *seed, size_t n);
/* Hex digits that differ from run to run; the same in forked processes. */
const char *conformance_run_id(void);

/* A sink that hashes, counts, and may fail or cancel at a certain write. */
struct probe_sink {
	struct sink sink;
	struct hasher *hasher;
	uint64_t bytes;
	size_t biggest;      /* piece */
	unsigned writes;     /* calls */
	unsigned at;         /* this call, counted from 1, … */
	int code;            /* … fails with -code, and */
	atomic_bool *to_set; /* sets this, when not NULL */
};
void probe_sink_init(struct probe_sink *s);
struct digest probe_sink_digest(struct probe_sink *s);
void probe_sink_release(struct probe_sink *s);
#define cleanup_probe_sink __attribute__((cleanup(probe_sink_release)))

/* A feed of memory that may fail from an offset on. */
struct probe_feed {
	struct feed feed;
	const char *p;
	uint64_t fail_from; /* UINT64_MAX: never */
	int code;
	size_t biggest;
};
void probe_feed_init(struct probe_feed *f, const char *p, size_t n);

/* Run @fn(ctx, 0 … n-1) on @n threads that start together; the number of them
 * that did not return 0. */
int conformance_threads(unsigned n, int (*fn)(void *ctx, unsigned i),
			void *ctx);

/* Blobs and manifests of a case; failures are noted. */
struct digest put_bytes(struct conformance *c, struct registry *r,
			const char *repo, const char *p, size_t n);
/* A small manifest with one layer; @note makes it a different one. @subject
 * may be NULL. The blobs are put; the manifest is not. On the heap. */
char *make_manifest(struct conformance *c, struct registry *r, const char *repo,
		    const char *note, const struct descriptor *subject,
		    const char *artifact_type);
/* Returns the code of put_manifest(). */
int put_text(struct registry *r, const char *repo, const char *tag,
	     const char *text, struct error **errp);

#endif
