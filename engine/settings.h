/*
 * Settings: one name each. Flag `--io-timeout`, variable MOPS_IO_TIMEOUT, key
 * `io_timeout`; order: flag, environment, ~/.config/mops/config.yaml,
 * /etc/mops/config.yaml, default. One table in settings.c holds them all.
 *
 * A value that is wrong is -EINVAL and says where it came from, also when a
 * stronger source overrides it. An empty variable is not set. A list is
 * separated by ':' in a variable, one of hosts by ','. Relative paths count from the working folder
 * in a flag or variable and are refused in a file, where "~/" is the home.
 */
#ifndef ENGINE_SETTINGS_H
#define ENGINE_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "storage/retry.h"

struct settings {
	char *registry;  /* default: oci:<data home>/mops/registry */
	char *cache_dir; /* default: ~/.modelops or /var/cache/mops */
	/* No setting: <state home>/mops/uploads, NULL without a home. */
	char *uploads_dir;
	char *role; /* NULL: not chosen */
	bool offline;
	unsigned concurrency;
	uint64_t limit_rate;     /* bytes/s, 0: none */
	uint64_t cache_max_size; /* bytes, 0: none; no flag */
	uint64_t cache_min_free; /* bytes, 0: any; no flag */
	bool cache_shared;       /* cache_dir is a group's; no flag */
	bool plain_http;
	bool anonymous;
	bool require_digest;
	char *ca_file, *cert_file, *key_file;
	struct retry_times
		times;     /* connect_timeout, stall_timeout, io_timeout */
	char **file_roots; /* NULL-ended; no flag; like: */
	char **cache_alternates;
	char **token_realms;
	char **mirrors; /* "host=[scheme://]host[:port][/prefix]" */
	char **s3_requester_pays;
	struct settings_origin *origins;
};

/* A flag as parsed by the edge: its name without the two dashes in front, and
 * its text. */
struct settings_flag {
	const char *name;
	const char *value; /* "true" for switches */
};

int settings_load(const struct settings_flag *flags, size_t n_flags,
		  struct settings *ret, struct error **errp);
/* The same with another file in place of /etc/mops/config.yaml. */
int settings_load_from(const char *system_file,
		       const struct settings_flag *flags, size_t n_flags,
		       struct settings *ret, struct error **errp);
void settings_release(struct settings *s);
#define cleanup_settings __attribute__((cleanup(settings_release)))

/* The table, for flags and help. */
struct setting_info {
	const char *name; /* with underscores: the file's key */
	bool flag;        /* also a command-line flag */
	bool is_switch;   /* takes no value */
	const char *help;
	const char *dflt; /* as text; NULL: none, or it depends on HOME */
};
/* Row @i; NULL behind the last one. */
const struct setting_info *settings_info(size_t i);
/* The value as text (heap; "" when there is none) and where it came from
 * ("flag", "MOPS_X", a file's path, "default"). NULL: no such setting. */
char *settings_value(const struct settings *s, const char *name,
		     const char **ret_origin);

#endif
