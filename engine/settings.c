#include "engine/settings.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/io.h"
#include "base/path.h"
#include "base/strbuf.h"
#include "engine/reference.h"
#include "engine/units.h"
#include "engine/yaml_events.h"

#define SYSTEM_FILE     "/etc/mops/config.yaml"
#define CONCURRENCY_MAX 256
#define FILE_ROOTS_MAX  64
#define LIST_MAX        64

/* Where the value of each setting came from; one per row of the table. */
struct settings_origin {
	char *from;
	char *text;
};

/* A source's value on its way into a field. */
struct value {
	const char *text;
	bool in_file;
	const char *home; /* what "~/" stands for in a file; NULL: unknown */
};

/* Each writes its field and returns NULL, or what is wrong with the text. */
typedef const char *(*set_fn)(void *field, const struct value *v);

static const char *set_switch(void *field, const struct value *v)
{
	static const char *const on[] = {"true", "1", "yes", "on"};
	static const char *const off[] = {"false", "0", "no", "off"};
	bool *b = field;

	for (size_t i = 0; i < ARRAY_SIZE(on); i++) {
		if (strcmp(v->text, on[i]) == 0) {
			*b = true;
			return NULL;
		}
		if (strcmp(v->text, off[i]) == 0) {
			*b = false;
			return NULL;
		}
	}
	return "is neither true nor false";
}

static const char *set_concurrency(void *field, const struct value *v)
{
	unsigned *u = field;
	uint64_t n;

	if (strlen(v->text) != strspn(v->text, "0123456789") ||
	    parse_size(v->text, &n) < 0 || n < 1 || n > CONCURRENCY_MAX)
		return "is not a number from 1 to 256";
	*u = (unsigned)n;
	return NULL;
}

static const char *set_rate(void *field, const struct value *v)
{
	if (parse_size(v->text, field) < 0)
		return "is not a size (512, 10MB, 1GiB)";
	return NULL;
}

static const char *set_duration(void *field, const struct value *v)
{
	int64_t ms;

	if (parse_duration_ms(v->text, &ms) < 0 || ms < 1 ||
	    ms == DURATION_HARD)
		return "is not a duration above zero (500ms, 10s, 2m)";
	*(int64_t *)field = ms;
	return NULL;
}

static const char *set_duration_or_hard(void *field, const struct value *v)
{
	int64_t ms;

	if (parse_duration_ms(v->text, &ms) < 0 || ms < 1)
		return "is not a duration above zero (500ms, 10s, 2m) or "
		       "'hard'";
	*(int64_t *)field = ms;
	return NULL;
}

static void replace(char **field, char *take)
{
	free(*field);
	*field = take;
}

static const char *set_role(void *field, const struct value *v)
{
	if (!layer_name_valid(v->text))
		return "is not a role's name";
	replace(field, xstrdup(v->text));
	return NULL;
}

/* A value from a file must not depend on where the program was started. */
static const char *absolute_path(const struct value *v, const char *path,
				 char **ret)
{
	char cwd[PATH_MAX];

	if (strlen(path) >= PATH_MAX)
		return "is longer than a path can be";
	if (*path == '/') {
		*ret = xstrdup(path);
	} else if (v->home && strncmp(path, "~/", 2) == 0) {
		*ret = xasprintf("%s/%s", v->home, path + 2);
	} else if (v->in_file) {
		return "is not an absolute path";
	} else {
		if (!getcwd(cwd, sizeof(cwd)))
			return "is relative, and the working folder is gone";
		*ret = xasprintf("%s/%s", cwd, path);
	}
	return NULL;
}

static const char *set_path(void *field, const struct value *v)
{
	char *path;
	const char *flaw = absolute_path(v, v->text, &path);

	if (!flaw)
		replace(field, path);
	return flaw;
}

static const char *set_registry(void *field, const struct value *v)
{
	cleanup_free char *path = NULL;
	char *registry = NULL;
	const char *flaw;

	if (strncmp(v->text, "oci:", 4) == 0 && v->text[4]) {
		flaw = absolute_path(v, v->text + 4, &path);
		if (flaw)
			return flaw;
		registry = xasprintf("oci:%s", path);
	} else {
		registry = xstrdup(v->text);
	}
	flaw = registry_flaw(registry);
	if (flaw) {
		free(registry);
		return "is not a registry: host[:port][/prefix] or "
		       "oci:<folder>, the folder without ':' and '@'";
	}
	replace(field, registry);
	return NULL;
}

