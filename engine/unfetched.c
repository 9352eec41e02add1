#include "engine/unfetched.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/io.h"
#include "base/path.h"
#include "engine/owner.h"
#include "engine/pointer.h"
#include "engine/scan_names.h"

struct search {
	const struct inventory *inv;
	struct owners *owners;
	size_t n;
	char *first;
};

static void search_release(struct search *s)
{
	owners_freep(&s->owners);
	free(s->first);
}
#define cleanup_search __attribute__((cleanup(search_release)))

/* What no layer takes is left out when it is fetched, too. */
static bool is_lost(const struct search *s, const struct pointer *p)
{
	const char *path = p->original_path;
	cleanup_free char *nfc = NULL;

	if (p->fulfilled || path_to_nfc(path, strlen(path), &nfc, NULL) < 0)
		return false;
	return owners_find(s->owners, nfc, strlen(nfc)) >= 0 &&
	       !inventory_find(s->inv, nfc);
}

static int look_at(struct search *s, int dirfd, const char *name,
		   struct error **errp)
{
	cleanup_pointer struct pointer p = {0};
	cleanup_free char *buf = NULL;
	size_t n = 0;
	int r = io_read_file(dirfd, name, POINTER_MAX, &buf, &n);

	if (r < 0)
		return error_set_errno(errp, -r, "reading it");
	r = pointer_parse(buf, n, &p, errp);
	if (r < 0 || !is_lost(s, &p))
		return r;
	if (!s->n++)
		s->first = steal_ptr(&p.original_path);
	return 0;
}

static bool is_json(const char *name)
{
	size_t n = strlen(name);

	return n > 5 && !strcmp(name + n - 5, ".json");
}

static int search_folder(struct search *s, const char *path, unsigned depth,
			 struct error **errp)
{
	cleanup_fd int fd =
		io_open_beneath(s->inv->dirfd, path, O_RDONLY | O_DIRECTORY, 0);
	cleanup_names struct names names = {0};
	int r;

	/* No folder, or one beyond what a pointer's path can have. */
	if (fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP ||
	    depth > PATH_DEPTH_MAX)
		return 0;
	if (fd < 0)
		return error_set_errno(errp, -fd, "opening '%s'", path);
	r = names_read(fd, path, &names, errp);
	for (size_t i = 0; i < names.n && r == 0; i++) {
		const char *name = names.list[i].raw;
		cleanup_free char *at = xasprintf("%s/%s", path, name);
		struct stat st;

		if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			r = error_set_errno(errp, errno, "'%s'", at);
		else if (S_ISDIR(st.st_mode))
			r = search_folder(s, at, depth + 1, errp);
		else if (S_ISREG(st.st_mode) && is_json(name))
			r = error_prefix(errp, look_at(s, fd, name, errp),
					 "'%s'", at);
	}
	return r;
}

int unfetched_count(const struct inventory *inv, const struct bundle_file *bf,
		    size_t *ret, char **ret_first, struct error **errp)
{
	cleanup_search struct search s = {.inv = inv};
	int r = owners_new(bf, &s.owners, errp);

	if (r == 0)
		r = search_folder(&s, POINTER_FOLDER, 0, errp);
	if (r < 0)
		return r;
	*ret = s.n;
	*ret_first = steal_ptr(&s.first);
	return 0;
}
