#include "cli/words.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/map.h"
#include "engine/bundle.h"

struct finder {
	const struct complete_line *line;
	struct complete_out *out;
	struct settings settings;
	struct session *session;
	char *home; /* what the default registry's keys begin with */
	char **found;
	struct map seen; /* of @found, which are each there once */
};

static void finder_release(struct finder *f)
{
	session_freep(&f->session);
	settings_release(&f->settings);
	map_release(&f->seen);
	strv_free(f->found);
	free(f->home);
}
#define cleanup_finder __attribute__((cleanup(finder_release)))

/* "host/prefix/", or "oci:/folder:". */
static char *home_of(const char *registry)
{
	cleanup_free char *real = NULL;

	if (strncmp(registry, "oci:", 4) != 0)
		return xasprintf("%s/", registry);
	real = realpath(registry + 4, NULL);
	return xasprintf("oci:%s:", real ? real : registry + 4);
}

static bool is_digest_key(const char *key)
{
	return strchr(key, '@') != NULL;
}

static void keep(struct finder *f, char *take_word)
{
	if (map_put_str(&f->seen, take_word, f)) {
		free(take_word);
		return;
	}
	strv_append(&f->found, take_word);
}

/* What is below the default registry is named as a person would. */
static const char *short_key(const struct finder *f, const char *key)
{
	size_t n = strlen(f->home);

	return strncmp(key, f->home, n) == 0 ? key + n : key;
}

static int add_key(void *ctx, const char *key, const struct digest *d)
{
	struct finder *f = ctx;
	const char *colon, *name = short_key(f, key);

	(void)d;
	if (is_digest_key(key)) /* of a push, or where a digest came from */
		return 0;
	colon = strrchr(name, ':');
	if (f->line->kind == COMPLETE_REFERENCE)
		keep(f, xstrdup(name));
	else if (f->line->kind == COMPLETE_NAME && colon)
		keep(f, xstrndup(name, (size_t)(colon - name)));
	else if (f->line->kind == COMPLETE_HOST && strncmp(key, "oci:", 4) != 0)
		keep(f, xstrndup(key, strcspn(key, "/")));
	return 0;
}

static void find_in_refs(struct finder *f)
{
	struct cache *c;

	if (session_cache(f->session, &c, NULL) >= 0)
		cache_ref_each(c, add_key, f, NULL);
	strv_sort(f->found);
	for (char **s = f->found; s && *s; s++)
		complete_word(f->out, *s, NULL);
}

static struct bundle *open_bundle(struct finder *f)
{
	cleanup_reference struct reference ref = {0};
	struct bundle *b = NULL;

	if (f->line->reference &&
	    reference_parse(f->line->reference, f->settings.registry, &ref,
			    NULL) == 0)
		bundle_open(f->session, &ref, NULL, &b, NULL);
	return b;
}

static void find_roles(struct finder *f)
{
	cleanup_bundle struct bundle *b = open_bundle(f);

	for (size_t i = 0; b && i < b->root.n_roles; i++)
		complete_word(f->out, b->root.roles[i].name, NULL);
}

/* The folder of what there is of a path, and its names. */
static void list_folder(struct finder *f, const struct tree *t)
{
	const char *text = f->line->text, *slash = strrchr(text, '/');
	size_t n = slash ? (size_t)(slash - text) : 0;
	cleanup_free char *folder = xstrndup(text, n);
	struct tree_node dir, child;
	uint32_t at;

	if (tree_find(t, folder, &at, NULL) < 0 ||
	    tree_node(t, at, &dir, NULL) < 0 || dir.kind != TREE_DIR)
		return;
	for (uint32_t i = 0; i < dir.count; i++) {
		cleanup_free char *path = NULL;

		if (tree_node(t, dir.first + i, &child, NULL) < 0)
			return;
		path = xasprintf("%s%s%.*s%s", folder, slash ? "/" : "",
				 (int)child.name_len, child.name,
				 child.kind == TREE_DIR ? "/" : "");
		complete_word(f->out, path, NULL);
	}
}

static void find_paths(struct finder *f)
{
	cleanup_bundle struct bundle *b = open_bundle(f);
	cleanup_role_view struct role_view *v = NULL;
	const struct root_role *role;

	if (b && bundle_choose_role(b, NULL, &role, NULL) == 0 &&
	    role_view_open(b, role, NULL, &v, NULL) == 0)
		list_folder(f, v->tree);
}

void words_from_cache(const struct complete_line *line,
		      struct complete_out *out)
{
	cleanup_finder struct finder f = {.line = line, .out = out};

	if (settings_load(line->flags, line->n_flags, &f.settings, NULL) < 0 ||
	    access(f.settings.cache_dir, F_OK) < 0)
		return;
	f.settings.offline = true;
	f.home = home_of(f.settings.registry);
	if (session_new(&f.settings, &f.session, NULL) < 0)
		return;
	if (line->kind == COMPLETE_ROLE)
		find_roles(&f);
	else if (line->kind == COMPLETE_PATH)
		find_paths(&f);
	else
		find_in_refs(&f);
}
