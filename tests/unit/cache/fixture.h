/* A cache of a test's own, and sources to put into it. */
#ifndef TESTS_UNIT_CACHE_FIXTURE_H
#define TESTS_UNIT_CACHE_FIXTURE_H

#include "cache/content.h"

struct fixture {
	char *dir;
	struct cache *c;
};

/* Aborts when the cache cannot be made. */
void fixture_open(struct fixture *f);
/* Close the cache and open it again: another process, as far as it can tell. */
void fixture_reopen(struct fixture *f);
void fixture_close(struct fixture *f);

/* A source of @size pseudo-random bytes, with its digests. */
struct source {
	unsigned char *data;
	struct digest *chunks; /* NULL: one chunk or none */
	struct content_spec spec;
	uint32_t n;
};
void source_init(struct source *s, uint64_t size, unsigned seed);
/* The digests of what @s->data is by now. */
void source_rehash(struct source *s);
void source_release(struct source *s);
#define cleanup_source __attribute__((cleanup(source_release)))

const void *source_chunk(const struct source *s, uint32_t i, uint32_t *ret_len);

struct content *content_of(struct fixture *f, const struct source *s);
int put_chunk(struct content *ct, const struct source *s, uint32_t i);
int put_all(struct content *ct, const struct source *s);
/* Put everything and seal, by a content of its own. */
int seal_all(struct fixture *f, const struct source *s);
/* What content_read_chunk() says, with the bytes compared: -1000 others. */
int read_back(struct content *ct, const struct source *s, uint32_t i);

/* Paths inside the cache; heap. */
char *blob_path(struct fixture *f, const struct digest *d);
char *index_path(struct fixture *f, const struct digest *d);
/* The only file of partial/ whose name ends in @suffix, or NULL. */
char *partial_path(struct fixture *f, const char *suffix);
/* How many files there are in one folder of the cache. */
unsigned count_files(struct fixture *f, const char *folder);

/* Damage: flip all bits of one byte, whatever the file's mode. */
void flip_byte(const char *path, long off);
void write_text(const char *path, const char *text);
long file_size(const char *path);

#endif
