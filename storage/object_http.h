/*
 * What the object stores over HTTP share: one call, tried again where the
 * policy says so; ranged reads that resume; uploads that are hashed on their
 * way. What differs is a dialect: S3, Azure Blob, Google Cloud Storage.
 *
 * Redirects are never followed: a signature is good for one host, and a store
 * that answers with one is told where it is by its settings.
 */
#ifndef STORAGE_OBJECT_HTTP_H
#define STORAGE_OBJECT_HTTP_H

#include "base/secret.h"
#include "storage/aws_sign.h"
#include "storage/http.h"
#include "storage/keeper.h"
#include "storage/object_store.h"

#define OBJECT_ANSWER_MAX ((uint64_t)4 << 20) /* documents of a store */
#define OBJECT_PAIRS_MAX  24

struct object_http;

/* A request as it is meant. Nothing is encoded. */
struct object_call {
	enum http_method method;
	const struct pointer_uri *uri;
	bool bucket;      /* about the bucket, not the object */
	const char *kind; /* NULL, or a dialect's own word for where it goes */
	const struct sign_pair *query;
	size_t n_query;
	const struct sign_pair *headers;
	size_t n_headers;
	struct feed *body;
	const char *body_sha256; /* hex; NULL: not known */
	const char *content_type;
	struct sink *sink;
	uint64_t max_body;
	int (*on_head)(void *ctx, const struct http_response *head,
		       struct error **errp);
	void *ctx;
	bool must_exist;
};

/* The same on its way out. Released by the caller: all of it is wiped. */
struct object_wire {
	struct http_url url;
	char **headers; /* "Name: value" */
	char *authorization;
	struct secret *secret; /* what it was signed with, or NULL */
	int64_t time_s;        /* that it was signed for */
	bool user_host;        /* the user named the endpoint */
	const char *ca_file;   /* the store's; NULL: the client's */
};

/* What a call tried already to cure a refusal. */
struct object_cures {
	bool region, clock, secret;
};

struct object_dialect {
	/* Names the object for messages: "s3://bucket/key". */
	int (*compose)(struct object_http *h, const struct object_call *c,
		       struct object_wire *ret, const struct op *op,
		       struct error **errp);
	/* An answer that is no success: the error, and what the policy makes
	 * of it. *@ret_again: something was learned, ask again at once. */
	enum attempt (*refused)(struct object_http *h,
				const struct object_call *c,
				const struct object_wire *w,
				const struct http_response *r,
				struct object_cures *cures, bool *ret_again,
				const struct op *op, struct error **errp);
	/* The validator of an answer with bytes; "" when it has none. */
	void (*validator)(const struct http_response *r, char ret[128]);
	/* The header in which a HEAD tells the uploader's SHA-256, or NULL. */
	const char *claim;
	/* What sends it along: a header, or a query item. */
	const char *pin_header, *pin_query;
	/* More for each read; n_read_headers of them. */
	const struct sign_pair *read_query, *read_headers;
	size_t n_read_query, n_read_headers;
};

struct object_http { /* the first member of each of the stores */
	struct object_store store;
	const struct object_dialect *dialect;
	struct http_client *client;
	struct retry_times times;
	int64_t clock_offset_s; /* atomic: what the store's clock is ahead */
};

static inline struct object_http *object_http_of(struct object_store *s)
{
	return (struct object_http *)s;
}

/* "s3://bucket/key", heap. */
char *object_name(const struct pointer_uri *uri);

/*
 * Tried until it succeeds (2xx): 0, @ret to be released; or -errno: -ENOENT,
 * -EACCES, -ESTALE (412), -EOPNOTSUPP (405, 501), -EPROTO (416), …
 */
int object_call(struct object_http *h, const struct object_call *c,
		struct http_response *ret, const struct op *op,
		struct error **errp);
/* One try of it, cures included; progress is the caller's business. */
enum attempt object_try(struct object_http *h, const struct object_call *c,
			const struct retry *retry, struct http_response *ret,
			const struct op *op, struct error **errp);
/* After a 401 or 403: when the store's clock is far from the one that was
 * signed for, take it; true then, once. */
bool object_cure_clock(struct object_http *h, const struct object_wire *w,
		       const struct http_response *r,
		       struct object_cures *cures);
/* A call whose answer's body does not matter. */
int object_command(struct object_http *h, const struct object_call *c,
		   const struct op *op, struct error **errp);

/* HEAD: the size, the uploader's claim and the validator of an answer, which is
 * kept in @r for what a dialect knows beside. */
