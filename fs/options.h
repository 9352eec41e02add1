/*
 * `-o` of a mount: the words of mount(8) that make sense here, our own, and
 * any setting by its name (`-o io_timeout=30s,cache_dir=/x`), for fstab.
 *
 * Threads: one.
 */
#ifndef FS_OPTIONS_H
#define FS_OPTIONS_H

#include <stdbool.h>

#include "base/error.h"
#include "cli/args.h"
#include "engine/prefetch.h"

enum io_choice { IO_AUTO, IO_PASSTHROUGH, IO_CACHED };

struct mount_options {
	enum io_choice io;
	bool allow_other;
	bool noexec;
	bool no_sandbox;
	bool by_mount8; /* rw, suid and dev are left alone */
	bool sloppy;    /* unknown words are passed over */
	/* What mount and df call the source; NULL: the bundle's name. Leads
	 * into the list. */
	const char *fsname;
	enum prefetch_what prefetch; /* in the background */
	/* The list or trace, read by each worker; NULL. Leads into the list. */
	const char *prefetch_file;
	/* Where the order of reads is recorded; NULL. Leads into the list. */
	const char *record;
	/* Let the cache lie on a stacked file system (overlayfs); then nothing
	 * stacked can lie on the mount. */
	bool stacked_cache;
	unsigned fill_mb;      /* in ten minutes (filler.h); 0: nothing */
	unsigned readahead_kb; /* of the mount's device, as root; 0: leave */
	/* A worker that takes longer for a request hangs; 0: is left alone. */
	unsigned watchdog_s;
};

extern const struct mount_options MOUNT_OPTIONS_DEFAULT;

/*
 * Read one comma-separated list into @o; settings found in it are added to
 * @cli's flags, unless a flag of the same name was given. -EINVAL for what is
 * unknown, unless @o says that it is passed over, and for what would take a
 * promise away (rw, suid, dev). @list is
 * taken apart in place, and outlives @cli.
 */
int mount_options_parse(char *list, struct mount_options *o, struct cli *cli,
			struct error **errp);

/* What is to be fetched unasked: none, role, list=FILE, trace or
 * trace=FILE. */
int mount_options_set_prefetch(struct mount_options *o, const char *value,
			       struct error **errp);

/* A plain user may let others in only where the administrator said so. */
bool mount_options_may_allow_other(void);

/* Can the kernel's lists show @name as it is? */
bool mount_options_fsname_is_plain(const char *name);

#endif
