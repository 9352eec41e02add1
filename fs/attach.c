#include "fs/attach.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/io.h"
#include "base/log.h"
#include "fs/mountinfo.h"
#include "fs/open.h"
#include "fs/received.h"

#define INIT_MS 10000

/* What mount and df call the source: a name that needs no escaping. */
static char *source_name(const struct bundle *b)
{
	if (b->ref.repo && b->ref.tag)
		return xasprintf("%s:%s", b->ref.repo, b->ref.tag);
	return xasprintf("%s@sha256:%.12s", b->ref.repo ? b->ref.repo : "",
			 digest_to_hex(&b->digest).str);
}

int attach_open(struct mount *m, struct error **errp)
{
	const char *fsname = m->options->fsname;
	cleanup_free char *source =
		fsname ? xstrdup(fsname) : source_name(m->bundle);
	cleanup_free char *options = xasprintf(
		"ro,nosuid,nodev,default_permissions,subtype=mopsfs,fsname=%s"
		"%s%s",
		source, m->options->allow_other ? ",allow_other" : "",
		m->options->noexec ? ",noexec" : "");
	const char *argv[] = {"mopsfs", "-o", options, NULL};
	struct fuse_args args = FUSE_ARGS_INIT(3, (char **)argv);

	m->se = fuse_session_new(&args, &mount_ops, sizeof(mount_ops), m);
	fuse_opt_free_args(&args);
	if (!m->se)
		return error_set(errp, EINVAL, "libfuse refused '%s'", options);
	return 0;
}

static void log_of_libfuse(enum fuse_log_level level, const char *fmt,
			   va_list ap) __attribute__((format(printf, 2, 0)));
static void log_only(enum fuse_log_level level, const char *fmt, va_list ap)
	__attribute__((format(printf, 2, 0)));

static void log_of_libfuse(enum fuse_log_level level, const char *fmt,
			   va_list ap)
{
	int keep = errno;
	cleanup_free char *text = xvasprintf(fmt, ap);

	text[strcspn(text, "\n")] = '\0';
	/* While mounting, this is the reason that the user gets. */
	if (level <= FUSE_LOG_ERR)
		fprintf(stderr, "%s\n", text);
	log_debug("libfuse: %s", text);
	errno = keep;
}

static void log_only(enum fuse_log_level level, const char *fmt, va_list ap)
{
	int keep = errno;
	cleanup_free char *text = xvasprintf(fmt, ap);

	text[strcspn(text, "\n")] = '\0';
	log_debug("libfuse: %s", text);
	errno = keep;
}

/* fusermount3 and libfuse tell the reason on stderr; we say it once, in the
 * one line of our own. */
int attach_mount(struct mount *m, struct error **errp)
{
	cleanup_fd int keep = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	cleanup_fd int said = memfd_create("stderr", MFD_CLOEXEC);
	cleanup_free char *why = NULL;
	int r, known = 0;

	if (keep >= 0 && said >= 0)
		dup2(said, STDERR_FILENO);
	fuse_set_log_func(log_of_libfuse);
	r = fuse_session_mount(m->se, m->mountpoint);
	fuse_set_log_func(log_only);
	if (keep >= 0 && said >= 0)
		dup2(keep, STDERR_FILENO);
	/* At once: should this process die, who unmounts knows what. */
	if (r == 0)
		known = mount_identify(m->mountpoint,
				       &m->handover->table->identity);
	if (known < 0) {
		/* Nobody could find it again. */
		fuse_session_unmount(m->se);
		return error_set_errno(errp, -known, "looking for the mount");
	}
	if (r == 0)
		return 0;
	why = said >= 0 ? io_last_line(said) : xstrdup("");
	return error_set(errp, EIO, "mounting on '%s': %s", m->mountpoint,
			 *why ? why : "it was refused");
}

/* The session owns @device from here on. */
static int use_device(struct mount *m, int device, struct error **errp)
{
	char path[32];

	snprintf(path, sizeof(path), "/dev/fd/%d", device);
	if (fuse_session_mount(m->se, path) < 0)
		return error_set(errp, EBADF, "the mount's device is closed");
	return 0;
}

int attach_received(struct mount *m, int device, struct error **errp)
{
	struct mount_identity *id = &m->handover->table->identity;
	int r;

	fuse_set_log_func(log_only);
	r = use_device(m, device, errp);
	if (r == 0 && received_superblock(device, &m->major, &m->minor) &&
	    (mount_identify(m->mountpoint, id) < 0 || id->major != m->major ||
	     id->minor != m->minor))
		*id = (struct mount_identity){m->major, m->minor, 0};
	return r;
}

