/*
 * Uploads. A blob of many blocks is there only once their list is written; the
 * name of a block says what is in it, so what a broken upload left is used by
 * the next one and nothing has to be taken back.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/map.h"
#include "storage/azure_internal.h"
#include "storage/xml_text.h"

#define BLOCKS_AIM ((uint64_t)45000) /* of the 50,000 there may be */
#define NAME_LEN   30 /* of a block, before base64: all are of one length */
#define ID_MAX     64

struct blocks {
	struct azure *az;
	const struct pointer_uri *uri;
	struct feed *feed;
	struct digest_hex sha256;
	uint64_t block_size;
	struct map there; /* ids of blocks that wait at the store */
	struct strbuf list;
	struct hasher *whole;
};

static void blocks_release(struct blocks *b)
{
	map_release(&b->there);
	strbuf_release(&b->list);
	hasher_free(b->whole);
}
#define cleanup_blocks __attribute__((cleanup(blocks_release)))

static char *block_id(unsigned i, const struct digest *hash)
{
	struct strbuf sb = STRBUF_INIT;
	char name[NAME_LEN + 1];

	snprintf(name, sizeof(name), "%05u-%.24s", i, digest_to_hex(hash).str);
	base64_encode(&sb, name, NAME_LEN);
	return strbuf_steal(&sb);
}

/* What an earlier upload left; nothing when it may not be asked. */
static void list_blocks(struct blocks *b, const struct op *op)
{
	static const struct sign_pair query[] = {
		{"blocklisttype", "uncommitted"}, {"comp", "blocklist"}};
	cleanup_http_response struct http_response r = {.retry_after_ms = -1};
	const struct object_call c = {
		.uri = b->uri,
		.query = query,
		.n_query = 2,
		.max_body = (uint64_t)16 << 20,
	};
	struct xml_span rest, one;
	char id[ID_MAX];

	if (object_call(&b->az->http, &c, &r, op, NULL) < 0)
		return;
	rest = (struct xml_span){r.body, r.body_len};
	while (rest.n && xml_find(rest, "Block", &one, &rest))
		if (xml_text(one, "Name", id, sizeof(id)))
			map_put_str(&b->there, id, b);
}

static int send_block(struct blocks *b, const char *id, uint64_t off,
		      uint64_t size, const unsigned char *md5,
		      const struct op *op, struct error **errp)
{
	cleanup_strbuf struct strbuf md5_text = STRBUF_INIT;
	struct object_pairs query = {.n = 0}, headers = {.n = 0};
	struct slice_feed body;
	struct object_call c = {
		.method = HTTP_PUT,
		.uri = b->uri,
		.query = query.v,
		.headers = headers.v,
		.body = &body.feed,
		.max_body = OBJECT_ANSWER_MAX,
	};

	object_pair(&query, "blockid", id);
	object_pair(&query, "comp", "block");
	if (md5) {
		base64_encode(&md5_text, md5, 16);
		object_pair(&headers, "content-md5", strbuf_str(&md5_text));
	}
	c.n_query = query.n;
	c.n_headers = headers.n;
	slice_feed_init(&body, b->feed, off, size);
	return object_command(&b->az->http, &c, op, errp);
}

static int send_blocks(struct blocks *b, const struct op *op,
		       struct error **errp)
{
	unsigned i = 0;

	for (uint64_t off = 0; off < b->feed->size; off += b->block_size, i++) {
		uint64_t size = MIN(b->block_size, b->feed->size - off);
		cleanup_free char *id = NULL;
		unsigned char md5[16];
		struct digest hash;
		bool has_md5;
		int r = object_hash_piece(b->feed, off, size, b->whole, &hash,
					  md5, &has_md5, op, errp);

		if (r < 0)
			return r;
		id = block_id(i, &hash);
		strbuf_addf(&b->list, "<Latest>%s</Latest>", id);
		if (map_get_str(&b->there, id))
			continue;
		r = send_block(b, id, off, size, has_md5 ? md5 : NULL, op,
			       errp);
		if (r < 0)
			return error_prefix(errp, r, "block %u", i);
	}
	return 0;
}

