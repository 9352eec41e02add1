/*
 * Uploads in parts.
 *
 *   an unfinished upload of this key is there   go on with it: parts whose MD5
 *                                               and size are ours are kept
 *   none, or it may not be listed               begin one
 *   all parts are there                         complete it
 *   the feed fails or is not what it should be  abort it
 *   the network fails                           leave it for the next run
 *
 * Each part is read twice: its SHA-256 goes into the signature, so the store
 * checks what arrives.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/s3_internal.h"
#include "storage/xml_text.h"

#define PARTS_MAX 10000
#define PARTS_AIM 9000
#define PAGES_MAX 11
#define ID_MAX    1024
#define ETAG_MAX  128
#define ABORT_MS  5000

struct part {
	char etag[ETAG_MAX];
	uint64_t size;
};

struct multipart {
	struct s3 *s;
	const struct pointer_uri *uri;
	struct feed *feed;
	struct digest_hex sha256;
	uint64_t part_size;
	unsigned n;
	char id[ID_MAX];
	struct part *parts; /* n; etag "": not there yet */
	struct hasher *whole;
};

static void multipart_release(struct multipart *m)
{
	hasher_free(m->whole);
	free(m->parts);
}
#define cleanup_multipart __attribute__((cleanup(multipart_release)))

static int get_xml(struct multipart *m, bool bucket,
		   const struct object_pairs *query, struct http_response *ret,
		   const struct op *op, struct error **errp)
{
	const struct object_call c = {
		.uri = m->uri,
		.bucket = bucket,
		.query = query->v,
		.n_query = query->n,
		.max_body = OBJECT_ANSWER_MAX,
	};

	return object_call(&m->s->http, &c, ret, op, errp);
}

/* The last upload of exactly this key, if we may see it. */
static bool find_upload(struct multipart *m, const struct op *op)
{
	cleanup_http_response struct http_response r = {.retry_after_ms = -1};
	struct object_pairs query = {.n = 0};
	struct xml_span doc, upload;
	cleanup_free char *key = xmalloc(4096);
	bool found = false;

	object_pair(&query, "uploads", "");
	object_pair(&query, "prefix", m->uri->key);
	if (get_xml(m, true, &query, &r, op, NULL) < 0)
		return false;
	doc = (struct xml_span){r.body, r.body_len};
	while (doc.n && xml_find(doc, "Upload", &upload, &doc))
		if (xml_text(upload, "Key", key, 4096) &&
		    strcmp(key, m->uri->key) == 0 &&
		    xml_text(upload, "UploadId", m->id, ID_MAX))
			found = true;
	return found;
}

static void take_part(struct multipart *m, struct xml_span part)
{
	char number[16], size[24];
	char etag[ETAG_MAX];
	unsigned long i;

	if (!xml_text(part, "PartNumber", number, sizeof(number)) ||
	    !xml_text(part, "Size", size, sizeof(size)) ||
	    !xml_text(part, "ETag", etag, sizeof(etag)))
		return;
	i = strtoul(number, NULL, 10);
	if (i < 1 || i > m->n)
		return;
	memcpy(m->parts[i - 1].etag, etag, sizeof(etag));
	m->parts[i - 1].size = strtoull(size, NULL, 10);
}

/* What is there of it; false when that cannot be told. */
static bool list_parts(struct multipart *m, const struct op *op)
{
	char marker[16] = "", more[8] = "true";

	for (int page = 0; page < PAGES_MAX && !strcmp(more, "true"); page++) {
		cleanup_http_response struct http_response r = {
			.retry_after_ms = -1};
		struct object_pairs query = {.n = 0};
		struct xml_span doc, part, rest;

		object_pair(&query, "uploadId", m->id);
		object_pair(&query, "part-number-marker",
			    marker[0] ? marker : NULL);
		if (get_xml(m, false, &query, &r, op, NULL) < 0)
			return false;
		doc = rest = (struct xml_span){r.body, r.body_len};
		while (rest.n && xml_find(rest, "Part", &part, &rest))
			take_part(m, part);
		if (!doc.n || !xml_text(doc, "IsTruncated", more, sizeof(more)))
			more[0] = '\0';
		if (doc.n && !xml_text(doc, "NextPartNumberMarker", marker,
				       sizeof(marker)))
			more[0] = '\0';
	}
	return true;
}

