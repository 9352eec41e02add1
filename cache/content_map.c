#include "cache/content_map.h"

#include <endian.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

#include "base/alloc.h"
#include "base/io.h"
#include "cache/content.h"

#define MAP_VERSION 1

struct map_header { /* little-endian */
	char magic[8];
	uint32_t version;
	uint32_t chunk_size;
	uint64_t size;
	uint32_t n;
	uint32_t zero;
	uint8_t digest[DIGEST_SIZE];
	uint8_t key[DIGEST_SIZE];
	char boot_id[40];
	uint64_t generation;
	uint64_t part_ino;
	uint64_t checksum; /* XXH3 of all before */
};
_Static_assert(sizeof(struct map_header) == MAP_HEADER_SIZE, "no padding");

static const char map_magic[8] = "MOPSMAP1";

static uint64_t header_checksum(const struct map_header *h)
{
	return htole64(XXH3_64bits(h, offsetof(struct map_header, checksum)));
}

static bool header_is_sound(const struct map_header *h)
{
	return memcmp(h->magic, map_magic, sizeof(h->magic)) == 0 &&
	       le32toh(h->version) == MAP_VERSION &&
	       le32toh(h->chunk_size) == CHUNK_SIZE && h->zero == 0 &&
	       h->checksum == header_checksum(h) &&
	       le64toh(h->size) <= CONTENT_SIZE_MAX &&
	       le32toh(h->n) == chunk_count(le64toh(h->size)) &&
	       memchr(h->boot_id, '\0', sizeof(h->boot_id));
}

int chunk_map_header_parse(const void *buf, size_t n, struct map_info *ret)
{
	struct map_header h;

	if (n < sizeof(h))
		return -EBADMSG;
	memcpy(&h, buf, sizeof(h));
	if (!header_is_sound(&h))
		return -EBADMSG;
	memcpy(ret->digest.b, h.digest, DIGEST_SIZE);
	memcpy(ret->key.b, h.key, DIGEST_SIZE);
	memcpy(ret->boot_id, h.boot_id, sizeof(ret->boot_id));
	ret->size = le64toh(h.size);
	ret->n = le32toh(h.n);
	ret->generation = le64toh(h.generation);
	ret->part_ino = le64toh(h.part_ino);
	return 0;
}

int chunk_map_read(int fd, struct map_info *ret)
{
	unsigned char buf[MAP_HEADER_SIZE];
	ssize_t n = io_pread_full(fd, buf, sizeof(buf), 0);
	struct map_info info;
	struct stat st;
	int r;

	if (n < 0)
		return n == -EIO ? -EBADMSG : (int)n;
	r = chunk_map_header_parse(buf, (size_t)n, &info);
	if (r < 0)
		return r;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) ||
	    (uint64_t)st.st_size != chunk_map_file_size(info.n))
		return -EBADMSG;
	*ret = info;
	return 0;
}

static void header_fill(struct map_header *h, const struct map_info *info)
{
	memset(h, 0, sizeof(*h));
	memcpy(h->magic, map_magic, sizeof(h->magic));
	h->version = htole32(MAP_VERSION);
	h->chunk_size = htole32(CHUNK_SIZE);
	h->size = htole64(info->size);
	h->n = htole32(info->n);
	memcpy(h->digest, info->digest.b, DIGEST_SIZE);
	memcpy(h->key, info->key.b, DIGEST_SIZE);
	memcpy(h->boot_id, info->boot_id, sizeof(h->boot_id));
	h->generation = htole64(info->generation);
	h->part_ino = htole64(info->part_ino);
	h->checksum = header_checksum(h);
}

static uint64_t states_off(uint32_t n)
{
	return MAP_LIST_OFF + (uint64_t)n * DIGEST_SIZE;
}

