#include "storage/layout_index.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

/* Reading. */

static int check_head(const struct json *doc, struct error **errp)
{
	const struct json *mt = json_get(doc, "mediaType");
	int64_t version;

	if (json_type(doc) != JSON_OBJECT)
		return error_set(errp, EINVAL, "it is no object");
	if (json_int(json_get(doc, "schemaVersion"), &version) < 0 ||
	    version != 2)
		return error_set(errp, EINVAL, "'schemaVersion' is not 2");
	if (mt &&
	    (!json_str(mt) || strcmp(json_str(mt), MEDIA_TYPE_INDEX) != 0))
		return error_set(errp, EINVAL, "'mediaType' is not '%s'",
				 MEDIA_TYPE_INDEX);
	return 0;
}

static int parse_entry(const struct json *v, struct layout_entry *e,
		       struct error **errp)
{
	int r = descriptor_parse(v, &e->desc, errp);

	e->orig = v;
	e->usable = r == 0;
	return r;
}

static struct layout_entry *new_entry(struct layout_index *idx)
{
	ARRAY_GROW(idx->entries, idx->n, idx->cap);
	memset(&idx->entries[idx->n], 0, sizeof(*idx->entries));
	return &idx->entries[idx->n++];
}

static int parse_entries(struct layout_index *idx, struct error **errp)
{
	const struct json *list = json_get(idx->doc, "manifests");
	const struct json *v;

	/* Some writers say null for an empty list. */
	if (list && json_type(list) == JSON_NULL)
		return 0;
	if (!list || json_type(list) != JSON_ARRAY)
		return error_set(errp, EINVAL, "'manifests' is no array");
	for (v = json_first(list); v; v = json_next(v)) {
		struct error *err = NULL;
		int r = parse_entry(v, new_entry(idx), &err);

		if (r == -EPROTONOSUPPORT) /* not ours to use, ours to keep */
			error_freep(&err);
		else if (r < 0)
			return error_propagate(errp, &err, r);
	}
	return 0;
}

int layout_index_parse(const void *buf, size_t len, struct layout_index *ret,
		       struct error **errp)
{
	cleanup_layout_index struct layout_index idx = LAYOUT_INDEX_INIT;
	int r;

	r = json_parse(buf, len, &JSON_LIMITS_BIG, &idx.doc, errp);
	if (r < 0)
		return r;
	r = check_head(idx.doc, errp);
	if (r < 0)
		return r;
	r = parse_entries(&idx, errp);
	if (r < 0)
		return r;
	*ret = idx;
	memset(&idx, 0, sizeof(idx));
	return 0;
}

void layout_index_release(struct layout_index *idx)
{
	size_t i;

	for (i = 0; i < idx->n; i++)
		descriptor_release(&idx->entries[i].desc);
	free(idx->entries);
	json_free(idx->doc);
	memset(idx, 0, sizeof(*idx));
}

/* Finding. */

const char *layout_entry_name(const struct layout_entry *e)
{
	return descriptor_annotation(&e->desc, ANNOTATION_REF_NAME);
}

static bool has_name(const struct layout_entry *e, const char *name)
{
	const char *own = layout_entry_name(e);

	return own && strcmp(own, name) == 0;
}

int layout_index_find(const struct layout_index *idx, const char *name,
		      const struct layout_entry **ret, struct error **errp)
{
	const struct layout_entry *found = NULL;
	size_t i;

	for (i = 0; i < idx->n; i++) {
		const struct layout_entry *e = &idx->entries[i];

		if (!has_name(e, name))
			continue;
		if (found &&
		    !digest_equal(&found->desc.digest, &e->desc.digest))
			return error_set(errp, EINVAL,
					 "'%s' stands for two manifests", name);
		found = e;
	}
	if (!found)
		return error_set_kind(errp, ERROR_NOT_FOUND, ENOENT,
				      "there is no '%s'", name);
	*ret = found;
	return 0;
}

static struct layout_entry *find_digest(const struct layout_index *idx,
					const struct digest *d, bool unnamed)
{
	size_t i;

	for (i = 0; i < idx->n; i++) {
		struct layout_entry *e = &idx->entries[i];

		if (e->usable && digest_equal(&e->desc.digest, d) &&
		    !(unnamed && layout_entry_name(e)))
			return e;
	}
	return NULL;
}

const struct layout_entry *
layout_index_by_digest(const struct layout_index *idx, const struct digest *d)
{
	return find_digest(idx, d, false);
}

/* Changing. */

static void set_name(struct layout_index *idx, struct layout_entry *e,
		     const char *name)
{
	descriptor_annotate(&e->desc, ANNOTATION_REF_NAME, name);
	e->renamed = true;
	idx->changed = true;
}

static void remove_entry(struct layout_index *idx, struct layout_entry *e)
{
	size_t i = (size_t)(e - idx->entries);

	descriptor_release(&e->desc);
	idx->n--;
	memmove(e, e + 1, (idx->n - i) * sizeof(*e));
	idx->changed = true;
}

/* One entry without a name is enough to keep a manifest known. */
static void untag_entry(struct layout_index *idx, struct layout_entry *e)
{
	struct digest d = e->desc.digest;
	size_t i, same = 0;

	for (i = 0; i < idx->n; i++)
		same += idx->entries[i].usable &&
			digest_equal(&idx->entries[i].desc.digest, &d);
	if (same > 1)
		remove_entry(idx, e);
	else
		set_name(idx, e, NULL);
}

