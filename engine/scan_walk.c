/*
 * One folder at a time, depth first. The names of a folder are read at once,
 * made NFC and sorted, so that errors come in the same order everywhere and
 * names that become equal stand side by side.
 *
 *   name ──built-in rule, .mopsignore──▶ not looked at
 *     └─▶ folder ──▶ its own names; none left: an empty folder
 *     └─▶ else ──no layer──▶ listed as unowned
 *           └──the layer's ignore──▶ left out
 *           └─▶ checked, noted
 */
#include "engine/scan_walk.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/alloc.h"
#include "base/io.h"
#include "base/path.h"
#include "base/strbuf.h"
#include "engine/ignore.h"
#include "engine/scan_names.h"

/* Symlinks that are followed can make few folders look like many. */
#define SCAN_MAX_FILES 10000000

/* A folder that is being read; those above it are its parents. */
struct folder {
	const struct folder *parent;
	int fd;
	dev_t dev;
	ino_t ino;
	unsigned depth;          /* 0: the top */
	size_t path_len;         /* of what is in front of its names */
	const char *flaw;        /* of a name on the way here */
	struct ignore *ignore;   /* its .mopsignore, or NULL */
	const struct name *last; /* looked at; NULL: none so far */
	bool empty;
};

struct walker {
	struct walk *w;
	struct strbuf path, fs_path; /* of the entry looked at */
};

static void folder_release(struct folder *f)
{
	closep(&f->fd);
	ignore_free(f->ignore);
}
#define cleanup_folder __attribute__((cleanup(folder_release)))

int scan_changed(struct error **errp, const char *path)
{
	return error_set_kind(errp, ERROR_VALIDATION, ESTALE,
			      "'%s' changed while it was being scanned", path);
}

static int refuse(struct walker *wk, struct error **errp, const char *flaw)
{
	return error_set(errp, EINVAL, "'%s' cannot be in a bundle: %s",
			 strbuf_str(&wk->path), flaw);
}

static void enter_name(struct walker *wk, const struct folder *f,
		       const struct name *name)
{
	strbuf_truncate(&wk->path, f->path_len);
	strbuf_adds(&wk->path, name->nfc);
	strbuf_adds(&wk->fs_path, name->raw);
}

/*
 * Ignoring.
 */

static int read_ignore_file(struct walker *wk, struct folder *f,
			    struct error **errp)
{
	cleanup_free char *path =
		xasprintf("%s%s", strbuf_str(&wk->path), IGNORE_FILE_NAME);
	int nofollow = wk->w->o->follow_symlinks ? 0 : O_NOFOLLOW;
	cleanup_fd int fd =
		openat(f->fd, IGNORE_FILE_NAME,
		       O_RDONLY | O_NONBLOCK | O_CLOEXEC | nofollow);
	cleanup_free char *buf = NULL;
	struct stat st;
	ssize_t n;

	if (fd < 0 && errno != ELOOP)
		return error_set_errno(errp, errno, "cannot open '%s'", path);
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return error_set(errp, EINVAL, "'%s' is not a regular file",
				 path);
	buf = xmalloc(IGNORE_FILE_MAX + 1);
	n = io_read_full(fd, buf, IGNORE_FILE_MAX + 1);
	if (n < 0)
		return error_set_errno(errp, (int)-n, "cannot read '%s'", path);
	if ((size_t)n > IGNORE_FILE_MAX)
		return error_set(errp, EINVAL, "'%s' is over 1 MiB", path);
	return ignore_parse(buf, (size_t)n, path, &f->ignore, errp);
}

/* The deepest file that has an opinion decides. */
static bool is_ignored(const struct walker *wk, const struct folder *f,
		       bool is_dir)
{
	for (; f; f = f->parent) {
		enum ignore_verdict v;

		if (!f->ignore)
			continue;
		v = ignore_match(f->ignore, wk->path.buf + f->path_len,
				 wk->path.len - f->path_len, is_dir);
		if (v != IGNORE_NO_OPINION)
			return v == IGNORE_LEAVE_OUT;
	}
	return false;
}

