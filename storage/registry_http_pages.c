#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "storage/http_headers.h"
#include "storage/registry_http_internal.h"

#define PAGES_MAX     2000
#define PAGE_BODY_MAX (16u << 20)
#define NAMES_MAX     1000000 /* of all pages */

/* The page after the one at @url; 0: there is none, 1: *@url moved on. */
static int next_page(struct registry_http *h, const struct http_response *r,
		     struct http_url *url, struct error **errp)
{
	const char *link = http_response_header(r, "link");
	cleanup_free char *ref = link ? http_link_next(link) : NULL;
	struct http_url next = {0};

	if (!ref)
		return 0;
	if (http_url_resolve(url, ref, &next, NULL) < 0)
		return error_set(errp, EPROTO, "the next page is no URL");
	if (r->strayed || !http_url_same_origin(&next, &h->origin)) {
		http_url_release(&next);
		return error_set(errp, EPROTO,
				 "the next page is on another host");
	}
	http_url_release(url);
	*url = next;
	return 1;
}

static int one_page(struct registry_http *h, const char *repo,
		    const struct http_url *url, struct http_response *answer,
		    int (*page)(void *ctx, const struct json *doc,
				struct error **errp),
		    void *ctx, const struct op *op, struct error **errp)
{
	static const char *const headers[] = {
		"Accept: application/json, "
		"application/vnd.oci.image.index.v1+json",
		NULL};
	cleanup_json struct json *doc = NULL;
	const struct registry_call c = {
		.repo = repo,
		.url = url,
		.headers = headers,
		.max_body = PAGE_BODY_MAX,
		.follow = true,
	};
	int r = registry_http_call(h, &c, answer, op, errp);

	if (r < 0)
		return r;
	if (answer->status != 200)
		return registry_http_refused(h, answer, NULL, errp);
	r = json_parse(answer->body, answer->body_len, &JSON_LIMITS_BIG, &doc,
		       errp);
	if (r < 0)
		return r;
	if (json_type(doc) != JSON_OBJECT)
		return error_set(errp, EPROTO, "the answer is no object");
	return page(ctx, doc, errp);
}

int registry_http_pages(struct registry_http *h, const char *repo,
			const char *path, const char *what,
			int (*page)(void *ctx, const struct json *doc,
				    struct error **errp),
			void *ctx, long *ret_status, const struct op *op,
			struct error **errp)
{
	cleanup_http_url struct http_url url = {0};
	const char *query = strchr(path, '?');
	int r = 1;

	http_url_copy(&h->origin, &url);
	free(url.path);
	url.path = xstrndup(path, strcspn(path, "?"));
	url.query = query ? xstrdup(query + 1) : NULL;
	for (int n = 0; r > 0; n++) {
		cleanup_http_response struct http_response answer = {
			.retry_after_ms = -1};

		if (n == PAGES_MAX)
			return error_set(errp, EPROTO, "%s: pages without end",
					 what);
		r = one_page(h, repo, &url, &answer, page, ctx, op, errp);
		if (n == 0 && r < 0 && ret_status)
			*ret_status = answer.status;
		if (r == 0)
			r = next_page(h, &answer, &url, errp);
	}
	return r < 0 ? error_prefix(errp, r, "%s", what) : 0;
}

/* What pages hold, NULL-ended once there is one. */
struct names {
	char **v;
	size_t n, cap;
};

static void names_release(struct names *names)
{
	strv_free(names->v);
}
#define cleanup_names __attribute__((cleanup(names_release)))

static int add_name(struct names *names, const char *s, struct error **errp)
{
	if (names->n == NAMES_MAX)
		return error_set(errp, EPROTO, "more than %d names", NAMES_MAX);
	ARRAY_GROW(names->v, names->n, names->cap);
	names->v[names->n++] = xstrdup(s);
	ARRAY_GROW(names->v, names->n, names->cap);
	names->v[names->n] = NULL;
	return 0;
}

static int add_names(const struct json *list, bool (*valid)(const char *s),
		     struct names *names, struct error **errp)
{
	int r = 0;

	/* Some registries say null for none, others mix digests in. */
	if (list && json_type(list) != JSON_ARRAY &&
	    json_type(list) != JSON_NULL)
		return error_set(errp, EPROTO, "the answer has no list");
	for (const struct json *v = json_first(list); v && r == 0;
	     v = json_next(v))
		if (json_str(v) && valid(json_str(v)))
			r = add_name(names, json_str(v), errp);
	return r;
}

static int tags_page(void *ctx, const struct json *doc, struct error **errp)
{
	return add_names(json_get(doc, "tags"), tag_valid, ctx, errp);
}

static int repos_page(void *ctx, const struct json *doc, struct error **errp)
{
	return add_names(json_get(doc, "repositories"), repo_name_valid, ctx,
			 errp);
}

/* What the pages held goes into the caller's list only when all came. */
static int hand_over(struct names *names, char ***to)
{
	if (!*to) {
		*to = steal_ptr(&names->v);
		return 0;
	}
	for (size_t i = 0; i < names->n; i++)
		strv_append(to, names->v[i]);
	free(steal_ptr(&names->v));
	return 0;
}

int registry_http_list_tags(struct registry *r, const char *repo, char ***ret,
			    const struct op *op, struct error **errp)
{
	struct registry_http *h = registry_http_of(r);
	cleanup_names struct names tags = {0};
	cleanup_free char *path = NULL;
	cleanup_free char *what = NULL;
	int rc = registry_check_names(repo, NULL, errp);

	if (rc < 0)
		return rc;
	path = xasprintf("/v2/%s/tags/list?n=1000", repo);
	what = xasprintf("tags of '%s/%s'", h->host, repo);
	rc = registry_http_pages(h, repo, path, what, tags_page, &tags, NULL,
				 op, errp);
	if (rc == -ENOENT)
		return error_kind(errp, rc, ERROR_NOT_FOUND);
	return rc < 0 ? rc : hand_over(&tags, ret);
}

int registry_http_list_repos(struct registry *r, char ***ret,
			     const struct op *op, struct error **errp)
{
	struct registry_http *h = registry_http_of(r);
	cleanup_names struct names repos = {0};
	cleanup_error struct error *err = NULL;
	long status = 0;
	int rc = registry_http_pages(h, NULL, "/v2/_catalog?n=1000", "catalog",
				     repos_page, &repos, &status, op, &err);

	if (rc < 0 && (status == 404 || status == 401 || status == 403))
		return error_set(errp, EOPNOTSUPP,
				 "registry '%s' does not list its repositories",
				 h->host);
	return rc < 0 ? error_propagate(errp, &err, rc)
		      : hand_over(&repos, ret);
}
