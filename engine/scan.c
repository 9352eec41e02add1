#include "engine/scan.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/alloc.h"
#include "base/map.h"
#include "base/path.h"
#include "engine/scan_walk.h"

static int compare_entries(const void *a, const void *b)
{
	const struct inv_entry *x = a, *y = b;

	return strcmp(x->path, y->path);
}

void inv_entry_release(struct inv_entry *e)
{
	if (e->fs_path != e->path)
		free(e->fs_path);
	free(e->path);
	free(e->chunks);
	free(e->target);
}

/*
 * Names that differ only in case are one name on some systems.
 */

static void warn_of_case(struct inventory *inv, const char *a, const char *b,
			 size_t n)
{
	strv_append(&inv->warnings,
		    xasprintf("'%s' and '%.*s' differ only in case", a, (int)n,
			      b));
}

/* Case folding of the component [@from, @n) of @path, behind the bytes of its
 * parent as they are: equal keys are two names for one on such systems. */
static char *case_key(const char *path, size_t from, size_t n)
{
	cleanup_free char *folded = NULL;

	if (path_casefold(path + from, n - from, &folded, NULL) < 0)
		return xstrndup(path, n);
	return xasprintf("%.*s%s", (int)from, path, folded);
}

/* How much of the paths is the same, up to and with a slash. */
static size_t shared_folders(const char *a, const char *b)
{
	size_t n = 0;

	for (size_t i = 0; a[i] && a[i] == b[i]; i++)
		if (a[i] == '/')
			n = i + 1;
	return n;
}

/* Each component of the path that the one before it has not. */
static void check_case(struct inventory *inv, struct map *seen, char *path,
		       const char *before)
{
	size_t from = shared_folders(before, path);

	while (path[from]) {
		size_t n = from + strcspn(path + from, "/");
		cleanup_free char *key = case_key(path, from, n);
		char *name = xstrndup(path, n);
		char *other = map_put_str(seen, key, name);

		if (other && strcmp(other, name) != 0)
			warn_of_case(inv, other, path, n);
		free(other);
		from = path[n] ? n + 1 : n;
	}
}

static void warn_of_cases(struct inventory *inv)
{
	cleanup_map struct map seen = MAP_INIT;
	const void *key;
	const char *before = "";
	size_t pos = 0, len;
	void *name;

	for (size_t i = 0; i < inv->n; i++) {
		check_case(inv, &seen, inv->entries[i].path, before);
		before = inv->entries[i].path;
	}
	while (map_next(&seen, &pos, &key, &len, &name))
		free(name);
}

/*
 * The scan.
 */

/* A layer that nothing is in is a slip: a glob that was misspelled. */
static int check_layers(const struct bundle_file *bf,
			const struct inv_entry *entries, size_t n,
			struct error **errp)
{
	cleanup_free bool *has = xcalloc(bf->n_layers, sizeof(*has));

	for (size_t i = 0; i < n; i++)
		if (entries[i].kind != TREE_DIR)
			has[entries[i].layer] = true;
	for (size_t i = 0; i < bf->n_layers; i++)
		if (!has[i])
			return bundle_file_layer_error(bf, i, errp,
						       "layer '%s' has no file",
						       bf->layers[i].name);
	return 0;
}

static void hand_over(struct walk *w, struct inventory *inv)
{
	inv->entries = steal_ptr(&w->entries);
	inv->n = w->n;
	inv->n_unowned = w->n_unowned;
	inv->n_hashed = w->n_unhashed;
	w->n = w->n_unowned = 0;
	ARRAY_GROW(w->unowned, inv->n_unowned, w->cap_unowned);
	w->unowned[inv->n_unowned] = NULL;
	inv->unowned = steal_ptr(&w->unowned);
	if (inv->n)
		qsort(inv->entries, inv->n, sizeof(*inv->entries),
		      compare_entries);
	strv_sort(inv->unowned);
}

int scan(const char *dir, const struct bundle_file *bf,
	 const struct scan_options *o, struct inventory *ret,
	 struct error **errp)
{
	cleanup_inventory struct inventory inv = INVENTORY_INIT;
	cleanup_owners struct owners *owners = NULL;
	cleanup_walk struct walk w = {.o = o};
	int r = owners_new(bf, &owners, errp);

	if (r < 0)
		return r;
	inv.follow = o->follow_symlinks;
	inv.dirfd = bundle_folder_open(dir, errp);
	if (inv.dirfd < 0)
		return inv.dirfd;
	w.owners = owners;
	w.rootfd = inv.dirfd;
	r = walk_run(&w, errp);
	if (r == 0 && !o->incomplete)
		r = check_layers(bf, w.entries, w.n, errp);
	if (r == 0)
		r = scan_hash(&w, errp);
	if (r < 0)
		return r;
	hand_over(&w, &inv);
	warn_of_cases(&inv);
	*ret = inv;
	inv = (struct inventory)INVENTORY_INIT;
	return 0;
}

