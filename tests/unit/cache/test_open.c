#include "cache/cache.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "tests/lib/tmpdir.h"

static char *dir;

static void setup(void)
{
	dir = tmpdir_new();
}

static void teardown(void)
{
	tmpdir_removep(&dir);
}

TestSuite(cache_open, .init = setup, .fini = teardown);

static char *below(const char *name)
{
	return xasprintf("%s/%s", dir, name);
}

static bool exists(const char *name)
{
	cleanup_free char *path = below(name);

	return access(path, F_OK) == 0;
}

Test(cache_open, makes_a_tagged_folder_of_version_1)
{
	cleanup_free char *path = below("a/b/cache");
	cleanup_cache struct cache *c = NULL;
	struct stat st;

	cr_assert(eq(int, cache_open(path, &c, NULL), 0));
	cr_expect(exists("a/b/cache/CACHEDIR.TAG"));
	cr_expect(exists("a/b/cache/version"));
	cr_expect(exists("a/b/cache/blobs/sha256"));
	cr_assert(eq(int, stat(path, &st), 0));
	cr_expect(eq(u32, st.st_mode & 0777, 0700));
	cr_expect(ge(int, cache_dirfd(c), 0));
	cr_expect(eq(chr, cache_path(c)[0], '/'));
}

Test(cache_open, keeps_blobs_as_private_as_the_folder)
{
	struct digest d = digest_of_str("x");
	cleanup_free char *blobs = below("blobs/sha256");
	cleanup_free char *shard = NULL;
	cleanup_free char *partial = below("partial");
	cleanup_cache struct cache *c = NULL;
	struct stat st;

	umask(077);
	cr_assert(eq(int, chmod(dir, 0755), 0));
	cr_assert(eq(int, cache_open(dir, &c, NULL), 0));
	cr_assert(eq(int, cache_doc_put(c, &d, "x", 1, NULL), 0));
	shard = xasprintf("%s/%.2s", blobs, digest_to_hex(&d).str);
	cr_assert(eq(int, stat(blobs, &st), 0));
	cr_expect(eq(u32, st.st_mode & 0777, 0755), "a site's");
	cr_assert(eq(int, stat(shard, &st), 0));
	cr_expect(eq(u32, st.st_mode & 0777, 0755));
	cr_assert(eq(int, stat(partial, &st), 0));
	cr_expect(eq(u32, st.st_mode & 0777, 0700));
}

Test(cache_open, leaves_no_tag_in_a_folder_that_had_other_files)
{
	cleanup_free char *path = below("notes.txt");
	cleanup_cache struct cache *c = NULL;

	cr_assert(
		ge(int, io_write_file_atomic(AT_FDCWD, path, "x", 1, 0600), 0));
	cr_assert(eq(int, cache_open(dir, &c, NULL), 0));
	cr_expect(not(exists("CACHEDIR.TAG")));
	cr_expect(exists("version"));
}

Test(cache_open, opens_the_same_folder_twice)
{
	cleanup_cache struct cache *a = NULL;
	cleanup_cache struct cache *b = NULL;

	cr_assert(eq(int, cache_open(dir, &a, NULL), 0));
	cr_assert(eq(int, cache_open(dir, &b, NULL), 0));
}

Test(cache_open, refuses_another_version)
{
	cleanup_free char *path = below("version");
	cleanup_error struct error *err = NULL;
	struct cache *c = NULL;

	cr_assert(ge(int, io_write_file_atomic(AT_FDCWD, path, "2\n", 2, 0600),
		     0));
	cr_assert(eq(int, cache_open(dir, &c, &err), -EINVAL));
	cr_expect(eq(int, (int)err->kind, ERROR_MEDIA_TYPE));
	cr_expect(ne(ptr, err->hint, NULL));
	cr_expect(eq(ptr, c, NULL));
}

Test(cache_open, survives_a_version_file_that_was_cut_to_nothing)
{
	cleanup_free char *path = below("version");
	cleanup_cache struct cache *c = NULL;

	cr_assert(
		ge(int, io_write_file_atomic(AT_FDCWD, path, "", 0, 0600), 0));
	cr_assert(eq(int, cache_open(dir, &c, NULL), 0));
}

static void refused(int mode)
{
	cleanup_error struct error *err = NULL;
	struct cache *c = NULL;

	cr_assert(eq(int, chmod(dir, (mode_t)mode), 0));
	cr_assert(eq(int, cache_open(dir, &c, &err), -EACCES));
	cr_expect(eq(int, (int)err->kind, ERROR_VALIDATION));
	cr_expect(ne(ptr, strstr(err->hint, "chmod go-w"), NULL));
}

Test(cache_open, refuses_a_folder_that_others_can_write_to)
{
	refused(0777);
	refused(0702);
	refused(0720);
	refused(01777);
}

Test(cache_open, refuses_an_inner_folder_that_others_can_write_to)
{
	cleanup_free char *index = below("index");
	cleanup_cache struct cache *c = NULL;
	struct cache *again = NULL;

	cr_assert(eq(int, cache_open(dir, &c, NULL), 0));
	cr_assert(eq(int, chmod(index, 0777), 0));
	cr_expect(eq(int, cache_open(dir, &again, NULL), -EACCES));
}

Test(cache_open, follows_no_symlink_to_an_inner_folder)
{
	cleanup_free char *blobs = below("blobs");
	cleanup_free char *elsewhere = below("elsewhere");
	struct cache *c = NULL;

	cr_assert(eq(int, mkdir(elsewhere, 0700), 0));
	cr_assert(eq(int, symlink(elsewhere, blobs), 0));
	cr_expect(lt(int, cache_open(dir, &c, NULL), 0));
	cr_expect(not(exists("elsewhere/sha256")));
}

Test(cache_open, says_what_is_in_the_way)
{
	cleanup_free char *path = below("file");
	cleanup_error struct error *err = NULL;
	struct cache *c = NULL;

	cr_assert(
		ge(int, io_write_file_atomic(AT_FDCWD, path, "x", 1, 0600), 0));
	cr_expect(lt(int, cache_open(path, &c, &err), 0));
	cr_expect(ne(ptr, strstr(err->message, path), NULL));
}
