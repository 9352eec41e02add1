#include "engine/elsewhere.h"

#include <string.h>

#define TAGS_MAX 256 /* whose manifests are looked at */

struct loading {
	struct cache *cache;
	const struct reference *ref;
	struct elsewhere *out;
	unsigned seen;
};

void elsewhere_release(struct elsewhere *e)
{
	map_release(&e->repos);
	strv_free(e->names);
	*e = (struct elsewhere){0};
}

static void add_manifest(struct elsewhere *e, const struct manifest *m,
			 const char *repo)
{
	char *name = xstrdup(repo);

	strv_append(&e->names, name);
	for (size_t i = 0; i < m->n_layers; i++)
		map_put(&e->repos, m->layers[i].digest.b, DIGEST_SIZE, name);
	map_put(&e->repos, m->config.digest.b, DIGEST_SIZE, name);
}

/* The repository in "<registry>/<repo>:<tag>" or "…/<repo>@<digest>", when it is another one of the
 * same registry. */
static char *other_repo(const struct reference *ref, const char *key)
{
	size_t n = strlen(ref->registry);
	const char *end = strchr(key, '@');
	char *repo;

	if (!end)
		end = strrchr(key, ':');
	if (strncmp(key, ref->registry, n) != 0 || key[n] != '/' || !end ||
	    end <= key + n + 1)
		return NULL;
	repo = xstrndup(key + n + 1, (size_t)(end - key) - n - 1);
	if (strcmp(repo, ref->repo) != 0)
		return repo;
	free(repo);
	return NULL;
}

static int add_tag(void *ctx, const char *key, const struct digest *d)
{
	struct loading *l = ctx;
	cleanup_free char *repo = other_repo(l->ref, key);
	cleanup_manifest struct manifest m = {0};
	cleanup_free char *buf = NULL;
	size_t n;

	if (!repo ||
	    cache_doc_get(l->cache, d, MANIFEST_MAX, &buf, &n, NULL) < 0)
		return 0;
	if (manifest_parse(buf, n, NULL, &m, NULL) == 0)
		add_manifest(l->out, &m, repo);
	return ++l->seen == TAGS_MAX;
}

void elsewhere_load(struct session *s, const struct reference *ref,
		    struct elsewhere *ret)
{
	struct loading l = {.ref = ref, .out = ret};

	*ret = (struct elsewhere){0};
	if (ref->layout || !ref->repo || session_cache(s, &l.cache, NULL) < 0)
		return; /* repositories of a folder share their blobs */
	cache_ref_each(l.cache, add_tag, &l, NULL);
}

const char *elsewhere_find(const struct elsewhere *e, const struct digest *d)
{
	return map_get(&e->repos, d->b, DIGEST_SIZE);
}

void elsewhere_note(struct session *s, const struct reference *ref,
		    const struct digest *d, const void *manifest, size_t n)
{
	cleanup_free char *key = reference_cache_key(ref);
	struct cache *c;

	if (ref->layout || !key || session_cache(s, &c, NULL) < 0)
		return;
	if (cache_doc_put(c, d, manifest, n, NULL) == 0)
		cache_ref_put(c, key, d, NULL);
}
