#include "storage/descriptor.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"

#define MEDIA_TYPE_LEN_MAX 255

static int annotation_cmp(const void *a, const void *b)
{
	const struct annotation *x = (const struct annotation *)a;
	const struct annotation *y = (const struct annotation *)b;

	return strcmp(x->key, y->key);
}

int descriptor_parse_annotations(const struct json *v, struct descriptor *d,
				 struct error **errp)
{
	const struct json *m;

	if (!v || json_type(v) == JSON_NULL)
		return 0;
	if (json_type(v) != JSON_OBJECT)
		return error_set(errp, EINVAL, "'annotations' is no object");
	if (json_count(v) == 0)
		return 0;
	d->annotations = xcalloc(json_count(v), sizeof(*d->annotations));
	for (m = json_first(v); m; m = json_next(m)) {
		if (!json_str(m))
			return error_set(errp, EINVAL,
					 "annotation '%s' is no string",
					 json_key(m));
		d->annotations[d->n_annotations].key = xstrdup(json_key(m));
		d->annotations[d->n_annotations].value = xstrdup(json_str(m));
		d->n_annotations++;
	}
	qsort(d->annotations, d->n_annotations, sizeof(*d->annotations),
	      annotation_cmp);
	return 0;
}

/* RFC 6838, section 4.2: two restricted names and a slash. */
static bool media_type_valid(const char *s)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyz"
				      "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789!#$&-^_.+";
	size_t n = strspn(s, allowed);
	size_t rest;

	if (n == 0 || s[n] != '/')
		return false;
	rest = strspn(s + n + 1, allowed);
	return rest > 0 && s[n + 1 + rest] == '\0' &&
	       n + 1 + rest <= MEDIA_TYPE_LEN_MAX;
}

static int parse_media_types(const struct json *v, struct descriptor *d,
			     struct error **errp)
{
	const struct json *at = json_get(v, "artifactType");
	const char *s = NULL;
	int r;

	r = json_need_str(v, "mediaType", &s, errp);
	if (r < 0)
		return r;
	if (!media_type_valid(s))
		return error_set(errp, EINVAL, "'%s' is no media type", s);
	d->media_type = xstrdup(s);

	/* "" is what some writers put for "none". */
	if (!at || json_type(at) == JSON_NULL)
		return 0;
	s = json_str(at);
	if (!s)
		return error_set(errp, EINVAL, "'artifactType' is no string");
	if (*s == '\0')
		return 0;
	if (!media_type_valid(s))
		return error_set(errp, EINVAL, "'%s' is no media type", s);
	d->artifact_type = xstrdup(s);
	return 0;
}

static int parse_data(const struct json *v, struct descriptor *d,
		      struct error **errp)
{
	const char *s = json_str(v);
	cleanup_free void *data = NULL;
	struct digest got;
	size_t len = 0;
	int r;

	if (!s)
		return error_set(errp, EINVAL, "'data' is no string");
	if (d->size > JSON_MAX_DOC)
		return error_set(errp, EINVAL, "'data' with a size of %llu",
				 (unsigned long long)d->size);
	r = base64_decode(s, strlen(s), (size_t)d->size, &data, &len);
	if (r < 0)
		return error_set(errp, EINVAL,
				 "'data' is no base64 of %llu "
				 "bytes",
				 (unsigned long long)d->size);
	got = digest_of_buf(data, len);
	if (len != d->size || !digest_equal(&got, &d->digest))
		return error_set(errp, EBADMSG,
				 "inlined content of '%s' is '%s'",
				 digest_to_str(&d->digest).str,
				 digest_to_str(&got).str);
	d->data = steal_ptr(&data);
	return 0;
}

static int parse_into(const struct json *v, struct descriptor *d,
		      struct error **errp)
{
	const struct json *data = json_get(v, "data");
	const char *s = NULL;
	int r;

	r = json_need_str(v, "digest", &s, errp);
	if (r < 0)
		return r;
	r = digest_parse(s, strlen(s), &d->digest, errp);
	if (r < 0)
		return r;
	r = json_need_size(v, "size", &d->size, errp);
	if (r < 0)
		return r;
	r = parse_media_types(v, d, errp);
	if (r < 0)
		return r;
	r = descriptor_parse_annotations(json_get(v, "annotations"), d, errp);
	if (r < 0)
		return r;
	if (data && json_type(data) != JSON_NULL)
		return parse_data(data, d, errp);
	return 0;
}

