package cli

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"example.com/bailiwick/internal/audit"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/record"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/client"
	"example.com/bailiwick/tuf/trust"
)

// auditSpec are the flags of audit.
type auditSpec struct {
	data, index string
	asJSON      bool
}

// newAudit holds the public record against the metadata.
func newAudit(env *Env) *cobra.Command {
	var spec auditSpec
	cmd := &cobra.Command{
		Use:   "audit [--index URL | --data DIR]",
		Short: "hold the public record of who stands behind what against the metadata",
		Long: "Read the whole public record of an index: every claim, promotion, change of keys, recovery and new root. Check\n" +
			"that its entries chain up to the head in the signed snapshot, that it goes on from what was seen at the last\n" +
			"audit, and that every project is delegated to exactly the keys that the record says: no more, no fewer, nobody\n" +
			"untold. Anybody can do this; it needs no token.\n\n" +
			"With --index the index is one that bailiwick trust knows, and everything is verified from that root. With --data\n" +
			"it is the repository in a folder, by its own first root. What was seen is kept in the state folder\n" +
			"(XDG_STATE_HOME), so audit regularly, from a machine that is not the server's.\n\n" +
			"Exit code: 0 record and metadata agree; 3 they do not, or something does not verify; 4 something has expired,\n" +
			"which is no attack; 5 the index cannot be reached.",
		Example: "  bailiwick audit --index https://pkgs.example.com\n  bailiwick audit --data /srv/index --json",
		Args:    NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return auditIndex(cmd.Context(), env, &spec) },
	}
	cmd.Flags().StringVar(&spec.data, "data", defaultData, "data `folder` of a repository")
	cmd.Flags().StringVar(&spec.index, "index", "", "`URL` of a trusted index")
	cmd.Flags().BoolVar(&spec.asJSON, "json", false, "print JSON")
	return cmd
}

// auditor is one audit.
type auditor struct {
	env       *Env
	where     string // for messages
	base      string // URL of the index
	transport http.RoundTripper
	root      []byte // pinned
	state     *auditState
	fetcher   *client.HTTPFetcher
	close     []func() error

	asOf    time.Time
	expired []string // top-level roles, which a client refuses
}

func auditIndex(ctx context.Context, env *Env, spec *auditSpec) (err error) {
	a := &auditor{env: env, asOf: env.Now()}
	defer func() {
		for i := len(a.close) - 1; i >= 0; i-- {
			err = errors.Join(err, a.close[i]())
		}
	}()
	if spec.index != "" {
		err = a.openRemote(ctx, spec.index)
	} else {
		err = a.openLocal(ctx, spec.data)
	}
	if err != nil {
		return err
	}
	report, seen, err := a.run(ctx)
	if err != nil {
		return a.explain(err)
	}
	if spec.asJSON {
		err = writeJSONTo(env.Stdout, a.answer(report, seen))
	} else {
		a.print(report, seen)
	}
	if err != nil {
		return err
	}
	return a.verdict(report)
}

// openRemote audits over the network, from the root that the user pinned.
func (a *auditor) openRemote(ctx context.Context, index string) error {
	in := &installer{env: a.env}
	p, err := in.pinIndex(ctx, index)
	if err != nil {
		return err
	}
	a.where, a.base, a.root = redactURL(p.index.URL), p.index.URL, p.root
	return a.open(in.fetcher)
}

// openLocal audits the repository in a folder. Its root is its own, so this proves what the folder holds
// and not whose it is.
func (a *auditor) openLocal(ctx context.Context, data string) error {
	o, err := openOperator(ctx, a.env, &operatorFlags{data: data}, false)
	if err != nil {
		return err
	}
	a.close = append(a.close, o.Close)
	a.where, a.base, a.transport = data, o.api.base, o.api.http.Transport
	in := &installer{env: a.env, transport: a.transport}
	f, err := in.fetcher(a.base)
	if err != nil {
		return err
	}
	defer f.Close()
	if a.root, err = f.Metadata(ctx, "1.root.json", maxRootBytes); err != nil {
		return fmt.Errorf("reading the first root of %s: %w", data, err)
	}
	return a.open(in.fetcher)
}

