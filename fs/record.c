#include "fs/record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/io.h"
#include "base/lock.h"
#include "base/log.h"
#include "cache/content.h"
#include "engine/chunk_set.h"

struct recorder {
	const struct tree *tree;
	struct record_table *table;
	struct mutex lock;
	struct chunk_set seen; /* of nodes */
	/* Of the text, as the table says it once: whoever took the worker
	 * before this one over may write there later, too. 0: not looked. */
	uint32_t len;
	bool stopped; /* nothing more can be kept */
};

/*
 * The text.
 */

static void stop_locked(struct recorder *r, const char *why) REQUIRES(r->lock);
static void stop_locked(struct recorder *r, const char *why)
{
	r->stopped = true;
	atomic_store(&r->table->full, true);
	log_warn("the recording ends: %s", why);
}

/* Not before the first row: a predecessor that is being upgraded writes until
 * then. */
static bool look_at_length_locked(struct recorder *r) REQUIRES(r->lock);
static bool look_at_length_locked(struct recorder *r)
{
	uint64_t len = atomic_load(&r->table->len);

	if (r->len)
		return true;
	if (len < strlen(TRACE_HEAD) || len > sizeof(r->table->text)) {
		stop_locked(r, "its length is none");
		return false;
	}
	r->len = (uint32_t)len;
	return true;
}

static void flush_locked(struct recorder *r) REQUIRES(r->lock);
static void flush_locked(struct recorder *r)
{
	struct record_table *t = r->table;
	cleanup_strbuf struct strbuf path = STRBUF_INIT, line = STRBUF_INIT;
	struct trace_record rec = {
		.first = (uint32_t)atomic_load(&t->first),
		.count = (uint32_t)atomic_load(&t->count),
	};
	uint32_t node = (uint32_t)atomic_load(&t->node);

	if (!node || r->stopped || !look_at_length_locked(r))
		return;
	if (tree_path(r->tree, node, &path, NULL) == 0) {
		rec.path = path.buf;
		rec.path_len = path.len;
		trace_write(&rec, &line);
	}
	if (line.len > sizeof(t->text) - r->len) {
		stop_locked(r, "it is as long as a trace may be");
	} else if (line.len) {
		memcpy(t->text + r->len, line.buf, line.len);
		r->len += (uint32_t)line.len;
		atomic_store(&t->len, r->len);
	}
	/* Last: dying before it writes the row twice, which is no harm. */
	atomic_store(&t->node, 0);
}

static void add_locked(struct recorder *r, uint32_t node, uint32_t chunk)
	REQUIRES(r->lock);
static void add_locked(struct recorder *r, uint32_t node, uint32_t chunk)
{
	struct record_table *t = r->table;
	uint32_t count = (uint32_t)atomic_load(&t->count);

	if (atomic_load(&t->node) == node &&
	    atomic_load(&t->first) + count == chunk && count < RECORD_ROW_MAX) {
		atomic_store(&t->count, count + 1);
		return;
	}
	flush_locked(r);
	if (r->stopped)
		return;
	atomic_store(&t->first, chunk);
	atomic_store(&t->count, 1);
	atomic_store(&t->node, node);
}

void recorder_note(struct recorder *r, uint32_t node, const struct tree_node *n,
		   uint64_t off, uint64_t len)
{
	uint32_t last = (uint32_t)((off + len - 1) / CHUNK_SIZE);

	mutex_lock(&r->lock);
	for (uint32_t i = (uint32_t)(off / CHUNK_SIZE);
	     i <= last && !r->stopped; i++)
		if (chunk_set_add(&r->seen, node, i, chunk_count(n->size)) > 0)
			add_locked(r, node, i);
	mutex_unlock(&r->lock);
}

void recorder_flush(struct recorder *r)
{
	if (!r)
		return;
	mutex_lock(&r->lock);
	flush_locked(r);
	mutex_unlock(&r->lock);
}

/*
 * Going on with what a predecessor left, which may be anything.
 */

