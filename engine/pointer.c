#include "engine/pointer.h"

#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "base/path.h"
#include "base/uri.h"

#define POINTER_VERSION    1
#define PROVENANCE_VERSION 1

void pointer_release(struct pointer *p)
{
	free(p->original_path);
	free(p->layer);
	free(p->uri);
	free(p->tier);
	free(p->local_path);
	*p = (struct pointer){0};
}

static void put_str_or_null(struct json_writer *w, const char *key,
			    const char *s)
{
	if (s && *s)
		json_put_str(w, key, s);
	else
		json_put_null(w, key);
}

void pointer_write(const struct pointer *p, struct strbuf *out)
{
	struct json_writer w;

	json_writer_init(&w, out);
	json_begin_object(&w, NULL);
	json_put_str(&w, "created_at", "1970-01-01T00:00:00Z");
	json_put_bool(&w, "fulfilled", p->fulfilled);
	json_put_str(&w, "layer", p->layer);
	put_str_or_null(&w, "local_path", p->local_path);
	json_put_str(&w, "original_path", p->original_path);
	json_put_int(&w, "schema_version", POINTER_VERSION);
	json_put_str(&w, "sha256", digest_to_hex(&p->sha256).str);
	json_put_int(&w, "size", (int64_t)p->size);
	put_str_or_null(&w, "tier", p->tier);
	json_put_str(&w, "uri", p->uri);
	json_end_object(&w);
}

static char *str_or_empty(const struct json *v, const char *key)
{
	const char *s = json_str(json_get(v, key));

	return xstrdup(s ? s : "");
}

static int check(const struct pointer *p, struct error **errp)
{
	const char *flaw =
		path_flaw(p->original_path, strlen(p->original_path));
	struct pointer_uri uri = {0};
	int r;

	if (flaw)
		return error_set(errp, EINVAL, "original_path: %s", flaw);
	r = pointer_uri_parse(p->uri, strlen(p->uri), &uri, errp);
	pointer_uri_release(&uri);
	return r;
}

static int read_members(const struct json *v, struct pointer *p,
			struct error **errp)
{
	const char *path, *uri, *hex, *layer;
	int r = json_need_str(v, "original_path", &path, errp);

	if (r >= 0)
		r = json_need_str(v, "uri", &uri, errp);
	if (r >= 0)
		r = json_need_str(v, "layer", &layer, errp);
	if (r >= 0)
		r = json_need_str(v, "sha256", &hex, errp);
	if (r >= 0)
		r = digest_parse_hex(hex, strlen(hex), &p->sha256, errp);
	if (r >= 0)
		r = json_need_size(v, "size", &p->size, errp);
	if (r < 0)
		return r;
	p->original_path = xstrdup(path);
	p->uri = xstrdup(uri);
	p->layer = xstrdup(layer);
	p->tier = str_or_empty(v, "tier");
	if (json_str(json_get(v, "local_path")))
		p->local_path = str_or_empty(v, "local_path");
	p->fulfilled = json_bool(json_get(v, "fulfilled"), false);
	return check(p, errp);
}

int pointer_parse(const void *buf, size_t n, struct pointer *ret,
		  struct error **errp)
{
	cleanup_json struct json *v = NULL;
	struct pointer p = {0};
	int64_t version = 0;
	int r = json_parse(buf, n, &JSON_LIMITS_DOC, &v, errp);

	if (r < 0)
		return error_prefix(errp, r, "pointer");
	json_int(json_get(v, "schema_version"), &version);
	if (version != POINTER_VERSION)
		return error_set_kind(errp, ERROR_MEDIA_TYPE, EPROTONOSUPPORT,
				      "pointer: unknown schema_version");
	r = read_members(v, &p, errp);
	if (r < 0) {
		pointer_release(&p);
		return error_prefix(errp, r, "pointer");
	}
	*ret = p;
	return 0;
}

char *pointer_path(const char *file_path)
{
	return xasprintf(POINTER_FOLDER "/%s.json", file_path);
}

int pointer_of_node(const struct bundle *b, const struct root_role *role,
		    const struct tree_node *n, const struct tree_source *src,
		    const char *path, struct pointer *ret, struct error **errp)
{
	static const char *const tiers[] = {
		[TREE_TIER_NONE] = "",
		[TREE_TIER_HOT] = "hot",
		[TREE_TIER_COOL] = "cool",
		[TREE_TIER_ARCHIVE] = "archive",
	};
	uint32_t layer;

	/* The tree does not know how many layers its role has. */
	if (n->layer >= role->n_layers)
		return error_set(errp, EBADMSG,
				 "'%s' names layer %u of a role of %zu", path,
				 n->layer, role->n_layers);
	layer = role->layers[n->layer];
	*ret = (struct pointer){
		.original_path = xstrdup(path),
		.layer = xstrdup(b->root.layers[layer].name),
		.uri = xstrndup(src->uri, src->uri_len),
		.tier = xstrdup(tiers[src->tier]),
		.sha256 = *n->digest,
		.size = n->size,
	};
	return 0;
}

bool pointer_same_target(const struct pointer *a, const struct pointer *b)
{
	return !strcmp(a->original_path, b->original_path) &&
	       !strcmp(a->layer, b->layer) && !strcmp(a->uri, b->uri) &&
	       !strcmp(a->tier, b->tier) && a->size == b->size &&
	       digest_equal(&a->sha256, &b->sha256);
}

void provenance_write(const struct bundle *b, const struct root_role *role,
		      struct strbuf *out)
{
	cleanup_free char *ref = reference_str(&b->ref);
	struct json_writer w;

	json_writer_init(&w, out);
	json_begin_object(&w, NULL);
	json_begin_array(&w, "layers");
	for (size_t i = 0; i < role->n_layers; i++) {
		const struct root_layer *l = &b->root.layers[role->layers[i]];

		json_begin_object(&w, NULL);
		json_put_str(&w, "name", l->name);
		json_put_str(&w, "tree", digest_to_str(&l->tree.digest).str);
		json_end_object(&w);
	}
	json_end_array(&w);
	json_put_str(&w, "manifest", digest_to_str(&b->digest).str);
	json_put_str(&w, "reference", ref);
	json_put_str(&w, "role", role->name);
	json_put_int(&w, "schema_version", PROVENANCE_VERSION);
	json_end_object(&w);
}