// open opens the state that belongs to the root.
func (a *auditor) open(fetcher func(string) (*client.HTTPFetcher, error)) (err error) {
	if a.fetcher, err = fetcher(a.base); err != nil {
		return err
	}
	a.close = append(a.close, func() error { a.fetcher.Close(); return nil })
	states, err := trustStateFolder(a.env)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(a.root)
	a.state, err = openAuditState(filepath.Join(states, "audit", hex.EncodeToString(sum[:])))
	return err
}

// run is the audit: refresh, read the record, compare.
func (a *auditor) run(ctx context.Context) (*audit.Report, *auditSeen, error) {
	store, err := client.OpenFolder(client.FolderConfig{Path: filepath.Join(a.state.folder, "metadata")})
	if err != nil {
		return nil, nil, err //nolint:wrapcheck // says which folder
	}
	defer func() { _ = store.Close() }()
	view, err := a.refresh(ctx, store)
	if err != nil {
		return nil, nil, err
	}
	set := view.Set()
	layout, err := policy.LayoutOf(set.Targets())
	if err != nil {
		return nil, nil, fmt.Errorf("reading the layout of the repository: %w", err)
	}
	seen, err := a.state.read()
	if err != nil {
		return nil, nil, err
	}
	replay := audit.New()
	if seen != nil {
		replay.GoesOnFrom(seen.head)
	}
	if err := a.follow(ctx, set, replay); err != nil {
		return nil, nil, err
	}
	load, err := a.prefetch(ctx, set, layout)
	if err != nil {
		return nil, nil, err
	}
	repository := audit.Repository{Set: set, Load: load, Layout: layout, Now: a.env.Now()}
	if repository.Roots, err = a.roots(ctx, set.Root().Version()); err != nil {
		return nil, nil, err
	}
	if seen != nil {
		repository.Own = seen.own
	}
	report, err := replay.Compare(repository)
	if err != nil {
		return nil, nil, err //nolint:wrapcheck // says which role
	}
	if len(report.Findings) > 0 {
		return report, seen, nil // what was seen before stays what the next audit goes by
	}
	return report, seen, a.state.write(&auditSeen{head: report.Head, time: a.env.Now(), snapshot: report.Snapshot, own: report.Own})
}

// roots reads the history of root again, from the pinned version to the one in force.
func (a *auditor) roots(ctx context.Context, last int64) ([]*tuf.Root, error) {
	stage, err := trust.Begin(a.root, a.asOf, trust.Options{})
	if err != nil {
		return nil, err //nolint:wrapcheck // explain sorts them
	}
	roots := []*tuf.Root{stage.Root()}
	for v := stage.Root().Version() + 1; v <= last; v++ {
		data, err := a.fetcher.Metadata(ctx, fmt.Sprintf("%d.root.json", v), maxRootBytes)
		if err != nil {
			return nil, err //nolint:wrapcheck // explain sorts them
		}
		if _, err := stage.Accept(data); err != nil {
			return nil, err //nolint:wrapcheck // explain sorts them
		}
		roots = append(roots, stage.Root())
	}
	return roots, nil
}

// refresh follows the repository. A role that has expired is noted, and looked at as it was before: the audit is about who
// stands behind what, and an operator who is late is no thief.
func (a *auditor) refresh(ctx context.Context, store client.Store) (*client.View, error) {
	for range 5 { // as many top-level roles as can expire, and once more
		c, err := client.New(client.Config{Fetcher: a.fetcher, Store: store, Root: a.root, Now: func() time.Time { return a.asOf }})
		if err != nil {
			return nil, err //nolint:wrapcheck // says what is wrong with the root
		}
		view, err := c.Refresh(ctx)
		var refused *trust.RefusedError
		if !errors.As(err, &refused) || refused.Code != trust.Expired {
			return view, err //nolint:wrapcheck // explain sorts them
		}
		before, failed := a.claimedExpiry(ctx, refused.Role, refused.Version)
		if failed != nil || !before.Before(a.asOf) {
			return nil, err //nolint:wrapcheck // explain sorts them
		}
		a.asOf = before
		a.expired = append(a.expired, string(refused.Role))
	}
	return nil, errors.New("the repository has more expired roles than it has roles")
}

