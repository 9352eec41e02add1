/*
 * A registry behind mirrors. What has a digest is read from the first mirror
 * that has it, else from the registry itself; whoever reads hashes it in any
 * case. Tags, pushes, lists and the question whether a blob is there are for
 * the registry alone: a mirror may be late.
 *
 * A mirror that does not answer is left alone for half a minute. A range that
 * is read again in that time, because its bytes were wrong, comes from the
 * registry.
 */
#ifndef STORAGE_REGISTRY_MIRROR_H
#define STORAGE_REGISTRY_MIRROR_H

#include "storage/registry.h"

struct registry_mirror {
	struct registry *registry;
	char *prefix; /* of repositories' names there, or NULL */
};
void registry_mirror_release(struct registry_mirror *m);

/* Owns @upstream and, of the @n mirrors, what *@take_mirrors (heap) holds. */
struct registry *registry_mirrored_new(struct registry *upstream,
				       struct registry_mirror **take_mirrors,
				       size_t n);

#endif
