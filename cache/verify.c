/*
 * Verification of the whole cache: parts, the note of a scan, sealed blobs.
 * Partials are in verify_partial.c.
 */
#include "cache/verify.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/pool.h"
#include "base/time.h"
#include "cache/verify_internal.h"

int verify_stop(const struct verify_part *p)
{
	return op_go_on(p->v->o->op, NULL);
}

int verify_read(const struct verify_part *p, size_t n)
{
	progress_add(p->v->o->progress, 0, n);
	return rate_gate_pass(&p->v->gate, n, p->v->o->op);
}

static void tell_locked(struct verify *v, const struct cache_finding *f)
	REQUIRES(v->lock)
{
	v->report->damaged++;
	if (v->o->found)
		v->o->found(v->o->ctx, f);
}

/* Noted by a process that was killed before it could take the name away. */
static bool is_known(const struct verify *v, const struct cache_finding *f)
{
	for (size_t i = 0; i < v->n_earlier; i++) {
		const struct noted *n = &v->note.found[i];

		if ((!n->carried || v->o->for_repair) &&
		    same_finding(&n->finding, f))
			return true;
	}
	return false;
}

void verify_found(struct verify_part *p, const struct cache_finding *f)
{
	struct verify *v = p->v;

	mutex_lock(&v->lock);
	if (!is_known(v, f)) {
		note_finding(&v->note, f);
		tell_locked(v, f);
	}
	mutex_unlock(&v->lock);
}

/*
 * Sealed blobs, documents among them.
 */

static int each_chunk(void *ctx, uint32_t i, const void *buf, uint32_t n)
{
	(void)i;
	(void)buf;
	return verify_read(ctx, n);
}

static void damaged_blob(struct verify_part *p, const char *name, int fd,
			 const struct cache_finding *f)
{
	verify_found(p, f);
	statindex_forget(p->v->c, &f->digest);
	quarantine(p->v->c, ROOM_BLOBS, name, fd);
}

/* Not ours to read: it is not damaged, as far as anyone knows. */
static void cannot_check(struct verify_part *p, const struct cache_finding *f)
{
	struct verify *v = p->v;

	mutex_lock(&v->lock);
	v->report->unchecked++;
	if (v->o->unchecked)
		v->o->unchecked(v->o->ctx, f);
	mutex_unlock(&v->lock);
}

int verify_unreadable(struct verify_part *p, const struct cache_finding *f)
{
	int r = verify_stop(p);

	if (r < 0)
		return r;
	switch (f->error) {
	case ENOENT: /* removed meanwhile */
		return 0;
	case EMFILE:
	case ENFILE:
	case ENOMEM:
		return -f->error;
	case EIO:
	case EINVAL: /* no file: a folder, a symlink, a socket, a device */
	case ELOOP:
	case ENXIO:
	case ENODEV:
	case EISDIR:
		return 1;
	default:
		cannot_check(p, f);
		return 0;
	}
}

static void hints_for_reading(int fd)
{
	/* What is read once must not push out what others have in memory. */
	(void)posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	(void)posix_fadvise(fd, 0, 0, POSIX_FADV_NOREUSE);
}

static int verify_fd(struct verify_part *p, const char *name, int fd,
		     const struct stat *before, struct cache_finding *f)
{
	int64_t at_ns = time_wall_ns();
	struct stat after;
	int r;

	f->size = (uint64_t)before->st_size;
	f->ino = before->st_ino;
	f->links = before->st_nlink > 1 ? (uint32_t)before->st_nlink - 1 : 0;
	hints_for_reading(fd);
	r = hash_file(fd, f->size, each_chunk, p, &f->found);
	f->has_found = r == 0;
	f->error = -r;
	if (r < 0)
		r = verify_unreadable(p, f);
	else
		r = !digest_equal(&f->found, &f->digest);
	if (r == 1)
		damaged_blob(p, name, fd, f);
	else if (f->has_found && fstat(fd, &after) == 0 &&
		 stat_same(before, &after))
		statindex_put(p->v->c, &f->digest, &after, at_ns);
	return MIN(r, 0);
}

