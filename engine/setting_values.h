/*
 * The kinds of values that settings have: text as a source gives it, into the
 * field. For engine/settings.c.
 */
#ifndef ENGINE_SETTING_VALUES_H
#define ENGINE_SETTING_VALUES_H

#include <stdbool.h>

/* A source's value on its way into a field. */
struct setting_value {
	const char *text;
	bool in_file;
	const char *home; /* what "~/" stands for in a file; NULL: unknown */
};

/* Each writes its field and returns NULL, or what is wrong with the text. */
typedef const char *setting_fn(void *field, const struct setting_value *v);
setting_fn setting_switch, setting_concurrency, setting_size, setting_duration,
	setting_duration_or_hard, setting_shared, setting_role, setting_path,
	setting_registry, setting_folders, setting_hosts, setting_buckets,
	setting_mirrors;

/* Of a heap string in a field. */
void setting_replace(char **field, char *take);

#endif
