#include "tests/fakes/fakes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/lock.h"
#include "base/map.h"
#include "tests/fakes/pieces.h"

/* Never changed and never freed before the store is: used without lock. */
struct fake_object {
	struct fake_object *next; /* of all that ever were */
	struct object_info info;
	char *buf;
};

struct object_store_fake {
	struct object_store store;
	struct mutex lock;
	struct fake_object *all;
	struct map objects; /* name → fake_object */
	unsigned generation;
};

static struct object_store_fake *fake_of(struct object_store *s)
{
	return (struct object_store_fake *)s;
}

static char *name_of(const struct pointer_uri *u)
{
	return xasprintf("%s://%s/%s/%s", uri_scheme_name(u->scheme),
			 u->account ? u->account : "",
			 u->container ? u->container : "", u->key);
}

static struct fake_object *find(struct object_store_fake *f,
				const struct pointer_uri *uri)
{
	cleanup_free char *name = name_of(uri);
	struct fake_object *o;

	mutex_lock(&f->lock);
	o = map_get_str(&f->objects, name);
	mutex_unlock(&f->lock);
	return o;
}

static int no_object(struct error **errp, const struct pointer_uri *uri)
{
	return error_set(errp, ENOENT, "there is no object '%s'", uri->key);
}

static int fake_stat(struct object_store *s, const struct pointer_uri *uri,
		     struct object_info *ret, const struct op *op,
		     struct error **errp)
{
	const struct fake_object *o = find(fake_of(s), uri);
	int r = op_go_on(op, errp);

	if (r < 0)
		return r;
	if (!o)
		return no_object(errp, uri);
	*ret = o->info;
	return 0;
}

static int fake_read(struct object_store *s, const struct pointer_uri *uri,
		     const char *validator, uint64_t off, uint64_t len,
		     struct sink *sink, const struct op *op,
		     struct error **errp)
{
	const struct fake_object *o = find(fake_of(s), uri);

	if (!o)
		return no_object(errp, uri);
	if (*validator && strcmp(validator, o->info.validator) != 0)
		return error_set(errp, ESTALE,
				 "object '%s' is not the one first seen",
				 uri->key);
	if (off > o->info.size || len > o->info.size - off)
		return error_set(errp, EPROTO, "object '%s' ends early",
				 uri->key);
	return sink_put(sink, o->buf + off, len, op, errp);
}

/* Returns what has the name now: @o, or what had it before. */
static const struct fake_object *
add_locked(struct object_store_fake *f, const char *name, struct fake_object *o)
	REQUIRES(f->lock)
{
	const struct fake_object *there = map_get_str(&f->objects, name);

	o->next = f->all;
	f->all = o;
	if (there)
		return there;
	snprintf(o->info.validator, sizeof(o->info.validator), "%u",
		 ++f->generation);
	map_put_str(&f->objects, name, o);
	return o;
}

static struct fake_object *
object_new(struct feed *feed, const struct digest *sha256, char **take_buf)
{
	struct fake_object *o = xcalloc(1, sizeof(*o));

	o->info.size = feed->size;
	o->info.has_sha256 = true;
	o->info.sha256_from = OBJECT_SHA256_CHECKSUM;
	o->info.sha256 = *sha256;
	o->buf = steal_ptr(take_buf);
	return o;
}

static int fake_put(struct object_store *s, const struct pointer_uri *uri,
		    struct feed *feed, const struct digest *sha256,
		    const struct op *op, struct error **errp)
{
	struct object_store_fake *f = fake_of(s);
	cleanup_free char *name = name_of(uri);
	cleanup_free char *buf = NULL;
	const struct fake_object *now;
	struct fake_object *o;
	struct digest got;
	int r;

	buf = xmalloc((size_t)feed->size + 1);
	r = feed_get(feed, buf, op, errp);
	if (r < 0)
		return r;
	got = digest_of_buf(buf, (size_t)feed->size);
	if (!digest_equal(&got, sha256))
		return error_set(errp, EBADMSG, "object '%s' arrived as '%s'",
				 uri->key, digest_to_str(&got).str);
	o = object_new(feed, sha256, &buf);
	mutex_lock(&f->lock);
	now = add_locked(f, name, o);
	mutex_unlock(&f->lock);
	if (!digest_equal(&now->info.sha256, sha256))
		return error_set(errp, EEXIST,
				 "another object is already at '%s'", uri->key);
	return 0;
}

static int fake_remove(struct object_store *s, const struct pointer_uri *uri,
		       const struct op *op, struct error **errp)
{
	struct object_store_fake *f = fake_of(s);
	cleanup_free char *name = name_of(uri);
	void *o;

	mutex_lock(&f->lock);
	o = map_del(&f->objects, name, strlen(name));
	mutex_unlock(&f->lock);
	return o ? 0 : no_object(errp, uri);
}

static void fake_free(struct object_store *s)
{
	struct object_store_fake *f = fake_of(s);

	while (f->all) {
		struct fake_object *o = f->all;

		f->all = o->next;
		free(o->buf);
		free(o);
	}
	map_release(&f->objects);
	mutex_destroy(&f->lock);
	free(f);
}

static const struct object_store_ops fake_ops = {
	.stat = fake_stat,
	.read = fake_read,
	.put = fake_put,
	.remove = fake_remove,
	.free = fake_free,
};

struct object_store *object_store_fake_new(void)
{
	struct object_store_fake *f = xcalloc(1, sizeof(*f));

	f->store.ops = &fake_ops;
	mutex_init(&f->lock, LOCK_FAKE);
	return &f->store;
}
