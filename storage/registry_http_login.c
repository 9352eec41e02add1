/* Trying a login before anybody relies on it. */
#include <errno.h>

#include "storage/registry_http_internal.h"

/* A token service that may not see the login gives its token to anybody. */
static int check_shown(struct registry_http *h, bool *ret_asked,
		       struct error **errp)
{
	cleanup_auth_way struct auth_way way = {0};

	mutex_lock(&h->lock);
	auth_way_copy(&h->way, &way);
	mutex_unlock(&h->lock);
	*ret_asked = way.scheme != AUTH_UNKNOWN;
	if (way.scheme != AUTH_BEARER || auth_may_see_login(h, &way.realm))
		return 0;
	error_set(errp, EACCES,
		  "the token service '%s' of registry '%s' is not of the "
		  "registry's own site, so it was not shown the login",
		  way.realm.host, h->host);
	return error_hint(errp, -EACCES,
			  "add it to token_realms if it may see it");
}

int registry_http_try_login(struct registry *r, bool *ret_asked,
			    const struct op *op, struct error **errp)
{
	cleanup_http_response struct http_response answer = {.retry_after_ms =
								     -1};
	struct registry_http *h = registry_http_of(r);
	const struct registry_call c = {
		.path = "/v2/",
		.max_body = SMALL_BODY_MAX,
	};
	int rc = registry_http_call(h, &c, &answer, op, errp);

	if (rc < 0)
		return rc;
	if (answer.status == 401)
		return error_set(errp, EACCES,
				 "registry '%s' does not accept this login",
				 h->host);
	if (answer.status != 200)
		return registry_http_refused(h, &answer, NULL, errp);
	return check_shown(h, ret_asked, errp);
}
