#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "tests/conformance/conformance.h"

#define MANY_TAGS 230

static int resolve(struct registry_fixture *f, const char *tag,
		   struct digest *ret, struct error **errp)
{
	return f->r->ops->resolve(f->r, f->repo, tag, ret, NULL, errp);
}

static int get(struct registry_fixture *f, const struct digest *d,
	       struct manifest_bytes *ret, struct error **errp)
{
	return f->r->ops->get_manifest(f->r, f->repo, d, ret, NULL, errp);
}

static void must_put(struct conformance *c, struct registry_fixture *f,
		     const char *tag, const char *text)
{
	cleanup_error struct error *err = NULL;

	check_code(c, put_text(f->r, f->repo, tag, text, &err), 0, err);
}

static void must_get(struct conformance *c, struct registry_fixture *f,
		     const char *text, const char *media_type)
{
	cleanup_manifest_bytes struct manifest_bytes m = {0};
	cleanup_error struct error *err = NULL;
	struct digest d = digest_of_str(text);

	check_code(c, get(f, &d, &m, &err), 0, err);
	if (err)
		return;
	check(c, m.len == strlen(text) && memcmp(m.buf, text, m.len) == 0,
	      "other bytes came back");
	check(c, strcmp(m.media_type, media_type) == 0, "media type '%s'",
	      m.media_type);
}

static void must_resolve(struct conformance *c, struct registry_fixture *f,
			 const char *tag, const char *text)
{
	cleanup_error struct error *err = NULL;
	struct digest want = digest_of_str(text), got = {0};

	check_code(c, resolve(f, tag, &got, &err), 0, err);
	check(c, digest_equal(&got, &want), "'%s' stands for '%s'", tag,
	      digest_to_str(&got).str);
}

static char *manifest(struct conformance *c, struct registry_fixture *f,
		      const char *note)
{
	return make_manifest(c, f->r, f->repo, note, NULL, NULL);
}

static void returns_a_manifest_by_digest(struct conformance *c,
					 struct registry_fixture *f)
{
	cleanup_free char *text = manifest(c, f, "by digest");

	must_put(c, f, NULL, text);
	must_get(c, f, text, MEDIA_TYPE_MANIFEST);
}

static void returns_a_manifest_by_tag(struct conformance *c,
				      struct registry_fixture *f)
{
	cleanup_free char *text = manifest(c, f, "by tag");

	must_put(c, f, "1.0", text);
	must_resolve(c, f, "1.0", text);
	must_get(c, f, text, MEDIA_TYPE_MANIFEST);
	must_put(c, f, "1.0", text);
	must_resolve(c, f, "1.0", text);
}

static void lacks_absent_manifests(struct conformance *c,
				   struct registry_fixture *f)
{
	cleanup_manifest_bytes struct manifest_bytes m = {0};
	cleanup_free char *text = manifest(c, f, "absent");
	struct digest d = digest_of_str("absent"), got;
	cleanup_error struct error *tag = NULL, *digest = NULL;

	must_put(c, f, "there", text);
	check_code(c, resolve(f, "absent", &got, &tag), -ENOENT, tag);
	check_code(c, get(f, &d, &m, &digest), -ENOENT, digest);
}

static void lacks_an_absent_repository(struct conformance *c,
				       struct registry_fixture *f)
{
	cleanup_error struct error *tag = NULL, *digest = NULL;
	cleanup_manifest_bytes struct manifest_bytes m = {0};
	struct digest d = digest_of_str("absent"), got;
	cleanup_strv char **tags = NULL;

	check_code(c, resolve(f, "latest", &got, &tag), -ENOENT, tag);
	check_code(c, get(f, &d, &m, &digest), -ENOENT, digest);
	check_code(c, f->r->ops->list_tags(f->r, f->repo, &tags, NULL, NULL),
		   -ENOENT, tag);
}

static void is_no_manifest_because_it_is_a_blob(struct conformance *c,
						struct registry_fixture *f)
{
	cleanup_manifest_bytes struct manifest_bytes m = {0};
	cleanup_free char *text = manifest(c, f, "only a blob");
	struct digest d = put_bytes(c, f->r, f->repo, text, strlen(text));
	cleanup_error struct error *err = NULL;

