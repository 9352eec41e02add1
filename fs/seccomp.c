/*
 * System calls that a worker makes while it serves: those of the file system,
 * of sockets, memory, threads and time. Not among them: starting programs,
 * mounting, tracing, signalling others, other users' ids, namespaces, keys, BPF,
 * io_uring, and sockets that lead to other programs of the machine.
 *
 * Found by counting what a worker calls under the tests, and filled up with
 * what the C library, libcurl and OpenSSL call instead on other machines. A
 * name that an architecture has not is passed over.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/fs.h>

#include "base/alloc.h"
#include "fs/sandbox.h"

/* linux/fuse.h of Debian 12 is older than passthrough. */
#define FUSE_BACKING_OPEN  _IOW(229, 1, char[16])
#define FUSE_BACKING_CLOSE _IOW(229, 2, uint32_t)
/* Without SOCK_CLOEXEC and SOCK_NONBLOCK, as the kernel has it. */
#define SOCKET_TYPES 0xf
#define NAMESPACES                                                     \
	(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | \
	 CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET)

static const char *const calls[] = {
	/* descriptors */
	"close",
	"close_range",
	"dup",
	"dup2",
	"dup3",
	"read",
	"readv",
	"pread64",
	"preadv",
	"preadv2",
	"write",
	"writev",
	"pwrite64",
	"pwritev",
	"pwritev2",
	"lseek",
	"splice",
	"vmsplice",
	"tee",
	"sendfile",
	"copy_file_range",
	"pipe",
	"pipe2",
	"flock",
	/* waiting */
	"poll",
	"ppoll",
	"select",
	"pselect6",
	"epoll_create",
	"epoll_create1",
	"epoll_ctl",
	"epoll_wait",
	"epoll_pwait",
	"epoll_pwait2",
	"eventfd",
	"eventfd2",
	"timerfd_create",
	"timerfd_settime",
	"timerfd_gettime",
	/* files */
	"openat2",
	"stat",
	"fstat",
	"lstat",
	"newfstatat",
	"statx",
	"statfs",
	"fstatfs",
	"access",
	"faccessat",
	"faccessat2",
	"getdents",
	"getdents64",
	"readlink",
	"readlinkat",
	"mkdir",
	"mkdirat",
	"rmdir",
	"unlink",
	"unlinkat",
	"rename",
	"renameat",
	"renameat2",
	"link",
	"linkat",
	"symlink",
	"symlinkat",
	"ftruncate",
	"fallocate",
	"fadvise64",
	"readahead",
	"fsync",
	"fdatasync",
	"sync_file_range",
	"syncfs",
	"getcwd",
	"getxattr",
	"lgetxattr",
	"fgetxattr",
	"listxattr",
	"flistxattr",
	/* memory */
	"brk",
	"mmap",
	"munmap",
	"mremap",
	"mprotect",
	"madvise",
	"msync",
	"mincore",
	"mlock",
	"mlock2",
	"munlock",
	"memfd_create",
	"membarrier",
	/* threads */
	"futex",
	"futex_waitv",
	"set_robust_list",
	"get_robust_list",
	"rseq",
	"set_tid_address",
	"gettid",
	"exit",
	"exit_group",
	"sched_yield",
	"sched_getaffinity",
	"sched_getparam",
	"sched_getscheduler",
	"arch_prctl",
	"getcpu",
	/* signals; to itself: abort() and thread_everywhere() */
	"rt_sigaction",
	"rt_sigprocmask",
	"rt_sigreturn",
	"rt_sigtimedwait",
	"rt_sigpending",
	"rt_sigsuspend",
	"sigaltstack",
	"restart_syscall",
	"pause",
	/* time */
	"clock_gettime",
	"clock_getres",
	"clock_nanosleep",
	"nanosleep",
	"gettimeofday",
	"time",
	"times",
	"alarm",
	"setitimer",
	"getitimer",
	/* sockets */
	"connect",
	"accept",
	"accept4",
	"bind",
	"listen",
	"getsockname",
	"getpeername",
	"getsockopt",
	"sendto",
	"recvfrom",
	"sendmsg",
	"recvmsg",
	"sendmmsg",
	"recvmmsg",
	"shutdown",
	/* who and where */
	"getpid",
	"getppid",
	"getpgrp",
	"getpgid",
	"getsid",
	"getuid",
	"geteuid",
	"getgid",
	"getegid",
	"getgroups",
	"getresuid",
	"getresgid",
	"uname",
	"sysinfo",
	"getrandom",
	"getrusage",
	"getrlimit",
	"capget",
	"getpriority",
	"wait4",
	"waitid",
};

static int allow_calls(scmp_filter_ctx f)
{
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
		int n = seccomp_syscall_resolve_name(calls[i]);
		int r = n < 0 ? 0 : seccomp_rule_add(f, SCMP_ACT_ALLOW, n, 0);

		if (r < 0)
			return r;
	}
	return 0;
}

