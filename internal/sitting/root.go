package sitting

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
	"example.com/bailiwick/tuf/repo"
)

// Keyholders says who signs what in a repository: the keys of every key role as metadata lists them,
// and the names of those who hold offline ones. It is not changed after it was made.
type Keyholders struct {
	Authorities map[policy.KeyRole]tuf.Authority
	Names       map[key.ID]string // for messages only: see policy.HoldersMember
}

// HoldersOf reads who signs out of metadata: root, targets, any claimed bin, and unclaimed. What is nil is
// left out, and so is what follows from it.
func HoldersOf(root *tuf.Root, targets, bin, unclaimed *tuf.Targets) *Keyholders {
	k := &Keyholders{Authorities: make(map[policy.KeyRole]tuf.Authority), Names: make(map[key.ID]string)}
	if root != nil {
		for role, keys := range map[tuf.RoleName]policy.KeyRole{
			tuf.RoleRoot: policy.KeyRoot, tuf.RoleTargets: policy.KeyTargets,
			tuf.RoleSnapshot: policy.KeySnapshot, tuf.RoleTimestamp: policy.KeyTimestamp,
		} {
			if a, ok := root.Authority(role); ok {
				k.Authorities[keys] = a
			}
		}
		maps.Copy(k.Names, policy.HoldersOf(root))
	}
	k.delegated(targets, policy.KeyClaimed, policy.KindClaimed)
	k.delegated(bin, policy.KeyUnclaimed, policy.KindUnclaimed)
	k.delegated(unclaimed, policy.KeyRegistry, policy.KindUnclaimedBin)
	return k
}

// delegated notes who signs the first delegation of a kind, and the names that are beside it.
func (k *Keyholders) delegated(from *tuf.Targets, keys policy.KeyRole, kind policy.Kind) {
	if from == nil {
		return
	}
	maps.Copy(k.Names, policy.HoldersOf(from))
	ds := from.Delegations()
	if ds == nil {
		return
	}
	for d := range ds.All() {
		if policy.KindOf(d.Name()) != kind {
			continue
		}
		if a, err := d.Authority(); err == nil {
			k.Authorities[keys] = a
		}
		return
	}
}

// Name returns how people know a key: the name of its holder if there is one, and the beginning of its id.
func (k *Keyholders) Name(id key.ID) string {
	if name := k.Names[id]; name != "" {
		return fmt.Sprintf("%s (%.12s)", name, id)
	}
	return fmt.Sprintf("%.12s", id)
}

// Used returns what every key is used for, by fingerprint, in the form that [Enrol] takes.
func (k *Keyholders) Used() map[[32]byte]string {
	used := make(map[[32]byte]string)
	for _, role := range policy.KeyRoles() {
		for _, key := range keysOf(k.Authorities[role]) {
			used[key.Fingerprint()] = string(role)
		}
	}
	return used
}

// apart refuses a key in two key roles: whoever has the one would have the other.
func (k *Keyholders) apart() error {
	holder := make(map[[32]byte]policy.KeyRole)
	for _, role := range policy.KeyRoles() {
		for _, key := range keysOf(k.Authorities[role]) {
			if other, taken := holder[key.Fingerprint()]; taken {
				return refuse(Key, tuf.RoleName(role), "the key %.12s… would sign for %s and for %s: every role needs keys of its own", key.ID(), other, role)
			}
			holder[key.Fingerprint()] = role
		}
	}
	return nil
}

// keysOf returns the keys of an authority that can be used.
func keysOf(a tuf.Authority) []*key.Public {
	var keys []*key.Public
	for _, id := range a.KeyIDs() {
		if k, ok := a.Key(id); ok {
			keys = append(keys, k)
		}
	}
	return keys
}

// Waiting says in lines whose signatures are missing; roles that wait for the same people share one. A
// role that waits for two groups has two.
func Waiting(missing []ceremony.Missing, names map[key.ID]string) []string {
	type group struct {
		first tuf.RoleName
		roles int
		who   string
	}
	k := Keyholders{Names: names}
	var groups []*group
	at := make(map[string]*group)
	for _, m := range missing {
		who := make([]string, len(m.Keys))
		for i, id := range m.Keys {
			who[i] = k.Name(id)
		}
		text := strings.Join(who, ", ")
		if m.Need < len(m.Keys) {
			text = fmt.Sprintf("%d of %s", m.Need, text)
		}
		g := at[text]
		if g == nil {
			g = &group{first: m.Role, who: text}
			at[text], groups = g, append(groups, g)
		}
		g.roles++
	}
	lines := make([]string, len(groups))
	for i, g := range groups {
		role := string(g.first)
		if g.roles > 1 {
			role = fmt.Sprintf("%s and %d more", role, g.roles-1)
		}
		lines[i] = role + ": " + g.who
	}
	return lines
}

