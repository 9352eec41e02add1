#include "fs/read.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/time.h"
#include "fs/filler.h"
#include "fs/parking.h"
#include "fs/sources.h"
#include "fs/synthetic.h"

/*
 * A buffer per thread, as large as the largest read it saw.
 */

static pthread_key_t buffer_key;
static pthread_once_t buffer_once = PTHREAD_ONCE_INIT;

struct read_buffer {
	size_t cap;
	char bytes[];
};

static void make_buffer_key(void)
{
	if (pthread_key_create(&buffer_key, free) != 0)
		abort();
}

char *read_buffer_get(size_t n)
{
	struct read_buffer *b;

	pthread_once(&buffer_once, make_buffer_key);
	b = pthread_getspecific(buffer_key);
	if (!b || b->cap < n) {
		free(b);
		b = malloc(sizeof(*b) + n);
		pthread_setspecific(buffer_key, b);
		if (!b)
			return NULL;
		b->cap = n;
	}
	return b->bytes;
}

/*
 * Answers.
 */

void read_count_latency(struct mount *m, int64_t since_ns)
{
	uint64_t ns = (uint64_t)(time_mono_ns() - since_ns), t = ns / 16000;
	unsigned i = t ? 64 - (unsigned)__builtin_clzll(t) : 0;

	stat_add(&m->stats->latency[MIN(i, LATENCY_BUCKETS - 1u)], 1);
	stat_add(&m->stats->read_ns, ns);
}

void read_reply(struct mount *m, fuse_req_t req, fuse_ino_t ino,
		const char *buf, size_t n, int64_t since_ns)
{
	stat_add(&m->stats->bytes, n);
	read_count_latency(m, since_ns);
	fs_errors_clear(&m->errors, ino);
	fuse_reply_buf(req, buf, n);
}

/* "blob 'sha256:…' of '<path>'": what a log line is about. */
static char *describe(struct mount *m, fuse_ino_t ino)
{
	cleanup_strbuf struct strbuf path = STRBUF_INIT;
	struct tree_node n;

	if (tree_node(m->tree, (uint32_t)(ino - 1), &n, NULL) < 0 ||
	    n.kind != TREE_FILE)
		return xasprintf("inode %llu", (unsigned long long)ino);
	if (tree_path(m->tree, (uint32_t)(ino - 1), &path, NULL) < 0)
		strbuf_adds(&path, "?");
	return xasprintf("'%s' of '%s'", digest_to_str(n.digest).str,
			 strbuf_str(&path));
}

void read_reply_failure(struct mount *m, fuse_req_t req, fuse_ino_t ino,
			enum fs_site site, const struct error *err)
{
	cleanup_free char *what = describe(m, ino);

	fuse_reply_err(req, fs_errors_report(&m->errors, site, ino, what,
					     err ? err->message : NULL));
}

void read_expect(struct mount *m, const struct tree_node *n)
{
	enum weights format = weights_of_name(n->name, n->name_len);
	struct fetch_source *src;

	if (format == WEIGHTS_NONE || n->kind != TREE_FILE ||
	    n->source == TREE_NONE || n->offset ||
	    sources_get(m->sources, n->source, &src, NULL) < 0)
		return;
	if (content_size(fetch_source_content(src)) == n->size)
		fetch_weights(m->fetcher, src, format);
	sources_put(m->sources, n->source);
}

/*
 * The operation.
 */

static void read_file(struct mount *m, fuse_req_t req, fuse_ino_t ino,
		      const struct tree_node *n, size_t len, uint64_t off)
{
	cleanup_error struct error *err = NULL;
	int64_t since = time_mono_ns();
	char *buf = read_buffer_get(len);
	struct fetch_source *src;
	struct fetch_range range;
	ssize_t got;

	if (!buf) {
		read_reply_failure(m, req, ino, SITE_MEMORY, NULL);
		return;
	}
	if (sources_get(m->sources, n->source, &src, &err) < 0) {
		read_reply_failure(m, req, ino, SITE_SOURCE, err);
		return;
	}
	if (m->recorder)
		recorder_note(m->recorder, (uint32_t)(ino - 1), n, off, len);
	file_range(n, src, off, len, &range);
	got = fetch_try_read(m->fetcher, &range, buf, &err);
	if (got == -EAGAIN) {
		park(m, req, ino, &range, n->source, since);
		read_expect(m, n); /* there may have been no open */
		return;
	}
	if (got < 0)
		read_reply_failure(m, req, ino, fs_site_of((int)-got, true),
				   err);
	else
		read_reply(m, req, ino, buf, (size_t)got, since);
	sources_put(m->sources, n->source);
	if (got > 0)
		filler_read(m->filler, n);
}

void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
	     struct fuse_file_info *fi)
{
	struct mount *m = mount_of(req);
	struct tree_node n;
	int code;

	stat_add(&m->stats->ops[OP_READ], 1);
	if (ino_is_synthetic(ino)) {
		synthetic_read(m->synthetic, req, ino, size, off);
		return;
	}
	code = mount_node(m, ino, &n);
	if (!code && n.kind != TREE_FILE)
		code = n.kind == TREE_DIR ? EISDIR : EINVAL;
	if (code)
		fuse_reply_err(req, code);
	else if (off < 0 || (uint64_t)off >= n.size)
		fuse_reply_buf(req, NULL, 0);
	else
		read_file(m, req, ino, &n, MIN(size, n.size - (uint64_t)off),
			  (uint64_t)off);
}