static int commit(struct blocks *b, const struct op *op, struct error **errp)
{
	static const struct sign_pair query[] = {{"comp", "blocklist"}};
	struct object_pairs headers = {.n = 0};
	struct feed_mem body;
	struct object_call c = {
		.method = HTTP_PUT,
		.uri = b->uri,
		.query = query,
		.n_query = 1,
		.headers = headers.v,
		.body = &body.feed,
		.content_type = "application/xml",
		.max_body = OBJECT_ANSWER_MAX,
	};

	strbuf_adds(&b->list, "</BlockList>");
	feed_mem_init(&body, b->list.buf, b->list.len);
	object_pair(&headers, "if-none-match", "*");
	object_pair(&headers, "x-ms-blob-content-type",
		    "application/octet-stream");
	object_pair(&headers, "x-ms-meta-sha256", b->sha256.str);
	c.n_headers = headers.n;
	return object_command(&b->az->http, &c, op, errp);
}

static int put_blocks(struct azure *az, const struct pointer_uri *uri,
		      struct feed *feed, const struct digest *sha256,
		      const struct op *op, struct error **errp)
{
	const uint64_t mib = (uint64_t)1 << 20;
	cleanup_blocks struct blocks b = {
		.az = az,
		.uri = uri,
		.feed = feed,
		.sha256 = digest_to_hex(sha256),
		.block_size = MAX(az->block_size,
				  (feed->size / BLOCKS_AIM / mib + 1) * mib),
		.whole = hasher_new(),
	};
	struct digest got;
	int r;

	strbuf_adds(&b.list, "<?xml version=\"1.0\" encoding=\"utf-8\"?>"
			     "<BlockList>");
	list_blocks(&b, op);
	r = send_blocks(&b, op, errp);
	if (r < 0)
		return r;
	got = hasher_final(b.whole);
	if (!digest_equal(&got, sha256))
		return error_set(errp, EBADMSG,
				 "what is to be uploaded is '%s'",
				 digest_to_str(&got).str);
	return commit(&b, op, errp);
}

static int put_whole(struct azure *az, const struct pointer_uri *uri,
		     struct feed *feed, const struct digest *sha256,
		     const struct op *op, struct error **errp)
{
	struct digest_hex hex = digest_to_hex(sha256);
	struct object_pairs headers = {.n = 0};
	struct object_call c = {
		.method = HTTP_PUT,
		.uri = uri,
		.headers = headers.v,
		.content_type = "application/octet-stream",
	};

	object_pair(&headers, "if-none-match", "*");
	object_pair(&headers, "x-ms-blob-type", "BlockBlob");
	object_pair(&headers, "x-ms-meta-sha256", hex.str);
	c.n_headers = headers.n;
	return object_put_whole(&az->http, &c, feed, sha256, op, errp);
}

int azure_put(struct object_store *s, const struct pointer_uri *uri,
	      struct feed *feed, const struct digest *sha256,
	      const struct op *op, struct error **errp)
{
	struct object_http *h = object_http_of(s);
	struct azure *az = azure_of(h);
	struct error *err = NULL;
	int r = object_present(h, uri, feed->size, sha256, op, errp);

	if (r != 0)
		return r < 0 ? r : 0;
	if (feed->size > BLOCKS_AIM * ((uint64_t)4000 << 20))
		return error_set(errp, EFBIG, "a blob has at most 171 TiB");
	r = feed->size > az->whole_max
		    ? put_blocks(az, uri, feed, sha256, op, &err)
		    : put_whole(az, uri, feed, sha256, op, &err);
	return object_put_end(h, uri, feed->size, sha256, r, op, &err, errp);
}
