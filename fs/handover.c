#include "fs/handover.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/io.h"
#include "base/time.h"

/* Of Linux 6.9, in headers newer than the oldest that we build with. */
#define FLAG_INIT_EXT  (1u << 30)
#define FLAG2_RESEND   (1u << (39 - 32))
#define REQUEST_RESENT (1ull << 63)
#define NOTIFY_RESEND  7

static _Thread_local uint64_t current;

int handover_make(struct handover *h, struct error **errp)
{
	int r;

	*h = (struct handover){.device = -1, .listener = -1, .lease = -1};
	h->memory = memfd_create("mopsfs", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (h->memory < 0 ||
	    ftruncate(h->memory, sizeof(struct handover_table)) < 0 ||
	    pwrite(h->memory, HANDOVER_MAGIC, strlen(HANDOVER_MAGIC), 0) < 0 ||
	    /* A worker that was taken over must not take it away from us. */
	    fcntl(h->memory, F_ADD_SEALS,
		  F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return error_set_errno(errp, errno, "shared memory");
	r = handover_map(h, errp);
	return r;
}

int handover_map(struct handover *h, struct error **errp)
{
	void *p = mmap(NULL, sizeof(struct handover_table),
		       PROT_READ | PROT_WRITE, MAP_SHARED, h->memory, 0);
	off_t size = lseek(h->memory, 0, SEEK_END);

	if (p == MAP_FAILED)
		return error_set_errno(errp, errno, "mapping shared memory");
	h->table = p;
	if (size != sizeof(struct handover_table) ||
	    memcmp(h->table->magic, HANDOVER_MAGIC, strlen(HANDOVER_MAGIC)))
		return error_set(errp, EPROTO,
				 "the mount was begun by a version that this "
				 "one cannot follow");
	return 0;
}

bool handover_can_resend(const struct handover_table *t)
{
	const struct fuse_in_header *in = (const void *)t->init;
	struct {
		uint32_t major, minor, max_readahead, flags, flags2;
	} arg;

	if (t->init_len < sizeof(*in) + sizeof(arg))
		return false;
	memcpy(&arg, t->init + sizeof(*in), sizeof(arg));
	return arg.flags & FLAG_INIT_EXT && arg.flags2 & FLAG2_RESEND;
}

int handover_resend(int device)
{
	/* A notification has no number, and its code for an error. */
	struct fuse_out_header out = {.len = sizeof(out),
				      .error = NOTIFY_RESEND};

	return write(device, &out, sizeof(out)) < 0 ? -errno : 0;
}

int handover_clone(int device)
{
	cleanup_fd int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	uint32_t of = (uint32_t)device;

	if (fd < 0 || ioctl(fd, FUSE_DEV_IOC_CLONE, &of) < 0)
		return -errno;
	return steal_fd(&fd);
}

bool handover_can_go_on(const struct handover_table *t)
{
	return handover_can_resend(t) || t->cloned;
}

void handover_begin(struct handover *h, unsigned loop, const void *request)
{
	const struct fuse_in_header *in = request;

	current = in->unique & ~REQUEST_RESENT;
	atomic_store_explicit(&h->table->busy_ns[loop], time_mono_ns(),
			      memory_order_relaxed);
	atomic_fetch_add_explicit(&h->table->requests, 1, memory_order_relaxed);
}

void handover_end(struct handover *h, unsigned loop)
{
	atomic_store_explicit(&h->table->busy_ns[loop], 0,
			      memory_order_relaxed);
}

uint64_t handover_request(void)
{
	return current;
}

bool handover_backing_set(struct handover *h, uint64_t ino, int id)
{
	for (size_t i = 0; i < HANDOVER_BACKING; i++) {
		struct handover_backing *b = &h->table->backing[i];

		if (!atomic_load(&b->id)) {
			b->ino = ino;
			atomic_store(&b->id, id);
			return true;
		}
	}
	return false;
}

void handover_backing_clear(struct handover *h, uint64_t ino)
{
	for (size_t i = 0; i < HANDOVER_BACKING; i++) {
		struct handover_backing *b = &h->table->backing[i];

		if (b->ino == ino && atomic_load(&b->id))
			atomic_store(&b->id, 0);
	}
}

/* The first that is free, so that the table stays short. */
int64_t handover_open_add(struct handover *h, uint64_t ino, uint64_t handle)
{
	struct handover_table *t = h->table;
	uint_fast32_t n = atomic_load(&t->n_opens), i = h->full;

	while (i < n &&
	       atomic_load_explicit(&t->opens[i].handle, memory_order_relaxed))
		i++;
	h->full = (uint32_t)i;
	if (i == HANDOVER_OPENS)
		return -1;
	t->opens[i].ino = ino;
	atomic_store(&t->opens[i].handle, handle);
	if (i == n)
		atomic_store(&t->n_opens, n + 1);
	return (int64_t)i;
}

void handover_open_del(struct handover *h, int64_t entry)
{
	atomic_store(&h->table->opens[entry].handle, 0);
	h->full = MIN(h->full, (uint32_t)entry);
}
