/*
 * Which other repository of a registry has a blob, as far as this machine
 * knows: from the manifests of the tags that it resolved or pushed. Only a
 * hint; the registry decides.
 *
 * Threads: made by one, asked by any.
 */
#ifndef ENGINE_ELSEWHERE_H
#define ENGINE_ELSEWHERE_H

#include "base/map.h"
#include "engine/reference.h"
#include "engine/root.h"
#include "engine/session.h"

struct elsewhere {
	struct map repos; /* digest → name in @names */
	char **names;
};
void elsewhere_release(struct elsewhere *e);

/* Of all repositories beside @ref's own. Knows nothing when anything fails. */
void elsewhere_load(struct session *s, const struct reference *ref,
		    struct elsewhere *ret);
/* A repository, or NULL. */
const char *elsewhere_find(const struct elsewhere *e, const struct digest *d);
/* Note what @ref has now. */
void elsewhere_note(struct session *s, const struct reference *ref,
		    const struct digest *d, const void *manifest, size_t n);

#endif
