package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"example.com/bailiwick/internal/keys"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/server"
	"example.com/bailiwick/internal/sitting"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
)

// newRenew re-signs what only the offline keys can sign, before it expires.
func newRenew(env *Env) *cobra.Command {
	var spec renewSpec
	cmd := &cobra.Command{
		Use:   "renew",
		Short: "re-sign the roles of the offline keys, on one machine and in one step",
		Long: "Sign the offline roles anew, with the same content and a later expiry: targets, claimed, unclaimed and the\n" +
			"claimed bins, and root if asked. Only what expires within 30 days (or half of a shorter life) is signed, unless\n" +
			"--all is given. All of it becomes one publication; the server may be running. The online roles are renewed by\n" +
			"the server itself.\n\n" +
			"This is the short way for an index whose offline keys one person has. It plans a signing request, signs it with\n" +
			"the keys in a folder, and brings it back. Where the keys are on a machine without a network, or with several\n" +
			"people, the same goes by bailiwick request export, bailiwick-sign, and bailiwick request import.",
		Args: NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if spec.offline == "" {
				if spec.flags.index != "" {
					return usagef("--offline-keys is missing: name the folder of the offline keys")
				}
				spec.offline = defaultOffline(spec.flags.data)
			}
			return withOperator(cmd.Context(), env, &spec.flags, true, func(o *operator) error { return o.renew(cmd.Context(), &spec) })
		},
	}
	spec.flags.add(cmd)
	flags := cmd.Flags()
	flags.StringVar(&spec.offline, "offline-keys", "", "`folder` with the offline keys (default "+offlineName+" beside the data folder)")
	flags.StringVar(&spec.passphraseFile, "passphrase-file", "", "`file` whose first line is the passphrase of the offline keys")
	flags.BoolVar(&spec.all, "all", false, "sign everything but root, due or not")
	flags.BoolVar(&spec.root, "root", false, "sign a new version of root as well")
	return cmd
}

type renewSpec struct {
	flags                   operatorFlags
	offline, passphraseFile string
	all, root               bool
}

// renew plans a request for what is due, signs it and brings it back.
func (o *operator) renew(ctx context.Context, spec *renewSpec) error {
	status, err := o.status(ctx)
	if err != nil {
		return err
	}
	if !spec.all && !spec.root && !anyDue(status) {
		o.nothingDue(status)
		return nil
	}
	planned, err := o.planSitting(ctx, &server.SittingBody{Renew: true, All: spec.all, Root: spec.root, By: "bailiwick renew"})
	if err != nil {
		return err
	}
	published, err := o.signAndImport(ctx, planned.ID, spec)
	if err != nil {
		// Nobody else is to sign what was only meant for this command. If that fails, too, the request expires.
		_, _ = o.api.call(context.WithoutCancel(ctx), http.MethodDelete, operatorAPI+"/requests/"+url.PathEscape(planned.ID), nil, nil)
		return err
	}
	o.reportRenewal(published)
	if !spec.root {
		o.rootNotice(status)
	}
	return nil
}

// anyDue reports whether offline keys other than root's have to sign something.
func anyDue(a *server.StatusAnswer) bool {
	return slices.ContainsFunc(a.Duties, func(d server.DutyAnswer) bool { return isRenewable(&d) && d.Outlook != "fine" })
}

// isRenewable reports whether roles of this kind are what renew is about.
func isRenewable(d *server.DutyAnswer) bool {
	return slices.Contains([]string{"targets", "claimed", "unclaimed", "claimed bin"}, d.Kind)
}

// nothingDue says when there will be something to do.
func (o *operator) nothingDue(a *server.StatusAnswer) {
	var first *server.DutyAnswer
	for i := range a.Duties {
		if d := &a.Duties[i]; isRenewable(d) && (first == nil || d.By.Before(first.By)) {
			first = d
		}
	}
	if first != nil {
		message(o.env, "nothing is due: the first to expire is %s, on %s; --all signs everything anyway", shown(first.First), onDay(first.By))
	}
	o.rootNotice(a)
}

func (o *operator) rootNotice(a *server.StatusAnswer) {
	for i := range a.Duties {
		if d := &a.Duties[i]; d.Kind == "root" && d.Outlook != "fine" {
			message(o.env, "root expires on %s: renew it with --root", onDay(d.By))
		}
	}
}

// renewal is a request that was signed and published.
type renewal struct {
	verdict     *sitting.Verdict
	publication int64
}

