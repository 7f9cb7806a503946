package ceremony

import (
	"slices"
	"strings"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
)

// ballot counts who has signed one payload.
type ballot struct {
	payload *Payload
	proven  proof // of one of its signatures, which needs no second look
	wanted  map[key.ID]*key.Public
	good    []tuf.Signature
	signed  []*key.Public
}

// signatures verifies every signature that came, and finds out which are missing.
func (j *judge) signatures() error {
	for i := range j.r.Payloads {
		p := &j.r.Payloads[i]
		edge := j.out.Authority
		if d, ok := j.subs[p.Role]; ok {
			var err error
			if edge, err = d.Authority(); err != nil {
				return refuse(Key, p.Role, "reading the keys of %s: %v", p.Role, err)
			}
		}
		b := &ballot{payload: p, proven: j.proven[p.Role], wanted: make(map[key.ID]*key.Public)}
		b.want(keysOf(edge))
		recovery, err := j.oldKeys(b)
		if err != nil {
			return err
		}
		if err := b.count(); err != nil {
			return err
		}
		j.needs(b, edge, recovery)
		if err := j.result(b, edge); err != nil {
			return err
		}
	}
	switch {
	case j.r.Kind == Recover:
		j.out.Offline, j.out.By = j.s.Layout.ClaimedBin(j.s.Project), ByOperators
	case j.r.Kind == Rekey && j.s.Tree == policy.RoleClaimed:
		j.out.Offline = j.s.Bin
	}
	return nil
}

// oldKeys wants the keys that a rekey is decided by, and returns the recovery keys.
func (j *judge) oldKeys(b *ballot) ([]*key.Public, error) {
	if j.r.Kind != Rekey || b.payload.Role != j.role {
		return nil, nil
	}
	b.want(keysOf(j.s.Owners))
	recovery, err := RecoveryKeys(j.s.Base)
	if err != nil {
		return nil, err
	}
	b.want(recovery)
	return recovery, nil
}

func (b *ballot) want(keys []*key.Public) {
	for _, k := range keys {
		b.wanted[k.ID()] = k
	}
}

// count verifies the signatures.
func (b *ballot) count() error {
	for _, s := range b.payload.Signatures {
		k, ok := b.wanted[s.KeyID]
		if !ok {
			return refuse(ForeignKey, b.payload.Role, "key %s has no say about %s; sign with one of %s", short(s.KeyID), b.payload.Role, list(b.wanted))
		}
		if !b.proven.of(k, s) && !k.Verify(b.payload.Message, s.Sig) {
			return refuse(BadSignature, b.payload.Role, "the signature of key %s on %s does not verify: it was made for other content; sign the request as it is now", short(s.KeyID), b.payload.Role)
		}
		b.good = append(b.good, s)
		if !holds(b.signed, k) {
			b.signed = append(b.signed, k)
		}
	}
	slices.SortFunc(b.good, func(x, y tuf.Signature) int { return strings.Compare(string(x.KeyID), string(y.KeyID)) })
	return nil
}

func list(keys map[key.ID]*key.Public) string {
	ids := make([]string, 0, len(keys))
	for id := range keys {
		ids = append(ids, short(id))
	}
	slices.Sort(ids)
	return strings.Join(ids, ", ")
}

// needs notes which signatures are missing on a payload.
func (j *judge) needs(b *ballot, edge tuf.Authority, recovery []*key.Public) {
	keys := keysOf(edge)
	switch {
	case b.payload.Role != j.role || j.r.Kind == Release:
		j.need(b, keys, edge.Threshold(), "its threshold")
	case j.r.Kind == Claim:
		j.need(b, keys, len(keys), "every key of a claim signs it")
	case j.r.Kind == Recover:
		j.need(b, keys, len(keys), "every key that gets the project signs")
	default:
		old := keysOf(j.s.Owners)
		j.need(b, keys, edge.Threshold(), "the new threshold")
		var added []*key.Public
		for _, k := range keys {
			if !holds(old, k) {
				added = append(added, k)
			}
		}
		j.need(b, added, len(added), "every added key signs")
		switch {
		case b.have(old) >= j.s.Owners.Threshold():
			j.out.By = ByKeys
		case b.have(recovery) > 0:
			j.out.By = ByRecovery
		case !j.s.IsParked() && j.oneLess(old, keys):
			if b.have(keys) >= edge.Threshold() {
				j.out.By = ByAccount
			}
		default:
			why := "the threshold it has now"
			if len(recovery) > 0 {
				why += ", or one recovery key"
			}
			j.need(b, old, j.s.Owners.Threshold(), why)
		}
	}
}

// oneLess reports whether a rekey does nothing but take one key away, as the account may.
func (j *judge) oneLess(old, next []*key.Public) bool {
	kept := !slices.ContainsFunc(next, func(k *key.Public) bool { return !holds(old, k) })
	return kept && len(next) == len(old)-1 && j.out.Authority.Threshold() == min(j.s.Authority.Threshold(), len(next)) &&
		sameMember(j.s.Base, j.drafts[j.role], RecoveryMember) && !j.delegationsChange() && len(j.drafts) == 1
}

// have counts those of the keys that have signed.
func (b *ballot) have(keys []*key.Public) int {
	n := 0
	for _, k := range keys {
		if holds(b.signed, k) {
			n++
		}
	}
	return n
}

// need notes what is missing until n of the keys have signed.
func (j *judge) need(b *ballot, keys []*key.Public, n int, why string) {
	have := b.have(keys)
	if have >= n {
		return
	}
	m := Missing{Role: b.payload.Role, Need: n - have, Why: why}
	for _, k := range keys {
		if !holds(b.signed, k) {
			m.Keys = append(m.Keys, k.ID())
		}
	}
	j.out.Missing = append(j.out.Missing, m)
}

// result makes the bytes to publish. They hold all good signatures, those of keys on their way out
// too: anyone can then check from published metadata alone that the old keys agreed to the new.
func (j *judge) result(b *ballot, edge tuf.Authority) error {
	t := j.drafts[b.payload.Role]
	r := Result{Role: b.payload.Role, Version: t.Version(), Expires: t.Expires(), Targets: t}
	for _, s := range b.good {
		if _, ok := edge.Key(s.KeyID); ok {
			r.Signers = append(r.Signers, s.KeyID)
		}
	}
	if len(b.good) == 1 && b.proven.of(b.wanted[b.good[0].KeyID], b.good[0]) {
		r.Bytes = t.Bytes() // it was read in this very envelope
	} else {
		r.Bytes = b.payload.envelope(b.good)
	}
	if limit := tuf.DefaultLimits().TargetsBytes; int64(len(r.Bytes)) > limit {
		return refuse(Malformed, r.Role, "version %d of %s would be %d bytes long and clients read at most %d", r.Version, r.Role, len(r.Bytes), limit)
	}
	j.out.Roles = append(j.out.Roles, r)
	return nil
}