// First returns the request for the signatures that a repository needs before it exists: version 1 of
// everything that offline keys sign, at the time spec.Now. What online keys sign is made when those are there:
// see [FirstSpec]. The error is that of policy.Genesis.
func First(spec policy.GenesisSpec, expires time.Time, by, note string) (*Request, error) {
	spec.Now = spec.Now.UTC().Truncate(time.Second)
	drafts, err := policy.Genesis(spec)
	if err != nil {
		return nil, err
	}
	r := &Request{Created: spec.Now, Expires: expires.UTC().Truncate(time.Second), By: by, Note: note}
	for _, d := range drafts {
		if rank(d.Role()) != noRank {
			r.Payloads = append(r.Payloads, Payload{Role: d.Role(), Message: d.Message()})
		}
	}
	r.Sort()
	return r, r.check()
}

// IsFirst reports whether the request is for a repository that does not exist yet.
func (r *Request) IsFirst() bool {
	return r.Repository == [32]byte{} && len(r.Chain.Roots) == 0 && r.Payload(tuf.RoleRoot) != nil && r.Payloads[0].Base == nil
}

// FirstSpec returns what a request of [First] was made from: everything but the lives of what online
// keys sign, which are those of standard. It is what [Judge] holds the request against: drafted anew, every payload has to come
// out the same. So it is safe to draft the rest of the repository from it. The error is a *Refused.
func FirstSpec(r *Request, standard policy.Lifetimes) (policy.GenesisSpec, error) {
	spec := policy.GenesisSpec{Now: r.Created, Lifetimes: standard}
	held, bins, err := r.firstHolders()
	if err != nil {
		return spec, err
	}
	if spec.Layout, err = policy.NewLayout(bins); err != nil {
		return spec, refuse(NotAllowed, tuf.RoleTargets, "%d claimed bins are no layout: %v", bins, err)
	}
	spec.Holders = held.Names
	spec.Keys = make(map[policy.KeyRole][]*key.Public)
	for role, need := range map[policy.KeyRole]*int{
		policy.KeyRoot: &spec.Thresholds.Root, policy.KeyTargets: &spec.Thresholds.Targets,
		policy.KeyClaimed: &spec.Thresholds.Claimed, policy.KeyUnclaimed: &spec.Thresholds.Unclaimed,
		policy.KeyRegistry: &spec.Thresholds.Registry, policy.KeySnapshot: &spec.Thresholds.Snapshot, policy.KeyTimestamp: &spec.Thresholds.Timestamp,
	} {
		a, ok := held.Authorities[role]
		if !ok {
			return spec, refuse(NotAllowed, tuf.RoleName(role), "the request does not say who signs for %s", role)
		}
		spec.Keys[role], *need = keysOf(a), a.Threshold()
	}
	for role, life := range map[tuf.RoleName]*time.Duration{
		tuf.RoleRoot: &spec.Lifetimes.Root, tuf.RoleTargets: &spec.Lifetimes.Targets,
		policy.RoleClaimed: &spec.Lifetimes.NothingClaimed, policy.RoleUnclaimed: &spec.Lifetimes.Unclaimed,
	} {
		expires, err := expiryOf(role, r.Payload(role).Message)
		if err != nil {
			return spec, err
		}
		*life = expires.Sub(r.Created)
	}
	return spec, nil
}

// Holders returns who will sign, by the payloads of a first request; nobody if it is none or can not be
// read. Nothing in it is verified.
func (r *Request) Holders() *Keyholders {
	held, _, err := r.firstHolders()
	if err != nil {
		return HoldersOf(nil, nil, nil, nil)
	}
	return held
}