int descriptor_parse(const struct json *v, struct descriptor *ret,
		     struct error **errp)
{
	cleanup_descriptor struct descriptor d = {0};
	int r;

	if (!v || json_type(v) != JSON_OBJECT)
		return error_set(errp, EINVAL, "a descriptor is no object");
	r = parse_into(v, &d, errp);
	if (r < 0)
		return error_prefix(errp, r, "descriptor");
	*ret = d;
	memset(&d, 0, sizeof(d));
	return 0;
}

void descriptor_write(struct json_writer *w, const char *key,
		      const struct descriptor *d)
{
	size_t i;

	json_begin_object(w, key);
	if (d->n_annotations > 0) {
		json_begin_object(w, "annotations");
		for (i = 0; i < d->n_annotations; i++)
			json_put_str(w, d->annotations[i].key,
				     d->annotations[i].value);
		json_end_object(w);
	}
	if (d->artifact_type)
		json_put_str(w, "artifactType", d->artifact_type);
	if (d->data)
		json_put_base64(w, "data", d->data, (size_t)d->size);
	json_put_str(w, "digest", digest_to_str(&d->digest).str);
	json_put_str(w, "mediaType", d->media_type);
	json_put_int(w, "size", (int64_t)d->size);
	json_end_object(w);
}

/* The first annotation whose key is not below @key. */
static size_t annotation_pos(const struct descriptor *d, const char *key)
{
	size_t lo = 0, hi = d->n_annotations;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (strcmp(d->annotations[mid].key, key) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static bool annotation_at(const struct descriptor *d, size_t pos,
			  const char *key)
{
	return pos < d->n_annotations &&
	       strcmp(d->annotations[pos].key, key) == 0;
}

const char *descriptor_annotation(const struct descriptor *d, const char *key)
{
	size_t pos = annotation_pos(d, key);

	return annotation_at(d, pos, key) ? d->annotations[pos].value : NULL;
}

static void annotation_remove(struct descriptor *d, size_t pos)
{
	free(d->annotations[pos].key);
	free(d->annotations[pos].value);
	d->n_annotations--;
	memmove(&d->annotations[pos], &d->annotations[pos + 1],
		(d->n_annotations - pos) * sizeof(*d->annotations));
}

static void annotation_insert(struct descriptor *d, size_t pos, const char *key,
			      const char *value)
{
	d->annotations = xrealloc(d->annotations, d->n_annotations + 1,
				  sizeof(*d->annotations));
	memmove(&d->annotations[pos + 1], &d->annotations[pos],
		(d->n_annotations - pos) * sizeof(*d->annotations));
	d->n_annotations++;
	d->annotations[pos].key = xstrdup(key);
	d->annotations[pos].value = xstrdup(value);
}

void descriptor_annotate(struct descriptor *d, const char *key,
			 const char *value)
{
	size_t pos = annotation_pos(d, key);

	if (annotation_at(d, pos, key))
		annotation_remove(d, pos);
	if (value)
		annotation_insert(d, pos, key, value);
}

void descriptor_release(struct descriptor *d)
{
	size_t i;

	for (i = 0; i < d->n_annotations; i++) {
		free(d->annotations[i].key);
		free(d->annotations[i].value);
	}
	free(d->annotations);
	free(d->media_type);
	free(d->artifact_type);
	free(d->data);
	memset(d, 0, sizeof(*d));
}

void descriptor_copy(struct descriptor *to, const struct descriptor *from)
{
	size_t i;

	*to = *from;
	to->media_type = from->media_type ? xstrdup(from->media_type) : NULL;
	to->artifact_type =
		from->artifact_type ? xstrdup(from->artifact_type) : NULL;
	to->data = from->data ? xmemdup(from->data, (size_t)from->size) : NULL;
	to->annotations = NULL;
	if (from->n_annotations > 0)
		to->annotations =
			xcalloc(from->n_annotations, sizeof(*to->annotations));
	for (i = 0; i < from->n_annotations; i++) {
		to->annotations[i].key = xstrdup(from->annotations[i].key);
		to->annotations[i].value = xstrdup(from->annotations[i].value);
	}
}

void descriptors_free(struct descriptor *v, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		descriptor_release(&v[i]);
	free(v);
}
