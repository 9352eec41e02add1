/*
 * The inventory of a workspace: which files belong to which layer, and what
 * they are (path, mode, size, SHA-256). Parallel; files whose stat is in the
 * hash cache are not read.
 */
#ifndef ENGINE_SCAN_H
#define ENGINE_SCAN_H

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/digest.h"
#include "base/op.h"
#include "base/progress.h"
#include "cache/hashes.h"
#include "engine/bundle_file.h"
#include "engine/tree.h"

struct inv_entry {
	char *path;    /* in the bundle, NFC */
	char *fs_path; /* on disk, below the folder; equal to path mostly */
	enum tree_kind kind;
	bool executable;
	uint32_t layer; /* index into bundle_file.layers */
	uint64_t size;
	struct digest digest;
	struct digest *chunks; /* when size > CHUNK_SIZE */
	uint32_t n_chunks;
	char *target; /* symlinks, NFC */
};

struct inventory {
	int dirfd;                 /* the folder, for reading files again */
	struct inv_entry *entries; /* sorted by path bytes */
	size_t n;
	char **unowned; /* NULL-ended: files that no layer matches, sorted */
	size_t n_unowned;
	size_t n_hashed; /* files that had to be read */
	char **warnings; /* NULL-ended: names that differ only in case, … */
};

struct scan_options {
	bool follow_symlinks;
	bool hash;             /* false: sizes only */
	struct hashes *hashes; /* NULL: none */
	struct progress *progress;
	unsigned threads; /* 0: as many as there are CPUs */
	const struct op *op;
};

int scan(const char *dir, const struct bundle_file *bf,
	 const struct scan_options *o, struct inventory *ret,
	 struct error **errp);
/* Open an entry's file again, beneath the folder. */
int inventory_open(const struct inventory *inv, const struct inv_entry *e,
		   struct error **errp);
void inventory_release(struct inventory *inv);
#define cleanup_inventory __attribute__((cleanup(inventory_release)))

#endif
