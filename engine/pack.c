/*
 * A pack that exists nowhere: each byte is made when it is read. A file of at
 * most a chunk is read whole and checked before any of it is given out; a
 * bigger one is hashed as it goes by, which works as long as it is read from
 * its start to its end, and that is how packs are hashed and sent.
 */
#include "engine/pack.h"

#include <assert.h>
#include <errno.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/io.h"
#include "base/map.h"
#include "cache/cache.h"
#include "engine/tar.h"

struct pack_entry {
	struct pack_item *item; /* NULL: a folder */
	char *dir;
	uint64_t off; /* of its header in the pack */
	size_t head_len;
};

/* The file that is being read. */
struct pack_file {
	const struct pack_item *item;
	int fd;
	char *whole;           /* when it is small, checked */
	struct hasher *hasher; /* when it is not: of all up to @next */
	uint64_t next;
};

struct pack {
	struct feed feed; /* first */
	struct pack_entry *entries;
	size_t n, cap;
	uint64_t content_end;
	struct pack_file file;
	int (*open)(void *ctx, const struct pack_item *it, struct error **errp);
	void *ctx;
};

static const char *entry_path(const struct pack_entry *e)
{
	return e->item ? e->item->path : e->dir;
}

static void entry_header(const struct pack_entry *e, struct strbuf *out)
{
	struct tar_entry t = {.kind = TAR_DIR, .path = entry_path(e)};

	if (e->item) {
		t.kind = TAR_FILE;
		t.executable = e->item->executable;
		t.size = e->item->size;
	}
	tar_header(out, &t);
}

static struct pack_entry *entry_add(struct pack *p)
{
	ARRAY_GROW(p->entries, p->n, p->cap);
	p->entries[p->n] = (struct pack_entry){0};
	return &p->entries[p->n++];
}

/* Each folder above @path that is not there yet. */
static void add_parents(struct pack *p, struct map *seen, const char *path)
{
	const char *slash = path;

	for (; (slash = strchr(slash, '/')); slash++) {
		size_t n = (size_t)(slash - path);

		if (map_put(seen, path, n, p))
			continue;
		entry_add(p)->dir = xstrndup(path, n);
	}
}

static int by_path(const void *pa, const void *pb)
{
	return strcmp(entry_path(pa), entry_path(pb));
}

static void pack_layout(struct pack *p)
{
	cleanup_strbuf struct strbuf head = STRBUF_INIT;
	uint64_t off = 0;

	for (size_t i = 0; i < p->n; i++) {
		struct pack_entry *e = &p->entries[i];

		strbuf_reset(&head);
		entry_header(e, &head);
		e->off = off;
		e->head_len = head.len;
		off += head.len;
		if (!e->item)
			continue;
		e->item->offset = off;
		off += e->item->size + tar_padding(e->item->size);
	}
	p->content_end = off;
	p->feed.size = off + tar_trailer(off);
}

static void file_close(struct pack_file *f)
{
	closep(&f->fd);
	freep(&f->whole);
	f->item = NULL;
}

static int changed(const struct pack_item *it, struct error **errp)
{
	return error_set_kind(errp, ERROR_VALIDATION, ESTALE,
			      "'%s' changed since it was scanned", it->path);
}

/* Read from the file behind @f. One that got shorter has changed. */
static int file_pread(struct pack_file *f, void *buf, size_t n, uint64_t off,
		      struct error **errp)
{
	ssize_t got = io_pread_full(f->fd, buf, n, off);

	if (got < 0)
		return error_set_errno(errp, (int)-got, "reading '%s'",
				       f->item->path);
	return (size_t)got == n ? 0 : changed(f->item, errp);
}

static int file_load(struct pack_file *f, struct error **errp)
{
	struct digest got;
	int r;

	f->whole = xmalloc(f->item->size);
	r = file_pread(f, f->whole, f->item->size, 0, errp);
	if (r < 0)
		return r;
	got = digest_of_buf(f->whole, f->item->size);
	return digest_equal(&got, &f->item->digest) ? 0
						    : changed(f->item, errp);
}

static int file_start(struct pack *p, const struct pack_item *it,
		      struct error **errp)
{
	struct pack_file *f = &p->file;
	struct stat st;

	f->fd = p->open(p->ctx, it, errp);
	if (f->fd < 0)
		return f->fd;
	f->item = it;
	f->next = 0;
	hasher_final(f->hasher); /* start anew */
	if (fstat(f->fd, &st) < 0)
		return error_set_errno(errp, errno, "stat of '%s'", it->path);
	if ((uint64_t)st.st_size != it->size)
		return changed(it, errp);
	return it->size <= CHUNK_SIZE ? file_load(f, errp) : 0;
}

/* Hash what goes by. Whoever jumps gives up the check, not for long: the pack
 * has a digest too. */
