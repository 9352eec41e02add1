#include "engine/settings.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/io.h"
#include "base/strbuf.h"
#include "base/uri.h"
#include "engine/setting_values.h"
#include "engine/yaml_events.h"

#define SYSTEM_FILE "/etc/mops/config.yaml"

/* Where the value of each setting came from; one per row of the table. */
struct settings_origin {
	char *from;
	char *text;
};

/* A setting: what flags and help know of it, and where its value goes. */
struct row {
	struct setting_info info;
	setting_fn *set;
	size_t field;   /* offset in struct settings */
	char separator; /* of a list's items; 0: it is no list */
};
#define ROW(name, flag, is_switch, help, dflt, fn, field, separator) \
	{                                                            \
		{name, flag, is_switch, help, dflt}, fn,             \
			offsetof(struct settings, field), separator  \
	}

static const struct row rows[] = {
	ROW("registry", true, false,
	    "where bare names resolve: host[:port][/prefix] or oci:<folder>",
	    NULL, setting_registry, registry, 0),
	ROW("cache_dir", true, false, "the cache's folder", NULL, setting_path,
	    cache_dir, 0),
	ROW("role", true, false, "the role to use", NULL, setting_role, role,
	    0),
	ROW("offline", true, true, "use what is in the cache alone", "false",
	    setting_switch, offline, 0),
	ROW("concurrency", true, false, "transfers at once (1 to 256)", "8",
	    setting_concurrency, concurrency, 0),
	ROW("limit_rate", true, false,
	    "bytes per second over all transfers, 0: "
	    "no limit (10MB)",
	    "0", setting_size, limit_rate, 0),
	ROW("plain_http", true, true,
	    "speak http to registries elsewhere than on loopback, too", "false",
	    setting_switch, plain_http, 0),
	ROW("anonymous", true, true, "use no credentials", "false",
	    setting_switch, anonymous, 0),
	ROW("require_digest", true, true, "refuse references without a digest",
	    "false", setting_switch, require_digest, 0),
	ROW("ca_file", true, false,
	    "file or folder of authorities to trust in place of the system's",
	    NULL, setting_path, ca_file, 0),
	ROW("cert_file", true, false, "client certificate", NULL, setting_path,
	    cert_file, 0),
	ROW("key_file", true, false, "key of the client certificate", NULL,
	    setting_path, key_file, 0),
	ROW("connect_timeout", true, false, "for one connection", "10s",
	    setting_duration, times.connect_ms, 0),
	ROW("stall_timeout", true, false, "below 1 KiB/s", "20s",
	    setting_duration, times.stall_ms, 0),
	ROW("io_timeout", true, false,
	    "budget of one operation or read without "
	    "progress; 'hard': for ever",
	    "120s", setting_duration_or_hard, times.io_ms, 0),
	ROW("cache_max_size", false, false,
	    "the most that the cache is to take: 20GiB; 0: no limit", "0",
	    setting_size, cache_max_size, 0),
	ROW("cache_min_free", false, false,
	    "what the cache's file system is to have free; 0: any", "0",
	    setting_size, cache_min_free, 0),
	ROW("cache_shared", false, false,
	    "private, or group: each member of a group has a cache below the "
	    "folder, and reads the others'",
	    "private", setting_shared, cache_shared, 0),
	ROW("cache_alternates", false, false,
	    "caches, such as a site's, that are read below one's own", NULL,
	    setting_folders, cache_alternates, ':'),
	ROW("file_roots", false, false,
	    "folders below which file:// pointers may be opened", NULL,
	    setting_folders, file_roots, ':'),
	ROW("token_realms", false, false,
	    "token services on foreign sites that may see a registry's login",
	    NULL, setting_hosts, token_realms, ','),
	ROW("mirrors", false, false,
	    "registries to read content of others from, in their order: "
	    "HOST=[http[s]://]MIRROR[/PREFIX],…",
	    NULL, setting_mirrors, mirrors, ','),
	ROW("s3_requester_pays", false, false,
	    "buckets whose reading this user pays for", NULL, setting_buckets,
	    s3_requester_pays, ','),
};

#define N_SETTINGS ARRAY_SIZE(rows)

