/*
 * A pushed bundle, made by hand: two layers, packs, own blobs, an external, an
 * empty file, folders and symlinks; in a registry that counts and misbehaves on
 * demand, with a cache and a session.
 *
 *   code   README.md  bin/run (x)  src/a.py  src/b/c.py  src/empty  hollow/
 *          link -> src/a.py
 *   data   data/big.bin (own blob)  data/tool (own blob, x)
 *          data/large.txt (packed, larger than a chunk)  data/ext.bin (file://)
 *
 * Roles: default [code, data], small [code].
 */
#ifndef TESTS_UNIT_ENGINE_BUNDLES_H
#define TESTS_UNIT_ENGINE_BUNDLES_H

#include "base/map.h"
#include "engine/bundle.h"
#include "tests/fakes/fakes.h"

#define BUNDLE_REPO "team/demo"

struct made_bundle {
	char *dir;
	struct settings settings;
	struct registry *registry; /* from registry_fault_new() */
	struct registry *inner;
	struct session *session;
	struct reference ref;
	struct digest digest; /* of the manifest */
	struct digest big, pack_of_code;
	const char *forged; /* NULL: none */
	char *external;     /* path of the object */
	char *roots[2];
};

void bundle_make(struct made_bundle *m, const struct fault *fault);
/* The tree says another digest for the packed file @path than its bytes have. */
void bundle_make_forged(struct made_bundle *m, const char *path);
void bundle_release(struct made_bundle *m);
#define cleanup_made_bundle __attribute__((cleanup(bundle_release)))
/* End the session and begin another one: a new process. */
void bundle_restart(struct made_bundle *m);
/* The same with --offline, and no registry. */
void bundle_restart_offline(struct made_bundle *m);

/* The bytes that a file of it has; heap. */
char *bundle_content(const char *path, size_t *ret_len);

/* Open it in the current session; aborts when that fails. */
struct role_view *bundle_view(struct made_bundle *m, const char *role,
			      struct bundle **ret);

#endif