	int r = get(f, &d, &m, &err);

	/* Distribution 2.8 does, for the sake of its own past. */
	if (r == 0) {
		check(c, m.len == strlen(text) && !memcmp(m.buf, text, m.len),
		      "other bytes came back");
		conformance_skip(c, "this registry serves blobs as manifests");
		return;
	}
	check_code(c, r, -ENOENT, err);
}

static void moves_a_tag(struct conformance *c, struct registry_fixture *f)
{
	cleanup_free char *a = manifest(c, f, "first");
	cleanup_free char *b = manifest(c, f, "second");

	must_put(c, f, "latest", a);
	must_put(c, f, "latest", b);
	must_resolve(c, f, "latest", b);
	must_get(c, f, a, MEDIA_TYPE_MANIFEST);
	must_put(c, f, "latest", a);
	must_resolve(c, f, "latest", a);
	must_get(c, f, b, MEDIA_TYPE_MANIFEST);
}

static void gives_one_manifest_several_tags(struct conformance *c,
					    struct registry_fixture *f)
{
	cleanup_free char *text = manifest(c, f, "several");

	must_put(c, f, "a", text);
	must_put(c, f, "b", text);
	must_resolve(c, f, "a", text);
	must_resolve(c, f, "b", text);
}

static void keeps_repositories_apart(struct conformance *c,
				     struct registry_fixture *f)
{
	cleanup_free char *longer = xasprintf("%s-b", f->repo);
	struct registry_fixture g = {.r = f->r, .repo = longer};
	cleanup_free char *a = manifest(c, f, "in a");
	cleanup_free char *b = manifest(c, &g, "in b");
	cleanup_strv char **tags = NULL;
	cleanup_error struct error *err = NULL;
	struct digest d;

	must_put(c, f, "same", a);
	must_put(c, &g, "same", b);
	must_put(c, &g, "other", b);
	must_resolve(c, f, "same", a);
	must_resolve(c, &g, "same", b);
	check_code(c, resolve(f, "other", &d, NULL), -ENOENT, err);
	check_code(c, f->r->ops->list_tags(f->r, f->repo, &tags, NULL, &err), 0,
		   err);
	check(c, strv_len(tags) == 1, "%zu tags", strv_len(tags));
}

static void refuses_a_manifest_without_its_blobs(struct conformance *c,
						 struct registry_fixture *f)
{
	struct digest d = digest_of_str(f->repo);
	cleanup_free char *text = xasprintf(
		"{\"schemaVersion\":2,\"mediaType\":\"%s\",\"config\":{"
		"\"digest\":\"%s\",\"mediaType\":\"application/x.none\","
		"\"size\":%zu},\"layers\":[]}",
		MEDIA_TYPE_MANIFEST, digest_to_str(&d).str, strlen(f->repo));
	struct digest got;

	check(c, put_text(f->r, f->repo, "bad", text, NULL) < 0, "it is taken");
	check_code(c, resolve(f, "bad", &got, NULL), -ENOENT,
		   (struct error *)NULL);
}

static void refuses_a_malformed_manifest(struct conformance *c,
					 struct registry_fixture *f)
{
	static const char *const bad[] = {"", "[]", "{}", "{\"layers\":[]"};
	size_t i;

	put_bytes(c, f->r, f->repo, "{}", 2);
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		check(c, put_text(f->r, f->repo, "bad", bad[i], NULL) < 0,
		      "'%s' is taken", bad[i]);
}

static void refuses_a_manifest_that_is_too_large(struct conformance *c,
						 struct registry_fixture *f)
{
	cleanup_free char *text = manifest(c, f, "large");
	size_t n = strlen(text);
	cleanup_error struct error *err = NULL;
	cleanup_free char *buf = xmalloc(MANIFEST_PUSH_MAX + 1);

	/* White space after the document: well-formed, only long. */
	memset(buf, ' ', MANIFEST_PUSH_MAX + 1);
	memcpy(buf, text, n);
	check_code(c,
		   f->r->ops->put_manifest(f->r, f->repo, "big",
					   MEDIA_TYPE_MANIFEST, buf,
					   MANIFEST_PUSH_MAX + 1, NULL, &err),
		   -EFBIG, err);
}

