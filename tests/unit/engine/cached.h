/* A bundle of bundles.h, all of which is in the cache, and what verify_cache()
 * says of it. */
#ifndef TESTS_UNIT_ENGINE_CACHED_H
#define TESTS_UNIT_ENGINE_CACHED_H

#include "bundles.h"
#include "engine/verify_cache.h"
#include "tests/unit/cache/fixture.h"

struct cached {
	struct made_bundle m;
	struct fixture f; /* its cache alone */
	struct verify_cache_result res;
	struct error *err;
};

void cached_open(struct cached *s);
void cached_close(struct cached *s);
#define cleanup_cached __attribute__((cleanup(cached_close)))

/* In a session of its own, which is that of a new process. @registry NULL: the
 * bundle's. What it found is in @s. */
int cached_verify(struct cached *s, bool repair, struct registry *registry);

/* Flip a byte of a sealed blob. */
void cached_damage(struct cached *s, const struct digest *d, long at);
/* A blob whose bytes are others, that no bundle has. */
struct digest cached_stray(struct cached *s);
/* A file of the bundle, to be put into a partial; its blob goes. */
void cached_source(struct cached *s, const char *path, struct source *ret);

#endif
