/*
 * Files that a worker may reach. The system calls are made by number: Debian
 * 12's C library and headers know less than the kernels this runs on.
 *
 * A rule names a folder as it is now: one that is made later is not seen before
 * the next worker. So for a file its folder is named, for credentials are
 * changed by renaming a new file into place.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/io.h"
#include "base/log.h"
#include "fs/sandbox.h"
#include "storage/http_tls.h"

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule       445
#define SYS_landlock_restrict_self  446
#endif

#define CREATE_VERSION 1u
#define RULE_PATH      1
#define SCOPE_ABSTRACT 1u

/* Access rights of the kernel's interface. */
#define FS_WRITE_FILE (1ull << 1)
#define FS_READ_FILE  (1ull << 2)
#define FS_READ_DIR   (1ull << 3)
#define FS_REMOVE_DIR (1ull << 4)
#define FS_REMOVE     (1ull << 5)
#define FS_MAKE_DIR   (1ull << 7)
#define FS_MAKE_REG   (1ull << 8)
#define FS_MAKE_SYM   (1ull << 12)
#define FS_REFER      (1ull << 13) /* version 2 */
#define FS_TRUNCATE   (1ull << 14) /* version 3 */
#define FS_IOCTL_DEV  (1ull << 15) /* version 5 */
#define FS_VERSION_1  ((1ull << 13) - 1)

#define READ     (FS_READ_FILE | FS_READ_DIR)
#define OF_FILES (FS_WRITE_FILE | FS_READ_FILE | FS_TRUNCATE)
#define WRITE                                                             \
	(READ | FS_WRITE_FILE | FS_REMOVE_DIR | FS_REMOVE | FS_MAKE_DIR | \
	 FS_MAKE_REG | FS_MAKE_SYM | FS_REFER | FS_TRUNCATE)

struct ruleset_attr {
	uint64_t handled_fs, handled_net, scoped;
};

struct path_attr {
	uint64_t allowed;
	int32_t parent;
} __attribute__((packed));

struct ruleset {
	int fd;
	uint64_t handled;
};

static void allow(const struct ruleset *rs, const char *path, uint64_t access)
{
	cleanup_fd int fd = open(path, O_PATH | O_CLOEXEC);
	struct path_attr a = {.parent = fd};
	struct stat st;

	/* What is not there cannot be read, now or later. */
	if (fd < 0 || fstat(fd, &st) < 0)
		return;
	a.allowed = access & rs->handled;
	if (!S_ISDIR(st.st_mode))
		a.allowed &= OF_FILES;
	if (syscall(SYS_landlock_add_rule, rs->fd, RULE_PATH, &a, 0) < 0)
		log_warn("the sandbox keeps out '%s': %s", path,
			 strerror(errno));
}

/* A file's folder. */
static void allow_around(const struct ruleset *rs, const char *file)
{
	cleanup_free char *folder = file && *file ? xstrdup(file) : NULL;
	char *slash = folder ? strrchr(folder, '/') : NULL;

	if (!slash)
		return;
	slash[slash == folder] = '\0';
	allow(rs, folder, READ);
}

static void allow_below(const struct ruleset *rs, const char *folder,
			const char *name)
{
	cleanup_free char *path = folder && *folder == '/'
					  ? xasprintf("%s/%s", folder, name)
					  : NULL;

	if (path)
		allow(rs, path, READ);
}

static void allow_system(const struct ruleset *rs)
{
	static const char *const folders[] = {
		/* Names, authorities and what the C library loads for them. */
		"/etc",
		"/usr",
		"/lib",
		"/lib64",
		"/nix/store",
		"/gnu/store",
		"/run/systemd/resolve",
		"/run/resolvconf",
		"/run/NetworkManager",
		"/run/nscd",
		"/var/lib/ca-certificates",
		"/var/lib/sss/pubconf",
		"/var/lib/sss/mc",
		/* Mounted by container managers. */
		"/run/secrets",
		"/var/run/secrets",
		/* Of this process and of its callers; of the machine. */
		"/proc",
		"/sys/fs/cgroup",
		"/sys/devices/system",
		"/dev/urandom",
		"/dev/random",
	};

	for (size_t i = 0; i < ARRAY_SIZE(folders); i++)
		allow(rs, folders[i], READ);
	allow(rs, "/dev/null", READ | FS_WRITE_FILE);
}