// firstHolders reads the keys out of the payloads of a first request, and the number of its bins.
func (r *Request) firstHolders() (*Keyholders, int, error) {
	bins := 0
	var bin *Payload
	for i := range r.Payloads {
		if policy.KindOf(r.Payloads[i].Role) == policy.KindClaimedBin {
			bin = &r.Payloads[i]
			bins++
		}
	}
	root, err := peekAt(r, tuf.RoleRoot, tuf.ParseRoot)
	if err != nil {
		return nil, 0, err
	}
	var lists [4]*tuf.Targets
	for i, role := range []tuf.RoleName{tuf.RoleTargets, policy.RoleClaimed, policy.RoleUnclaimed} {
		if lists[i], err = peekAt(r, role, tuf.ParseTargets); err != nil {
			return nil, 0, err
		}
	}
	if bin != nil {
		if lists[3], err = peekAt(r, bin.Role, tuf.ParseTargets); err != nil {
			return nil, 0, err
		}
	}
	return HoldersOf(root, lists[0], lists[3], lists[2]), bins, nil
}

// peekAt reads what the payload of a role says, signed or not.
func peekAt[T any](r *Request, role tuf.RoleName, parse func([]byte, *tuf.Limits) (*tuf.Unverified[T], error)) (*T, error) {
	p := r.Payload(role)
	if p == nil {
		return nil, refuse(NotAllowed, role, "a request for a new repository has all of its offline roles, and %s is missing", role)
	}
	return peek(role, p.Message, parse)
}

// peek reads the content of a message that nobody has signed yet. Package tuf hands out content for a
// threshold of good signatures only, on purpose; so this signs a throw-away copy with a key that everybody knows.
func peek[T any](role tuf.RoleName, message []byte, parse func([]byte, *tuf.Limits) (*tuf.Unverified[T], error)) (*T, error) {
	everybody, err := key.NewSigner(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	if err != nil {
		return nil, err
	}
	authority, err := tuf.NewAuthority(1, everybody.Public())
	if err != nil {
		return nil, err
	}
	sig, err := everybody.Sign(context.Background(), message)
	if err != nil {
		return nil, err
	}
	u, err := parse(tuf.AppendEnvelope(nil, message, []tuf.Signature{{KeyID: everybody.Public().ID(), Sig: sig}}), nil)
	var malformed *tuf.MalformedError
	switch {
	case errors.As(err, &malformed):
		return nil, refuse(Malformed, role, "the payload of %s is no metadata of that role: %s", role, malformed.Reason)
	case err != nil:
		return nil, refuse(Malformed, role, "the payload of %s is no metadata of that role: %v", role, err)
	case !bytes.Equal(u.Message(), message):
		return nil, refuse(Malformed, role, "the payload of %s is not in canonical form", role)
	}
	v, err := u.Verify(authority)
	if err != nil {
		return nil, refuse(Malformed, role, "the payload of %s: %v", role, err)
	}
	return v, nil
}

// expiryOf reads when a payload expires.
func expiryOf(role tuf.RoleName, message []byte) (time.Time, error) {
	if role == tuf.RoleRoot {
		root, err := peek(role, message, tuf.ParseRoot)
		if err != nil {
			return time.Time{}, err
		}
		return root.Expires(), nil
	}
	t, err := peek(role, message, tuf.ParseTargets)
	if err != nil {
		return time.Time{}, err
	}
	return t.Expires(), nil
}

// firstDrafts drafts a first request anew from what it says, and refuses it unless every payload comes out
// the same: nothing can be in a new repository that bailiwick init would not put there. The drafts are in the
// order of the payloads.
func (r *Request) firstDrafts() ([]*repo.Draft, error) {
	spec, err := FirstSpec(r, policy.DefaultLifetimes())
	if err != nil {
		return nil, err
	}
	all, err := policy.Genesis(spec)
	if err != nil {
		return nil, refuse(NotAllowed, "", "the request does not describe a repository: %v", err)
	}
	drafts := slices.DeleteFunc(all, func(d *repo.Draft) bool { return rank(d.Role()) == noRank })
	slices.SortFunc(drafts, func(a, b *repo.Draft) int { return order(a.Role(), b.Role()) })
	if len(drafts) != len(r.Payloads) {
		return nil, refuse(NotAllowed, "", "the request has %d payloads, and a new repository of this layout has %d offline roles", len(r.Payloads), len(drafts))
	}
	for i, d := range drafts {
		p := &r.Payloads[i]
		if p.Role != d.Role() || p.Base != nil || !bytes.Equal(p.Message, d.Message()) {
			return nil, refuse(NotAllowed, p.Role, "%s is not what a new repository has there: the request was made by another program, or altered", p.Role)
		}
	}
	return drafts, nil
}
