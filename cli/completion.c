/*
 * completion: the scripts that a shell has (completion/) ask `mops __complete`
 * (cli/complete.h). They know of no verb and no flag.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "cli/verbs.h"

static const char bash_script[] = {
#include "mops.bash.inc"
};
static const char zsh_script[] = {
#include "mops.zsh.inc"
};
static const char fish_script[] = {
#include "mops.fish.inc"
};

int verb_completion(struct cli *cli, struct error **errp)
{
	static const struct {
		const char *shell, *script;
		size_t len;
	} scripts[] = {
		{"bash", bash_script, sizeof(bash_script)},
		{"zsh", zsh_script, sizeof(zsh_script)},
		{"fish", fish_script, sizeof(fish_script)},
	};

	if (cli->json)
		return error_set(errp, EINVAL, "what a shell reads is no JSON");
	for (size_t i = 0; i < ARRAY_SIZE(scripts); i++)
		if (!strcmp(cli->args[0], scripts[i].shell)) {
			fwrite(scripts[i].script, 1, scripts[i].len, stdout);
			return 0;
		}
	return error_hint(errp,
			  error_set(errp, EINVAL,
				    "there is no completion for '%s'",
				    cli->args[0]),
			  "there is one for bash, zsh and fish");
}
