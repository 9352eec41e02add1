/*
 * A USTAR header block (POSIX.1-1988), as tar_write.c and tar_read.c see it.
 */
#ifndef ENGINE_TAR_FORMAT_H
#define ENGINE_TAR_FORMAT_H

#include "engine/tar.h"

#define TAR_TYPE_FILE    '0'
#define TAR_TYPE_SYMLINK '2'
#define TAR_TYPE_DIR     '5'
#define TAR_TYPE_PAX     'x'

/* Eleven octal digits. */
#define TAR_SIZE_MAX ((UINT64_C(1) << 33) - 1)

struct tar_block {
	char name[100];
	char mode[8];
	char uid[8];
	char gid[8];
	char size[12];
	char mtime[12];
	char checksum[8];
	char type;
	char linkname[100];
	char magic[8];
	char uname[32];
	char gname[32];
	char devmajor[8];
	char devminor[8];
	char prefix[155];
	char padding[12];
};
_Static_assert(sizeof(struct tar_block) == TAR_BLOCK, "header block");

#endif
