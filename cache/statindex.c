/*
 * index/ab/<hex>: one record for each sealed blob, made when it was last
 * hashed. A record that is torn, damaged or missing costs a hash of the blob
 * and nothing else, so it is not flushed.
 */
#include "cache/internal.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/io.h"
#include "base/time.h"

/* How exactly the last use of a blob is known. */
#define TOUCH_S 3600
/* How long a file's time may stay the same while it changes: a tick of the
 * kernel's clock, or, where times are whole seconds, what those file systems
 * do. */
#define TICK_NS        (20 * NS_PER_MS)
#define COARSE_TICK_NS (2 * NS_PER_S)

struct record {
	char magic[8];
	uint8_t digest[DIGEST_SIZE];
	struct stat_record stat;
	uint64_t at_ns;    /* wall clock when the hashing began */
	uint64_t checksum; /* XXH3 of all before */
};
_Static_assert(sizeof(struct record) == STATINDEX_RECORD, "no padding");

static const char record_magic[8] = "MOPSSTA1";

static uint64_t record_checksum(const struct record *r)
{
	return htole64(XXH3_64bits(r, offsetof(struct record, checksum)));
}

struct stat_record stat_record(const struct stat *st)
{
	return (struct stat_record){
		.dev = htole64(st->st_dev),
		.ino = htole64(st->st_ino),
		.size = htole64((uint64_t)st->st_size),
		.mtime_s = htole64((uint64_t)st->st_mtim.tv_sec),
		.ctime_s = htole64((uint64_t)st->st_ctim.tv_sec),
		.mtime_ns = htole32((uint32_t)st->st_mtim.tv_nsec),
		.ctime_ns = htole32((uint32_t)st->st_ctim.tv_nsec),
	};
}

static void record_fill(struct record *r, const struct digest *d,
			const struct stat *st, int64_t at_ns)
{
	memset(r, 0, sizeof(*r));
	memcpy(r->magic, record_magic, sizeof(r->magic));
	memcpy(r->digest, d->b, DIGEST_SIZE);
	r->stat = stat_record(st);
	r->at_ns = htole64((uint64_t)at_ns);
	r->checksum = record_checksum(r);
}

bool statindex_parse(const void *buf, size_t n, const struct digest *d,
		     struct stat *ret, int64_t *ret_at_ns)
{
	struct record r;

	if (n != sizeof(r))
		return false;
	memcpy(&r, buf, sizeof(r));
	if (memcmp(r.magic, record_magic, sizeof(r.magic)) != 0 ||
	    memcmp(r.digest, d->b, DIGEST_SIZE) != 0 ||
	    r.checksum != record_checksum(&r))
		return false;
	*ret_at_ns = (int64_t)le64toh(r.at_ns);
	memset(ret, 0, sizeof(*ret));
	ret->st_dev = (dev_t)le64toh(r.stat.dev);
	ret->st_ino = (ino_t)le64toh(r.stat.ino);
	ret->st_size = (off_t)le64toh(r.stat.size);
	ret->st_mtim.tv_sec = (time_t)le64toh(r.stat.mtime_s);
	ret->st_ctim.tv_sec = (time_t)le64toh(r.stat.ctime_s);
	ret->st_mtim.tv_nsec = (long)le32toh(r.stat.mtime_ns);
	ret->st_ctim.tv_nsec = (long)le32toh(r.stat.ctime_ns);
	return true;
}

