#include "fs/errors.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/time.h"

#define LOG_INTERVAL_NS (60 * NS_PER_S)

static const struct fs_site_info sites[SITE_END] = {
	[SITE_TREE] = {"tree", EIO, "the tree breaks its rules"},
	[SITE_SOURCE] = {"source", EIO, "a source does not fit the manifest"},
	[SITE_LOCAL] = {"local", EIO, "the cache could not be read"},
	[SITE_VERIFY] = {"verify", EIO, "the bytes are not what was pinned"},
	[SITE_FETCH] = {"fetch", EIO, "the bytes could not be fetched"},
	[SITE_TIMEOUT] = {"timeout", EIO, "the bytes did not come in time"},
	[SITE_DENIED] = {"denied", EACCES, "the store refused access"},
	[SITE_DRIFT] = {"drift", ESTALE, "the external object was changed"},
	[SITE_LOST] = {"lost", EIO, "fetched bytes were gone again"},
	[SITE_SYNTHETIC] = {"synthetic", EIO, "a document cannot be made"},
	[SITE_STOPPING] = {"stopping", EIO, "the mount is being taken down"},
	[SITE_MEMORY] = {"memory", ENOMEM, "no memory for the answer"},
	[SITE_FILES] = {"files", EMFILE, "no descriptor is left"},
};

const struct fs_site_info *fs_site_info(enum fs_site s)
{
	return &sites[s];
}

void fs_errors_init(struct fs_errors *e, atomic_uint_fast64_t *counts)
{
	memset(e, 0, sizeof(*e));
	e->counts = counts;
	mutex_init(&e->lock, LOCK_MOUNT);
}

enum fs_site fs_site_of(int code, bool local)
{
	switch (code) {
	case EACCES:
	case EPERM:
		return local ? SITE_LOCAL : SITE_DENIED;
	case ESTALE:
		return local ? SITE_LOCAL : SITE_DRIFT;
	case EBADMSG:
		return SITE_VERIFY;
	case ETIMEDOUT:
		return SITE_TIMEOUT;
	case ENOMEM:
		return SITE_MEMORY;
	case EMFILE:
	case ENFILE:
		return SITE_FILES;
	default:
		return local ? SITE_LOCAL : SITE_FETCH;
	}
}

static struct fs_failure *failure_of_locked(struct fs_errors *e, uint64_t ino)
	REQUIRES(e->lock);
static struct fs_failure *failure_of_locked(struct fs_errors *e, uint64_t ino)
{
	for (unsigned i = 0; i < FS_FAILURES; i++)
		if (e->ring[i].ino == ino)
			return &e->ring[i];
	return NULL;
}

/* True: say it; *@ret_held is what was not said since the last time. */
static bool remember(struct fs_errors *e, enum fs_site site, uint64_t ino,
		     const char *text, uint64_t *ret_held)
{
	int64_t now = time_mono_ns();
	struct fs_failure *f;
	bool say;

	mutex_lock(&e->lock);
	f = failure_of_locked(e, ino);
	if (!f)
		f = &e->ring[e->next++ % FS_FAILURES];
	f->ino = ino;
	f->wall_s = time_wall_s();
	f->site = site;
	snprintf(f->text, sizeof(f->text), "%s", text);

	say = !e->sites[site].logged_ns ||
	      now - e->sites[site].logged_ns >= LOG_INTERVAL_NS;
	if (say) {
		*ret_held = e->sites[site].held_back;
		e->sites[site].logged_ns = now;
		e->sites[site].held_back = 0;
	} else {
		e->sites[site].held_back++;
	}
	mutex_unlock(&e->lock);
	return say;
}

int fs_errors_report(struct fs_errors *e, enum fs_site site, uint64_t ino,
		     const char *what, const char *why)
{
	const struct fs_site_info *info = &sites[site];
	cleanup_free char *text =
		xasprintf("%s: %s", what, why ? why : info->what);
	uint64_t held = 0;

	atomic_fetch_add_explicit(&e->counts[site], 1, memory_order_relaxed);
	if (!remember(e, site, ino, text, &held))
		return info->code;
	if (held)
		log_error("site %d (%s): %s (and %llu more since the last such "
			  "line)",
			  site, info->name, text, (unsigned long long)held);
	else
		log_error("site %d (%s): %s", site, info->name, text);
	return info->code;
}

uint64_t fs_errors_count(struct fs_errors *e, enum fs_site site)
{
	return atomic_load_explicit(&e->counts[site], memory_order_relaxed);
}

bool fs_errors_last(struct fs_errors *e, uint64_t ino, struct strbuf *out)
{
	struct fs_failure f = {0};
	const struct fs_failure *p;
	char when[32];
	struct tm tm;
	time_t t;

	mutex_lock(&e->lock);
	p = failure_of_locked(e, ino);
	if (p)
		f = *p;
	mutex_unlock(&e->lock);
	if (!f.ino)
		return false;
	t = f.wall_s;
	gmtime_r(&t, &tm);
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm);
	strbuf_addf(out, "site %d (%s), %s: %s", f.site, sites[f.site].name,
		    when, f.text);
	return true;
}

static bool any_failure(struct fs_errors *e)
{
	for (int s = 1; s < SITE_END; s++)
		if (fs_errors_count(e, s))
			return true;
	return false;
}

void fs_errors_clear(struct fs_errors *e, uint64_t ino)
{
	struct fs_failure *f;

	if (!any_failure(e))
		return;
	mutex_lock(&e->lock);
	f = failure_of_locked(e, ino);
	if (f)
		f->ino = 0;
	mutex_unlock(&e->lock);
}
