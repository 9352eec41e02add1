#include "base/io.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/alloc.h"
#include "tests/lib/tmpdir.h"

static char *tmp;
static int dir = -1;

static void set_up(void)
{
	umask(022);
	tmp = tmpdir_new();
	dir = open(tmp, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert(ge(int, dir, 0));
}

static void tear_down(void)
{
	close(dir);
	cr_assert(eq(int, io_remove_tree(AT_FDCWD, tmp), 0));
	cr_assert(eq(int, access(tmp, F_OK), -1));
	free(tmp);
}

TestSuite(io, .init = set_up, .fini = tear_down);

static void put(const char *path, const char *text)
{
	cleanup_fd int fd =
		openat(dir, path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	cr_assert(ge(int, fd, 0), "%s", path);
	cr_assert(eq(int, io_write_full(fd, text, strlen(text)), 0));
}

static void link_to(const char *target, const char *path)
{
	cr_assert(eq(int, symlinkat(target, dir, path), 0), "%s", path);
}

static unsigned entries(const char *path)
{
	cleanup_dir DIR *d = fdopendir(openat(dir, path, O_RDONLY));
	unsigned n = 0;

	while (readdir(d))
		n++;
	return n - 2;
}

Test(io, reads_up_to_the_end_and_says_how_much)
{
	cleanup_fd int fd = -1;
	char buf[10];

	put("f", "hello");
	fd = openat(dir, "f", O_RDONLY);
	cr_assert(eq(int, (int)io_pread_full(fd, buf, 10, 1), 4));
	cr_assert(eq(int, memcmp(buf, "ello", 4), 0));
	cr_assert(eq(int, (int)io_pread_full(fd, buf, 10, 5), 0));
	cr_assert(eq(int, (int)io_pread_full(fd, buf, 10, 1000), 0));
	cr_assert(eq(int, (int)io_read_full(fd, buf, 3), 3));
	cr_assert(eq(int, (int)io_read_full(fd, buf, 3), 2));
	cr_assert(eq(int, (int)io_read_full(fd, buf, 3), 0));
	cr_assert(eq(int, (int)io_pread_full(fd, buf, 10, INT64_MAX),
		     -EOVERFLOW));
	cr_assert(eq(int, (int)io_pread_full(-1, buf, 1, 0), -EBADF));
}

Test(io, read_file_returns_the_bytes_and_a_nul)
{
	cleanup_free char *s = NULL;
	size_t n;

	put("f", "hello");
	cr_assert(eq(int, io_read_file(dir, "f", 5, &s, &n), 0));
	cr_assert(eq(sz, n, 5));
	cr_assert(eq(str, s, "hello"));
	cr_assert(eq(int, io_read_file(dir, "none", 5, &s, &n), -ENOENT));
	cr_assert(eq(int, io_read_file(dir, ".", 5, &s, &n), -EISDIR));
}

Test(io, read_file_refuses_one_byte_too_many)
{
	char *s = NULL;
	size_t n;

	put("f", "hello");
	cr_assert(eq(int, io_read_file(dir, "f", 4, &s, &n), -EFBIG));
	cr_assert(eq(int, io_read_file(dir, "f", 0, &s, &n), -EFBIG));
	cr_assert(eq(ptr, s, NULL));
	put("f", "");
	cr_assert(eq(int, io_read_file(dir, "f", 0, &s, &n), 0));
	cr_assert(eq(str, s, ""));
	free(s);
}

Test(io, read_file_bounds_a_file_without_a_size)
{
	char *s = NULL;
	size_t n;

	cr_assert(eq(int, io_read_file(AT_FDCWD, "/dev/zero", 100000, &s, &n),
		     -EFBIG));
	cr_assert(
		eq(int,
		   io_read_file(AT_FDCWD, "/proc/self/status", 1 << 20, &s, &n),
		   0));
	cr_assert(gt(sz, n, 100));
	free(s);
}

/* A folder of someone else's may hold anything under any name. */
Test(io, read_file_waits_for_no_writer, .timeout = 10)
{
	char *s = NULL;
	size_t n;

	cr_assert(eq(int, mkfifoat(dir, "fifo", 0600), 0));
	cr_assert(eq(int, io_read_file(dir, "fifo", 5, &s, &n), -EINVAL));
	cr_assert(eq(ptr, s, NULL));
	cr_assert(eq(int, io_read_file(AT_FDCWD, "/dev/null", 5, &s, &n), 0));
	cr_assert(eq(sz, n, 0));
	free(s);
}

Test(io, read_file_takes_many_sizes)
{
	static const size_t sizes[] = {4095, 4096, 4097, 8192, 100000};
	cleanup_free char *text = xcalloc(1, 100001);

	memset(text, 'x', 100000);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		cleanup_free char *s = NULL;
		size_t n;

		text[sizes[i]] = '\0';
		put("f", text);
		text[sizes[i]] = 'x';
		cr_assert(eq(int, io_read_file(dir, "f", sizes[i], &s, &n), 0));
		cr_assert(eq(sz, n, sizes[i]));
		cr_assert(eq(int, io_read_file(dir, "f", sizes[i] - 1, &s, &n),
			     -EFBIG));
	}
}

Test(io, atomic_write_replaces_and_leaves_nothing_beside)
{
	cleanup_free char *s = NULL;
	struct stat st;
	size_t n;

	put("f", "old");
	umask(077);
	cr_assert(eq(int, io_write_file_atomic(dir, "f", "new!", 4, 0640), 0));
	cr_assert(eq(int, io_read_file(dir, "f", 10, &s, &n), 0));
	cr_assert(eq(str, s, "new!"));
	cr_assert(eq(int, fstatat(dir, "f", &st, 0), 0));
	cr_assert(eq(u32, st.st_mode & 07777, 0640));
	cr_assert(eq(u32, entries("."), 1));
}

Test(io, atomic_write_works_in_subfolders_and_by_absolute_path)
{
	cleanup_free char *abs = xasprintf("%s/d/g", tmp);

	mkdirat(dir, "d", 0755);
	cr_assert(eq(int, io_write_file_atomic(dir, "d/f", "x", 1, 0600), 0));
	cr_assert(eq(int, io_write_file_atomic(AT_FDCWD, abs, "", 0, 0600), 0));
	cr_assert(eq(u32, entries("d"), 2));
}

Test(io, a_failed_atomic_write_keeps_the_old_and_cleans_up)
{
	mkdirat(dir, "d", 0755);
	put("d/x", "x");
	cr_assert(
		eq(int, io_write_file_atomic(dir, "d", "y", 1, 0600), -EISDIR));
	cr_assert(eq(int, io_write_file_atomic(dir, "d/", "y", 1, 0600),
		     -EISDIR));
	cr_assert(eq(int, io_write_file_atomic(dir, "no/f", "y", 1, 0600),
		     -ENOENT));
	cr_assert(eq(u32, entries("."), 1));
	cr_assert(eq(u32, entries("d"), 1));
}

Test(io, atomic_write_replaces_a_symlink_and_not_its_target)
{
	cleanup_free char *s = NULL;
	size_t n;

	put("target", "keep");
	link_to("target", "link");
	cr_assert(eq(int, io_write_file_atomic(dir, "link", "x", 1, 0600), 0));
	cr_assert(eq(int, io_read_file(dir, "target", 10, &s, &n), 0));
	cr_assert(eq(str, s, "keep"));
}

Test(io, a_rewritten_file_of_ours_gets_the_mode)
{
	struct stat st;

	put("f", "old");
	cr_assert(eq(int, fchmodat(dir, "f", 0644, 0), 0));
	cr_assert(eq(int, io_rewrite_file_atomic(dir, "f", "x", 1, 0600), 0));
	cr_assert(eq(int, fstatat(dir, "f", &st, 0), 0));
	cr_expect(eq(u32, st.st_mode & 07777, 0600));
	cr_assert(eq(int, io_rewrite_file_atomic(dir, "g", "x", 1, 0640), 0));
	cr_assert(eq(int, fstatat(dir, "g", &st, 0), 0));
	cr_expect(eq(u32, st.st_mode & 07777, 0640));
	cr_expect(eq(u32, entries("."), 2));
}

static void check_opens_below(void)
{
	static const char *const good[] = {
		"d/f", "d//./f", "d", "d/", ".", "./", "./d/./f", "d/.",
	};

	mkdirat(dir, "d", 0755);
	put("d/f", "x");
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		cleanup_fd int fd = io_open_beneath(dir, good[i], O_RDONLY, 0);

		cr_expect(ge(int, fd, 0), "'%s'", good[i]);
		cr_expect(ne(int, fcntl(fd, F_GETFD) & FD_CLOEXEC, 0));
	}
}

