#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/escape.h"
#include "base/io.h"
#include "base/path.h"
#include "cli/output.h"
#include "cli/verbs.h"
#include "engine/bundle_file.h"
#include "storage/registry.h"

const struct arg_option options_init[] = {
	{"name", 0, "NAME", false,
	 "name of the bundle (default: the folder's)"},
	{"version", 0, "VERSION", false,
	 "version of the bundle (default: 0.1.0)"},
	{0},
};

static const char text[] =
	"# What 'mops push' takes from this folder. See mops-bundle(5).\n"
	"bundle:\n"
	"  name: %s\n"
	"  version: %s\n"
	"  # A layer is a group of files that is stored and shared as one. "
	"The\n"
	"  # first layer that matches owns a file; '**' crosses folders.\n"
	"  layers:\n"
	"    - name: data\n"
	"      paths: [\"**\"]\n"
	"      # ignore: [\"**/__pycache__/**\"]\n"
	"  # A role names the layers that one kind of task needs.\n"
	"  roles:\n"
	"    default: [data]\n"
	"# Big files may live in an object store; the first match wins.\n"
	"# external_storage:\n"
	"#   - pattern: \"weights/**\"\n"
	"#     min_size: 1GB\n"
	"#     storage: \"s3://bucket/prefix/\"\n";

/* The folder's own name, made to fit the grammar of repositories. */
static char *name_of_folder(const char *dir)
{
	cleanup_free char *real = realpath(dir, NULL);
	const char *base = real ? strrchr(real, '/') : NULL;
	char *name = xstrdup(base ? base + 1 : "");

	for (char *p = name; *p; p++) {
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p - 'A' + 'a');
		else if (!((*p >= 'a' && *p <= 'z') ||
			   (*p >= '0' && *p <= '9')))
			*p = '-';
	}
	if (repo_name_valid(name))
		return name;
	free(name);
	return xstrdup("bundle");
}

static int write_file(const char *dir, const struct strbuf *doc,
		      struct error **errp)
{
	cleanup_free char *file = xasprintf("%s/%s", dir, BUNDLE_FILE_NAME);
	cleanup_fd int fd =
		open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	int r;

	if (fd < 0 && errno == EEXIST)
		return error_set_kind(errp, ERROR_CONFLICT, EEXIST,
				      "'%s' is there already", file);
	if (fd < 0)
		return error_set_errno(errp, errno, "creating '%s'", file);
	r = io_write_full(fd, doc->buf, doc->len);
	if (r < 0)
		return error_set_errno(errp, -r, "writing '%s'", file);
	print_line(stdout, "wrote %s", file);
	return 0;
}

int verb_init(struct cli *cli, struct error **errp)
{
	const char *dir = cli->n_args ? cli->args[0] : ".";
	const char *name = cli_value(cli, "name");
	const char *version = cli_value(cli, "version");
	cleanup_free char *made = name ? NULL : name_of_folder(dir);
	cleanup_strbuf struct strbuf doc = STRBUF_INIT;

	if (name && !repo_name_valid(name))
		return error_set(errp, EINVAL, "'%s' is not a bundle name",
				 name);
	if (version && !tag_valid(version))
		return error_set(errp, EINVAL, "'%s' is not a version",
				 version);
	strbuf_addf(&doc, text, name ? name : made,
		    version ? version : "0.1.0");
	return write_file(dir, &doc, errp);
}
