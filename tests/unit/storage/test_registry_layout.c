#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/strbuf.h"
#include "storage/registry.h"
#include "tests/lib/tmpdir.h"

static char *folder;
static struct registry *reg;

static void setup(void)
{
	folder = tmpdir_new();
	reg = registry_layout_new(folder);
}

static void teardown(void)
{
	registry_free(reg);
	tmpdir_remove(folder);
}

TestSuite(registry_layout, .init = setup, .fini = teardown);

static char *in_folder(const char *name)
{
	return xasprintf("%s/%s", folder, name);
}

static char *blob_path(const struct digest *d)
{
	return xasprintf("%s/blobs/sha256/%s", folder, digest_to_hex(d).str);
}

static void write_text(const char *path, const char *text)
{
	cr_assert(eq(int, 0,
		     io_write_file_atomic(AT_FDCWD, path, text, strlen(text),
					  0644)));
}

static struct digest put_text(const char *text)
{
	struct digest d = digest_of_str(text);
	struct feed_mem feed;

	feed_mem_init(&feed, text, strlen(text));
	cr_assert(eq(int, 0,
		     reg->ops->put_blob(reg, "x", &d, &feed.feed, NULL, NULL)));
	return d;
}

/* A manifest without layers; @note makes it a different one. */
static char *manifest_text(const char *note)
{
	struct digest config = put_text("{}");

	return xasprintf("{\"annotations\":{\"n\":\"%s\"},\"config\":{"
			 "\"digest\":\"%s\",\"mediaType\":\"a/b\",\"size\":2},"
			 "\"layers\":[],\"mediaType\":\"%s\","
			 "\"schemaVersion\":2}",
			 note, digest_to_str(&config).str, MEDIA_TYPE_MANIFEST);
}

static struct digest put_tag(const char *tag, const char *note)
{
	cleanup_free char *text = manifest_text(note);
	cleanup_error struct error *err = NULL;
	int r = reg->ops->put_manifest(reg, "x", tag, MEDIA_TYPE_MANIFEST, text,
				       strlen(text), NULL, &err);

	cr_assert(eq(int, r, 0), "%s", err ? err->message : "");
	return digest_of_str(text);
}

static int resolve(const char *tag, struct digest *ret)
{
	return reg->ops->resolve(reg, "x", tag, ret, NULL, NULL);
}

Test(registry_layout, writes_the_files_of_the_specification)
{
	cleanup_free char *version = in_folder("oci-layout");
	cleanup_free char *index = in_folder("index.json");
	cleanup_free char *buf = NULL, *want = NULL, *text = NULL;
	struct digest d = put_tag("1.0", "a");
	size_t len;

	text = manifest_text("a");
	cr_assert(eq(int, io_read_file(AT_FDCWD, version, 100, &buf, &len), 0));
	cr_expect(eq(str, buf, "{\"imageLayoutVersion\":\"1.0.0\"}"));
	free(steal_ptr(&buf));
	cr_assert(eq(int, io_read_file(AT_FDCWD, index, 4096, &buf, &len), 0));
	want = xasprintf("{\"manifests\":[{\"annotations\":{\"%s\":\"x:1.0\"},"
			 "\"artifactType\":\"a/b\",\"digest\":\"%s\","
			 "\"mediaType\":\"%s\",\"size\":%zu}],"
			 "\"mediaType\":\"%s\",\"schemaVersion\":2}",
			 ANNOTATION_REF_NAME, digest_to_str(&d).str,
			 MEDIA_TYPE_MANIFEST, strlen(text), MEDIA_TYPE_INDEX);
	cr_expect(eq(str, buf, want));
}

Test(registry_layout, leaves_nothing_but_whole_blobs)
{
	cleanup_free char *path = in_folder("blobs/sha256");
	cleanup_dir DIR *dir = NULL;
	struct digest lie = digest_of_str("lie");
	struct feed_mem feed;
	struct dirent *e;
	int n = 0;

	put_text("one");
	feed_mem_init(&feed, "two", 3);
	cr_expect(
		eq(int, -EBADMSG,
		   reg->ops->put_blob(reg, "x", &lie, &feed.feed, NULL, NULL)));
	dir = opendir(path);
	cr_assert(ne(ptr, dir, NULL));
	while ((e = readdir(dir)))
		n += e->d_name[0] != '.' || strlen(e->d_name) > 2;
	cr_expect(eq(int, n, 1));
}