static void check_creates_below(void)
{
	const int flags = O_WRONLY | O_CREAT | O_EXCL;
	cleanup_fd int fd = -1;
	struct stat st;

	mkdirat(dir, "d", 0755);
	fd = io_open_beneath(dir, "d/new", flags, 0640);
	cr_assert(ge(int, fd, 0));
	cr_assert(eq(int, fstat(fd, &st), 0));
	cr_assert(eq(u32, st.st_mode & 07777, 0640));
	cr_assert(eq(int, io_open_beneath(dir, "d/new", flags, 0600), -EEXIST));
}

static void check_refuses_ways_out(void)
{
	static const struct {
		const char *path;
		int flags, want;
	} cases[] = {
		{"", O_RDONLY, -ENOENT},
		{"none", O_RDONLY, -ENOENT},
		{"d/none", O_RDONLY, -ENOENT},
		{"none/f", O_RDONLY, -ENOENT},
		{"..", O_RDONLY, -EXDEV},
		{"../x", O_RDONLY, -EXDEV},
		{"/etc/passwd", O_RDONLY, -EXDEV},
		{"//etc", O_RDONLY, -EXDEV},
		{"d/../d/f", O_RDONLY, -EXDEV},
		{"d/..", O_RDONLY, -EXDEV},
		{"d/../../f", O_RDONLY, -EXDEV},
		{"abs", O_RDONLY, -ELOOP},
		{"abs/passwd", O_RDONLY, -ELOOP},
		{"abs", O_RDONLY | O_DIRECTORY, -ELOOP},
		{"abs", O_PATH, -ELOOP},
		{"up/x", O_RDONLY, -ELOOP},
		{"in/f", O_RDONLY, -ELOOP},
		{"in/f", O_PATH, -ELOOP},
		{"filelink", O_RDONLY, -ELOOP},
		{"filelink", O_WRONLY | O_CREAT, -ELOOP},
		{"loose", O_WRONLY | O_CREAT, -ELOOP},
		{"d/f/x", O_RDONLY, -ENOTDIR},
		{"d/f/", O_RDONLY, -ENOTDIR},
		{"d/f", O_RDONLY | O_DIRECTORY, -ENOTDIR},
	};

	mkdirat(dir, "d", 0755);
	put("d/f", "x");
	link_to("/etc", "abs");
	link_to("..", "up");
	link_to("d", "in");
	link_to("d/f", "filelink");
	link_to("none", "loose");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		cr_expect(eq(int,
			     io_open_beneath(dir, cases[i].path, cases[i].flags,
					     0600),
			     cases[i].want),
			  "'%s'", cases[i].path);
	cr_expect(eq(int, faccessat(dir, "none", F_OK, 0), -1));
}

