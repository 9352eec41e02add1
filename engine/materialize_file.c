/*
 * One file's bytes, checked while they are written, into the staging folder.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "engine/materialize_internal.h"

static mode_t mode_of(const struct tree_node *n)
{
	return n->executable ? 0755 : 0644;
}

static int create(struct mat *m, const char *name)
{
	int fd = openat(m->stage, name,
			O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
			0600);

	return fd < 0 ? -errno : fd;
}

/* Bytes of the cache as they are: whoever calls hashes them. -ENOENT: not
 * there. */
static ssize_t read_local(struct mat *m, const struct fetch_range *rg,
			  void *buf, struct error **errp)
{
	int r = content_read_unverified(fetch_source_content(rg->source), buf,
					rg->len, rg->off);

	return r < 0 ? r : (ssize_t)rg->len;
}

static ssize_t read_fetched(struct mat *m, const struct fetch_range *rg,
			    void *buf, struct error **errp)
{
	return fetch_read(m->fetcher, rg, buf, m->op, errp);
}

typedef ssize_t (*read_fn)(struct mat *m, const struct fetch_range *rg,
			   void *buf, struct error **errp);

/* Copy the whole file through @read; its digest. */
static int copy(struct mat *m, const struct tree_node *n, read_fn read, int fd,
		struct digest *ret, struct error **errp)
{
	struct fetch_source *src = source_set_get(m->set, n->source);
	size_t step = (size_t)MIN(n->size, (uint64_t)CHUNK_SIZE);
	cleanup_free void *buf = xmalloc(step);
	cleanup_hasher struct hasher *h = hasher_new();

	for (uint64_t off = 0; off < n->size; off += step) {
		struct fetch_range rg;
		ssize_t got;
		int r;

		file_range(n, src, off, (size_t)MIN(step, n->size - off), &rg);
		got = read(m, &rg, buf, errp);
		if (got < 0)
			return (int)got;
		hasher_update(h, buf, (size_t)got);
		r = io_pwrite_full(fd, buf, (size_t)got, off);
		if (r < 0)
			return error_set_errno(errp, -r, "writing");
	}
	*ret = hasher_final(h);
	return 0;
}

/* First as the cache has it; when that is not right, through the fetcher,
 * which checks chunks and brings them anew. */
static int copy_checked(struct mat *m, const struct tree_node *n, int fd,
			struct error **errp)
{
	cleanup_error struct error *err = NULL;
	struct digest got;
	int r = m->stream ? -ENOENT : copy(m, n, read_local, fd, &got, &err);

	if (r >= 0 && digest_equal(&got, n->digest))
		return 0;
	if (r < 0 && err) /* the disk's fault: it would not help */
		return error_propagate(errp, &err, r);
	r = copy(m, n, read_fetched, fd, &got, errp);
	if (r < 0)
		return r;
	if (!digest_equal(&got, n->digest))
		return error_set(errp, EBADMSG,
				 "its bytes in '%s' are not what the tree says",
				 digest_to_str(n->digest).str);
	return 0;
}

static int write_copy(struct mat *m, const struct tree_node *n,
		      const char *name, struct error **errp)
{
	cleanup_fd int fd = create(m, name);
	int r = fd;

	if (fd < 0)
		return error_set_errno(errp, -fd, "creating");
	if (n->size)
		r = copy_checked(m, n, fd, errp);
	if (r >= 0 && fchmod(fd, mode_of(n)) < 0)
		r = error_set_errno(errp, errno, "fchmod");
	if (r < 0) {
		unlinkat(m->stage, name, 0);
		return r;
	}
	atomic_fetch_add(&m->copied, 1);
	return 0;
}

static enum link_how how_for(const struct mat *m, const struct tree_node *n)
{
	enum link_how how = m->o->link;

