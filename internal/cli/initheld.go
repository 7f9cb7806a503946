package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/sitting"
)

// held are the keys of an offline role that people hold on machines of their own.
type held struct {
	threshold int
	holders   []sitting.Holder
}

// offlineRoles are the key roles that people can hold.
func offlineRoles() []policy.KeyRole {
	return slices.DeleteFunc(policy.KeyRoles(), policy.KeyRole.Online)
}

// makesOfflineKeys reports whether some offline keys are made here.
func (spec *genesisSpec) makesOfflineKeys() bool { return len(spec.held) < len(offlineRoles()) }

// enrolment is what the command line says of keys that people hold: invitations by role, and acceptances of
// all of them.
type enrolment struct {
	invitations map[policy.KeyRole]*string // paths
	accepted    []string                   // paths
	yes         bool                       // the fingerprints were compared already
}

// read reads invitations and acceptances, and works out who holds which key of a new repository.
func (e *enrolment) read(ctx context.Context, env *Env, w io.Writer) (map[policy.KeyRole]held, error) {
	invited := map[policy.KeyRole]*sitting.Invitation{}
	for _, role := range offlineRoles() {
		path := *e.invitations[role]
		if path == "" {
			continue
		}
		i, _, err := readInvitation(path)
		switch {
		case err != nil:
			return nil, err
		case i == nil:
			return nil, usagef("%s is an acceptance: give it with --accepted", path)
		case i.Role != role:
			return nil, usagef("%s invites to hold a key of %s: give it with --%s-invitation", path, i.Role, i.Role)
		case !i.First():
			return nil, exit(exitRefused, fmt.Errorf("%s invites to a repository that exists already: that is for bailiwick rotate %s --add", path, role))
		}
		invited[role] = i
	}
	answers, err := readAcceptances(e.accepted, invited)
	if err != nil {
		return nil, err
	}
	return e.enrol(ctx, env, w, invited, answers)
}

// readAcceptances reads acceptances and finds the invitation that each answers.
func readAcceptances(paths []string, invited map[policy.KeyRole]*sitting.Invitation) (map[policy.KeyRole][]*sitting.Acceptance, error) {
	answers := map[policy.KeyRole][]*sitting.Acceptance{}
	for _, path := range paths {
		_, a, err := readInvitation(path)
		if err != nil {
			return nil, err
		}
		if a == nil {
			return nil, usagef("%s is an invitation: give it with --root-invitation, or with that of its role", path)
		}
		found := false
		for role, i := range invited {
			if a.Invitation == i.Digest() {
				answers[role], found = append(answers[role], a), true
			}
		}
		if !found {
			return nil, exit(exitRefused, fmt.Errorf("%s: %s accepted the invitation %x, which is none of those given here: ask for an acceptance of this one", path, a.Holder, a.Invitation[:8]))
		}
	}
	return answers, nil
}

func (e *enrolment) enrol(ctx context.Context, env *Env, w io.Writer, invited map[policy.KeyRole]*sitting.Invitation, answers map[policy.KeyRole][]*sitting.Acceptance) (map[policy.KeyRole]held, error) {
	all, used := map[policy.KeyRole]held{}, map[[32]byte]string{}
	for _, role := range offlineRoles() {
		i := invited[role]
		if i == nil {
			continue
		}
		holders, err := sitting.Enrol(i, answers[role], used, env.Now())
		if err != nil {
			return nil, refusedByRules(err)
		}
		if silent := notAmong(i.Holders, holders); len(silent) > 0 {
			return nil, fmt.Errorf("%s: no acceptance is here of %s; each runs bailiwick-sign accept and sends what it writes, which is given with --accepted",
				*e.invitations[role], strings.Join(silent, ", "))
		}
		for _, h := range holders {
			used[h.Key.Fingerprint()] = fmt.Sprintf("%s, by %s", role, h.Name)
		}
		all[role] = held{i.Threshold, holders}
		printEnrolled(w, role, i.Threshold, holders)
	}
	if len(all) == 0 || e.yes {
		return all, nil
	}
	return all, confirmFingerprints(ctx, env, len(used))
}

// notAmong lists the names that are not those of holders.
func notAmong(names []string, holders []sitting.Holder) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		return slices.ContainsFunc(holders, func(h sitting.Holder) bool { return h.Name == name })
	})
}

func printEnrolled(w io.Writer, role policy.KeyRole, threshold int, holders []sitting.Holder) {
	_, _ = fmt.Fprintf(w, "%s: %d of %d will have to sign\n", role, threshold, len(holders))
	for _, h := range holders {
		_, _ = fmt.Fprintf(w, "  %-12s %s\n", h.Name, sitting.Fingerprint(h.Key))
	}
}

// confirmFingerprints asks whether the keys are those of the people: acceptances came by mail or worse, and this is
// the one moment at which another's key could slip in.
func confirmFingerprints(ctx context.Context, env *Env, holders int) error {
	in, ok := terminal(env)
	if !ok {
		return exit(exitUsage, errors.New("nothing was made: there is no terminal to ask at; have each holder read you their fingerprint, and if all are as above, run this again with --yes"))
	}
	question := "has the holder read you this fingerprint? [y/N] "
	if holders > 1 {
		question = fmt.Sprintf("have all %d holders read you these fingerprints, each their own? [y/N] ", holders)
	}
	yes, err := askYes(ctx, in, question)
	if err != nil {
		return err
	}
	if !yes {
		return errors.New("nothing was made")
	}
	return nil
}