/* Its holder has 45 seconds to give it up, and nothing here takes as long. */
Test(io, opens_nothing_that_a_lease_is_in_the_way_of, .timeout = 20)
{
	cleanup_fd int holder = -1, fd = -1;

	put("f", "x");
	holder = openat(dir, "f", O_RDWR | O_CLOEXEC);
	cr_assert(ge(int, holder, 0));
	if (fcntl(holder, F_SETLEASE, F_WRLCK) < 0)
		cr_skip_test("no leases on this file system");
	signal(SIGIO, SIG_IGN);
	fd = io_open_beneath(dir, "f", O_RDONLY | O_NONBLOCK, 0);
	cr_expect(eq(int, fd, -EAGAIN));
	cr_assert(eq(int, fcntl(holder, F_SETLEASE, F_UNLCK), 0));
	fd = io_open_beneath(dir, "f", O_RDONLY | O_NONBLOCK, 0);
	cr_expect(ge(int, fd, 0));
}

/* /proc is a mount, everywhere. */
static void check_keeps_to_the_mount(void)
{
	cleanup_fd int top = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_fd int fd = -1;

	mkdirat(dir, "d", 0755);
	put("d/f", "x");
	fd = io_open_same_mount(dir, "d/f", O_RDONLY);
	cr_expect(ge(int, fd, 0));
	cr_expect(ne(int, fcntl(fd, F_GETFD) & FD_CLOEXEC, 0));
	cr_expect(
		eq(int, io_open_same_mount(dir, "d/none", O_RDONLY), -ENOENT));
	cr_expect(eq(int, io_open_same_mount(dir, "../x", O_RDONLY), -EXDEV));
	cr_expect(eq(int, io_open_same_mount(top, "proc/version", O_RDONLY),
		     -EXDEV));
	cr_expect(eq(int, io_open_same_mount(top, "proc", O_RDONLY), -EXDEV));
}

