/*
 * A bundle file is refused with its place, or what it says holds together.
 */
#include <assert.h>
#include <string.h>

#include "base/alloc.h"
#include "base/path.h"
#include "base/uri.h"
#include "engine/bundle_file.h"
#include "engine/glob.h"
#include "engine/owner.h"
#include "engine/reference.h"
#include "tests/fuzz/fuzz.h"

static void check_globs(char *const *globs)
{
	for (; globs && *globs; globs++) {
		cleanup_glob struct glob *g = NULL;

		if (glob_compile(*globs, &g, NULL) < 0)
			abort();
		glob_match(g, "a/b/c.txt", 9);
	}
}

static void check_layers(const struct bundle_file *b)
{
	cleanup_owners struct owners *owners = NULL;

	assert(b->n_layers && b->n_layers <= 32);
	for (size_t i = 0; i < b->n_layers; i++) {
		assert(layer_name_valid(b->layers[i].name));
		assert(b->layers[i].paths && *b->layers[i].paths);
		check_globs(b->layers[i].paths);
		check_globs(b->layers[i].ignore);
	}
	if (owners_new(b, &owners, NULL) < 0)
		abort();
	assert(owners_find(owners, "a/b", 3) < (int)b->n_layers);
}

static size_t index_of(const struct bundle_file *b, const char *layer)
{
	size_t i = 0;

	while (strcmp(b->layers[i].name, layer) != 0)
		assert(++i < b->n_layers);
	return i;
}

static void check_roles(const struct bundle_file *b)
{
	assert(b->n_roles);
	for (size_t i = 0; i < b->n_roles; i++) {
		char *const *l = b->roles[i].layers;

		assert(layer_name_valid(b->roles[i].name));
		assert(!i ||
		       strcmp(b->roles[i - 1].name, b->roles[i].name) < 0);
		assert(l && *l);
		for (; l[1]; l++)
			assert(index_of(b, l[0]) < index_of(b, l[1]));
		index_of(b, *l);
	}
}

static void check_externals(const struct bundle_file *b)
{
	for (size_t i = 0; i < b->n_externals; i++) {
		const struct bf_external *x = &b->externals[i];
		cleanup_pointer_uri struct pointer_uri uri = {0};
		cleanup_free char *key = xasprintf("%ssha256/aa", x->storage);
		char *one[] = {x->pattern, NULL};

		check_globs(one);
		assert(x->storage[strlen(x->storage) - 1] == '/');
		/* A long prefix may leave no room for a key. */
		if (strlen(key) <= 4096 &&
		    pointer_uri_parse(key, strlen(key), &uri, NULL) < 0)
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_bundle_file struct bundle_file b = {0};
	cleanup_error struct error *err = NULL;

	if (bundle_file_parse((const char *)data, size, "f", &b, &err) < 0) {
		assert(err && strncmp(err->message, "f:", 2) == 0);
		assert(strspn(err->message + 2, "0123456789") > 0);
		return 0;
	}
	assert(!b.name || !bundle_name_flaw(b.name));
	assert(!b.version || !bundle_version_flaw(b.version));
	check_layers(&b);
	check_roles(&b);
	check_externals(&b);
	return 0;
}
