#compdef mops mopsfs
_mops()
{
	local line program=${~words[1]} files=
	local -a names texts folders
	for line in "${(@f)$($program __complete "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)}"; do
		case $line in
		('') ;;
		(:files) files=all ;;
		(:dirs) files=dirs ;;
		(*/$'\t'*) folders+=("${line%%$'\t'*}") ;;
		(*)
			names+=("${line%%$'\t'*}")
			texts+=("${line%%$'\t'*}  ${line#*$'\t'}")
			;;
		esac
	done
	(( $#names )) && compadd -l -d texts -a names
	(( $#folders )) && compadd -S '' -a folders
	[[ -n $files && $PREFIX == --*=* ]] && compset -P '*='
	case $files in
	(all) _files ;;
	(dirs) _files -/ ;;
	esac
}
if [[ $funcstack[1] == _mops ]]; then
	_mops "$@"
else
	compdef _mops mops mopsfs
fi
