/*
 * The inventory of a workspace: which files belong to which layer, and what
 * they are (path, mode, size, SHA-256). Parallel; files whose stat is in the
 * hash cache are not read.
 *
 * What .mopsignore files name, anything named .git, and at the top `.mops/` and
 * the bundle file are not looked at. What no layer matches is listed and left
 * out, whatever it is. All else must be a file, a folder or a symlink that a
 * bundle can hold, under names that it can hold: -EINVAL otherwise, naming it.
 * A file that changes or vanishes meanwhile is -ESTALE (ERROR_VALIDATION).
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
	char *fs_path; /* on disk, below the folder; the same pointer as path
			* when equal; NULL: not on disk (registered) */
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
	bool follow;               /* fs_path may lead through symlinks */
	struct inv_entry *entries; /* sorted by path bytes */
	size_t n;
	char **unowned; /* NULL-ended: files that no layer matches, sorted */
	size_t n_unowned;
	size_t n_hashed; /* files that had to be read */
	char **warnings; /* NULL-ended: names that differ only in case, … */
};

struct scan_options {
	bool follow_symlinks;
	bool hash; /* false: sizes only */
	/* Files will be added: empty layers are not refused here, but by
	 * inventory_check_layers(). */
	bool incomplete;
	struct hashes *hashes; /* NULL: none */
	struct progress *progress;
	unsigned threads; /* 0: as many as there are CPUs */
	const struct op *op;
};

int scan(const char *dir, const struct bundle_file *bf,
	 const struct scan_options *o, struct inventory *ret,
	 struct error **errp);
/*
 * Add a file that is not on disk but registered where it is (--external):
 * @take_chunks as in inv_entry. When the path is there already, it must be the
 * same content. -EINVAL when no layer matches the path or it cannot be a file.
 */
int inventory_add(struct inventory *inv, const struct bundle_file *bf,
		  const char *path, uint64_t size, const struct digest *digest,
		  struct digest **take_chunks, uint32_t n_chunks,
		  struct error **errp);
/* -EINVAL: a layer has no file. */
int inventory_check_layers(const struct inventory *inv,
			   const struct bundle_file *bf, struct error **errp);
/* The entry of a path in NFC, or NULL. */
const struct inv_entry *inventory_find(const struct inventory *inv,
				       const char *path);
/* Open an entry's file again, beneath the folder. */
int inventory_open(const struct inventory *inv, const struct inv_entry *e,
		   struct error **errp);
/* Before it is filled, an inventory is INVENTORY_INIT. */
#define INVENTORY_INIT      \
	{                   \
		.dirfd = -1 \
	}
void inventory_release(struct inventory *inv);
#define cleanup_inventory __attribute__((cleanup(inventory_release)))

#endif
