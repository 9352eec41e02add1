/*
 * The map of a partial: which chunks of it are there, in a file beside it.
 *
 *	0    header (struct map_header), never changed in place, checksummed
 *	160  one byte: enum map_state
 *	192  the chunk list, n × 32 bytes; proven by the key in the file's name
 *	...  one byte per chunk, a set of enum chunk_bits; 0: absent
 *
 * A byte per chunk, not a bit: a byte can be set by pwrite() alone, so two
 * processes never overwrite each other's neighbours, and no lock is needed.
 * Read and written, not mmapped: a map that is truncated or whose disk fails is
 * a short read then, and not a SIGBUS in the middle of a mount.
 *
 * The bytes are hints. Every chunk is hashed when it is read, so a byte that is
 * wrong costs a fetch, or a look, and nothing else.
 *
 * Threads and processes: any, many at once.
 */
#ifndef CACHE_CONTENT_MAP_H
#define CACHE_CONTENT_MAP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/digest.h"

enum chunk_bits {
	CHUNK_WRITTEN = 1 << 0, /* counts only in the boot that wrote it */
	CHUNK_DURABLE = 1 << 1, /* after fdatasync() of the data */
};

enum map_state {
	MAP_LIVE = 1,
	MAP_SEALED = 2, /* the data has its final name */
	MAP_DEAD = 3,   /* deleted: whoever has it open looks again */
};

#define MAP_HEADER_SIZE 160
#define MAP_STATE_OFF   MAP_HEADER_SIZE
#define MAP_LIST_OFF    192

/* What a map says it is of. */
struct map_info {
	struct digest digest;
	struct digest key;
	uint64_t size;
	uint32_t n;
	uint64_t part_ino; /* the partial it was made for */
	uint64_t generation;
	char boot_id[40];
};

/* The size of a whole map file of @n chunks. */
static inline uint64_t chunk_map_file_size(uint32_t n)
{
	return MAP_LIST_OFF + (uint64_t)n * (DIGEST_SIZE + 1);
}

/* The header alone: magic, version, checksum, sizes that fit each other.
 * -EBADMSG. */
int chunk_map_header_parse(const void *buf, size_t n, struct map_info *ret);
/* The same from a file, whose size must fit too. */
int chunk_map_read(int fd, struct map_info *ret);

/* Write a whole map to an empty file. @states NULL: all absent. */
int chunk_map_write(int fd, const struct map_info *info,
		    const struct digest *list, const uint8_t *states);
int chunk_map_read_list(int fd, uint32_t n, struct digest *ret);

/* A state that cannot be read is MAP_DEAD; a chunk's is 0. */
enum map_state chunk_map_get_state(int fd);
void chunk_map_set_state(int fd, enum map_state state);
uint8_t chunk_map_get(int fd, uint32_t n, uint32_t i);
int chunk_map_set(int fd, uint32_t n, uint32_t i, uint8_t bits);

/* How many of the chunks [@first, @first + @count) are there. */
uint32_t chunk_map_count(int fd, uint32_t n, uint32_t first, uint32_t count);
/* All states, malloc()ed; what cannot be read is 0. */
int chunk_map_snapshot(int fd, uint32_t n, uint8_t **ret);
/* Mark durable what was written in @snapshot, taken before the fdatasync(),
 * and touch no other byte. */
int chunk_map_mark_durable(int fd, uint32_t n, const uint8_t *snapshot);

#endif