static int file_hash(struct pack_file *f, const void *buf, size_t n,
		     uint64_t off, struct error **errp)
{
	struct digest got;

	if (!off) {
		hasher_final(f->hasher);
		f->next = 0;
	}
	if (f->next != off)
		return 0;
	hasher_update(f->hasher, buf, n);
	f->next += n;
	if (f->next < f->item->size)
		return 0;
	got = hasher_final(f->hasher);
	return digest_equal(&got, &f->item->digest) ? 0
						    : changed(f->item, errp);
}

static int read_content(struct pack *p, const struct pack_item *it, void *buf,
			size_t n, uint64_t off, struct error **errp)
{
	struct pack_file *f = &p->file;
	int r;

	if (f->item != it) {
		file_close(f);
		r = file_start(p, it, errp);
		if (r < 0) {
			file_close(f);
			return r;
		}
	}
	if (f->whole) {
		memcpy(buf, f->whole + off, n);
		return 0;
	}
	r = file_pread(f, buf, n, off, errp);
	return r < 0 ? r : file_hash(f, buf, n, off, errp);
}

/* The entry that byte @off belongs to. */
static const struct pack_entry *entry_at(const struct pack *p, uint64_t off)
{
	size_t lo = 0, hi = p->n;

	while (hi - lo > 1) {
		size_t mid = lo + (hi - lo) / 2;

		if (p->entries[mid].off <= off)
			lo = mid;
		else
			hi = mid;
	}
	return &p->entries[lo];
}

/* As much as one entry's header, content or padding gives: the count. */
static ssize_t read_piece(struct pack *p, void *buf, size_t n, uint64_t off,
			  struct error **errp)
{
	cleanup_strbuf struct strbuf head = STRBUF_INIT;
	const struct pack_entry *e = entry_at(p, off);
	uint64_t at = off - e->off, size = e->item ? e->item->size : 0;
	int r;

	if (off < p->content_end && at < e->head_len) {
		n = MIN(n, e->head_len - at);
		entry_header(e, &head);
		memcpy(buf, head.buf + at, n);
		return (ssize_t)n;
	}
	at -= e->head_len;
	if (off < p->content_end && at < size) {
		n = MIN((uint64_t)n, size - at);
		r = read_content(p, e->item, buf, n, at, errp);
		return r < 0 ? r : (ssize_t)n;
	}
	if (off < p->content_end)
		n = MIN((uint64_t)n, size + tar_padding(size) - at);
	memset(buf, 0, n);
	return (ssize_t)n;
}

static int pack_pread(struct feed *feed, void *buf, size_t n, uint64_t off,
		      struct error **errp)
{
	struct pack *p = (struct pack *)feed;

	assert(off <= feed->size && n <= feed->size - off);
	for (size_t got = 0; got < n;) {
		ssize_t k = read_piece(p, (char *)buf + got, n - got, off + got,
				       errp);

		if (k < 0)
			return (int)k;
		got += (size_t)k;
	}
	return 0;
}

struct pack *pack_new(struct pack_item *items, size_t n,
		      int (*open)(void *ctx, const struct pack_item *it,
				  struct error **errp),
		      void *ctx)
{
	struct pack *p = xcalloc(1, sizeof(*p));
	cleanup_map struct map seen = MAP_INIT;

	assert(n);
	p->open = open;
	p->ctx = ctx;
	p->feed.pread = pack_pread;
	p->file.fd = -1;
	p->file.hasher = hasher_new();
	for (size_t i = 0; i < n; i++) {
		assert(items[i].size);
		add_parents(p, &seen, items[i].path);
		entry_add(p)->item = &items[i];
	}
	qsort(p->entries, p->n, sizeof(*p->entries), by_path);
	pack_layout(p);
	return p;
}

uint64_t pack_size(const struct pack *p)
{
	return p->feed.size;
}

struct feed *pack_feed(struct pack *p)
{
	return &p->feed;
}

int pack_hash(struct pack *p, struct digest *ret, struct digest **ret_chunks,
	      uint32_t *ret_n, struct error **errp)
{
	uint64_t size = p->feed.size;
	cleanup_hasher struct hasher *whole = hasher_new();
	cleanup_free char *buf = xmalloc(CHUNK_SIZE);
	size_t max = (size_t)((size - 1) / CHUNK_SIZE + 1);
	cleanup_free struct digest *chunks = xcalloc(max, sizeof(*chunks));
	uint32_t n = 0;
	int r;

	for (uint64_t off = 0; off < size; off += CHUNK_SIZE) {
		size_t len = MIN((uint64_t)CHUNK_SIZE, size - off);

		r = pack_pread(&p->feed, buf, len, off, errp);
		if (r < 0)
			return r;
		hasher_update(whole, buf, len);
		chunks[n++] = digest_of_buf(buf, len);
	}
	*ret = hasher_final(whole);
	*ret_n = n > 1 ? n : 0;
	*ret_chunks = n > 1 ? steal_ptr(&chunks) : NULL;
	return 0;
}

void pack_free(struct pack *p)
{
	if (!p)
		return;
	file_close(&p->file);
	hasher_free(p->file.hasher);
	for (size_t i = 0; i < p->n; i++)
		free(p->entries[i].dir);
	free(p->entries);
	free(p);
}
