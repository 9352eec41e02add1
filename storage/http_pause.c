/*
 * Hosts that said Retry-After: all transfers leave them alone for that long,
 * not only the one that was told.
 */
#include <string.h>

#include "storage/http_internal.h"

#define PAUSE_MAX_MS   600000
#define PAUSES_AT_MOST 1024 /* hosts; a hostile server can name many */

struct host_pause {
	int64_t until_ns;
};

static void forget_ended_locked(struct http_client *c) REQUIRES(&c->lock)
{
	size_t pos = 0, n;
	const void *key;
	void *value;

	if (map_count(&c->pauses) < PAUSES_AT_MOST)
		return;
	while (map_next(&c->pauses, &pos, &key, &n, &value))
		free(value);
	map_release(&c->pauses);
	c->pauses = (struct map)MAP_INIT;
}

void http_pause_set(struct http_client *c, const char *origin, int64_t ms)
{
	struct host_pause *p = xmalloc(sizeof(*p));

	p->until_ns = time_deadline_ms(MIN(ms, PAUSE_MAX_MS));
	mutex_lock(&c->lock);
	forget_ended_locked(c);
	free(map_put_str(&c->pauses, origin, p));
	mutex_unlock(&c->lock);
}

int64_t http_pause_left_ms(struct http_client *c, const char *origin)
{
	int64_t left_ns = 0;
	struct host_pause *p;

	mutex_lock(&c->lock);
	p = map_get_str(&c->pauses, origin);
	if (p)
		left_ns = p->until_ns - time_mono_ns();
	if (p && left_ns <= 0)
		free(map_del(&c->pauses, origin, strlen(origin)));
	mutex_unlock(&c->lock);
	return left_ns > 0 ? left_ns / NS_PER_MS + 1 : 0;
}

void http_pause_release(struct http_client *c)
{
	size_t pos = 0, n;
	const void *key;
	void *value;

	while (map_next(&c->pauses, &pos, &key, &n, &value))
		free(value);
	map_release(&c->pauses);
}
