package sitting_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/sitting"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/cjson"
	"example.com/bailiwick/tuf/key"
	"example.com/bailiwick/tuf/repo"
	"example.com/bailiwick/tuf/trust"
)

const day = 24 * time.Hour

var foundedAt = time.Date(2030, 1, 1, 9, 0, 0, 0, time.UTC)

// place is a repository in memory, from its first publication on, that takes what is signed offline in the
// way the index does: verified as a client does that has the publication before.
type place struct {
	tb     testing.TB
	layout policy.Layout
	now    time.Time
	// keys are those of the repository; tests may change them.
	keys map[policy.KeyRole][]key.Signer
	// maintainers are the keys of projects, all of which sign.
	maintainers map[string][]key.Signer

	roots [][]byte
	files map[tuf.RoleName][]byte // newest, by role
	set   *trust.Set
}

// newPlace makes a repository without projects.
func newPlace(tb testing.TB, bins int) *place {
	tb.Helper()
	return makePlace(tb, bins, "")
}

func makePlace(tb testing.TB, bins int, whose string) *place {
	tb.Helper()
	layout, err := policy.NewLayout(bins)
	if err != nil {
		tb.Fatal(err)
	}
	w := &place{
		tb: tb, layout: layout, now: foundedAt, keys: make(map[policy.KeyRole][]key.Signer),
		maintainers: make(map[string][]key.Signer), files: make(map[tuf.RoleName][]byte),
	}
	spec := policy.GenesisSpec{Layout: layout, Keys: make(map[policy.KeyRole][]*key.Public), Now: w.now}
	for _, role := range policy.KeyRoles() {
		s := namedKey(tb, whose+" of "+string(role))
		w.keys[role] = []key.Signer{s}
		spec.Keys[role] = []*key.Public{s.Public()}
	}
	drafts, err := policy.Genesis(spec)
	if err != nil {
		tb.Fatal(err)
	}
	for _, d := range drafts {
		w.files[d.Role()] = w.signed(d, nil)
	}
	w.roots = [][]byte{w.files[tuf.RoleRoot]}
	staged := trust.Staged{Roots: w.roots, Targets: w.files[tuf.RoleTargets], Snapshot: w.files[tuf.RoleSnapshot], Timestamp: w.files[tuf.RoleTimestamp]}
	for role := range w.files {
		if chain := w.chain(role); len(chain) > 0 {
			staged.Delegated = append(staged.Delegated, trust.StagedRole{Chain: chain, Bytes: w.files[role]})
		}
	}
	if w.set, err = trust.StageFirst(w.now, trust.Options{Cache: trust.NewCache(1 << 30)}, staged); err != nil {
		tb.Fatal(err)
	}
	return w
}

// chain is the way to a delegated role; a project is looked for in the claimed tree first.
func (w *place) chain(role tuf.RoleName) []tuf.RoleName {
	bin, _ := policy.BinOf(role)
	switch policy.KindOf(role) {
	case policy.KindClaimed:
		return []tuf.RoleName{policy.RoleClaimed}
	case policy.KindClaimedBin:
		return w.layout.ClaimedBinChain(bin)
	case policy.KindUnclaimed:
		return w.layout.UnclaimedBinChain(w.someBin())[:3]
	case policy.KindUnclaimedBin:
		return w.layout.UnclaimedBinChain(bin)
	case policy.KindProject:
		p, _ := policy.ProjectOf(role)
		if _, ok := w.read(w.layout.ClaimedBin(p)).Delegations().Find(role); ok {
			return append(w.layout.ClaimedChain(p), role)
		}
		return append(w.layout.UnclaimedChain(p), role)
	case policy.KindOther:
		p, _, ok := policy.SubRoleOf(role)
		if ok {
			return append(w.chain(policy.ProjectRole(p)), role)
		}
	}
	return nil
}

func (w *place) someBin() string {
	for bin := range w.layout.BinNames() {
		return bin
	}
	return ""
}

// read parses the newest version of a role, trusting it.
func (w *place) read(role tuf.RoleName) *tuf.Targets {
	w.tb.Helper()
	return parsed(w.tb, w.files[role])
}

