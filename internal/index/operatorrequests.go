package index

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/sitting"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
)

// Kinds of operators' requests, for lists. What a request may do does not depend on its kind.
const (
	KindSitting = "sitting" // over the claimed tree
	KindRenewal = "renewal" // the same content, signed anew
	KindRoot    = "root"    // a new version of root
	KindKeys    = "keys"    // other keys for the index's own roles
)

// MissingGroup are the signatures that several roles need of the same keys.
type MissingGroup struct {
	Role  tuf.RoleName `json:"role"` // the first of them
	Roles int          `json:"roles"`
	Need  int          `json:"need"`
	Keys  []key.ID     `json:"keys"` // any Need of these
	// Names are those of the keys' holders that the request itself says: of keys that come with it.
	Names map[key.ID]string `json:"names,omitempty"`
	Why   string            `json:"why,omitempty"`
}

// OperatorPending is where a signing request of operators stands.
type OperatorPending struct {
	ID, Kind, Title  string
	State            RequestState
	Created, Expires time.Time
	Token            string // that brought it
	By, Note         string
	Payloads         int
	Missing          []MissingGroup
	Blocks           string // what can not happen before
	Next             string // what has to happen, in one sentence
	Stale            bool   // it is open, and was overtaken
	Problem          string // why it can not be published any more
	Publication      int64
	// Bases are the versions on which it is based.
	Bases map[tuf.RoleName]int64
}

// digest is what is kept of a request for lists, so that nobody has to read a hundred megabytes to
// know what waits.
type digest struct {
	Title   string                 `json:"title"`
	By      string                 `json:"by,omitempty"`
	Note    string                 `json:"note,omitempty"`
	Bases   map[tuf.RoleName]int64 `json:"bases"`
	Missing []MissingGroup         `json:"missing"`
	Changes map[string]int         `json:"changes"` // by kind
	// Overtaken is why the index closed it; empty unless it did.
	Overtaken string `json:"overtaken,omitempty"`
}

// digestOf sums up a judged request.
func digestOf(r *sitting.Request, v *sitting.Verdict) (*digest, string) {
	d := &digest{By: r.By, Note: r.Note, Bases: make(map[tuf.RoleName]int64, len(r.Payloads)), Missing: groupMissing(v), Changes: map[string]int{}}
	for _, c := range v.Changes {
		d.Changes[string(c.Kind)]++
	}
	for _, role := range v.Roles {
		d.Bases[role.Role] = role.Version - 1
	}
	d.Title = d.title(v)
	return d, d.kind()
}

// kind names what the request is about, by the most far-reaching of its changes.
func (d *digest) kind() string {
	has := func(kinds ...sitting.ChangeKind) bool {
		return slices.ContainsFunc(kinds, func(k sitting.ChangeKind) bool { return d.Changes[string(k)] > 0 })
	}
	switch {
	case has(sitting.RootKeys, sitting.RootRenewed):
		return KindRoot
	case has(sitting.TreeKeys, sitting.BinKeys):
		return KindKeys
	}
	if _, ok := d.Bases[policy.RoleClaimed]; ok {
		return KindSitting
	}
	return KindRenewal
}

// title says what the request does, in a few words.
func (d *digest) title(v *sitting.Verdict) string {
	var parts []string
	for _, w := range []struct {
		kind      sitting.ChangeKind
		one, many string
	}{
		{sitting.Promoted, "promote %d project", "promote %d projects"},
		{sitting.Rekeyed, "change the keys of %d project", "change the keys of %d projects"},
		{sitting.Recovered, "recover %d project", "recover %d projects"},
		{sitting.Parked, "park %d project", "park %d projects"},
		{sitting.RootKeys, "change who signs for the index", ""},
		{sitting.TreeKeys, "other keys for %d role", "other keys for %d roles"},
		{sitting.BinKeys, "other keys for the bins of %d role", "other keys for the bins of %d roles"},
	} {
		switch n := d.Changes[string(w.kind)]; {
		case n == 0:
		case !strings.Contains(w.one, "%"):
			parts = append(parts, w.one)
		case n == 1:
			parts = append(parts, fmt.Sprintf(w.one, n))
		default:
			parts = append(parts, fmt.Sprintf(w.many, n))
		}
	}
	if renewed := d.renewed(v, len(parts) > 0); renewed != "" {
		parts = append(parts, renewed)
	}
	if len(parts) == 0 {
		return "sign " + rolesText(v.Roles)
	}
	return strings.Join(parts, ", ")
}