int object_head(struct object_http *h, const struct object_call *c,
		struct http_response *r, struct object_info *ret,
		const struct op *op, struct error **errp);
/* The stat() of a table, where that is all of it. */
int object_http_stat(struct object_store *s, const struct pointer_uri *uri,
		     struct object_info *ret, const struct op *op,
		     struct error **errp);
/* The remove() of a table: DELETE, for stores that say when there is
 * nothing. */
int object_http_remove(struct object_store *s, const struct pointer_uri *uri,
		       const struct op *op, struct error **errp);

/* object_http_read.c: the read() of the table. */
int object_http_read(struct object_store *s, const struct pointer_uri *uri,
		     const char *validator, uint64_t off, uint64_t len,
		     struct sink *sink, const struct op *op,
		     struct error **errp);

/* object_http_put.c */

/* 1: this very content is there; 0: nothing is; -EEXIST: another object is. */
int object_present(struct object_http *h, const struct pointer_uri *uri,
		   uint64_t size, const struct digest *want,
		   const struct op *op, struct error **errp);

/* A piece of another feed. */
struct slice_feed {
	struct feed feed;
	struct feed *inner;
	uint64_t off;
};
void slice_feed_init(struct slice_feed *f, struct feed *inner, uint64_t off,
		     uint64_t size);

/* Upload in one request: @c without body; the rest is filled in. An object
 * that is there by then is -ESTALE or -EEXIST: see object_put_end(). */
int object_put_whole(struct object_http *h, const struct object_call *c,
		     struct feed *feed, const struct digest *sha256,
		     const struct op *op, struct error **errp);
/* The end of a put() whose upload returned @r with *@take_err: one that met
 * another object (-ESTALE, -EEXIST) looks whether that is the same. */
int object_put_end(struct object_http *h, const struct pointer_uri *uri,
		   uint64_t size, const struct digest *sha256, int r,
		   const struct op *op, struct error **take_err,
		   struct error **errp);

/* Hash and MD5 (if this machine's OpenSSL has it) of a piece of @feed; what
 * goes through is added to @whole. @md5 gets 16 bytes. */
int object_hash_piece(struct feed *feed, uint64_t off, uint64_t size,
		      struct hasher *whole, struct digest *ret_sha256,
		      unsigned char md5[16], bool *ret_has_md5,
		      const struct op *op, struct error **errp);

/* Pairs of a request, in the order in which they are added. */
struct object_pairs {
	struct sign_pair v[OBJECT_PAIRS_MAX];
	size_t n;
};
static inline void object_pair(struct object_pairs *p, const char *name,
			       const char *value)
{
	if (value && p->n < OBJECT_PAIRS_MAX)
		p->v[p->n++] = (struct sign_pair){name, value};
}

/* object_http_wire.c */

const char *object_method(enum http_method m);
/* "host" or "host:port", as libcurl sends it; heap. */
char *object_host_field(const struct http_url *u);
/* All but host and content-type, which others write. */
void object_wire_fields(struct object_wire *w, const struct object_pairs *p);
/* What is signed for the body; @nothing is the digest of none. */
const char *object_payload(const struct object_call *c,
			   const struct digest_hex *nothing);
/* The value of Authorization in the AWS4 family; @path raw, heap. */
char *object_sign(const struct object_call *c, const char *path,
		  const struct object_pairs *headers, const char *payload,
		  const struct sign_scope *scope);
/* Seconds since 1970 by the store's clock, as far as it is known. */
int64_t object_clock(const struct object_http *h);

/* object_http_words.c: what a store's own error documents say. */
struct object_said {
	char code[64];
	char words[301];
};
void object_said_xml(const struct http_response *r, struct object_said *ret);
void object_said_json(const struct http_response *r, struct object_said *ret);
/* The usual error for a status, with what the store said: the attempt. */
enum attempt object_refuse(const struct object_call *c,
			   const struct http_response *r,
			   const struct object_said *said, struct error **errp);
/* An object in an archive tier: what to do about it. */
enum attempt object_archived(const struct object_call *c, const char *hint,
			     struct error **errp);
/* "etag" as a validator; "" when weak or too long. */
void object_etag(const struct http_response *r, char ret[128]);
/* Our own metadata: 64 hex digits in the header @name. */
void object_claim(const struct http_response *r, const char *name,
		  struct object_info *info);
/* Size of the object that HEAD was answered for; -EPROTO when not said. */
int object_length(const struct http_response *r, const char *what,
		  uint64_t *ret, struct error **errp);

#endif
