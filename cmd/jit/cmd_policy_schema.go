package main

import (
	"github.com/spf13/cobra"

	"github.com/jitaccess/jit/pkg/policy"
)

func newPolicySchemaCmd(app *App) *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print a JSON Schema of the policy, for editors",
		Long: `Prints a JSON Schema (draft 2020-12) of the part of a policy that people write.
Editors complete and check from it. With the YAML language server that many use,
write the schema beside the policy and name it in the policy's first line:

  jit policy schema > policy.schema.json
  # yaml-language-server: $schema=policy.schema.json

What a schema cannot say, jit policy lint checks: names that must exist, keys that
belong to one person, rules without effect.`,
		Args: exactly(),
		RunE: func(*cobra.Command, []string) error {
			_, err := app.IO.Out.Write(policy.Schema())
			return err
		},
	}
}
