#include "tests/unit/engine/workspace_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/io.h"
#include "base/strbuf.h"
#include "tests/lib/tmpdir.h"

static void must(int r, const char *what)
{
	if (r >= 0)
		return;
	fprintf(stderr, "%s: %s\n", what, strerror(-r));
	abort();
}

void ws_open(struct ws *ws, const char *bundle)
{
	*ws = (struct ws){.dir = tmpdir_new()};
	if (bundle)
		ws_put(ws, BUNDLE_FILE_NAME, bundle, 0644);
	must(bundle_file_load(ws->dir, &ws->bf, NULL), "bundle file");
}

void ws_close(struct ws *ws)
{
	bundle_file_release(&ws->bf);
	tmpdir_remove(ws->dir);
}

char *ws_path(const struct ws *ws, const char *path)
{
	return xasprintf("%s/%s", ws->dir, path);
}

static char *with_parents(const struct ws *ws, const char *path)
{
	char *full = ws_path(ws, path);
	cleanup_free char *parent = xstrdup(full);

	*strrchr(parent, '/') = '\0';
	must(io_mkdirs(parent, 0755), parent);
	return full;
}

static void put(const struct ws *ws, const char *path, const void *p, size_t n,
		mode_t mode)
{
	cleanup_free char *full = with_parents(ws, path);
	cleanup_fd int fd = open(full, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	must(fd < 0 ? -errno : 0, full);
	must(io_pwrite_full(fd, p, n, 0), full);
	must(fchmod(fd, mode) < 0 ? -errno : 0, full);
}

void ws_put(const struct ws *ws, const char *path, const char *text,
	    mode_t mode)
{
	put(ws, path, text, strlen(text), mode);
}

void ws_put_bytes(const struct ws *ws, const char *path, size_t size,
		  unsigned seed)
{
	cleanup_free unsigned char *buf = xmalloc(size + 1);
	uint64_t x = seed * 0x9e3779b97f4a7c15ull + 1;

	for (size_t i = 0; i < size; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		buf[i] = (unsigned char)x;
	}
	put(ws, path, buf, size, 0644);
}

void ws_mkdir(const struct ws *ws, const char *path)
{
	cleanup_free char *full = ws_path(ws, path);

	must(io_mkdirs(full, 0755), full);
}

void ws_link(const struct ws *ws, const char *path, const char *target)
{
	cleanup_free char *full = with_parents(ws, path);

	must(symlink(target, full) < 0 ? -errno : 0, full);
}

int ws_scan(const struct ws *ws, struct inventory *ret, struct error **errp)
{
	struct scan_options o = {.hash = true};

	return scan(ws->dir, &ws->bf, &o, ret, errp);
}

int ws_scan_follow(const struct ws *ws, struct inventory *ret,
		   struct error **errp)
{
	struct scan_options o = {.hash = true, .follow_symlinks = true};

	return scan(ws->dir, &ws->bf, &o, ret, errp);
}

char *inventory_text(const struct inventory *inv)
{
	struct strbuf sb = STRBUF_INIT;

	for (size_t i = 0; i < inv->n; i++) {
		const struct inv_entry *e = &inv->entries[i];

		strbuf_addf(&sb, "%c%c %u %llu %.8s %s%s%s\n", " dfl"[e->kind],
			    e -> executable ? 'x' : '-', e->layer,
			    (unsigned long long)e->size,
			    digest_to_hex(&e->digest).str, e->path,
			    e->target ? " -> " : "",
			    e->target ? e->target : "");
	}
	for (size_t i = 0; i < inv->n_unowned; i++)
		strbuf_addf(&sb, "unowned %s\n", inv->unowned[i]);
	return strbuf_steal(&sb);
}

char *inventory_paths(const struct inventory *inv)
{
	struct strbuf sb = STRBUF_INIT;

	for (size_t i = 0; i < inv->n; i++)
		strbuf_addf(&sb, "%s%s%s", i ? " " : "", inv->entries[i].path,
			    inv->entries[i].kind == TREE_DIR ? "/" : "");
	return strbuf_steal(&sb);
}
