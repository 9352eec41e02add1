#include "fs/options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

#define READAHEAD_KB     16384u
#define READAHEAD_KB_MAX 262144u
#define FILL_MB_MAX      1000000u
#define WATCHDOG_S       30u
#define WATCHDOG_S_MAX   86400u

const struct mount_options MOUNT_OPTIONS_DEFAULT = {
	.io = IO_AUTO,
	.readahead_kb = READAHEAD_KB,
	.watchdog_s = WATCHDOG_S,
};

/* Words that say what is so anyway, or that are for mount(8) alone. */
static const char *const ignored[] = {
	"ro",         "nosuid",      "nodev",         "default_permissions",
	"auto",       "noauto",      "user",          "nouser",
	"users",      "nousers",     "group",         "nogroup",
	"owner",      "noowner",     "nofail",        "exec",
	"async",      "sync",        "dirsync",       "_netdev",
	"defaults",   "silent",      "loud",          "atime",
	"noatime",    "diratime",    "nodiratime",    "relatime",
	"norelatime", "strictatime", "nostrictatime", "lazytime",
	"nolazytime",
};
/* The same, with values. */
static const char *const ignored_values[] = {"user", "comment"};

/* mount(8) says what a mount may be, which says nothing of what it is. */
static const char *const may_be[] = {"rw", "suid", "dev"};

static const char *const refused[] = {"rw", "suid", "dev", "remount", "bind"};

static bool is_one_of(const char *word, const char *const *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(word, list[i]))
			return true;
	return false;
}

static int set_io(struct mount_options *o, const char *value,
		  struct error **errp)
{
	static const char *const names[] = {"auto", "passthrough", "cached"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (value && !strcmp(value, names[i])) {
			o->io = (enum io_choice)i;
			return 0;
		}
	}
	return error_set(errp, EINVAL,
			 "'-o io' is auto, passthrough or cached, not '%s'",
			 value ? value : "");
}

static int set_switch(const char *word, const char *value, bool *ret_off,
		      struct error **errp)
{
	*ret_off = value && !strcmp(value, "off");
	if (*ret_off || (value && !strcmp(value, "on")))
		return 0;
	return error_set(errp, EINVAL, "'-o %s' is on or off, not '%s'", word,
			 value ? value : "");
}

/* What follows "@word=" in @value; NULL: it begins otherwise, or ends there. */
static const char *file_of(const char *value, const char *word)
{
	size_t n = strlen(word);

	return !strncmp(value, word, n) && value[n] == '=' && value[n + 1]
		       ? value + n + 1
		       : NULL;
}

int mount_options_set_prefetch(struct mount_options *o, const char *value,
			       struct error **errp)
{
	const char *list = value ? file_of(value, "list") : NULL;
	const char *trace = value ? file_of(value, "trace") : NULL;

	o->prefetch_file = list ? list : trace;
	if (value && !strcmp(value, "trace")) {
		o->prefetch = PREFETCH_ATTACHED;
		return 0;
	}
	o->prefetch = list    ? PREFETCH_LIST
		      : trace ? PREFETCH_TRACE
			      : PREFETCH_NOTHING;
	if (list || trace || (value && !strcmp(value, "none")))
		return 0;
	o->prefetch = PREFETCH_FILES;
	if (value && !strcmp(value, "role"))
		return 0;
	return error_set(errp, EINVAL,
			 "'prefetch' is none, role, list=FILE, trace or "
			 "trace=FILE, not '%s'",
			 value ? value : "");
}

static int set_number(const char *word, const char *value, unsigned max,
		      unsigned *ret, struct error **errp)
{
	char *end = NULL;
	unsigned long n = 0;

	errno = 0;
	if (value && *value >= '0' && *value <= '9')
		n = strtoul(value, &end, 10);
	if (!end || *end || errno || n > max)
		return error_set(errp, EINVAL, "'-o %s' is 0 to %u, not '%s'",
				 word, max, value ? value : "");
	*ret = (unsigned)n;
	return 0;
}

static const struct setting_info *find_setting(const char *name)
{
	const struct setting_info *s;

	for (size_t i = 0; (s = settings_info(i)); i++)
		if (s->flag && !strcmp(s->name, name))
			return s;
	return NULL;
}

/* A flag on the command line is stronger than a word in fstab. */
static void add_setting(struct cli *cli, const struct setting_info *s,
			const char *value)
{
	for (size_t i = 0; i < cli->n_flags; i++)
		if (!strcmp(cli->flags[i].name, s->name))
			return;
	cli->flags =
		xrealloc(cli->flags, cli->n_flags + 1, sizeof(*cli->flags));
	cli->flags[cli->n_flags++] = (struct settings_flag){s->name, value};
}

