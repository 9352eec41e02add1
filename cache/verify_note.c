/*
 * The note of a scan: `verify` at the cache's top.
 *
 *	0   MOPSVFY1, when the scan began (ns), how many parts it has, XXH3 of that
 *	32  records, appended one by one, each with its own checksum
 *
 * It has ended when every part is noted. Who repairs then, and is killed, is
 * followed by a new scan, which takes over what is not repaired.
 *
 * Nothing is flushed: after a power cut the note ends earlier, and so much is
 * looked at again. What follows a damaged record is not believed.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/io.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "base/time.h"
#include "cache/verify_internal.h"

#define NOTE_NAME  "verify"
#define NOTE_MAX   (NOTE_HEADER + NOTE_RECORD * (4 * NOTE_FINDINGS_MAX))
#define NOTE_AGE_S (30 * 86400LL) /* older ones are not gone on with */

enum record_type {
	RECORD_PART = 1,
	RECORD_FINDING = 2,
	RECORD_REPAIRED = 3, /* this finding is no more */
};

enum record_flags { HAS_FOUND = 1 << 0, CARRIED = 1 << 1 };

struct header {
	char magic[8];
	uint64_t begun_ns;
	uint64_t parts;
	uint64_t checksum; /* XXH3 of all before */
};
_Static_assert(sizeof(struct header) == NOTE_HEADER, "no padding");

struct record {
	uint8_t type;  /* enum record_type */
	uint8_t kind;  /* enum cache_damage */
	uint8_t flags; /* enum record_flags */
	uint8_t zero;
	uint32_t index; /* the part, or the chunk */
	uint64_t size;  /* of what was found; a part's files */
	uint64_t ino;   /* of what was found; a part's bytes or chunks */
	uint32_t links;
	uint32_t error;
	uint8_t digest[DIGEST_SIZE];
	uint8_t expected[DIGEST_SIZE];
	uint8_t found[DIGEST_SIZE];
	uint64_t checksum; /* XXH3 of all before */
};
_Static_assert(sizeof(struct record) == NOTE_RECORD, "no padding");

static const char note_magic[8] = "MOPSVFY1";

static uint64_t checksum(const void *p, size_t n)
{
	return htole64(XXH3_64bits(p, n));
}

/*
 * Reading.
 */

static void add_noted(struct note *n, const struct cache_finding *f,
		      bool carried)
{
	if (n->n == NOTE_FINDINGS_MAX)
		return;
	ARRAY_GROW(n->found, n->n, n->cap);
	n->found[n->n++] = (struct noted){*f, carried};
}

static bool read_finding(struct note *n, const struct record *r)
{
	struct cache_finding f = {
		.kind = (enum cache_damage)r->kind,
		.chunk = le32toh(r->index),
		.has_found = r->flags & HAS_FOUND,
		.size = le64toh(r->size),
		.error = (int)(le32toh(r->error) & INT32_MAX),
		.links = le32toh(r->links),
		.ino = le64toh(r->ino),
		.earlier = true,
	};

	if (r->kind < CACHE_DAMAGED_BLOB || r->kind > CACHE_DAMAGED_MAP)
		return false;
	memcpy(f.digest.b, r->digest, DIGEST_SIZE);
	memcpy(f.expected.b, r->expected, DIGEST_SIZE);
	memcpy(f.found.b, r->found, DIGEST_SIZE);
	add_noted(n, &f, r->flags & CARRIED);
	return true;
}

static void forget(struct note *n, const struct record *r)
{
	struct cache_finding gone = {
		.kind = (enum cache_damage)r->kind,
		.chunk = le32toh(r->index),
	};
	size_t left = 0;

	memcpy(gone.digest.b, r->digest, DIGEST_SIZE);
	for (size_t i = 0; i < n->n; i++)
		if (!same_finding(&n->found[i].finding, &gone))
			n->found[left++] = n->found[i];
	n->n = left;
}

static bool sum(uint64_t *total, uint64_t add)
{
	return !__builtin_add_overflow(*total, add, total) &&
	       *total <= INT64_MAX;
}

