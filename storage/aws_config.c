#include "storage/aws_config.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/alloc.h"
#include "base/io.h"
#include "base/secret.h"
#include "storage/provider.h"

#define FILE_MAX (1u << 20)

static int load(const char *var, const char *name, struct ini **ret,
		struct error **errp)
{
	const char *said = provider_env(var), *home = provider_env("HOME");
	cleanup_free char *path = NULL;
	char *text = NULL;
	size_t n = 0;
	int r;

	if (!said && !home)
		return 0;
	path = said ? xstrdup(said) : xasprintf("%s/.aws/%s", home, name);
	r = io_read_file(AT_FDCWD, path, FILE_MAX, &text, &n);
	if (r == -ENOENT || r == -ENOTDIR || r == -EACCES)
		return 0;
	if (r < 0)
		return error_set_errno(errp, -r, "cannot read '%s'", path);
	r = ini_parse(text, n, ret, errp);
	wipe_free(text, n);
	return error_prefix(errp, r, "'%s'", path);
}

/* "[default]" and "[profile default]" are one; the others need the word. */
static char *section_of(const struct aws_config *c)
{
	cleanup_free char *long_name = xasprintf("profile %s", c->profile);

	if (strcmp(c->profile, "default") == 0 &&
	    !ini_has(c->config, long_name))
		return xstrdup("default");
	return steal_ptr(&long_name);
}

int aws_config_check(const struct aws_config *c, struct error **errp)
{
	cleanup_free char *section = section_of(c);

	if (ini_has(c->config, section) || ini_has(c->credentials, c->profile))
		return 0;
	return error_set(errp, EINVAL, "there is no AWS profile '%s'",
			 c->profile);
}

int aws_config_load(struct aws_config *c, struct error **errp)
{
	const char *profile = provider_env("AWS_PROFILE");
	int r;

	if (!profile)
		profile = provider_env("AWS_DEFAULT_PROFILE");
	*c = (struct aws_config){
		.profile = xstrdup(profile ? profile : "default")};
	r = load("AWS_CONFIG_FILE", "config", &c->config, errp);
	if (r == 0)
		r = load("AWS_SHARED_CREDENTIALS_FILE", "credentials",
			 &c->credentials, errp);
	if (r == 0 && profile)
		r = aws_config_check(c, errp);
	if (r < 0)
		aws_config_release(c);
	return r;
}

void aws_config_release(struct aws_config *c)
{
	ini_free(c->config);
	ini_free(c->credentials);
	free(c->profile);
	*c = (struct aws_config){0};
}

const char *aws_config_get(const struct aws_config *c, const char *key,
			   const char *sub)
{
	cleanup_free char *section = section_of(c);

	return ini_get(c->config, section, key, sub);
}

const char *aws_config_secret(const struct aws_config *c, const char *key)
{
	return ini_get(c->credentials, c->profile, key, NULL);
}

const char *aws_config_endpoint(const struct aws_config *c, const char *name)
{
	const char *services = aws_config_get(c, "services", NULL);
	const char *url = NULL;

	if (services) {
		cleanup_free char *section = xasprintf("services %s", services);

		url = ini_get(c->config, section, name, "endpoint_url");
	}
	return url ? url : aws_config_get(c, "endpoint_url", NULL);
}