/* This process's kernel has no openat2() from here on. */
static void forget_openat2(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = {.len = ARRAY_SIZE(code), .filter = code};

	cr_assert(eq(int, prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0));
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) < 0)
		cr_skip_test("no seccomp filters here");
	cr_assert(eq(int, (int)syscall(SYS_openat2, -1, "", NULL, 0), -1));
	cr_assert(eq(int, errno, ENOSYS));
}

Test(io, open_beneath_opens_what_is_below)
{
	check_opens_below();
}

Test(io, open_beneath_creates_what_is_below)
{
	check_creates_below();
}

Test(io, open_beneath_refuses_every_way_out)
{
	check_refuses_ways_out();
}

Test(io, open_beneath_opens_the_same_without_openat2)
{
	forget_openat2();
	check_opens_below();
}

Test(io, open_beneath_creates_the_same_without_openat2)
{
	forget_openat2();
	check_creates_below();
}

Test(io, open_beneath_refuses_the_same_without_openat2)
{
	forget_openat2();
	check_refuses_ways_out();
}

Test(io, open_same_mount_crosses_no_mount)
{
	check_keeps_to_the_mount();
}

Test(io, open_same_mount_crosses_none_without_openat2)
{
	forget_openat2();
	check_keeps_to_the_mount();
}

Test(io, mkdirs_beneath_makes_each_step)
{
	struct stat st;

	cr_assert(eq(int, io_mkdirs_beneath(dir, "a/b//c/./d/", 0755), 0));
	cr_assert(eq(int, io_mkdirs_beneath(dir, "a/b/e", 0755), 0));
	cr_assert(eq(int, io_mkdirs_beneath(dir, "", 0755), 0));
	cr_assert(eq(int, fstatat(dir, "a/b/c/d", &st, 0), 0));
	cr_assert(eq(u32, st.st_mode & S_IFMT, S_IFDIR));
	cr_assert(eq(u32, entries("a/b"), 2));
}