static void mark_locked(struct recorder *r, uint32_t node, uint64_t first,
			uint64_t count) REQUIRES(r->lock);
static void mark_locked(struct recorder *r, uint32_t node, uint64_t first,
			uint64_t count)
{
	struct tree_node n;
	uint64_t end;

	if (tree_node(r->tree, node, &n, NULL) < 0 || n.kind != TREE_FILE)
		return;
	/* No row of ours is longer: many lines cost no more than they say. */
	count = MIN(count, (uint64_t)RECORD_ROW_MAX);
	end = MIN(first + count, (uint64_t)chunk_count(n.size));
	for (uint64_t i = first; i < end; i++)
		chunk_set_add(&r->seen, node, (uint32_t)i, chunk_count(n.size));
}

static int adopt_text_locked(struct recorder *r, const char *text, size_t len)
	REQUIRES(r->lock);
static int adopt_text_locked(struct recorder *r, const char *text, size_t len)
{
	struct trace_reader reader;
	struct trace_record rec;
	int got = trace_begin(&reader, text, len, NULL);

	if (got < 0)
		return got;
	while ((got = trace_next(&reader, &rec, NULL)) > 0) {
		uint32_t node;

		if (trace_find(&rec, r->tree, &node) == 0)
			mark_locked(r, node, rec.first, rec.count);
	}
	return got;
}

/* A copy: a predecessor that is being upgraded still writes. */
static int adopt_locked(struct recorder *r) REQUIRES(r->lock);
static int adopt_locked(struct recorder *r)
{
	struct record_table *t = r->table;
	size_t len = atomic_load(&t->len);
	cleanup_free char *text = len <= sizeof(t->text) ? malloc(len) : NULL;

	if (!text)
		return -EINVAL;
	memcpy(text, t->text, len);
	if (atomic_load(&t->node))
		mark_locked(r, (uint32_t)atomic_load(&t->node),
			    atomic_load(&t->first), atomic_load(&t->count));
	return adopt_text_locked(r, text, len);
}

struct recorder *recorder_new(const struct tree *tree,
			      struct record_table *table)
{
	struct recorder *r = xcalloc(1, sizeof(*r));

	r->tree = tree;
	r->table = table;
	mutex_init(&r->lock, LOCK_MOUNT);
	mutex_lock(&r->lock);
	r->stopped = atomic_load(&table->full);
	if (!atomic_load(&table->len)) {
		memcpy(table->text, TRACE_HEAD, strlen(TRACE_HEAD));
		atomic_store(&table->len, strlen(TRACE_HEAD));
	} else if (adopt_locked(r) < 0) {
		stop_locked(r, "what the last worker left is no trace");
	}
	mutex_unlock(&r->lock);
	return r;
}

void recorder_free(struct recorder *r)
{
	if (!r)
		return;
	chunk_set_release(&r->seen);
	mutex_destroy(&r->lock);
	free(r);
}

/*
 * The file.
 */

int record_check(const char *path, struct error **errp)
{
	cleanup_free char *folder = xstrdup(path);
	char *slash = strrchr(folder, '/');
	struct stat st;
	int code = 0;

	if (!slash || !slash[1])
		return error_set(errp, EISDIR, "'record' is a file, not '%s'",
				 path);
	slash[slash == folder] = '\0';
	if (access(folder, W_OK | X_OK) < 0)
		code = errno;
	else if (lstat(path, &st) == 0 && !S_ISREG(st.st_mode))
		code = S_ISDIR(st.st_mode) ? EISDIR : EEXIST;
	return code ? error_kind(errp,
				 error_set_errno(errp, code,
						 "recording to '%s'", path),
				 ERROR_VALIDATION)
		    : 0;
}

int record_publish(struct record_table *table, const char *path)
{
	size_t len = MIN(atomic_load(&table->len), sizeof(table->text));

	return len ? io_write_file_atomic(AT_FDCWD, path, table->text, len,
					  0644)
		   : 0;
}
