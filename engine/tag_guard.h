/*
 * Lost updates: a push or a copy moves a tag from the bundle that this machine saw under
 * it last, and not from one that somebody else has put there since.
 *
 * What was seen is in the cache's refs: every command that resolves a tag, and
 * every one that moves it, writes it there. A tag that was never seen may be
 * moved, but not when it changes between the two looks that a command has at it.
 * A cache that cannot be written keeps no tag from being moved; a registry that does not say
 * where the tag is does, unless it is forced.
 *
 * Two commands that look at the same moment are not told apart: no registry has a
 * request that moves a tag from one digest to another.
 *
 * Threads: one per tag.
 */
#ifndef ENGINE_TAG_GUARD_H
#define ENGINE_TAG_GUARD_H

#include "engine/session.h"

/* Keys of refs that begin so are tags that are about to be moved: who moves
 * them may end before it can write down that it has. */
#define TAG_GUARD_KEY "push@"

/* Where a tag was when a command looked. */
struct tag_found {
	bool looked, there;
	struct digest digest;
};

/*
 * 1 when tag @tag is at @ours already, else 0. @found is what this command found
 * before, and then what it finds now; of zeros at first.
 * -ESTALE (ERROR_VALIDATION): somebody else moved it. Neither that nor a failure
 * to look ends it with @force.
 */
int tag_guard_check(struct session *s, const struct reference *ref,
		    const char *tag, const struct digest *ours, bool force,
		    struct tag_found *found, const struct op *op,
		    struct error **errp);
/* Right before the tag moves, and right after. */
void tag_guard_moving(struct session *s, const struct reference *ref,
		      const char *tag, const struct digest *ours);
void tag_guard_moved(struct session *s, const struct reference *ref,
		     const char *tag, const struct digest *ours);

#endif