Test(io, mkdirs_beneath_follows_no_symlink)
{
	mkdirat(dir, "real", 0755);
	link_to("real", "link");
	put("file", "x");
	cr_assert(eq(int, io_mkdirs_beneath(dir, "link/x", 0755), -ENOTDIR));
	cr_assert(eq(int, io_mkdirs_beneath(dir, "link", 0755), -ENOTDIR));
	cr_assert(eq(int, io_mkdirs_beneath(dir, "file/x", 0755), -ENOTDIR));
	cr_assert(eq(int, io_mkdirs_beneath(dir, "../x", 0755), -EXDEV));
	cr_assert(eq(int, io_mkdirs_beneath(dir, "/tmp/x", 0755), -EXDEV));
	cr_assert(eq(u32, entries("real"), 0));
}

Test(io, mkdirs_makes_missing_parents)
{
	cleanup_free char *path = xasprintf("%s//a/b/c/", tmp);
	cleanup_free char *file = xasprintf("%s/f", tmp);
	cleanup_free char *below = xasprintf("%s/f/x", tmp);
	cleanup_free char *linked = xasprintf("%s/l/x", tmp);

	cr_assert(eq(int, io_mkdirs(path, 0755), 0));
	cr_assert(eq(int, io_mkdirs(path, 0755), 0));
	cr_assert(eq(int, io_mkdirs("/", 0755), 0));
	put("f", "x");
	cr_assert(eq(int, io_mkdirs(file, 0755), -ENOTDIR));
	cr_assert(eq(int, io_mkdirs(below, 0755), -ENOTDIR));
	cr_assert(eq(int, io_mkdirs("", 0755), -ENOENT));
	link_to("a", "l");
	cr_assert(eq(int, io_mkdirs(linked, 0755), 0));
	cr_assert(eq(u32, entries("a"), 2));
}

Test(io, remove_tree_removes_all_and_follows_nothing)
{
	io_mkdirs_beneath(dir, "t/a/b/c", 0755);
	mkdirat(dir, "outside", 0755);
	put("outside/keep", "x");
	put("t/f", "x");
	put("t/a/f", "x");
	link_to("../outside", "t/l");
	link_to("../../../outside/keep", "t/a/b/l");
	cr_assert(eq(int, io_remove_tree(dir, "t"), 0));
	cr_assert(eq(int, io_remove_tree(dir, "t"), 0));
	cr_assert(eq(u32, entries("."), 1));
	cr_assert(eq(u32, entries("outside"), 1));
	link_to("outside", "l");
	cr_assert(eq(int, io_remove_tree(dir, "l"), 0));
	cr_assert(eq(u32, entries("outside"), 1));
	cr_assert(eq(int, io_remove_tree(dir, "outside/keep"), 0));
}

Test(io, remove_tree_copes_with_depth_and_width)
{
	cleanup_free char *path = xcalloc(1, 400);

	for (int i = 0; i < 150; i++)
		strcat(path, "d/");
	cr_assert(eq(int, io_mkdirs_beneath(dir, path, 0755), 0));
	for (int i = 0; i < 2000; i++) {
		char name[32];

		snprintf(name, sizeof(name), "d/f%d", i);
		put(name, "");
	}
	cr_assert(eq(int, io_remove_tree(dir, "d"), 0));
	cr_assert(eq(u32, entries("."), 0));
}

Test(io, reflink_works_or_says_that_it_cannot)
{
	cleanup_fd int a = -1, b = -1;
	int r;

	put("a", "hello");
	a = openat(dir, "a", O_RDONLY);
	b = openat(dir, "b", O_RDWR | O_CREAT, 0600);
	r = io_reflink(a, b);
	cr_assert(r == 0 || r == -EOPNOTSUPP || r == -EXDEV || r == -EINVAL,
		  "%d", r);
}

Test(io, flushes_folders)
{
	cr_assert(eq(int, io_fsync_dir(dir), 0));
	cr_assert(eq(int, io_fsync_dir(AT_FDCWD), 0));
}
