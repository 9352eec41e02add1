#include "fs/open.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/io.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/map.h"
#include "cache/cache.h"
#include "fs/data_path.h"
#include "fs/read.h"

/* Descriptors that are left to everything else. */
#define SPARE_FDS 512u

/* Since Linux 6.9, which the headers may be older than. */
#ifndef FUSE_DEV_IOC_BACKING_CLOSE
#define FUSE_DEV_IOC_BACKING_CLOSE _IOW(229, 2, uint32_t)
#endif

enum open_mode { MODE_CACHED, MODE_PASSTHROUGH };

struct open_inode {
	fuse_ino_t ino;
	unsigned opens;
	enum open_mode mode; /* while it is open, or idle with a backing id */
	int backing;         /* 0: none */
	int fd;              /* holds the blob's lock; -1 */
	struct open_inode *prev, *next; /* while idle */
};

struct opens {
	struct mount *m;
	struct mutex lock;
	bool inited;
	struct data_path path;
	bool differs;             /* from what our predecessor agreed on */
	bool no_open, no_opendir; /* the kernel takes ENOSYS for them */
	const char *why_not;      /* set when the kernel declined for good */
	struct map by_ino;
	struct map by_handle;   /* → its entry in the handover, plus one */
	struct open_inode idle; /* ring; idle.next was closed longest ago */
	size_t n_backing, max_backing;
};

struct opens *opens_new(struct mount *m)
{
	struct opens *o = xcalloc(1, sizeof(*o));
	struct rlimit nofile = {0};

	o->m = m;
	o->idle.prev = o->idle.next = &o->idle;
	mutex_init(&o->lock, LOCK_MOUNT);
	getrlimit(RLIMIT_NOFILE, &nofile);
	if (nofile.rlim_cur > SPARE_FDS)
		o->max_backing =
			MIN(nofile.rlim_cur - SPARE_FDS, HANDOVER_BACKING);
	return o;
}

static void inode_free(struct open_inode *i)
{
	closep(&i->fd);
	free(i);
}

void opens_free(struct opens *o)
{
	size_t pos = 0;
	void *i;

	if (!o)
		return;
	while (map_next(&o->by_ino, &pos, NULL, NULL, &i))
		inode_free(i);
	map_release(&o->by_ino);
	map_release(&o->by_handle);
	mutex_destroy(&o->lock);
	free(o);
}

/*
 * INIT.
 */

/* Readers whose pid we cannot see are freed by FUSE_INTERRUPT alone, which
 * asynchronous direct I/O does not send; readers outside our pid namespace
 * are such. */
static bool sees_all_pids(void)
{
	char link[64];
	ssize_t n = readlink("/proc/self/ns/pid", link, sizeof(link) - 1);

	if (n < 0)
		return false;
	link[n] = '\0';
	return !strcmp(link, "pid:[4026531836]");
}

/* The kernel was answered once: a successor has to mean the same. */
static void agree_locked(struct opens *o, const struct fuse_conn_info *conn)
	REQUIRES(o->lock);
static void agree_locked(struct opens *o, const struct fuse_conn_info *conn)
{
	struct handover *h = o->m->handover;

	if (h->successor) {
		o->differs = h->table->want != conn->want ||
			     h->passthrough != o->path.passthrough;
		return;
	}
	h->table->want = conn->want;
	h->passthrough = o->path.passthrough;
	h->table->passthrough = h->passthrough;
}

void open_init(void *userdata, struct fuse_conn_info *conn)
{
	struct mount *m = userdata;
	struct opens *o = m->opens;
	unsigned want = FUSE_CAP_ASYNC_READ | FUSE_CAP_READDIRPLUS |
			FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_CACHE_SYMLINKS |
			FUSE_CAP_EXPORT_SUPPORT | FUSE_CAP_EXPLICIT_INVAL_DATA |
			FUSE_CAP_NO_OPEN_SUPPORT | FUSE_CAP_NO_OPENDIR_SUPPORT;

	mutex_lock(&o->lock);
	o->path = data_path_choose(m, conn);
	o->no_open = conn->capable & FUSE_CAP_NO_OPEN_SUPPORT;
	o->no_opendir = conn->capable & FUSE_CAP_NO_OPENDIR_SUPPORT;
	if (sees_all_pids())
		want |= FUSE_CAP_ASYNC_DIO;
#ifdef HAVE_FUSE_PASSTHROUGH
	if (o->path.passthrough) {
		want |= FUSE_CAP_PASSTHROUGH;
		conn->max_backing_stack_depth = m->options->stacked_cache;
	}
#endif
	conn->want = want & conn->capable;
	/* Beyond this many readaheads the kernel lets nobody read: a stalled
	 * store must not get there. */
	conn->max_background = 1024;
	conn->congestion_threshold = 768;
	o->inited = true;
	agree_locked(o, conn);
	mutex_unlock(&o->lock);
}

