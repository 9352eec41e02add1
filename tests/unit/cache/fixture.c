#include "fixture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "tests/lib/tmpdir.h"

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "fixture: %s: %s\n", what, strerror(errno));
	abort();
}

static void open_cache(struct fixture *f)
{
	cleanup_error struct error *err = NULL;
	cleanup_free char *dir = xasprintf("%s/cache", f->dir);

	if (cache_open(dir, &f->c, &err) < 0) {
		fprintf(stderr, "fixture: %s\n", err->message);
		abort();
	}
}

void fixture_open(struct fixture *f)
{
	f->dir = tmpdir_new();
	open_cache(f);
}

void fixture_reopen(struct fixture *f)
{
	cache_close(f->c);
	open_cache(f);
}

void fixture_close(struct fixture *f)
{
	cache_closep(&f->c);
	tmpdir_removep(&f->dir);
}

void source_rehash(struct source *s)
{
	s->spec.digest = digest_of_buf(s->data, s->spec.size);
	for (uint32_t i = 0; s->chunks && i < s->n; i++) {
		uint32_t len;
		const void *p = source_chunk(s, i, &len);

		s->chunks[i] = digest_of_buf(p, len);
	}
}

void source_init(struct source *s, uint64_t size, unsigned seed)
{
	uint64_t x = seed * 2654435761u + 88172645463325252ull;

	memset(s, 0, sizeof(*s));
	s->spec.size = size;
	s->n = chunk_count(size);
	s->data = xmalloc(size + 1);
	for (uint64_t i = 0; i < size; i++) {
		if (i % 8 == 0) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
		}
		s->data[i] = (unsigned char)(x >> (8 * (i % 8)));
	}
	if (size > CHUNK_SIZE)
		s->chunks = xcalloc(s->n, sizeof(*s->chunks));
	s->spec.chunks = s->chunks;
	source_rehash(s);
}

void source_release(struct source *s)
{
	free(s->data);
	free(s->chunks);
	memset(s, 0, sizeof(*s));
}

const void *source_chunk(const struct source *s, uint32_t i, uint32_t *ret_len)
{
	*ret_len = chunk_len(s->spec.size, i);
	return s->data + (uint64_t)i * CHUNK_SIZE;
}

struct content *content_of(struct fixture *f, const struct source *s)
{
	struct content *ct = NULL;

	must(content_open(f->c, &s->spec, &ct, NULL) == 0, "content_open");
	return ct;
}

int put_chunk(struct content *ct, const struct source *s, uint32_t i)
{
	uint32_t len;
	const void *p = source_chunk(s, i, &len);

	return content_put(ct, i, p, len, NULL);
}

int put_all(struct content *ct, const struct source *s)
{
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < s->n; i++)
		r = put_chunk(ct, s, i);
	return r;
}

int seal_all(struct fixture *f, const struct source *s)
{
	struct content *ct = content_of(f, s);
	int r = put_all(ct, s);

	if (r == 0)
		r = content_seal(ct, NULL);
	content_close(ct);
	if (r == 0)
		r = cache_sync(f->c, NULL);
	return r;
}

int read_back(struct content *ct, const struct source *s, uint32_t i)
{
	cleanup_free void *buf = xmalloc(CHUNK_SIZE);
	ssize_t n = content_read_chunk(ct, i, buf, NULL);
	uint32_t len;
	const void *p = source_chunk(s, i, &len);

	if (n < 0)
		return (int)n;
	return n == (ssize_t)len && !memcmp(buf, p, len) ? 0 : -1000;
}

static char *shard_path(struct fixture *f, const char *folder,
			const struct digest *d)
{
	struct digest_hex hex = digest_to_hex(d);

	return xasprintf("%s/%s/%.2s/%s", cache_path(f->c), folder, hex.str,
			 hex.str);
}

char *blob_path(struct fixture *f, const struct digest *d)
{
	return shard_path(f, "blobs/sha256", d);
}

char *index_path(struct fixture *f, const struct digest *d)
{
	return shard_path(f, "index", d);
}

/* Calls @each for all files below @path, one level of folders deep. */
static void walk(const char *path, void (*each)(void *ctx, const char *path),
		 void *ctx)
{
	DIR *d = opendir(path);
	struct dirent *e;

	while (d && (e = readdir(d))) {
		cleanup_free char *p = xasprintf("%s/%s", path, e->d_name);
		struct stat st;

		if (e->d_name[0] == '.' || lstat(p, &st) < 0)
			continue;
		if (S_ISDIR(st.st_mode))
			walk(p, each, ctx);
		else
			each(ctx, p);
	}
	if (d)
		closedir(d);
}

struct find {
	const char *suffix;
	char *found;
	unsigned count;
};

static void find_one(void *ctx, const char *path)
{
	struct find *f = ctx;
	size_t n = strlen(path), m = strlen(f->suffix);

	if (n < m || strcmp(path + n - m, f->suffix) != 0)
		return;
	f->count++;
	free(f->found);
	f->found = xstrdup(path);
}

char *partial_path(struct fixture *f, const char *suffix)
{
	cleanup_free char *dir =
		xasprintf("%s/partial/sha256", cache_path(f->c));
	struct find find = {.suffix = suffix};

	walk(dir, find_one, &find);
	must(find.count <= 1, "more than one partial");
	return find.found;
}

unsigned count_files(struct fixture *f, const char *folder)
{
	cleanup_free char *dir = xasprintf("%s/%s", cache_path(f->c), folder);
	struct find find = {.suffix = ""};

	walk(dir, find_one, &find);
	free(find.found);
	return find.count;
}

void flip_byte(const char *path, long off)
{
	struct stat st;
	unsigned char b = 0;
	int fd;

	must(stat(path, &st) == 0 && chmod(path, 0600) == 0, path);
	fd = open(path, O_RDWR | O_CLOEXEC);
	must(fd >= 0 && pread(fd, &b, 1, off) == 1, path);
	b ^= 0xff;
	must(pwrite(fd, &b, 1, off) == 1, path);
	fchmod(fd, st.st_mode & 07777);
	close(fd);
}

void write_text(const char *path, const char *text)
{
	int r;

	unlink(path);
	r = io_write_file_atomic(AT_FDCWD, path, text, strlen(text), 0600);
	must(r >= 0, path);
}

long file_size(const char *path)
{
	struct stat st;

	return stat(path, &st) < 0 ? -1 : (long)st.st_size;
}
