/* Writing what storage/credentials.c reads. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/io.h"
#include "base/secret.h"
#include "base/time.h"
#include "storage/credential_helper.h"
#include "storage/credentials.h"
#include "storage/docker_config.h"

void login_place_release(struct login_place *p)
{
	free(p->file);
	free(p->helper);
	*p = (struct login_place){0};
}

#define LOCK_SLICE_MS 50 /* between looks at a lock that another run has */
#define LOCK_WAIT_MS  10000
#define LINKS_MAX     40 /* that lead to one another, as in the kernel */

static int choose_file(struct login_place *p, struct error **errp)
{
	p->file = credentials_file();
	return p->file ? 0
		       : error_set(errp, ENOENT,
				   "there is no HOME to keep a login in");
}

/* A file that is being changed: its folder is locked, against others of us. */
struct change {
	char *path; /* what a symbolic link leads to */
	int dirfd;
	char *text;
	size_t n;
};

static void change_release(struct change *c)
{
	wipe_free(c->text, c->n);
	free(c->path);
	closep(&c->dirfd);
}
#define cleanup_change __attribute__((cleanup(change_release)))

/* Who has it may be waiting for a helper that asks its user. A file system
 * without locks (ENOLCK; of NFS, EBADF) does not keep anybody from a login. */
static int lock(int fd, const char *what, const struct op *op,
		struct error **errp)
{
	int64_t end = time_deadline_ms(LOCK_WAIT_MS);
	int r = 0;

	while (r == 0 && flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK)
			return 0;
		if (time_mono_ns() >= end)
			return error_hint(
				errp,
				error_set(errp, ETIMEDOUT,
					  "'%s' is locked by another process",
					  what),
				"end the other 'mops login' or 'logout', or "
				"wait for it");
		time_sleep_ms(LOCK_SLICE_MS);
		r = op_go_on(op, errp);
	}
	return r;
}

static int lock_folder(struct change *c, const struct op *op,
		       struct error **errp)
{
	cleanup_free char *folder = xstrdup(c->path);
	char *slash = strrchr(folder, '/');
	const char *at = slash == folder ? "/" : slash ? folder : ".";
	int r;

	if (slash && slash != folder)
		*slash = '\0';
	r = io_mkdirs(at, 0700);
	if (r < 0)
		return error_set_errno(errp, -r, "creating '%s'", at);
	c->dirfd = open(at, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (c->dirfd < 0)
		return error_set_errno(errp, errno, "opening '%s'", at);
	return lock(c->dirfd, at, op, errp);
}

/* Where a link leads, be it there or not: docker makes what is missing. */
static char *follow(const char *file)
{
	char *real = realpath(file, NULL);
	cleanup_free char *path = xstrdup(file);
	char to[PATH_MAX];
	ssize_t n;

	for (int i = 0; !real && i < LINKS_MAX; i++) {
		const char *slash = strrchr(path, '/');
		char *next;

		n = readlink(path, to, sizeof(to) - 1);
		if (n < 0)
			break;
		to[n] = '\0';
		next = xasprintf("%.*s%s",
				 *to == '/' || !slash ? 0
						      : (int)(slash + 1 - path),
				 path, to);
		free(path);
		path = next;
	}
	return real ? real : steal_ptr(&path);
}

static int change_begin(const char *file, struct change *c, const struct op *op,
			struct error **errp)
{
	int r;

	c->path = follow(file);
	r = lock_folder(c, op, errp);
	if (r < 0)
		return r;
	r = io_read_file(AT_FDCWD, c->path, DOCKER_CONFIG_MAX, &c->text, &c->n);
	return r < 0 && r != -ENOENT
		       ? error_set_errno(errp, -r, "cannot read '%s'", file)
		       : 0;
}

/* 1: there was an entry, 0: there was none. */
static int change_commit(struct change *c, const struct docker_config_edit *e,
			 struct error **errp)
{
	cleanup_secret char *text = NULL;
	bool had = false;
	int r = docker_config_edit(c->text, c->n, e, &text, &had, errp);

	if (r < 0)
		return r;
	if (e->remove && !had)
		return 0;
	r = io_rewrite_file_atomic(AT_FDCWD, c->path, text, strlen(text), 0600);
	if (r < 0)
		return error_set_errno(errp, -r, "writing '%s'", c->path);
	return had;
}

static int find_helper(const struct change *c, const char *host, char **ret,
		       struct error **errp)
{
	cleanup_docker_config_match struct docker_config_match m = {0};
	int r;

	if (!c->n)
		return 0;
	r = docker_config_find(c->text, c->n, host, NULL, &m, errp);
	if (r == 0)
		*ret = steal_ptr(&m.helper);
	return r;
}

static int store(const char *host, const struct login *login,
		 struct login_place *p, const struct op *op,
		 struct error **errp)
{
	cleanup_change struct change c = {.dirfd = -1};
	struct docker_config_edit e = {.host = host};
	int r = change_begin(p->file, &c, op, errp);

	if (r == 0)
		r = find_helper(&c, host, &p->helper, errp);
	if (r == 0 && p->helper)
		r = credential_helper_store(
			p->helper, docker_config_server(host), login, op, errp);
	if (r < 0)
		return r;
	e.login = p->helper ? NULL : login;
	r = change_commit(&c, &e, errp);
	return r < 0 ? r : 0;
}

int credentials_store(const char *host, const struct login *login,
		      struct login_place *ret, const struct op *op,
		      struct error **errp)
{
	int r = choose_file(ret, errp);

	if (r < 0)
		return r;
	r = store(host, login, ret, op, errp);
	return error_prefix(errp, r, "'%s'", ret->file);
}

static int forget(const char *host, struct login_place *p, const struct op *op,
		  struct error **errp)
{
	const struct docker_config_edit e = {.host = host, .remove = true};
	cleanup_change struct change c = {.dirfd = -1};
	int erased = 0, r;

	/* A link to nothing has no login either. */
	if (access(p->file, F_OK) < 0 && errno == ENOENT)
		return 0;
	r = change_begin(p->file, &c, op, errp);
	if (r == 0)
		r = find_helper(&c, host, &p->helper, errp);
	if (r == 0 && p->helper)
		r = erased = credential_helper_erase(
			p->helper, docker_config_server(host), op, errp);
	if (r < 0)
		return r;
	r = change_commit(&c, &e, errp);
	return r < 0 ? r : r || (p->helper && erased == 0);
}

int credentials_forget(const char *host, struct login_place *ret,
		       const struct op *op, struct error **errp)
{
	int r = choose_file(ret, errp);

	if (r < 0)
		return r;
	r = forget(host, ret, op, errp);
	return error_prefix(errp, r, "'%s'", ret->file);
}
