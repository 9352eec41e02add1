/*
 * A trace: the order in which a job first asked for the content of a bundle's
 * files (docs/format.md, "Traces"). Text, a line for each row of chunks:
 *
 *   mops-trace 1
 *   0 3 models/weights.safetensors
 *   0 1 config.json
 *   17 1 models/weights.safetensors
 *
 * The first chunk of CHUNK_SIZE within the file, how many, the file's path.
 * It says what to fetch first, and nothing else: a name that a bundle does not
 * have means nothing, and no byte is believed because of it.
 *
 * Hostile input welcome. Threads: one for each reader.
 */
#ifndef ENGINE_TRACE_H
#define ENGINE_TRACE_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/path.h"
#include "base/strbuf.h"
#include "engine/tree.h"

#define MEDIA_TYPE_TRACE "application/vnd.modelops.trace.v1"
#define TRACE_HEAD       "mops-trace 1\n"
#define TRACE_BYTES_MAX  (16u << 20)
/* The longest line: two numbers, two spaces, a path, the newline. */
#define TRACE_LINE_MAX (10 + 1 + 10 + 1 + PATH_BYTES_MAX + 1)

struct trace_record {
	uint32_t first, count; /* chunks; first + count does not wrap */
	const char *path;      /* not NUL-terminated; leads into the text */
	size_t path_len;
};

struct trace_reader {
	const char *at, *end;
	uint64_t line;
};

/* The text outlives the reader. -EINVAL: no trace; -EFBIG: too long. */
int trace_begin(struct trace_reader *t, const void *text, size_t n,
		struct error **errp);
/* 1: the next one; 0: there is none; -EINVAL: that is no record. */
int trace_next(struct trace_reader *t, struct trace_record *ret,
	       struct error **errp);
/* Every line. */
int trace_check(const void *text, size_t n, struct error **errp);

/* tree_find() of its path. */
int trace_find(const struct trace_record *r, const struct tree *t,
	       uint32_t *ret_node);

/* Its line, appended. */
void trace_write(const struct trace_record *r, struct strbuf *out);

#endif
