#include "engine/plan_rules.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/strbuf.h"

static const struct plan_rules all[] = {
	{
		.version = 1,
		.own_blob_min = UINT64_C(1) << 20,
		.max_own_blobs = 256,
		.step = pack_step,
		.cut = pack_cut,
	},
};

const struct plan_rules *plan_rules_newest(void)
{
	return &all[ARRAY_SIZE(all) - 1];
}

int plan_rules_find(const char *text, const struct plan_rules **ret,
		    struct error **errp)
{
	cleanup_strbuf struct strbuf known = STRBUF_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		char number[16];

		snprintf(number, sizeof(number), "%u", all[i].version);
		if (strcmp(text, number) == 0) {
			*ret = &all[i];
			return 0;
		}
		strbuf_addf(&known, "%s%s", i ? ", " : "", number);
	}
	return error_set(errp, EINVAL,
			 "there is no plan version '%s' here, only %s", text,
			 strbuf_str(&known));
}