static void allow_credentials(const struct ruleset *rs)
{
	static const char *const of_home[] = {
		".docker",        ".aws",           ".config/containers",
		".config/docker", ".config/gcloud",
	};
	static const char *const of_config[] = {"containers", "docker",
						"gcloud"};
	static const char *const folders[] = {"DOCKER_CONFIG",
					      "CLOUDSDK_CONFIG"};
	static const char *const files[] = {
		"REGISTRY_AUTH_FILE",
		"AWS_CONFIG_FILE",
		"AWS_SHARED_CREDENTIALS_FILE",
		"AWS_WEB_IDENTITY_TOKEN_FILE",
		"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
		"AWS_CA_BUNDLE",
		"AZURE_FEDERATED_TOKEN_FILE",
		"GOOGLE_APPLICATION_CREDENTIALS",
		"SSL_CERT_FILE",
	};
	cleanup_free char *run =
		xasprintf("/run/containers/%u", (unsigned)geteuid());

	for (size_t i = 0; i < ARRAY_SIZE(of_home); i++)
		allow_below(rs, getenv("HOME"), of_home[i]);
	for (size_t i = 0; i < ARRAY_SIZE(of_config); i++)
		allow_below(rs, getenv("XDG_CONFIG_HOME"), of_config[i]);
	for (size_t i = 0; i < ARRAY_SIZE(folders); i++)
		allow_below(rs, getenv(folders[i]), ".");
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		allow_around(rs, getenv(files[i]));
	allow_below(rs, getenv("XDG_RUNTIME_DIR"), "containers");
	allow(rs, run, READ);
}

static void allow_settings(const struct ruleset *rs, const struct settings *s)
{
	cleanup_strv char **hosts = http_tls_roots();

	/* Those of other users, and of a site. */
	if (s->cache_shared)
		allow(rs, s->cache_dir, READ);
	for (char **v = s->cache_alternates; v && *v; v++)
		allow(rs, *v, READ);
	for (char **v = s->file_roots; v && *v; v++)
		allow(rs, *v, READ);
	for (char **v = hosts; v && *v; v++)
		allow(rs, *v, READ);
	if (s->ca_file)
		allow(rs, s->ca_file, READ);
	allow_around(rs, s->ca_file);
	allow_around(rs, s->cert_file);
	allow_around(rs, s->key_file);
}

/* Not refs/ and hashes/, nor the folder itself: no mount has to write them, and
 * commands that no sandbox holds believe what is there. */
static void allow_cache(const struct ruleset *rs, const char *cache)
{
	static const char *const rooms[] = {
		"blobs",  "partial", "index",      "layers", "bundles",
		"leases", "locks",   "quarantine", "tmp",    "trash",
	};

	allow(rs, cache, READ);
	for (size_t i = 0; i < ARRAY_SIZE(rooms); i++) {
		cleanup_free char *room = xasprintf("%s/%s", cache, rooms[i]);

		allow(rs, room, WRITE);
	}
}

int landlock_make(const struct sandbox_rules *rules, bool *ret_truncates)
{
	long version =
		syscall(SYS_landlock_create_ruleset, NULL, 0, CREATE_VERSION);
	struct ruleset_attr a = {.handled_fs = FS_VERSION_1 | FS_REFER};
	struct ruleset rs;

	if (version < 0)
		return -errno;
	/* Files could not be moved from folder to folder. */
	if (version < 2)
		return -EOPNOTSUPP;
	*ret_truncates = version >= 3;
	if (version >= 3)
		a.handled_fs |= FS_TRUNCATE;
	if (version >= 5)
		a.handled_fs |= FS_IOCTL_DEV;
	if (version >= 6)
		a.scoped = SCOPE_ABSTRACT;
	rs.handled = a.handled_fs;
	rs.fd = (int)syscall(SYS_landlock_create_ruleset, &a,
			     version >= 6   ? sizeof(a)
			     : version >= 4 ? 2 * sizeof(uint64_t)
					    : sizeof(uint64_t),
			     0);
	if (rs.fd < 0)
		return -errno;
	allow_system(&rs);
	allow_credentials(&rs);
	allow_cache(&rs, rules->cache);
	allow_settings(&rs, rules->settings);
	if (rules->layout)
		allow(&rs, rules->layout, READ);
	return rs.fd;
}

int landlock_enter(int ruleset)
{
	return syscall(SYS_landlock_restrict_self, ruleset, 0) < 0 ? -errno : 0;
}
