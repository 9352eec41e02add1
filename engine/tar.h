/*
 * Deterministic tar (docs/format.md, "Deterministic tar"), and a strict reader
 * of it for import. One writer serves packs and export.
 */
#ifndef ENGINE_TAR_H
#define ENGINE_TAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/strbuf.h"
#include "storage/sink.h"

#define TAR_BLOCK  512u
#define TAR_RECORD 10240u

enum tar_kind { TAR_FILE, TAR_DIR, TAR_SYMLINK };

struct tar_entry {
	enum tar_kind kind;
	bool executable;
	const char *path;   /* without a trailing slash */
	const char *target; /* TAR_SYMLINK */
	uint64_t size;      /* TAR_FILE */
};

/* Append the header blocks of @e (PAX records included) to @out. */
void tar_header(struct strbuf *out, const struct tar_entry *e);
/* Zero bytes that follow @size bytes of content. */
uint64_t tar_padding(uint64_t size);
/* Bytes of the end of an archive whose entries take @size bytes. */
uint64_t tar_trailer(uint64_t size);

/*
 * Read an archive entry by entry. Anything the writer would not write is
 * refused (-EINVAL): other entry types, malformed or unknown PAX records, bad
 * checksums, names that break the path rules, data after the end.
 */
struct tar_reader;
struct tar_reader *tar_reader_new(int (*read)(void *ctx, void *buf, size_t n,
					      struct error **errp),
				  void *ctx);
/* 1: *@ret is the next entry (strings valid until the next call); 0: the end;
 * unread content of the entry before is skipped. */
int tar_reader_next(struct tar_reader *r, struct tar_entry *ret,
		    struct error **errp);
/* Content of the current file: count, 0 at its end. */
ssize_t tar_reader_read(struct tar_reader *r, void *buf, size_t n,
			struct error **errp);
void tar_reader_free(struct tar_reader *r);

#endif
