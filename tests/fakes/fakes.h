/*
 * What stands in for registries and object stores in tests: memory, and
 * wrappers that make calls of another one fail.
 */
#ifndef TESTS_FAKES_H
#define TESTS_FAKES_H

#include <stdbool.h>
#include <stdint.h>

#include "storage/object_store.h"
#include "storage/registry.h"

/*
 * A registry in memory. Each repository has its own blobs, as in a real one:
 * what is in another one must be mounted or put. A manifest whose blobs are
 * missing is refused (-ENOENT).
 */
struct registry *registry_fake_new(void);

/* An object store in memory; serves every scheme. */
struct object_store *object_store_fake_new(void);

/*
 * What a fault injector does to the calls that it is told to hit. SHORTEN and
 * CORRUPT act on the bytes of a read (a manifest's too), or on the bytes that
 * a put hands on, which the store then refuses as it would a torn upload. On a
 * resolved digest CORRUPT flips a bit as well; calls without bytes are left
 * alone by both.
 */
enum fault_action {
	FAULT_FAIL,    /* return -@code */
	FAULT_DELAY,   /* wait @arg ms, then go on */
	FAULT_SHORTEN, /* deliver all but the last @arg bytes, report success */
	FAULT_CORRUPT, /* flip one bit of the byte at @arg (modulo length) */
};
struct fault {
	enum fault_action action;
	unsigned nth; /* 1: the first call; counted over all operations */
	bool every;   /* from the nth on, each call */
	int code;     /* FAULT_FAIL */
	uint64_t arg;
};

/* Calls that a fault injector has seen. */
struct registry_counts {
	unsigned resolve, get_manifest, put_manifest, has_blob, read_blob,
		put_blob, mount_blob, other;
	uint64_t bytes_read, bytes_put; /* of blobs */
};

/* A registry whose calls go to @inner, hit by @fault (NULL: only counted).
 * Owns @inner. */
struct registry *registry_fault_new(struct registry *inner,
				    const struct fault *fault);
/* Calls so far, and what they were. @r is from registry_fault_new(). */
struct registry_counts registry_fault_counts(struct registry *r);

/* As registry_fault_new(). */
struct object_store *object_store_fault_new(struct object_store *inner,
					    const struct fault *fault);
unsigned object_store_fault_calls(struct object_store *s);

#endif
