/*
 * hashes/<SHA-256 of the workspace folder's path>, little-endian:
 *
 *	header   magic, XXH3 of all that follows
 *	entries  struct entry_head, path, chunk digests; to the end of the file
 */
#include "cache/hashes.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/io.h"
#include "base/lock.h"
#include "base/map.h"
#include "base/path.h"
#include "base/time.h"
#include "cache/content.h"
#include "cache/internal.h"

#define HASHES_MAX ((size_t)1 << 30)
#define RACY_NS    (2 * NS_PER_S)

struct file_head {
	char magic[8];
	uint64_t checksum;
};

struct entry_head {
	uint32_t path_len;
	uint32_t n_chunks;
	struct stat_record stat;
	struct digest digest;
};
_Static_assert(sizeof(struct entry_head) == 88, "no padding");

/* An entry in memory: its head, then its chunk digests; the path is the key. */
struct entry {
	struct entry_head head;
	bool used;                   /* got or put since opening */
	const struct digest *chunks; /* in the file's bytes, or behind this */
};

struct hashes {
	struct cache *c;
	struct digest_hex name;
	char *file; /* the bytes that were read; entries point into them */
	struct mutex lock;
	struct map entries;
};

static const char hashes_magic[8] = "MOPSHSH1";

static void entries_free(struct map *m)
{
	const void *key;
	void *value;
	size_t pos = 0;
	size_t n;

	while (map_next(m, &pos, &key, &n, &value))
		free(value);
	map_release(m);
}

/*
 * Reading.
 */

/* One entry from @p; its length, or 0 when it does not fit into @n. */
static size_t entry_load(struct map *m, const char *p, size_t n)
{
	struct entry_head head;
	struct entry *e;
	uint64_t len;

	if (n < sizeof(head))
		return 0;
	memcpy(&head, p, sizeof(head));
	len = sizeof(head) + (uint64_t)le32toh(head.path_len) +
	      (uint64_t)le32toh(head.n_chunks) * DIGEST_SIZE;
	if (len > n || le32toh(head.path_len) == 0)
		return 0;
	e = xcalloc(1, sizeof(*e));
	e->head = head;
	/* Bytes: a digest may stand at any address. */
	e->chunks = (const struct digest *)(p + sizeof(head) +
					    le32toh(head.path_len));
	free(map_put(m, p + sizeof(head), le32toh(head.path_len), e));
	return (size_t)len;
}

int hashes_parse(const void *buf, size_t n, struct map *ret)
{
	const char *p = buf;
	struct file_head head;

	if (n < sizeof(head))
		return -EBADMSG;
	memcpy(&head, p, sizeof(head));
	if (memcmp(head.magic, hashes_magic, sizeof(head.magic)) != 0 ||
	    le64toh(head.checksum) !=
		    XXH3_64bits(p + sizeof(head), n - sizeof(head)))
		return -EBADMSG;
	for (size_t off = sizeof(head); off < n;) {
		size_t len = entry_load(ret, p + off, n - off);

		if (!len) {
			entries_free(ret);
			return -EBADMSG;
		}
		off += len;
	}
	return 0;
}

static struct digest folder_digest(const char *folder)
{
	cleanup_free char *real = realpath(folder, NULL);

	return digest_of_str(real ? real : folder);
}

int hashes_open(struct cache *c, const char *folder, struct hashes **ret,
		struct error **errp)
{
	struct digest name = folder_digest(folder);
	struct hashes *h = xcalloc(1, sizeof(*h));
	size_t len = 0;
	int r;

	h->c = c;
	h->name = digest_to_hex(&name);
	mutex_init(&h->lock, LOCK_CACHE);
	r = io_read_file(c->room[ROOM_HASHES], h->name.str, HASHES_MAX,
			 &h->file, &len);
	if (r >= 0)
		r = hashes_parse(h->file, len, &h->entries);
	*ret = h;
	if (r >= 0 || r == -ENOENT || r == -EBADMSG || r == -EFBIG || r == -EIO)
		return 0; /* without it everything is hashed, that is all */
	hashes_free(h);
	*ret = NULL;
	return error_set_errno(errp, -r, "cannot read the hashes of '%s'",
			       folder);
}

void hashes_free(struct hashes *h)
{
	entries_free(&h->entries);
	mutex_destroy(&h->lock);
	free(h->file);
	free(h);
}

/*
 * Looking up, and adding.
 */

static uint32_t chunks_wanted(uint64_t size)
{
	return size > CHUNK_SIZE && size <= CONTENT_SIZE_MAX ? chunk_count(size)
							     : 0;
}

static bool hashes_get_locked(struct hashes *h, const char *path,
			      const struct stat *st, struct digest *ret,
			      struct digest **ret_chunks, size_t *ret_n_chunks)
	REQUIRES(h->lock);
static bool hashes_get_locked(struct hashes *h, const char *path,
			      const struct stat *st, struct digest *ret,
			      struct digest **ret_chunks, size_t *ret_n_chunks)
{
	struct entry *e = map_get(&h->entries, path, strlen(path));
	struct stat_record now = stat_record(st);
	size_t n;

