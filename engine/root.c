#include "engine/root.h"

#include <assert.h>
#include <errno.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/path.h"
#include "cache/cache.h"

static int bad(struct error **errp, const char *what)
{
	return error_set(errp, EINVAL, "root: %s", what);
}

static int unknown(struct error **errp, const char *what, const char *which)
{
	return error_set_kind(errp, ERROR_MEDIA_TYPE, EPROTONOSUPPORT,
			      "root: %s '%s' is not known here", what, which);
}

static void tree_ref_release(struct tree_ref *t)
{
	free(t->chunks);
	*t = (struct tree_ref){0};
}

void root_release(struct root *r)
{
	for (size_t i = 0; i < r->n_layers; i++) {
		free(r->layers[i].name);
		tree_ref_release(&r->layers[i].tree);
	}
	for (size_t i = 0; i < r->n_roles; i++) {
		free(r->roles[i].name);
		free(r->roles[i].layers);
		tree_ref_release(&r->roles[i].tree);
	}
	free(r->layers);
	free(r->roles);
	*r = (struct root){0};
}

static bool tree_ref_equal(const struct tree_ref *a, const struct tree_ref *b)
{
	return digest_equal(&a->digest, &b->digest) && a->size == b->size &&
	       a->n_chunks == b->n_chunks &&
	       (!a->n_chunks || !memcmp(a->chunks, b->chunks,
					a->n_chunks * sizeof(*a->chunks)));
}

/* A member that must be this number, or nobody here can read the bundle. */
static int parse_fixed(const struct json *v, const char *key, uint64_t want,
		       struct error **errp)
{
	char text[24];
	uint64_t n;
	int r;

	r = json_need_size(v, key, &n, errp);
	if (r < 0 || n == want)
		return r;
	snprintf(text, sizeof(text), "%llu", (unsigned long long)n);
	return unknown(errp, key, text);
}

static int parse_requires(const struct json *v, struct error **errp)
{
	const struct json *list, *first;
	int r;

	r = json_need_array(v, "requires", &list, errp);
	if (r < 0)
		return r;
	first = json_first(list);
	if (!first)
		return 0;
	if (!json_str(first))
		return bad(errp, "'requires' holds something that is no name");
	return unknown(errp, "feature", json_str(first));
}

static int parse_chunks(const struct json *v, struct tree_ref *t,
			struct error **errp)
{
	uint64_t want =
		t->size > CHUNK_SIZE ? (t->size - 1) / CHUNK_SIZE + 1 : 0;
	const struct json *list = json_get(v, "chunks"), *e;
	int r;

	if (!want)
		return list ? bad(errp, "a small tree needs no chunk list") : 0;
	if (!list || json_type(list) != JSON_ARRAY || json_count(list) != want)
		return bad(errp, "a tree has the wrong number of chunks");
	t->chunks = xcalloc(want, sizeof(*t->chunks));
	for (e = json_first(list); e; e = json_next(e)) {
		const char *s = json_str(e);

		if (!s)
			return bad(errp, "a chunk is no digest");
		r = digest_parse(s, strlen(s), &t->chunks[t->n_chunks++], errp);
		if (r < 0)
			return r;
	}
	return 0;
}

static int parse_tree_ref(const struct json *v, struct tree_ref *t,
			  struct error **errp)
{
	const struct json *o;
	const char *s;
	int r;

	r = json_need_object(v, "tree", &o, errp);
	if (r < 0)
		return r;
	r = json_need_str(o, "mediaType", &s, errp);
	if (r < 0)
		return r;
	if (strcmp(s, MEDIA_TYPE_TREE) != 0)
		return unknown(errp, "tree of type", s);
	r = json_need_str(o, "digest", &s, errp);
	if (r < 0)
		return r;
	r = digest_parse(s, strlen(s), &t->digest, errp);
	if (r < 0)
		return r;
	r = json_need_size(o, "size", &t->size, errp);
	if (r < 0)
		return r;
	return parse_chunks(o, t, errp);
}

static int parse_name(const struct json *v, char **ret, struct error **errp)
{
	const char *name;
	int r;

	r = json_need_str(v, "name", &name, errp);
	if (r < 0)
		return r;
	if (!layer_name_valid(name))
		return error_set(errp, EINVAL,
				 "root: '%s' cannot name a layer or role",
				 name);
	*ret = xstrdup(name);
	return 0;
}

static int parse_places(const struct json *v, struct root_layer *l,
			struct error **errp)
{
	const struct json *o;
	int r;

	r = json_need_object(v, "bytesByPlace", &o, errp);
	if (r >= 0)
		r = json_need_size(o, "blob", &l->bytes_blob, errp);
	if (r >= 0)
		r = json_need_size(o, "pack", &l->bytes_pack, errp);
	if (r >= 0)
		r = json_need_size(o, "external", &l->bytes_external, errp);
	return r;
}

static int parse_counts(const struct json *v, uint64_t *files, uint64_t *bytes,
			struct error **errp)
{
	int r = json_need_size(v, "files", files, errp);

	return r < 0 ? r : json_need_size(v, "bytes", bytes, errp);
}

