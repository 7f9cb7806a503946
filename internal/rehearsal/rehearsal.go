// Package rehearsal plays people against a throw-away repository: the commands demo, rehearse and
// drill of the bailiwick program. demo shows the idea with an install and four attacks, rehearse goes
// through the whole life of a root, and drill steals keys, attacks users row by row of the compromise
// table (docs/security.md), and recovers.
//
// Whatever an honest person does here, they do by the commands of package cli, run in this process with
// the arguments that they would type, and by those of package signtool at the offline side; what comes of
// it is read as a script would, from what the commands print and from exit codes. What a user gets of the
// index is judged by the engine of their installer. Only the thief keeps to no rule: he reads and writes
// the data folder and signs with what he stole.
//
// Everything is on loopback and in one temporary folder, which is removed at the end unless it is to be
// kept. The process works in that folder as long as a command of this package runs, so there must be no
// more than one of them at a time. Keys are made with a work factor that is not for real ones.
package rehearsal

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"example.com/bailiwick/internal/cli"
)

// Commands makes demo, rehearse and drill for [cli.Main].
func Commands(env *cli.Env) []*cobra.Command {
	return []*cobra.Command{newDemo(env), newRehearse(env), newDrill(env)}
}

// What people outside of the program know of it: its users from their guide, the thief from docs/architecture.md.
const (
	codeRefused  = 3 // exit code of an install in which something was refused
	codeUnusable = 4 // and of one whose metadata are expired or rolled back

	passphraseVariable = "BAILIWICK_PASSPHRASE_FILE" //nolint:gosec // a name, not a secret

	ledgerFile  = "ledger.db" // in the data folder
	filesFolder = "files"
	keysFolder  = "keys"
)

// writeJSON prints v for programs.
func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("writing JSON: %w", err)
	}
	return nil
}
