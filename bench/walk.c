/*
 * bench-walk MODE PATH: reads what a training job would read, and prints
 * "SECONDS FILES BYTES". Modes: read (one file, 1 MiB reads), mmap (one file,
 * every byte summed), small (every file below a folder, opened, read, closed),
 * find (every entry below a folder, listed and stat'ed).
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static char buf[1 << 20];
static uint64_t files, bytes;
static volatile uint64_t sum; /* keeps the mmap loop */

static void __attribute__((noreturn)) die(const char *what)
{
	fprintf(stderr, "bench-walk: %s: %s\n", what, strerror(errno));
	exit(3);
}

static void read_all(int dirfd, const char *name)
{
	int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		die(name);
	while ((n = read(fd, buf, sizeof(buf))) > 0)
		bytes += (uint64_t)n;
	if (n < 0)
		die(name);
	close(fd);
	files++;
}

static void map_all(const char *name)
{
	int fd = open(name, O_RDONLY | O_CLOEXEC);
	uint64_t local = 0;
	struct stat st;
	uint64_t *p;

	if (fd < 0 || fstat(fd, &st) < 0)
		die(name);
	p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		die(name);
	for (size_t i = 0; i < (size_t)st.st_size / sizeof(*p); i++)
		local += p[i];
	sum = local;
	munmap(p, (size_t)st.st_size);
	close(fd);
	files++;
	bytes += (uint64_t)st.st_size;
}

static void walk(int dirfd, int read_files)
{
	DIR *d = fdopendir(dirfd);
	struct dirent *e;

	if (!d)
		die("fdopendir");
	while ((e = readdir(d))) {
		struct stat st;

		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		if (!read_files &&
		    fstatat(dirfd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			die(e->d_name);
		if (e->d_type == DT_DIR) {
			int fd = openat(dirfd, e->d_name,
					O_RDONLY | O_DIRECTORY | O_CLOEXEC);

			if (fd < 0)
				die(e->d_name);
			walk(fd, read_files);
		} else if (e->d_type == DT_REG && read_files) {
			read_all(dirfd, e->d_name);
		} else {
			files++;
		}
	}
	closedir(d);
}

int main(int argc, char **argv)
{
	struct timespec a, b;
	int fd;

	if (argc != 3) {
		fprintf(stderr,
			"usage: bench-walk read|mmap|small|find PATH\n");
		return 2;
	}
	clock_gettime(CLOCK_MONOTONIC, &a);
	if (!strcmp(argv[1], "read")) {
		read_all(AT_FDCWD, argv[2]);
	} else if (!strcmp(argv[1], "mmap")) {
		map_all(argv[2]);
	} else {
		fd = open(argv[2], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0)
			die(argv[2]);
		walk(fd, !strcmp(argv[1], "small"));
	}
	clock_gettime(CLOCK_MONOTONIC, &b);
	printf("%.6f %llu %llu\n",
	       (double)(b.tv_sec - a.tv_sec) +
		       (double)(b.tv_nsec - a.tv_nsec) / 1e9,
	       (unsigned long long)files, (unsigned long long)bytes);
	return 0;
}
