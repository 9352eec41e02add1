#include "storage/http_tls.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/io.h"
#include "base/strbuf.h"
#include "storage/http_internal.h"

#define HTTPS_PORT   443
#define LIFE_MS      60000 /* until files are looked at again */
#define KEPT_AT_MOST 256   /* hosts; a hostile server can name many */

void http_tls_unref(struct http_tls *t)
{
	if (!t || atomic_fetch_sub(&t->refs, 1) > 1)
		return;
	free(t->ca);
	free(t->cert_file);
	free(t->key_file);
	free(t);
}

static void unrefp(struct http_tls **t)
{
	http_tls_unref(*t);
}

/*
 * Files.
 */

/* Never "not found": that is said of bundles. */
static int cannot_read(const char *path, int code, struct error **errp)
{
	return error_set(errp, EIO, "cannot read '%s': %s", path,
			 strerror(code));
}

static bool ends_in(const char *s, const char *suffix)
{
	size_t n = strlen(s), m = strlen(suffix);

	return n > m && strcmp(s + n - m, suffix) == 0;
}

/* Sorted names in @folder; 0 when there is none such. */
static int names_in(const char *folder, char ***ret, struct error **errp)
{
	cleanup_dir DIR *dir = opendir(folder);
	struct dirent *de;

	if (!dir && (errno == ENOENT || errno == ENOTDIR))
		return 0;
	if (!dir)
		return cannot_read(folder, errno, errp);
	while ((de = readdir(dir))) {
		if (*de->d_name == '.')
			continue;
		if (strv_len(*ret) == TLS_FILES_MAX)
			return error_set(errp, EFBIG, "'%s' has too many files",
					 folder);
		strv_append(ret, xstrdup(de->d_name));
	}
	strv_sort(*ret);
	return 1;
}

static int add_ca(struct strbuf *pem, const char *path, struct error **errp)
{
	cleanup_free char *text = NULL;
	size_t n;
	int r = io_read_file(AT_FDCWD, path, TLS_FILE_MAX, &text, &n);

	if (r < 0)
		return cannot_read(path, -r, errp);
	if (pem->len + n + 1 > TLS_CA_MAX)
		return error_set(errp, EFBIG,
				 "'%s': over 8 MiB of certificates", path);
	strbuf_add(pem, text, n);
	strbuf_addc(pem, '\n');
	return 0;
}

static int add_folder(struct strbuf *pem, const char *folder,
		      char *const *names, struct error **errp)
{
	int r = 0;

	for (; names && *names && r == 0; names++) {
		cleanup_free char *path = xasprintf("%s/%s", folder, *names);

		if (ends_in(*names, ".crt") || ends_in(*names, ".pem"))
			r = add_ca(pem, path, errp);
	}
	return r;
}

static int load_trust(const char *ca, struct strbuf *pem, struct error **errp)
{
	cleanup_strv char **names = NULL;
	int r;

	r = names_in(ca, &names, errp);
	if (r < 0)
		return r;
	if (r == 0)
		return add_ca(pem, ca, errp);
	r = add_folder(pem, ca, names, errp);
	if (r == 0 && !pem->len)
		return error_set(errp, EIO, "'%s' holds no *.crt and no *.pem",
				 ca);
	return r;
}

/*
 * certs.d.
 */

static int take_pair(struct http_tls *t, const char *folder, const char *cert,
		     struct error **errp)
{
	cleanup_free char *path = xasprintf("%s/%s", folder, cert);
	cleanup_free char *key = xasprintf(
		"%.*s.key", (int)(strlen(path) - strlen(".cert")), path);

	if (access(key, R_OK) < 0)
		return cannot_read(key, errno, errp);
	t->cert_file = steal_ptr(&path);
	t->key_file = steal_ptr(&key);
	return 0;
}

/* 1: there is such a folder, whatever it holds. */
static int load_folder(struct http_tls *t, const char *folder,
		       struct strbuf *pem, struct error **errp)
{
	cleanup_strv char **names = NULL;
	int r = names_in(folder, &names, errp);

	for (char **n = names; r > 0 && n && *n; n++) {
		cleanup_free char *path = xasprintf("%s/%s", folder, *n);

		if (ends_in(*n, ".crt"))
			r = add_ca(pem, path, errp);
		else if (ends_in(*n, ".cert") && !t->cert_file)
			r = take_pair(t, folder, *n, errp);
		r = r < 0 ? r : 1;
	}
	return r;
}

