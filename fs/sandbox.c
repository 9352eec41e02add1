#include "fs/sandbox.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/io.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "base/thread.h"

#define CAPS_MAX 64

void sandbox_prepare(void)
{
	const struct rlimit none = {0};

	prctl(PR_SET_DUMPABLE, 0);
	setrlimit(RLIMIT_CORE, &none);
}

/*
 * In each thread, in a signal's handler.
 */

struct taken {
	bool keep_admin;
	int ruleset; /* -1: none */
};

/* Only what this has, and may keep, stays. */
static int drop_capabilities(bool keep_admin)
{
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct had[2] = {0}, keep[2] = {0};
	const uint32_t admin = 1u << CAP_SYS_ADMIN;

	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	/* Without CAP_SETPCAP it stays, but cannot be had any more. */
	for (unsigned long i = 0; i < CAPS_MAX; i++)
		if (!keep_admin || i != CAP_SYS_ADMIN)
			prctl(PR_CAPBSET_DROP, i, 0, 0, 0);
	if (syscall(SYS_capget, &head, had) < 0)
		return -errno;
	if (keep_admin)
		keep[0].permitted = keep[0].effective =
			had[0].effective & admin;
	return syscall(SYS_capset, &head, keep) < 0 ? -errno : 0;
}

static int take_from_thread(void *arg)
{
	const struct taken *t = arg;
	int r = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0;

	if (r == 0)
		r = drop_capabilities(t->keep_admin);
	if (r == 0 && t->ruleset >= 0)
		r = landlock_enter(t->ruleset);
	return r;
}

/*
 * All of it.
 */

static void note(struct strbuf *lacks, const char *part, int r)
{
	if (lacks->len)
		strbuf_adds(lacks, ", ");
	strbuf_addf(lacks, "%s (%s)", part,
		    r == -ENOSYS || r == -EOPNOTSUPP || r == -EINVAL
			    ? "this kernel has none that is enough"
			    : strerror(-r));
}

void sandbox_enter(const struct sandbox_rules *rules, struct sandbox_state *ret)
{
	cleanup_strbuf struct strbuf lacks = STRBUF_INIT;
	bool truncates = false;
	cleanup_fd int ruleset = landlock_make(rules, &truncates);
	struct taken t = {rules->keep_admin, MAX(ruleset, -1)};
	int r;

	/* Folders of the cache get their mode when they are made: seccomp lets
	 * no file be given one that is so open. */
	umask(0);
	if (ruleset < 0)
		note(&lacks, "Landlock", ruleset);
	else if (!truncates)
		note(&lacks, "Landlock's control of emptying files",
		     -EOPNOTSUPP);
	r = thread_everywhere(take_from_thread, &t);
	if (r < 0)
		note(&lacks, "all of it in every thread", r);
	r = seccomp_enter();
	if (r < 0)
		note(&lacks, "seccomp", r);
	ret->on = true;
	if (!lacks.len)
		return;
	ret->lacks = strbuf_steal(&lacks);
	log_warn("the sandbox is without %s", ret->lacks);
}

void sandbox_state_release(struct sandbox_state *s)
{
	free(s->lacks);
}
