#include "fs/data_path.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/io.h"

#define BYTES_PER_FILE 100000u

/*
 * A message for each open costs about 0.1 ms, reading a megabyte through the
 * daemon about 1 ms more than passed through. So passthrough pays when the
 * bytes that can be passed through are at least 100 kB for each file.
 */
static bool role_wants_passthrough(const struct mount *m)
{
	const struct root_role *role = m->view->role;
	const struct root *root = &m->bundle->root;
	uint64_t bytes = 0, files = 0;

	for (size_t i = 0; i < role->n_layers; i++) {
		const struct root_layer *l = &root->layers[role->layers[i]];

		bytes += l->bytes_blob + l->bytes_external;
		files += l->files;
	}
	return bytes > 0 && bytes / BYTES_PER_FILE >= files;
}

#ifdef HAVE_FUSE_PASSTHROUGH

/* CAP_SYS_ADMIN where the kernel wants it: in the first user namespace. */
static bool may_pass_through(void)
{
	cleanup_free char *status = NULL;
	cleanup_free char *map = NULL;
	unsigned long inside, outside, count;
	const char *p;
	size_t n;

	if (io_read_file(AT_FDCWD, "/proc/self/status", 16384, &status, &n) <
		    0 ||
	    io_read_file(AT_FDCWD, "/proc/self/uid_map", 16384, &map, &n) < 0)
		return false;
	p = strstr(status, "\nCapEff:");
	return p && strtoull(p + 8, NULL, 16) >> 21 & 1 &&
	       sscanf(map, "%lu %lu %lu", &inside, &outside, &count) == 3 &&
	       inside == 0 && outside == 0 && count >= UINT32_MAX;
}

/* Why passthrough cannot be had, or NULL. */
static const char *passthrough_flaw(const struct fuse_conn_info *conn)
{
	if (!(conn->capable & FUSE_CAP_PASSTHROUGH))
		return "the kernel has no FUSE passthrough (Linux 6.9 has)";
	if (!may_pass_through())
		return "passthrough needs CAP_SYS_ADMIN";
	return NULL;
}

#else

static const char *passthrough_flaw(const struct fuse_conn_info *conn)
{
	return "built with a libfuse that has no passthrough (3.17 has)";
}

#endif

struct data_path data_path_choose(const struct mount *m,
				  const struct fuse_conn_info *conn)
{
	const char *flaw = passthrough_flaw(conn);
	enum io_choice io = m->options->io;

	if (m->options->record)
		return (struct data_path){
			.refused = io == IO_PASSTHROUGH,
			.why = "a recording has to see each read"};
	if (io == IO_CACHED)
		return (struct data_path){.why = "asked for"};
	if (io == IO_AUTO && !role_wants_passthrough(m))
		return (struct data_path){
			.why = "small files: less than 100 kB that can be "
			       "passed through for each file"};
	if (flaw)
		return (struct data_path){.refused = io == IO_PASSTHROUGH,
					  .why = flaw};
	return (struct data_path){
		.passthrough = true,
		.why = io == IO_PASSTHROUGH
			       ? "asked for"
			       : "big files: at least 100 kB that can be "
				 "passed through for each file"};
}
