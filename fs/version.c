/* mopsfs version */
#include "base/escape.h"
#include "base/json.h"
#include "cli/output.h"
#include "fs/mount.h"
#include "fs/verbs.h"

#ifdef HAVE_FUSE_PASSTHROUGH
#define CAN_PASS_THROUGH true
#else
#define CAN_PASS_THROUGH false
#endif

int verb_version(struct cli *cli, struct error **errp)
{
	cleanup_strbuf struct strbuf doc = STRBUF_INIT;
	struct json_writer w;

	if (!cli->json) {
		print_line(stdout, "mopsfs %s (libfuse %s, passthrough %s)",
			   MOPS_VERSION, fuse_pkgversion(),
			   CAN_PASS_THROUGH ? "possible" : "not built in");
		return 0;
	}
	json_writer_init(&w, &doc);
	json_begin_object(&w, NULL);
	json_put_str(&w, "libfuse", fuse_pkgversion());
	json_put_bool(&w, "passthrough", CAN_PASS_THROUGH);
	json_put_str(&w, "version", MOPS_VERSION);
	json_end_object(&w);
	output_json(&doc);
	return 0;
}
