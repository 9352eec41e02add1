#include "storage/registry_mirror.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/map.h"
#include "base/lock.h"

#define REST_MS     30000
#define READS_KNOWN 4096

struct mirrored {
	struct registry registry;
	struct registry *upstream;
	struct registry_mirror *mirrors;
	size_t n;

	struct mutex lock;    /* LOCK_REGISTRY: all below */
	int64_t *rest_until;  /* one per mirror */
	struct map reads;     /* ranges that mirrors gave → nothing */
	int64_t forget_at_ns; /* @reads */
};

static struct mirrored *mirrored_of(struct registry *r)
{
	return (struct mirrored *)r;
}

void registry_mirror_release(struct registry_mirror *m)
{
	registry_freep(&m->registry);
	free(m->prefix);
	m->prefix = NULL;
}

/*
 * Which mirror.
 */

static bool is_resting(struct mirrored *m, size_t i)
{
	bool resting;

	mutex_lock(&m->lock);
	resting = time_mono_ns() < m->rest_until[i];
	mutex_unlock(&m->lock);
	return resting;
}

/* After a failure. A mirror that lacks something is fine otherwise. */
static void judge(struct mirrored *m, size_t i, int code)
{
	if (code == -ENOENT)
		return;
	mutex_lock(&m->lock);
	m->rest_until[i] = time_deadline_ms(REST_MS);
	mutex_unlock(&m->lock);
}

static char *name_there(const struct registry_mirror *m, const char *repo)
{
	return m->prefix ? xasprintf("%s/%s", m->prefix, repo) : xstrdup(repo);
}

static void log_miss(size_t i, struct error *err)
{
	log_debug("mirror %zu: %s", i + 1, err ? err->message : "failed");
}

/* Whether the caller gave up rather than the mirror. */
static bool is_over(const struct op *op)
{
	return op_cancelled(op) || time_mono_ns() >= op_deadline(op);
}

/* Note a range; false: it was read from a mirror already. */
static bool is_first_read(struct mirrored *m, const char *key)
{
	bool first;

	mutex_lock(&m->lock);
	if (time_mono_ns() >= m->forget_at_ns ||
	    map_count(&m->reads) >= READS_KNOWN) {
		map_release(&m->reads);
		m->reads = (struct map)MAP_INIT;
		m->forget_at_ns = time_deadline_ms(REST_MS);
	}
	first = !map_get_str(&m->reads, key);
	map_put_str(&m->reads, key, m);
	mutex_unlock(&m->lock);
	return first;
}

/*
 * What mirrors give.
 */

static int get_manifest(struct registry *r, const char *repo,
			const struct digest *d, struct manifest_bytes *ret,
			const struct op *op, struct error **errp)
{
	struct mirrored *m = mirrored_of(r);

	for (size_t i = 0; i < m->n && !is_over(op); i++) {
		struct registry *there = m->mirrors[i].registry;
		cleanup_free char *name = NULL;
		cleanup_error struct error *err = NULL;
		int rc;

		if (is_resting(m, i))
			continue;
		name = name_there(&m->mirrors[i], repo);
		rc = there->ops->get_manifest(there, name, d, ret, op, &err);
		if (rc == 0)
			return 0;
		log_miss(i, err);
		judge(m, i, rc);
	}
	return m->upstream->ops->get_manifest(m->upstream, repo, d, ret, op,
					      errp);
}

/* Counts what came through, so that another source can go on. */
struct counting {
	struct sink sink;
	struct sink *out;
	uint64_t n;
	bool out_failed;
};

static int count(struct sink *s, const void *buf, size_t n, struct error **errp)
{
	struct counting *c = (struct counting *)s;
	int r = c->out->write(c->out, buf, n, errp);

	c->out_failed = r < 0;
	c->n += r < 0 ? 0 : n;
	return r;
}

static int read_blob(struct registry *r, const char *repo,
		     const struct digest *d, uint64_t size, uint64_t off,
		     uint64_t len, struct sink *sink, const struct op *op,
		     struct error **errp)
{
	struct counting c = {.sink = {.write = count}, .out = sink};
	struct mirrored *m = mirrored_of(r);
	cleanup_free char *key =
		xasprintf("%s %llu %llu", digest_to_hex(d).str,
			  (unsigned long long)off, (unsigned long long)len);
	bool trust = is_first_read(m, key);

	for (size_t i = 0; trust && i < m->n && !is_over(op); i++) {
		struct registry *there = m->mirrors[i].registry;
		cleanup_free char *name = NULL;
		struct error *err = NULL;
		int rc;

		if (is_resting(m, i))
			continue;
		name = name_there(&m->mirrors[i], repo);
		rc = there->ops->read_blob(there, name, d, size, off + c.n,
					   len - c.n, &c.sink, op, &err);
		if (rc == 0 || c.out_failed)
			return error_propagate(errp, &err, rc);
		log_miss(i, err);
		error_free(err);
		judge(m, i, rc);
	}
	return m->upstream->ops->read_blob(m->upstream, repo, d, size,
					   off + c.n, len - c.n, sink, op,
					   errp);
}

