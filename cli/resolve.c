/* resolve and show: the same description, without and with the blobs; or as a
 * page. */
#include <stdio.h>

#include "base/escape.h"
#include "cli/describe.h"
#include "cli/page/page.h"
#include "cli/run.h"
#include "cli/verbs.h"

const struct arg_option options_show[] = {
	{"html", 0, "FILE", false, "a page for a browser, with all sizes"},
	{0},
};

static int describe(struct cli *cli, bool blobs, struct error **errp)
{
	cleanup_run struct run run = {0};
	cleanup_bundle struct bundle *b = NULL;
	const char *html = cli_value(cli, "html");
	int r = run_begin(cli, &run, errp);

	if (r == 0)
		r = run_bundle(&run, cli->args[0], &b, errp);
	if (r == 0 && html)
		r = page_write(&run, b, html, errp);
	if (r < 0)
		return r;
	if (cli->json)
		describe_json(b, blobs);
	else if (html)
		print_line(stdout, "%s", digest_to_str(&b->digest).str);
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
