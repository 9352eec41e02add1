#include "cache/gc_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/time.h"

/* Where locks mean nothing, a lease of another machine counts this long. */
#define LEASE_AGE_S 86400

void digest_set_add(struct digest_set *s, const struct digest *d)
{
	map_put(&s->digests, d->b, DIGEST_SIZE, s);
}

bool digest_set_has(const struct digest_set *s, const struct digest *d)
{
	return s->everything || map_get(&s->digests, d->b, DIGEST_SIZE);
}

void digest_set_release(struct digest_set *s)
{
	map_release(&s->digests);
	s->everything = false;
}

struct mark {
	struct cache *c;
	const struct gc_options *opt;
	struct digest_set *needed;
	struct error **errp;
};

static int mark_layer(void *ctx, int dirfd, const char *name)
{
	struct digest d;

	if (digest_parse_hex(name, strlen(name), &d, NULL) == 0)
		digest_set_add(ctx, &d);
	return 0;
}

/* What cache_bundle_record() wrote: links named by, or leading to, digests. */
static void mark_recorded(struct mark *m, const char *hex)
{
	cleanup_free char *root = xasprintf("%s/root", hex);
	cleanup_free char *layers = xasprintf("%s/layers", hex);
	char to[PATH_MAX];
	ssize_t n = readlinkat(m->c->room[ROOM_BUNDLES], root, to, sizeof(to));
	struct digest d;
	int fd;

	if (n > DIGEST_HEX_LEN &&
	    digest_parse_hex(to + n - DIGEST_HEX_LEN, DIGEST_HEX_LEN, &d,
			     NULL) == 0)
		digest_set_add(m->needed, &d);
	fd = io_open_beneath(m->c->room[ROOM_BUNDLES], layers,
			     O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0)
		return;
	(void)dir_each(fd, mark_layer, m->needed);
	close(fd);
}

static int mark_bundle(struct mark *m, const struct digest *manifest,
		       bool content)
{
	digest_set_add(m->needed, manifest);
	mark_recorded(m, digest_to_hex(manifest).str);
	if (m->opt->expand)
		return m->opt->expand(m->opt->ctx, manifest, content, m->needed,
				      m->errp);
	m->needed->everything |= content;
	return 0;
}

/* Locks are not to be trusted: the process of this machine, or its age. */
static bool lease_seems_alive(int fd, const char *name)
{
	long pid = strtol(name, NULL, 10);
	struct stat st;

	if (pid > 0 && (kill((pid_t)pid, 0) == 0 || errno == EPERM))
		return true;
	return fstat(fd, &st) == 0 && time_wall_s() - st.st_mtime < LEASE_AGE_S;
}

static int mark_lease(void *ctx, int dirfd, const char *name)
{
	struct mark *m = ctx;
	cleanup_free char *text = NULL;
	cleanup_fd int fd = openat(
		dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct digest manifest;
	bool content;
	size_t len;

	if (fd < 0)
		return 0;
	if (m->c->locks_trusted ? flock(fd, LOCK_EX | LOCK_NB) == 0
				: !lease_seems_alive(fd, name)) {
		if (!m->opt->dry_run)
			unlinkat(dirfd, name, 0);
		return 0;
	}
	if (io_read_file(dirfd, name, 4096, &text, &len) < 0 ||
	    lease_parse(text, len, &manifest, &content) < 0) {
		/* Somebody holds it, and it does not say what. */
		m->needed->everything = true;
		return 0;
	}
	return mark_bundle(m, &manifest, content);
}

static int mark_pin(void *ctx, int dirfd, const char *name)
{
	struct mark *m = ctx;
	cleanup_free char *pin = xasprintf("%s/pinned", name);
	struct digest manifest;

	if (digest_parse_hex(name, strlen(name), &manifest, NULL) < 0 ||
	    faccessat(dirfd, pin, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	return mark_bundle(m, &manifest, true);
}

int gc_mark(struct cache *c, const struct gc_options *opt,
	    struct digest_set *needed, struct error **errp)
{
	struct mark m = {.c = c, .opt = opt, .needed = needed, .errp = errp};
	int r = dir_each(c->room[ROOM_LEASES], mark_lease, &m);

	return r == 0 ? dir_each(c->room[ROOM_BUNDLES], mark_pin, &m) : r;
}

/*
 * Pins and the list of bundles.
 */

/* A collection that is under way looks at the leases' folder only: whether it
 * changed. */
static int write_pin(struct cache *c, int dirfd)
{
	int r = io_write_file_atomic(dirfd, "pinned", "", 0, 0600);

	if (r == 0 && futimens(c->room[ROOM_LEASES], NULL) < 0)
		r = -errno;
	return r;
}

int cache_pin(struct cache *c, const struct digest *manifest, bool pinned,
	      struct error **errp)
{
	struct digest_hex hex = digest_to_hex(manifest);
	cleanup_fd int dirfd = io_open_beneath(c->room[ROOM_BUNDLES], hex.str,
					       O_RDONLY | O_DIRECTORY, 0);
	int r = dirfd;

	if (r >= 0 && pinned)
		r = write_pin(c, dirfd);
	else if (r >= 0 && unlinkat(dirfd, "pinned", 0) < 0 && errno != ENOENT)
		r = -errno;
	if (r == -ENOENT)
		return error_set_kind(errp, ERROR_NOT_FOUND, ENOENT,
				      "bundle '%s' is not in the cache",
				      hex.str);
	if (r < 0)
		return error_set_errno(errp, -r, "cannot pin bundle '%s'",
				       hex.str);
	return 0;
}

struct each_bundle {
	int (*fn)(void *ctx, const struct cache_bundle *b);
	void *ctx;
};

static int each_bundle(void *ctx, int dirfd, const char *name)
{
	struct each_bundle *e = ctx;
	cleanup_free char *used = xasprintf("%s/used", name);
	cleanup_free char *pin = xasprintf("%s/pinned", name);
	struct cache_bundle b = {0};
	struct stat st;

	if (digest_parse_hex(name, strlen(name), &b.manifest, NULL) < 0)
		return 0;
	if (fstatat(dirfd, used, &st, AT_SYMLINK_NOFOLLOW) == 0)
		b.used_s = st.st_mtime;
	b.pinned = faccessat(dirfd, pin, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
	return e->fn(e->ctx, &b);
}

int cache_bundle_each(struct cache *c,
		      int (*fn)(void *ctx, const struct cache_bundle *b),
		      void *ctx, struct error **errp)
{
	struct each_bundle e = {.fn = fn, .ctx = ctx};
	int r = dir_each(c->room[ROOM_BUNDLES], each_bundle, &e);

	if (r < 0)
		return error_set_errno(errp, -r, "cannot list '%s/bundles'",
				       c->path);
	return r;
}
