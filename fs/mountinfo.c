#include "fs/mountinfo.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"

/* Of Linux 6.8, in headers newer than the oldest that we build with. */
#ifndef STATX_MNT_ID_UNIQUE
#define STATX_MNT_ID_UNIQUE 0x4000u
#endif

/* \040 and the like, in place. */
static char *unescape(char *s)
{
	char *out = s;

	for (const char *p = s; *p; out++) {
		if (p[0] == '\\' && p[1] >= '0' && p[1] <= '3' && p[2] &&
		    p[3]) {
			*out = (char)((p[1] - '0') * 64 + (p[2] - '0') * 8 +
				      (p[3] - '0'));
			p += 4;
		} else {
			*out = *p++;
		}
	}
	*out = '\0';
	return s;
}

/*
 * 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
 *  id parent dev root dir options  [tags…]  -  type source    super
 */
static bool parse_line(char *line, struct mount_entry *ret)
{
	char *save = NULL, *word;
	char *field[10] = {0};
	int n = 0;

	for (word = strtok_r(line, " ", &save); word && n < 6;
	     word = strtok_r(NULL, " ", &save))
		field[n++] = word;
	while (word && strcmp(word, "-") != 0)
		word = strtok_r(NULL, " ", &save);
	for (int i = 6; word && i < 9; i++)
		field[i] = strtok_r(NULL, " ", &save);
	if (n < 6 || !field[8] ||
	    sscanf(field[2], "%u:%u", &ret->major, &ret->minor) != 2)
		return false;
	ret->id = atoi(field[0]);
	ret->dir = xstrdup(unescape(field[4]));
	ret->options = xstrdup(field[5]);
	ret->type = xstrdup(field[6]);
	ret->source = xstrdup(unescape(field[7]));
	ret->super = xstrdup(field[8]);
	return true;
}

void mount_list_parse(char *text, struct mount_list *ret)
{
	char *save = NULL;
	size_t cap = 0;

	*ret = (struct mount_list){0};
	for (char *line = strtok_r(text, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		ARRAY_GROW(ret->e, ret->n, cap);
		if (parse_line(line, &ret->e[ret->n]))
			ret->n++;
	}
}

int mount_list_read(struct mount_list *ret)
{
	cleanup_file FILE *f = fopen("/proc/self/mountinfo", "re");
	cleanup_free char *text = NULL;
	size_t cap = 0;

	if (!f)
		return -errno;
	/* No NUL byte is ever in it: this reads all. */
	if (getdelim(&text, &cap, '\0', f) < 0)
		return -EIO;
	mount_list_parse(text, ret);
	return 0;
}

void mount_list_release(struct mount_list *l)
{
	for (size_t i = 0; i < l->n; i++) {
		free(l->e[i].dir);
		free(l->e[i].options);
		free(l->e[i].type);
		free(l->e[i].source);
		free(l->e[i].super);
	}
	free(l->e);
	*l = (struct mount_list){0};
}

const struct mount_entry *mount_list_top(const struct mount_list *l,
					 const char *dir)
{
	for (size_t i = l->n; i > 0; i--)
		if (!strcmp(l->e[i - 1].dir, dir))
			return &l->e[i - 1];
	return NULL;
}

bool mount_entry_is_ours(const struct mount_entry *e)
{
	return !strcmp(e->type, FS_TYPE);
}

/* Answered from what the kernel remembers. */
static uint64_t unique_of(const char *dir)
{
	struct statx st;

	if (statx(AT_FDCWD, dir,
		  AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC,
		  STATX_MNT_ID_UNIQUE, &st) < 0 ||
	    !(st.stx_mask & STATX_MNT_ID_UNIQUE))
		return 0;
	return st.stx_mnt_id;
}

int mount_identify(const char *dir, struct mount_identity *ret)
{
	cleanup_mount_list struct mount_list mounts = {0};
	const struct mount_entry *e;
	int r = mount_list_read(&mounts);

	if (r < 0)
		return r;
	e = mount_list_top(&mounts, dir);
	if (!e || !mount_entry_is_ours(e))
		return -ENOENT;
	*ret = (struct mount_identity){e->major, e->minor, unique_of(dir)};
	return 0;
}

bool mount_identity_equal(const struct mount_identity *a,
			  const struct mount_identity *b)
{
	return a->major == b->major && a->minor == b->minor &&
	       a->unique == b->unique;
}

bool mount_option_has(const char *list, const char *option)
{
	size_t n = strlen(option);

	for (const char *p = list; p; p = strchr(p, ',')) {
		p += *p == ',';
		if (!strncmp(p, option, n) && (!p[n] || p[n] == ','))
			return true;
	}
	return false;
}

/* "a/b///" → "a/b" */
static char *without_slashes(const char *path)
{
	size_t n = strlen(path);

	while (n > 1 && path[n - 1] == '/')
		n--;
	return xstrndup(path, n);
}

char *mountpoint_path(const char *path)
{
	cleanup_free char *p = without_slashes(path);
	cleanup_free char *parent = NULL;
	char *slash = strrchr(p, '/');
	const char *base = slash ? slash + 1 : p;
	char link;

	if (!*p) {
		errno = ENOENT;
		return NULL;
	}
	if (!*base || !strcmp(base, ".") || !strcmp(base, "..") ||
	    readlink(p, &link, 1) >= 0)
		return realpath(p, NULL);
	if (slash == p)
		return xstrdup(p);
	if (slash)
		*slash = '\0';
	parent = realpath(slash ? p : ".", NULL);
	if (!parent)
		return NULL;
	return xasprintf("%s/%s", strcmp(parent, "/") ? parent : "", base);
}

int mount_list_find_ours(const char *dir, struct mount_list *ret,
			 const struct mount_entry **ret_entry,
			 struct error **errp)
{
	cleanup_free char *path = mountpoint_path(dir);
	int r = mount_list_read(ret);

	if (r < 0)
		return error_set_errno(errp, -r, "reading the list of mounts");
	*ret_entry = path ? mount_list_top(ret, path) : NULL;
	if (*ret_entry && mount_entry_is_ours(*ret_entry))
		return 0;
	return error_set_kind(errp, ERROR_VALIDATION, EINVAL,
			      "'%s' is not a mount of mopsfs", dir);
}
