/*
 * Inside the registry over HTTP: one call, tried again where the policy says
 * so, with the credentials that the registry asks for.
 */
#ifndef STORAGE_REGISTRY_HTTP_INTERNAL_H
#define STORAGE_REGISTRY_HTTP_INTERNAL_H

#include <stdatomic.h>

#include "base/lock.h"
#include "base/map.h"
#include "base/secret.h"
#include "storage/registry_http.h"

#define MANIFEST_ACCEPT                                          \
	"Accept: application/vnd.oci.image.manifest.v1+json, "   \
	"application/vnd.oci.image.index.v1+json, "              \
	"application/vnd.docker.distribution.manifest.v2+json, " \
	"application/vnd.docker.distribution.manifest.list.v2+json"

/* Answers whose body does not matter: sessions, confirmations. */
#define SMALL_BODY_MAX 65536

/* How a registry wants to be shown who we are. */
struct auth_way {
	enum { AUTH_UNKNOWN, AUTH_BASIC, AUTH_BEARER } scheme;
	struct http_url realm; /* of AUTH_BEARER */
	char *service;         /* likewise; may be NULL */
};

struct registry_http {
	struct registry registry;
	struct http_client *client;
	struct retry_times times;
	struct credentials *credentials;
	char **token_realms;
	char *uploads;          /* folder of upload records, or NULL */
	char *mirror_of;        /* or NULL: it is no mirror */
	char *host;             /* as the user named it */
	struct http_url origin; /* path "/" */
	atomic_int peer;        /* enum address_class of @origin, once known */

	struct cond grant_made;
	struct mutex lock;   /* LOCK_REGISTRY, all below */
	struct auth_way way; /* how the registry asks, once it did */
	struct map grants;   /* registry_http_auth.c */
	char *refresh_token; /* that its token service gave out, or NULL */
	struct map targets;  /* registry_http_target.c */
	struct map warned;   /* texts of warnings already logged */
	size_t warned_bytes;
};

static inline struct registry_http *registry_http_of(struct registry *r)
{
	return (struct registry_http *)r;
}

/* What a request does to a repository. */
enum access { ACCESS_PULL, ACCESS_PUSH, ACCESS_DELETE };

/* A request of ours. Exactly one of @path and @url is set. */
struct registry_call {
	const char *repo; /* NULL: of the registry as a whole */
	enum access access;
	const char *from; /* another repository, read from; or NULL */
	enum http_method method;
	const char *path;           /* "/v2/…", query included */
	const struct http_url *url; /* where an answer sent us */
	bool stranger; /* that was a foreign host's: we show nothing there */
	const char *const *headers;
	const char *content_type;
	struct feed *body;
	bool body_once; /* see http.h */
	struct sink *sink;
	uint64_t max_body;
	bool follow;
	int (*on_head)(void *ctx, const struct http_response *head,
		       struct error **errp);
	void *ctx;
};

/* registry_http_call.c */

/* One attempt, answered challenges included. As http_request(). */
enum attempt registry_http_once(struct registry_http *h,
				const struct registry_call *call,
				const struct retry *retry,
				struct http_response *ret, const struct op *op,
				struct error **errp);
/* Tried until there is an answer that trying does not change: 0, whatever its
 * status. @ret needs releasing only then. */
int registry_http_call(struct registry_http *h, const struct registry_call *c,
		       struct http_response *ret, const struct op *op,
		       struct error **errp);

/* registry_http_auth.c. Both end with an attempt as http_request() does;
 * code and retry_after_ms of a failure go to @answer. */

/* Before a request: *@ret is what to show, heap (wipe it), or left alone. */
enum attempt registry_http_authorization(struct registry_http *h,
					 const struct registry_call *c,
					 const struct retry *retry, char **ret,
					 struct http_response *answer,
					 const struct op *op,
					 struct error **errp);
/* After the 401 @answer to a request that showed @used (or NULL):
 * *@ret_changed says that there is something else to show. */
enum attempt registry_http_authenticate(
	struct registry_http *h, const struct registry_call *c,
	const struct retry *retry, const char *used, bool *ret_changed,
	struct http_response *answer, const struct op *op, struct error **errp);
void registry_http_auth_release(struct registry_http *h);
/* "Basic …", heap; wipe it. */
char *basic_authorization(const char *user, const char *secret);

/* registry_http_token.c */

void auth_way_copy(const struct auth_way *from, struct auth_way *to);
void auth_way_release(struct auth_way *w);
#define cleanup_auth_way __attribute__((cleanup(auth_way_release)))
/* The best way that @cs offers: a token rather than a login. AUTH_UNKNOWN:
 * none that we know. */
struct challenges;
enum attempt auth_way_choose(const struct registry_http *h,
			     const struct challenges *cs, struct auth_way *ret,
			     struct error **errp);
/* Is token service @u the registry's own, or one that the user allowed? */
bool auth_may_see_login(const struct registry_http *h,
			const struct http_url *u);
/* Ask the token service: *@ret is "Bearer …", heap (wipe it). */
enum attempt registry_http_token(struct registry_http *h,
				 const struct auth_way *way,
				 char *const *scopes, const struct login *login,
				 const struct retry *retry, char **ret,
				 int64_t *ret_life_ms,
				 struct http_response *answer,
				 const struct op *op, struct error **errp);

