#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "storage/object_store.h"
#include "tests/fakes/fakes.h"
#include "tests/lib/tmpdir.h"

static char *folder; /* top/, with top/root allowed */
static struct object_store *store;

static char *in_folder(const char *name)
{
	return xasprintf("%s/%s", folder, name);
}

static void write_text(const char *name, const char *text)
{
	cleanup_free char *path = in_folder(name);

	cr_assert(eq(int, 0,
		     io_write_file_atomic(AT_FDCWD, path, text, strlen(text),
					  0644)));
}

static void make_dir(const char *name)
{
	cleanup_free char *path = in_folder(name);

	cr_assert(eq(int, mkdir(path, 0755), 0));
}

static void setup(void)
{
	cleanup_free char *root = NULL;
	char *roots[2] = {NULL, NULL};

	folder = tmpdir_new();
	root = in_folder("root/");
	roots[0] = root;
	make_dir("root");
	make_dir("rootless");
	make_dir("outside");
	store = object_store_file_new(roots);
	write_text("root/a", "inside");
	write_text("rootless/a", "outside");
	write_text("outside/a", "outside");
}

static void teardown(void)
{
	object_store_free(store);
	tmpdir_remove(folder);
}

TestSuite(object_store_file, .init = setup, .fini = teardown);

static int look_with(struct object_store *s, const char *name)
{
	cleanup_free char *path = in_folder(name);
	struct pointer_uri uri = {.scheme = URI_FILE, .key = path};
	struct object_info info;

	return s->ops->stat(s, &uri, &info, NULL, NULL);
}

static int look(const char *name)
{
	return look_with(store, name);
}

static int put(const char *name)
{
	cleanup_free char *path = in_folder(name);
	struct pointer_uri uri = {.scheme = URI_FILE, .key = path};
	struct digest d = digest_of_str("new");
	struct feed_mem feed;

	feed_mem_init(&feed, "new", 3);
	return store->ops->put(store, &uri, &feed.feed, &d, NULL, NULL);
}

static int drop(const char *name)
{
	cleanup_free char *path = in_folder(name);
	struct pointer_uri uri = {.scheme = URI_FILE, .key = path};

	return store->ops->remove(store, &uri, NULL, NULL);
}

Test(object_store_file, opens_nothing_outside_its_roots)
{
	cr_expect(eq(int, look("root/a"), 0));
	cr_expect(eq(int, look("outside/a"), -EACCES));
	cr_expect(eq(int, look("rootless/a"), -EACCES), "a prefix by bytes");
	cr_expect(eq(int, look("root"), -EACCES));
	cr_expect(eq(int, look("root/"), -EACCES));
	cr_expect(eq(int, look("root/../outside/a"), -EACCES));
	cr_expect(eq(int, look("root/x/../a"), -EACCES));
	cr_expect(eq(int, look("root/none"), -ENOENT));
	cr_expect(eq(int, put("outside/b"), -EACCES));
	cr_expect(eq(int, put("root/../outside/b"), -EACCES));
	cr_expect(eq(int, drop("outside/a"), -EACCES));
	cr_expect(eq(int, drop("root/../outside/a"), -EACCES));
}

Test(object_store_file, allows_nothing_without_roots)
{
	struct object_store *none = object_store_file_new(NULL);
	char *relative[] = {"root", "", NULL};
	struct object_store *odd = object_store_file_new(relative);

	cr_expect(eq(int, look_with(none, "root/a"), -EACCES));
	cr_expect(eq(int, look_with(odd, "root/a"), -EACCES));
	object_store_free(none);
	object_store_free(odd);
}

