#include "engine/root.h"

#include <errno.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/map.h"

void manifest_release(struct manifest *m)
{
	descriptor_release(&m->config);
	for (size_t i = 0; i < m->n_layers; i++)
		descriptor_release(&m->layers[i]);
	free(m->layers);
	if (m->by_digest)
		map_release(m->by_digest);
	free(m->by_digest);
	*m = (struct manifest){0};
}

static int bad(struct error **errp, const char *what)
{
	return error_set(errp, EINVAL, "manifest: %s", what);
}

/* A name for what is there instead of a bundle. */
static const char *seems(const struct json *v)
{
	static const struct {
		const char *prefix, *name;
	} known[] = {
		{"application/vnd.oci.image.config.", "a container image"},
		{"application/vnd.docker.container.image.",
		 "a container image"},
		{"application/vnd.cncf.helm.", "a Helm chart"},
		{"application/vnd.cncf.model.", "a model artifact"},
		{"application/vnd.wasm.", "a WebAssembly module"},
	};
	const char *type;

	if (json_get(v, "manifests"))
		return "an index of several manifests";
	type = json_str(json_get(json_get(v, "config"), "mediaType"));
	for (size_t i = 0; type && i < ARRAY_SIZE(known); i++)
		if (!strncmp(type, known[i].prefix, strlen(known[i].prefix)))
			return known[i].name;
	type = json_str(json_get(v, "artifactType"));
	return type ? type : "something else";
}

static int not_a_bundle(const struct json *v, struct error **errp)
{
	return error_set_kind(errp, ERROR_MEDIA_TYPE, EPROTONOSUPPORT,
			      "this is not a bundle but %s", seems(v));
}

static bool is_str(const struct json *obj, const char *key, const char *want)
{
	const char *s = json_str(json_get(obj, key));

	return s && !strcmp(s, want);
}

/*
 * One document, one meaning: what the registry calls it, what it calls itself
 * and what it holds must agree, or two readers could see two things in it.
 */
static int check_type(const struct json *v, const char *media_type,
		      struct error **errp)
{
	const char *own = json_str(json_get(v, "mediaType"));
	int64_t version = 0;

	if (json_get(v, "layers") && json_get(v, "manifests"))
		return bad(errp, "it is a manifest and an index at once");
	if (media_type && own && strcmp(media_type, own) != 0)
		return error_set(errp, EINVAL,
				 "manifest: it says '%s', the registry '%s'",
				 own, media_type);
	if (!own || strcmp(own, MEDIA_TYPE_MANIFEST) != 0 ||
	    json_get(v, "manifests") ||
	    !is_str(v, "artifactType", ARTIFACT_TYPE_BUNDLE) ||
	    !is_str(json_get(v, "config"), "mediaType", MEDIA_TYPE_ROOT))
		return not_a_bundle(v, errp);
	if (json_int(json_get(v, "schemaVersion"), &version) < 0 ||
	    version != 2)
		return error_set_kind(errp, ERROR_MEDIA_TYPE, EPROTONOSUPPORT,
				      "manifest: its schemaVersion is not 2");
	return 0;
}

static int parse_layers(const struct json *v, struct manifest *m,
			struct error **errp)
{
	const struct json *list, *e;
	int r;

	r = json_need_array(v, "layers", &list, errp);
	if (r < 0)
		return error_prefix(errp, r, "manifest");
	if (!json_count(list))
		return bad(errp, "it has no layers");
	m->layers = xcalloc(json_count(list), sizeof(*m->layers));
	for (e = json_first(list); e; e = json_next(e)) {
		r = descriptor_parse(e, &m->layers[m->n_layers], errp);
		if (r < 0)
			return error_prefix(errp, r, "manifest: layer %zu",
					    m->n_layers);
		m->n_layers++;
	}
	return 0;
}

static int index_layers(struct manifest *m, struct error **errp)
{
	m->by_digest = xcalloc(1, sizeof(*m->by_digest));
	for (size_t i = 0; i < m->n_layers; i++)
		if (map_put(m->by_digest, m->layers[i].digest.b, DIGEST_SIZE,
			    &m->layers[i]))
			return bad(errp, "a blob is listed twice");
	return 0;
}

static int parse_members(const struct json *v, const char *media_type,
			 struct manifest *m, struct error **errp)
{
	int r;

	r = check_type(v, media_type, errp);
	if (r < 0)
		return r;
	r = descriptor_parse(json_get(v, "config"), &m->config, errp);
	if (r < 0)
		return error_prefix(errp, r, "manifest: config");
	r = parse_layers(v, m, errp);
	if (r < 0)
		return r;
	return index_layers(m, errp);
}

int manifest_parse(const void *p, size_t n, const char *media_type,
		   struct manifest *ret, struct error **errp)
{
	cleanup_manifest struct manifest m = {0};
	cleanup_json struct json *v = NULL;
	int r;

	r = json_parse(p, n, &JSON_LIMITS_DOC, &v, errp);
	if (r < 0)
		return error_prefix(errp, r, "manifest");
	if (json_type(v) != JSON_OBJECT)
		return bad(errp, "not an object");
	r = parse_members(v, media_type, &m, errp);
	if (r < 0)
		return r;
	*ret = m;
	m = (struct manifest){0};
	return 0;
}

void manifest_write(const struct manifest *m, struct strbuf *out)
{
	struct json_writer w;

	json_writer_init(&w, out);
	json_begin_object(&w, NULL);
	json_put_str(&w, "artifactType", ARTIFACT_TYPE_BUNDLE);
	descriptor_write(&w, "config", &m->config);
	json_begin_array(&w, "layers");
	for (size_t i = 0; i < m->n_layers; i++)
		descriptor_write(&w, NULL, &m->layers[i]);
	json_end_array(&w);
	json_put_str(&w, "mediaType", MEDIA_TYPE_MANIFEST);
	json_put_int(&w, "schemaVersion", 2);
	json_end_object(&w);
}

const struct descriptor *manifest_blob(const struct manifest *m,
				       const struct digest *d)
{
	return m->by_digest ? map_get(m->by_digest, d->b, DIGEST_SIZE) : NULL;
}
