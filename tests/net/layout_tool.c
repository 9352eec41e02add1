/*
 * The layout folder from the command line, for tests that compare it with
 * other tools:
 *
 *   layout-tool push FOLDER REPO TAG FILE…   a manifest with these layers;
 *                                            prints its digest
 *   layout-tool check FOLDER REPO TAG        reads and hashes all of it;
 *                                            prints digest and blobs
 *   layout-tool tags FOLDER REPO             one tag a line, sorted
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/io.h"
#include "storage/manifest_info.h"
#include "storage/registry.h"

static int put_file(struct registry *r, const char *repo, const char *path,
		    struct json_writer *w, struct error **errp)
{
	cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct descriptor d = {.media_type =
				       (char *)"application/octet-stream"};
	struct feed_fd feed;
	struct stat st;
	int rc;

	if (fd < 0 || fstat(fd, &st) < 0)
		return error_set_errno(errp, errno, "file '%s'", path);
	d.size = (uint64_t)st.st_size;
	rc = digest_of_fd(fd, 0, d.size, &d.digest, errp);
	if (rc < 0)
		return rc;
	feed_fd_init(&feed, fd, 0, d.size);
	rc = r->ops->put_blob(r, repo, &d.digest, &feed.feed, NULL, errp);
	if (rc < 0)
		return rc;
	descriptor_write(w, NULL, &d);
	return 0;
}

static int put_config(struct registry *r, const char *repo,
		      struct json_writer *w, struct error **errp)
{
	struct descriptor d = {
		.media_type = (char *)"application/vnd.oci.empty.v1+json",
		.size = 2};
	struct feed_mem feed;

	d.digest = digest_of_str("{}");
	feed_mem_init(&feed, "{}", 2);
	descriptor_write(w, "config", &d);
	return r->ops->put_blob(r, repo, &d.digest, &feed.feed, NULL, errp);
}

static int push(struct registry *r, char **argv, struct error **errp)
{
	cleanup_strbuf struct strbuf out = STRBUF_INIT;
	struct digest d;
	struct json_writer w;
	char **file;
	int rc;

	json_writer_init(&w, &out);
	json_begin_object(&w, NULL);
	rc = put_config(r, argv[0], &w, errp);
	json_begin_array(&w, "layers");
	for (file = argv + 2; rc == 0 && *file; file++)
		rc = put_file(r, argv[0], *file, &w, errp);
	if (rc < 0)
		return rc;
	json_end_array(&w);
	json_put_str(&w, "mediaType", MEDIA_TYPE_MANIFEST);
	json_put_int(&w, "schemaVersion", 2);
	json_end_object(&w);
	d = digest_of_buf(out.buf, out.len);
	printf("%s\n", digest_to_str(&d).str);
	return r->ops->put_manifest(r, argv[0], argv[1], MEDIA_TYPE_MANIFEST,
				    out.buf, out.len, NULL, errp);
}

struct hash_sink {
	struct sink sink;
	struct hasher *h;
};

static int hash_write(struct sink *s, const void *buf, size_t n,
		      struct error **errp)
{
	hasher_update(((struct hash_sink *)s)->h, buf, n);
	return 0;
}

static int check_blob(struct registry *r, const char *repo,
		      const struct descriptor *d, struct error **errp)
{
	cleanup_hasher struct hasher *h = hasher_new();
	struct hash_sink s = {.sink = {.write = hash_write}, .h = h};
	struct digest got;
	int rc = 0;

	if (d->size > 0)
		rc = r->ops->read_blob(r, repo, &d->digest, d->size, 0, d->size,
				       &s.sink, NULL, errp);
	if (rc < 0)
		return rc;
	got = hasher_final(h);
	if (!digest_equal(&got, &d->digest))
		return error_set(errp, EBADMSG, "blob '%s' is damaged",
				 digest_to_str(&d->digest).str);
	printf("%s %llu\n", digest_to_str(&d->digest).str,
	       (unsigned long long)d->size);
	return 0;
}

static int check(struct registry *r, char **argv, struct error **errp)
{
	cleanup_manifest_bytes struct manifest_bytes m = {0};
	cleanup_manifest_info struct manifest_info info = {0};
	struct digest d;
	size_t i;
	int rc;

	rc = r->ops->resolve(r, argv[0], argv[1], &d, NULL, errp);
	if (rc == 0)
		rc = r->ops->get_manifest(r, argv[0], &d, &m, NULL, errp);
	if (rc == 0)
		rc = manifest_info_parse(m.buf, m.len, m.media_type, &info,
					 errp);
	if (rc < 0)
		return rc;
	if (!digest_equal(&info.self.digest, &d))
		return error_set(errp, EBADMSG, "the manifest is damaged");
	printf("%s\n", digest_to_str(&d).str);
	for (i = 0; rc == 0 && i < info.n_needs; i++)
		rc = check_blob(r, argv[0], &info.needs[i], errp);
	return rc;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int tags(struct registry *r, char **argv, struct error **errp)
{
	cleanup_strv char **v = NULL;
	size_t i;
	int rc = r->ops->list_tags(r, argv[0], &v, NULL, errp);

	if (rc < 0)
		return rc;
	qsort(v, strv_len(v), sizeof(*v), by_name);
	for (i = 0; v[i]; i++)
		printf("%s\n", v[i]);
	return 0;
}

int main(int argc, char **argv)
{
	cleanup_error struct error *err = NULL;
	cleanup_registry struct registry *r = NULL;
	int rc = -EINVAL;

	if (argc < 4)
		return 2;
	r = registry_layout_new(argv[2]);
	if (strcmp(argv[1], "push") == 0 && argc > 4)
		rc = push(r, argv + 3, &err);
	else if (strcmp(argv[1], "check") == 0 && argc > 4)
		rc = check(r, argv + 3, &err);
	else if (strcmp(argv[1], "tags") == 0)
		rc = tags(r, argv + 3, &err);
	if (rc < 0)
		fprintf(stderr, "layout-tool: %s\n",
			err ? err->message : "usage");
	return rc < 0;
}