/* registry_http_upload.c */
int registry_http_upload(struct registry_http *h, const char *repo,
			 const struct digest *d, struct feed *blob,
			 const struct op *op, struct error **errp);
/* DELETE of a session; whether that works is the registry's affair. */
void registry_http_close_session(struct registry_http *h, const char *repo,
				 const struct http_url *at, bool stranger,
				 const struct op *op);
/* registry_http_error.c */

/* An answer that is no success, as an error about @what (or NULL): returns
 * -errno. */
int registry_http_refused(const struct registry_http *h,
			  const struct http_response *r, const char *what,
			  struct error **errp);
/* Log its Warning fields, each text once. */
void registry_http_warnings(struct registry_http *h,
			    const struct http_response *r);

/* registry_http_target.c: where a blob's URL redirected to. */
bool registry_http_target_get(struct registry_http *h, const char *path,
			      struct http_url *ret);
void registry_http_target_set(struct registry_http *h, const char *path,
			      const struct http_url *url);
void registry_http_target_forget(struct registry_http *h, const char *path);
void registry_http_targets_release(struct registry_http *h);

/* registry_http.c */

/* "/v2/<repo>/blobs/<digest>", heap. */
char *registry_http_blob_path(const char *repo, const struct digest *d);
/*
 * A Location of an answer to @asked, on the heap of @ret. A port that got lost
 * on the way is put back; https never becomes http.
 */
int registry_http_location(const struct http_url *asked,
			   const struct http_response *r, struct http_url *ret,
			   struct error **errp);

/* registry_http_push.c: the URL that @path of the registry has, without its
 * query, to resolve a Location against. */
void registry_http_url_at(const struct registry_http *h, const char *path,
			  struct http_url *ret);

/* The members of the table, each in the file of its subject: …_manifest.c,
 * …_blob.c, …_push.c, …_pages.c, …_referrers.c. */
int registry_http_resolve(struct registry *r, const char *repo, const char *tag,
			  struct digest *ret, const struct op *op,
			  struct error **errp);
int registry_http_get_manifest(struct registry *r, const char *repo,
			       const struct digest *d,
			       struct manifest_bytes *ret, const struct op *op,
			       struct error **errp);
int registry_http_put_manifest(struct registry *r, const char *repo,
			       const char *tag, const char *media_type,
			       const void *buf, size_t len, const struct op *op,
			       struct error **errp);
int registry_http_has_blob(struct registry *r, const char *repo,
			   const struct digest *d, uint64_t *ret_size,
			   const struct op *op, struct error **errp);
int registry_http_read_blob(struct registry *r, const char *repo,
			    const struct digest *d, uint64_t size, uint64_t off,
			    uint64_t len, struct sink *sink,
			    const struct op *op, struct error **errp);
int registry_http_put_blob(struct registry *r, const char *repo,
			   const struct digest *d, struct feed *feed,
			   const struct op *op, struct error **errp);
int registry_http_mount_blob(struct registry *r, const char *repo,
			     const char *from_repo, const struct digest *d,
			     const struct op *op, struct error **errp);
int registry_http_list_tags(struct registry *r, const char *repo, char ***ret,
			    const struct op *op, struct error **errp);
int registry_http_list_repos(struct registry *r, char ***ret,
			     const struct op *op, struct error **errp);
int registry_http_probe(struct registry *r, const char *repo,
			struct registry_probe *ret, const struct op *op,
			struct error **errp);
int registry_http_referrers(struct registry *r, const char *repo,
			    const struct digest *subject,
			    const char *artifact_type, struct descriptor **ret,
			    size_t *ret_n, const struct op *op,
			    struct error **errp);
int registry_http_remove(struct registry *r, const char *repo, const char *tag,
			 const struct digest *d, const struct op *op,
			 struct error **errp);

/* registry_http_manifest.c: by tag or digest, as it came: not hashed, its
 * media type not settled (@ret_type is the Content-Type without parameters, or
 * NULL). -ENOENT is of kind ERROR_NOT_FOUND. */
int registry_http_fetch_manifest(struct registry_http *h, const char *repo,
				 const char *ref, struct http_response *ret,
				 const struct op *op, struct error **errp);
int registry_http_store_manifest(struct registry_http *h, const char *repo,
				 const char *ref, const char *media_type,
				 const void *buf, size_t len,
				 bool *ret_subject_kept, const struct op *op,
				 struct error **errp);

/* registry_http_referrers.c: note manifest @self as a referrer of @subject
 * under the tag that stands in for a missing API. */
int registry_http_note_referrer(struct registry_http *h, const char *repo,
				const struct digest *subject,
				const struct descriptor *self,
				const struct op *op, struct error **errp);

/*
 * registry_http_pages.c: GET @path of @repo (or NULL) and the pages that it
 * links to. @page gets each document. *@ret_status, if not NULL, is the first
 * page's status when it was no success (-errno is returned then).
 */
int registry_http_pages(struct registry_http *h, const char *repo,
			const char *path, const char *what,
			int (*page)(void *ctx, const struct json *doc,
				    struct error **errp),
			void *ctx, long *ret_status, const struct op *op,
			struct error **errp);

#endif
