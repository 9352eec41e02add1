/*
 * What is to be there, what is there, and what follows. Nothing is written.
 *
 * The walk goes down the tree and the workdir at once, with one descriptor per
 * level that was opened from the one above without following a link.
 *
 *   wanted     there                         action
 *   any        nothing                       CREATED
 *   folder     folder                        (not counted)
 *   folder     anything else                 CONFLICT, or REPLACED
 *   file       same content and x bit        UNCHANGED
 *   file       symlink to its blob           UNCHANGED
 *   symlink    same target                   UNCHANGED
 *   either     empty folder                  CONFLICT, or REPLACED
 *   either     folder with something in it   CONFLICT
 *   either     anything else                 CONFLICT, or REPLACED
 *   pointer    same but for its fulfilment   UNCHANGED
 *   pointer    anything else                 REPLACED
 *
 * The second choice is taken with --overwrite. What cannot be looked at is no
 * conflict but an error.
 */
#include "engine/materialize_internal.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/path.h"
#include "engine/pointer.h"

enum level_state { LEVEL_THERE, LEVEL_MISSING, LEVEL_BLOCKED };

/* A folder of the role, on the way down. */
struct level {
	uint32_t node;
	enum level_state state;
	int fd;       /* when it is there */
	int why;      /* -errno: who knows what is there */
	bool planned; /* has its entry */
};

struct planning {
	struct mat *m;
	struct level levels[PATH_DEPTH_MAX + 2];
};

bool mat_writes(const struct mat_entry *e)
{
	return e->action == MAT_CREATED || e->action == MAT_REPLACED;
}

static struct mat_entry *add(struct mat *m, enum mat_kind kind, uint32_t node,
			     enum mat_action action)
{
	ARRAY_GROW(m->entries, m->n, m->cap);
	m->entries[m->n] = (struct mat_entry){
		.node = node,
		.kind = (uint8_t)kind,
		.action = (uint8_t)action,
	};
	return &m->entries[m->n++];
}

/* Something else is there. */
static enum mat_action clash(const struct mat *m)
{
	return m->o->overwrite ? MAT_REPLACED : MAT_CONFLICT;
}

static unsigned depth_of(const char *path)
{
	unsigned n = 0;

	while ((path = strchr(path, '/'))) {
		path++;
		n++;
	}
	return n;
}

static const char *last_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/*
 * Folders.
 */

static int cannot_look(const char *path, int r, struct error **errp)
{
	return error_set_errno(errp, -r, "cannot look at '%s'", path);
}