/* Folders, separated by ':'. */
static const char *set_folders(void *field, const struct value *v)
{
	char ***list = field;
	cleanup_strv char **fresh = NULL;
	const char *p = v->text;

	for (size_t n = 0;; n++) {
		size_t len = strcspn(p, ":");
		cleanup_free char *item = xstrndup(p, len);
		char *path;
		const char *flaw;

		if (n == FILE_ROOTS_MAX)
			return "has more than 64 folders";
		flaw = absolute_path(v, item, &path);
		if (!len)
			flaw = "has an empty folder";
		if (flaw)
			return flaw;
		strv_append(&fresh, path);
		if (!p[len])
			break;
		p += len + 1;
	}
	strv_free(*list);
	*list = steal_ptr(&fresh);
	return NULL;
}

/* Separated by ','; @flaw_of says what is wrong with one of them. */
static const char *set_list(char ***list, const char *p,
			    const char *(*flaw_of)(const char *item))
{
	cleanup_strv char **fresh = NULL;

	for (size_t n = 0;; n++) {
		size_t len = strcspn(p, ",");
		char *item = xstrndup(p, len);
		const char *flaw;

		strv_append(&fresh, item);
		flaw = n == LIST_MAX ? "has more than 64 of them"
				     : flaw_of(item);
		if (flaw)
			return flaw;
		if (!p[len])
			break;
		p += len + 1;
	}
	strv_free(*list);
	*list = steal_ptr(&fresh);
	return NULL;
}

static const char *host_flaw(const char *s)
{
	if (registry_flaw(s) || strchr(s, '/') || strncmp(s, "oci:", 4) == 0)
		return "is not a list of hosts: host[:port],…";
	return NULL;
}

static const char *set_hosts(void *field, const struct value *v)
{
	return set_list(field, v->text, host_flaw);
}

static const char *bucket_flaw(const char *s)
{
	size_t n = strlen(s);

	return n < 3 || n > 63 ||
			       strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789"
					 ".-") != n
		       ? "is not a list of buckets: name,…"
		       : NULL;
}

static const char *set_buckets(void *field, const struct value *v)
{
	return set_list(field, v->text, bucket_flaw);
}

/* The table. Rows of both arrays belong together. */
static const struct setting_info infos[] = {
	{"registry", true, false,
	 "where bare names resolve: host[:port][/prefix] or oci:<folder>",
	 NULL},
	{"cache_dir", true, false, "the cache's folder", NULL},
	{"role", true, false, "the role to use", NULL},
	{"offline", true, true, "use what is in the cache alone", "false"},
	{"concurrency", true, false, "transfers at once (1 to 256)", "8"},
	{"limit_rate", true, false,
	 "bytes per second over all transfers, 0: "
	 "no limit (10MB)",
	 "0"},
	{"plain_http", true, true,
	 "speak http to registries elsewhere than on loopback, too", "false"},
	{"anonymous", true, true, "use no credentials", "false"},
	{"require_digest", true, true, "refuse references without a digest",
	 "false"},
	{"ca_file", true, false,
	 "file or folder of authorities to trust in place of the system's",
	 NULL},
	{"cert_file", true, false, "client certificate", NULL},
	{"key_file", true, false, "key of the client certificate", NULL},
	{"connect_timeout", true, false, "for one connection", "10s"},
	{"stall_timeout", true, false, "below 1 KiB/s", "20s"},
	{"io_timeout", true, false,
	 "budget of one operation or read without "
	 "progress; 'hard': for ever",
	 "120s"},
	{"file_roots", false, false,
	 "folders below which file:// pointers may be opened", NULL},
	{"token_realms", false, false,
	 "token services on foreign sites that may see a registry's login",
	 NULL},
	{"s3_requester_pays", false, false,
	 "buckets whose reading this user pays for", NULL},
};

static const struct {
	set_fn set;
	size_t offset;
} fields[] = {
	{set_registry, offsetof(struct settings, registry)},
	{set_path, offsetof(struct settings, cache_dir)},
	{set_role, offsetof(struct settings, role)},
	{set_switch, offsetof(struct settings, offline)},
	{set_concurrency, offsetof(struct settings, concurrency)},
	{set_rate, offsetof(struct settings, limit_rate)},
	{set_switch, offsetof(struct settings, plain_http)},
	{set_switch, offsetof(struct settings, anonymous)},
	{set_switch, offsetof(struct settings, require_digest)},
	{set_path, offsetof(struct settings, ca_file)},
	{set_path, offsetof(struct settings, cert_file)},
	{set_path, offsetof(struct settings, key_file)},
	{set_duration, offsetof(struct settings, times.connect_ms)},
	{set_duration, offsetof(struct settings, times.stall_ms)},
	{set_duration_or_hard, offsetof(struct settings, times.io_ms)},
	{set_folders, offsetof(struct settings, file_roots)},
	{set_hosts, offsetof(struct settings, token_realms)},
	{set_buckets, offsetof(struct settings, s3_requester_pays)},
};