Test(registry_layout, mends_a_damaged_blob_when_it_is_put_again)
{
	struct digest d = put_text("content");
	cleanup_free char *path = blob_path(&d);
	cleanup_free char *buf = NULL;
	size_t len;

	write_text(path, "CONTENT");
	put_text("content");
	cr_assert(eq(int, io_read_file(AT_FDCWD, path, 100, &buf, &len), 0));
	cr_expect(eq(str, buf, "content"));
}

Test(registry_layout, does_not_touch_a_whole_blob_or_an_unchanged_index)
{
	struct digest d = put_tag("1", "a");
	cleanup_free char *blob = blob_path(&d);
	cleanup_free char *index = in_folder("index.json");
	struct stat b1, b2, i1, i2;

	cr_assert(stat(blob, &b1) == 0 && stat(index, &i1) == 0);
	put_tag("1", "a");
	cr_assert(stat(blob, &b2) == 0 && stat(index, &i2) == 0);
	cr_expect(eq(u64, b1.st_ino, b2.st_ino));
	cr_expect(eq(u64, i1.st_ino, i2.st_ino));
}

/* What every reading operation begins with. */
static int look(struct registry *r, struct error **errp)
{
	cleanup_strv char **repos = NULL;

	return r->ops->list_repos(r, &repos, NULL, errp);
}

Test(registry_layout, reads_a_missing_folder_as_empty_and_creates_nothing)
{
	cleanup_free char *path = in_folder("a/b");
	cleanup_registry struct registry *r = registry_layout_new(path);
	struct digest d = digest_of_str("x");
	struct stat st;

	cr_expect(eq(int, look(r, NULL), 0));
	cr_expect(eq(int, r->ops->has_blob(r, "x", &d, NULL, NULL, NULL), 0));
	cr_expect(
		eq(int, r->ops->resolve(r, "x", "1", &d, NULL, NULL), -ENOENT));
	cr_expect(eq(int, stat(path, &st), -1));
}

Test(registry_layout, creates_the_folder_and_its_parents_on_the_first_put)
{
	cleanup_free char *path = in_folder("a/b");
	cleanup_registry struct registry *r = registry_layout_new(path);
	struct digest d = digest_of_str("x");
	struct feed_mem feed;

	feed_mem_init(&feed, "x", 1);
	cr_expect(eq(int, 0,
		     r->ops->put_blob(r, "x", &d, &feed.feed, NULL, NULL)));
	cr_expect(eq(int, r->ops->has_blob(r, "x", &d, NULL, NULL, NULL), 1));
}

Test(registry_layout, refuses_a_folder_with_other_files_and_adds_none)
{
	cleanup_free char *other = in_folder("main.c");
	cleanup_free char *blobs = in_folder("blobs");
	struct digest d = digest_of_str("x");
	struct feed_mem feed;
	struct stat st;

	write_text(other, "int x;");
	feed_mem_init(&feed, "x", 1);
	cr_expect(eq(int, -EPROTO,
		     reg->ops->put_blob(reg, "x", &d, &feed.feed, NULL, NULL)));
	cr_expect(eq(int, look(reg, NULL), -EPROTO));
	cr_expect(eq(int, stat(blobs, &st), -1));
}

Test(registry_layout, refuses_versions_it_does_not_know)
{
	cleanup_free char *version = in_folder("oci-layout");
	cleanup_error struct error *err = NULL;

	write_text(version, "{\"imageLayoutVersion\":\"2.0.0\"}");
	cr_expect(eq(int, look(reg, &err), -EPROTO));
	cr_expect(eq(int, err->kind, ERROR_MEDIA_TYPE));
	write_text(version, "{}");
	cr_expect(eq(int, look(reg, NULL), -EPROTO));
	write_text(version, "imageLayoutVersion: 1.0.0");
	cr_expect(eq(int, look(reg, NULL), -EPROTO));
}

Test(registry_layout, reports_a_torn_index_and_does_not_overwrite_it)
{
	cleanup_free char *index = in_folder("index.json");
	cleanup_free char *text = NULL, *buf = NULL;
	cleanup_error struct error *err = NULL;
	struct digest d;
	size_t len;

	put_tag("1", "a");
	write_text(index, "{\"schemaVersion\":2,\"manif");
	cr_expect(eq(int, resolve("1", &d), -EPROTO));
	text = manifest_text("b");
	cr_expect(eq(int, -EPROTO,
		     reg->ops->put_manifest(reg, "x", "2", MEDIA_TYPE_MANIFEST,
					    text, strlen(text), NULL, &err)));
	cr_expect(eq(int, err->kind, ERROR_VALIDATION));
	cr_assert(eq(int, io_read_file(AT_FDCWD, index, 100, &buf, &len), 0));
	cr_expect(eq(str, buf, "{\"schemaVersion\":2,\"manif"));
}

