/*
 * Blobs into a repository: by their bytes or by a name elsewhere.
 */
#include <errno.h>
#include <string.h>

#include "base/strbuf.h"
#include "storage/registry_http_internal.h"

void registry_http_url_at(const struct registry_http *h, const char *path,
			  struct http_url *ret)
{
	http_url_copy(&h->origin, ret);
	free(ret->path);
	ret->path = xstrndup(path, strcspn(path, "?"));
}

int registry_http_put_blob(struct registry *r, const char *repo,
			   const struct digest *d, struct feed *feed,
			   const struct op *op, struct error **errp)
{
	struct registry_http *h = registry_http_of(r);
	int rc = registry_check_names(repo, NULL, errp);

	if (rc < 0)
		return rc;
	rc = registry_http_upload(h, repo, d, feed, op, errp);
	if (rc < 0)
		return error_prefix(errp, rc, "uploading blob '%s' to '%s/%s'",
				    digest_to_str(d).str, h->host, repo);
	return 0;
}

int registry_http_mount_blob(struct registry *r, const char *repo,
			     const char *from_repo, const struct digest *d,
			     const struct op *op, struct error **errp)
{
	cleanup_http_response struct http_response answer = {.retry_after_ms =
								     -1};
	struct registry_http *h = registry_http_of(r);
	cleanup_http_url struct http_url asked = {0}, session = {0};
	cleanup_free char *path = NULL;
	cleanup_strbuf struct strbuf from = STRBUF_INIT;
	struct registry_call c = {
		.repo = repo,
		.access = ACCESS_PUSH,
		.from = from_repo,
		.method = HTTP_POST,
		.max_body = SMALL_BODY_MAX,
	};
	int rc = registry_check_names(repo, NULL, errp);

	if (rc == 0)
		rc = registry_check_names(from_repo, NULL, errp);
	if (rc < 0)
		return rc;
	uri_encode(&from, from_repo, strlen(from_repo), false);
	path = xasprintf("/v2/%s/blobs/uploads/?mount=sha256%%3A%s&from=%s",
			 repo, digest_to_hex(d).str, strbuf_str(&from));
	c.path = path;
	rc = registry_http_call(h, &c, &answer, op, errp);
	if (rc < 0)
		return error_prefix(errp, rc, "mounting blob '%s' in '%s/%s'",
				    digest_to_str(d).str, h->host, repo);
	if (answer.status == 201)
		return 1;
	registry_http_url_at(h, path, &asked);
	if (answer.status == 202 &&
	    registry_http_location(&asked, &answer, &session, NULL) == 0)
		registry_http_close_session(h, repo, &session, answer.strayed,
					    op);
	/* A registry that knows no mounts, or not for us: upload instead. */
	return 0;
}
