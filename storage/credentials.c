#include "storage/credentials.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/alloc.h"
#include "base/io.h"
#include "base/secret.h"
#include "storage/credential_helper.h"
#include "storage/docker_config.h"

struct credentials {
	char **files; /* in their order, or */
	const struct login *login;
};

static const char *variable(const char *name)
{
	const char *s = getenv(name);

	return s && *s ? s : NULL;
}

static char *below(const char *folder, const char *path)
{
	return folder ? xasprintf("%s/%s", folder, path) : NULL;
}

static void add(struct credentials *c, char *take_file)
{
	if (take_file)
		strv_append(&c->files, take_file);
}

/* NULL: it has no name. */
static char *docker_file(void)
{
	const char *docker = variable("DOCKER_CONFIG");

	return docker ? below(docker, "config.json")
		      : below(variable("HOME"), ".docker/config.json");
}

char *credentials_file(void)
{
	const char *file = variable("REGISTRY_AUTH_FILE");

	return file ? xstrdup(file) : docker_file();
}

struct credentials *credentials_new(void)
{
	struct credentials *c = xcalloc(1, sizeof(*c));
	const char *home = variable("HOME");
	const char *file = variable("REGISTRY_AUTH_FILE");
	const char *runtime = variable("XDG_RUNTIME_DIR");
	const char *config = variable("XDG_CONFIG_HOME");

	add(c, file ? xstrdup(file) : NULL);
	add(c, docker_file());
	add(c, runtime ? below(runtime, "containers/auth.json")
		       : xasprintf("/run/containers/%u/auth.json",
				   (unsigned)geteuid()));
	add(c, config ? below(config, "containers/auth.json")
		      : below(home, ".config/containers/auth.json"));
	return c;
}

struct credentials *credentials_of(const struct login *login)
{
	struct credentials *c = xcalloc(1, sizeof(*c));

	c->login = login;
	return c;
}

void credentials_free(struct credentials *c)
{
	if (!c)
		return;
	strv_free(c->files);
	free(c);
}

/* The helper's, or what the file itself has; *@ret_source: which it was. */
static int use_match(struct docker_config_match *m, const char *file,
		     const char *host, struct login *ret, char **ret_source,
		     const struct op *op, struct error **errp)
{
	int r = 0;

	if (m->helper)
		r = credential_helper_get(m->helper, docker_config_server(host),
					  ret, op, errp);
	if (r > 0 && ret_source)
		*ret_source = xasprintf("helper 'docker-credential-%s' of '%s'",
					m->helper, file);
	if (r != 0 || !m->has_login)
		return r;
	*ret = m->login;
	m->login = (struct login){0};
	if (ret_source)
		*ret_source = xasprintf("'%s'", file);
	return 1;
}

/* @ret_source, when not NULL, gets where a login that is found is from. */
static int look_into(const char *file, const char *host, const char *repo,
		     struct login *ret, char **ret_source, const struct op *op,
		     struct error **errp)
{
	cleanup_docker_config_match struct docker_config_match m = {0};
	char *text = NULL;
	size_t n = 0;
	int r = io_read_file(AT_FDCWD, file, DOCKER_CONFIG_MAX, &text, &n);

	if (r == -ENOENT || r == -ENOTDIR)
		return 0;
	if (r < 0)
		return error_set_errno(errp, -r, "cannot read '%s'", file);
	r = docker_config_find(text, n, host, repo, &m, errp);
	wipe_free(text, n);
	if (r < 0)
		return error_prefix(errp, r, "'%s'", file);
	r = use_match(&m, file, host, ret, ret_source, op, errp);
	return r < 0 ? error_prefix(errp, r, "'%s'", file) : r;
}

static int look_up(const struct credentials *c, const char *host,
		   const char *repo, struct login *ret, char **ret_source,
		   const struct op *op, struct error **errp)
{
	int r = 0;

	for (char **file = c->files; file && *file && r == 0; file++)
		r = look_into(*file, host, repo, ret, ret_source, op, errp);
	if (r < 0)
		error_hint(errp, r, "--anonymous does without credentials");
	return r;
}

int credentials_get(const struct credentials *c, const char *host,
		    const char *repo, struct login *ret, const struct op *op,
		    struct error **errp)
{
	if (c->login) {
		*ret = (struct login){
			.user = xstrdup(c->login->user),
			.secret = xstrdup(c->login->secret),
		};
		return 1;
	}
	return look_up(c, host, repo, ret, NULL, op, errp);
}

int credentials_source(const struct credentials *c, const char *host,
		       const char *repo, char **ret, const struct op *op,
		       struct error **errp)
{
	cleanup_login struct login unseen = {0};

	return look_up(c, host, repo, &unseen, ret, op, errp);
}