static void enter_folder(struct planning *p, unsigned depth, uint32_t node,
			 const char *name)
{
	const struct level *up = &p->levels[depth];
	struct level *l = &p->levels[depth + 1];

	closep(&l->fd);
	l->node = node;
	l->planned = false;
	l->state = LEVEL_MISSING;
	l->why = up->why;
	if (up->state != LEVEL_THERE)
		return;
	l->fd = openat(up->fd, name,
		       O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (l->fd >= 0)
		l->state = LEVEL_THERE;
	else if (errno == ENOTDIR || errno == ELOOP)
		l->state = LEVEL_BLOCKED;
	else if (errno != ENOENT)
		l->why = -errno;
}

/* The folders down to @depth are needed: those that are not there get an
 * entry. */
static void need_folders(struct planning *p, unsigned depth)
{
	for (unsigned i = 1; i <= depth; i++) {
		struct level *l = &p->levels[i];

		if (l->planned || l->state == LEVEL_THERE)
			continue;
		l->planned = true;
		add(p->m, MAT_DIR, l->node,
		    l->state == LEVEL_MISSING ? MAT_CREATED : clash(p->m));
	}
}

/*
 * Files and symlinks.
 */

static bool folder_is_empty(int dirfd, const char *name)
{
	cleanup_fd int fd = openat(
		dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	cleanup_dir DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (!d)
		return false;
	steal_fd(&fd);
	while ((e = readdir(d)))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			return false;
	return true;
}

static bool link_is(int dirfd, const char *name, const char *target, size_t n)
{
	char buf[PATH_MAX];
	ssize_t len = readlinkat(dirfd, name, buf, sizeof(buf));

	return len >= 0 && (size_t)len == n && !memcmp(buf, target, n);
}

/* What --link symlink makes. */
static bool links_to_blob(const struct mat *m, int dirfd, const char *name,
			  const struct tree_node *n)
{
	struct digest_hex hex = digest_to_hex(n->digest);
	cleanup_free char *to =
		xasprintf("%s/blobs/sha256/%.2s/%s", cache_path(m->cache),
			  hex.str, hex.str);

	return link_is(dirfd, name, to, strlen(to)) &&
	       cache_blob_exists(m->cache, n->digest, n->size);
}

static int look(struct planning *p, struct mat_entry *e, int dirfd,
		const char *path, const struct tree_node *n,
		struct error **errp)
{
	const char *name = last_name(path);
	struct mat *m = p->m;
	bool file = n->kind == TREE_FILE;
	struct stat st;

	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : cannot_look(path, -errno, errp);
	e->action = clash(m);
	if (S_ISDIR(st.st_mode)) {
		e->folder_was = folder_is_empty(dirfd, name);
		if (!e->folder_was)
			e->action = MAT_CONFLICT;
	} else if (S_ISREG(st.st_mode) && file) {
		e->compare = (uint64_t)st.st_size == n->size &&
			     !(st.st_mode & S_IXUSR) == !n->executable;
	} else if (S_ISLNK(st.st_mode)) {
		if (file ? links_to_blob(m, dirfd, name, n)
			 : link_is(dirfd, name, n->target, n->target_len))
			e->action = MAT_UNCHANGED;
	}
	return 0;
}

static int plan_leaf(struct planning *p, uint32_t node,
		     const struct tree_node *n, const char *path,
		     unsigned depth, struct error **errp)
{
	struct level *up = &p->levels[depth];
	struct mat_entry *e;

	if (up->why)
		return cannot_look(path, up->why, errp);
	need_folders(p, depth);
	e = add(p->m, n->kind == TREE_FILE ? MAT_FILE : MAT_SYMLINK, node,
		MAT_CREATED);
	return up->state == LEVEL_THERE ? look(p, e, up->fd, path, n, errp) : 0;
}

int mat_node_source(struct mat *m, const struct tree_node *n,
		    struct tree_source *ret, struct error **errp)
{
	*ret = (struct tree_source){0};
	return n->source == TREE_NONE
		       ? 0
		       : tree_source(m->v->tree, n->source, ret, errp);
}

/*
 * Documents below .mops/, which is ours: never a conflict.
 */

static int read_beneath(const struct mat *m, const char *path, char **ret,
			size_t *ret_len)
{
	cleanup_fd int fd = -1;
	cleanup_free char *buf = NULL;
	struct stat st;
	ssize_t n;

	if (m->dest < 0)
		return -ENOENT;
	fd = io_open_beneath(m->dest, path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW,
			     0);
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size > POINTER_MAX)
		return -EFBIG;
	buf = xmalloc((size_t)st.st_size + 1);
	n = io_read_full(fd, buf, (size_t)st.st_size);
	if (n < 0)
		return (int)n;
	*ret = steal_ptr(&buf);
	*ret_len = (size_t)n;
	return 0;
}

static enum mat_action same_pointer(const char *old, size_t len,
				    const struct pointer *want)
{
	cleanup_pointer struct pointer have = {0};

	if (pointer_parse(old, len, &have, NULL) < 0 ||
	    !pointer_same_target(&have, want))
		return MAT_REPLACED;
	/* Once fulfilled it stays so. */
	return have.fulfilled || !want->fulfilled ? MAT_UNCHANGED
						  : MAT_REPLACED;
}

static int pointer_for(struct mat *m, const struct tree_node *n,
		       const char *path, struct pointer *ret,
		       struct error **errp)
{
	struct tree_source src;
	int r = mat_node_source(m, n, &src, errp);

	if (r >= 0)
		r = pointer_of_node(m->v->bundle, m->v->role, n, &src, path,
				    ret, errp);
	if (r >= 0 && m->o->prefetch_external) {
		ret->fulfilled = true;
		ret->local_path = xstrdup(path);
	}
	return r;
}

static enum mat_action look_at_pointer(struct mat *m, const char *path,
				       const struct pointer *want)
{
	cleanup_free char *at = pointer_path(path);
	cleanup_free char *old = NULL;
	size_t len = 0;
	int r = read_beneath(m, at, &old, &len);

	if (r == -ENOENT)
		return MAT_CREATED;
	return r < 0 ? MAT_REPLACED : same_pointer(old, len, want);
}

static int plan_pointer(struct mat *m, uint32_t node, const struct tree_node *n,
			const char *path, struct error **errp)
{
	cleanup_pointer struct pointer want = {0};
	int r = pointer_for(m, n, path, &want, errp);

	if (r >= 0)
		add(m, MAT_POINTER, node, look_at_pointer(m, path, &want));
	return r;
}

static void plan_provenance(struct mat *m)
{
	cleanup_strbuf struct strbuf want = STRBUF_INIT;
	cleanup_free char *old = NULL;
	enum mat_action action = MAT_REPLACED;
	size_t len = 0;
	int r = read_beneath(m, PROVENANCE_PATH, &old, &len);

	provenance_write(m->v->bundle, m->v->role, &want);
	if (r == -ENOENT)
		action = MAT_CREATED;
	else if (r >= 0 && old && len == want.len &&
		 !memcmp(old, want.buf, len))
		action = MAT_UNCHANGED;
	add(m, MAT_PROVENANCE, TREE_NONE, action);
}

int mat_document(struct mat *m, const struct mat_entry *e, struct strbuf *out,
		 struct error **errp)
{
	cleanup_pointer struct pointer p = {0};
	cleanup_strbuf struct strbuf path = STRBUF_INIT;
	struct tree_node n = {0};
	int r;

	if (e->kind == MAT_PROVENANCE) {
		provenance_write(m->v->bundle, m->v->role, out);
		return 0;
	}
	r = tree_node(m->v->tree, e->node, &n, errp);
	if (r >= 0)
		r = tree_path(m->v->tree, e->node, &path, errp);
	if (r >= 0)
		r = pointer_for(m, &n, strbuf_str(&path), &p, errp);
	if (r >= 0)
		pointer_write(&p, out);
	return r;
}

int mat_entry_path(struct mat *m, const struct mat_entry *e,
		   struct strbuf *path, struct tree_node *ret_n,
		   struct error **errp)
{
	int r;

	if (e->kind == MAT_PROVENANCE) {
		strbuf_adds(path, PROVENANCE_PATH);
		return 0;
	}
	r = tree_node(m->v->tree, e->node, ret_n, errp);
	if (r >= 0)
		r = tree_path(m->v->tree, e->node, path, errp);
	if (r >= 0 && e->kind == MAT_POINTER) {
		cleanup_free char *plain = strbuf_steal(path);
		cleanup_free char *at = pointer_path(plain);

		strbuf_adds(path, at);
	}
	return r;
}

/*
 * The walk.
 */

static int plan_file(struct planning *p, uint32_t node,
		     const struct tree_node *n, const char *path,
		     unsigned depth, struct error **errp)
{
	struct mat *m = p->m;
	struct tree_source src;
	int r = mat_node_source(m, n, &src, errp);

	if (r < 0)
		return r;
	m->out->files++;
	if (src.kind == TREE_SOURCE_EXTERNAL) {
		r = plan_pointer(m, node, n, path, errp);
		if (r < 0 || !m->o->prefetch_external)
			return r;
	}
	m->out->bytes += n->size;
	return plan_leaf(p, node, n, path, depth, errp);
}

static int plan_node(void *ctx, uint32_t node, const struct tree_node *n,
		     const char *path, struct error **errp)
{
	struct planning *p = ctx;
	struct glob *g = p->m->glob;
	bool wanted = !g || glob_match(g, path, strlen(path));
	unsigned depth = depth_of(path);

	if (n->kind == TREE_DIR) {
		int why;

		enter_folder(p, depth, node, last_name(path));
		why = p->levels[depth + 1].why;
		if (wanted && why)
			return cannot_look(path, why, errp);
		if (wanted)
			need_folders(p, depth + 1);
		return 0;
	}
	if (!wanted)
		return 0;
	if (n->kind == TREE_FILE)
		return plan_file(p, node, n, path, depth, errp);
	p->m->out->files++;
	return plan_leaf(p, node, n, path, depth, errp);
}

static int walk(struct mat *m, struct error **errp)
{
	struct planning p = {.m = m};
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(p.levels); i++)
		p.levels[i].fd = -1;
	p.levels[0].state = m->dest < 0 ? LEVEL_MISSING : LEVEL_THERE;
	p.levels[0].fd = m->dest;
	r = tree_walk(m->v->tree, TREE_ROOT, plan_node, &p, errp);
	for (size_t i = 1; i < ARRAY_SIZE(p.levels); i++)
		closep(&p.levels[i].fd);
	if (r >= 0)
		plan_provenance(m);
	return r;
}