	if (!e || memcmp(&e->head.stat, &now, sizeof(now)) != 0)
		return false;
	n = le32toh(e->head.n_chunks);
	if (ret_chunks && n != chunks_wanted((uint64_t)st->st_size))
		return false;
	e->used = true;
	*ret = e->head.digest;
	if (ret_chunks) {
		*ret_chunks = n ? xmemdup(e->chunks, n * DIGEST_SIZE) : NULL;
		*ret_n_chunks = n;
	}
	return true;
}

bool hashes_get(struct hashes *h, const char *path, const struct stat *st,
		struct digest *ret, struct digest **ret_chunks,
		size_t *ret_n_chunks)
{
	bool found;

	mutex_lock(&h->lock);
	found = hashes_get_locked(h, path, st, ret, ret_chunks, ret_n_chunks);
	mutex_unlock(&h->lock);
	return found;
}

/* Could it have changed after it was hashed, within the same clock tick? */
static bool is_racy(const struct stat *st, int64_t hashed_at_wall_ns)
{
	return time_is_racy(&st->st_mtim, hashed_at_wall_ns, RACY_NS) ||
	       time_is_racy(&st->st_ctim, hashed_at_wall_ns, RACY_NS);
}

void hashes_put(struct hashes *h, const char *path, const struct stat *st,
		int64_t hashed_at_wall_ns, const struct digest *d,
		const struct digest *chunks, size_t n_chunks)
{
	size_t len = strlen(path);
	struct entry *e;

	if (is_racy(st, hashed_at_wall_ns) || len == 0 || len > UINT32_MAX ||
	    n_chunks > UINT32_MAX)
		return;
	e = xcalloc(1, sizeof(*e) + n_chunks * DIGEST_SIZE);
	e->head = (struct entry_head){
		.path_len = htole32((uint32_t)len),
		.n_chunks = htole32((uint32_t)n_chunks),
		.stat = stat_record(st),
		.digest = *d,
	};
	e->used = true;
	e->chunks = (struct digest *)(e + 1);
	if (n_chunks)
		memcpy(e + 1, chunks, n_chunks * DIGEST_SIZE);
	mutex_lock(&h->lock);
	free(map_put(&h->entries, path, len, e));
	mutex_unlock(&h->lock);
}

/*
 * Writing: a stream, so that a million entries need no second copy in memory.
 */

struct out {
	FILE *f;
	XXH3_state_t *sum;
	bool failed;
};

static void out_add(struct out *o, const void *p, size_t n)
{
	if (n == 0)
		return;
	XXH3_64bits_update(o->sum, p, n);
	if (fwrite(p, n, 1, o->f) != 1)
		o->failed = true;
}

static void write_entries_locked(struct hashes *h, struct out *o)
	REQUIRES(h->lock);
static void write_entries_locked(struct hashes *h, struct out *o)
{
	const void *key;
	void *value;
	size_t pos = 0;
	size_t n;

	while (map_next(&h->entries, &pos, &key, &n, &value)) {
		const struct entry *e = value;

		if (!e->used)
			continue;
		out_add(o, &e->head, sizeof(e->head));
		out_add(o, key, n);
		out_add(o, e->chunks,
			(size_t)le32toh(e->head.n_chunks) * DIGEST_SIZE);
	}
}

static int write_file(struct hashes *h, FILE *f)
{
	struct file_head head = {0};
	struct out o = {.f = f, .sum = XXH3_createState()};

	if (!o.sum)
		return -ENOMEM;
	XXH3_64bits_reset(o.sum);
	if (fwrite(&head, sizeof(head), 1, f) != 1)
		o.failed = true;
	mutex_lock(&h->lock);
	write_entries_locked(h, &o);
	mutex_unlock(&h->lock);
	memcpy(head.magic, hashes_magic, sizeof(head.magic));
	head.checksum = htole64(XXH3_64bits_digest(o.sum));
	XXH3_freeState(o.sum);
	if (o.failed || fflush(f) != 0)
		return errno ? -errno : -EIO;
	return io_pwrite_full(fileno(f), &head, sizeof(head), 0);
}

/* @tmp in tmp/ becomes the file, whole. */
static int save_as(struct hashes *h, const char *tmp)
{
	int dirfd = h->c->room[ROOM_TMP];
	int fd =
		openat(dirfd, tmp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	cleanup_file FILE *f = fd < 0 ? NULL : fdopen(fd, "w");
	int r;

	if (!f) {
		r = -errno;
		if (fd >= 0)
			close(fd);
		return r;
	}
	r = write_file(h, f);
	/* Not flushed: it has a checksum, and can be made again. */
	if (r == 0 &&
	    renameat(dirfd, tmp, h->c->room[ROOM_HASHES], h->name.str) < 0)
		r = -errno;
	return r;
}

int hashes_save(struct hashes *h, struct error **errp)
{
	char tmp[RANDOM_NAME_SIZE];
	int r;

	random_name(tmp);
	errno = 0;
	r = save_as(h, tmp);
	if (r < 0) {
		unlinkat(h->c->room[ROOM_TMP], tmp, 0);
		return error_set_errno(errp, -r, "cannot save hashes in '%s'",
				       h->c->path);
	}
	return 0;
}
