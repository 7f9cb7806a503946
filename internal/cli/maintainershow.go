package cli

import (
	"context"
	"fmt"
	"os"
	"strings"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/keys"
	"example.com/bailiwick/internal/keys/prompt"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
)

// errNoTerminal is what is said where nobody can be asked.
var errNoTerminal = exit(exitUsage, fmt.Errorf("nothing was signed: there is no terminal to ask at; read the lines above, and if that is what you want, run this again with --yes"))

// printChange shows what a request would change, before anyone signs it. uploads says of added files
// what the index says of them; it may be nil.
func (m *maintainer) printChange(r *ceremony.Request, s *ceremony.Standing, uploads map[string]string) error {
	project := policy.ProjectRole(r.Project)
	for i := range r.Payloads {
		role := r.Payloads[i].Role
		next, err := r.Targets(role)
		if err != nil {
			return fmt.Errorf("reading %s in the request: %w", role, err)
		}
		if role != project {
			m.printf("  %s\n", role)
		}
		for _, line := range ceremony.Describe(published(s, role), next) {
			name, _, _ := strings.Cut(line.Text, " ")
			if up := uploads[name]; up != "" && line.Sign == '+' {
				line.Text += "   " + up
			}
			if line.Sign == '+' && role == project && takenOver(s, name) {
				line.Sign, line.Text = '~', line.Text+takeover(next, s, name)
			}
			if r.Kind == ceremony.Claim && line.Sign == '~' { // adopted: these hashes are signed from now on
				line.Text += contentOf(next, s, name)
			}
			m.printf("  %s\n", shown(line.String()))
		}
	}
	if r.Kind == ceremony.Release {
		return nil
	}
	next, err := tuf.NewAuthority(r.Threshold, r.Keys...)
	if err != nil {
		return fmt.Errorf("reading the keys of the request: %w", err)
	}
	before := s.Owners
	if r.Kind == ceremony.Claim {
		before = tuf.Authority{} // the registry's key was nobody's
	}
	for _, line := range ceremony.DescribeKeys(before, next) {
		m.printf("  %s\n", shown(line.String()))
	}
	return nil
}

// takenOver reports whether a file that is new in the project's own list is published already, in a role
// to which the project delegates.
func takenOver(s *ceremony.Standing, name string) bool {
	path, err := tuf.ParseTargetPath(s.Layout.Dir(s.Project) + "/" + name)
	if err != nil {
		return false
	}
	_, ok := listedIn(s, path)
	return ok
}

// takeover says what becomes of a file that the project's own list takes over.
func takeover(next *tuf.Targets, s *ceremony.Standing, name string) string {
	text := "   so far listed by a role of the project"
	if path, err := tuf.ParseTargetPath(s.Layout.Dir(s.Project) + "/" + name); err == nil {
		t, _ := next.Lookup(path)
		if custom, err := policy.DecodeCustom(t.Custom); err == nil && custom.Yanked != nil {
			text += "   yanked " + *custom.Yanked
		}
	}
	return text
}

// contentOf is the content of a listed file, for a line about it.
func contentOf(list *tuf.Targets, s *ceremony.Standing, name string) string {
	path, err := tuf.ParseTargetPath(s.Layout.Dir(s.Project) + "/" + name)
	if err != nil {
		return ""
	}
	t, ok := list.Lookup(path)
	sum, has := t.Hashes.SHA256()
	if !ok || !has {
		return ""
	}
	return fmt.Sprintf("  sha256 %x  %d bytes", sum, t.Length)
}

// published is the newest version of one of the project's roles; nil if there is none.
func published(s *ceremony.Standing, role tuf.RoleName) *tuf.Targets {
	if role == policy.ProjectRole(s.Project) {
		return s.Base
	}
	for _, sub := range s.Subs {
		if sub.Delegation.Name() == role {
			return sub.Targets
		}
	}
	return nil
}

func (m *maintainer) printf(format string, args ...any) {
	_, _ = fmt.Fprintf(m.env.Stdout, format, args...)
}

// confirm asks whether to sign what was shown.
func (m *maintainer) confirm(ctx context.Context) error {
	if m.flags.yes {
		return nil
	}
	in, ok := terminal(m.env)
	if !ok {
		return errNoTerminal
	}
	yes, err := askYes(ctx, in, "sign as "+signerNames(m.signers)+"? [y/N] ")
	if err != nil {
		return err
	}
	if !yes {
		return fmt.Errorf("nothing was signed")
	}
	return nil
}

// signerNames is how people know their keys.
func signerNames(signers []*keys.Signer) string {
	names := make([]string, len(signers))
	for i, s := range signers {
		info := s.Info()
		names[i] = info.Name
		if names[i] == "" {
			names[i] = info.URI
		}
	}
	return strings.Join(names, " and ")
}

// askYes asks at the terminal. Anything but y or yes is no.
func askYes(ctx context.Context, in *os.File, question string) (bool, error) {
	return prompt.Yes(ctx, in, question)
}

// shortID is how people see a key id.
func shortID(id key.ID) string {
	if len(id) <= 12 {
		return string(id)
	}
	return string(id[:12])
}

// printKeyLine prints a key in full, so that it can be compared.
func (m *maintainer) printKeyLine(k *key.Public) {
	m.printf("    %s  %-10s %s\n", shortID(k.ID()), k.Type(), keys.SSHFingerprint(k))
}

// plural is a number with its noun.
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