	/* A blob has one mode and is not to be written through. */
	if (m->o->writable && (how == LINK_HARDLINK || how == LINK_SYMLINK))
		return LINK_REFLINK;
	if (n->executable && (how == LINK_HARDLINK || how == LINK_SYMLINK))
		return LINK_REFLINK;
	return how;
}

static void count_how(struct mat *m, enum link_how how)
{
	if (how == LINK_REFLINK)
		atomic_fetch_add(&m->reflinked, 1);
	else if (how == LINK_COPY)
		atomic_fetch_add(&m->copied, 1);
	else
		atomic_fetch_add(&m->linked, 1);
}

/* A content of its own: a name for the blob, if it is (still) sealed. */
static int write_linked(struct mat *m, const struct tree_node *n,
			const char *name, struct error **errp)
{
	struct fetch_source *src = source_set_get(m->set, n->source);
	struct link_request rq = {
		.digest = n->digest,
		.size = n->size,
		.how = how_for(m, n),
		.executable = n->executable,
		.writable = m->o->writable,
		.mode = mode_of(n),
	};

	for (int tries = 0; tries < 2; tries++) {
		cleanup_error struct error *err = NULL;
		enum link_how done;
		int r = cache_link_out(m->cache, &rq, m->stage, name, &done,
				       &err);

		if (r >= 0) {
			count_how(m, done);
			return 0;
		}
		if (r != -ENOENT)
			return error_propagate(errp, &err, r);
		/* Found damaged just now: it is fetched again. */
		error_freep(&err);
		if (fetch_whole(m->fetcher, &src, 1, m->op, &err) < 0)
			break;
	}
	return write_copy(m, n, name, errp);
}

static int write_document(struct mat *m, const struct mat_entry *e,
			  const char *name, struct error **errp)
{
	cleanup_strbuf struct strbuf doc = STRBUF_INIT;
	cleanup_fd int fd = -1;
	int r = mat_document(m, e, &doc, errp);

	if (r < 0)
		return r;
	fd = create(m, name);
	if (fd < 0)
		return error_set_errno(errp, -fd, "creating");
	r = io_write_full(fd, doc.buf, doc.len);
	if (r >= 0 && fchmod(fd, 0644) < 0)
		r = -errno;
	return r < 0 ? error_set_errno(errp, -r, "writing") : 0;
}

static int write_file(struct mat *m, const struct tree_node *n,
		      const char *name, struct error **errp)
{
	struct tree_source src;
	int r = mat_node_source(m, n, &src, errp);

	if (r < 0)
		return r;
	if (n->source == TREE_NONE || src.kind == TREE_SOURCE_PACK || m->stream)
		return write_copy(m, n, name, errp);
	return write_linked(m, n, name, errp);
}

static int write_entry(struct mat *m, const struct mat_entry *e,
		       const struct tree_node *n, const char *name,
		       struct error **errp)
{
	if (e->kind == MAT_POINTER || e->kind == MAT_PROVENANCE)
		return write_document(m, e, name, errp);
	if (e->kind == MAT_FILE)
		return write_file(m, n, name, errp);

	cleanup_free char *target = xstrndup(n->target, n->target_len);

	if (symlinkat(target, m->stage, name) < 0)
		return error_set_errno(errp, errno, "making a symlink");
	return 0;
}

int mat_stage_entry(struct mat *m, size_t i, struct error **errp)
{
	const struct mat_entry *e = &m->entries[i];
	cleanup_strbuf struct strbuf path = STRBUF_INIT;
	struct tree_node n = {0};
	int r;

	if (e->kind == MAT_DIR || !mat_writes(e))
		return 0;
	r = op_go_on(m->op, errp);
	if (r < 0)
		return r;
	r = mat_entry_path(m, e, &path, &n, errp);
	if (r >= 0)
		r = write_entry(m, e, &n, mat_stage_name(i).str, errp);
	if (r < 0)
		return error_prefix(errp, r, "'%s'", strbuf_str(&path));
	if (e->kind == MAT_FILE)
		progress_add(m->progress, 1, n.size);
	return 0;
}