// signAndImport fetches a request, makes sure that it renews and does nothing else, signs it, and brings it back.
func (o *operator) signAndImport(ctx context.Context, id string, spec *renewSpec) (*renewal, error) {
	f, request, err := o.fetchTemp(ctx, id)
	if err != nil {
		return nil, err
	}
	defer dropTemp(f)
	verdict, err := signRenewal(ctx, o.env, request, spec)
	if err != nil {
		return nil, err
	}
	_, err = f.Seek(0, io.SeekStart)
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		err = sitting.Encode(f, request)
	}
	if err != nil {
		return nil, errTemp("writing the signed request to", f.Name(), err)
	}
	outcome, err := o.importFile(ctx, f.Name())
	if err != nil {
		return nil, importHint(err)
	}
	return &renewal{verdict, outcome.Publication}, nil
}

// signRenewal judges a request as bailiwick-sign does and adds the signatures of the keys in a folder.
func signRenewal(ctx context.Context, env *Env, r *sitting.Request, spec *renewSpec) (*sitting.Verdict, error) {
	verdict, err := sitting.Judge(r, env.Now())
	if err != nil {
		return nil, exit(exitRefused, fmt.Errorf("the index made a request that can not be signed: %w", err))
	}
	for _, c := range verdict.Changes {
		if c.Kind != sitting.Renewed && c.Kind != sitting.RootRenewed && c.Kind != sitting.Bounded {
			return nil, exit(exitRefused, fmt.Errorf("the index asked for more than a renewal (%s: %s): nothing was signed; look at it with bailiwick request show", c.Role, shown(c.Text)))
		}
	}
	signers, err := loadOffline(ctx, spec.offline, oldPassphrase(env, spec.passphraseFile), verdict)
	if err != nil {
		return nil, err
	}
	for _, m := range verdict.Missing {
		need := m.Need
		for _, s := range signers {
			if need == 0 || !slices.Contains(m.Keys, s.Public().ID()) {
				continue
			}
			sig, err := s.Sign(ctx, r.Payload(m.Role).Message)
			if err != nil {
				return nil, fmt.Errorf("signing %s: %w", m.Role, err)
			}
			if _, err := r.Add(m.Role, tuf.Signature{KeyID: s.Public().ID(), Sig: sig}); err != nil {
				return nil, fmt.Errorf("signing %s: %w", m.Role, err)
			}
			need--
		}
		if need > 0 {
			return nil, fmt.Errorf("signing %s: the keys in %s are %s short; sign the request with the others by bailiwick request export and bailiwick-sign: %s",
				m.Role, spec.offline, plural(need, "signature"), m.String())
		}
	}
	return verdict, nil
}

// loadOffline loads those keys of a folder that a request wants, and no other.
func loadOffline(ctx context.Context, folder string, pass keys.Passphrase, v *sitting.Verdict) ([]key.Signer, error) {
	paths, err := filepath.Glob(filepath.Join(folder, "*.key"))
	if err != nil {
		return nil, fmt.Errorf("looking for offline keys: %w", err)
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("there are no key files in %s: name the folder of the offline keys with --offline-keys", folder)
	}
	wanted := map[key.ID]bool{}
	for _, m := range v.Missing {
		for _, id := range m.Keys {
			wanted[id] = true
		}
	}
	var signers []key.Signer
	for _, path := range paths {
		info, err := keys.Show(path)
		if err != nil {
			return nil, fmt.Errorf("reading the key file: %w", err)
		}
		if !wanted[info.Public.ID()] {
			continue
		}
		k, err := keys.LoadOffline(ctx, path, pass)
		if err != nil {
			return nil, fmt.Errorf("opening the key file: %w", err)
		}
		signers = append(signers, k)
	}
	if len(signers) == 0 {
		return nil, fmt.Errorf("no key in %s may sign what is due: are these the keys of another repository?", folder)
	}
	return signers, nil
}

// reportRenewal says what was signed and until when it is good.
func (o *operator) reportRenewal(r *renewal) {
	bins, until := 0, time.Time{}
	for _, role := range r.verdict.Roles {
		if policy.KindOf(role.Role) == policy.KindClaimedBin {
			if bins++; until.IsZero() || role.Expires.Before(until) {
				until = role.Expires
			}
			continue
		}
		o.printf("%-10s v%-4d until %s\n", role.Role, role.Version, onDay(role.Expires))
	}
	if bins > 0 {
		o.printf("%d claimed bins until %s\n", bins, onDay(until))
	}
	after := ""
	if o.stopped {
		after = "; start the server again"
	}
	message(o.env, "renewed in publication %d%s", r.publication, after)
}
