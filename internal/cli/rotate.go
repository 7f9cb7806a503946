package cli

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/server"
	"example.com/bailiwick/internal/sitting"
)

// rotateSpec is what the flags of rotate say.
type rotateSpec struct {
	flags                    operatorFlags
	add, invitations, remove []string
	threshold                int
	out, by, note, custody   string
	yes, asJSON              bool
}

// newRotate opens the signing request by which keys change.
func newRotate(env *Env) *cobra.Command {
	var spec rotateSpec
	cmd := &cobra.Command{
		Use:   "rotate ROLE…",
		Short: "change the keys of a role: who holds them, how many sign, or the online key",
		Long: "Open the signing request by which the keys of a role change. Clients follow, also those that pinned the first\n" +
			"root and come back after years.\n\n" +
			"For root, targets, claimed and unclaimed say who comes (--add), who goes (--remove) and how many sign from now on\n" +
			"(--threshold). Who comes has accepted an invitation (bailiwick root invite): give both files. A key file of your own\n" +
			"does as well. For timestamp, snapshot and registry the server makes a new key beside the old one, which takes over\n" +
			"when the request is published, and then the old one is removed. Several of these can change in one request: after a\n" +
			"break-in on the server, and after a backup was put back that is older than what users have seen, it is\n\n" +
			"  bailiwick rotate timestamp snapshot registry\n\n" +
			"With --custody strict the isolated signer brings the new key of registry or snapshot (bailiwick signer new-key), and when\n" +
			"the request is published the server removes its own; with --custody standard it is the other way round.\n\n" +
			"The request is signed with bailiwick-sign: of root both by the keys that it had and by those that it gets.",
		Example: "  bailiwick rotate root --add dave.json --invitation invitation.json --remove carol\n" +
			"  bailiwick rotate root --threshold 3 --add erin.key --out root.request\n" +
			"  bailiwick rotate timestamp snapshot --data /srv/index --out online.request",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("%s takes the roles whose keys change: root, targets, claimed, unclaimed, registry, snapshot or timestamp", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			roles, err := spec.roles(args)
			if err != nil {
				return err
			}
			if err := refuseExisting(spec.out); err != nil {
				return err
			}
			return withOperator(cmd.Context(), env, &spec.flags, true, func(o *operator) error { return spec.run(cmd.Context(), o, roles) })
		},
	}
	spec.flags.add(cmd)
	flags := cmd.Flags()
	flags.StringArrayVar(&spec.add, "add", nil, "acceptance `FILE` of somebody who was invited, or the URI of a key of your own")
	flags.StringArrayVar(&spec.invitations, "invitation", nil, "invitation `FILE` that the acceptances answer")
	flags.StringArrayVar(&spec.remove, "remove", nil, "`KEY` that goes: the name of its holder, or the first digits of its id")
	flags.IntVar(&spec.threshold, "threshold", 0, "how many keys sign from now on (default: as many as now)")
	flags.StringVar(&spec.custody, "custody", "", "of registry and snapshot: the new key is on the server (standard) or with the isolated signer that is connected (strict)")
	flags.StringVar(&spec.out, "out", "", "`FILE` to write the request into, for bailiwick-sign")
	flags.StringVar(&spec.by, "by", "", "who asks for it, for people to read")
	flags.StringVar(&spec.note, "note", "", "why, for people to read")
	flags.BoolVar(&spec.yes, "yes", false, "the fingerprints of those who come were compared: do not ask")
	flags.BoolVar(&spec.asJSON, "json", false, "print JSON")
	return cmd
}

// roles reads the roles, and refuses flags that do not go with them.
func (s *rotateSpec) roles(args []string) ([]policy.KeyRole, error) {
	var roles []policy.KeyRole
	offline := false
	for _, arg := range args {
		role := policy.KeyRole(arg)
		if !slices.Contains(policy.KeyRoles(), role) {
			return nil, usagef("%q has no keys of its own: the roles are root, targets, claimed, unclaimed, registry, snapshot and timestamp", arg)
		}
		if slices.Contains(roles, role) {
			return nil, usagef("%s is named twice", role)
		}
		offline = offline || !role.Online()
		roles = append(roles, role)
	}
	says := len(s.add)+len(s.remove) > 0 || s.threshold != 0
	switch {
	case offline && len(roles) > 1:
		return nil, usagef("change the keys of %s in a request of its own: other people sign it, and who comes and goes is said for one role", strings.Join(args, " and "))
	case offline && !says:
		return nil, usagef("say what changes: --add, --remove, --threshold")
	case s.custody != "" && s.custody != string(policy.CustodyStandard) && s.custody != string(policy.CustodyStrict):
		return nil, usagef("--custody %q: it is standard or strict", s.custody)
	case s.custody != "" && (offline || slices.Contains(roles, policy.KeyTimestamp)):
		return nil, usagef("--custody is for registry and snapshot: the others are always where they are")
	case !offline && says:
		return nil, usagef("the server makes the new key of %s: --add, --remove and --threshold are for root, targets, claimed and unclaimed", strings.Join(args, ", "))
	}
	return roles, nil
}