static void stores_an_index(struct conformance *c, struct registry_fixture *f)
{
	cleanup_free char *child = manifest(c, f, "child");
	struct digest d = digest_of_str(child);
	cleanup_error struct error *err = NULL;
	cleanup_free char *text = xasprintf(
		"{\"schemaVersion\":2,\"mediaType\":\"%s\",\"manifests\":[{"
		"\"digest\":\"%s\",\"mediaType\":\"%s\",\"size\":%zu}]}",
		MEDIA_TYPE_INDEX, digest_to_str(&d).str, MEDIA_TYPE_MANIFEST,
		strlen(child));

	must_put(c, f, NULL, child);
	check_code(c,
		   f->r->ops->put_manifest(f->r, f->repo, "all",
					   MEDIA_TYPE_INDEX, text, strlen(text),
					   NULL, &err),
		   0, err);
	must_resolve(c, f, "all", text);
	must_get(c, f, text, MEDIA_TYPE_INDEX);
	must_get(c, f, child, MEDIA_TYPE_MANIFEST);
}

static bool among(char *const *v, const char *s)
{
	for (; v && *v; v++)
		if (strcmp(*v, s) == 0)
			return true;
	return false;
}

static void lists_many_tags(struct conformance *c, struct registry_fixture *f)
{
	cleanup_free char *text = manifest(c, f, "many");
	cleanup_error struct error *err = NULL;
	cleanup_strv char **tags = NULL;
	char tag[20];
	int i;

	must_put(c, f, NULL, text);
	for (i = 0; i < MANY_TAGS && !c->case_failed; i++) {
		snprintf(tag, sizeof(tag), "v%d", i);
		must_put(c, f, tag, text);
	}
	strv_append(&tags, xstrdup("before"));
	check_code(c, f->r->ops->list_tags(f->r, f->repo, &tags, NULL, &err), 0,
		   err);
	check(c, strv_len(tags) == MANY_TAGS + 1, "%zu tags", strv_len(tags));
	check(c, among(tags, "before"), "what was in the list is gone");
	for (i = 0; i < MANY_TAGS; i++) {
		snprintf(tag, sizeof(tag), "v%d", i);
		check(c, among(tags, tag), "no '%s'", tag);
	}
}

static void check_repo_refused(struct conformance *c, struct registry *r,
			       const char *repo)
{
	struct digest d = digest_of_str("x");
	cleanup_probe_sink struct probe_sink s = {0};
	struct manifest_bytes m = {0};
	struct descriptor *v = NULL;
	struct feed_mem feed;
	char **tags = NULL;
	size_t n = 0;
	struct digest got;

	feed_mem_init(&feed, "x", 1);
	probe_sink_init(&s);
	check(c, r->ops->resolve(r, repo, "1", &got, NULL, NULL) == -EINVAL,
	      "resolve '%s'", repo);
	check(c, r->ops->get_manifest(r, repo, &d, &m, NULL, NULL) == -EINVAL,
	      "get_manifest '%s'", repo);
	check(c, put_text(r, repo, "1", "{}", NULL) == -EINVAL,
	      "put_manifest '%s'", repo);
	check(c, r->ops->has_blob(r, repo, &d, NULL, NULL, NULL) == -EINVAL,
	      "has_blob '%s'", repo);
	check(c,
	      r->ops->read_blob(r, repo, &d, 1, 0, 1, &s.sink, NULL, NULL) ==
		      -EINVAL,
	      "read_blob '%s'", repo);
	check(c,
	      r->ops->put_blob(r, repo, &d, &feed.feed, NULL, NULL) == -EINVAL,
	      "put_blob '%s'", repo);
	check(c, r->ops->mount_blob(r, "a", repo, &d, NULL, NULL) == -EINVAL,
	      "mount_blob from '%s'", repo);
	check(c, r->ops->mount_blob(r, repo, "a", &d, NULL, NULL) == -EINVAL,
	      "mount_blob to '%s'", repo);
	check(c, r->ops->list_tags(r, repo, &tags, NULL, NULL) == -EINVAL,
	      "list_tags '%s'", repo);
	check(c,
	      r->ops->referrers(r, repo, &d, NULL, &v, &n, NULL, NULL) ==
		      -EINVAL,
	      "referrers '%s'", repo);
}