static bool is_built_in(const struct walker *wk, const struct folder *f,
			bool is_dir)
{
	const char *path = strbuf_str(&wk->path);

	return f->depth == 0 && (strcmp(path, BUNDLE_FILE_NAME) == 0 ||
				 (is_dir && strcmp(path, ".mops") == 0));
}

/*
 * Noting.
 */

static struct inv_entry *note(struct walker *wk, enum tree_kind kind, int layer)
{
	struct walk *w = wk->w;
	struct inv_entry *e;

	ARRAY_GROW(w->entries, w->n, w->cap);
	e = &w->entries[w->n++];
	*e = (struct inv_entry){.kind = kind, .layer = (uint32_t)layer};
	e->path = xmemdup(wk->path.buf, wk->path.len + 1);
	e->fs_path = e->path;
	if (wk->path.len != wk->fs_path.len ||
	    memcmp(wk->path.buf, wk->fs_path.buf, wk->path.len) != 0)
		e->fs_path = xmemdup(wk->fs_path.buf, wk->fs_path.len + 1);
	return e;
}

static void note_unowned(struct walker *wk)
{
	struct walk *w = wk->w;

	ARRAY_GROW(w->unowned, w->n_unowned, w->cap_unowned);
	w->unowned[w->n_unowned++] = xstrdup(strbuf_str(&wk->path));
}

static void note_unhashed(struct walker *wk, const struct stat *st)
{
	struct walk *w = wk->w;

	ARRAY_GROW(w->unhashed, w->n_unhashed, w->cap_unhashed);
	w->unhashed[w->n_unhashed++] =
		(struct unhashed){.entry = w->n - 1, .st = *st};
	w->unhashed_bytes += (uint64_t)st->st_size;
}

static bool recall_hash(struct hashes *h, struct inv_entry *e,
			const struct stat *st)
{
	uint64_t want = 0;
	size_t n = 0;

	if (!hashes_get(h, e->fs_path, st, &e->digest, &e->chunks, &n))
		return false;
	if (e->size > CHUNK_SIZE)
		want = (e->size - 1) / CHUNK_SIZE + 1;
	if (n != want) {
		freep(&e->chunks);
		return false;
	}
	e->n_chunks = (uint32_t)n;
	return true;
}

static void note_file(struct walker *wk, int layer, const struct stat *st)
{
	const struct scan_options *o = wk->w->o;
	struct inv_entry *e = note(wk, TREE_FILE, layer);

	e->executable = st->st_mode & S_IXUSR;
	e->size = (uint64_t)st->st_size;
	if (!o->hash)
		return;
	if (!e->size)
		e->digest = DIGEST_EMPTY;
	else if (!o->hashes || !recall_hash(o->hashes, e, st))
		note_unhashed(wk, st);
}

static int note_symlink(struct walker *wk, const struct folder *f,
			const char *raw, int layer, struct error **errp)
{
	char buf[LINK_TARGET_MAX + 2];
	ssize_t n = readlinkat(f->fd, raw, buf, sizeof(buf));
	cleanup_free char *target = NULL;
	const char *flaw = "its target is not UTF-8, or has code points that "
			   "Unicode does not assign";

	if (n < 0 && (errno == ENOENT || errno == EINVAL))
		return scan_changed(errp, strbuf_str(&wk->path));
	if (n < 0)
		return error_set_errno(errp, errno, "cannot read link '%s'",
				       strbuf_str(&wk->path));
	if (n > LINK_TARGET_MAX)
		flaw = "its target is over 1,024 bytes";
	else if (path_to_nfc(buf, (size_t)n, &target, NULL) == 0)
		flaw = link_target_flaw(target, strlen(target), f->depth);
	if (flaw) {
		int r = error_set(errp, EINVAL,
				  "the symlink '%s' cannot be in a bundle: %s",
				  strbuf_str(&wk->path), flaw);
		return error_hint(errp, r,
				  "--follow-symlinks takes what links lead to "
				  "instead");
	}
	note(wk, TREE_SYMLINK, layer)->target = steal_ptr(&target);
	return 0;
}