int chunk_map_write(int fd, const struct map_info *info,
		    const struct digest *list, const uint8_t *states)
{
	unsigned char head[MAP_LIST_OFF] = {0};
	cleanup_free uint8_t *none = NULL;
	struct map_header h;
	int r;

	if (!states) {
		states = none = calloc(info->n, 1);
		if (!none)
			return -ENOMEM;
	}
	header_fill(&h, info);
	memcpy(head, &h, sizeof(h));
	head[MAP_STATE_OFF] = MAP_LIVE;
	r = io_pwrite_full(fd, head, sizeof(head), 0);
	if (r == 0)
		r = io_pwrite_full(fd, list, (size_t)info->n * DIGEST_SIZE,
				   MAP_LIST_OFF);
	if (r == 0) /* written, not a hole: setting one later needs no space */
		r = io_pwrite_full(fd, states, info->n, states_off(info->n));
	return r;
}

int chunk_map_read_list(int fd, uint32_t n, struct digest *ret)
{
	size_t want = (size_t)n * DIGEST_SIZE;
	ssize_t got = io_pread_full(fd, ret, want, MAP_LIST_OFF);

	if (got < 0)
		return (int)got;
	return (size_t)got == want ? 0 : -EBADMSG;
}

enum map_state chunk_map_get_state(int fd)
{
	uint8_t b = 0;

	if (io_pread_full(fd, &b, 1, MAP_STATE_OFF) != 1)
		return MAP_DEAD;
	return b == MAP_LIVE || b == MAP_SEALED ? (enum map_state)b : MAP_DEAD;
}

void chunk_map_set_state(int fd, enum map_state state)
{
	uint8_t b = (uint8_t)state;

	(void)io_pwrite_full(fd, &b, 1, MAP_STATE_OFF);
}

uint8_t chunk_map_get(int fd, uint32_t n, uint32_t i)
{
	uint8_t b = 0;

	if (io_pread_full(fd, &b, 1, states_off(n) + i) != 1)
		return 0;
	return b;
}

int chunk_map_set(int fd, uint32_t n, uint32_t i, uint8_t bits)
{
	return io_pwrite_full(fd, &bits, 1, states_off(n) + i);
}

uint32_t chunk_map_count(int fd, uint32_t n, uint32_t first, uint32_t count)
{
	uint8_t buf[4096];
	uint32_t have = 0;

	while (count) {
		uint32_t want = MIN(count, (uint32_t)sizeof(buf));
		ssize_t got =
			io_pread_full(fd, buf, want, states_off(n) + first);

		if (got <= 0)
			break;
		for (ssize_t i = 0; i < got; i++)
			have += buf[i] != 0;
		first += (uint32_t)got;
		count -= (uint32_t)got;
	}
	return have;
}

int chunk_map_snapshot(int fd, uint32_t n, uint8_t **ret)
{
	cleanup_free uint8_t *states = calloc(n, 1);
	ssize_t got;

	if (!states)
		return -ENOMEM;
	got = io_pread_full(fd, states, n, states_off(n));
	if (got >= 0)
		*ret = steal_ptr(&states);
	return got < 0 ? (int)got : 0;
}

/* The end of the run of chunks from @i on that became durable. */
static uint32_t run_end(const uint8_t *s, uint32_t n, uint32_t i)
{
	while (i < n && s[i] == CHUNK_WRITTEN)
		i++;
	return i;
}

int chunk_map_mark_durable(int fd, uint32_t n, const uint8_t *snapshot)
{
	uint8_t marks[4096];
	int r = 0;

	memset(marks, CHUNK_WRITTEN | CHUNK_DURABLE, sizeof(marks));
	for (uint32_t i = 0; r == 0 && i < n;) {
		uint32_t end = run_end(snapshot, n, i);
		uint32_t len = MIN(end - i, (uint32_t)sizeof(marks));

		if (len)
			r = io_pwrite_full(fd, marks, len, states_off(n) + i);
		i += MAX(len, 1u);
	}
	return r;
}