static int verify_blob(void *ctx, const char *name, const char *base,
		       const struct stat *named)
{
	struct cache_finding f = {.kind = CACHE_DAMAGED_BLOB,
				  .size = (uint64_t)named->st_size};
	struct verify_part *p = ctx;
	cleanup_fd int fd = -1;
	struct stat st = {0};
	int r = verify_stop(p);

	if (r < 0 || digest_parse_hex(base, strlen(base), &f.digest, NULL) < 0)
		return r; /* no blob's name */
	f.expected = f.digest;
	fd = openat(p->v->c->room[ROOM_BLOBS], name,
		    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		f.error = errno;
	else if (!S_ISREG(st.st_mode))
		f.error = EINVAL;
	r = f.error ? verify_unreadable(p, &f) : 1;
	if (r <= 0)
		return r;
	p->counts.blobs++;
	if (f.error) {
		damaged_blob(p, name, -1, &f);
		return 0;
	}
	r = verify_fd(p, name, fd, &st, &f);
	p->counts.bytes += (uint64_t)st.st_size;
	progress_add(p->v->o->progress, 1, 0);
	return r;
}

/*
 * Parts.
 */

struct shard {
	char str[3];
};

static struct shard shard_of(unsigned part)
{
	struct shard s;

	snprintf(s.str, sizeof(s.str), "%02x", part % PARTS_OF_ROOM);
	return s;
}

static enum cache_room room_of(unsigned part)
{
	return part < PARTS_OF_ROOM ? ROOM_BLOBS : ROOM_PARTIAL;
}

static int verify_part(void *ctx, size_t i, struct error **errp)
{
	struct verify *v = ctx;
	struct verify_part p = {.v = v};
	unsigned part = (unsigned)i;
	int r;

	(void)errp;
	if (v->note.done[part])
		return 0;
	r = shard_walk(
		v->c, room_of(part), shard_of(part).str,
		room_of(part) == ROOM_BLOBS ? verify_blob : verify_partial, &p);
	mutex_lock(&v->lock);
	v->report->blobs += p.counts.blobs;
	v->report->bytes += p.counts.bytes;
	v->report->partials += p.counts.partials;
	v->report->chunks += p.counts.chunks;
	v->report->removed_partials += p.counts.removed_partials;
	if (r == 0)
		note_part(&v->note, part, &p.counts);
	mutex_unlock(&v->lock);
	return r;
}

struct totals {
	uint64_t files, bytes;
};

static int add_size(void *ctx, const char *name, const char *base,
		    const struct stat *st)
{
	struct totals *t = ctx;
	const char *dot = strrchr(base, '.');

	if (dot && strcmp(dot, ".part") != 0)
		return 0; /* a map: small, and no file to a reader */
	t->files++;
	t->bytes += dot ? (uint64_t)st->st_blocks * 512 : (uint64_t)st->st_size;
	return 0;
}

static void count_work(struct verify *v)
{
	struct totals t = {0};

	for (unsigned i = 0; i < PARTS; i++)
		if (!v->note.done[i])
			(void)shard_walk(v->c, room_of(i), shard_of(i).str,
					 add_size, &t);
	progress_total(v->o->progress, t.files, t.bytes);
}

/*
 * A scan.
 */

static void tell_earlier(struct verify *v)
{
	v->n_earlier = v->note.n;
	mutex_lock(&v->lock);
	for (size_t i = 0; i < v->note.n; i++)
		if (!v->note.found[i].carried || v->o->for_repair)
			tell_locked(v, &v->note.found[i].finding);
	mutex_unlock(&v->lock);
}

static int scan(struct verify *v, struct error **errp)
{
	unsigned threads = v->o->threads ? v->o->threads : cpu_count();
	cleanup_pool struct pool *pool = pool_new("verify", threads);

	*v->report = v->note.counts;
	v->report->resumed = v->note.resumed;
	tell_earlier(v);
	if (v->o->progress)
		count_work(v);
	return pool_for_each(pool, PARTS, verify_part, v, errp);
}

int cache_verify(struct cache *c, const struct cache_verify_options *o,
		 struct cache_report *ret, struct error **errp)
{
	struct verify v = {.c = c, .o = o, .report = ret};
	int r;

	mutex_init(&v.lock, LOCK_VERIFY);
	rate_gate_init(&v.gate, o->limit_rate);
	note_open(c, o->restart, &v.note);
	r = scan(&v, NULL);
	note_release(&v.note);
	rate_gate_release(&v.gate);
	mutex_destroy(&v.lock);
	if (r < 0)
		return error_set_errno(errp, -r, "cannot check cache '%s'",
				       c->path);
	return 0;
}
