#include "engine/bundle_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/io.h"
#include "base/path.h"
#include "base/uri.h"
#include "engine/glob.h"
#include "engine/reference.h"
#include "engine/root.h"
#include "engine/yaml_events.h"

/* A mapping's members by name: at most once each (the reader saw to that). */
struct member {
	const char *key;
	const struct yaml_node **ret;
};

static int read_members(const struct yaml_doc *d, const struct yaml_node *map,
			const struct member *members, size_t n,
			const char *where, struct error **errp)
{
	for (const struct yaml_node *m = map->first; m; m = m->next) {
		size_t i = 0;

		while (i < n && strcmp(m->key, members[i].key) != 0)
			i++;
		if (i == n)
			return yaml_key_error(d, m, errp,
					      "unknown key '%s' in %s", m->key,
					      where);
		*members[i].ret = m;
	}
	return 0;
}

static size_t count(const struct yaml_node *list)
{
	size_t n = 0;

	for (const struct yaml_node *i = list->first; i; i = i->next)
		n++;
	return n;
}

/*
 * Layers.
 */

/* The NFC form, which is what paths are matched in. */
static int read_glob(const struct yaml_doc *d, const struct yaml_node *n,
		     char **ret, struct error **errp)
{
	cleanup_glob struct glob *g = NULL;
	struct error *err = NULL;
	const char *text;
	int r = yaml_need_text(d, n, "a glob", &text, errp);

	if (r < 0)
		return r;
	r = glob_compile(text, &g, &err);
	if (r == 0)
		r = path_to_nfc(text, strlen(text), ret, &err);
	error_prefix(&err, r, "%s:%u:%u", d->file, n->line, n->col);
	return error_propagate(errp, &err, r);
}

static int read_globs(const struct yaml_doc *d, const struct yaml_node *list,
		      const char *what, char ***ret, struct error **errp)
{
	int r = yaml_need_sequence(d, list, what, errp);

	for (const struct yaml_node *n = list->first; n && r == 0;
	     n = n->next) {
		char *glob;

		r = read_glob(d, n, &glob, errp);
		if (r == 0)
			strv_append(ret, glob);
	}
	return r;
}

/* The name of a layer or role, well-formed. */
static int need_name(const struct yaml_doc *d, const struct yaml_node *n,
		     const char *what, const char **ret, struct error **errp)
{
	int r = yaml_need_text(d, n, what, ret, errp);

	if (r == 0 && !layer_name_valid(*ret))
		return yaml_error(d, n, errp,
				  "%s '%s' is not 1 to 63 of a-z, 0-9, '.', "
				  "'_' and '-', beginning with a letter or "
				  "digit",
				  what, *ret);
	return r;
}

static int layer_index(const struct bundle_file *b, const char *name)
{
	for (size_t i = 0; i < b->n_layers; i++)
		if (strcmp(b->layers[i].name, name) == 0)
			return (int)i;
	return -1;
}

static int read_layer(const struct yaml_doc *d, const struct yaml_node *n,
		      struct bundle_file *b, struct error **errp)
{
	const struct yaml_node *name = NULL, *paths = NULL, *ignore = NULL;
	const struct member members[] = {
		{"name", &name}, {"paths", &paths}, {"ignore", &ignore}};
	struct bf_layer *layer = &b->layers[b->n_layers];
	const char *text;
	int r = yaml_need_mapping(d, n, "a layer", errp);

	if (r == 0)
		r = read_members(d, n, members, ARRAY_SIZE(members), "a layer",
				 errp);
	if (r < 0)
		return r;
	if (!name || !paths)
		return yaml_error(d, n, errp, "a layer needs '%s'",
				  name ? "paths" : "name");
	r = need_name(d, name, "the layer's name", &text, errp);
	if (r < 0)
		return r;
	if (layer_index(b, text) >= 0)
		return yaml_error(d, name, errp, "layer '%s' is there twice",
				  text);
	*layer = (struct bf_layer){
		.name = xstrdup(text), .line = n->line, .col = n->col};
	b->n_layers++;
	r = read_globs(d, paths, "the layer's 'paths'", &layer->paths, errp);
	if (r == 0 && ignore)
		r = read_globs(d, ignore, "the layer's 'ignore'",
			       &layer->ignore, errp);
	return r;
}

static int read_layers(const struct yaml_doc *d, const struct yaml_node *list,
		       struct bundle_file *b, struct error **errp)
{
	int r = yaml_need_sequence(d, list, "'layers'", errp);

	if (r < 0)
		return r;
	if (count(list) > MAX_TREES)
		return yaml_error(d, list, errp, "more than %d layers",
				  MAX_TREES);
	b->layers = xcalloc(count(list), sizeof(*b->layers));
	for (const struct yaml_node *n = list->first; n && r == 0; n = n->next)
		r = read_layer(d, n, b, errp);
	return r;
}