static void refuses_names_that_are_none(struct conformance *c,
					struct registry_fixture *f)
{
	static const char *const repos[] = {"",       "A",        "../a",
					    "a/../b", "a//b",     "a b",
					    "a:b",    "a/",       "a?x=y",
					    "a%2e",   "a\r\nX: y"};
	static const char *const tags[] = {"",     ".a",  "a/b", "a:b",
					   "../x", "a b", "a?b", "a\r\nX: y"};
	struct digest got;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(repos); i++)
		check_repo_refused(c, f->r, repos[i]);
	for (i = 0; i < ARRAY_SIZE(tags); i++) {
		check(c, resolve(f, tags[i], &got, NULL) == -EINVAL,
		      "resolve '%s'", tags[i]);
		check(c,
		      put_text(f->r, f->repo, tags[i], "{}", NULL) == -EINVAL,
		      "put_manifest '%s'", tags[i]);
	}
}

static int referrers(struct registry_fixture *f, const struct digest *subject,
		     const char *type, struct descriptor **ret, size_t *ret_n,
		     struct error **errp)
{
	return f->r->ops->referrers(f->r, f->repo, subject, type, ret, ret_n,
				    NULL, errp);
}

static void check_referrers(struct conformance *c, struct registry_fixture *f,
			    const char *subject, const char *type, size_t want,
			    const char *member)
{
	struct digest d = digest_of_str(subject);
	cleanup_error struct error *err = NULL;
	struct descriptor *v = NULL;
	bool found = false;
	size_t i, n = 0;

	check_code(c, referrers(f, &d, type, &v, &n, &err), 0, err);
	check(c, n == want, "%zu referrers of type '%s', not %zu", n,
	      type ? type : "any", want);
	for (i = 0; i < n; i++) {
		struct digest m = digest_of_str(member);

		if (!digest_equal(&v[i].digest, &m))
			continue;
		found = true;
		check(c, v[i].size == strlen(member), "another size");
		check(c,
		      v[i].artifact_type && strcmp(v[i].artifact_type,
						   "application/x.sig") == 0,
		      "artifact type '%s'",
		      v[i].artifact_type ? v[i].artifact_type : "none");
		check(c, descriptor_annotation(&v[i], "note") != NULL,
		      "the annotations are missing");
	}
	check(c, found || want == 0, "the referrer is not among them");
	descriptors_free(v, n);
}

static void lists_referrers(struct conformance *c, struct registry_fixture *f)
{
	cleanup_free char *text = manifest(c, f, "subject");
	cleanup_free char *other = manifest(c, f, "other subject");
	struct descriptor subject = {.media_type = (char *)MEDIA_TYPE_MANIFEST,
				     .digest = digest_of_str(text),
				     .size = strlen(text)};
	cleanup_free char *sig = make_manifest(c, f->r, f->repo, "sig",
					       &subject, "application/x.sig");
	cleanup_free char *trace = make_manifest(
		c, f->r, f->repo, "trace", &subject, "application/x.trace");
	struct descriptor *v = NULL;
	size_t n = 0;

	if (referrers(f, &subject.digest, NULL, &v, &n, NULL) == -EOPNOTSUPP) {
		conformance_skip(c, "this registry has no referrers");
		return;
	}
	descriptors_free(v, n);
	must_put(c, f, "subject", text);
	must_put(c, f, "other", other);
	must_put(c, f, NULL, sig);
	must_put(c, f, NULL, trace);
	must_put(c, f, "also-tagged", sig);
	check_referrers(c, f, text, NULL, 2, sig);
	check_referrers(c, f, text, "application/x.sig", 1, sig);
	check_referrers(c, f, text, "application/x.none", 0, sig);
	check_referrers(c, f, other, NULL, 0, sig);
}