int opens_check_init(struct opens *o, struct error **errp)
{
	if (!o->inited)
		return error_set(errp, EPROTO,
				 "the kernel's first request is not INIT");
	if (o->differs)
		return error_set(errp, EPROTO,
				 "this program would agree on something else "
				 "with the kernel than the mount began with");
	if (!o->path.refused)
		return 0;
	error_set(errp, EOPNOTSUPP, "io=passthrough cannot be: %s",
		  o->path.why);
	return error_hint(errp, -EOPNOTSUPP, "io=auto takes what can be had");
}

void opens_get_report(struct opens *o, struct opens_report *ret)
{
	mutex_lock(&o->lock);
	ret->passthrough = o->path.passthrough;
	ret->why = o->path.why;
	ret->why_not = o->why_not;
	ret->backing = o->n_backing;
	mutex_unlock(&o->lock);
}

/*
 * Backing ids.
 */

#ifdef HAVE_FUSE_PASSTHROUGH

static void idle_remove(struct open_inode *i)
{
	i->prev->next = i->next;
	i->next->prev = i->prev;
	i->prev = i->next = NULL;
}

static void idle_add(struct opens *o, struct open_inode *i)
{
	i->next = &o->idle;
	i->prev = o->idle.prev;
	i->prev->next = i;
	o->idle.prev = i;
}

/* As libfuse does it, which wants a request for that. */
static void close_backing_id(const struct mount *m, int id)
{
	uint32_t arg = (uint32_t)id;

	if (ioctl(fuse_session_fd(m->se), FUSE_DEV_IOC_BACKING_CLOSE, &arg) < 0)
		log_debug("backing id %d: %s", id, strerror(errno));
}

static void backing_close_locked(struct opens *o, struct open_inode *i)
	REQUIRES(o->lock);
static void backing_close_locked(struct opens *o, struct open_inode *i)
{
	if (i->backing) {
		/* Forgotten first: an id that is not one fails its opener. */
		handover_backing_clear(o->m->handover, i->ino);
		close_backing_id(o->m, i->backing);
		o->n_backing--;
	}
	i->backing = 0;
	i->mode = MODE_CACHED;
	closep(&i->fd);
}

/* Evict the inode that was closed longest ago. */
static bool evict_locked(struct opens *o) REQUIRES(o->lock);
static bool evict_locked(struct opens *o)
{
	struct open_inode *old = o->idle.next;

	if (old == &o->idle)
		return false;
	idle_remove(old);
	backing_close_locked(o, old);
	map_del(&o->by_ino, &old->ino, sizeof(old->ino));
	inode_free(old);
	return true;
}

void opens_let_go(struct opens *o)
{
	mutex_lock(&o->lock);
	while (evict_locked(o))
		;
	mutex_unlock(&o->lock);
}

/* Only a file that is a whole source of its own is worth a backing id. */
static bool node_is_passable(const struct mount *m, const struct tree_node *n)
{
	struct tree_source src;

	return n->kind == TREE_FILE && n->source != TREE_NONE &&
	       tree_source(m->tree, n->source, &src, NULL) == 0 &&
	       src.kind != TREE_SOURCE_PACK;
}

static void backing_declined_locked(struct opens *o, int code)
	REQUIRES(o->lock);
static void backing_declined_locked(struct opens *o, int code)
{
	if (code == ELOOP)
		o->why_not = "the cache lies on a stacked file system "
			     "(-o stacked_cache allows that)";
	else if (code == EPERM)
		o->why_not = "the kernel refused it";
	if (o->why_not)
		log_info("files are no longer passed through: %s", o->why_not);
}

static void backing_open_locked(struct opens *o, fuse_req_t req,
				struct open_inode *i, const struct tree_node *n)
	REQUIRES(o->lock);
static void backing_open_locked(struct opens *o, fuse_req_t req,
				struct open_inode *i, const struct tree_node *n)
{
	cleanup_fd int fd = -1;

