#include <string.h>

#include "cli/words.h"
#include "fs/verbs.h"

static const struct verb verbs[] = {
	{"mount", "REF DIR", "show a bundle as a read-only folder", 2, 2,
	 mount_verb_options, verb_mount},
	{"umount", "DIR", "end a mount", 1, 1, umount_verb_options,
	 verb_umount},
	{"status", "[DIR]", "what the mounts of this machine are doing", 0, 1,
	 NULL, verb_status},
	{"upgrade", "DIR", "let this program go on with a mount", 1, 1, NULL,
	 verb_upgrade},
	{"prefetch", "DIR pause|resume", "halt what a mount fetches unasked", 2,
	 2, NULL, verb_prefetch},
	{"warm", "PATH", "make files of a mount local", 1, 1, NULL, verb_warm},
	{"doctor", "", "say what a mount would find here, and which are dead",
	 0, 0, NULL, verb_doctor},
	{"version", "", "print versions and what they can do", 0, 0, NULL,
	 verb_version},
	{"help", "[COMMAND]", "print help", 0, 1, NULL, NULL},
	{NULL},
};

static const struct program mopsfs = {
	.name = "mopsfs",
	.summary = "Mount versioned bundles: bytes arrive when they are read, "
		   "and none is shown unverified.",
	.verbs = verbs,
	.words = words_from_cache,
};

static bool is_mount_helper(const char *path)
{
	const char *slash = strrchr(path, '/');

	return !strcmp(slash ? slash + 1 : path, "mount.mopsfs");
}

int main(int argc, char **argv)
{
	if (argc > 0 && is_mount_helper(argv[0]))
		return mount_helper_main(argc, argv);
	return cli_main(&mopsfs, argc, argv);
}