static int parse_layer(const struct json *v, struct root *root,
		       struct error **errp)
{
	struct root_layer *l = &root->layers[root->n_layers++];
	int r;

	r = parse_name(v, &l->name, errp);
	if (r < 0)
		return r;
	for (size_t i = 0; i + 1 < root->n_layers; i++)
		if (!strcmp(root->layers[i].name, l->name))
			return bad(errp, "two layers have one name");
	r = parse_counts(v, &l->files, &l->bytes, errp);
	if (r < 0)
		return r;
	r = parse_places(v, l, errp);
	if (r < 0)
		return r;
	return parse_tree_ref(v, &l->tree, errp);
}

/* An array member that is not empty. */
static int need_some(const struct json *v, const char *key, const char *none,
		     const struct json **ret, struct error **errp)
{
	int r = json_need_array(v, key, ret, errp);

	return r < 0 || json_count(*ret) ? r : bad(errp, none);
}

static int parse_each(const struct json *list, struct root *root,
		      int (*parse)(const struct json *v, struct root *root,
				   struct error **errp),
		      struct error **errp)
{
	int r = 0;

	for (const struct json *e = json_first(list); e && r >= 0;
	     e = json_next(e))
		r = parse(e, root, errp);
	return r;
}

static int parse_layers(const struct json *v, struct root *root,
			struct error **errp)
{
	const struct json *list;
	int r;

	r = need_some(v, "layers", "there are no layers", &list, errp);
	if (r < 0)
		return r;
	/* No file is in two layers, so each has a tree of its own. */
	if (json_count(list) > MAX_TREES)
		return bad(errp, "there are more than 32 layers");
	root->layers = xcalloc(json_count(list), sizeof(*root->layers));
	return parse_each(list, root, parse_layer, errp);
}

static int find_layer(const struct root *root, const char *name, uint32_t *ret,
		      struct error **errp)
{
	for (size_t i = 0; i < root->n_layers; i++) {
		if (strcmp(root->layers[i].name, name) != 0)
			continue;
		*ret = (uint32_t)i;
		return 0;
	}
	return error_set_kind(errp, ERROR_ROLE, EINVAL,
			      "root: a role names layer '%s', which is not "
			      "there",
			      name);
}

static int parse_role_layers(const struct json *v, const struct root *root,
			     struct root_role *role, struct error **errp)
{
	const struct json *list, *e;
	int r;

	r = need_some(v, "layers", "a role has no layers", &list, errp);
	if (r < 0)
		return r;
	role->layers = xcalloc(json_count(list), sizeof(*role->layers));
	for (e = json_first(list); e; e = json_next(e)) {
		uint32_t at = 0;

		if (!json_str(e))
			return bad(errp, "a role's layer is no name");
		r = find_layer(root, json_str(e), &at, errp);
		if (r < 0)
			return r;
		if (role->n_layers && role->layers[role->n_layers - 1] >= at)
			return bad(errp, "a role's layers are out of order");
		role->layers[role->n_layers++] = at;
	}
	return 0;
}

static int parse_role(const struct json *v, struct root *root,
		      struct error **errp)
{
	struct root_role *role = &root->roles[root->n_roles++];
	int r;

	assert(root->layers); /* at least one, and parsed before */
	r = parse_name(v, &role->name, errp);
	if (r < 0)
		return r;
	if (root->n_roles > 1 && strcmp(role[-1].name, role->name) >= 0)
		return bad(errp, "roles are not sorted by name");
	r = parse_role_layers(v, root, role, errp);
	if (r < 0)
		return r;
	r = parse_tree_ref(v, &role->tree, errp);
	if (r < 0)
		return r;
	if (role->n_layers == 1 &&
	    !tree_ref_equal(&role->tree, &root->layers[role->layers[0]].tree))
		return bad(errp, "a role of one layer has another tree");
	return 0;
}

static int parse_roles(const struct json *v, struct root *root,
		       struct error **errp)
{
	const struct json *list;
	int r;

	r = need_some(v, "roles", "there are no roles", &list, errp);
	if (r < 0)
		return r;
	root->roles = xcalloc(json_count(list), sizeof(*root->roles));
	return parse_each(list, root, parse_role, errp);
}

struct distinct {
	const struct tree_ref *trees[MAX_TREES];
	size_t n;
};

static int distinct_add(struct distinct *d, const struct tree_ref *t,
			struct error **errp)
{
	for (size_t i = 0; i < d->n; i++) {
		if (!digest_equal(&d->trees[i]->digest, &t->digest))
			continue;
		return tree_ref_equal(d->trees[i], t)
			       ? 0
			       : bad(errp, "one tree is described in two ways");
	}
	if (d->n == MAX_TREES)
		return bad(errp, "there are more than 32 trees");
	d->trees[d->n++] = t;
	return 0;
}

static int check_trees(const struct root *root, struct error **errp)
{
	struct distinct d = {.n = 0};
	int r = 0;

	for (size_t i = 0; i < root->n_layers && r >= 0; i++)
		r = distinct_add(&d, &root->layers[i].tree, errp);
	for (size_t i = 0; i < root->n_roles && r >= 0; i++)
		r = distinct_add(&d, &root->roles[i].tree, errp);
	return r;
}

