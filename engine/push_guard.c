#include "engine/push_guard.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"

static char *key_of(const struct reference *ref, const char *tag, bool moving)
{
	struct reference at = *ref;
	cleanup_free char *key = NULL;

	at.tag = (char *)tag;
	key = reference_cache_key(&at);
	return xasprintf("%s%s", moving ? PUSH_GUARD_KEY : "", key);
}

static int get(struct session *s, const struct reference *ref, const char *tag,
	       bool moving, struct digest *ret)
{
	cleanup_free char *key = key_of(ref, tag, moving);
	struct cache *c;
	int r = session_cache(s, &c, NULL);

	return r < 0 ? r : cache_ref_get(c, key, ret, NULL);
}

static void put(struct session *s, const struct reference *ref, const char *tag,
		bool moving, const struct digest *d)
{
	cleanup_free char *key = key_of(ref, tag, moving);
	cleanup_error struct error *err = NULL;
	struct cache *c;
	int r = session_cache(s, &c, &err);

	if (r >= 0)
		r = cache_ref_put(c, key, d, &err);
	if (r < 0)
		log_debug("remembering '%s': %s", key, err->message);
}

int push_guard_check(struct session *s, const struct reference *ref,
		     const char *tag, const struct digest *ours, bool force,
		     const struct op *op, struct error **errp)
{
	struct digest now, seen, moving;
	struct registry *reg = NULL;
	int r = session_registry(s, ref, &reg, errp);

	if (r < 0)
		return r;
	if (reg->ops->resolve(reg, ref->repo, tag, &now, op, NULL) < 0)
		return 0;
	if (digest_equal(&now, ours))
		return 1;
	if (force || get(s, ref, tag, false, &seen) < 0 ||
	    digest_equal(&now, &seen))
		return 0;
	if (get(s, ref, tag, true, &moving) == 0 &&
	    digest_equal(&now, &moving)) {
		/* A push of ours, which ended before it could say so. */
		put(s, ref, tag, false, &now);
		return 0;
	}
	error_set_kind(errp, ERROR_VALIDATION, ESTALE,
		       "tag '%s' was moved by somebody else: it is at '%s', "
		       "and was at '%s' when it was last seen here",
		       tag, digest_to_str(&now).str, digest_to_str(&seen).str);
	return error_hint(errp, -ESTALE,
			  "see with 'mops diff' what would be lost; --force "
			  "moves it all the same");
}

void push_guard_moving(struct session *s, const struct reference *ref,
		       const char *tag, const struct digest *ours)
{
	put(s, ref, tag, true, ours);
}

void push_guard_moved(struct session *s, const struct reference *ref,
		      const char *tag, const struct digest *ours)
{
	put(s, ref, tag, false, ours);
}