static int set_setting(struct cli *cli, const char *word, const char *value,
		       bool sloppy, struct error **errp)
{
	const struct setting_info *s = find_setting(word);

	if (!s && sloppy)
		return 0;
	if (!s)
		return error_set(errp, EINVAL, "there is no mount option '%s'",
				 word);
	if (s->is_switch && value)
		return error_set(errp, EINVAL, "'-o %s' takes no value", word);
	if (!s->is_switch && !value)
		return error_set(errp, EINVAL, "'-o %s' needs a value", word);
	add_setting(cli, s, value ? value : "true");
	return 0;
}

static bool is_for_mount8(const struct mount_options *o, const char *word,
			  const char *value)
{
	if (!*word || !strncmp(word, "x-", 2) || !strncmp(word, "X-", 2))
		return true;
	if (value)
		return is_one_of(word, ignored_values,
				 ARRAY_SIZE(ignored_values));
	return is_one_of(word, ignored, ARRAY_SIZE(ignored)) ||
	       (o->by_mount8 && is_one_of(word, may_be, ARRAY_SIZE(may_be)));
}

bool mount_options_fsname_is_plain(const char *name)
{
	static const char also[] = "-_.:/@+%=~";

	for (const char *p = name; *p; p++)
		if (!(*p >= 'a' && *p <= 'z') && !(*p >= 'A' && *p <= 'Z') &&
		    !(*p >= '0' && *p <= '9') && !strchr(also, *p))
			return false;
	return *name;
}

static int set_fsname(struct mount_options *o, const char *value,
		      struct error **errp)
{
	if (!value || !mount_options_fsname_is_plain(value))
		return error_set(errp, EINVAL,
				 "'-o fsname' is letters, digits and any of "
				 "-_.:/@+%%=~, not '%s'",
				 value ? value : "");
	o->fsname = value;
	return 0;
}

static int set_record(struct mount_options *o, const char *value,
		      struct error **errp)
{
	if (!value || !*value)
		return error_set(errp, EINVAL, "'-o record' needs a file");
	o->record = value;
	return 0;
}

static int set_word(struct mount_options *o, struct cli *cli, char *word,
		    struct error **errp)
{
	char *value = strchr(word, '=');

	if (value)
		*value++ = '\0';
	if (is_for_mount8(o, word, value))
		return 0;
	if (is_one_of(word, refused, ARRAY_SIZE(refused)))
		return error_set(errp, EINVAL,
				 "'-o %s': a mounted bundle is read-only, "
				 "nosuid and nodev",
				 word);
	if (!strcmp(word, "io"))
		return set_io(o, value, errp);
	if (!strcmp(word, "fsname"))
		return set_fsname(o, value, errp);
	if (!strcmp(word, "record"))
		return set_record(o, value, errp);
	if (!strcmp(word, "fill_mb"))
		return set_number(word, value, FILL_MB_MAX, &o->fill_mb, errp);
	if (!strcmp(word, "readahead_kb"))
		return set_number(word, value, READAHEAD_KB_MAX,
				  &o->readahead_kb, errp);
	if (!strcmp(word, "watchdog"))
		return set_number(word, value, WATCHDOG_S_MAX, &o->watchdog_s,
				  errp);
	if (!strcmp(word, "prefetch"))
		return mount_options_set_prefetch(o, value, errp);
	if (!strcmp(word, "sandbox"))
		return set_switch(word, value, &o->no_sandbox, errp);
	if (!value && !strcmp(word, "allow_other"))
		o->allow_other = true;
	else if (!value && !strcmp(word, "noexec"))
		o->noexec = true;
	else if (!value && !strcmp(word, "stacked_cache"))
		o->stacked_cache = true;
	else
		return set_setting(cli, word, value, o->sloppy, errp);
	return 0;
}

int mount_options_parse(char *list, struct mount_options *o, struct cli *cli,
			struct error **errp)
{
	char *save = NULL;

	for (char *word = strtok_r(list, ",", &save); word;
	     word = strtok_r(NULL, ",", &save)) {
		int r = set_word(o, cli, word, errp);

		if (r < 0)
			return r;
	}
	return 0;
}

bool mount_options_may_allow_other(void)
{
	cleanup_file FILE *f = NULL;
	char line[256];

	if (geteuid() == 0)
		return true;
	f = fopen("/etc/fuse.conf", "re");
	while (f && fgets(line, sizeof(line), f)) {
		line[strcspn(line, " \t\r\n")] = '\0';
		if (!strcmp(line, "user_allow_other"))
			return true;
	}
	return false;
}
