#include "engine/file_list.h"

#include <errno.h>
#include <string.h>

#include "base/path.h"

struct reader {
	const char *at, *end;
	uint64_t line;
	unsigned globs; /* so far */
};

static int begin(struct reader *l, const char *text, size_t n,
		 struct error **errp)
{
	*l = (struct reader){.at = text, .end = text + n};
	return n <= FILE_LIST_BYTES_MAX
		       ? 0
		       : error_set_kind(errp, ERROR_VALIDATION, EFBIG,
					"a list of more than %u bytes",
					FILE_LIST_BYTES_MAX);
}

/* A line that says something, or false: there is none. */
static bool next_line(struct reader *l, char **ret)
{
	while (l->at < l->end) {
		const char *from = l->at;
		const char *eol = memchr(from, '\n', (size_t)(l->end - from));
		size_t n = (size_t)((eol ? eol : l->end) - from);

		l->at = eol ? eol + 1 : l->end;
		l->line++;
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
static int read_line(struct reader *l, const char *line, struct glob **ret,
		     struct error **errp)
{
	const char *flaw = NULL;
	int r = 0;

	*ret = NULL;
	if (is_glob(line) && ++l->globs > FILE_LIST_GLOBS_MAX)
		return error_set(errp, EINVAL, "list: more than %u globs",
				 FILE_LIST_GLOBS_MAX);
	if (is_glob(line))
		r = glob_compile(line, ret, errp);
	else
		flaw = path_flaw(line, strlen(line));
	if (flaw)
		r = error_set(errp, EINVAL, "'%s': %s", line, flaw);
	return error_prefix(errp, r, "list: line %llu",
			    (unsigned long long)l->line);
}

int file_list_check(const char *text, size_t n, struct error **errp)
{
	struct reader l;
	char *line;
	int r = begin(&l, text, n, errp);

	while (r == 0 && next_line(&l, &line)) {
		cleanup_free char *owned = line;
		cleanup_glob struct glob *glob = NULL;

		r = read_line(&l, owned, &glob, errp);
	}
	return r;
}

static int add_line(struct reader *l, const char *line, struct source_set *set,
		    struct chunk_set *before, struct file_list_counts *c,
		    struct error **errp)
{
	cleanup_glob struct glob *glob = NULL;
	struct file_choice which = {.externals = true, .before = before};
	struct file_counts got = {0};
	int r = read_line(l, line, &glob, errp);

	if (r < 0)
		return r;
	which.glob = glob;
	which.beneath = glob ? NULL : line;
	r = source_set_add_files(set, &which, &got, errp);
	c->files += got.files;
	c->bytes += got.bytes;
	c->skipped += r == 0 && !got.chosen;
	return r;
}

int file_list_add(const char *text, size_t n, struct source_set *set,
		  struct file_list_counts *ret, const struct op *op,
		  struct error **errp)
{
	struct chunk_set before = {0};
	struct file_list_counts c = {0};
	struct reader l;
	char *line;
	int r = begin(&l, text, n, errp);

	while (r == 0 && next_line(&l, &line)) {
		cleanup_free char *owned = line;

		r = op_go_on(op, errp);
		if (r == 0)
			r = add_line(&l, owned, set, &before, &c, errp);
	}
	chunk_set_release(&before);
	if (r == 0)
		*ret = c;
	return r;
}