Test(object_store_file, follows_no_symlink_below_a_root)
{
	cleanup_free char *dir = in_folder("root/dir");
	cleanup_free char *file = in_folder("root/file");
	cleanup_free char *target = in_folder("outside");
	cleanup_free char *target_file = in_folder("outside/a");
	cleanup_free char *new = in_folder("outside/b");
	struct stat st;

	cr_assert(eq(int, symlink(target, dir), 0));
	cr_assert(eq(int, symlink(target_file, file), 0));
	cr_expect(eq(int, look("root/dir/a"), -EACCES));
	cr_expect(eq(int, look("root/file"), -EACCES));
	cr_expect(eq(int, put("root/dir/b"), -EACCES));
	cr_expect(eq(int, put("root/dir/c/b"), -EACCES));
	cr_expect(eq(int, drop("root/dir/a"), -EACCES));
	cr_expect(eq(int, drop("root/file"), -EACCES));
	cr_expect(eq(int, stat(target_file, &st), 0));
	cr_expect(eq(int, stat(new, &st), -1));
}

Test(object_store_file, opens_regular_files_only)
{
	cleanup_free char *fifo = in_folder("root/fifo");

	cr_assert(eq(int, mkfifo(fifo, 0600), 0));
	make_dir("root/dir");
	cr_expect(eq(int, look("root/fifo"), -EACCES));
	cr_expect(eq(int, look("root/dir"), -EACCES));
	cr_expect(eq(int, drop("root/dir"), -EACCES));
}

Test(object_store_file, makes_folders_below_a_root_and_never_the_root)
{
	cleanup_free char *root = in_folder("root");

	cr_expect(eq(int, put("root/x/y/z"), 0));
	cr_expect(eq(int, look("root/x/y/z"), 0));
	cr_assert(eq(int, io_remove_tree(AT_FDCWD, root), 0));
	cr_expect(eq(int, put("root/x"), -ENOENT));
}

Test(object_store_file, notices_a_file_that_was_changed_in_place)
{
	cleanup_free char *path = in_folder("root/a");
	struct pointer_uri uri = {.scheme = URI_FILE, .key = path};
	cleanup_fd int fd = open(path, O_WRONLY | O_CLOEXEC);
	struct object_info info;
	struct sink_mem s;

	cr_assert(eq(int, store->ops->stat(store, &uri, &info, NULL, NULL), 0));
	time_sleep_ms(20);
	cr_assert(eq(int, io_pwrite_full(fd, "I", 1, 0), 0));
	sink_mem_init(&s, 100);
	cr_expect(eq(int, -ESTALE,
		     store->ops->read(store, &uri, info.validator, 0, 6,
				      &s.sink, NULL, NULL)));
	free(s.buf);
}

/* A sink that changes the file under the reader. */
struct meddler {
	struct sink sink;
	int fd;
};

static int meddle(struct sink *s, const void *buf, size_t n,
		  struct error **errp)
{
	time_sleep_ms(20);
	return io_pwrite_full(((struct meddler *)s)->fd, "X", 1, 0);
}

Test(object_store_file, notices_a_change_while_it_reads)
{
	cleanup_free char *path = in_folder("root/a");
	struct pointer_uri uri = {.scheme = URI_FILE, .key = path};
	struct meddler m = {.sink = {.write = meddle}};
	struct object_info info;

	m.fd = open(path, O_WRONLY | O_CLOEXEC);
	cr_assert(eq(int, store->ops->stat(store, &uri, &info, NULL, NULL), 0));
	cr_expect(eq(int, -ESTALE,
		     store->ops->read(store, &uri, info.validator, 0, 6,
				      &m.sink, NULL, NULL)));
	close(m.fd);
}

Test(object_stores, are_chosen_by_scheme)
{
	struct object_stores s = {0};
	struct pointer_uri uri = {
		.scheme = URI_AZ, .account = "a", .container = "c", .key = "k"};
	cleanup_error struct error *err = NULL;

	s.by_scheme[URI_AZ] = object_store_fake_new();
	cr_expect(eq(ptr, object_stores_for(&s, &uri, NULL),
		     s.by_scheme[URI_AZ]));
	uri.scheme = URI_S3;
	cr_expect(eq(ptr, object_stores_for(&s, &uri, &err), NULL));
	cr_expect(eq(int, err->code, EPROTONOSUPPORT));
	object_stores_release(&s);
	cr_expect(eq(ptr, s.by_scheme[URI_AZ], NULL));
}