/*
 * Content of what looks alike.
 */

/* A hardlink to the blob, which the cache vouches for. */
static bool is_the_blob(const struct mat *m, const struct tree_node *n,
			const struct stat *st)
{
	cleanup_fd int fd = -1;
	struct stat blob = {0};

	/* Another user could change it. */
	if (st->st_nlink < 2 || (st->st_uid != 0 && st->st_uid != geteuid()))
		return false;
	fd = cache_blob_open(m->cache, n->digest, n->size, NULL);
	return fd >= 0 && fstat(fd, &blob) == 0 && blob.st_ino == st->st_ino &&
	       blob.st_dev == st->st_dev;
}

/* 1 the same, 0 not, -errno: who knows. */
static int same_content(const struct mat *m, const struct tree_node *n,
			const char *path)
{
	cleanup_fd int fd = io_open_beneath(
		m->dest, path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW, 0);
	struct digest got;
	struct stat st = {0};
	int r;

	if (fd < 0 || fstat(fd, &st) < 0)
		return fd < 0 ? fd : -errno;
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != n->size)
		return 0;
	if (is_the_blob(m, n, &st))
		return 1;
	r = digest_of_fd(fd, 0, n->size, &got, NULL);
	return r < 0 ? r : digest_equal(&got, n->digest);
}