#define N_SETTINGS ARRAY_SIZE(infos)
_Static_assert(ARRAY_SIZE(infos) == ARRAY_SIZE(fields), "rows of the table");

const struct setting_info *settings_table(size_t *ret_n)
{
	*ret_n = N_SETTINGS;
	return infos;
}

/* Row of a name that may be written with dashes; N_SETTINGS: none. */
static size_t find(const char *name)
{
	for (size_t i = 0; i < N_SETTINGS; i++) {
		const char *a = infos[i].name, *b = name;

		while (*a && (*a == *b || (*a == '_' && *b == '-')))
			a++, b++;
		if (!*a && !*b)
			return i;
	}
	return N_SETTINGS;
}

static void set_origin(struct settings *s, size_t i, const char *from,
		       const char *text)
{
	replace(&s->origins[i].from, xstrdup(from));
	replace(&s->origins[i].text, xstrdup(text));
}

static const char *set(struct settings *s, size_t i, const struct value *v,
		       const char *from)
{
	void *field = (char *)s + fields[i].offset;
	const char *flaw = fields[i].set(field, v);
	bool made_absolute =
		fields[i].set == set_path || fields[i].set == set_registry;

	if (!flaw)
		set_origin(s, i, from,
			   made_absolute ? *(char **)field : v->text);
	return flaw;
}

static const char *home_folder(void)
{
	const char *home = getenv("HOME");

	return home && *home == '/' ? home : NULL;
}

/* An XDG folder: relative ones are to be ignored, says its specification. */
static char *xdg_folder(const char *variable, const char *below_home)
{
	const char *dir = getenv(variable), *home = home_folder();

	if (dir && *dir == '/')
		return xstrdup(dir);
	return home ? xasprintf("%s/%s", home, below_home) : NULL;
}

static void load_defaults(struct settings *s)
{
	cleanup_free char *data = xdg_folder("XDG_DATA_HOME", ".local/share");
	cleanup_free char *state = xdg_folder("XDG_STATE_HOME", ".local/state");
	const char *home = home_folder();

	s->uploads_dir = state ? xasprintf("%s/mops/uploads", state) : NULL;
	for (size_t i = 0; i < N_SETTINGS; i++) {
		struct value v = {.text = infos[i].dflt};

		set_origin(s, i, "default", "");
		if (v.text)
			set(s, i, &v, "default");
	}
	s->registry = data ? xasprintf("oci:%s/mops/registry", data)
			   : xstrdup("oci:/var/lib/mops/registry");
	s->cache_dir = home ? xasprintf("%s/.modelops", home)
			    : xstrdup("/var/cache/mops");
	set_origin(s, find("registry"), "default", s->registry);
	set_origin(s, find("cache_dir"), "default", s->cache_dir);
}

/* Of a list's items; 0: it is no list. */
static char separator_of(size_t i)
{
	if (fields[i].set == set_folders)
		return ':';
	return fields[i].set == set_hosts || fields[i].set == set_buckets
		       ? ','
		       : '\0';
}

/* A list in a file becomes what it is in a variable. */
static int join_list(const struct yaml_doc *doc, const struct yaml_node *n,
		     char separator, struct strbuf *out, struct error **errp)
{
	int r = yaml_need_sequence(doc, n, n->key, errp);

	if (r < 0)
		return r;
	for (const struct yaml_node *item = n->first; item; item = item->next) {
		const char *text;

		r = yaml_need_text(doc, item, n->key, &text, errp);
		if (r < 0)
			return r;
		if (strchr(text, separator))
			return yaml_error(doc, item, errp,
					  "an item of %s has no '%c' here",
					  n->key, separator);
		if (out->len)
			strbuf_addc(out, separator);
		strbuf_adds(out, text);
	}
	return 0;
}

static int load_member(struct settings *s, const struct yaml_doc *doc,
		       const struct yaml_node *n, struct error **errp)
{
	cleanup_strbuf struct strbuf joined = STRBUF_INIT;
	struct value v = {.in_file = true, .home = home_folder()};
	size_t i = find(n->key);
	const char *flaw;
	char separator;
	int r;

	if (i == N_SETTINGS || strchr(n->key, '-'))
		return yaml_key_error(doc, n, errp, "unknown setting '%s'",
				      n->key);
	separator = separator_of(i);
	if (separator && n->kind == NODE_SEQUENCE) {
		r = join_list(doc, n, separator, &joined, errp);
		v.text = strbuf_str(&joined);
	} else {
		r = yaml_need_text(doc, n, n->key, &v.text, errp);
	}
	if (r < 0)
		return r;
	flaw = set(s, i, &v, doc->file);
	if (flaw)
		return yaml_error(doc, n, errp, "%s: '%s' %s", n->key, v.text,
				  flaw);
	return 0;
}

