/* mops: the table of its verbs. */
#include "cli/verbs.h"
#include "cli/words.h"

static const struct verb verbs[] = {
	{"init", "[DIR]", "write a commented .mops-bundle.yaml", 0, 1,
	 options_init, verb_init},
	{"scan", "[DIR]", "list what a folder's layers hold, without network",
	 0, 1, options_scan, verb_scan},
	{"plan", "[DIR]", "say where a push would put each file", 0, 1,
	 options_plan, verb_plan},
	{"push", "[DIR]", "upload what is missing, then move the tag", 0, 1,
	 options_push, verb_push},
	{"resolve", "REF", "print the digest, roles and layers of a bundle", 1,
	 1, NULL, verb_resolve},
	{"pull", "REF", "fill the cache so that a role works offline", 1, 1,
	 options_pull, verb_pull},
	{"warm", "REF|PATH",
	 "make a role, or files of a mount, local before a job starts", 1, 1,
	 NULL, verb_warm},
	{"materialize", "REF DIR", "write a role's files into a folder", 2, 2,
	 options_materialize, verb_materialize},
	{"show", "REF", "describe a bundle: layers, roles, blobs", 1, 1,
	 options_show, verb_show},
	{"ls", "REF [PATH]", "list files without pulling them", 1, 2,
	 options_ls, verb_ls},
	{"cat", "REF PATH", "print a file without pulling the rest", 2, 2, NULL,
	 verb_cat},
	{"diff", "A B", "say what lies between two bundles or folders", 2, 2,
	 options_diff, verb_diff},
	{"list", "", "list the bundles of a registry", 0, 0, NULL, verb_list},
	{"tags", "NAME", "list the tags of a bundle", 1, 1, NULL, verb_tags},
	{"copy", "SRC DST", "copy a bundle to another registry or folder", 2, 2,
	 options_copy, verb_copy},
	{"rm", "REF", "have a registry forget a tag or a manifest", 1, 1,
	 options_rm, verb_rm},
	{"login", "[HOST]", "try a registry's login, and keep it", 0, 1,
	 options_login, verb_login},
	{"logout", "[HOST]", "forget a registry's login", 0, 1, NULL,
	 verb_logout},
	{"verify", "[REF]", "check a bundle at its registry, or the cache", 0,
	 1, options_verify, verb_verify},
	{"cache", "ls|du|gc|pin|unpin|path [REF|DIGEST]",
	 "see what is cached, keep it, or make room", 1, 2, options_cache,
	 verb_cache},
	{"export", "REF|DIR", "write a deterministic archive", 1, 1,
	 options_export, verb_export},
	{"import", "FILE", "unpack an archive, and push it if asked", 1, 1,
	 options_import, verb_import},
	{"doctor", "[REF]",
	 "say what this machine can do, and how to mend what is missing", 0, 1,
	 NULL, verb_doctor},
	{"completion", "bash|zsh|fish", "print a script for a shell's TAB", 1,
	 1, NULL, verb_completion},
	{"version", "", "print the version", 0, 0, NULL, verb_version},
	{"help", "[COMMAND]", "explain a command", 0, 1, NULL, NULL},
	{0},
};

static const struct program mops = {
	.name = "mops",
	.summary = "push, pull, look into and verify model bundles",
	.verbs = verbs,
	.words = words_from_cache,
};

int main(int argc, char **argv)
{
	return cli_main(&mops, argc, argv);
}