const struct setting_info *settings_info(size_t i)
{
	return i < N_SETTINGS ? &rows[i].info : NULL;
}

/* Row of a name that may be written with dashes; N_SETTINGS: none. */
static size_t find(const char *name)
{
	for (size_t i = 0; i < N_SETTINGS; i++) {
		const char *a = rows[i].info.name, *b = name;

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
	setting_replace(&s->origins[i].from, xstrdup(from));
	setting_replace(&s->origins[i].text, xstrdup(text));
}

static const char *set(struct settings *s, size_t i,
		       const struct setting_value *v, const char *from)
{
	void *field = (char *)s + rows[i].field;
	const char *flaw = rows[i].set(field, v);
	bool made_absolute =
		rows[i].set == setting_path || rows[i].set == setting_registry;

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
		struct setting_value v = {.text = rows[i].info.dflt};

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

#define QUOTED_MAX 64

/* A value that is refused, as an error quotes it; heap. */
static char *quoted(const char *value)
{
	cleanup_free char *text = uri_without_secrets(value);
	size_t n = 0, chars = 0;

	while (text[n] && (chars < QUOTED_MAX || (text[n] & 0xc0) == 0x80)) {
		chars += (text[n] & 0xc0) != 0x80; /* not within one */
		n++;
	}
	return xasprintf("'%.*s%s'", (int)n, text, text[n] ? "…" : "");
}

static int load_member(struct settings *s, const struct yaml_doc *doc,
		       const struct yaml_node *n, struct error **errp)
{
	cleanup_strbuf struct strbuf joined = STRBUF_INIT;
	struct setting_value v = {.in_file = true, .home = home_folder()};
	size_t i = find(n->key);
	const char *flaw;
	char separator;
	int r;

	if (i == N_SETTINGS || strchr(n->key, '-'))
		return yaml_key_error(doc, n, errp, "unknown setting '%s'",
				      n->key);
	separator = rows[i].separator;
	if (separator && n->kind == NODE_SEQUENCE) {
		r = join_list(doc, n, separator, &joined, errp);
		v.text = strbuf_str(&joined);
	} else {
		r = yaml_need_text(doc, n, n->key, &v.text, errp);
	}
	if (r < 0)
		return r;
	flaw = set(s, i, &v, doc->file);
	if (flaw) {
		cleanup_free char *value = quoted(v.text);

		return yaml_error(doc, n, errp, "%s: %s %s", n->key, value,
				  flaw);
	}
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
		cleanup_free char *name =
			xasprintf("MOPS_%s", rows[i].info.name);
		struct setting_value v = {0};
		const char *flaw;

		for (char *p = name; *p; p++)
			if (*p >= 'a' && *p <= 'z')
				*p = (char)(*p - 'a' + 'A');
		v.text = getenv(name);
		if (!v.text || !*v.text)
			continue;
		flaw = set(s, i, &v, name);
		if (flaw) {
			cleanup_free char *value = quoted(v.text);

			return error_set(errp, EINVAL, "%s: %s %s", name, value,
					 flaw);
		}
	}
	return 0;
}

static int load_flag(struct settings *s, const struct settings_flag *f,
		     struct error **errp)
{
	struct setting_value v = {.text = f->value};
	size_t i = find(f->name);
	const char *flaw;

	if (i == N_SETTINGS || !rows[i].info.flag)
		return error_set(errp, EINVAL, "--%s: there is no such setting",
				 f->name);
	if (!*v.text)
		return error_set(errp, EINVAL, "--%s: the value is empty",
				 f->name);
	flaw = set(s, i, &v, "flag");
	if (flaw) {
		cleanup_free char *value = quoted(v.text);

		return error_set(errp, EINVAL, "--%s: %s %s", f->name, value,
				 flaw);
	}
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
	strv_free(s->cache_alternates);
	strv_free(s->token_realms);
	strv_free(s->mirrors);
	strv_free(s->s3_requester_pays);
	for (size_t i = 0; s->origins && i < N_SETTINGS; i++) {
		free(s->origins[i].from);
		free(s->origins[i].text);
	}
	free(s->origins);
	*s = (struct settings){0};
}