int attach_take_over(struct mount *m, struct error **errp)
{
	/* Its replay is answered to nobody: the kernel forgets what it never
	 * asked. The session closes its descriptor; so it gets one. */
	int r = use_device(m, m->handover->device, errp);

	if (r < 0)
		return r;
	m->major = m->handover->table->identity.major;
	m->minor = m->handover->table->identity.minor;
	return 0;
}

int attach_replay_init(struct mount *m, struct error **errp)
{
	struct handover_table *t = m->handover->table;
	struct fuse_buf buf = {.mem = t->init, .size = t->init_len};

	fuse_session_process_buf(m->se, &buf);
	return opens_check_init(m->opens, errp);
}

int attach_make_blocking(struct mount *m, struct error **errp)
{
	int fd = fuse_session_fd(m->se);
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) < 0)
		return error_set_errno(errp, errno, "the mount's device");
	return 0;
}

/* For a kernel that cannot resend: see handover_clone(). The device itself is
 * for the supervisor. */
static void take_clone(struct mount *m)
{
	struct handover *h = m->handover;
	int fd = fuse_session_fd(m->se);
	cleanup_fd int clone = handover_clone(fd);
	cleanup_fd int device = fcntl(fd, F_DUPFD_CLOEXEC, 3);

	if (clone < 0 || device < 0 || dup3(clone, fd, O_CLOEXEC) < 0) {
		log_warn("when the worker of '%s' dies, the mount ends: %s",
			 m->mountpoint, strerror(errno));
		return;
	}
	h->device = steal_fd(&device);
	h->table->cloned = true;
}

int attach_serve_init(struct mount *m, struct error **errp)
{
	struct handover_table *t = m->handover->table;
	struct fuse_session *se = m->se;
	struct pollfd p = {.fd = fuse_session_fd(se), .events = POLLIN};
	struct fuse_buf buf = {0};

	if (poll(&p, 1, INIT_MS) <= 0 ||
	    fuse_session_receive_buf(se, &buf) <= 0)
		return error_set(errp, ETIMEDOUT,
				 "the kernel did not start the mount");
	fuse_session_process_buf(se, &buf);
	t->init_len = (uint32_t)MIN(buf.size, sizeof(t->init));
	memcpy(t->init, buf.mem, t->init_len);
	free(buf.mem);
	if (!handover_can_resend(t))
		take_clone(m);
	return opens_check_init(m->opens, errp);
}

static int check_options(const struct mount_entry *e,
			 const struct mount_options *o, struct error **errp)
{
	static const char *const always[] = {"ro", "nosuid", "nodev"};

	for (size_t i = 0; i < ARRAY_SIZE(always); i++)
		if (!mount_option_has(e->options, always[i]))
			return error_set(errp, EPERM,
					 "the mount came without '%s'",
					 always[i]);
	if (!mount_option_has(e->super, "default_permissions"))
		return error_set(errp, EPERM,
				 "the mount came without permission checks");
	if (!o->allow_other && mount_option_has(e->super, "allow_other"))
		return error_set(errp, EPERM,
				 "the mount came with 'allow_other'");
	return 0;
}

int attach_check(struct mount *m, struct error **errp)
{
	const struct mount_identity *id = &m->handover->table->identity;
	cleanup_mount_list struct mount_list mounts = {0};
	const struct mount_entry *e;
	int r = mount_list_read(&mounts);

	if (r < 0)
		return error_set_errno(errp, -r, "reading the list of mounts");
	e = mount_list_top(&mounts, m->mountpoint);
	if (!e || !id->minor || e->major != id->major || e->minor != id->minor)
		return error_set(errp, EIO, "'%s' is not where it was mounted",
				 m->mountpoint);
	m->major = id->major;
	m->minor = id->minor;
	return check_options(e, m->options, errp);
}

void attach_set_readahead(const struct mount *m)
{
	cleanup_free char *path = xasprintf(
		"/sys/class/bdi/%u:%u/read_ahead_kb", m->major, m->minor);
	cleanup_free char *text = xasprintf("%u\n", m->options->readahead_kb);
	cleanup_fd int fd = -1;
	int r;

	if (geteuid() != 0 || !m->options->readahead_kb)
		return;
	fd = open(path, O_WRONLY | O_CLOEXEC);
	r = fd < 0 ? -errno : io_write_full(fd, text, strlen(text));
	if (r < 0)
		log_info("'%s' stays as it is: %s", path, strerror(-r));
}