	if (o->why_not || !node_is_passable(o->m, n) ||
	    (o->n_backing >= o->max_backing && !evict_locked(o)))
		return;
	fd = cache_blob_open_passthrough(o->m->cache, n->digest, n->size);
	if (fd < 0)
		return;
	errno = 0;
	i->backing = fuse_passthrough_open(req, fd);
	if (i->backing <= 0) {
		i->backing = 0;
		backing_declined_locked(o, errno);
		return;
	}
	if (!handover_backing_set(o->m->handover, i->ino, i->backing)) {
		fuse_passthrough_close(req, i->backing);
		i->backing = 0;
		return;
	}
	o->n_backing++;
	i->mode = MODE_PASSTHROUGH;
	i->fd = steal_fd(&fd);
}

/* The mode of an inode that nobody has open is decided anew. */
static void decide_mode_locked(struct opens *o, fuse_req_t req,
			       struct open_inode *i, const struct tree_node *n)
	REQUIRES(o->lock);
static void decide_mode_locked(struct opens *o, fuse_req_t req,
			       struct open_inode *i, const struct tree_node *n)
{
	/* Its descriptor keeps the blob locked against our own links, not
	 * against an administrator, nor against what verify finds damaged. */
	if (i->backing &&
	    cache_blob_still_passable(o->m->cache, n->digest, i->fd))
		return;
	backing_close_locked(o, i);
	backing_open_locked(o, req, i, n);
}

static void drop_locked(struct opens *o, struct open_inode *i)
	REQUIRES(o->lock);
static void drop_locked(struct opens *o, struct open_inode *i)
{
	if (i->backing) {
		idle_add(o, i);
		return;
	}
	map_del(&o->by_ino, &i->ino, sizeof(i->ino));
	inode_free(i);
}

static struct open_inode *inode_get_locked(struct opens *o, fuse_ino_t ino)
	REQUIRES(o->lock);
static struct open_inode *inode_get_locked(struct opens *o, fuse_ino_t ino)
{
	struct open_inode *i = map_get(&o->by_ino, &ino, sizeof(ino));

	if (i)
		return i;
	i = xcalloc(1, sizeof(*i));
	i->ino = ino;
	i->fd = -1;
	map_put(&o->by_ino, &ino, sizeof(ino), i);
	return i;
}

static void note_handle_locked(struct opens *o, uint64_t handle, int64_t entry)
	REQUIRES(o->lock);
static void note_handle_locked(struct opens *o, uint64_t handle, int64_t entry)
{
	map_put(&o->by_handle, &handle, sizeof(handle),
		(void *)(uintptr_t)(entry + 1));
}

/* False: the table is full. An open that a dead worker counted is known. */
static bool add_open_locked(struct opens *o, fuse_req_t req, fuse_ino_t ino,
			    uint64_t handle, const struct tree_node *n)
	REQUIRES(o->lock);
static bool add_open_locked(struct opens *o, fuse_req_t req, fuse_ino_t ino,
			    uint64_t handle, const struct tree_node *n)
{
	struct open_inode *i;
	int64_t entry;

	if (map_get(&o->by_handle, &handle, sizeof(handle)))
		return true;
	i = inode_get_locked(o, ino);
	if (i->next)
		idle_remove(i);
	if (i->opens == 0)
		decide_mode_locked(o, req, i, n);
	entry = handover_open_add(o->m->handover, ino, handle);
	if (entry < 0 && i->opens == 0)
		drop_locked(o, i);
	if (entry < 0)
		return false;
	note_handle_locked(o, handle, entry);
	i->opens++;
	return true;
}

/* One more open of @ino: its backing id, 0 for cached, or -ENFILE. */
static int count_open(struct opens *o, fuse_req_t req, fuse_ino_t ino,
		      uint64_t handle, const struct tree_node *n)
{
	struct open_inode *i;
	int r = -ENFILE;

	mutex_lock(&o->lock);
	if (add_open_locked(o, req, ino, handle, n)) {
		i = inode_get_locked(o, ino);
		r = i->mode == MODE_PASSTHROUGH ? i->backing : 0;
	}
	mutex_unlock(&o->lock);
	return r;
}

static void count_release(struct opens *o, fuse_ino_t ino, uint64_t handle)
{
	struct open_inode *i;
	uintptr_t entry;

	mutex_lock(&o->lock);
	entry = (uintptr_t)map_del(&o->by_handle, &handle, sizeof(handle));
	i = map_get(&o->by_ino, &ino, sizeof(ino));
	if (entry)
		handover_open_del(o->m->handover, (int64_t)entry - 1);
	if (entry && i && --i->opens == 0)
		drop_locked(o, i);
	mutex_unlock(&o->lock);
}

