package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"example.com/bailiwick/internal/index"
	"example.com/bailiwick/internal/ledger"
	"example.com/bailiwick/internal/pypi"
)

// newToken manages tokens. It writes to the ledger, which a running server reads at every
// upload: what is changed here holds from the next request on.
func newToken(env *Env) *cobra.Command {
	var data string
	cmd := &cobra.Command{
		Use:   "token",
		Short: "make, list and revoke tokens",
		Long:  "Manage tokens: to upload, to operate, to be the signer. This works while the server runs, and takes effect with the next request.",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return usagef("%s has no command %q: it is new, list or revoke", cmd.CommandPath(), args[0])
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.PersistentFlags().StringVar(&data, "data", defaultData, "data `folder` of the server")
	cmd.AddCommand(newTokenNew(env, &data), newTokenList(env, &data), newTokenRevoke(env, &data))
	return cmd
}

// withTokens runs do on the ledger of a data folder.
func withTokens(ctx context.Context, data string, do func(*ledger.SQLite) error) (err error) {
	l, err := openLedger(ctx, data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	return do(l)
}

func newTokenNew(env *Env, data *string) *cobra.Command {
	var projects []string
	var note string
	var operator, signer bool
	cmd := &cobra.Command{
		Use:     "new",
		Aliases: []string{"add"},
		Short:   "make a token and print it, once",
		Long: "Make a token. The token itself is the only thing on standard output, so that it can go straight into a\n" +
			"secret store; it is shown this once. Without --project it may upload to every project. With --operator it\n" +
			"may do instead what operators do over the network (" + operatorVariable + " takes it), and with\n" +
			"--signer it lets an isolated signer connect; neither may upload. No token stands in for an offline key.",
		Example: "  bailiwick token new --project flask --note \"flask's pipeline\"\n  bailiwick token new --operator --note \"alice, from home\"",
		Args:    NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			scope, err := parseScope(projects)
			if err != nil {
				return err
			}
			return withTokens(cmd.Context(), *data, func(l *ledger.SQLite) error {
				secret, token, err := index.NewToken(rand.Reader, env.Now(), note, scope)
				if err != nil {
					return err //nolint:wrapcheck // says what is wrong with the request
				}
				switch {
				case operator:
					token.Right = index.RightOperator
				case signer:
					token.Right = index.RightSigner
				}
				if err := l.PutToken(cmd.Context(), token); err != nil {
					return fmt.Errorf("storing the token: %w", err)
				}
				message(env, "token %s may %s; it is shown this once", token.ID, rightText(token))
				_, _ = fmt.Fprintln(env.Stdout, secret)
				return nil
			})
		},
	}
	cmd.Flags().StringArrayVar(&projects, "project", nil, "`project` that the token may upload to; may be repeated (default: every project)")
	cmd.Flags().StringVar(&note, "note", "", "`text` for people: who has it, what for")
	cmd.Flags().BoolVar(&operator, "operator", false, "for an operator: requests, sittings and status over the network, and no uploads")
	cmd.Flags().BoolVar(&signer, "signer", false, "for the isolated signer of strict custody, and no uploads")
	cmd.MarkFlagsMutuallyExclusive("operator", "signer", "project")
	return cmd
}

// parseScope reads project names; none means every project.
func parseScope(names []string) ([]pypi.Project, error) {
	var scope []pypi.Project
	for _, name := range names {
		p, err := pypi.ParseProject(name)
		if err != nil {
			return nil, exit(exitUsage, fmt.Errorf("--project: %w", err))
		}
		if !slices.Contains(scope, p) {
			scope = append(scope, p)
		}
	}
	return scope, nil
}

// rightText says what a token is good for, after "may".
func rightText(t index.Token) string {
	switch t.Right {
	case index.RightOperator:
		return "do what operators do online"
	case index.RightSigner:
		return "connect as the isolated signer"
	case index.RightUpload:
	}
	return "upload to " + scopeText(t)
}

func scopeText(t index.Token) string {
	switch t.Right {
	case index.RightOperator:
		return "(operator)"
	case index.RightSigner:
		return "(signer)"
	case index.RightUpload:
	}
	if t.Projects == nil {
		return "every project"
	}
	names := make([]string, len(t.Projects))
	for i, p := range t.Projects {
		names[i] = p.String()
	}
	return strings.Join(names, ", ")
}

func newTokenList(env *Env, data *string) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "list tokens, never the tokens themselves",
		Args:  NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withTokens(cmd.Context(), *data, func(l *ledger.SQLite) error {
				tokens, err := l.Tokens(cmd.Context())
				if err != nil {
					return fmt.Errorf("reading the tokens: %w", err)
				}
				w := tabwriter.NewWriter(env.Stdout, 0, 8, 2, ' ', 0)
				_, _ = fmt.Fprintln(w, "ID\tMADE\tSTATE\tPROJECTS\tNOTE")
				for _, t := range tokens {
					state := "good"
					if !t.Revoked.IsZero() {
						state = "revoked " + t.Revoked.Format(time.DateOnly)
					}
					_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", t.ID, t.Created.Format(time.DateOnly), state, scopeText(t), t.Note)
				}
				return w.Flush() //nolint:wrapcheck // standard output is gone; there is nothing to add
			})
		},
	}
}

func newTokenRevoke(env *Env, data *string) *cobra.Command {
	return &cobra.Command{
		Use:   "revoke ID",
		Short: "end a token's rights",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("%s takes one token ID, as bailiwick token list shows it", cmd.CommandPath())
			}
			if strings.HasPrefix(args[0], "bwk_") {
				return usagef("this is a token itself, which now stands in your shell's history: name its ID, as bailiwick token list shows it")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return withTokens(cmd.Context(), *data, func(l *ledger.SQLite) error {
				return revoke(cmd.Context(), env, l, args[0])
			})
		},
	}
}

func revoke(ctx context.Context, env *Env, l *ledger.SQLite, id string) error {
	tokens, err := l.Tokens(ctx)
	if err != nil {
		return fmt.Errorf("reading the tokens: %w", err)
	}
	i := slices.IndexFunc(tokens, func(t index.Token) bool { return t.ID == id })
	if i < 0 {
		return fmt.Errorf("no token has the ID %q: bailiwick token list shows them", id)
	}
	token := tokens[i]
	if !token.Revoked.IsZero() {
		message(env, "token %s was revoked on %s already", id, token.Revoked.Format(time.DateOnly))
		return nil
	}
	token.Revoked = env.Now().UTC().Truncate(time.Second)
	if err := l.PutToken(ctx, token); err != nil {
		return fmt.Errorf("revoking token %s: %w", id, err)
	}
	message(env, "token %s is revoked: it is refused from now on", id)
	return nil
}