static void default_layers(struct bundle_file *b)
{
	b->layers = xcalloc(1, sizeof(*b->layers));
	b->layers[0].name = xstrdup("data");
	strv_append(&b->layers[0].paths, xstrdup("**"));
	b->n_layers = 1;
}

/*
 * Roles.
 */

static char **names_of_layers(const struct bundle_file *b, const bool *has)
{
	char **names = NULL;

	for (size_t i = 0; i < b->n_layers; i++)
		if (has[i])
			strv_append(&names, xstrdup(b->layers[i].name));
	return names;
}

/* Marks a role's layers, in whatever order the file names them. */
static int mark_layers(const struct yaml_doc *d, const struct yaml_node *list,
		       const struct bundle_file *b, bool *has,
		       struct error **errp)
{
	for (const struct yaml_node *n = list->first; n; n = n->next) {
		const char *text;
		int r = yaml_need_text(d, n, "a role's layer", &text, errp);
		int i;

		if (r < 0)
			return r;
		i = layer_index(b, text);
		if (i < 0)
			return yaml_error(d, n, errp, "there is no layer '%s'",
					  text);
		if (has[i])
			return yaml_error(d, n, errp,
					  "layer '%s' is there twice", text);
		has[i] = true;
	}
	return 0;
}

static int read_role(const struct yaml_doc *d, const struct yaml_node *n,
		     struct bundle_file *b, struct error **errp)
{
	cleanup_free bool *has = xcalloc(b->n_layers, sizeof(*has));
	struct bf_role *role = &b->roles[b->n_roles];
	int r;

	if (!layer_name_valid(n->key))
		return yaml_key_error(d, n, errp,
				      "the role's name '%s' is not 1 to 63 of "
				      "a-z, 0-9, '.', '_' and '-', beginning "
				      "with a letter or digit",
				      n->key);
	r = yaml_need_sequence(d, n, "a role", errp);
	if (r == 0)
		r = mark_layers(d, n, b, has, errp);
	if (r < 0)
		return r;
	role->name = xstrdup(n->key);
	role->layers = names_of_layers(b, has);
	b->n_roles++;
	return 0;
}

const struct bf_role *bundle_file_role(const struct bundle_file *b,
				       const char *name)
{
	for (size_t i = 0; i < b->n_roles; i++)
		if (!strcmp(b->roles[i].name, name))
			return &b->roles[i];
	return NULL;
}

static int compare_roles(const void *a, const void *b)
{
	const struct bf_role *x = a, *y = b;

	return strcmp(x->name, y->name);
}

static int read_roles(const struct yaml_doc *d, const struct yaml_node *map,
		      struct bundle_file *b, struct error **errp)
{
	int r = yaml_need_mapping(d, map, "'roles'", errp);

	if (r < 0)
		return r;
	b->roles = xcalloc(count(map), sizeof(*b->roles));
	for (const struct yaml_node *n = map->first; n && r == 0; n = n->next)
		r = read_role(d, n, b, errp);
	qsort(b->roles, b->n_roles, sizeof(*b->roles), compare_roles);
	return r;
}

static void default_roles(struct bundle_file *b)
{
	b->roles = xcalloc(1, sizeof(*b->roles));
	b->roles[0].name = xstrdup("default");
	for (size_t i = 0; i < b->n_layers; i++)
		strv_append(&b->roles[0].layers, xstrdup(b->layers[i].name));
	b->n_roles = 1;
}

/*
 * External storage.
 */

static int read_tier(const struct yaml_doc *d, const struct yaml_node *n,
		     enum tree_tier *ret, struct error **errp)
{
	static const struct {
		const char *name;
		enum tree_tier tier;
	} tiers[] = {{"hot", TREE_TIER_HOT},
		     {"cool", TREE_TIER_COOL},
		     {"archive", TREE_TIER_ARCHIVE}};
	const char *text;
	int r = yaml_need_text(d, n, "'tier'", &text, errp);

	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_SIZE(tiers); i++) {
		if (strcmp(text, tiers[i].name) == 0) {
			*ret = tiers[i].tier;
			return 0;
		}
	}
	return yaml_error(d, n, errp,
			  "the tier '%s' is none of hot, cool, archive", text);
}

/* A prefix is normal when a key below it is; it ends with one slash. */
static int read_storage(const struct yaml_doc *d, const struct yaml_node *n,
			char **ret, struct error **errp)
{
	cleanup_free char *probe = NULL, *normal = NULL;
	struct error *err = NULL;
	const char *text, *after;
	size_t len;
	int r = yaml_need_text(d, n, "'storage'", &text, errp);

	if (r < 0)
		return r;
	after = strstr(text, "://");
	if (!after)
		return yaml_error(d, n, errp,
				  "'storage' is not s3://, az://, gs:// or "
				  "file://");
	len = strlen(text);
	while (len > (size_t)(after + 3 - text) && text[len - 1] == '/')
		len--;
	probe = xasprintf("%.*s/x", (int)len, text);
	r = pointer_uri_normalize(probe, &normal, &err);
	if (r < 0) {
		error_prefix(&err, r, "%s:%u:%u: 'storage'", d->file, n->line,
			     n->col);
		return error_propagate(errp, &err, r);
	}
	*ret = xstrndup(normal, strlen(normal) - 1);
	return 0;
}