/* A file that is open keeps its path; without a descriptor of ours, which file
 * its backing id is cannot be checked once it is closed: a new one is made. */
static void adopt_open_locked(struct opens *o, const struct handover_open *e,
			      int64_t entry) REQUIRES(o->lock);
static void adopt_open_locked(struct opens *o, const struct handover_open *e,
			      int64_t entry)
{
	uint64_t handle = atomic_load(&e->handle);

	if (!handle)
		return;
	inode_get_locked(o, e->ino)->opens++;
	note_handle_locked(o, handle, entry);
}

static void adopt_backing_locked(struct opens *o,
				 const struct handover_backing *b)
	REQUIRES(o->lock);
static void adopt_backing_locked(struct opens *o,
				 const struct handover_backing *b)
{
	int id = atomic_load(&b->id);
	struct open_inode *i;

	if (!id)
		return;
	i = inode_get_locked(o, b->ino);
	i->backing = id;
	o->n_backing++;
	if (i->opens)
		i->mode = MODE_PASSTHROUGH;
	else
		idle_add(o, i);
}

void opens_adopt(struct opens *o)
{
	struct handover_table *t = o->m->handover->table;
	uint32_t n = (uint32_t)atomic_load(&t->n_opens);

	mutex_lock(&o->lock);
	for (uint32_t e = 0; e < MIN(n, HANDOVER_OPENS); e++)
		adopt_open_locked(o, &t->opens[e], e);
	for (size_t b = 0; b < HANDOVER_BACKING; b++)
		adopt_backing_locked(o, &t->backing[b]);
	mutex_unlock(&o->lock);
}

static void reply_open(struct mount *m, fuse_req_t req, fuse_ino_t ino,
		       const struct tree_node *n, struct fuse_file_info *fi)
{
	int backing;

	fi->fh = handover_request();
	backing = count_open(m->opens, req, ino, fi->fh, n);
	if (backing < 0) {
		fuse_reply_err(req, -backing);
		return;
	}
	fi->backing_id = backing;
	fi->keep_cache = !fi->backing_id;
	fi->noflush = 1;
	stat_add(fi->backing_id ? &m->stats->passthrough_opens
				: &m->stats->cached_opens,
		 1);
	/* The opener is gone: no release will come. */
	if (fuse_reply_open(req, fi) == -ENOENT)
		count_release(m->opens, ino, fi->fh);
	if (!backing)
		read_expect(m, n);
}

#else

void opens_let_go(struct opens *o)
{
}

static void count_release(struct opens *o, fuse_ino_t ino, uint64_t handle)
{
}

void opens_adopt(struct opens *o)
{
}

static void reply_open(struct mount *m, fuse_req_t req, fuse_ino_t ino,
		       const struct tree_node *n, struct fuse_file_info *fi)
{
	fi->keep_cache = 1;
	stat_add(&m->stats->cached_opens, 1);
	fuse_reply_open(req, fi);
	read_expect(m, n);
}

#endif

/*
 * The operations. Handles only tell opens apart: whoever serves a read needs
 * the inode alone.
 */

static void open_file(struct mount *m, fuse_req_t req, fuse_ino_t ino,
		      struct fuse_file_info *fi)
{
	struct tree_node n = {.source = TREE_NONE};
	int code = ino_is_synthetic(ino) ? 0 : mount_node(m, ino, &n);

	if (!code && (fi->flags & O_ACCMODE) != O_RDONLY)
		code = EROFS;
	if (code)
		fuse_reply_err(req, code);
	else
		reply_open(m, req, ino, &n, fi);
}

void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct mount *m = mount_of(req);

	stat_add(&m->stats->ops[OP_OPEN], 1);
	if (!m->opens->path.passthrough && m->opens->no_open)
		fuse_reply_err(req, ENOSYS);
	else
		open_file(m, req, ino, fi);
}

void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	count_release(mount_of(req)->opens, ino, fi->fh);
	fuse_reply_err(req, 0);
}

void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct mount *m = mount_of(req);

	stat_add(&m->stats->ops[OP_OPEN], 1);
	if (m->opens->no_opendir) {
		fuse_reply_err(req, ENOSYS);
		return;
	}
	fi->keep_cache = 1;
	fi->cache_readdir = 1;
	fuse_reply_open(req, fi);
}
