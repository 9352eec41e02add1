/*
 * partial/sha256/ab/<hex>-<key>.bad: the chunk list that <key> stands for is
 * not of the content <hex>. Written only when bytes that hash to <hex> were
 * seen to have other chunks, or the other way round, in one reading; so it is
 * true for ever, and saves hashing a big blob for each read of a bad bundle.
 */
#include "cache/content_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/io.h"

struct fault_record {
	char magic[8];
	uint8_t digest[DIGEST_SIZE];
	uint8_t key[DIGEST_SIZE];
	uint8_t checksum[8]; /* XXH3 of all before, canonical */
};

static void fault_fill(struct fault_record *f, const struct content *ct)
{
	XXH64_canonical_t sum;

	memcpy(f->magic, "MOPSBAD1", sizeof(f->magic));
	memcpy(f->digest, ct->digest.b, DIGEST_SIZE);
	memcpy(f->key, ct->key.b, DIGEST_SIZE);
	XXH64_canonicalFromHash(
		&sum, XXH3_64bits(f, offsetof(struct fault_record, checksum)));
	memcpy(f->checksum, sum.digest, sizeof(f->checksum));
}

static bool fault_on_disk(const struct content *ct)
{
	struct partial_name name = partial_name(ct, ".bad");
	unsigned char buf[sizeof(struct fault_record) + 1];
	cleanup_fd int fd =
		openat(ct->c->room[ROOM_PARTIAL], name.str,
		       O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct fault_record want;

	if (fd < 0)
		return false;
	fault_fill(&want, ct);
	return io_pread_full(fd, buf, sizeof(buf), 0) ==
		       (ssize_t)sizeof(want) &&
	       memcmp(buf, &want, sizeof(want)) == 0;
}

bool fault_known(struct content *ct)
{
	int f = atomic_load_explicit(&ct->fault, memory_order_relaxed);

	if (f == FAULT_UNKNOWN) {
		f = fault_on_disk(ct) ? FAULT_BUNDLE : FAULT_NONE;
		atomic_store_explicit(&ct->fault, f, memory_order_relaxed);
	}
	return f == FAULT_BUNDLE;
}

void fault_remember(struct content *ct)
{
	struct partial_name name = partial_name(ct, ".bad");
	struct fault_record f;

	atomic_store_explicit(&ct->fault, FAULT_BUNDLE, memory_order_relaxed);
	fault_fill(&f, ct);
	/* Not written: it is found out again, by another hash. */
	if (shard_make(ct->c, ROOM_PARTIAL, name.str) >= 0)
		(void)io_write_file_atomic(ct->c->room[ROOM_PARTIAL], name.str,
					   &f, sizeof(f), 0600);
}

int fault_error(const struct content *ct, struct error **errp)
{
	return error_set(errp, EBADMSG,
			 "the bundle's chunk list contradicts its digest '%s'",
			 digest_to_hex(&ct->digest).str);
}
