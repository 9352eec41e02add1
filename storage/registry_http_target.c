/*
 * Redirect targets of blobs. Without them each page-in of a mount would cost
 * two round trips. They expire (presigned URLs live for minutes), so whoever
 * is refused at a target forgets it and asks the registry again.
 */
#include <string.h>

#include "storage/registry_http_internal.h"

#define TARGET_LIFE_MS 240000
#define TARGETS_MAX    1024

struct target {
	struct http_url url;
	int64_t until_ns;
};

static void target_free(struct target *t)
{
	if (!t)
		return;
	http_url_release(&t->url);
	free(t);
}

bool registry_http_target_get(struct registry_http *h, const char *path,
			      struct http_url *ret)
{
	struct target *t;
	bool found;

	mutex_lock(&h->lock);
	t = map_get_str(&h->targets, path);
	found = t && time_mono_ns() < t->until_ns;
	if (found)
		http_url_copy(&t->url, ret);
	mutex_unlock(&h->lock);
	return found;
}

static void drop_all_locked(struct registry_http *h) REQUIRES(h->lock)
{
	size_t pos = 0, n;
	const void *key;
	void *value;

	while (map_next(&h->targets, &pos, &key, &n, &value))
		target_free(value);
	map_release(&h->targets);
	h->targets = (struct map)MAP_INIT;
}

void registry_http_target_set(struct registry_http *h, const char *path,
			      const struct http_url *url)
{
	struct target *t = xcalloc(1, sizeof(*t));

	http_url_copy(url, &t->url);
	t->until_ns = time_deadline_ms(TARGET_LIFE_MS);
	mutex_lock(&h->lock);
	if (map_count(&h->targets) >= TARGETS_MAX)
		drop_all_locked(h);
	target_free(map_put_str(&h->targets, path, t));
	mutex_unlock(&h->lock);
}

void registry_http_target_forget(struct registry_http *h, const char *path)
{
	mutex_lock(&h->lock);
	target_free(map_del(&h->targets, path, strlen(path)));
	mutex_unlock(&h->lock);
}

void registry_http_targets_release(struct registry_http *h)
{
	mutex_lock(&h->lock);
	drop_all_locked(h);
	mutex_unlock(&h->lock);
}
