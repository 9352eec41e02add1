/*
 * SHA-256 digests: the one type, the one parser, and hashing.
 *
 * Only "sha256:" followed by 64 lower-case hex digits is a digest (OCI image
 * specification, descriptor.md "Digests"). Paths and URLs are built from this
 * type, never from the string that was parsed.
 *
 * Threads: a digest is a value; a hasher belongs to one thread at a time.
 */
#ifndef BASE_DIGEST_H
#define BASE_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/error.h"

#define DIGEST_SIZE    32
#define DIGEST_HEX_LEN 64
#define DIGEST_STR_LEN (7 + DIGEST_HEX_LEN)

struct digest {
	uint8_t b[DIGEST_SIZE];
};

struct digest_hex { /* 64 hex digits */
	char str[DIGEST_HEX_LEN + 1];
};

struct digest_str { /* "sha256:" and 64 hex digits */
	char str[DIGEST_STR_LEN + 1];
};

/* SHA-256 of no bytes. */
extern const struct digest DIGEST_EMPTY;

/*
 * Parse "sha256:<hex>" of exactly @len bytes. Returns 0; -EINVAL when
 * malformed; -EPROTONOSUPPORT (kind ERROR_MEDIA_TYPE) for a well-formed digest
 * of another algorithm.
 */
int digest_parse(const char *s, size_t len, struct digest *ret,
		 struct error **errp);
/* The same for the 64 hex digits alone. */
int digest_parse_hex(const char *s, size_t len, struct digest *ret,
		     struct error **errp);

struct digest_hex digest_to_hex(const struct digest *d);
struct digest_str digest_to_str(const struct digest *d);

static inline bool digest_equal(const struct digest *a, const struct digest *b)
{
	return memcmp(a->b, b->b, DIGEST_SIZE) == 0;
}

static inline int digest_cmp(const struct digest *a, const struct digest *b)
{
	return memcmp(a->b, b->b, DIGEST_SIZE);
}

/* The first 8 bytes, big-endian. */
uint64_t digest_prefix64(const struct digest *d);

struct digest digest_of_buf(const void *p, size_t n);
struct digest digest_of_str(const char *s);

/* Streaming. */
struct hasher;
struct hasher *hasher_new(void);
void hasher_update(struct hasher *h, const void *p, size_t n);
/* The digest of all that was fed; @h starts anew. */
struct digest hasher_final(struct hasher *h);
void hasher_free(struct hasher *h);
static inline void hasher_freep(struct hasher **h)
{
	hasher_free(*h);
	*h = 0;
}
#define cleanup_hasher __attribute__((cleanup(hasher_freep)))

/*
 * Hash @size bytes of @fd from @off by pread(). A file that ends early is
 * -EIO. Does not move the descriptor's offset.
 */
int digest_of_fd(int fd, uint64_t off, uint64_t size, struct digest *ret,
		 struct error **errp);

/*
 * Hash a whole range and each @chunk bytes of it in one reading. @ret_chunks
 * is malloc()ed, *@ret_n digests; both stay untouched when the range is not
 * larger than one chunk (such a source is checked by its own digest alone).
 * From 4 MiB on a second thread hashes the whole: hold no mutex, and call it
 * after the last fork().
 */
int digest_of_fd_chunked(int fd, uint64_t off, uint64_t size, uint32_t chunk,
			 struct digest *ret, struct digest **ret_chunks,
			 size_t *ret_n, struct error **errp);

#endif
