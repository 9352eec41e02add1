/* resolve and show: the same description, without and with the blobs. */
#include "cli/describe.h"
#include "cli/run.h"
#include "cli/verbs.h"

static int describe(struct cli *cli, bool blobs, struct error **errp)
{
	cleanup_run struct run run = {0};
	cleanup_bundle struct bundle *b = NULL;
	int r = run_begin(cli, &run, errp);

	if (r == 0)
		r = run_bundle(&run, cli->args[0], &b, errp);
	if (r < 0)
		return r;
	if (cli->json)
		describe_json(b, blobs);
	else
		describe_text(b, blobs);
	return 0;
}

int verb_resolve(struct cli *cli, struct error **errp)
{
	return describe(cli, false, errp);
}

int verb_show(struct cli *cli, struct error **errp)
{
	return describe(cli, true, errp);
}
