#include <stdio.h>

#include "cli/output.h"
#include "cli/verbs.h"
#include "engine/plan_rules.h"

int verb_version(struct cli *cli, struct error **errp)
{
	cleanup_strbuf struct strbuf doc = STRBUF_INIT;
	struct json_writer w;

	(void)errp;
	if (!cli->json) {
		printf("mops %s\n", MOPS_VERSION);
		return 0;
	}
	json_writer_init(&w, &doc);
	json_begin_object(&w, NULL);
	json_put_int(&w, "plan_version", plan_rules_newest()->version);
	json_put_str(&w, "version", MOPS_VERSION);
	json_end_object(&w);
	output_json(&doc);
	return 0;
}
