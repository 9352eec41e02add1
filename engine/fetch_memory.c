#include "engine/fetch_memory.h"

#include <assert.h>
#include <sys/queue.h>

#include "base/alloc.h"
#include "base/lock.h"
#include "base/map.h"

struct entry {
	TAILQ_ENTRY(entry) lru;
	struct fetch_key key;
	struct fetch_buf *buf; /* NULL: being loaded, not in the LRU */
};
TAILQ_HEAD(entries, entry);

_Static_assert(sizeof(struct fetch_key) == DIGEST_SIZE + 4, "no padding");

struct fetch_memory {
	struct mutex lock;
	struct cond loaded;
	size_t limit, used;
	struct map map;
	struct entries lru; /* most recent first */
};

struct fetch_buf *fetch_buf_new(uint32_t len)
{
	struct fetch_buf *b = malloc(sizeof(*b) + len);

	if (!b)
		return NULL;
	atomic_init(&b->refs, 1);
	b->len = len;
	return b;
}

static struct fetch_buf *fetch_buf_ref(struct fetch_buf *b)
{
	atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
	return b;
}

void fetch_buf_unref(struct fetch_buf *b)
{
	if (atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) == 1)
		free(b);
}

struct fetch_memory *fetch_memory_new(size_t limit)
{
	struct fetch_memory *m = xcalloc(1, sizeof(*m));

	mutex_init(&m->lock, LOCK_SOURCE);
	cond_init(&m->loaded);
	m->limit = limit;
	TAILQ_INIT(&m->lru);
	return m;
}

static struct entry *find_locked(struct fetch_memory *m,
				 const struct fetch_key *key)
{
	return map_get(&m->map, key, sizeof(*key));
}

static void drop_locked(struct fetch_memory *m, struct entry *e)
{
	map_del(&m->map, &e->key, sizeof(e->key));
	if (e->buf) {
		TAILQ_REMOVE(&m->lru, e, lru);
		m->used -= e->buf->len;
		fetch_buf_unref(e->buf);
	}
	free(e);
}

void fetch_memory_free(struct fetch_memory *m)
{
	struct entry *e;

	while ((e = TAILQ_FIRST(&m->lru)))
		drop_locked(m, e);
	assert(map_count(&m->map) == 0); /* no load outlives its memory */
	map_release(&m->map);
	cond_destroy(&m->loaded);
	mutex_destroy(&m->lock);
	free(m);
}

static struct entry *add_locked(struct fetch_memory *m,
				const struct fetch_key *key)
{
	struct entry *e = xcalloc(1, sizeof(*e));

	e->key = *key;
	map_put(&m->map, key, sizeof(*key), e);
	return e;
}

static void fill_locked(struct fetch_memory *m, struct entry *e,
			struct fetch_buf *b)
{
	e->buf = fetch_buf_ref(b);
	m->used += b->len;
	TAILQ_INSERT_HEAD(&m->lru, e, lru);
	/* The newest always stays: it is what somebody waits for. */
	while (m->used > m->limit && TAILQ_LAST(&m->lru, entries) != e)
		drop_locked(m, TAILQ_LAST(&m->lru, entries));
}

static struct fetch_buf *use_locked(struct fetch_memory *m, struct entry *e)
{
	TAILQ_REMOVE(&m->lru, e, lru);
	TAILQ_INSERT_HEAD(&m->lru, e, lru);
	return fetch_buf_ref(e->buf);
}

bool fetch_memory_has(struct fetch_memory *m, const struct fetch_key *key)
{
	mutex_lock(&m->lock);
	struct entry *e = find_locked(m, key);
	bool has = e && e->buf;
	mutex_unlock(&m->lock);
	return has;
}

struct fetch_buf *fetch_memory_get(struct fetch_memory *m,
				   const struct fetch_key *key)
{
	mutex_lock(&m->lock);
	struct entry *e = find_locked(m, key);
	struct fetch_buf *b = e && e->buf ? use_locked(m, e) : NULL;
	mutex_unlock(&m->lock);
	return b;
}

void fetch_memory_put(struct fetch_memory *m, const struct fetch_key *key,
		      struct fetch_buf *b)
{
	mutex_lock(&m->lock);
	struct entry *e = find_locked(m, key);
	if (!e)
		e = add_locked(m, key);
	if (!e->buf) { /* whoever is loading it will see that it is there */
		fill_locked(m, e, b);
		cond_broadcast(&m->loaded);
	}
	mutex_unlock(&m->lock);
}

struct fetch_buf *fetch_memory_get_or_load(struct fetch_memory *m,
					   const struct fetch_key *key)
{
	struct fetch_buf *b = NULL;

	mutex_lock(&m->lock);
	for (;;) {
		struct entry *e = find_locked(m, key);

		if (!e) {
			add_locked(m, key);
			break;
		}
		if (e->buf) {
			b = use_locked(m, e);
			break;
		}
		cond_wait(&m->loaded, &m->lock);
	}
	mutex_unlock(&m->lock);
	return b;
}

void fetch_memory_loaded(struct fetch_memory *m, const struct fetch_key *key,
			 struct fetch_buf *b)
{
	mutex_lock(&m->lock);
	struct entry *e = find_locked(m, key);

	/* Meanwhile it may have been put, and even dropped again. */
	if (e && !e->buf) {
		if (b)
			fill_locked(m, e, b);
		else
			drop_locked(m, e);
	}
	cond_broadcast(&m->loaded);
	mutex_unlock(&m->lock);
}
