/* A workspace folder of a test's own. */
#ifndef TESTS_UNIT_ENGINE_WORKSPACE_FIXTURE_H
#define TESTS_UNIT_ENGINE_WORKSPACE_FIXTURE_H

#include "engine/scan.h"

struct ws {
	char *dir;
	struct bundle_file bf;
};

/* @bundle is the text of its bundle file; NULL: it has none. */
void ws_open(struct ws *ws, const char *bundle);
void ws_close(struct ws *ws);
#define cleanup_ws __attribute__((cleanup(ws_close)))

/* Parents are made as needed; @mode as asked whatever the umask. */
void ws_put(const struct ws *ws, const char *path, const char *text,
	    mode_t mode);
/* @size bytes that differ from seed to seed. */
void ws_put_bytes(const struct ws *ws, const char *path, size_t size,
		  unsigned seed);
void ws_mkdir(const struct ws *ws, const char *path);
void ws_link(const struct ws *ws, const char *path, const char *target);
char *ws_path(const struct ws *ws, const char *path);

/* Hashed, without a cache. */
int ws_scan(const struct ws *ws, struct inventory *ret, struct error **errp);
int ws_scan_follow(const struct ws *ws, struct inventory *ret,
		   struct error **errp);

/* One line per entry: kind, 'x', layer, size, first digits of the digest, path,
 * target; then unowned paths. Heap. */
char *inventory_text(const struct inventory *inv);
/* The same, paths alone, folders with a slash, separated by blanks. */
char *inventory_paths(const struct inventory *inv);

#endif