static int compare_one(void *ctx, size_t i, struct error **errp)
{
	struct mat *m = ctx;
	struct mat_entry *e = &m->entries[i];
	cleanup_strbuf struct strbuf path = STRBUF_INIT;
	struct tree_node n = {0};
	int r;

	if (!e->compare)
		return 0;
	r = op_go_on(m->op, errp);
	if (r < 0)
		return r;
	r = mat_entry_path(m, e, &path, &n, errp);
	if (r < 0)
		return r;
	assert(n.digest); /* only files are compared */
	r = same_content(m, &n, strbuf_str(&path));
	if (r < 0 && r != -ENOENT && !m->o->overwrite)
		return cannot_look(strbuf_str(&path), r, errp);
	if (r > 0)
		e->action = MAT_UNCHANGED;
	return 0;
}

/*
 * The result.
 */

static int note_conflict(struct mat *m, const struct mat_entry *e,
			 struct error **errp)
{
	cleanup_strbuf struct strbuf path = STRBUF_INIT;
	struct tree_node n = {0};
	int r;

	if (m->out->n_conflicts++ >= MAT_CONFLICTS_MAX)
		return 0;
	r = mat_entry_path(m, e, &path, &n, errp);
	if (r >= 0)
		strv_append(&m->out->conflicts, strbuf_steal(&path));
	return r;
}

static int count(struct mat *m, struct error **errp)
{
	uint64_t by_action[MAT_CONFLICT + 1] = {0};
	int r = 0;

	for (size_t i = 0; i < m->n && r >= 0; i++) {
		const struct mat_entry *e = &m->entries[i];

		if (e->action == MAT_CONFLICT)
			r = note_conflict(m, e, errp);
		if (e->kind == MAT_POINTER)
			m->out->pointers++;
		if (e->kind != MAT_DIR && e->kind != MAT_PROVENANCE)
			by_action[e->action]++;
	}
	m->out->created = by_action[MAT_CREATED];
	m->out->unchanged = by_action[MAT_UNCHANGED];
	m->out->replaced = by_action[MAT_REPLACED];
	return r;
}

static void reset(struct mat *m)
{
	struct materialize_result *o = m->out;

	m->n = 0;
	strv_free(o->conflicts);
	*o = (struct materialize_result){0};
}

int mat_plan(struct mat *m, struct error **errp)
{
	int r;

	reset(m);
	r = walk(m, errp);
	if (r >= 0)
		r = pool_for_each(m->pool, m->n, compare_one, m, errp);
	return r < 0 ? r : count(m, errp);
}
