#include "engine/scan_names.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/alloc.h"
#include "base/path.h"
#include "base/strbuf.h"
#include "base/uri.h"
#include "engine/ignore.h"

void names_release(struct names *names)
{
	for (size_t i = 0; i < names->n; i++) {
		if (names->list[i].nfc != names->list[i].raw)
			free(names->list[i].nfc);
		free(names->list[i].raw);
	}
	free(names->list);
}
static bool is_ascii(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s & 0x80)
			return false;
	return true;
}

static struct name make_name(const char *raw)
{
	struct name name = {.raw = xstrdup(raw)};

	name.nfc = name.raw;
	if (is_ascii(raw))
		return name;
	if (path_to_nfc(raw, strlen(raw), &name.nfc, NULL) < 0) {
		name.nfc = name.raw;
		name.flaw = "a name is not UTF-8, or has code points that "
			    "Unicode does not assign";
	} else if (strcmp(name.nfc, name.raw) == 0) {
		free(name.nfc);
		name.nfc = name.raw;
	}
	return name;
}

static bool is_dot(const char *s)
{
	return s[0] == '.' && (!s[1] || (s[1] == '.' && !s[2]));
}

static int compare_names(const void *a, const void *b)
{
	const struct name *x = a, *y = b;
	int c = strcmp(x->nfc, y->nfc);

	return c ? c : strcmp(x->raw, y->raw);
}

int names_read(int dirfd, const char *path, struct names *ret,
	       struct error **errp)
{
	cleanup_fd int fd = fcntl(dirfd, F_DUPFD_CLOEXEC, 0);
	cleanup_dir DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *de;

	if (!dir)
		return error_set_errno(errp, errno, "cannot read folder '%s'",
				       path);
	fd = -1; /* the stream's now */
	while (errno = 0, (de = readdir(dir))) {
		if (is_dot(de->d_name) ||
		    path_is_dotgit(de->d_name, strlen(de->d_name)))
			continue;
		if (strcmp(de->d_name, IGNORE_FILE_NAME) == 0) {
			ret->has_ignore_file = true;
			continue;
		}
		ARRAY_GROW(ret->list, ret->n, ret->cap);
		ret->list[ret->n++] = make_name(de->d_name);
	}
	if (errno)
		return error_set_errno(errp, errno, "cannot read folder '%s'",
				       path);
	if (ret->n)
		qsort(ret->list, ret->n, sizeof(*ret->list), compare_names);
	return 0;
}

/* The two spellings look alike, so their bytes are shown. */
int refuse_twins(const char *path, const struct name *a, const struct name *b,
		 struct error **errp)
{
	cleanup_strbuf struct strbuf sa = STRBUF_INIT, sb = STRBUF_INIT;

	uri_encode(&sa, a->raw, strlen(a->raw), false);
	uri_encode(&sb, b->raw, strlen(b->raw), false);
	return error_set(errp, EINVAL,
			 "'%s' is there twice: '%s' (%s) and '%s' (%s) are the "
			 "same name once normalised",
			 path, a->raw, strbuf_str(&sa), b->raw,
			 strbuf_str(&sb));
}
