#include "engine/file_list.h"

#include <errno.h>
#include <string.h>

#include "base/path.h"

/* A line that says something, or false: there is none. */
static bool next_line(const char **at, const char *end, char **ret,
		      uint64_t *number)
{
	while (*at < end) {
		const char *from = *at;
		const char *eol = memchr(from, '\n', (size_t)(end - from));
		size_t n = (size_t)((eol ? eol : end) - from);

		*at = eol ? eol + 1 : end;
		++*number;
		if (n && from[n - 1] == '\r')
			n--;
		while (n > 1 && from[n - 1] == '/')
			n--;
		if (n && *from != '#') {
			*ret = xstrndup(from, n);
			return true;
		}
	}
	return false;
}

static bool is_glob(const char *line)
{
	return strpbrk(line, "*?[") != NULL;
}

/* A path that a bundle cannot have, too, is a mistake and no missing file. */
static int read_line(const char *line, uint64_t number, struct glob **ret,
		     struct error **errp)
{
	const char *flaw = NULL;
	int r = 0;

	*ret = NULL;
	if (is_glob(line))
		r = glob_compile(line, ret, errp);
	else
		flaw = path_flaw(line, strlen(line));
	if (flaw)
		r = error_set(errp, EINVAL, "'%s': %s", line, flaw);
	return error_prefix(errp, r, "list: line %llu",
			    (unsigned long long)number);
}

int file_list_check(const char *text, size_t n, struct error **errp)
{
	const char *at = text, *end = text + n;
	uint64_t number = 0;
	unsigned globs = 0;
	char *line;

	while (next_line(&at, end, &line, &number)) {
		cleanup_free char *owned = line;
		cleanup_glob struct glob *glob = NULL;
		int r = read_line(owned, number, &glob, errp);

		if (r < 0)
			return r;
		globs += glob != NULL;
		if (globs > FILE_LIST_GLOBS_MAX)
			return error_set(errp, EINVAL,
					 "list: more than %u globs",
					 FILE_LIST_GLOBS_MAX);
	}
	return 0;
}

static int add_line(const char *line, uint64_t number, struct source_set *set,
		    struct chunk_set *before, struct file_list_counts *c,
		    struct error **errp)
{
	cleanup_glob struct glob *glob = NULL;
	struct file_choice which = {.externals = true, .before = before};
	uint64_t files = 0, bytes = 0;
	int r = read_line(line, number, &glob, errp);

	if (r < 0)
		return r;
	which.glob = glob;
	which.beneath = glob ? NULL : line;
	r = source_set_add_files(set, &which, &files, &bytes, errp);
	c->files += files;
	c->bytes += bytes;
	c->skipped += r == 0 && !files;
	return r;
}

int file_list_add(const char *text, size_t n, struct source_set *set,
		  struct file_list_counts *ret, const struct op *op,
		  struct error **errp)
{
	const char *at = text, *end = text + n;
	struct chunk_set before = {0};
	struct file_list_counts c = {0};
	uint64_t number = 0;
	char *line;
	int r = 0;

	while (r == 0 && next_line(&at, end, &line, &number)) {
		cleanup_free char *owned = line;

		r = op_go_on(op, errp);
		if (r == 0)
			r = add_line(owned, number, set, &before, &c, errp);
	}
	chunk_set_release(&before);
	*ret = c;
	return r;
}