// run is the command in a session with the index.
func (s *rotateSpec) run(ctx context.Context, o *operator, roles []policy.KeyRole) error {
	body := server.RotationBody{By: s.by, Note: s.note}
	for _, role := range roles {
		change := server.RotationChange{Role: string(role), Remove: s.remove, Threshold: s.threshold, Custody: s.custody}
		if len(s.add) > 0 {
			holders, err := s.newcomers(ctx, o, role)
			if err != nil {
				return err
			}
			for _, h := range holders {
				change.Add = append(change.Add, server.NewHeldKey(h))
			}
		}
		body.Changes = append(body.Changes, change)
	}
	data, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("writing the request: %w", err)
	}
	var answer server.SittingAnswer
	if _, err := o.api.call(ctx, http.MethodPost, operatorAPI+"/rotations", data, &answer); err != nil {
		return err
	}
	if s.out != "" {
		if err := o.exportTo(ctx, &answer.OperatorRequestAnswer, s.out); err != nil {
			return err
		}
	}
	if s.asJSON {
		return writeJSONTo(o.env.Stdout, answer)
	}
	o.printRotation(&answer, s.out)
	return nil
}

// newcomers are those who come, with their keys.
func (s *rotateSpec) newcomers(ctx context.Context, o *operator, role policy.KeyRole) ([]sitting.Holder, error) {
	invited := map[[32]byte]*sitting.Invitation{}
	for _, path := range s.invitations {
		i, _, err := readInvitation(path)
		if err != nil {
			return nil, err
		}
		if i == nil {
			return nil, usagef("%s is an acceptance: give it with --add", path)
		}
		if err := s.fits(ctx, o, path, i, role); err != nil {
			return nil, err
		}
		invited[i.Digest()] = i
	}
	answers := map[[32]byte][]*sitting.Acceptance{}
	var all []sitting.Holder
	for _, word := range s.add {
		a, err := s.acceptance(word, invited)
		switch {
		case err != nil:
			return nil, err
		case a != nil:
			answers[a.Invitation] = append(answers[a.Invitation], a)
			continue
		}
		k, err := o.ownKey(ctx, word)
		if err != nil {
			return nil, err
		}
		all = append(all, k)
	}
	for digest, i := range invited {
		holders, err := sitting.Enrol(i, answers[digest], nil, o.env.Now())
		if err != nil {
			return nil, refusedByRules(err)
		}
		all = append(all, holders...)
	}
	return all, s.confirm(ctx, o, role, all)
}

// fits checks that an invitation is to this repository and role.
func (s *rotateSpec) fits(ctx context.Context, o *operator, path string, i *sitting.Invitation, role policy.KeyRole) error {
	status, err := o.status(ctx)
	if err != nil {
		return err
	}
	switch {
	case i.Role != role:
		return usagef("%s invites to hold a key of %s, and not of %s", path, i.Role, role)
	case i.First():
		return exit(exitRefused, fmt.Errorf("%s invites to a new repository, and this one exists: invite with bailiwick root invite --data, or --root sha256:%s", path, status.Root.First))
	case hex.EncodeToString(i.Repository[:]) != status.Root.First:
		return exit(exitRefused, fmt.Errorf("%s invites to another repository, with the first root sha256:%x; this one has sha256:%s", path, i.Repository, status.Root.First))
	}
	return nil
}

// acceptance reads what --add names, if it is an acceptance; nil if it is a key.
func (s *rotateSpec) acceptance(word string, invited map[[32]byte]*sitting.Invitation) (*sitting.Acceptance, error) {
	data, err := readBounded(word, sitting.MaxInvitation)
	if err != nil || !strings.HasPrefix(string(data), "{") {
		return nil, nil //nolint:nilerr // not a file that is JSON: whoever opens keys says what is wrong with it
	}
	_, a, err := readInvitation(word)
	switch {
	case err != nil:
		return nil, err
	case a == nil:
		return nil, usagef("%s is an invitation: give it with --invitation", word)
	case invited[a.Invitation] == nil:
		return nil, exit(exitRefused, fmt.Errorf("%s: %s accepted the invitation %x, which is none of those given with --invitation", word, a.Holder, a.Invitation[:8]))
	}
	return a, nil
}

// ownKey shows a key that the operator has; nobody who accepted stands behind it.
func (o *operator) ownKey(ctx context.Context, uri string) (sitting.Holder, error) {
	opener := newKeyOpener(o.env, "")
	k, err := opener.Show(ctx, uri)
	if err = errors.Join(err, opener.Close()); err != nil {
		return sitting.Holder{}, keyError("--add", err)
	}
	h := sitting.Holder{Key: k.Public}
	if policy.IsHolder(k.Name) {
		h.Name = k.Name
	}
	return h, nil
}

// confirm shows who comes and asks.
func (s *rotateSpec) confirm(ctx context.Context, o *operator, role policy.KeyRole, all []sitting.Holder) error {
	if s.yes {
		return nil
	}
	_, _ = fmt.Fprintf(o.env.Stderr, "new keys of %s:\n", role)
	for _, h := range all {
		_, _ = fmt.Fprintf(o.env.Stderr, "  %-12s %s\n", h.Name, sitting.Fingerprint(h.Key))
	}
	return confirmFingerprints(ctx, o.env, len(all))
}

// printRotation says what was opened and what comes next.
func (o *operator) printRotation(a *server.SittingAnswer, out string) {
	o.printf("request %s: %s\n", a.ID, shown(a.Title))
	for _, line := range a.Summary {
		o.printf("  %s\n", shown(line))
	}
	for _, m := range a.Missing {
		o.printf("  waits for    %s\n", missingText(&m))
	}
	if out == "" {
		o.printf("\n  next   bailiwick request export %s --out FILE, bailiwick-sign FILE on the machine of each, bailiwick request import SIGNED\n", a.ID)
		return
	}
	o.printf("\n  next   bailiwick-sign %s --key URI --out SIGNED on the machine of each, bailiwick request import SIGNED\n", shellWord(out))
}