static int begin(struct multipart *m, const struct op *op, struct error **errp)
{
	cleanup_http_response struct http_response r = {.retry_after_ms = -1};
	struct object_pairs query = {.n = 0}, headers = {.n = 0};
	struct object_call c = {
		.method = HTTP_POST,
		.uri = m->uri,
		.query = query.v,
		.headers = headers.v,
		.content_type = "application/octet-stream",
		.max_body = OBJECT_ANSWER_MAX,
	};
	int rc;

	object_pair(&query, "uploads", "");
	object_pair(&headers, "x-amz-meta-sha256", m->sha256.str);
	c.n_query = query.n;
	c.n_headers = headers.n;
	rc = object_call(&m->s->http, &c, &r, op, errp);
	if (rc < 0)
		return rc;
	if (!r.body_len || !xml_text((struct xml_span){r.body, r.body_len},
				     "UploadId", m->id, ID_MAX))
		return error_set(errp, EPROTO, "the store began no upload");
	memset(m->parts, 0, m->n * sizeof(*m->parts));
	return 0;
}

/* An ETag of a part is its MD5 unless the store encrypts with its own keys. */
static bool is_there(const struct part *p, uint64_t size,
		     const unsigned char md5[16])
{
	const char *s = p->etag + (p->etag[0] == '"');
	char hex[33];

	for (int i = 0; i < 16; i++)
		snprintf(hex + 2 * i, 3, "%02x", md5[i]);
	return p->size == size && strncmp(s, hex, 32) == 0 &&
	       strlen(s) == 32 + (p->etag[0] == '"');
}

static int send_part(struct multipart *m, unsigned i, uint64_t off,
		     uint64_t size, const struct digest *hash,
		     const struct op *op, struct error **errp)
{
	cleanup_http_response struct http_response r = {.retry_after_ms = -1};
	struct digest_hex hex = digest_to_hex(hash);
	struct object_pairs query = {.n = 0};
	struct slice_feed body;
	char number[16];
	struct object_call c = {
		.method = HTTP_PUT,
		.uri = m->uri,
		.query = query.v,
		.body = &body.feed,
		.body_sha256 = hex.str,
		.max_body = OBJECT_ANSWER_MAX,
	};
	const char *etag;
	int rc;

	snprintf(number, sizeof(number), "%u", i + 1);
	object_pair(&query, "partNumber", number);
	object_pair(&query, "uploadId", m->id);
	c.n_query = query.n;
	slice_feed_init(&body, m->feed, off, size);
	rc = object_call(&m->s->http, &c, &r, op, errp);
	if (rc < 0)
		return error_prefix(errp, rc, "part %u of %u", i + 1, m->n);
	etag = http_response_header(&r, "etag");
	if (!etag || strlen(etag) >= ETAG_MAX || strpbrk(etag, "<>&"))
		return error_set(errp, EPROTO, "part %u got no ETag", i + 1);
	memcpy(m->parts[i].etag, etag, strlen(etag) + 1);
	return 0;
}

static int send_parts(struct multipart *m, const struct op *op,
		      struct error **errp)
{
	for (unsigned i = 0; i < m->n; i++) {
		uint64_t off = i * m->part_size;
		uint64_t size = MIN(m->part_size, m->feed->size - off);
		unsigned char md5[16];
		struct digest hash;
		bool has_md5;
		int r = object_hash_piece(m->feed, off, size, m->whole, &hash,
					  md5, &has_md5, op, errp);

		if (r < 0)
			return r;
		if (has_md5 && is_there(&m->parts[i], size, md5))
			continue;
		r = send_part(m, i, off, size, &hash, op, errp);
		if (r < 0)
			return r;
	}
	return 0;
}

