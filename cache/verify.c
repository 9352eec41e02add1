#include "cache/cache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/time.h"
#include "cache/content_internal.h"

/* Data without a map is of no use to anyone, unless it is being made. */
#define ORPHAN_AGE_S 3600

struct verify {
	struct cache *c;
	struct cache_report *report;
	void (*damaged)(void *ctx, const struct digest *d, const char *what);
	void *ctx;
	const struct op *op;
};

static int verify_stop(const struct verify *v)
{
	if (op_cancelled(v->op))
		return -ECANCELED;
	return time_mono_ns() >= op_deadline(v->op) ? -ETIMEDOUT : 0;
}

static int verify_each(void *ctx, uint32_t i, const void *buf, uint32_t n)
{
	const struct verify *v = ctx;

	return verify_stop(v);
}

static void verify_damaged(struct verify *v, const struct digest *d,
			   const char *what)
{
	v->report->damaged++;
	if (v->damaged)
		v->damaged(v->ctx, d, what);
}

/*
 * Sealed blobs, documents among them.
 */

static int verify_fd(struct verify *v, const struct digest *d, const char *name,
		     int fd, const struct stat *before)
{
	int64_t at_ns = time_wall_ns();
	struct stat after;
	struct digest got;
	int r = hash_file(fd, (uint64_t)before->st_size, verify_each, v, &got);

	if (r < 0 && r != -EIO)
		return r;
	if (r < 0 || !digest_equal(&got, d)) {
		statindex_forget(v->c, d);
		quarantine(v->c, ROOM_BLOBS, name, fd);
		verify_damaged(v, d, "blob");
		return 0;
	}
	if (fstat(fd, &after) == 0 && stat_same(before, &after))
		statindex_put(v->c, d, &after, at_ns);
	return 0;
}

static int verify_blob(void *ctx, const char *name, const char *base,
		       const struct stat *named)
{
	struct verify *v = ctx;
	cleanup_fd int fd = -1;
	struct digest d;
	struct stat st;

	if (digest_parse_hex(base, strlen(base), &d, NULL) < 0)
		return verify_stop(v); /* no blob's name */
	fd = openat(v->c->room[ROOM_BLOBS], name,
		    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0 && errno != ELOOP)
		return -errno;
	v->report->blobs++;
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		quarantine(v->c, ROOM_BLOBS, name, -1);
		verify_damaged(v, &d, "blob");
		return 0;
	}
	v->report->bytes += (uint64_t)st.st_size;
	return verify_fd(v, &d, name, fd, &st);
}

/*
 * Partials. A map has the chunk list; the key in its name proves that.
 */

struct partial_id {
	struct digest digest;
	struct digest key;
	const char *suffix;
};

/* <hex>-<key>[.<tag>]<suffix> */
static bool partial_id_parse(const char *base, struct partial_id *ret)
{
	const size_t hex = DIGEST_HEX_LEN;

	if (strlen(base) <= 2 * hex + 1 || base[hex] != '-' ||
	    digest_parse_hex(base, hex, &ret->digest, NULL) < 0 ||
	    digest_parse_hex(base + hex + 1, hex, &ret->key, NULL) < 0)
		return false;
	ret->suffix = strrchr(base + 2 * hex + 1, '.');
	return ret->suffix != NULL;
}

/* "ab/….map" → "ab/….part" and back. */
static char *sibling(const char *name, const char *suffix)
{
	return xasprintf("%.*s%s", (int)(strrchr(name, '.') - name), name,
			 suffix);
}