// claimedExpiry returns a moment at which a role had not expired yet, as the role itself says, unverified.
func (a *auditor) claimedExpiry(ctx context.Context, role tuf.RoleName, version int64) (time.Time, error) {
	name := string(role) + ".json"
	if role != tuf.RoleTimestamp {
		name = fmt.Sprintf("%d.%s.json", version, role)
	}
	data, err := a.fetcher.Metadata(ctx, name, maxAnswer*8)
	if err != nil {
		return time.Time{}, err //nolint:wrapcheck // the caller reports the first error
	}
	var h tuf.Header
	switch role {
	case tuf.RoleRoot:
		h, err = headerOf(data, tuf.ParseRoot)
	case tuf.RoleTimestamp:
		h, err = headerOf(data, tuf.ParseTimestamp)
	case tuf.RoleSnapshot:
		h, err = headerOf(data, tuf.ParseSnapshot)
	default:
		h, err = headerOf(data, tuf.ParseTargets)
	}
	return h.Expires.Add(-time.Second), err
}

func headerOf[T any](data []byte, parse func([]byte, *tuf.Limits) (*tuf.Unverified[T], error)) (tuf.Header, error) {
	u, err := parse(data, nil)
	if err != nil {
		return tuf.Header{}, err
	}
	return u.Header(), nil
}

// maxRecordLine bounds a line of the record, with its end.
const maxRecordLine = record.MaxEntry + 1

// follow reads the record up to the entry that the snapshot stands for; entries that came later are another
// publication's.
func (a *auditor) follow(ctx context.Context, set *trust.Set, replay *audit.Replay) error {
	want, err := record.HeadOf(set.Snapshot())
	if err != nil {
		return exit(exitRefused, err)
	}
	for replay.Head().Length < want.Length {
		n, err := a.page(ctx, replay, want.Length)
		if err != nil {
			return err
		}
		if n == 0 {
			return nil // too short: the comparison finds it
		}
	}
	return nil
}

// page reads as many entries as the index gives at once, and returns how many.
func (a *auditor) page(ctx context.Context, replay *audit.Replay, last int64) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/record?from=%d", a.base, replay.Head().Length+1), nil)
	if err != nil {
		return 0, fmt.Errorf("reading the record: %w", err)
	}
	r.Header.Set("User-Agent", "bailiwick/"+version())
	resp, err := (&http.Client{Transport: a.transport}).Do(r)
	if err != nil {
		return 0, exit(exitUnreachable, fmt.Errorf("reading the record of %s: %w", a.where, err))
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return 0, exit(exitUnreachable, fmt.Errorf("reading the record of %s: it answered %s; is its server as new as this program?", a.where, resp.Status))
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(make([]byte, 64<<10), maxRecordLine)
	n := 0
	for lines.Scan() && replay.Head().Length < last {
		e, err := record.Parse(bytes.TrimSuffix(lines.Bytes(), []byte("\r")))
		if err == nil {
			err = replay.Add(&e)
		}
		if err != nil {
			return n, exit(exitRefused, fmt.Errorf("the record that %s hands out: %w", a.where, err))
		}
		n++
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return n, exit(exitRefused, fmt.Errorf("the record that %s hands out has a line longer than %d bytes", a.where, maxRecordLine))
	case err != nil:
		return n, exit(exitUnreachable, fmt.Errorf("reading the record of %s: %w", a.where, err))
	}
	return n, nil
}

// explain gives the errors of an audit their exit codes.
func (a *auditor) explain(err error) error {
	var coded *exitError
	var network *client.NetworkError
	var refused *trust.RefusedError
	switch {
	case errors.As(err, &coded):
		return err
	case errors.As(err, &network):
		return exit(exitUnreachable, fmt.Errorf("cannot reach %s: %w", a.where, err))
	case errors.As(err, &refused) && refused.Code == trust.Expired:
		return exit(exitUnusable, fmt.Errorf("%s has expired, which is no attack: its operators have to renew it: %w", a.where, err))
	case errors.As(err, &refused):
		return exit(exitRefused, fmt.Errorf("what %s hands out does not verify: %w", a.where, err))
	}
	return err
}

// verdict is the exit code.
func (a *auditor) verdict(r *audit.Report) error {
	switch {
	case len(r.Findings) > 0:
		return exit(exitRefused, fmt.Errorf("%s does not hold up: %s; ask its operators, keep what you have seen, and compare with other auditors", a.where, plural(len(r.Findings), "finding")))
	case len(a.expired) > 0 || len(r.Expired) > 0:
		return exit(exitUnusable, fmt.Errorf("record and metadata of %s agree, but something has expired; that is no attack, and bailiwick status says who has to sign", a.where))
	}
	return nil
}