static int load_file(struct settings *s, const char *path, struct error **errp)
{
	cleanup_yaml_doc struct yaml_doc doc = {0};
	cleanup_free char *buf = NULL;
	size_t n;
	int r = io_read_file(AT_FDCWD, path, YAML_MAX_BYTES, &buf, &n);

	if (r == -ENOENT || r == -ENOTDIR)
		return 0;
	if (r == -EFBIG)
		return error_set(errp, EINVAL, "%s:1:1: the file is over 1 MiB",
				 path);
	if (r < 0)
		return error_set_errno(errp, -r, "cannot read '%s'", path);
	r = yaml_doc_parse(buf, n, path, &doc, errp);
	if (r < 0 || !doc.root ||
	    (doc.root->kind == NODE_SCALAR && doc.root->is_null))
		return r;
	if (doc.root->kind != NODE_MAPPING)
		return yaml_error(&doc, doc.root, errp,
				  "settings must be a mapping (key: value)");
	for (const struct yaml_node *m = doc.root->first; m && r == 0;
	     m = m->next)
		r = load_member(s, &doc, m, errp);
	return r;
}

static int load_environment(struct settings *s, struct error **errp)
{
	for (size_t i = 0; i < N_SETTINGS; i++) {
		cleanup_free char *name = xasprintf("MOPS_%s", infos[i].name);
		struct value v = {0};
		const char *flaw;

		for (char *p = name; *p; p++)
			if (*p >= 'a' && *p <= 'z')
				*p = (char)(*p - 'a' + 'A');
		v.text = getenv(name);
		if (!v.text || !*v.text)
			continue;
		flaw = set(s, i, &v, name);
		if (flaw)
			return error_set(errp, EINVAL, "%s: '%s' %s", name,
					 v.text, flaw);
	}
	return 0;
}

static int load_flag(struct settings *s, const struct settings_flag *f,
		     struct error **errp)
{
	struct value v = {.text = f->value};
	size_t i = find(f->name);
	const char *flaw;

	if (i == N_SETTINGS || !infos[i].flag)
		return error_set(errp, EINVAL, "--%s: there is no such setting",
				 f->name);
	if (!*v.text)
		return error_set(errp, EINVAL, "--%s: the value is empty",
				 f->name);
	flaw = set(s, i, &v, "flag");
	if (flaw)
		return error_set(errp, EINVAL, "--%s: '%s' %s", f->name, v.text,
				 flaw);
	return 0;
}

int settings_load_from(const char *system_file,
		       const struct settings_flag *flags, size_t n_flags,
		       struct settings *ret, struct error **errp)
{
	cleanup_free char *config = xdg_folder("XDG_CONFIG_HOME", ".config");
	cleanup_settings struct settings s = {0};
	cleanup_free char *user_file = NULL;
	int r;

	s.origins = xcalloc(N_SETTINGS, sizeof(*s.origins));
	load_defaults(&s);
	r = load_file(&s, system_file, errp);
	if (r == 0 && config) {
		user_file = xasprintf("%s/mops/config.yaml", config);
		r = load_file(&s, user_file, errp);
	}
	if (r == 0)
		r = load_environment(&s, errp);
	for (size_t i = 0; r == 0 && i < n_flags; i++)
		r = load_flag(&s, &flags[i], errp);
	if (r < 0)
		return r;
	*ret = s;
	s = (struct settings){0};
	return 0;
}

int settings_load(const struct settings_flag *flags, size_t n_flags,
		  struct settings *ret, struct error **errp)
{
	return settings_load_from(SYSTEM_FILE, flags, n_flags, ret, errp);
}

char *settings_value(const struct settings *s, const char *name,
		     const char **ret_origin)
{
	size_t i = find(name);

	if (i == N_SETTINGS)
		return NULL;
	if (ret_origin)
		*ret_origin = s->origins[i].from;
	return xstrdup(s->origins[i].text);
}

void settings_release(struct settings *s)
{
	free(s->registry);
	free(s->cache_dir);
	free(s->uploads_dir);
	free(s->role);
	free(s->ca_file);
	free(s->cert_file);
	free(s->key_file);
	strv_free(s->file_roots);
	strv_free(s->token_realms);
	strv_free(s->s3_requester_pays);
	for (size_t i = 0; s->origins && i < N_SETTINGS; i++) {
		free(s->origins[i].from);
		free(s->origins[i].text);
	}
	free(s->origins);
	*s = (struct settings){0};
}