static bool read_part(struct note *n, const struct record *r)
{
	struct cache_report *c = &n->counts;
	uint32_t part = le32toh(r->index);
	bool blobs = part < PARTS_OF_ROOM;

	if (part >= PARTS || n->done[part] ||
	    !sum(blobs ? &c->blobs : &c->partials, le64toh(r->size)) ||
	    !sum(blobs ? &c->bytes : &c->chunks, le64toh(r->ino)))
		return false;
	n->done[part] = true;
	return true;
}

static bool read_record(struct note *n, const struct record *r)
{
	if (r->checksum != checksum(r, offsetof(struct record, checksum)))
		return false;
	switch (r->type) {
	case RECORD_PART:
		return read_part(n, r);
	case RECORD_FINDING:
		return read_finding(n, r);
	case RECORD_REPAIRED:
		forget(n, r);
		return true;
	default:
		return false;
	}
}

int note_parse(const void *buf, size_t n, struct note *ret)
{
	struct header h;
	struct record r;
	size_t at = sizeof(h);

	*ret = (struct note){.fd = -1, .lock_fd = -1};
	if (n < sizeof(h))
		return -EBADMSG;
	memcpy(&h, buf, sizeof(h));
	if (memcmp(h.magic, note_magic, sizeof(h.magic)) != 0 ||
	    h.checksum != checksum(&h, offsetof(struct header, checksum)) ||
	    le64toh(h.begun_ns) > INT64_MAX || le64toh(h.parts) != PARTS)
		return -EBADMSG;
	ret->begun_ns = (int64_t)le64toh(h.begun_ns);
	for (; n - at >= sizeof(r); at += sizeof(r)) {
		memcpy(&r, (const char *)buf + at, sizeof(r));
		if (!read_record(ret, &r))
			break;
	}
	ret->sound = at;
	return 0;
}

void note_release(struct note *n)
{
	free(n->found);
	n->found = NULL;
	n->n = n->cap = 0;
	closep(&n->fd);
	closep(&n->lock_fd);
}

/*
 * Writing.
 */

static void fill_finding(struct record *r, const struct noted *n)
{
	const struct cache_finding *f = &n->finding;

	*r = (struct record){
		.type = RECORD_FINDING,
		.kind = (uint8_t)f->kind,
		.flags = (uint8_t)((f->has_found ? HAS_FOUND : 0) |
				   (n->carried ? CARRIED : 0)),
		.index = htole32(f->chunk),
		.size = htole64(f->size),
		.ino = htole64(f->ino),
		.links = htole32(f->links),
		.error = htole32((uint32_t)f->error),
	};
	memcpy(r->digest, f->digest.b, DIGEST_SIZE);
	memcpy(r->expected, f->expected.b, DIGEST_SIZE);
	memcpy(r->found, f->found.b, DIGEST_SIZE);
	r->checksum = checksum(r, offsetof(struct record, checksum));
}

/* One write(): records of other processes do not get between its bytes. */
static void append(int fd, struct record *r)
{
	r->checksum = checksum(r, offsetof(struct record, checksum));
	if (fd >= 0 && io_write_full(fd, r, sizeof(*r)) < 0)
		log_debug("cache: cannot note what was verified");
}

void note_part(struct note *n, unsigned part, const struct cache_report *counts)
{
	bool blobs = part < PARTS_OF_ROOM;
	struct record r = {
		.type = RECORD_PART,
		.index = htole32(part),
		.size = htole64(blobs ? counts->blobs : counts->partials),
		.ino = htole64(blobs ? counts->bytes : counts->chunks),
	};

	n->done[part] = true;
	append(n->fd, &r);
}

void note_finding(struct note *n, const struct cache_finding *f)
{
	struct noted noted = {*f, false};
	struct record r;

	if (n->n == NOTE_FINDINGS_MAX)
		return;
	add_noted(n, f, false);
	fill_finding(&r, &noted);
	append(n->fd, &r);
}