// parsed reads a file of which nobody asks who signed it.
func parsed(tb testing.TB, data []byte) *tuf.Targets {
	tb.Helper()
	u, err := tuf.ParseTargets(data, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return content(tb, u.Message())
}

// content reads a message that nobody has signed.
func content(tb testing.TB, message []byte) *tuf.Targets {
	tb.Helper()
	s := namedKey(tb, "nobody")
	u, err := tuf.ParseTargets(tuf.AppendEnvelope(nil, message, []tuf.Signature{signature(tb, s, message)}), nil)
	if err != nil {
		tb.Fatal(err)
	}
	t, err := u.Verify(byAll(tb, 1, s))
	if err != nil {
		tb.Fatal(err)
	}
	return t
}

func signature(tb testing.TB, s key.Signer, message []byte) tuf.Signature {
	tb.Helper()
	sig, err := s.Sign(context.Background(), message)
	if err != nil {
		tb.Fatal(err)
	}
	return tuf.Signature{KeyID: s.Public().ID(), Sig: sig}
}

func byAll(tb testing.TB, threshold int, signers ...key.Signer) tuf.Authority {
	tb.Helper()
	var keys []*key.Public
	for _, s := range signers {
		keys = append(keys, s.Public())
	}
	a, err := tuf.NewAuthority(threshold, keys...)
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

// signersOf returns who holds the keys of a role.
func (w *place) signersOf(role tuf.RoleName) []key.Signer {
	if p, ok := policy.ProjectOf(role); ok && w.maintainers[p.String()] != nil {
		return w.maintainers[p.String()]
	}
	by, _ := policy.SignedBy(role)
	return w.keys[by]
}

// signed signs a draft with all keys of its role.
func (w *place) signed(d *repo.Draft, signers []key.Signer) []byte {
	w.tb.Helper()
	if signers == nil {
		signers = w.signersOf(d.Role())
	}
	data, err := repo.Sign(context.Background(), d, signers...)
	if err != nil {
		w.tb.Fatal(err)
	}
	return data
}

// edit drafts the next version of a role and signs it.
func (w *place) edit(role tuf.RoleName, edit repo.TargetsEdit) []byte {
	w.tb.Helper()
	base := w.read(role)
	signers := w.signersOf(role)
	d, err := repo.EditTargets(base, edit, repo.Issue{
		Role: role, Version: base.Version() + 1, Now: w.now, Expires: w.now.Add(60 * day), Authority: byAll(w.tb, len(signers), signers...),
	})
	if err != nil {
		w.tb.Fatal(err)
	}
	return w.signed(d, signers)
}

// publish puts new versions online: every one is verified through its delegator, as clients will.
func (w *place) publish(changed map[tuf.RoleName][]byte) error {
	next := trust.Staged{}
	versions := make(map[tuf.RoleName]int64)
	files := maps.Clone(w.files)
	for role, data := range changed {
		files[role] = data
		switch role {
		case tuf.RoleRoot:
			next.Roots = [][]byte{data}
		case tuf.RoleTargets:
			next.Targets = data
			versions[role] = parsed(w.tb, data).Version()
		default:
			versions[role] = parsed(w.tb, data).Version()
		}
	}
	before := w.files
	w.files = files // chains follow from what will be there
	for _, role := range slices.Sorted(maps.Keys(changed)) {
		if chain := w.chain(role); len(chain) > 0 {
			next.Delegated = append(next.Delegated, trust.StagedRole{Chain: chain, Bytes: changed[role]})
		}
	}
	err := w.pin(&next, versions)
	if err == nil {
		var set *trust.Set
		if set, err = w.set.Stage(w.now, next, w.load); err == nil {
			w.set = set
			w.roots = append(w.roots, next.Roots...)
			w.files[tuf.RoleSnapshot], w.files[tuf.RoleTimestamp] = next.Snapshot, next.Timestamp
			return nil
		}
	}
	w.files = before
	return err
}

// pin makes snapshot and timestamp.
func (w *place) pin(next *trust.Staged, versions map[tuf.RoleName]int64) error {
	issue := func(role tuf.RoleName, version int64) repo.Issue {
		s := w.signersOf(role)
		return repo.Issue{Version: version + 1, Now: w.now, Expires: w.now.Add(7 * day), Authority: byAll(w.tb, len(s), s...)}
	}
	d, err := repo.EditSnapshot(w.set.Snapshot(), versions, issue(tuf.RoleSnapshot, w.set.Snapshot().Version()))
	if err != nil {
		return err
	}
	next.Snapshot = w.signed(d, nil)
	t, err := repo.EditTimestamp(w.set.Timestamp(), repo.MetaOf(d.Version(), next.Snapshot), issue(tuf.RoleTimestamp, w.set.Timestamp().Version()))
	if err != nil {
		return err
	}
	next.Timestamp = w.signed(t, nil)
	return nil
}

func (w *place) load(role tuf.RoleName, meta tuf.Meta) ([]byte, error) {
	data, ok := w.files[role]
	if !ok {
		return nil, fmt.Errorf("%s version %d: no such file", role, meta.Version)
	}
	return data, nil
}

func (w *place) mustPublish(changed map[tuf.RoleName][]byte) {
	w.tb.Helper()
	if err := w.publish(changed); err != nil {
		w.tb.Fatal(err)
	}
}

func projectOf(tb testing.TB, name string) pypi.Project {
	tb.Helper()
	p, err := pypi.ParseProject(name)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// claim lets maintainers claim projects, online, with files: recently claimed from now on.
func (w *place) claim(since time.Time, threshold int, names ...string) {
	w.tb.Helper()
	changed := make(map[tuf.RoleName][]byte)
	edits := make(map[tuf.RoleName]repo.TargetsEdit)
	for _, name := range names {
		p := projectOf(w.tb, name)
		if w.maintainers[name] == nil {
			for i := range threshold {
				w.maintainers[name] = append(w.maintainers[name], namedKey(w.tb, fmt.Sprintf("%s %d", name, i)))
			}
		}
		a := byAll(w.tb, threshold, w.maintainers[name]...)
		role := policy.ProjectRole(p)
		d, err := repo.NewTargets(
			repo.TargetsSpec{Targets: []tuf.Target{fileOf(w.layout, p, "1.0"), fileOf(w.layout, p, "2.0")}},
			repo.Issue{Role: role, Version: 1, Now: w.now, Expires: w.now.Add(3 * 365 * day), Authority: a},
		)
		if err != nil {
			w.tb.Fatal(err)
		}
		changed[role] = w.signed(d, nil)
		bin := w.layout.UnclaimedBin(p)
		e := edits[bin]
		e.AddDelegations = append(e.AddDelegations, policy.ClaimProject(w.layout, p, a, since))
		edits[bin] = e
	}
	for bin, e := range edits {
		changed[bin] = w.edit(bin, e)
	}
	w.mustPublish(changed)
}

func fileOf(l policy.Layout, p pypi.Project, version string) tuf.Target {
	name := p.String() + "-" + version + ".tar.gz"
	return tuf.Target{Path: tuf.TargetPath(l.Dir(p) + "/" + name), Length: 100, Hashes: tuf.SHA256Hashes(sha256.Sum256([]byte(name)))}
}

// state is what a request is planned on.
func (w *place) state() sitting.State {
	return sitting.State{
		Repository: sha256.Sum256(w.roots[0]), Set: w.set, Load: w.load, Layout: w.layout, Now: w.now, Lifetimes: policy.DefaultLifetimes(),
		Root: func(version int64) ([]byte, error) { return w.roots[version-1], nil },
	}
}

func (w *place) plan(wishes sitting.Wishes) *sitting.Request {
	w.tb.Helper()
	r, err := sitting.Plan(context.Background(), w.state(), wishes)
	if err != nil {
		w.tb.Fatal(err)
	}
	return r
}

// carry encodes and decodes a request, as on the way to another machine.
func carry(tb testing.TB, r *sitting.Request) *sitting.Request {
	tb.Helper()
	var b bytes.Buffer
	if err := sitting.Encode(&b, r); err != nil {
		tb.Fatal(err)
	}
	out, err := sitting.Decode(&b)
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

func judge(tb testing.TB, r *sitting.Request, now time.Time) *sitting.Verdict {
	tb.Helper()
	v, err := sitting.Judge(r, now)
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

// signOffline adds the signatures that a verdict misses, as far as the keys are at hand.
func signOffline(tb testing.TB, r *sitting.Request, v *sitting.Verdict, signers ...key.Signer) {
	tb.Helper()
	for _, m := range v.Missing {
		for _, s := range signers {
			if !slices.Contains(m.Keys, s.Public().ID()) {
				continue
			}
			if _, err := r.Add(m.Role, signature(tb, s, r.Payload(m.Role).Message)); err != nil {
				tb.Fatal(err)
			}
		}
	}
}

// offline are all offline keys.
func (w *place) offline() []key.Signer {
	return slices.Concat(w.keys[policy.KeyRoot], w.keys[policy.KeyTargets], w.keys[policy.KeyClaimed], w.keys[policy.KeyUnclaimed])
}

// take signs a request, carries it back and publishes it.
func (w *place) take(r *sitting.Request) *sitting.Verdict {
	w.tb.Helper()
	r = carry(w.tb, r)
	signOffline(w.tb, r, judge(w.tb, r, w.now), w.offline()...)
	v := judge(w.tb, carry(w.tb, r), w.now)
	if !v.Complete() {
		w.tb.Fatalf("signatures are missing: %v", v.Missing)
	}
	changed := make(map[tuf.RoleName][]byte)
	for _, result := range v.Roles {
		changed[result.Role] = result.Bytes
	}
	w.mustPublish(changed)
	return v
}

// entry returns the delegation of a project by its claimed bin.
func (w *place) entry(name string) (tuf.Delegation, bool) {
	p := projectOf(w.tb, name)
	return w.read(w.layout.ClaimedBin(p)).Delegations().Find(policy.ProjectRole(p))
}

// found is the search of a client for the first file of a project, and how sure it is.
func (w *place) found(name string) (policy.Assurance, error) {
	p := projectOf(w.tb, name)
	found, err := w.set.Find(fileOf(w.layout, p, "1.0").Path, w.load)
	if err != nil {
		return policy.Unclaimed, err
	}
	var chain []policy.ChainLink
	for _, l := range found.Chain {
		chain = append(chain, policy.ChainLink{Role: l.Role, Keys: l.Authority.KeyIDs()})
	}
	return policy.Assess(chain), nil
}

// rekey is a change of keys as its ceremony leaves it, signed by signers.
func (w *place) rekey(name string, threshold int, next []key.Signer, edit repo.TargetsEdit, signers ...key.Signer) *ceremony.Request {
	w.tb.Helper()
	p := projectOf(w.tb, name)
	role := policy.ProjectRole(p)
	base := w.read(role)
	r := &ceremony.Request{
		Kind: ceremony.Rekey, Repository: w.state().Repository, Project: p, Bases: map[tuf.RoleName]int64{role: base.Version()},
		Threshold: threshold, Created: w.now, Expires: w.now.Add(10 * day),
	}
	for _, s := range next {
		r.Keys = append(r.Keys, s.Public())
	}
	d, err := repo.EditTargets(base, edit, repo.Issue{
		Role: role, Version: base.Version() + 1, Now: w.now, Expires: w.now.Add(365 * day), Authority: byAll(w.tb, threshold, next...),
	})
	if err != nil {
		w.tb.Fatal(err)
	}
	r.Payloads = []ceremony.Payload{{Role: role, Message: d.Message()}}
	for _, s := range signers {
		if _, err := r.Add(role, signature(w.tb, s, d.Message())); err != nil {
			w.tb.Fatal(err)
		}
	}
	return r
}

// object is a JSON object that a test bends.
type object = map[string]any

// bend changes what a payload says, and drops its signatures.
func bend(tb testing.TB, r *sitting.Request, role tuf.RoleName, edit func(signed object)) {
	tb.Helper()
	p := r.Payload(role)
	if p == nil {
		tb.Fatalf("there is no payload of %s", role)
	}
	p.Message, p.Signatures = bent(tb, p.Message, edit), nil
}

func bent(tb testing.TB, message []byte, edit func(signed object)) []byte {
	tb.Helper()
	d := json.NewDecoder(bytes.NewReader(cjson.AppendWire(nil, message)))
	d.UseNumber()
	var signed object
	if err := d.Decode(&signed); err != nil {
		tb.Fatal(err)
	}
	edit(signed)
	data, err := json.Marshal(signed)
	if err == nil {
		data, err = cjson.Canonical(data, 0)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

func projects(tb testing.TB, names ...string) []pypi.Project {
	tb.Helper()
	var out []pypi.Project
	for _, n := range names {
		out = append(out, projectOf(tb, n))
	}
	return out
}

func rekeys(r ...*ceremony.Request) []*ceremony.Request { return r }

// newPlaceOf is a repository with keys of its own.
func newPlaceOf(tb testing.TB, whose string) *place {
	tb.Helper()
	return makePlace(tb, 16, whose)
}
