/*
 * What one run of mops or mopsfs works with: settings, the cache, registries
 * by host, object stores, the fetcher. Each part is made when first used.
 *
 * Threads: made and freed by one thread; session_*() from any.
 */
#ifndef ENGINE_SESSION_H
#define ENGINE_SESSION_H

#include "cache/cache.h"
#include "engine/fetch.h"
#include "engine/reference.h"
#include "engine/settings.h"
#include "storage/object_store.h"
#include "storage/registry.h"

struct login;
struct session;

/* @settings outlives the session. */
int session_new(const struct settings *settings, struct session **ret,
		struct error **errp);
void session_free(struct session *s);
static inline void session_freep(struct session **s)
{
	if (*s)
		session_free(*s);
	*s = 0;
}
#define cleanup_session __attribute__((cleanup(session_freep)))

const struct settings *session_settings(const struct session *s);
int session_cache(struct session *s, struct cache **ret, struct error **errp);
int session_fetcher(struct session *s, struct fetcher **ret,
		    struct error **errp);
/* The registry of a reference; owned by the session, one per host or folder.
 * With --offline an HTTP registry is -ENOTCONN. */
int session_registry(struct session *s, const struct reference *ref,
		     struct registry **ret, struct error **errp);
/* Try @login at the registry of @host, before it is kept: see
 * registry_http_try_login(). */
int session_try_login(struct session *s, const char *host,
		      const struct login *login, bool *ret_asked,
		      const struct op *op, struct error **errp);
/* With --offline that of file:// alone. */
const struct object_stores *session_stores(struct session *s);

/* Tests: use this registry for every reference. Owned by the caller. */
void session_override_registry(struct session *s, struct registry *r);

#endif