static int read_min_size(const struct yaml_doc *d, const struct yaml_node *n,
			 uint64_t *ret, struct error **errp)
{
	const char *text;
	int r = yaml_need_text(d, n, "'min_size'", &text, errp);

	if (r == 0 && parse_size(text, ret) < 0)
		return yaml_error(d, n, errp,
				  "'%s' is not a size (512, 100MB, 1GiB)",
				  text);
	return r;
}

static int read_external(const struct yaml_doc *d, const struct yaml_node *n,
			 struct bf_external *x, struct error **errp)
{
	const struct yaml_node *pattern = NULL, *min_size = NULL,
			       *storage = NULL, *tier = NULL;
	const struct member members[] = {{"pattern", &pattern},
					 {"min_size", &min_size},
					 {"storage", &storage},
					 {"tier", &tier}};
	int r = yaml_need_mapping(d, n, "a rule of 'external_storage'", errp);

	if (r == 0)
		r = read_members(d, n, members, ARRAY_SIZE(members),
				 "a rule of 'external_storage'", errp);
	if (r < 0)
		return r;
	if (!storage)
		return yaml_error(d, n, errp, "the rule needs 'storage'");
	if (!pattern && !min_size)
		return yaml_error(d, n, errp,
				  "the rule needs 'pattern' or 'min_size'");
	r = read_storage(d, storage, &x->storage, errp);
	if (r == 0 && pattern)
		r = read_glob(d, pattern, &x->pattern, errp);
	if (r == 0 && min_size)
		r = read_min_size(d, min_size, &x->min_size, errp);
	if (r == 0 && tier)
		r = read_tier(d, tier, &x->tier, errp);
	return r;
}

static int read_externals(const struct yaml_doc *d,
			  const struct yaml_node *list, struct bundle_file *b,
			  struct error **errp)
{
	int r = yaml_need_sequence(d, list, "'external_storage'", errp);

	if (r < 0)
		return r;
	b->externals = xcalloc(count(list), sizeof(*b->externals));
	for (const struct yaml_node *n = list->first; n && r == 0; n = n->next)
		r = read_external(d, n, &b->externals[b->n_externals++], errp);
	return r;
}

/*
 * The file.
 */

static int read_text(const struct yaml_doc *d, const struct yaml_node *n,
		     const char *what, const char *(*flaw_of)(const char *),
		     char **ret, struct error **errp)
{
	const char *text, *flaw;
	int r = yaml_need_text(d, n, what, &text, errp);

	if (r < 0)
		return r;
	flaw = flaw_of(text);
	if (flaw)
		return yaml_error(d, n, errp, "%s '%s': %s", what, text, flaw);
	*ret = xstrdup(text);
	return 0;
}

static int read_bundle(const struct yaml_doc *d, const struct yaml_node *n,
		       struct bundle_file *b, struct error **errp)
{
	const struct yaml_node *name = NULL, *version = NULL, *layers = NULL,
			       *roles = NULL;
	const struct member members[] = {{"name", &name},
					 {"version", &version},
					 {"layers", &layers},
					 {"roles", &roles}};
	int r = yaml_need_mapping(d, n, "'bundle'", errp);

	if (r == 0)
		r = read_members(d, n, members, ARRAY_SIZE(members), "'bundle'",
				 errp);
	if (r == 0 && name)
		r = read_text(d, name, "'name'", bundle_name_flaw, &b->name,
			      errp);
	if (r == 0 && version)
		r = read_text(d, version, "'version'", bundle_version_flaw,
			      &b->version, errp);
	if (r == 0 && version) {
		b->version_line = version->line;
		b->version_col = version->col;
	}
	if (r == 0 && layers)
		r = read_layers(d, layers, b, errp);
	if (r < 0)
		return r;
	if (!layers)
		default_layers(b);
	return roles ? read_roles(d, roles, b, errp) : 0;
}

static int read_top(const struct yaml_doc *d, struct bundle_file *b,
		    struct error **errp)
{
	const struct yaml_node *bundle = NULL, *externals = NULL;
	const struct member members[] = {{"bundle", &bundle},
					 {"external_storage", &externals}};
	int r = yaml_need_mapping(d, d->root, "the bundle file", errp);