static int remove_it(struct registry_fixture *f, const char *tag,
		     const struct digest *d, struct error **errp)
{
	if (!f->r->ops->remove)
		return error_set(errp, EOPNOTSUPP, "no remove");
	return f->r->ops->remove(f->r, f->repo, tag, d, NULL, errp);
}

static void removes_a_tag(struct conformance *c, struct registry_fixture *f)
{
	cleanup_free char *text = manifest(c, f, "remove tag");
	cleanup_error struct error *err = NULL;
	struct digest d = digest_of_str(text), got;
	int r;

	must_put(c, f, "gone", text);
	must_put(c, f, "stays", text);
	r = remove_it(f, "gone", &d, &err);
	if (r == -EOPNOTSUPP || r == -EACCES) {
		conformance_skip(c, "this registry does not remove tags");
		return;
	}
	check_code(c, r, 0, err);
	check_code(c, resolve(f, "gone", &got, NULL), -ENOENT, err);
	check_code(c, remove_it(f, "gone", &d, NULL), -ENOENT, err);
	must_resolve(c, f, "stays", text);
	must_get(c, f, text, MEDIA_TYPE_MANIFEST);
}

static void removes_a_manifest(struct conformance *c,
			       struct registry_fixture *f)
{
	cleanup_free char *text = manifest(c, f, "remove manifest");
	cleanup_free char *other = manifest(c, f, "remains");
	cleanup_manifest_bytes struct manifest_bytes m = {0};
	cleanup_error struct error *err = NULL;
	struct digest d = digest_of_str(text), got;
	int r;

	must_put(c, f, "a", text);
	must_put(c, f, "b", text);
	must_put(c, f, "c", other);
	r = remove_it(f, NULL, &d, &err);
	if (r == -EOPNOTSUPP || r == -EACCES) {
		conformance_skip(c, "this registry does not remove manifests");
		return;
	}
	check_code(c, r, 0, err);
	check_code(c, resolve(f, "a", &got, NULL), -ENOENT, err);
	check_code(c, resolve(f, "b", &got, NULL), -ENOENT, err);
	check_code(c, get(f, &d, &m, NULL), -ENOENT, err);
	check_code(c, remove_it(f, NULL, &d, NULL), -ENOENT, err);
	must_resolve(c, f, "c", other);
}

static void lists_repositories(struct conformance *c,
			       struct registry_fixture *f)
{
	cleanup_free char *text = manifest(c, f, "listed");
	cleanup_error struct error *err = NULL;
	cleanup_strv char **repos = NULL;
	int r = -EOPNOTSUPP;

	must_put(c, f, "1", text);
	if (f->r->ops->list_repos)
		r = f->r->ops->list_repos(f->r, &repos, NULL, &err);
	if (r == -EOPNOTSUPP || r == -EACCES) {
		conformance_skip(c, "this registry lists no repositories");
		return;
	}
	check_code(c, r, 0, err);
	check(c, among(repos, f->repo), "'%s' is not listed", f->repo);
}

const struct registry_case registry_manifest_cases[] = {
	{"returns a manifest by digest", returns_a_manifest_by_digest},
	{"returns a manifest by tag", returns_a_manifest_by_tag},
	{"lacks tags and manifests that nobody put", lacks_absent_manifests},
	{"lacks a repository that nobody used", lacks_an_absent_repository},
	{"takes no blob for a manifest", is_no_manifest_because_it_is_a_blob},
	{"moves a tag and keeps both manifests", moves_a_tag},
	{"gives one manifest several tags", gives_one_manifest_several_tags},
	{"keeps repositories apart", keeps_repositories_apart},
	{"refuses a manifest without its blobs",
	 refuses_a_manifest_without_its_blobs},
	{"refuses a malformed manifest", refuses_a_malformed_manifest},
	{"refuses a manifest that is too large",
	 refuses_a_manifest_that_is_too_large},
	{"stores an index", stores_an_index},
	{"lists many tags", lists_many_tags},
	{"refuses names that are none", refuses_names_that_are_none},
	{"lists referrers", lists_referrers},
	{"removes a tag", removes_a_tag},
	{"removes a manifest", removes_a_manifest},
	{"lists repositories", lists_repositories},
	{NULL, NULL},
};