static int parse_plan_version(const struct json *v, struct root *root,
			      struct error **errp)
{
	uint64_t n;
	int r;

	r = json_need_size(v, "planVersion", &n, errp);
	if (r < 0)
		return r;
	if (!n || n > UINT32_MAX)
		return bad(errp, "impossible planVersion");
	root->plan_version = (uint32_t)n;
	return 0;
}

static int parse_totals(const struct json *v, struct root *root,
			struct error **errp)
{
	const struct json *o;
	int r;

	r = json_need_object(v, "totals", &o, errp);
	return r < 0 ? r : parse_counts(o, &root->files, &root->bytes, errp);
}

static int parse_members(const struct json *v, struct root *root,
			 struct error **errp)
{
	int r;

	/* What says that nobody here can read the rest comes first. */
	r = parse_fixed(v, "schemaVersion", 1, errp);
	if (r >= 0)
		r = parse_requires(v, errp);
	if (r >= 0)
		r = parse_fixed(v, "chunkSize", CHUNK_SIZE, errp);
	if (r >= 0)
		r = parse_fixed(v, "partSize", PART_SIZE, errp);
	if (r >= 0)
		r = parse_plan_version(v, root, errp);
	if (r >= 0)
		r = parse_layers(v, root, errp);
	if (r >= 0)
		r = parse_roles(v, root, errp);
	if (r >= 0)
		r = parse_totals(v, root, errp);
	return r < 0 ? r : check_trees(root, errp);
}

int root_parse(const void *p, size_t n, struct root *ret, struct error **errp)
{
	cleanup_root struct root root = {0};
	cleanup_json struct json *v = NULL;
	int r;

	r = json_parse(p, n, &JSON_LIMITS_DOC, &v, errp);
	if (r < 0)
		return error_prefix(errp, r, "root");
	if (json_type(v) != JSON_OBJECT)
		return bad(errp, "not an object");
	r = parse_members(v, &root, errp);
	if (r < 0)
		return r;
	*ret = root;
	root = (struct root){0};
	return 0;
}

static void put_size(struct json_writer *w, const char *key, uint64_t n)
{
	assert(n <= INT64_MAX);
	json_put_int(w, key, (int64_t)n);
}

static void write_tree_ref(struct json_writer *w, const struct tree_ref *t)
{
	json_begin_object(w, "tree");
	if (t->n_chunks) {
		json_begin_array(w, "chunks");
		for (uint32_t i = 0; i < t->n_chunks; i++)
			json_put_str(w, NULL, digest_to_str(&t->chunks[i]).str);
		json_end_array(w);
	}
	json_put_str(w, "digest", digest_to_str(&t->digest).str);
	json_put_str(w, "mediaType", MEDIA_TYPE_TREE);
	put_size(w, "size", t->size);
	json_end_object(w);
}

static void write_layer(struct json_writer *w, const struct root_layer *l)
{
	json_begin_object(w, NULL);
	put_size(w, "bytes", l->bytes);
	json_begin_object(w, "bytesByPlace");
	put_size(w, "blob", l->bytes_blob);
	put_size(w, "external", l->bytes_external);
	put_size(w, "pack", l->bytes_pack);
	json_end_object(w);
	put_size(w, "files", l->files);
	json_put_str(w, "name", l->name);
	write_tree_ref(w, &l->tree);
	json_end_object(w);
}

static void write_role(struct json_writer *w, const struct root *root,
		       const struct root_role *role)
{
	json_begin_object(w, NULL);
	json_begin_array(w, "layers");
	for (size_t i = 0; i < role->n_layers; i++)
		json_put_str(w, NULL, root->layers[role->layers[i]].name);
	json_end_array(w);
	json_put_str(w, "name", role->name);
	write_tree_ref(w, &role->tree);
	json_end_object(w);
}

void root_write(const struct root *r, struct strbuf *out)
{
	struct json_writer w;

	json_writer_init(&w, out);
	json_begin_object(&w, NULL);
	put_size(&w, "chunkSize", CHUNK_SIZE);
	json_begin_array(&w, "layers");
	for (size_t i = 0; i < r->n_layers; i++)
		write_layer(&w, &r->layers[i]);
	json_end_array(&w);
	put_size(&w, "partSize", PART_SIZE);
	put_size(&w, "planVersion", r->plan_version);
	json_begin_array(&w, "requires");
	json_end_array(&w);
	json_begin_array(&w, "roles");
	for (size_t i = 0; i < r->n_roles; i++)
		write_role(&w, r, &r->roles[i]);
	json_end_array(&w);
	put_size(&w, "schemaVersion", 1);
	json_begin_object(&w, "totals");
	put_size(&w, "bytes", r->bytes);
	put_size(&w, "files", r->files);
	json_end_object(&w);
	json_end_object(&w);
}

const struct root_role *root_find_role(const struct root *r, const char *name)
{
	for (size_t i = 0; i < r->n_roles; i++)
		if (!strcmp(r->roles[i].name, name))
			return &r->roles[i];
	return NULL;
}