	if (r == 0)
		r = read_members(d, d->root, members, ARRAY_SIZE(members),
				 "the bundle file", errp);
	if (r == 0 && bundle)
		r = read_bundle(d, bundle, b, errp);
	if (r == 0 && externals)
		r = read_externals(d, externals, b, errp);
	return r;
}

static void fill_in_defaults(struct bundle_file *b)
{
	if (!b->layers)
		default_layers(b);
	if (!b->roles)
		default_roles(b);
}

int bundle_file_parse(const char *buf, size_t n, const char *file,
		      struct bundle_file *ret, struct error **errp)
{
	cleanup_bundle_file struct bundle_file b = {0};
	cleanup_yaml_doc struct yaml_doc doc = {0};
	int r = yaml_doc_parse(buf, n, file, &doc, errp);

	if (r < 0)
		return r;
	if (!doc.root)
		return error_set(errp, EINVAL, "%s:1:1: the file is empty",
				 file);
	b.file = xstrdup(file);
	r = read_top(&doc, &b, errp);
	if (r < 0)
		return r;
	fill_in_defaults(&b);
	*ret = b;
	b = (struct bundle_file){0};
	return 0;
}

int bundle_folder_open(const char *dir, struct error **errp)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0)
		return fd;
	if (errno == ENOENT || errno == ENOTDIR)
		return error_set_kind(errp, ERROR_NOT_FOUND, errno,
				      "there is no folder '%s'", dir);
	return error_set_errno(errp, errno, "cannot open folder '%s'", dir);
}

/* Nothing that could block, and no way out of the folder. *@ret_fd is -1 when
 * there is no such file. */
static int open_file(const char *dir, const char *path, int *ret_fd,
		     struct error **errp)
{
	cleanup_fd int dirfd = bundle_folder_open(dir, errp), fd = -1;
	struct stat st;

	if (dirfd < 0)
		return dirfd;
	fd = io_open_beneath(dirfd, BUNDLE_FILE_NAME, O_RDONLY | O_NONBLOCK, 0);
	if (fd == -ENOENT)
		return 0;
	if (fd == -ELOOP ||
	    (fd >= 0 && fstat(fd, &st) == 0 && !S_ISREG(st.st_mode)))
		return error_set(errp, EINVAL, "'%s' is not a regular file",
				 path);
	if (fd < 0)
		return error_set_errno(errp, -fd, "cannot open '%s'", path);
	*ret_fd = steal_fd(&fd);
	return 0;
}

static int read_all(int fd, const char *path, char **ret, size_t *ret_len,
		    struct error **errp)
{
	char *buf = xmalloc(YAML_MAX_BYTES + 1);
	ssize_t n = io_read_full(fd, buf, YAML_MAX_BYTES + 1);

	if (n < 0) {
		free(buf);
		return error_set_errno(errp, (int)-n, "cannot read '%s'", path);
	}
	*ret = buf;
	*ret_len = (size_t)n;
	return 0;
}

int bundle_file_load(const char *dir, struct bundle_file *ret,
		     struct error **errp)
{
	cleanup_free char *path = xasprintf("%s/%s", dir, BUNDLE_FILE_NAME);
	cleanup_free char *buf = NULL;
	cleanup_fd int fd = -1;
	size_t n = 0;
	int r = open_file(dir, path, &fd, errp);

	if (r < 0)
		return r;
	if (fd < 0) {
		*ret = (struct bundle_file){0};
		fill_in_defaults(ret);
		return 0;
	}
	r = read_all(fd, path, &buf, &n, errp);
	if (r < 0)
		return r;
	return bundle_file_parse(buf, n, path, ret, errp);
}

int bundle_file_layer_error(const struct bundle_file *b, size_t i,
			    struct error **errp, const char *fmt, ...)
{
	const struct bf_layer *layer = &b->layers[i];
	cleanup_free char *what = NULL;
	va_list ap;

	va_start(ap, fmt);
	what = xvasprintf(fmt, ap);
	va_end(ap);
	if (!layer->line)
		return error_set(errp, EINVAL, "%s", what);
	return error_set(errp, EINVAL, "%s:%u:%u: %s", b->file, layer->line,
			 layer->col, what);
}

void bundle_file_release(struct bundle_file *b)
{
	for (size_t i = 0; i < b->n_layers; i++) {
		free(b->layers[i].name);
		strv_free(b->layers[i].paths);
		strv_free(b->layers[i].ignore);
	}
	for (size_t i = 0; i < b->n_roles; i++) {
		free(b->roles[i].name);
		strv_free(b->roles[i].layers);
	}
	for (size_t i = 0; i < b->n_externals; i++) {
		free(b->externals[i].pattern);
		free(b->externals[i].storage);
	}
	free(b->layers);
	free(b->roles);
	free(b->externals);
	free(b->file);
	free(b->name);
	free(b->version);
	*b = (struct bundle_file){0};
}
