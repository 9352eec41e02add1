# fish completion for mops and mopsfs
function __mops_complete
	set -l words (commandline -opc)
	set -l current (commandline -ct)
	set -l flag (string match -r '^--[^=]*=' -- $current)
	set -l path (string replace -r '^--[^=]*=' '' -- $current)
	set -l program $words[1]
	set -e words[1]
	for line in ($program __complete $words "$current" 2>/dev/null)
		switch $line
		case :files
			for p in (__fish_complete_path $path)
				echo "$flag$p"
			end
		case :dirs
			for p in (__fish_complete_directories $path '')
				echo "$flag$p"
			end
		case '*'
			echo $line
		end
	end
end
complete -c mops -f -a '(__mops_complete)'
complete -c mopsfs -f -a '(__mops_complete)'
