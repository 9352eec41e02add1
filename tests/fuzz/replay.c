/*
 * Feeds each file of the folders (or files) that are named to a fuzz target,
 * without a fuzzer. TAP; a folder without a file in it is a failure.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/io.h"
#include "tests/fuzz/fuzz.h"

#define INPUT_MAX ((size_t)64 << 20)

static int count, bad;

static void replay_file(int dirfd, const char *path)
{
	cleanup_free char *data = NULL;
	cleanup_free void *exact = NULL;
	size_t n = 0;
	int r = io_read_file(dirfd, path, INPUT_MAX, &data, &n);

	if (r == 0) {
		/* Without the NUL that follows, so that a reader which goes
		 * one too far is seen. */
		exact = xmemdup(data, n);
		LLVMFuzzerTestOneInput(exact, n);
	}
	printf("%sok %d - %s\n", r ? "not " : "", ++count, path);
	fflush(stdout);
	bad += r != 0;
}

static void replay_dir(DIR *dir)
{
	struct dirent *de;

	while ((de = readdir(dir)))
		if (de->d_name[0] != '.')
			replay_file(dirfd(dir), de->d_name);
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		cleanup_dir DIR *dir = opendir(argv[i]);
		int before = count;

		if (dir)
			replay_dir(dir);
		else
			replay_file(AT_FDCWD, argv[i]);
		if (count == before) {
			printf("not ok %d - no input in %s\n", ++count,
			       argv[i]);
			bad++;
		}
	}
	printf("1..%d\n", count);
	return bad || !count ? 1 : 0;
}