static int complete_with(struct multipart *m, const char *text, bool plain,
			 const struct op *op, struct error **errp)
{
	cleanup_http_response struct http_response r = {.retry_after_ms = -1};
	struct digest hash = digest_of_str(text);
	struct digest_hex hex = digest_to_hex(&hash);
	struct object_pairs query = {.n = 0}, headers = {.n = 0};
	struct feed_mem body;
	struct object_call c = {
		.method = HTTP_POST,
		.uri = m->uri,
		.query = query.v,
		.headers = headers.v,
		.body = &body.feed,
		.body_sha256 = hex.str,
		.content_type = "application/xml",
		.max_body = OBJECT_ANSWER_MAX,
	};
	struct object_said said;
	int rc;

	feed_mem_init(&body, text, strlen(text));
	object_pair(&query, "uploadId", m->id);
	if (!plain)
		object_pair(&headers, "if-none-match", "*");
	c.n_query = query.n;
	c.n_headers = headers.n;
	rc = object_call(&m->s->http, &c, &r, op, errp);
	if (rc < 0)
		return rc;
	/* A success is announced before it is one: the body has the truth. */
	object_said_xml(&r, &said);
	if (said.code[0])
		return error_set(errp, EIO,
				 "the store could not join the "
				 "parts (%s: %s)",
				 said.code, said.words);
	return 0;
}

static int complete(struct multipart *m, const struct op *op,
		    struct error **errp)
{
	cleanup_strbuf struct strbuf sb = STRBUF_INIT;
	bool plain = atomic_load(&m->s->plain_puts);
	struct error *err = NULL;
	int r;

	strbuf_adds(&sb, "<CompleteMultipartUpload>");
	for (unsigned i = 0; i < m->n; i++)
		strbuf_addf(&sb,
			    "<Part><PartNumber>%u</PartNumber><ETag>%s</ETag>"
			    "</Part>",
			    i + 1, m->parts[i].etag);
	strbuf_adds(&sb, "</CompleteMultipartUpload>");
	r = complete_with(m, strbuf_str(&sb), plain, op, &err);
	if (r == -EOPNOTSUPP && !plain) {
		atomic_store(&m->s->plain_puts, true);
		error_free(steal_ptr(&err));
		r = complete_with(m, strbuf_str(&sb), true, op, &err);
	}
	return error_propagate(errp, &err, r);
}

static void abort_upload(struct multipart *m)
{
	struct object_pairs query = {.n = 0};
	const struct op brief = {.deadline_ns = time_deadline_ms(ABORT_MS)};
	struct object_call c = {
		.method = HTTP_DELETE,
		.uri = m->uri,
		.query = query.v,
		.max_body = OBJECT_ANSWER_MAX,
	};

	object_pair(&query, "uploadId", m->id);
	c.n_query = query.n;
	object_command(&m->s->http, &c, &brief, NULL);
}

/* Begin or go on, send what is missing, check the whole. */
static int upload(struct multipart *m, const struct digest *sha256,
		  const struct op *op, struct error **errp)
{
	struct digest got;
	int r = 0;

	if (!find_upload(m, op) || !list_parts(m, op))
		r = begin(m, op, errp);
	if (r == 0)
		r = send_parts(m, op, errp);
	if (r < 0)
		return r;
	got = hasher_final(m->whole);
	if (!digest_equal(&got, sha256))
		return error_set(errp, EBADMSG,
				 "what is to be uploaded is '%s'",
				 digest_to_str(&got).str);
	return complete(m, op, errp);
}

/* Trouble that a later try would meet again. */
static bool is_ours(int r)
{
	return r != -ETIMEDOUT && r != -ECANCELED && r != -EIO &&
	       r != -EACCES && r != -ENOTCONN;
}

int s3_put_parts(struct s3 *s, const struct pointer_uri *uri, struct feed *feed,
		 const struct digest *sha256, const struct op *op,
		 struct error **errp)
{
	const uint64_t mib = (uint64_t)1 << 20;
	uint64_t aim = (feed->size / PARTS_AIM / mib + 1) * mib;
	cleanup_multipart struct multipart m = {
		.s = s,
		.uri = uri,
		.feed = feed,
		.sha256 = digest_to_hex(sha256),
		.part_size =
			MAX(s->part_size,
			    feed->size / PARTS_AIM < s->part_size ? 0 : aim),
		.whole = hasher_new(),
	};
	int r;

	m.n = (unsigned)((feed->size + m.part_size - 1) / m.part_size);
	if (m.n > PARTS_MAX)
		return error_set(errp, EFBIG, "more than %d parts", PARTS_MAX);
	m.parts = xcalloc(m.n, sizeof(*m.parts));
	r = upload(&m, sha256, op, errp);
	if (r < 0 && m.id[0] && is_ours(r))
		abort_upload(&m);
	return r;
}