/* Calls that are allowed for what one of their arguments says. */
static const struct {
	const char *call;
	unsigned arg;
	uint64_t value;
} some[] = {
	{"ioctl", 1, FICLONE},
	{"ioctl", 1, FICLONERANGE},
	{"ioctl", 1, FIONREAD},
	{"ioctl", 1, FIONBIO},
	{"ioctl", 1, 0x5401u /* TCGETS */},
	{"ioctl", 1, FUSE_BACKING_OPEN},
	{"ioctl", 1, FUSE_BACKING_CLOSE},
	/* Not whom to signal (F_SETOWN), and with what. */
	{"fcntl", 1, F_DUPFD},
	{"fcntl", 1, F_DUPFD_CLOEXEC},
	{"fcntl", 1, F_GETFD},
	{"fcntl", 1, F_SETFD},
	{"fcntl", 1, F_GETFL},
	{"fcntl", 1, F_SETFL},
	{"fcntl", 1, F_OFD_GETLK},
	{"fcntl", 1, F_OFD_SETLK},
	{"fcntl", 1, F_OFD_SETLKW},
	{"fcntl", 1, F_ADD_SEALS},
	{"fcntl", 1, F_GET_SEALS},
	{"fcntl", 1, F_GETPIPE_SZ},
	{"fcntl", 1, F_SETPIPE_SZ},
	/* Not AF_UNIX: behind a path may be whoever acts for the user. Name
	 * services that are asked so are passed by for the next ones. */
	{"socket", 0, AF_INET},
	{"socket", 0, AF_INET6},
	{"socket", 0, AF_NETLINK},
	{"setsockopt", 1, IPPROTO_IP},
	{"setsockopt", 1, IPPROTO_IPV6},
	{"setsockopt", 1, IPPROTO_TCP},
	/* Of what was opened, which may be any file that is read. Not what runs
	 * as its owner, nor what others may write to. */
	{"fchmod", 1, 0444},
	{"fchmod", 1, 0600},
	{"fchmod", 1, 0644},
	{"prctl", 0, PR_SET_NAME},
	{"prctl", 0, PR_GET_NAME},
	{"prctl", 0, PR_GET_DUMPABLE},
	{"prctl", 0, PR_SET_VMA},
	{"prlimit64", 2, 0}, /* reading limits, not setting them */
	{"kill", 1, 0},      /* is there such a process? */
};

static int allow_if(scmp_filter_ctx f, const char *name,
		    struct scmp_arg_cmp cmp)
{
	int n = seccomp_syscall_resolve_name(name);

	return n < 0 ? 0
		     : seccomp_rule_add_array(f, SCMP_ACT_ALLOW, n, 1, &cmp);
}

/* Not SO_LINGER: the supervisor, given such a socket, would wait in close(). */
static int allow_socket_options(scmp_filter_ctx f)
{
	static const uint64_t options[] = {
		SO_KEEPALIVE, SO_RCVBUF,   SO_SNDBUF,
		SO_REUSEADDR, SO_RCVTIMEO, SO_SNDTIMEO,
	};
	int n = seccomp_syscall_resolve_name("setsockopt"), r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(options); i++)
		r = seccomp_rule_add(f, SCMP_ACT_ALLOW, n, 2,
				     SCMP_A1_64(SCMP_CMP_EQ, SOL_SOCKET),
				     SCMP_A2_64(SCMP_CMP_EQ, options[i]));
	return r;
}

/* Not to make what runs as its owner. openat2() has its mode in memory, where no
 * filter looks. */
static int allow_opening(scmp_filter_ctx f)
{
	static const struct {
		const char *call;
		unsigned flags; /* which argument; the mode is the next */
	} opens[] = {{"open", 1}, {"openat", 2}};
	const uint64_t makes = O_CREAT | (O_TMPFILE & ~O_DIRECTORY);
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(opens); i++) {
		unsigned at = opens[i].flags;

		/* Then nobody has to say a mode. */
		r = allow_if(f, opens[i].call,
			     SCMP_CMP64(at, SCMP_CMP_MASKED_EQ, makes, 0));
		if (r == 0)
			r = allow_if(f, opens[i].call,
				     SCMP_CMP64(at + 1, SCMP_CMP_MASKED_EQ,
						S_ISUID | S_ISGID, 0));
	}
	return r;
}

/* That a file was used now; of an open one, by no name. */
static int allow_touching(scmp_filter_ctx f)
{
	int n = seccomp_syscall_resolve_name("utimensat");

	return seccomp_rule_add(f, SCMP_ACT_ALLOW, n, 2,
				SCMP_A1_64(SCMP_CMP_EQ, 0),
				SCMP_A2_64(SCMP_CMP_EQ, 0));
}

static int allow_some(scmp_filter_ctx f)
{
	/* Of datagrams each may go to another path. */
	static const uint64_t pairs[] = {SOCK_STREAM, SOCK_SEQPACKET};
	/* clone3, whose arguments no filter can see, is not allowed: the C
	 * library takes clone then. */
	int r = allow_if(f, "clone",
			 SCMP_A0_64(SCMP_CMP_MASKED_EQ,
				    CLONE_THREAD | NAMESPACES, CLONE_THREAD));

	if (r == 0)
		r = allow_opening(f);
	if (r == 0)
		r = allow_socket_options(f);
	if (r == 0)
		r = allow_touching(f);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(pairs); i++)
		r = allow_if(f, "socketpair",
			     SCMP_A1_64(SCMP_CMP_MASKED_EQ, SOCKET_TYPES,
					pairs[i]));
	if (r == 0)
		r = allow_if(f, "tgkill",
			     SCMP_A0_64(SCMP_CMP_EQ, (uint64_t)getpid()));
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(some); i++)
		r = allow_if(f, some[i].call,
			     SCMP_CMP64(some[i].arg, SCMP_CMP_EQ,
					some[i].value));
	return r;
}

int seccomp_enter(void)
{
	scmp_filter_ctx f = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
	int r;

	if (!f)
		return -ENOMEM;
	r = seccomp_attr_set(f, SCMP_FLTATR_CTL_TSYNC, 1);
	if (r == 0)
		r = seccomp_attr_set(f, SCMP_FLTATR_CTL_LOG, 1);
	/* A binary tree: a dozen steps for each call, not hundreds. */
	if (r == 0)
		r = seccomp_attr_set(f, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (r == 0)
		r = allow_calls(f);
	if (r == 0)
		r = allow_some(f);
	if (r == 0)
		r = seccomp_load(f);
	seccomp_release(f);
	return r;
}
