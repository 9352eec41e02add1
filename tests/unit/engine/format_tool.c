/*
 * What the format oracle compares itself with:
 *
 *	format_tool compose DIR OUT [PART_SIZE]
 *		Scan, plan and compose DIR as a push would. Each blob goes to
 *		OUT/<hex>, the manifest to OUT/manifest; prints its digest.
 *	format_tool tar
 *		Lines "kind TAB size TAB path [TAB target]" from stdin, kind one
 *		of f, x (executable), d, l; the archive goes to stdout, where
 *		contents repeat their path.
 *	format_tool untar
 *		The same lines from an archive.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/io.h"
#include "engine/compose.h"
#include "engine/tar.h"
#include "engine/tree.h"

static int fail(struct error *err, const char *what)
{
	fprintf(stderr, "format_tool: %s: %s\n", what,
		err ? err->message : strerror(errno));
	error_free(err);
	return 1;
}

/* All of a feed, to a file. */
static int save_feed(struct feed *feed, int out, struct error **errp)
{
	cleanup_free char *buf = xmalloc(1u << 20);

	for (uint64_t off = 0; off < feed->size; off += 1u << 20) {
		size_t n = MIN(feed->size - off, (uint64_t)1 << 20);
		int r = feed->pread(feed, buf, n, off, errp);

		if (r == 0)
			r = io_write_full(out, buf, n);
		if (r < 0)
			return r;
	}
	return 0;
}

static int save_file(const struct composed *c, const struct composed_blob *b,
		     int out, struct error **errp)
{
	cleanup_fd int fd = inventory_open(c->inv, b->file, errp);
	struct feed_fd feed;

	if (fd < 0)
		return fd;
	feed_fd_init(&feed, fd, b->file_off, b->desc.size);
	return save_feed(&feed.feed, out, errp);
}

static int save_blob(const struct composed *c, const struct composed_blob *b,
		     int dirfd, struct error **errp)
{
	struct digest_hex name = digest_to_hex(&b->desc.digest);
	cleanup_fd int out = openat(
		dirfd, name.str, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (out < 0)
		return error_set_errno(errp, errno, "%s", name.str);
	if (b->mem)
		return io_write_full(out, b->mem, b->desc.size);
	if (b->pack)
		return save_feed(pack_feed(b->pack), out, errp);
	return save_file(c, b, out, errp);
}

/* Every tree must be canonical to its own reader as well. */
static int check_tree(const struct composed_blob *b, struct error **errp)
{
	cleanup_tree struct tree *t = NULL;
	int r;

	if (strcmp(b->desc.media_type, MEDIA_TYPE_TREE) != 0)
		return 0;
	r = tree_open_mem(b->mem, b->desc.size, &t, errp);
	return r < 0 ? r : tree_validate(t, errp);
}

static int save_all(const struct composed *c, const char *out, bool check,
		    struct error **errp)
{
	cleanup_fd int dirfd = open(out, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = 0;

	if (dirfd < 0)
		return error_set_errno(errp, errno, "%s", out);
	for (size_t i = 0; i < c->n_blobs && r == 0; i++) {
		r = save_blob(c, &c->blobs[i], dirfd, errp);
		if (r == 0 && check)
			r = check_tree(&c->blobs[i], errp);
	}
	if (r == 0)
		r = io_write_file_atomic(dirfd, "manifest", c->manifest.buf,
					 c->manifest.len, 0600);
	return r;
}

static int compose_folder(const char *dir, const char *out, uint64_t part_size)
{
	cleanup_bundle_file struct bundle_file bf = {0};
	cleanup_inventory struct inventory inv = INVENTORY_INIT;
	cleanup_pool struct pool *pool = pool_new("compose", 2);
	struct scan_options so = {.hash = true};
	struct plan_options po = {.part_size = part_size};
	struct compose_options co = {.part_size = part_size, .pool = pool};
	struct composed c = {0};
	struct plan plan = {0};
	struct error *err = NULL;
	int r = bundle_file_load(dir, &bf, &err);

	if (r == 0)
		r = scan(dir, &bf, &so, &inv, &err);
	if (r == 0)
		r = plan_make(&inv, &bf, &po, &plan, &err);
	if (r == 0)
		r = compose(&inv, &bf, &plan, &co, &c, &err);
	if (r == 0)
		r = save_all(&c, out, !part_size, &err);
	if (r == 0)
		printf("%s\n", digest_to_str(&c.digest).str);
	composed_release(&c);
	plan_release(&plan);
	return r < 0 ? fail(err, dir) : 0;
}

static void put_content(const char *path, uint64_t size)
{
	size_t n = strlen(path);

	for (uint64_t i = 0; i < size; i++)
		putchar(path[i % n]);
	for (uint64_t i = tar_padding(size); i; i--)
		putchar(0);
}

static uint64_t put_entry(char *line)
{
	cleanup_strbuf struct strbuf head = STRBUF_INIT;
	struct tar_entry e = {.kind = TAR_FILE};
	char *save = NULL;
	char kind = *strtok_r(line, "\t", &save);

	e.size = strtoull(strtok_r(NULL, "\t", &save), NULL, 10);
	e.path = strtok_r(NULL, "\t", &save);
	e.executable = kind == 'x';
	if (kind == 'd')
		e.kind = TAR_DIR;
	if (kind == 'l') {
		e.kind = TAR_SYMLINK;
		e.target = strtok_r(NULL, "\t", &save);
	}
	tar_header(&head, &e);
	fwrite(head.buf, 1, head.len, stdout);
	put_content(e.path, e.size);
	return head.len + e.size + tar_padding(e.size);
}

static int write_tar(void)
{
	cleanup_free char *line = NULL;
	uint64_t total = 0;
	size_t cap = 0;
	ssize_t n;

	while ((n = getline(&line, &cap, stdin)) > 0) {
		line[n - 1] = '\0';
		total += put_entry(line);
	}
	for (uint64_t i = tar_trailer(total); i; i--)
		putchar(0);
	return 0;
}

static int read_stdin(void *ctx, void *buf, size_t n, struct error **errp)
{
	size_t got = fread(buf, 1, MIN(n, (size_t)1 << 20), stdin);

	return ferror(stdin) ? error_set_errno(errp, EIO, "stdin") : (int)got;
}

static int read_tar(void)
{
	static const char kinds[] = {
		[TAR_FILE] = 'f', [TAR_DIR] = 'd', [TAR_SYMLINK] = 'l'};
	struct tar_reader *t = tar_reader_new(read_stdin, NULL);
	struct error *err = NULL;
	struct tar_entry e;
	int r;

	while ((r = tar_reader_next(t, &e, &err)) > 0)
		printf("%c\t%llu\t%s%s%s\n", e.executable ? 'x' : kinds[e.kind],
		       (unsigned long long)e.size, e.path, e.target ? "\t" : "",
		       e.target ? e.target : "");
	tar_reader_free(t);
	return r < 0 ? fail(err, "untar") : 0;
}

int main(int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "";

	if (!strcmp(verb, "compose") && argc >= 4)
		return compose_folder(argv[2], argv[3],
				      argc > 4 ? strtoull(argv[4], NULL, 10)
					       : 0);
	if (!strcmp(verb, "tar"))
		return write_tar();
	if (!strcmp(verb, "untar"))
		return read_tar();
	fprintf(stderr, "usage: format_tool compose DIR OUT [PART_SIZE]\n");
	return 2;
}