// renewed names what is signed anew and does not change otherwise. With other changes, claimed goes without saying.
func (d *digest) renewed(v *sitting.Verdict, others bool) string {
	var roles []sitting.Result
	for _, c := range v.Changes {
		if c.Kind != sitting.Renewed && c.Kind != sitting.RootRenewed || others && c.Role == policy.RoleClaimed {
			continue
		}
		if r, ok := v.Result(c.Role); ok {
			roles = append(roles, r)
		}
	}
	if len(roles) == 0 {
		return ""
	}
	return "renew " + rolesText(roles)
}

// rolesText names a few roles and counts bins.
func rolesText(roles []sitting.Result) string {
	var names []string
	bins := 0
	for _, r := range roles {
		if policy.KindOf(r.Role) == policy.KindClaimedBin {
			bins++
			continue
		}
		names = append(names, string(r.Role))
	}
	switch {
	case bins == 1:
		names = append(names, "1 bin")
	case bins > 1:
		names = append(names, fmt.Sprintf("%d bins", bins))
	}
	if len(names) > 6 {
		names = append(names[:5], fmt.Sprintf("%d more", len(names)-5))
	}
	return strings.Join(names, ", ")
}

// groupMissing sums up what is missing by who can give it.
func groupMissing(v *sitting.Verdict) []MissingGroup {
	at := map[string]int{}
	groups := []MissingGroup{}
	names := v.Names()
	for _, m := range v.Missing {
		id := fmt.Sprint(m.Need, m.Keys)
		i, ok := at[id]
		if !ok {
			i = len(groups)
			at[id] = i
			g := MissingGroup{Role: m.Role, Need: m.Need, Keys: m.Keys, Names: map[key.ID]string{}, Why: m.Why}
			for _, id := range m.Keys {
				if names[id] != "" {
					g.Names[id] = names[id]
				}
			}
			groups = append(groups, g)
		}
		groups[i].Roles++
	}
	return groups
}

// maxOperatorRequests bounds a list of operators' requests.
const maxOperatorRequests = 200

// OperatorRequests returns the signing requests of operators, oldest first: those that wait, or, with all, the
// newest 200 of any state.
func (x *Index) OperatorRequests(ctx context.Context, a Actor, all bool) ([]OperatorPending, error) {
	if err := x.admitOperator(a); err != nil {
		return nil, err
	}
	roles, err := x.publisher.Roles(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the list of roles: %w", err)
	}
	if _, err := x.openDue(ctx, roles); err != nil && !isRefusal(err) {
		return nil, err
	}
	states := []RequestState{RequestOpen}
	if all {
		states = nil
	}
	return x.operatorRequests(ctx, roles, states...)
}

func isRefusal(err error) bool {
	var refusal *Refusal
	return errors.As(err, &refusal)
}