static int open_partial(struct verify *v, const char *name)
{
	return openat(v->c->room[ROOM_PARTIAL], name,
		      O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
}

static int read_proven_list(int map, const struct partial_id *id,
			    struct map_info *ret_info, struct digest **ret)
{
	cleanup_free struct digest *list = NULL;
	struct digest key;
	int r = chunk_map_read(map, ret_info);

	if (r == 0 && (!digest_equal(&ret_info->digest, &id->digest) ||
		       !digest_equal(&ret_info->key, &id->key)))
		r = -EBADMSG;
	if (r < 0)
		return r;
	list = malloc((size_t)ret_info->n * sizeof(*list));
	if (!list)
		return -ENOMEM;
	r = chunk_map_read_list(map, ret_info->n, list);
	if (r < 0)
		return r;
	key = content_key(ret_info->size, list, ret_info->n);
	if (!digest_equal(&key, &id->key))
		return -EBADMSG;
	*ret = steal_ptr(&list);
	return 0;
}

static bool chunk_on_disk_is(int part, const struct map_info *info, uint32_t i,
			     const struct digest *want, void *buf)
{
	uint32_t len = chunk_len(info->size, i);
	ssize_t n = io_pread_full(part, buf, len, (uint64_t)i * CHUNK_SIZE);
	struct digest got;

	if (n != (ssize_t)len)
		return false;
	got = digest_of_buf(buf, len);
	return digest_equal(&got, want);
}

static int verify_chunks(struct verify *v, int map, int part,
			 const struct map_info *info, const struct digest *list)
{
	bool same_boot =
		info->boot_id[0] && !strcmp(info->boot_id, time_boot_id());
	cleanup_free void *buf = xmalloc(CHUNK_SIZE);

	for (uint32_t i = 0; i < info->n; i++) {
		uint8_t bits = chunk_map_get(map, info->n, i);
		int r = verify_stop(v);

		if (r < 0)
			return r;
		if (!(bits & CHUNK_DURABLE) && !(bits && same_boot))
			continue;
		v->report->chunks++;
		if (chunk_on_disk_is(part, info, i, &list[i], buf))
			continue;
		(void)chunk_map_set(map, info->n, i, 0);
		verify_damaged(v, &info->digest, "chunk of a partial");
	}
	return 0;
}

static int verify_pair(struct verify *v, const char *name,
		       const struct partial_id *id)
{
	cleanup_free char *part_name = sibling(name, ".part");
	cleanup_free struct digest *list = NULL;
	cleanup_fd int map = open_partial(v, name);
	cleanup_fd int part = -1;
	struct map_info info;
	struct stat st;
	int r;

	if (map < 0)
		return -errno;
	r = read_proven_list(map, id, &info, &list);
	if (r < 0)
		return r;
	part = open_partial(v, part_name);
	/* Sealed, and the sealer was killed before it removed the map. */
	if (part < 0 && errno == ENOENT)
		return -ENODATA;
	if (part < 0)
		return -errno;
	if (fstat(part, &st) < 0 || !S_ISREG(st.st_mode) ||
	    (uint64_t)st.st_size != info.size || st.st_ino != info.part_ino)
		return -EBADMSG;
	return verify_chunks(v, map, part, &info, list);
}

static void remove_pair(struct verify *v, const char *map_name)
{
	cleanup_free char *part_name = sibling(map_name, ".part");
	cleanup_fd int map = open_partial(v, map_name);

	if (map >= 0)
		chunk_map_set_state(map, MAP_DEAD);
	unlinkat(v->c->room[ROOM_PARTIAL], map_name, 0);
	unlinkat(v->c->room[ROOM_PARTIAL], part_name, 0);
	v->report->removed_partials++;
}

static int verify_map(struct verify *v, const char *name,
		      const struct partial_id *id)
{
	int r = verify_pair(v, name, id);

	v->report->partials++;
	if (r == -ENODATA) {
		remove_pair(v, name);
		return 0;
	}
	if (r == -EBADMSG || r == -ELOOP || r == -EIO || r == -EISDIR) {
		remove_pair(v, name);
		verify_damaged(v, &id->digest, "partial");
		return 0;
	}
	return r == -ENOENT || r == -EACCES ? 0 : r;
}

static bool has_map(struct verify *v, const char *part_name)
{
	cleanup_free char *map = sibling(part_name, ".map");

	return faccessat(v->c->room[ROOM_PARTIAL], map, F_OK,
			 AT_SYMLINK_NOFOLLOW) == 0;
}

/* A source of one chunk that waits to be sealed. */
static bool is_whole(struct verify *v, const char *name,
		     const struct partial_id *id)
{
	cleanup_free char *buf = NULL;
	struct digest got;
	size_t len = 0;

	if (io_read_file(v->c->room[ROOM_PARTIAL], name, CHUNK_SIZE, &buf,
			 &len) < 0)
		return false;
	got = digest_of_buf(buf, len);
	if (!digest_equal(&got, &id->digest))
		return false;
	v->report->partials++;
	v->report->chunks++;
	return true;
}

static int verify_partial(void *ctx, const char *name, const char *base,
			  const struct stat *st)
{
	struct verify *v = ctx;
	struct partial_id id;

	if (!partial_id_parse(base, &id))
		return 0;
	if (!strcmp(id.suffix, ".map"))
		return verify_map(v, name, &id);
	if (!strcmp(id.suffix, ".bad")) /* to be found out again */
		unlinkat(v->c->room[ROOM_PARTIAL], name, 0);
	if (!strcmp(id.suffix, ".part") && !has_map(v, name) &&
	    !is_whole(v, name, &id) &&
	    time_wall_s() - st->st_mtime > ORPHAN_AGE_S) {
		unlinkat(v->c->room[ROOM_PARTIAL], name, 0);
		v->report->removed_partials++;
	}
	return 0;
}

int cache_verify(struct cache *c, struct cache_report *ret,
		 void (*damaged)(void *ctx, const struct digest *d,
				 const char *what),
		 void *ctx, const struct op *op, struct error **errp)
{
	struct cache_report report = {0};
	struct verify v = {
		.c = c,
		.report = &report,
		.damaged = damaged,
		.ctx = ctx,
		.op = op,
	};
	int r = room_walk(c, ROOM_BLOBS, verify_blob, &v);

	if (r == 0)
		r = room_walk(c, ROOM_PARTIAL, verify_partial, &v);
	*ret = report;
	if (r < 0)
		return error_set_errno(errp, -r, "cannot check cache '%s'",
				       c->path);
	return 0;
}

/*
 * Usage.
 */

static int use_blob(void *ctx, const char *name, const char *base,
		    const struct stat *st)
{
	struct cache_usage *u = ctx;

	u->blobs++;
	u->blob_bytes += (uint64_t)st->st_blocks * 512;
	return 0;
}

static int use_partial(void *ctx, const char *name, const char *base,
		       const struct stat *st)
{
	struct cache_usage *u = ctx;
	const char *dot = strrchr(base, '.');

	u->partials += dot && !strcmp(dot, ".part");
	u->partial_bytes += (uint64_t)st->st_blocks * 512;
	return 0;
}

int cache_usage(struct cache *c, struct cache_usage *ret, struct error **errp)
{
	struct cache_usage u = {0};
	int r = room_walk(c, ROOM_BLOBS, use_blob, &u);

	if (r == 0)
		r = room_walk(c, ROOM_PARTIAL, use_partial, &u);
	if (r < 0)
		return error_set_errno(errp, -r, "cannot look at cache '%s'",
				       c->path);
	*ret = u;
	return 0;
}
