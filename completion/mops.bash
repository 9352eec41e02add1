# bash completion for mops and mopsfs
#
# Bash cuts words at ':', '=' and '@' as well as at blanks: they are put together
# again, and what bash would leave standing is left away from the answers.
# shellcheck shell=bash
_mops()
{
	local i part glue=1 line word cur keep program=${1/#\~/$HOME}
	local -a words=()
	for ((i = 1; i <= COMP_CWORD; i++)); do
		part=${COMP_WORDS[i]}
		if [[ $part == +([:=@]) && ${#words[@]} -gt 0 ]]; then
			words[-1]+=$part
			glue=1
		elif [[ $glue == 1 && ${#words[@]} -gt 0 ]]; then
			words[-1]+=$part
			glue=0
		else
			words+=("$part")
			glue=0
		fi
	done
	cur=${words[-1]}
	keep=${cur%"${cur##*[:=@]}"}
	COMPREPLY=()
	while IFS= read -r line; do
		case $line in
		:files | :dirs)
			compopt -o filenames
			part=-f
			[[ $line == :dirs ]] && part=-d
			while IFS= read -r word; do
				COMPREPLY+=("$word")
			done < <(compgen "$part" -- "${cur#--*=}")
			;;
		*)
			word=${line%%$'\t'*}
			[[ $word == */ ]] && compopt -o nospace
			printf -v word %q "${word#"$keep"}"
			COMPREPLY+=("$word")
			;;
		esac
	done < <("$program" __complete "${words[@]}" 2>/dev/null)
}
complete -F _mops mops mopsfs
