#include "storage/manifest_info.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "storage/registry.h"

void manifest_bytes_release(struct manifest_bytes *m)
{
	free(m->media_type);
	free(m->buf);
	memset(m, 0, sizeof(*m));
}

static int choose_media_type(const struct json *doc, const char *said,
			     struct manifest_info *m, struct error **errp)
{
	const struct json *own = json_get(doc, "mediaType");
	const char *s = json_str(own);

	if (own && !s)
		return error_set(errp, EINVAL, "'mediaType' is no string");
	if (s && said && strcmp(s, said) != 0)
		return error_set(errp, EINVAL,
				 "a manifest sent as '%s' calls itself '%s'",
				 said, s);
	if (!s)
		s = said;
	if (!s)
		s = m->is_index ? MEDIA_TYPE_INDEX : MEDIA_TYPE_MANIFEST;
	m->self.media_type = xstrdup(s);
	return 0;
}

static int parse_needs(const struct json *config, const struct json *list,
		       struct manifest_info *m, struct error **errp)
{
	const struct json *v;
	int r;

	m->needs = xcalloc(json_count(list) + 1, sizeof(*m->needs));
	if (config) {
		r = descriptor_parse(config, &m->needs[0], errp);
		if (r < 0)
			return error_prefix(errp, r, "config");
		m->n_needs = 1;
	}
	for (v = json_first(list); v; v = json_next(v)) {
		r = descriptor_parse(v, &m->needs[m->n_needs], errp);
		if (r < 0)
			return r;
		m->n_needs++;
	}
	return 0;
}

static int parse_kind(const struct json *doc, struct manifest_info *m,
		      struct error **errp)
{
	const struct json *layers = json_get(doc, "layers");
	const struct json *manifests = json_get(doc, "manifests");
	const struct json *config = NULL;
	int r;

	if (!layers == !manifests)
		return error_set(errp, EINVAL,
				 "a manifest has either 'layers' or "
				 "'manifests'");
	m->is_index = manifests != NULL;
	r = json_need_array(doc, m->is_index ? "manifests" : "layers",
			    m->is_index ? &manifests : &layers, errp);
	if (r < 0)
		return r;
	if (!m->is_index) {
		r = json_need_object(doc, "config", &config, errp);
		if (r < 0)
			return r;
	}
	return parse_needs(config, m->is_index ? manifests : layers, m, errp);
}

static int parse_artifact_type(const struct json *doc, struct manifest_info *m,
			       struct error **errp)
{
	const struct json *v = json_get(doc, "artifactType");
	const char *s = json_str(v);

	if (v && !s)
		return error_set(errp, EINVAL, "'artifactType' is no string");
	if (!s && !m->is_index && m->n_needs > 0)
		s = m->needs[0].media_type;
	if (s)
		m->self.artifact_type = xstrdup(s);
	return 0;
}

static int parse_subject(const struct json *doc, struct manifest_info *m,
			 struct error **errp)
{
	const struct json *v = json_get(doc, "subject");
	cleanup_descriptor struct descriptor d = {0};
	int r;

	if (!v || json_type(v) == JSON_NULL)
		return 0;
	r = descriptor_parse(v, &d, errp);
	if (r < 0)
		return error_prefix(errp, r, "subject");
	m->has_subject = true;
	m->subject = d.digest;
	return 0;
}

static int parse_into(const struct json *doc, const char *media_type,
		      struct manifest_info *m, struct error **errp)
{
	int r = parse_kind(doc, m, errp);

	if (r < 0)
		return r;
	r = choose_media_type(doc, media_type, m, errp);
	if (r < 0)
		return r;
	r = parse_artifact_type(doc, m, errp);
	if (r < 0)
		return r;
	r = descriptor_parse_annotations(json_get(doc, "annotations"), &m->self,
					 errp);
	if (r < 0)
		return r;
	return parse_subject(doc, m, errp);
}

int manifest_info_parse(const void *buf, size_t len, const char *media_type,
			struct manifest_info *ret, struct error **errp)
{
	cleanup_manifest_info struct manifest_info m = {0};
	cleanup_json struct json *doc = NULL;
	int r;

	r = json_parse(buf, len, &JSON_LIMITS_DOC, &doc, errp);
	if (r < 0)
		return error_prefix(errp, r, "manifest");
	if (json_type(doc) != JSON_OBJECT)
		return error_set(errp, EINVAL, "a manifest is no object");
	r = parse_into(doc, media_type, &m, errp);
	if (r < 0)
		return error_prefix(errp, r, "manifest");
	m.self.digest = digest_of_buf(buf, len);
	m.self.size = len;
	*ret = m;
	memset(&m, 0, sizeof(m));
	return 0;
}

bool manifest_info_refers(const struct manifest_info *m,
			  const struct digest *subject,
			  const char *artifact_type)
{
	if (!m->has_subject || !digest_equal(&m->subject, subject))
		return false;
	return !artifact_type ||
	       (m->self.artifact_type &&
		strcmp(m->self.artifact_type, artifact_type) == 0);
}

void manifest_info_release(struct manifest_info *m)
{
	descriptor_release(&m->self);
	descriptors_free(m->needs, m->n_needs);
	memset(m, 0, sizeof(*m));
}
