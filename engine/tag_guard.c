#include "engine/tag_guard.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"

static char *key_of(const struct reference *ref, const char *tag, bool moving)
{
	struct reference at = *ref;
	cleanup_free char *key = NULL;

	at.tag = (char *)tag;
	key = reference_cache_key(&at);
	return xasprintf("%s%s", moving ? TAG_GUARD_KEY : "", key);
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

static void forget_moving(struct session *s, const struct reference *ref,
			  const char *tag)
{
	cleanup_free char *key = key_of(ref, tag, true);
	struct cache *c;

	if (session_cache(s, &c, NULL) >= 0)
		cache_ref_forget(c, key);
}

/* Only a registry that says so has no such tag: behind any other failure there
 * may be one. */
static int look(struct session *s, const struct reference *ref, const char *tag,
		bool force, struct tag_found *ret, const struct op *op,
		struct error **errp)
{
	struct registry *reg = NULL;
	struct error *err = NULL;
	int r = session_registry(s, ref, &reg, errp);

	if (r < 0)
		return r;
	r = reg->ops->resolve(reg, ref->repo, tag, &ret->digest, op, &err);
	ret->there = r == 0;
	ret->looked = r == 0 || r == -ENOENT;
	if (r < 0 && (r == -ENOENT || (force && !op_cancelled(op)))) {
		log_debug("%s", err->message);
		error_free(err);
		return 0;
	}
	return error_prefix(errp, error_propagate(errp, &err, r),
			    "looking where tag '%s' is", tag);
}

static int refuse(const char *tag, const struct digest *now,
		  const struct digest *was, const char *when,
		  struct error **errp)
{
	cleanup_free char *at =
		was ? xasprintf("was at '%s'", digest_to_str(was).str)
		    : xstrdup("was not there");

	error_set_kind(errp, ERROR_VALIDATION, ESTALE,
		       "tag '%s' was moved by somebody else: it is at '%s', "
		       "and %s when %s",
		       tag, digest_to_str(now).str, at, when);
	return error_hint(errp, -ESTALE,
			  "see with 'mops diff' what would be lost; --force "
			  "moves it all the same");
}

/* Against what this machine saw last, whenever that was. */
static int check_seen(struct session *s, const struct reference *ref,
		      const char *tag, const struct digest *now,
		      struct error **errp)
{
	struct digest seen, moving;

	if (get(s, ref, tag, false, &seen) < 0 || digest_equal(now, &seen))
		return 0;
	if (get(s, ref, tag, true, &moving) == 0 &&
	    digest_equal(now, &moving)) {
		/* A command of ours, which ended before it could say so. */
		tag_guard_moved(s, ref, tag, now);
		return 0;
	}
	return refuse(tag, now, &seen, "it was last seen here", errp);
}

int tag_guard_check(struct session *s, const struct reference *ref,
		    const char *tag, const struct digest *ours, bool force,
		    struct tag_found *found, const struct op *op,
		    struct error **errp)
{
	const struct tag_found was = *found;
	int r = look(s, ref, tag, force, found, op, errp);

	if (r < 0 || !found->there)
		return r;
	if (digest_equal(&found->digest, ours))
		return 1;
	if (force)
		return 0;
	if (was.looked &&
	    (!was.there || !digest_equal(&found->digest, &was.digest)))
		return refuse(tag, &found->digest,
			      was.there ? &was.digest : NULL,
			      "this command began", errp);
	return check_seen(s, ref, tag, &found->digest, errp);
}

void tag_guard_moving(struct session *s, const struct reference *ref,
		      const char *tag, const struct digest *ours)
{
	put(s, ref, tag, true, ours);
}

/* A note that stayed would take the tag for ours whenever it is moved back to
 * where this command has put it. */
void tag_guard_moved(struct session *s, const struct reference *ref,
		     const char *tag, const struct digest *ours)
{
	put(s, ref, tag, false, ours);
	forget_moving(s, ref, tag);
}
