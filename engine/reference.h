/*
 * References: how a user names a bundle (docs/format.md, "References").
 */
#ifndef ENGINE_REFERENCE_H
#define ENGINE_REFERENCE_H

#include <stdbool.h>

#include "base/digest.h"
#include "base/error.h"

struct reference {
	bool layout;    /* an OCI image-layout folder, not a host */
	char *registry; /* host[:port], or the layout's folder */
	char *repo;     /* NULL only for layout@digest */
	char *tag;      /* NULL when only a digest was given */
	bool has_digest;
	struct digest digest;
	char *text; /* as the user wrote it, for messages */
};

/*
 * @default_registry is what a bare name resolves below: "host[:port][/prefix]"
 * or "oci:<folder>"; NULL: a bare name is an error. No version and no digest
 * means tag "latest". -EINVAL; -EPROTONOSUPPORT (kind ERROR_MEDIA_TYPE) for a
 * digest of another algorithm. A text that may hold a password (a scheme, or
 * a user before the host) is refused without being quoted.
 */
int reference_parse(const char *s, const char *default_registry,
		    struct reference *ret, struct error **errp);
/* True for "./…", "../…", "/…", "." and "..": a source folder. */
bool reference_is_path(const char *s);
/* Canonical text without credentials: "host/repo:tag@sha256:…". Heap. */
char *reference_str(const struct reference *r);
/* Key of its tag in cache refs, the same from any working folder. Heap; NULL
 * when there is no tag. */
char *reference_cache_key(const struct reference *r);
/* Key under which cache refs remember where bundle @d came from: "…@sha256:…".
 * Heap; NULL when it cannot be one. */
char *reference_digest_key(const struct reference *r, const struct digest *d);
/* The repository to read from. A folder's bundle may be named by its digest
 * alone; its blobs are found under any name. */
static inline const char *reference_repo(const struct reference *r)
{
	return r->repo ? r->repo : "any";
}
void reference_release(struct reference *r);
#define cleanup_reference __attribute__((cleanup(reference_release)))

/* What is wrong with a bundle's name (repository grammar, no dot before the
 * first slash, not "oci"), a version (a registry tag), or a default registry,
 * in a few words; NULL: nothing. */
const char *bundle_name_flaw(const char *name);
const char *bundle_version_flaw(const char *version);
const char *registry_flaw(const char *registry);

#endif
