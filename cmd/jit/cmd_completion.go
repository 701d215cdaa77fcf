package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newCompletionCmd(app *App) *cobra.Command {
	shells := []string{"bash", "zsh", "fish", "powershell"}
	return shows(&cobra.Command{
		Use:   "completion SHELL",
		Short: "Print the script that completes commands, ids and roles",
		Long: `Prints the completion script for bash, zsh, fish or powershell. Request ids,
resources and roles are completed from what this machine knows, without the
network.`,
		Example: `  source <(jit completion bash)                      # now; or for good:
  jit completion bash > ~/.local/share/bash-completion/completions/jit
  jit completion zsh  > "${fpath[1]}/_jit"
  jit completion fish > ~/.config/fish/completions/jit.fish`,
		GroupID:   groupAdmin,
		ValidArgs: shells,
		Args:      exactly("SHELL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			root, out := cmd.Root(), app.IO.Out
			switch args[0] {
			case "bash":
				if _, err := fmt.Fprint(out, bashFallback); err != nil {
					return err
				}
				return root.GenBashCompletionV2(out, true)
			case "zsh":
				return root.GenZshCompletion(out)
			case "fish":
				return root.GenFishCompletion(out, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(out)
			}
			return usageErr("one of: bash, zsh, fish, powershell", "%q is not a shell that jit knows", args[0])
		},
	})
}

// bashFallback stands in for the two functions of the package bash-completion
// that cobra's script needs, where that package is not loaded. Both put words
// together again that bash split at a colon, as RESOURCE:ROLE is.
const bashFallback = `# jit: completion for bash
if ! declare -F _get_comp_words_by_ref >/dev/null && ! declare -F _init_completion >/dev/null; then
    _get_comp_words_by_ref() {
        # Called as: -n =: cur prev words cword. The names are those of the caller.
        local i joined=() index=0
        for ((i = 0; i < ${#COMP_WORDS[@]}; i++)); do
            local word=${COMP_WORDS[i]} last=$((${#joined[@]} - 1))
            if ((i > 0)) && { [[ $word == [:=] ]] || [[ ${joined[last]} == *[:=] ]]; } && ((i <= COMP_CWORD)) && ! __jit_apart "$i"; then
                joined[last]+=$word
            else
                joined+=("$word")
            fi
            ((i == COMP_CWORD)) && index=$((${#joined[@]} - 1))
        done
        words=("${joined[@]}") cword=$index cur=${joined[index]} prev=
        ((index > 0)) && prev=${joined[index - 1]}
        return 0
    }
    # Reports whether a blank stands before the word of the given number.
    __jit_apart() {
        local line=$COMP_LINE n
        for ((n = 0; n < $1; n++)); do
            line=${line#"${line%%[![:space:]]*}"}
            line=${line#"${COMP_WORDS[n]}"}
        done
        [[ $line == [[:space:]]* ]]
    }
    __ltrimcolon_completions() {
        if [[ $1 == *:* && $COMP_WORDBREAKS == *:* ]]; then
            local start=${1%"${1##*:}"} i
            for i in "${!COMPREPLY[@]}"; do
                COMPREPLY[i]=${COMPREPLY[i]#"$start"}
            done
        fi
    }
fi

`