/* What is wrong with the whole path, known now that a layer wants it. */
static int check_path(struct walker *wk, const char *flaw, struct error **errp)
{
	if (!flaw)
		flaw = path_flaw(wk->path.buf, wk->path.len);
	return flaw ? refuse(wk, errp, flaw) : 0;
}

static int refuse_kind(struct walker *wk, mode_t mode, struct error **errp)
{
	int r;

	if (S_ISLNK(mode)) /* followed, and it led nowhere */
		return error_set(errp, EINVAL,
				 "the symlink '%s' leads nowhere, or in a "
				 "circle",
				 strbuf_str(&wk->path));
	r = refuse(wk, errp,
		   S_ISFIFO(mode)   ? "it is a fifo"
		   : S_ISSOCK(mode) ? "it is a socket"
				    : "it is a device");
	return error_hint(errp, r, "name it in a %s file", IGNORE_FILE_NAME);
}

static int visit_leaf(struct walker *wk, const struct folder *f,
		      const struct name *name, const struct stat *st,
		      struct error **errp)
{
	int layer = owners_find(wk->w->owners, wk->path.buf, wk->path.len);
	int r;

	if (layer == OWNER_NONE)
		note_unowned(wk);
	if (layer < 0)
		return 0;
	r = check_path(wk, f->flaw ? f->flaw : name->flaw, errp);
	if (r < 0)
		return r;
	if (S_ISREG(st->st_mode))
		note_file(wk, layer, st);
	else if (S_ISLNK(st->st_mode) && !wk->w->o->follow_symlinks)
		return note_symlink(wk, f, name->raw, layer, errp);
	else
		return refuse_kind(wk, st->st_mode, errp);
	return 0;
}

static int visit_empty_folder(struct walker *wk, const char *flaw,
			      struct error **errp)
{
	int layer = owners_find(wk->w->owners, wk->path.buf, wk->path.len);
	int r;

	if (layer < 0)
		return 0;
	r = check_path(wk, flaw, errp);
	if (r == 0)
		note(wk, TREE_DIR, layer);
	return r;
}

/*
 * Walking.
 */

static int read_folder(struct walker *wk, struct folder *f,
		       struct error **errp);

static int check_loop(struct walker *wk, const struct folder *f,
		      struct error **errp)
{
	for (const struct folder *p = f->parent; p; p = p->parent)
		if (p->dev == f->dev && p->ino == f->ino)
			return error_set(errp, ELOOP,
					 "'%s' leads back to a folder that "
					 "holds it",
					 strbuf_str(&wk->path));
	return 0;
}

static int open_folder(struct walker *wk, const struct folder *parent,
		       const struct name *name, struct folder *f,
		       struct error **errp)
{
	bool follow = wk->w->o->follow_symlinks;
	struct stat st;

	f->fd = openat(parent->fd, name->raw,
		       O_RDONLY | O_DIRECTORY | O_CLOEXEC |
			       (follow ? 0 : O_NOFOLLOW));
	if (f->fd < 0 &&
	    (errno == ENOENT || errno == ENOTDIR || errno == ELOOP))
		return scan_changed(errp, strbuf_str(&wk->path));
	if (f->fd < 0 || fstat(f->fd, &st) < 0)
		return error_set_errno(errp, errno, "cannot open folder '%s'",
				       strbuf_str(&wk->path));
	f->dev = st.st_dev;
	f->ino = st.st_ino;
	return follow ? check_loop(wk, f, errp) : 0;
}

static int visit_folder(struct walker *wk, const struct folder *parent,
			const struct name *name, struct error **errp)
{
	cleanup_folder struct folder f = {.fd = -1};
	size_t path_len = wk->path.len, fs_len = wk->fs_path.len;
	int r;

	f.parent = parent;
	f.depth = parent->depth + 1;
	f.flaw = parent->flaw ? parent->flaw : name->flaw;
	if (f.depth > PATH_DEPTH_MAX)
		return refuse(wk, errp, "folders are more than 64 deep");
	r = open_folder(wk, parent, name, &f, errp);
	if (r < 0)
		return r;
	strbuf_addc(&wk->path, '/');
	strbuf_addc(&wk->fs_path, '/');
	f.path_len = wk->path.len;
	r = read_folder(wk, &f, errp);
	strbuf_truncate(&wk->path, path_len);
	strbuf_truncate(&wk->fs_path, fs_len);
	if (r == 0 && f.empty)
		r = visit_empty_folder(wk, f.flaw, errp);
	return r;
}

