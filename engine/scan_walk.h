/*
 * The first half of a scan: folders are read, rules applied, entries noted;
 * files that the hash cache does not know are left to be hashed.
 */
#ifndef ENGINE_SCAN_WALK_H
#define ENGINE_SCAN_WALK_H

#include "engine/owner.h"
#include "engine/scan.h"

/* A file that has to be read, and what it looked like. */
struct unhashed {
	size_t entry; /* index into the entries, in the order of the walk */
	struct stat st;
};

struct walk {
	const struct scan_options *o;
	const struct owners *owners;
	int rootfd;
	struct inv_entry *entries; /* in no order yet */
	size_t n, cap;
	char **unowned;
	size_t n_unowned, cap_unowned;
	struct unhashed *unhashed;
	size_t n_unhashed, cap_unhashed;
	uint64_t unhashed_bytes;
};

int walk_run(struct walk *w, struct error **errp);
/* Frees what is still there. */
void walk_release(struct walk *w);
#define cleanup_walk __attribute__((cleanup(walk_release)))

/* The second half (scan_hash.c): hash what the walk left over. */
int scan_hash(struct walk *w, struct error **errp);

/* "'x' changed while it was being scanned": -ESTALE, ERROR_VALIDATION. */
int scan_changed(struct error **errp, const char *path);
/* A descriptor, or -errno, as io_open_beneath(). */
int scan_open(int rootfd, bool follow, const char *fs_path);

void inv_entry_release(struct inv_entry *e);

#endif
