/* mopsfs prefetch DIR pause|resume */
#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/json.h"
#include "cli/output.h"
#include "fs/control.h"
#include "fs/mountinfo.h"
#include "fs/verbs.h"

static int take(const struct cli *cli, const struct mount_entry *e,
		const struct strbuf *answer, struct error **errp)
{
	cleanup_json struct json *j = NULL;
	int r = json_parse(answer->buf, answer->len, &JSON_LIMITS_DOC, &j,
			   errp);
	const char *state, *why;

	if (r < 0)
		return error_prefix(errp, r, "the mount's answer");
	state = json_str(json_get(j, "state"));
	why = json_str(json_get(j, "why"));
	if (!state)
		return error_set_kind(errp, ERROR_VALIDATION, EINVAL,
				      "'%s': %s", e->dir,
				      why ? why : "no state");
	if (cli->json)
		output_json(answer);
	return 0;
}

int verb_prefetch(struct cli *cli, struct error **errp)
{
	cleanup_mount_list struct mount_list mounts = {0};
	cleanup_strbuf struct strbuf answer = STRBUF_INIT;
	cleanup_free char *what = xasprintf("prefetch %s", cli->args[1]);
	const struct mount_entry *e;
	int r;

	if (strcmp(cli->args[1], "pause") && strcmp(cli->args[1], "resume"))
		return error_set(errp, EINVAL,
				 "'%s' is neither pause nor resume",
				 cli->args[1]);
	r = mount_list_find_ours(cli->args[0], &mounts, &e, errp);
	if (r < 0)
		return r;
	r = control_ask(e->major, e->minor, what, CONTROL_PATIENCE_S, &answer);
	if (r < 0)
		return error_set_errno(errp, -r, "asking the mount on '%s'",
				       e->dir);
	return take(cli, e, &answer, errp);
}
