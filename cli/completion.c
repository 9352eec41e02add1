/*
 * completion: the scripts that have a shell ask `mops __complete`
 * (cli/complete.h). They know of no verb and no flag.
 *
 * Bash cuts words at ':', '=' and '@' as well as at blanks; the script puts
 * them together again, and leaves away from its answers what bash would leave
 * standing.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/verbs.h"

static const char bash_script[] =
	"# bash completion for mops and mopsfs\n"
	"_mops()\n"
	"{\n"
	"\tlocal i part glue=1 line word cur keep program=${1/#\\~/$HOME}\n"
	"\tlocal -a words=()\n"
	"\tfor ((i = 1; i <= COMP_CWORD; i++)); do\n"
	"\t\tpart=${COMP_WORDS[i]}\n"
	"\t\tif [[ $part == +([:=@]) && ${#words[@]} -gt 0 ]]; then\n"
	"\t\t\twords[-1]+=$part\n"
	"\t\t\tglue=1\n"
	"\t\telif [[ $glue == 1 && ${#words[@]} -gt 0 ]]; then\n"
	"\t\t\twords[-1]+=$part\n"
	"\t\t\tglue=0\n"
	"\t\telse\n"
	"\t\t\twords+=(\"$part\")\n"
	"\t\t\tglue=0\n"
	"\t\tfi\n"
	"\tdone\n"
	"\tcur=${words[-1]}\n"
	"\tkeep=${cur%\"${cur##*[:=@]}\"}\n"
	"\tCOMPREPLY=()\n"
	"\twhile IFS= read -r line; do\n"
	"\t\tcase $line in\n"
	"\t\t:files | :dirs)\n"
	"\t\t\tcompopt -o filenames\n"
	"\t\t\tpart=-f\n"
	"\t\t\t[[ $line == :dirs ]] && part=-d\n"
	"\t\t\twhile IFS= read -r word; do\n"
	"\t\t\t\tCOMPREPLY+=(\"$word\")\n"
	"\t\t\tdone < <(compgen \"$part\" -- \"${cur#--*=}\")\n"
	"\t\t\t;;\n"
	"\t\t*)\n"
	"\t\t\tword=${line%%$'\\t'*}\n"
	"\t\t\t[[ $word == */ ]] && compopt -o nospace\n"
	"\t\t\tprintf -v word %q \"${word#\"$keep\"}\"\n"
	"\t\t\tCOMPREPLY+=(\"$word\")\n"
	"\t\t\t;;\n"
	"\t\tesac\n"
	"\tdone < <(\"$program\" __complete \"${words[@]}\" 2>/dev/null)\n"
	"}\n"
	"complete -F _mops mops mopsfs\n";

static const char zsh_script[] =
	"#compdef mops mopsfs\n"
	"_mops()\n"
	"{\n"
	"\tlocal line program=${~words[1]} files=\n"
	"\tlocal -a names texts folders\n"
	"\tfor line in \"${(@f)$($program __complete "
	"\"${(@Q)words[2,CURRENT-1]}\" \"${(Q)PREFIX}\" 2>/dev/null)}\"; do\n"
	"\t\tcase $line in\n"
	"\t\t('') ;;\n"
	"\t\t(:files) files=all ;;\n"
	"\t\t(:dirs) files=dirs ;;\n"
	"\t\t(*/$'\\t'*) folders+=(\"${line%%$'\\t'*}\") ;;\n"
	"\t\t(*)\n"
	"\t\t\tnames+=(\"${line%%$'\\t'*}\")\n"
	"\t\t\ttexts+=(\"${line%%$'\\t'*}  ${line#*$'\\t'}\")\n"
	"\t\t\t;;\n"
	"\t\tesac\n"
	"\tdone\n"
	"\t(( $#names )) && compadd -l -d texts -a names\n"
	"\t(( $#folders )) && compadd -S '' -a folders\n"
	"\t[[ -n $files && $PREFIX == --*=* ]] && compset -P '*='\n"
	"\tcase $files in\n"
	"\t(all) _files ;;\n"
	"\t(dirs) _files -/ ;;\n"
	"\tesac\n"
	"}\n"
	"if [[ $funcstack[1] == _mops ]]; then\n"
	"\t_mops \"$@\"\n"
	"else\n"
	"\tcompdef _mops mops mopsfs\n"
	"fi\n";

static const char fish_script[] =
	"# fish completion for mops and mopsfs\n"
	"function __mops_complete\n"
	"\tset -l words (commandline -opc)\n"
	"\tset -l current (commandline -ct)\n"
	"\tset -l flag (string match -r '^--[^=]*=' -- $current)\n"
	"\tset -l path (string replace -r '^--[^=]*=' '' -- $current)\n"
	"\tset -l program $words[1]\n"
	"\tset -e words[1]\n"
	"\tfor line in ($program __complete $words \"$current\" 2>/dev/null)\n"
	"\t\tswitch $line\n"
	"\t\tcase :files\n"
	"\t\t\tfor p in (__fish_complete_path $path)\n"
	"\t\t\t\techo \"$flag$p\"\n"
	"\t\t\tend\n"
	"\t\tcase :dirs\n"
	"\t\t\tfor p in (__fish_complete_directories $path '')\n"
	"\t\t\t\techo \"$flag$p\"\n"
	"\t\t\tend\n"
	"\t\tcase '*'\n"
	"\t\t\techo $line\n"
	"\t\tend\n"
	"\tend\n"
	"end\n"
	"complete -c mops -f -a '(__mops_complete)'\n"
	"complete -c mopsfs -f -a '(__mops_complete)'\n";

int verb_completion(struct cli *cli, struct error **errp)
{
	static const struct {
		const char *shell, *script;
	} scripts[] = {
		{"bash", bash_script},
		{"zsh", zsh_script},
		{"fish", fish_script},
	};

	for (size_t i = 0; i < sizeof(scripts) / sizeof(*scripts); i++)
		if (!strcmp(cli->args[0], scripts[i].shell)) {
			fputs(scripts[i].script, stdout);
			return 0;
		}
	return error_hint(errp,
			  error_set(errp, EINVAL,
				    "there is no completion for '%s'",
				    cli->args[0]),
			  "there is one for bash, zsh and fish");
}