static int open_to_append(struct cache *c)
{
	return openat(c->dirfd, NOTE_NAME,
		      O_WRONLY | O_APPEND | O_NOFOLLOW | O_NONBLOCK |
			      O_CLOEXEC);
}

/* True in any note, so also in one that another scan has begun since. */
void cache_verify_repaired(struct cache *c, const struct cache_finding *f)
{
	struct record r = {
		.type = RECORD_REPAIRED,
		.kind = (uint8_t)f->kind,
		.index = htole32(f->chunk),
	};
	cleanup_fd int fd = open_to_append(c);

	memcpy(r.digest, f->digest.b, DIGEST_SIZE);
	append(fd, &r);
}

/*
 * Opening.
 */

/* One scan at a time has a note: it is the one that is gone on with. */
static int lock_note(struct cache *c)
{
	cleanup_fd int fd =
		openat(c->room[ROOM_LOCKS], NOTE_NAME,
		       O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd < 0 || ofd_try_lock(fd, LOCK_EXCLUSIVE, 0, 1) < 0)
		return -1;
	return steal_fd(&fd);
}

static bool is_complete(const struct note *n)
{
	return !memchr(n->done, 0, sizeof(n->done));
}

/* Can it be gone on with? */
static bool read_note(struct cache *c, struct note *ret)
{
	cleanup_free char *buf = NULL;
	int64_t now = time_wall_ns();
	size_t n;

	*ret = (struct note){.fd = -1, .lock_fd = -1};
	if (io_read_file(c->dirfd, NOTE_NAME, NOTE_MAX, &buf, &n) < 0)
		return false;
	return note_parse(buf, n, ret) == 0 && ret->begun_ns <= now &&
	       now - ret->begun_ns <= NOTE_AGE_S * NS_PER_S &&
	       !is_complete(ret);
}

/* What was torn would hide all that is appended to it. */
static bool go_on(struct cache *c, struct note *n)
{
	n->fd = open_to_append(c);
	n->resumed = n->fd >= 0 && ftruncate(n->fd, (off_t)n->sound) == 0;
	return n->resumed;
}

/* A blob that is there again is looked at like any other. */
static bool is_open(struct cache *c, const struct cache_finding *f)
{
	struct shard_name name = shard_name(&f->digest);

	return f->kind != CACHE_DAMAGED_BLOB ||
	       faccessat(c->room[ROOM_BLOBS], name.str, F_OK,
			 AT_SYMLINK_NOFOLLOW) < 0;
}

/* What the last one found, and nobody repaired, is carried on. */
static void begin(struct cache *c, const struct note *last, struct note *n)
{
	cleanup_strbuf struct strbuf sb = STRBUF_INIT;
	struct header h = {.parts = htole64(PARTS)};
	struct record r;

	n->begun_ns = time_wall_ns();
	memcpy(h.magic, note_magic, sizeof(h.magic));
	h.begun_ns = htole64((uint64_t)n->begun_ns);
	h.checksum = checksum(&h, offsetof(struct header, checksum));
	strbuf_add(&sb, &h, sizeof(h));
	for (size_t i = 0; i < last->n; i++) {
		if (!is_open(c, &last->found[i].finding))
			continue;
		add_noted(n, &last->found[i].finding, true);
		fill_finding(&r, &n->found[n->n - 1]);
		strbuf_add(&sb, &r, sizeof(r));
	}
	if (n->lock_fd < 0)
		return;
	if (io_write_file_atomic(c->dirfd, NOTE_NAME, sb.buf, sb.len, 0600) < 0)
		log_debug("cache: this scan could not be gone on with");
	else
		n->fd = open_to_append(c);
}

void note_open(struct cache *c, bool restart, struct note *ret)
{
	struct note last;
	int lock_fd = lock_note(c);
	bool unfinished = read_note(c, &last);

	if (lock_fd >= 0 && !restart && unfinished && go_on(c, &last)) {
		*ret = last;
		ret->lock_fd = lock_fd;
		return;
	}
	*ret = (struct note){.fd = -1, .lock_fd = lock_fd};
	begin(c, &last, ret);
	note_release(&last);
}
