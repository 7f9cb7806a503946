package sitting

import (
	"slices"
	"strings"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
)

// ballot is who has signed one payload.
type ballot struct {
	role    tuf.RoleName
	good    []tuf.Signature // by key id
	signed  []*key.Public
	missing []ceremony.Missing
}

// count verifies the signatures on a payload, and notes which of those it needs are missing.
func (f *finding) count(p *Payload) (*ballot, error) {
	keys := f.also
	for _, n := range f.needs {
		keys = append(keys, keysOf(n.authority)...)
	}
	b, err := countVotes(p, keys)
	if err != nil {
		return nil, err
	}
	for _, n := range f.needs {
		b.need(keysOf(n.authority), n.authority.Threshold(), n.why)
	}
	return b, nil
}

// countVotes verifies the signatures on a payload. One that does not verify, or is of none of the keys, is
// refused and not passed over: somebody has to know.
func countVotes(p *Payload, keys []*key.Public) (*ballot, error) {
	b := &ballot{role: p.Role}
	for _, s := range p.Signatures {
		i := slices.IndexFunc(keys, func(k *key.Public) bool { return k.ID() == s.KeyID })
		if i < 0 {
			return nil, refuse(BadSignature, p.Role, "%s is signed by key %s, which has no say about it; the keys are %s", p.Role, short(s.KeyID), idsOf(keys))
		}
		if !keys[i].Verify(p.Message, s.Sig) {
			return nil, refuse(BadSignature, p.Role, "the signature of key %s on %s does not verify: it was made for other content; sign the request as it is now", short(s.KeyID), p.Role)
		}
		b.good = append(b.good, s)
		if !holds(b.signed, keys[i]) {
			b.signed = append(b.signed, keys[i])
		}
	}
	slices.SortFunc(b.good, func(x, y tuf.Signature) int { return strings.Compare(string(x.KeyID), string(y.KeyID)) })
	return b, nil
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
func (b *ballot) need(keys []*key.Public, n int, why string) {
	have := b.have(keys)
	if have >= n {
		return
	}
	m := ceremony.Missing{Role: b.role, Need: n - have, Why: why}
	for _, k := range keys {
		if !holds(b.signed, k) {
			m.Keys = append(m.Keys, k.ID())
		}
	}
	b.missing = append(b.missing, m)
}

func idsOf(keys []*key.Public) string {
	var ids []string
	for _, k := range keys {
		ids = append(ids, short(k.ID()))
	}
	slices.Sort(ids)
	return strings.Join(slices.Compact(ids), ", ")
}