bool layout_index_untag(struct layout_index *idx, const char *name)
{
	bool any = false;
	size_t i = idx->n;

	/* Backwards: an entry that goes moves only those already seen. */
	while (i-- > 0)
		if (has_name(&idx->entries[i], name)) {
			untag_entry(idx, &idx->entries[i]);
			any = true;
		}
	return any;
}

static void add_entry(struct layout_index *idx, const char *name,
		      const struct descriptor *d)
{
	struct layout_entry *e = new_entry(idx);

	e->usable = true;
	e->desc.media_type = xstrdup(d->media_type);
	e->desc.digest = d->digest;
	e->desc.size = d->size;
	if (d->artifact_type)
		e->desc.artifact_type = xstrdup(d->artifact_type);
	if (name)
		descriptor_annotate(&e->desc, ANNOTATION_REF_NAME, name);
	idx->changed = true;
}

void layout_index_set(struct layout_index *idx, const char *name,
		      const struct descriptor *d)
{
	const struct layout_entry *now = NULL;
	struct layout_entry *e;

	if (!name) {
		if (!find_digest(idx, &d->digest, false))
			add_entry(idx, NULL, d);
		return;
	}
	if (layout_index_find(idx, name, &now, NULL) == 0 && now &&
	    digest_equal(&now->desc.digest, &d->digest))
		return;
	layout_index_untag(idx, name);
	e = find_digest(idx, &d->digest, true);
	if (e)
		set_name(idx, e, name);
	else
		add_entry(idx, name, d);
}

void layout_index_drop_unnamed(struct layout_index *idx, const struct digest *d)
{
	struct layout_entry *e;

	while ((e = find_digest(idx, d, true)))
		remove_entry(idx, e);
}

/* Writing. One member of an object is replaced, all others stay. */

struct replacement {
	const char *key;
	void (*put)(struct json_writer *w, const char *key, const void *arg);
	const void *arg;
};

struct member {
	const struct json *v;
};

static int member_cmp(const void *a, const void *b)
{
	const struct member *x = a, *y = b;

	return strcmp(json_key(x->v), json_key(y->v));
}

/* Ends with a NULL member; on the heap. */
static struct member *sorted_members(const struct json *obj)
{
	struct member *m = xcalloc(json_count(obj) + 1, sizeof(*m));
	const struct json *v;
	size_t n = 0;

	for (v = json_first(obj); v; v = json_next(v))
		m[n++].v = v;
	qsort(m, n, sizeof(*m), member_cmp);
	return m;
}

static void put_with(struct json_writer *w, const char *key,
		     const struct json *obj, const struct replacement *rep)
{
	cleanup_free struct member *m = sorted_members(obj);
	bool done = false;
	size_t i;

	json_begin_object(w, key);
	for (i = 0; m[i].v; i++) {
		int c = strcmp(json_key(m[i].v), rep->key);

		if (c >= 0 && !done) {
			rep->put(w, rep->key, rep->arg);
			done = true;
		}
		if (c != 0)
			json_put_value(w, json_key(m[i].v), m[i].v);
	}
	if (!done)
		rep->put(w, rep->key, rep->arg);
	json_end_object(w);
}

static void put_annotations(struct json_writer *w, const char *key,
			    const void *arg)
{
	const struct descriptor *d = (const struct descriptor *)arg;
	size_t i;

	if (d->n_annotations == 0)
		return;
	json_begin_object(w, key);
	for (i = 0; i < d->n_annotations; i++)
		json_put_str(w, d->annotations[i].key, d->annotations[i].value);
	json_end_object(w);
}

static void put_entry(struct json_writer *w, const struct layout_entry *e)
{
	struct replacement rep = {"annotations", put_annotations, &e->desc};

	if (!e->orig)
		descriptor_write(w, NULL, &e->desc);
	else if (!e->renamed)
		json_put_value(w, NULL, e->orig);
	else
		put_with(w, NULL, e->orig, &rep);
}

static void put_manifests(struct json_writer *w, const char *key,
			  const void *arg)
{
	const struct layout_index *idx = (const struct layout_index *)arg;
	size_t i;

	json_begin_array(w, key);
	for (i = 0; i < idx->n; i++)
		put_entry(w, &idx->entries[i]);
	json_end_array(w);
}

static void put_new_document(struct json_writer *w,
			     const struct layout_index *idx)
{
	json_begin_object(w, NULL);
	put_manifests(w, "manifests", idx);
	json_put_str(w, "mediaType", MEDIA_TYPE_INDEX);
	json_put_int(w, "schemaVersion", 2);
	json_end_object(w);
}

int layout_index_write(const struct layout_index *idx, struct strbuf *out,
		       struct error **errp)
{
	cleanup_layout_index struct layout_index again = LAYOUT_INDEX_INIT;
	struct replacement rep = {"manifests", put_manifests, idx};
	struct json_writer w;

	strbuf_reset(out);
	json_writer_init(&w, out);
	if (idx->doc)
		put_with(&w, NULL, idx->doc, &rep);
	else
		put_new_document(&w, idx);

	/* A folder must never hold an index that nobody can read again. */
	if (layout_index_parse(out->buf, out->len, &again, NULL) < 0)
		return error_set(errp, EFBIG,
				 "an index of %zu entries is too large",
				 idx->n);
	return 0;
}
