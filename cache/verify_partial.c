/* Partials. A map has the chunk list; the key in its name proves that. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/time.h"
#include "cache/verify_internal.h"

/* Data without a map is of no use to anyone, unless it is being made. */
#define ORPHAN_AGE_S 3600

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

static int open_partial(struct verify_part *p, const char *name)
{
	return openat(p->v->c->room[ROOM_PARTIAL], name,
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

/* 1: right; 0: damaged, and *@ret says how; or what ends the scan. */
static int check_chunk(struct verify_part *p, int part,
		       const struct map_info *info, uint32_t i, void *buf,
		       const struct digest *want, struct cache_finding *ret)
{
	uint32_t len = chunk_len(info->size, i);
	ssize_t n = io_pread_full(part, buf, len, (uint64_t)i * CHUNK_SIZE);
	int r = verify_read(p, n < 0 ? 0 : (size_t)n);

	if (r < 0)
		return r;
	*ret = (struct cache_finding){
		.kind = CACHE_DAMAGED_CHUNK,
		.digest = info->digest,
		.chunk = i,
		.expected = *want,
		.has_found = n == (ssize_t)len,
		.size = n < 0 ? 0 : (uint64_t)n,
		.error = n < 0 ? (int)-n : 0,
	};
	if (!ret->has_found)
		return 0;
	ret->found = digest_of_buf(buf, len);
	return digest_equal(&ret->found, want);
}

static int verify_chunks(struct verify_part *p, int map, int part,
			 const struct map_info *info, const struct digest *list)
{
	bool same_boot =
		info->boot_id[0] && !strcmp(info->boot_id, time_boot_id());
	cleanup_free void *buf = xmalloc(CHUNK_SIZE);

	for (uint32_t i = 0; i < info->n; i++) {
		uint8_t bits = chunk_map_get(map, info->n, i);
		struct cache_finding f;
		int r = verify_stop(p);

		if (r < 0)
			return r;
		if (!(bits & CHUNK_DURABLE) && !(bits && same_boot))
			continue;
		p->counts.chunks++;
		r = check_chunk(p, part, info, i, buf, &list[i], &f);
		if (r < 0)
			return r;
		if (r > 0)
			continue;
		verify_found(p, &f);
		(void)chunk_map_set(map, info->n, i, 0);
	}
	return 0;
}

static int verify_pair(struct verify_part *p, const char *name,
		       const struct partial_id *id)
{
	cleanup_free char *part_name = sibling(name, ".part");
	cleanup_free struct digest *list = NULL;
	cleanup_fd int map = open_partial(p, name);
	cleanup_fd int part = -1;
	struct map_info info;
	struct stat st;
	int r;

	if (map < 0)
		return -errno;
	r = read_proven_list(map, id, &info, &list);
	if (r < 0)
		return r;
	part = open_partial(p, part_name);
	/* Sealed, and the sealer was killed before it removed the map. */
	if (part < 0 && errno == ENOENT)
		return -ENODATA;
	if (part < 0)
		return -errno;
	if (fstat(part, &st) < 0 || !S_ISREG(st.st_mode) ||
	    (uint64_t)st.st_size != info.size || st.st_ino != info.part_ino)
		return -EBADMSG;
	return verify_chunks(p, map, part, &info, list);
}

static void remove_pair(struct verify_part *p, const char *map_name)
{
	cleanup_free char *part_name = sibling(map_name, ".part");
	cleanup_fd int map = open_partial(p, map_name);

	if (map >= 0)
		chunk_map_set_state(map, MAP_DEAD);
	unlinkat(p->v->c->room[ROOM_PARTIAL], map_name, 0);
	unlinkat(p->v->c->room[ROOM_PARTIAL], part_name, 0);
	p->counts.removed_partials++;
}

static int verify_map(struct verify_part *p, const char *name,
		      const struct partial_id *id)
{
	int r = verify_pair(p, name, id);
	const struct cache_finding f = {
		.kind = CACHE_DAMAGED_MAP,
		.digest = id->digest,
		.expected = id->digest,
		.error = r == -EBADMSG ? 0 : -r,
	};

	p->counts.partials++;
	progress_add(p->v->o->progress, 1, 0);
	if (r == -ENODATA)
		remove_pair(p, name);
	if (r == 0 || r == -ENODATA)
		return 0;
	if (f.error) {
		r = verify_unreadable(p, &f);
		if (r <= 0)
			return r;
	}
	verify_found(p, &f);
	remove_pair(p, name);
	return 0;
}

static bool has_map(struct verify_part *p, const char *part_name)
{
	cleanup_free char *map = sibling(part_name, ".map");

	return faccessat(p->v->c->room[ROOM_PARTIAL], map, F_OK,
			 AT_SYMLINK_NOFOLLOW) == 0;
}

/* A source of one chunk that waits to be sealed. */
static bool is_whole(struct verify_part *p, const char *name,
		     const struct partial_id *id)
{
	cleanup_free char *buf = NULL;
	struct digest got;
	size_t len = 0;

	if (io_read_file(p->v->c->room[ROOM_PARTIAL], name, CHUNK_SIZE, &buf,
			 &len) < 0)
		return false;
	got = digest_of_buf(buf, len);
	if (!digest_equal(&got, &id->digest))
		return false;
	p->counts.partials++;
	p->counts.chunks++;
	progress_add(p->v->o->progress, 1, len);
	return true;
}

int verify_partial(void *ctx, const char *name, const char *base,
		   const struct stat *st)
{
	struct verify_part *p = ctx;
	struct partial_id id;

	if (!partial_id_parse(base, &id))
		return 0;
	if (!strcmp(id.suffix, ".map"))
		return verify_map(p, name, &id);
	if (!strcmp(id.suffix, ".bad")) /* to be found out again */
		unlinkat(p->v->c->room[ROOM_PARTIAL], name, 0);
	if (!strcmp(id.suffix, ".part") && !has_map(p, name) &&
	    !is_whole(p, name, &id) &&
	    time_wall_s() - st->st_mtime > ORPHAN_AGE_S) {
		unlinkat(p->v->c->room[ROOM_PARTIAL], name, 0);
		p->counts.removed_partials++;
	}
	return 0;
}