/*
 * What they do not.
 */

static int resolve(struct registry *r, const char *repo, const char *tag,
		   struct digest *ret, const struct op *op, struct error **errp)
{
	struct registry *up = mirrored_of(r)->upstream;

	return up->ops->resolve(up, repo, tag, ret, op, errp);
}

static int put_manifest(struct registry *r, const char *repo, const char *tag,
			const char *media_type, const void *buf, size_t len,
			const struct op *op, struct error **errp)
{
	struct registry *up = mirrored_of(r)->upstream;

	return up->ops->put_manifest(up, repo, tag, media_type, buf, len, op,
				     errp);
}

static int has_blob(struct registry *r, const char *repo,
		    const struct digest *d, uint64_t *ret_size,
		    const struct op *op, struct error **errp)
{
	struct registry *up = mirrored_of(r)->upstream;

	return up->ops->has_blob(up, repo, d, ret_size, op, errp);
}

static int put_blob(struct registry *r, const char *repo,
		    const struct digest *d, struct feed *feed,
		    const struct op *op, struct error **errp)
{
	struct registry *up = mirrored_of(r)->upstream;

	return up->ops->put_blob(up, repo, d, feed, op, errp);
}

static int mount_blob(struct registry *r, const char *repo,
		      const char *from_repo, const struct digest *d,
		      const struct op *op, struct error **errp)
{
	struct registry *up = mirrored_of(r)->upstream;

	return up->ops->mount_blob(up, repo, from_repo, d, op, errp);
}

static int list_tags(struct registry *r, const char *repo, char ***ret,
		     const struct op *op, struct error **errp)
{
	struct registry *up = mirrored_of(r)->upstream;

	return up->ops->list_tags(up, repo, ret, op, errp);
}

static int referrers(struct registry *r, const char *repo,
		     const struct digest *subject, const char *artifact_type,
		     struct descriptor **ret, size_t *ret_n,
		     const struct op *op, struct error **errp)
{
	struct registry *up = mirrored_of(r)->upstream;

	return up->ops->referrers(up, repo, subject, artifact_type, ret, ret_n,
				  op, errp);
}

static int remove_it(struct registry *r, const char *repo, const char *tag,
		     const struct digest *d, const struct op *op,
		     struct error **errp)
{
	struct registry *up = mirrored_of(r)->upstream;

	if (!up->ops->remove)
		return error_set(errp, EOPNOTSUPP, "it removes nothing");
	return up->ops->remove(up, repo, tag, d, op, errp);
}

static int list_repos(struct registry *r, char ***ret, const struct op *op,
		      struct error **errp)
{
	struct registry *up = mirrored_of(r)->upstream;

	if (!up->ops->list_repos)
		return error_set(errp, EOPNOTSUPP, "it lists nothing");
	return up->ops->list_repos(up, ret, op, errp);
}

/* Of the registry itself: mirrors are done without. */
static int probe(struct registry *r, const char *repo,
		 struct registry_probe *ret, const struct op *op,
		 struct error **errp)
{
	struct registry *up = mirrored_of(r)->upstream;

	assert(up->ops->probe); /* only those that have one have mirrors */
	return up->ops->probe(up, repo, ret, op, errp);
}

static void free_it(struct registry *r)
{
	struct mirrored *m = mirrored_of(r);

	for (size_t i = 0; i < m->n; i++)
		registry_mirror_release(&m->mirrors[i]);
	registry_free(m->upstream);
	mutex_destroy(&m->lock);
	map_release(&m->reads);
	free(m->rest_until);
	free(m->mirrors);
	free(m);
}

static const struct registry_ops ops = {
	.resolve = resolve,
	.get_manifest = get_manifest,
	.put_manifest = put_manifest,
	.has_blob = has_blob,
	.read_blob = read_blob,
	.put_blob = put_blob,
	.mount_blob = mount_blob,
	.list_tags = list_tags,
	.referrers = referrers,
	.remove = remove_it,
	.list_repos = list_repos,
	.probe = probe,
	.free = free_it,
};

struct registry *registry_mirrored_new(struct registry *upstream,
				       struct registry_mirror **take_mirrors,
				       size_t n)
{
	struct mirrored *m = xcalloc(1, sizeof(*m));

	m->registry.ops = &ops;
	m->upstream = upstream;
	m->mirrors = steal_ptr(take_mirrors);
	m->n = n;
	m->rest_until = xcalloc(n ? n : 1, sizeof(*m->rest_until));
	mutex_init(&m->lock, LOCK_REGISTRY);
	return &m->registry;
}