static int load_host(struct http_tls *t, const char *root, const char *host,
		     uint16_t port, struct strbuf *pem, struct error **errp)
{
	const char *open = strchr(host, ':') ? "[" : "";
	const char *close = *open ? "]" : "";
	cleanup_free char *with_port =
		xasprintf("%s/%s%s%s:%u", root, open, host, close, port);
	cleanup_free char *bare =
		xasprintf("%s/%s%s%s", root, open, host, close);
	int r = load_folder(t, with_port, pem, errp);

	if (r == 0 && port == HTTPS_PORT)
		r = load_folder(t, bare, pem, errp);
	return r;
}

int http_tls_load(const char *ca, const char *const *roots, const char *host,
		  uint16_t port, struct http_tls **ret, struct error **errp)
{
	__attribute__((cleanup(unrefp))) struct http_tls *t =
		xcalloc(1, sizeof(*t));
	cleanup_strbuf struct strbuf pem = STRBUF_INIT;
	int r = 0;

	t->refs = 1;
	t->ca_alone = ca != NULL;
	if (ca)
		r = load_trust(ca, &pem, errp);
	for (; r == 0 && roots && *roots; roots++)
		r = load_host(t, *roots, host, port, &pem, errp);
	if (r < 0)
		return r;
	t->ca_len = pem.len;
	t->ca = pem.len ? strbuf_steal(&pem) : NULL;
	*ret = steal_ptr(&t);
	return 0;
}

char **http_tls_roots(void)
{
	const char *config = getenv("XDG_CONFIG_HOME");
	const char *home = getenv("HOME");
	cleanup_free char *own = NULL;
	char **roots = NULL;

	if (config && *config == '/')
		own = xstrdup(config);
	else if (home && *home == '/')
		own = xasprintf("%s/.config", home);
	if (own)
		strv_append(&roots, xasprintf("%s/containers/certs.d", own));
	strv_append(&roots, xstrdup("/etc/containers/certs.d"));
	if (own)
		strv_append(&roots, xasprintf("%s/docker/certs.d", own));
	strv_append(&roots, xstrdup("/etc/docker/certs.d"));
	return roots;
}

/*
 * What a client knows already.
 */

struct tls_entry {
	struct http_tls *tls;
	int64_t until_ns;
};

static void entry_free(struct tls_entry *e)
{
	if (e)
		http_tls_unref(e->tls);
	free(e);
}

static void drop_all_locked(struct http_client *c) REQUIRES(&c->lock)
{
	size_t pos = 0;
	void *e;

	while (map_next(&c->tls, &pos, NULL, NULL, &e))
		entry_free(e);
	map_release(&c->tls);
	c->tls = (struct map)MAP_INIT;
}

void http_tls_release(struct http_client *c)
{
	mutex_lock(&c->lock);
	drop_all_locked(c);
	mutex_unlock(&c->lock);
}

static struct http_tls *known(struct http_client *c, const char *key)
{
	struct http_tls *t = NULL;
	struct tls_entry *e;

	mutex_lock(&c->lock);
	e = map_get_str(&c->tls, key);
	if (e && time_mono_ns() < e->until_ns) {
		t = e->tls;
		atomic_fetch_add(&t->refs, 1);
	}
	mutex_unlock(&c->lock);
	return t;
}

static void keep(struct http_client *c, const char *key, struct http_tls *t)
{
	struct tls_entry *e = xcalloc(1, sizeof(*e));

	e->tls = t;
	e->until_ns = time_deadline_ms(LIFE_MS);
	atomic_fetch_add(&t->refs, 1);
	mutex_lock(&c->lock);
	if (map_count(&c->tls) >= KEPT_AT_MOST)
		drop_all_locked(c);
	entry_free(map_put_str(&c->tls, key, e));
	mutex_unlock(&c->lock);
}

int http_tls_get(struct http_client *c, const struct http_url *u,
		 const char *ca_file, struct http_tls **ret,
		 struct error **errp)
{
	cleanup_free char *origin = http_origin(u);
	cleanup_free char *key =
		xasprintf("%s %s", origin, ca_file ? ca_file : "");
	struct http_tls *t = known(c, key);
	int r = 0;

	if (!t) {
		r = http_tls_load(ca_file ? ca_file : c->ca_file,
				  (const char *const *)c->cert_roots, u->host,
				  u->port, &t, errp);
		if (r == 0)
			keep(c, key, t);
	}
	if (r == 0)
		*ret = t;
	return r;
}