static bool time_same(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

bool stat_same_but_links(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino &&
	       a->st_size == b->st_size && time_same(&a->st_mtim, &b->st_mtim);
}

bool stat_same(const struct stat *a, const struct stat *b)
{
	return stat_same_but_links(a, b) && time_same(&a->st_ctim, &b->st_ctim);
}

static bool statindex_get(struct cache *c, const struct digest *d,
			  struct stat *ret, int64_t *ret_at_ns)
{
	struct shard_name name = shard_name(d);
	unsigned char buf[STATINDEX_RECORD + 1];
	cleanup_fd int fd =
		openat(c->room[ROOM_INDEX], name.str,
		       O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat own;
	ssize_t n;

	/* Its checksum keeps nobody from writing one: whose word is it? */
	if (fd < 0 || fstat(fd, &own) < 0 || !stat_is_trusted(&own))
		return false;
	/* A second look: the first may meet another process's write. */
	for (int i = 0; i < 2; i++) {
		n = io_pread_full(fd, buf, sizeof(buf), 0);
		if (n >= 0 &&
		    statindex_parse(buf, (size_t)n, d, ret, ret_at_ns))
			return true;
	}
	return false;
}

bool time_is_racy(const struct timespec *t, int64_t at_ns, int64_t tick_ns)
{
	int64_t ns;

	/* Seconds come from files, too. */
	if (__builtin_mul_overflow(t->tv_sec, NS_PER_S, &ns) ||
	    __builtin_add_overflow(ns, t->tv_nsec, &ns) ||
	    __builtin_add_overflow(ns, tick_ns, &ns))
		return true;
	return at_ns < ns;
}

static int64_t tick_of(const struct timespec *t)
{
	return t->tv_nsec ? TICK_NS : COARSE_TICK_NS;
}

void statindex_settle(int fd)
{
	struct stat st;
	int64_t left;

	if (fstat(fd, &st) < 0 || tick_of(&st.st_mtim) != TICK_NS)
		return;
	left = timespec_ns(&st.st_mtim) + TICK_NS - time_wall_ns();
	if (left > 0 && left <= TICK_NS)
		time_sleep_ms(left / NS_PER_MS + 1);
}

bool stat_is_trusted(const struct stat *st)
{
	return (st->st_uid == geteuid() || st->st_uid == 0) &&
	       !(st->st_mode & (S_IWGRP | S_IWOTH));
}

bool statindex_matches(struct cache *c, const struct digest *d,
		       const struct stat *st)
{
	struct stat then;
	int64_t at_ns;

	return stat_is_trusted(st) && statindex_get(c, d, &then, &at_ns) &&
	       stat_same(&then, st) &&
	       !time_is_racy(&st->st_mtim, at_ns, tick_of(&st->st_mtim));
}

void statindex_put(struct cache *c, const struct digest *d,
		   const struct stat *st, int64_t at_ns)
{
	struct shard_name name = shard_name(d);
	int flags = O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
	cleanup_fd int fd = -1;
	struct record rec;

	fd = openat(c->room[ROOM_INDEX], name.str, flags, 0600);
	if (fd < 0 && errno == ENOENT) {
		shard_make(c, ROOM_INDEX, name.str);
		fd = openat(c->room[ROOM_INDEX], name.str, flags, 0600);
	}
	if (fd < 0 && errno == ENXIO) /* a FIFO that somebody put there */
		unlinkat(c->room[ROOM_INDEX], name.str, 0);
	if (fd < 0)
		return;
	record_fill(&rec, d, st, at_ns);
	if (io_pwrite_full(fd, &rec, sizeof(rec), 0) < 0 ||
	    ftruncate(fd, sizeof(rec)) < 0)
		unlinkat(c->room[ROOM_INDEX], name.str, 0);
}

void statindex_touch(struct cache *c, const struct digest *d)
{
	struct shard_name name = shard_name(d);
	int dirfd = c->room[ROOM_INDEX];
	cleanup_fd int fd = -1;
	struct stat st;

	if (fstatat(dirfd, name.str, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
	    time_wall_s() - st.st_mtime <= TOUCH_S)
		return;
	fd = openat(dirfd, name.str,
		    O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd >= 0)
		(void)futimens(fd, NULL);
}

void statindex_forget(struct cache *c, const struct digest *d)
{
	struct shard_name name = shard_name(d);

	unlinkat(c->room[ROOM_INDEX], name.str, 0);
}
