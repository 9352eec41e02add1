/*
 * What a worker takes from itself: whoever takes it over by some byte of a
 * bundle, a registry or a cache is to get no further than that. The first
 * worker does it once it serves, since mounting needs more; each later one
 * before it reads anything.
 *
 *   no new privileges, no capability (CAP_SYS_ADMIN stays where files are
 *   passed through: the kernel asks for it at each), no core file, no look into
 *   its memory by others of the same user
 *   Landlock: writes the cache, but not what that keeps of tags and workspaces;
 *   reads what is read again and again (settings, credentials, authorities,
 *   resolver); executes nothing
 *   seccomp: a list of system calls; all others are ENOSYS and are logged by
 *   the kernel's audit. Not SIGSYS: a new C library that tries a new call goes
 *   on with the older one then, where death would make the supervisor start
 *   worker after worker. What matters is that the call is not done.
 *
 * Programs are run by the worker's outside (outside.h), unmounting is the
 * supervisor's. A part that the kernel lacks is named in one log line and in
 * the status; the mount goes on.
 *
 * Threads: sandbox_prepare() before there are any; sandbox_enter() from the
 * main one.
 */
#ifndef FS_SANDBOX_H
#define FS_SANDBOX_H

#include <stdbool.h>

#include "engine/settings.h"

struct sandbox_state {
	bool on;
	char *lacks; /* in words; NULL: nothing */
};

struct sandbox_rules {
	const struct settings *settings;
	const char *cache;  /* the folder of this user's */
	const char *layout; /* the folder of an image layout; NULL */
	bool keep_admin;
};

void sandbox_prepare(void);
void sandbox_enter(const struct sandbox_rules *rules,
		   struct sandbox_state *ret);
void sandbox_state_release(struct sandbox_state *s);

/* landlock.c: a ruleset, or -errno; -ENOSYS and -EOPNOTSUPP: the kernel has
 * none, or not enough of it. @ret_truncates: does it keep from emptying what
 * can only be read (since Linux 6.2)? */
int landlock_make(const struct sandbox_rules *rules, bool *ret_truncates);
/* In this thread. 0 or -errno. */
int landlock_enter(int ruleset);

/* seccomp.c: for all threads of the process. 0 or -errno. */
int seccomp_enter(void);

#endif