// operatorRequests returns those of some states.
func (x *Index) operatorRequests(ctx context.Context, roles []publish.Role, states ...RequestState) ([]OperatorPending, error) {
	stored, err := x.records.OperatorRequests(ctx, maxOperatorRequests, states...)
	if err != nil {
		return nil, fmt.Errorf("reading the operators' signing requests: %w", err)
	}
	expiries := expiriesOf(roles)
	out := make([]OperatorPending, 0, len(stored))
	for i := range stored {
		p, err := x.operatorPending(&stored[i], expiries)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

// pendingOperator says where an open request stands.
func (x *Index) pendingOperator(ctx context.Context, id string) (OperatorPending, error) {
	stored, err := x.records.OperatorRequests(ctx, maxOperatorRequests, RequestOpen)
	if err != nil {
		return OperatorPending{}, fmt.Errorf("reading the operators' signing requests: %w", err)
	}
	roles, err := x.publisher.Roles(ctx)
	if err != nil {
		return OperatorPending{}, fmt.Errorf("reading the list of roles: %w", err)
	}
	expiries := expiriesOf(roles)
	for i := range stored {
		if stored[i].ID == id {
			return x.operatorPending(&stored[i], expiries)
		}
	}
	return OperatorPending{}, noOperatorRequest(id)
}

// admitOperator refuses whoever is no operator.
func (x *Index) admitOperator(a Actor) error {
	if x.records == nil {
		return noRecords()
	}
	if !a.MayOperate() {
		return refuse(Forbidden, "this is for operators: their tokens are made with bailiwick token new --operator")
	}
	return nil
}

// expiriesOf returns until when the newest versions of the offline roles are good.
func expiriesOf(roles []publish.Role) map[tuf.RoleName]time.Time {
	out := map[tuf.RoleName]time.Time{}
	for _, r := range roles {
		if by, ok := policy.SignedBy(r.Name); ok && !by.Online() {
			out[r.Name] = r.Expires
		}
	}
	return out
}

// operatorPending says where a stored request stands, without reading its body. With the expiries of the
// offline roles it says what the request blocks.
func (x *Index) operatorPending(s *OperatorRequest, expiries map[tuf.RoleName]time.Time) (OperatorPending, error) {
	var d digest
	if err := json.Unmarshal(s.Summary, &d); err != nil {
		return OperatorPending{}, fmt.Errorf("the stored summary of the signing request %s: %w", s.ID, err)
	}
	p := OperatorPending{
		ID: s.ID, Kind: s.Kind, Title: d.Title, State: s.State, Created: s.Created, Expires: s.Expires, Token: s.Token,
		By: d.By, Note: d.Note, Payloads: len(d.Bases), Bases: d.Bases, Publication: s.Publication,
	}
	if s.State == RequestAborted && d.Overtaken != "" {
		p.State, p.Problem = RequestOvertaken, d.Overtaken
	}
	if s.State != RequestOpen {
		return p, nil
	}
	p.Missing = d.Missing
	if p.Problem = overtakenText(x.publisher.Current().Set(), d.Bases); p.Problem != "" {
		p.Stale = true
		p.Next = "abort it and plan it anew"
		return p, nil
	}
	p.Blocks = d.blocks(expiries, x.now())
	if len(p.Missing) > 0 {
		p.Next = "export it, sign it with bailiwick-sign, import it"
	} else {
		p.Next = "it has all signatures: import it once more to publish it"
	}
	return p, nil
}

// blocks says what can not happen before a request is signed.
func (d *digest) blocks(expiries map[tuf.RoleName]time.Time, now time.Time) string {
	var parts []string
	if n := d.Changes[string(sitting.Promoted)]; n > 0 {
		parts = append(parts, fmt.Sprintf("%d stay recently claimed", n))
	}
	if n := d.Changes[string(sitting.Rekeyed)]; n > 0 {
		parts = append(parts, fmt.Sprintf("the old keys of %d hold", n))
	}
	var first tuf.RoleName
	for role := range d.Bases {
		at, ok := expiries[role]
		if ok && (first == "" || at.Before(expiries[first]) || at.Equal(expiries[first]) && depth(role) < depth(first)) {
			first = role
		}
	}
	switch at := expiries[first]; {
	case first == "":
	case now.Before(at):
		parts = append(parts, fmt.Sprintf("%s expires on %s, and then %s", first, at.UTC().Format(time.DateOnly), afterExpiry(first)))
	default:
		parts = append(parts, fmt.Sprintf("%s has expired on %s, and %s", first, at.UTC().Format(time.DateOnly), afterExpiry(first)))
	}
	return strings.Join(parts, "; ")
}

// depth is how far below root a kind of role is: the higher one blocks more.
func depth(role tuf.RoleName) int {
	return slices.Index([]policy.Kind{
		policy.KindRoot, policy.KindTargets, policy.KindClaimed, policy.KindClaimedBin, policy.KindUnclaimed,
	}, policy.KindOf(role))
}

// afterExpiry says what the expiry of an offline role does to those who install.
func afterExpiry(role tuf.RoleName) string {
	switch policy.KindOf(role) { //nolint:exhaustive // the others are renewed by machines
	case policy.KindClaimedBin:
		return "nothing of its projects can be installed"
	case policy.KindUnclaimed:
		return "nothing can be installed that is not claimed"
	}
	return "nothing can be installed from here"
}