/*
 * The inventory.
 */

int inventory_check_layers(const struct inventory *inv,
			   const struct bundle_file *bf, struct error **errp)
{
	return check_layers(bf, inv->entries, inv->n, errp);
}

/* Index of the first entry that is not before @path. */
static size_t lower_bound(const struct inventory *inv, const char *path)
{
	size_t lo = 0, hi = inv->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (strcmp(inv->entries[mid].path, path) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

const struct inv_entry *inventory_find(const struct inventory *inv,
				       const char *path)
{
	size_t i = lower_bound(inv, path);

	if (i < inv->n && strcmp(inv->entries[i].path, path) == 0)
		return &inv->entries[i];
	return NULL;
}

static int layer_of_new(const struct bundle_file *bf, const char *path,
			struct error **errp)
{
	cleanup_owners struct owners *owners = NULL;
	const char *flaw = path_flaw(path, strlen(path));
	int r = owners_new(bf, &owners, errp);

	if (r < 0)
		return r;
	if (flaw)
		return error_set(errp, EINVAL, "'%s' cannot be in a bundle: %s",
				 path, flaw);
	r = owners_find(owners, path, strlen(path));
	if (r < 0)
		return error_set(errp, EINVAL, "no layer takes '%s'", path);
	return r;
}

static int check_same(const struct inv_entry *e, uint64_t size,
		      const struct digest *digest, struct error **errp)
{
	if (e->kind == TREE_FILE && e->size == size &&
	    digest_equal(&e->digest, digest))
		return 0;
	return error_set(errp, EINVAL,
			 "'%s' in the folder is not what is registered for it",
			 e->path);
}

/* A folder is an entry while nothing is in it. */
static void fill_folders(struct inventory *inv, const char *path)
{
	for (const char *s = path; (s = strchr(s, '/')); s++) {
		cleanup_free char *up = xstrndup(path, (size_t)(s - path));
		size_t at = lower_bound(inv, up);

		if (at == inv->n || inv->entries[at].kind != TREE_DIR ||
		    strcmp(inv->entries[at].path, up) != 0)
			continue;
		inv_entry_release(&inv->entries[at]);
		inv->n--;
		memmove(&inv->entries[at], &inv->entries[at + 1],
			(inv->n - at) * sizeof(*inv->entries));
	}
}

int inventory_add(struct inventory *inv, const struct bundle_file *bf,
		  const char *path, uint64_t size, const struct digest *digest,
		  struct digest **take_chunks, uint32_t n_chunks,
		  struct error **errp)
{
	cleanup_free struct digest *chunks = steal_ptr(take_chunks);
	cleanup_free char *nfc = NULL;
	const struct inv_entry *there;
	int r = path_to_nfc(path, strlen(path), &nfc, errp);
	size_t at;

	if (r < 0)
		return r;
	there = inventory_find(inv, nfc);
	if (there)
		return check_same(there, size, digest, errp);
	r = layer_of_new(bf, nfc, errp);
	if (r < 0)
		return r;
	fill_folders(inv, nfc);
	at = lower_bound(inv, nfc);
	inv->entries =
		xrealloc(inv->entries, inv->n + 1, sizeof(*inv->entries));
	memmove(&inv->entries[at + 1], &inv->entries[at],
		(inv->n - at) * sizeof(*inv->entries));
	inv->n++;
	inv->entries[at] = (struct inv_entry){
		.path = steal_ptr(&nfc),
		.kind = TREE_FILE,
		.layer = (uint32_t)r,
		.size = size,
		.digest = *digest,
		.chunks = steal_ptr(&chunks),
		.n_chunks = n_chunks,
	};
	return 0;
}

int inventory_open(const struct inventory *inv, const struct inv_entry *e,
		   struct error **errp)
{
	int fd;

	if (!e->fs_path)
		return error_set(errp, EINVAL, "'%s' is not in the folder",
				 e->path);
	fd = scan_open(inv->dirfd, inv->follow, e->fs_path);
	if (fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP)
		return error_set_kind(errp, ERROR_VALIDATION, ESTALE,
				      "'%s' is gone since it was scanned",
				      e->path);
	if (fd < 0)
		return error_set_errno(errp, -fd, "cannot open '%s'", e->path);
	return fd;
}

void inventory_release(struct inventory *inv)
{
	closep(&inv->dirfd);
	for (size_t i = 0; i < inv->n; i++)
		inv_entry_release(&inv->entries[i]);
	free(inv->entries);
	strv_free(inv->unowned);
	strv_free(inv->warnings);
	*inv = (struct inventory)INVENTORY_INIT;
}
