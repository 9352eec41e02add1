#include "engine/plan_external.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/path.h"
#include "base/uri.h"
#include "engine/glob.h"

/* Room for ".json" in a pointer's name. */
#define EXTERNAL_NAME_MAX 250

/* The first entry that is not before @path, among @p's, which are sorted. */
static size_t lower_bound(const struct plan *p, const char *path)
{
	size_t lo = 0, hi = p->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (strcmp(p->entries[mid].inv->path, path) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/*
 * --external.
 */

/* Why this entry cannot be registered; NULL: it can. */
static const char *entry_flaw(const struct plan_entry *e)
{
	if (e->inv->kind != TREE_FILE)
		return "is no file";
	if (!e->inv->size)
		return "is empty";
	if (e->registered)
		return "is named twice";
	return NULL;
}

static int register_external(struct plan *p, const struct plan_external *x,
			     struct error **errp)
{
	cleanup_free char *nfc = NULL;
	struct plan_entry *e;
	const char *flaw;
	size_t i;
	int r = path_to_nfc(x->path, strlen(x->path), &nfc, errp);

	if (r < 0)
		return error_prefix(errp, r, "--external");
	i = lower_bound(p, nfc);
	if (i == p->n || strcmp(p->entries[i].inv->path, nfc) != 0)
		return error_set(errp, EINVAL,
				 "--external: the bundle has no file '%s'",
				 nfc);
	e = &p->entries[i];
	flaw = entry_flaw(e);
	if (flaw)
		return error_set(errp, EINVAL, "--external: '%s' %s", nfc,
				 flaw);
	r = pointer_uri_normalize(x->uri, &e->uri, errp);
	if (r < 0)
		return error_prefix(errp, r, "--external: '%s'", nfc);
	e->place = PLACE_EXTERNAL;
	e->registered = true;
	e->reason = "registered with --external";
	return 0;
}

/*
 * Rules.
 */

struct rules {
	const struct bf_external *list;
	struct glob **globs; /* NULL where a rule has no pattern */
	size_t n;
};

static void rules_release(struct rules *rules)
{
	for (size_t i = 0; i < rules->n; i++)
		if (rules->globs[i])
			glob_free(rules->globs[i]);
	free(rules->globs);
}
#define cleanup_rules __attribute__((cleanup(rules_release)))

static int compile_rules(const struct bundle_file *bf, struct rules *ret,
			 struct error **errp)
{
	int r = 0;

	*ret = (struct rules){.list = bf->externals, .n = bf->n_externals};
	ret->globs = xcalloc(ret->n ? ret->n : 1, sizeof(struct glob *));
	for (size_t i = 0; i < ret->n && r == 0; i++)
		if (ret->list[i].pattern)
			r = glob_compile(ret->list[i].pattern, &ret->globs[i],
					 errp);
	return r;
}

static bool rule_matches(const struct rules *rules, size_t i,
			 const struct inv_entry *e)
{
	if (e->size < rules->list[i].min_size)
		return false;
	return !rules->globs[i] ||
	       glob_match(rules->globs[i], e->path, strlen(e->path));
}

static void apply_rules(const struct rules *rules, struct plan_entry *e)
{
	for (size_t i = 0; i < rules->n; i++) {
		struct digest_hex hex;

		if (!rule_matches(rules, i, e->inv))
			continue;
		hex = digest_to_hex(&e->inv->digest);
		e->place = PLACE_EXTERNAL;
		e->tier = rules->list[i].tier;
		e->uri = xasprintf("%ssha256/%.2s/%s", rules->list[i].storage,
				   hex.str, hex.str);
		e->reason = "a rule of external_storage";
		return;
	}
}

/*
 * What their pointers' names allow.
 */

static int check_name(const struct plan_entry *e, struct error **errp)
{
	cleanup_pointer_uri struct pointer_uri uri = {0};
	const char *slash = strrchr(e->inv->path, '/');
	const char *name = slash ? slash + 1 : e->inv->path;

	if (strlen(name) > EXTERNAL_NAME_MAX)
		return error_set(errp, EINVAL,
				 "'%s' cannot be external: its name is over "
				 "%d bytes",
				 e->inv->path, EXTERNAL_NAME_MAX);
	return error_prefix(
		errp, pointer_uri_parse(e->uri, strlen(e->uri), &uri, errp),
		"'%s'", e->inv->path);
}

/* The pointer of `x` is the file x.json, so no pointer may need a folder of
 * that name. */
static int check_pointer(const struct plan *p, const struct plan_entry *e,
			 struct error **errp)
{
	cleanup_free char *folder = xasprintf("%s.json/", e->inv->path);
	size_t n = strlen(folder);

	for (size_t i = lower_bound(p, folder); i < p->n; i++) {
		const struct plan_entry *below = &p->entries[i];

		if (strncmp(below->inv->path, folder, n) != 0)
			break;
		if (below->place == PLACE_EXTERNAL)
			return error_set(errp, EINVAL,
					 "'%s' and '%s' cannot both be "
					 "external: their pointers would need "
					 "the same name",
					 e->inv->path, below->inv->path);
	}
	return 0;
}

static int check_externals(const struct plan *p, struct error **errp)
{
	for (size_t i = 0; i < p->n; i++) {
		const struct plan_entry *e = &p->entries[i];
		int r;

		if (e->place != PLACE_EXTERNAL)
			continue;
		r = check_name(e, errp);
		if (r == 0)
			r = check_pointer(p, e, errp);
		if (r < 0)
			return r;
	}
	return 0;
}

int plan_place_externals(struct plan *p, const struct bundle_file *bf,
			 const struct plan_options *o, struct error **errp)
{
	cleanup_rules struct rules rules = {0};
	int r = compile_rules(bf, &rules, errp);

	for (size_t i = 0; i < o->n_externals && r == 0; i++)
		r = register_external(p, &o->externals[i], errp);
	for (size_t i = 0; i < p->n && r == 0; i++) {
		struct plan_entry *e = &p->entries[i];

		if (e->inv->kind == TREE_FILE && e->inv->size && !e->registered)
			apply_rules(&rules, e);
	}
	return r < 0 ? r : check_externals(p, errp);
}
