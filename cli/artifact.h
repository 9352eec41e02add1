/*
 * Artifacts that are no bundles, for the verbs that can do with titles alone.
 * Both are called after opening the bundle failed with *@take_err, which they
 * hand on when there is nothing with a title.
 */
#ifndef CLI_ARTIFACT_H
#define CLI_ARTIFACT_H

#include "cli/run.h"
#include "engine/artifact.h"

int run_artifact_pull(struct run *run, const char *text,
		      const struct artifact_pull *o, struct error **take_err,
		      struct error **errp);
/* @path: "" or one file or folder; a folder's own names unless @recursive. */
int run_artifact_list(struct run *run, const char *text, const char *path,
		      bool is_long, bool recursive, struct error **take_err,
		      struct error **errp);

#endif