/* What the name stands for: the link itself, or where it leads. */
static int stat_name(struct walker *wk, const struct folder *f,
		     const struct name *name, struct stat *ret,
		     struct error **errp)
{
	struct stat st;

	if (fstatat(f->fd, name->raw, ret, AT_SYMLINK_NOFOLLOW) < 0) {
		if (errno == ENOENT)
			return scan_changed(errp, strbuf_str(&wk->path));
		return error_set_errno(errp, errno, "cannot stat '%s'",
				       strbuf_str(&wk->path));
	}
	/* One that leads nowhere stays a link, and is refused as such. */
	if (S_ISLNK(ret->st_mode) && wk->w->o->follow_symlinks &&
	    fstatat(f->fd, name->raw, &st, 0) == 0)
		*ret = st;
	return 0;
}

static int visit_name(struct walker *wk, struct folder *f,
		      const struct name *name, struct error **errp)
{
	struct stat st;
	int r = stat_name(wk, f, name, &st, errp);
	bool is_dir;

	if (r < 0)
		return r;
	is_dir = S_ISDIR(st.st_mode);
	if (is_built_in(wk, f, is_dir) || is_ignored(wk, f, is_dir))
		return 0;
	if (f->last && strcmp(f->last->nfc, name->nfc) == 0)
		return refuse_twins(strbuf_str(&wk->path), f->last, name, errp);
	f->last = name;
	if (wk->w->n + wk->w->n_unowned >= SCAN_MAX_FILES)
		return error_set(errp, EINVAL, "more than %d files",
				 SCAN_MAX_FILES);
	if (is_dir)
		return visit_folder(wk, f, name, errp);
	return visit_leaf(wk, f, name, &st, errp);
}

/* Paths end with a slash here, or are empty: names go behind it. */
static int read_folder(struct walker *wk, struct folder *f, struct error **errp)
{
	cleanup_names struct names names = {0};
	size_t fs_len = wk->fs_path.len;
	int r = op_go_on(wk->w->o->op, errp);

	if (r >= 0)
		r = names_read(f->fd, strbuf_str(&wk->path), &names, errp);
	if (r == 0 && names.has_ignore_file)
		r = read_ignore_file(wk, f, errp);
	for (size_t i = 0; i < names.n && r == 0; i++) {
		strbuf_truncate(&wk->fs_path, fs_len);
		enter_name(wk, f, &names.list[i]);
		r = visit_name(wk, f, &names.list[i], errp);
	}
	f->empty = !f->last;
	f->last = NULL; /* gone with the names */
	return r;
}

int walk_run(struct walk *w, struct error **errp)
{
	struct walker wk = {.w = w, .path = STRBUF_INIT};
	cleanup_folder struct folder top = {.fd = -1};
	struct stat st;
	int r = 0;

	top.fd = fcntl(w->rootfd, F_DUPFD_CLOEXEC, 0);
	if (top.fd < 0 || fstat(top.fd, &st) < 0)
		return error_set_errno(errp, errno, "cannot read the folder");
	top.dev = st.st_dev;
	top.ino = st.st_ino;
	r = read_folder(&wk, &top, errp);
	strbuf_release(&wk.path);
	strbuf_release(&wk.fs_path);
	return r;
}

void walk_release(struct walk *w)
{
	for (size_t i = 0; i < w->n; i++)
		inv_entry_release(&w->entries[i]);
	for (size_t i = 0; i < w->n_unowned; i++)
		free(w->unowned[i]);
	free(w->entries);
	free(w->unowned);
	free(w->unhashed);
}
