#include "engine/register.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/path.h"
#include "cache/cache.h"

/* Hashes a stream as a whole and by chunk. */
struct hash_sink {
	struct sink sink;
	struct hasher *whole, *chunk;
	struct digest *chunks; /* room for all; NULL: there is only one */
	size_t n, cap;
	uint64_t seen;
};

static void end_chunk(struct hash_sink *h)
{
	if (h->n < h->cap)
		h->chunks[h->n++] = hasher_final(h->chunk);
}

static int hash_write(struct sink *s, const void *buf, size_t n,
		      struct error **errp)
{
	struct hash_sink *h = (struct hash_sink *)s;
	const char *p = buf;

	hasher_update(h->whole, p, n);
	while (h->chunks && n) {
		size_t room = CHUNK_SIZE - (size_t)(h->seen % CHUNK_SIZE);
		size_t take = MIN(n, room);

		hasher_update(h->chunk, p, take);
		h->seen += take;
		if (take == room)
			end_chunk(h);
		p += take;
		n -= take;
	}
	return 0;
}

static int read_object(struct object_store *store,
		       const struct pointer_uri *uri,
		       const struct object_info *info, struct digest *ret,
		       struct digest **ret_chunks, uint32_t *ret_n,
		       const struct op *op, struct error **errp)
{
	cleanup_hasher struct hasher *whole = hasher_new();
	cleanup_hasher struct hasher *chunk = hasher_new();
	cleanup_free struct digest *chunks = NULL;
	struct hash_sink h = {
		.sink = {hash_write}, .whole = whole, .chunk = chunk};
	uint64_t n = info->size ? (info->size - 1) / CHUNK_SIZE + 1 : 0;
	int r;

	if (n > UINT32_MAX)
		return error_set(errp, EINVAL, "the object is too large");
	if (n > 1) {
		chunks = malloc(n * sizeof(*chunks));
		if (!chunks)
			return error_set(errp, ENOMEM,
					 "no memory for %llu chunks",
					 (unsigned long long)n);
		h.chunks = chunks;
		h.cap = n;
	}
	r = store->ops->read(store, uri, info->validator, 0, info->size,
			     &h.sink, op, errp);
	if (r < 0)
		return r;
	if (h.chunks && info->size % CHUNK_SIZE)
		end_chunk(&h);
	*ret = hasher_final(whole);
	*ret_chunks = steal_ptr(&chunks);
	*ret_n = (uint32_t)h.n;
	return 0;
}

/* In the folder already, and not to be compared. */
static bool is_known(const struct inventory *inv, const char *path)
{
	cleanup_free char *nfc = NULL;

	return path_to_nfc(path, strlen(path), &nfc, NULL) == 0 &&
	       inventory_find(inv, nfc);
}

static int add_object(struct object_store *store, const struct pointer_uri *uri,
		      const struct plan_external *x, bool read,
		      const struct bundle_file *bf, struct inventory *inv,
		      const struct op *op, struct error **errp)
{
	cleanup_free struct digest *chunks = NULL;
	struct object_info info = {0};
	struct digest digest = {{0}};
	uint32_t n = 0;
	int r;

	if (!read && is_known(inv, x->path))
		return 0;
	r = store->ops->stat(store, uri, &info, op, errp);
	if (r < 0)
		return r;
	if (!info.size)
		return error_set(errp, EINVAL, "the object is empty");
	if (read)
		r = read_object(store, uri, &info, &digest, &chunks, &n, op,
				errp);
	if (r < 0)
		return r;
	return inventory_add(inv, bf, x->path, info.size, &digest, &chunks, n,
			     errp);
}

/* No store to ask: what the folder has is taken for what is there. A reader
 * will see if it is not, since the digest is pinned. */
static int trust_folder(const struct plan_external *x, const char *uri,
			struct inventory *inv, struct error **errp)
{
	if (!is_known(inv, x->path))
		return error_set(errp, EINVAL,
				 "nothing here can read it, and the folder has "
				 "no such file");
	strv_append(&inv->warnings,
		    xasprintf("nothing here can read '%s': '%s' is registered "
			      "as it is in the folder",
			      uri, x->path));
	return 0;
}

int register_external(const struct object_stores *stores,
		      const struct plan_external *x, bool read,
		      const struct bundle_file *bf, struct inventory *inv,
		      const struct op *op, struct error **errp)
{
	cleanup_pointer_uri struct pointer_uri uri = {0};
	cleanup_free char *normal = NULL;
	struct object_store *store;
	int r = pointer_uri_normalize(x->uri, &normal, errp);

	if (r == 0)
		r = pointer_uri_parse(normal, strlen(normal), &uri, errp);
	if (r < 0)
		return error_prefix(errp, r, "--external '%s'", x->path);
	store = object_stores_for(stores, &uri, NULL);
	r = store ? add_object(store, &uri, x, read, bf, inv, op, errp)
		  : trust_folder(x, normal, inv, errp);
	return error_prefix(errp, r, "--external '%s': '%s'", x->path, normal);
}