Test(registry_layout, finds_the_manifests_of_a_listed_index_and_no_other_blob)
{
	struct manifest_bytes m = {0};
	struct digest child, index, stray;
	cleanup_free char *text = NULL, *in = NULL, *other = NULL;

	text = manifest_text("child");
	child = put_text(text);
	other = manifest_text("stray");
	stray = put_text(other);
	in = xasprintf("{\"manifests\":[{\"digest\":\"%s\",\"mediaType\":\"%s\""
		       ",\"size\":%zu}],\"mediaType\":\"%s\","
		       "\"schemaVersion\":2}",
		       digest_to_str(&child).str, MEDIA_TYPE_MANIFEST,
		       strlen(text), MEDIA_TYPE_INDEX);
	index = digest_of_str(in);
	cr_assert(eq(int, 0,
		     reg->ops->put_manifest(reg, "x", "i", MEDIA_TYPE_INDEX, in,
					    strlen(in), NULL, NULL)));
	cr_assert(eq(int, 0,
		     reg->ops->get_manifest(reg, "x", &child, &m, NULL, NULL)));
	cr_expect(eq(str, m.media_type, MEDIA_TYPE_MANIFEST));
	manifest_bytes_release(&m);
	cr_assert(eq(int, 0,
		     reg->ops->get_manifest(reg, "x", &index, &m, NULL, NULL)));
	cr_expect(eq(str, m.media_type, MEDIA_TYPE_INDEX));
	manifest_bytes_release(&m);
	cr_expect(eq(int, -ENOENT,
		     reg->ops->get_manifest(reg, "x", &stray, &m, NULL, NULL)));
}

Test(registry_layout, does_not_hang_on_a_fifo_or_read_a_folder)
{
	struct digest d = digest_of_str("x");
	cleanup_free char *path = NULL;

	put_text("y");
	path = blob_path(&d);
	cr_assert(eq(int, mkfifo(path, 0600), 0));
	cr_expect(eq(int, reg->ops->has_blob(reg, "x", &d, NULL, NULL, NULL),
		     -EPROTO));
	cr_assert(eq(int, unlink(path), 0));
	cr_assert(eq(int, mkdir(path, 0700), 0));
	cr_expect(eq(int, reg->ops->has_blob(reg, "x", &d, NULL, NULL, NULL),
		     -EPROTO));
}

Test(registry_layout, does_not_hang_on_documents_that_are_fifos, .timeout = 10)
{
	cleanup_free char *index = in_folder("index.json");
	cleanup_free char *version = in_folder("oci-layout");
	struct digest d;

	put_tag("1", "a");
	cr_assert(eq(int, unlink(index), 0));
	cr_assert(eq(int, mkfifo(index, 0600), 0));
	cr_expect(eq(int, resolve("1", &d), -EINVAL));
	cr_assert(eq(int, unlink(version), 0));
	cr_assert(eq(int, mkfifo(version, 0600), 0));
	cr_expect(eq(int, look(reg, NULL), -EINVAL));
}

Test(registry_layout, waits_for_the_index_lock_no_longer_than_it_may)
{
	cleanup_free char *lock = in_folder("index.json.lock");
	struct op op = {.deadline_ns = time_deadline_ms(50)};
	cleanup_free char *text = NULL;
	cleanup_fd int fd = -1;
	struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	put_tag("1", "a");
	text = manifest_text("b");
	fd = open(lock, O_RDWR | O_CLOEXEC);
	cr_assert(eq(int, fcntl(fd, F_OFD_SETLK, &fl), 0));
	cr_expect(eq(int, -ETIMEDOUT,
		     reg->ops->put_manifest(reg, "x", "2", MEDIA_TYPE_MANIFEST,
					    text, strlen(text), &op, NULL)));
}

Test(registry_layout, stays_where_it_was_when_the_process_moves)
{
	cleanup_registry struct registry *r = NULL;
	struct digest d = put_text("here");

	cr_assert(eq(int, chdir(folder), 0));
	r = registry_layout_new(".");
	cr_assert(eq(int, chdir("/"), 0));
	cr_expect(eq(int, r->ops->has_blob(r, "x", &d, NULL, NULL, NULL), 1));
}

Test(registry_layout, gives_the_index_the_users_umask)
{
	cleanup_free char *index = in_folder("index.json");
	struct stat st;

	umask(077);
	put_tag("1", "a");
	cr_assert(eq(int, stat(index, &st), 0));
	cr_expect(eq(int, (int)(st.st_mode & 0777), 0600));
}
