package testrepo

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
)

// Serve replaces what is served under a metadata name.
func (r *Repo) Serve(name string, data []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.files[name] = data
}

// ServeTarget replaces what is served under a target's name (see TargetName).
func (r *Repo) ServeTarget(name string, data []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.targets[name] = data
}

// Remove makes a metadata name absent.
func (r *Repo) Remove(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.files, name)
}

// Break makes fetching a name go wrong; targets behind "targets/". The zero
// Fault ends it.
func (r *Repo) Break(name string, f Fault) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults[name] = f
}

// Truncate serves only the first n bytes of a metadata file.
func (r *Repo) Truncate(name string, n int) { r.Serve(name, r.served(name)[:n]) }

// Corrupt changes one bit in the middle of a metadata file.
func (r *Repo) Corrupt(name string) {
	data := bytes.Clone(r.served(name))
	data[len(data)/2] ^= 1
	r.Serve(name, data)
}

// Endless lets a metadata file go on for ever.
func (r *Repo) Endless(name string) { r.Break(name, Fault{Endless: true}) }

// DropSignatures serves a role's newest metadata without signatures.
func (r *Repo) DropSignatures(role string) { r.resign(role) }

// SwapKey serves a role's newest metadata as an attacker signs it: with a key
// of their own, under its own id and under those of the right keys.
func (r *Repo) SwapKey(role string) {
	attacker := NewKey("attacker")
	signed := r.signed(role)
	message := Canonical(signed)
	signatures := []any{signature(attacker, message)}
	for _, k := range r.holders(role).Keys {
		s := signature(attacker, message)
		s["keyid"] = string(k.ID())
		signatures = append(signatures, s)
	}
	r.Serve(r.FileName(role), Wire(Canonical(map[string]any{"signed": signed, "signatures": signatures})))
}

// SignOnly serves a role's newest metadata signed by exactly these keys.
func (r *Repo) SignOnly(role string, keys ...Key) { r.resign(role, keys...) }

// Restore serves a role's newest metadata as it was published, again.
func (r *Repo) Restore(role string) { r.Serve(r.FileName(role), r.current[role]) }

func (r *Repo) resign(role string, keys ...Key) {
	r.Serve(r.FileName(role), Envelope(r.signed(role), keys...))
}

func (r *Repo) holders(role string) Holders {
	if h, ok := r.Top[role]; ok {
		return h
	}
	return r.Roles[role].Holders
}

// signed returns what a role's newest metadata signs.
func (r *Repo) signed(role string) map[string]any {
	var envelope struct{ Signed map[string]any }
	dec := json.NewDecoder(bytes.NewReader(r.current[role]))
	dec.UseNumber()
	if err := dec.Decode(&envelope); err != nil {
		r.tb.Fatalf("testrepo: reading %s: %v", role, err)
	}
	return envelope.Signed
}

func (r *Repo) served(name string) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	data, ok := r.files[name]
	if !ok {
		r.tb.Fatalf("testrepo: nothing is served as %s", name)
	}
	return data
}

// Served returns what is served as a role's newest metadata, nil if nothing is.
func (r *Repo) Served(role string) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.files[r.FileName(role)]
}

// A Moment is all that a repository served at a time, and its versions.
type Moment struct {
	files, targets, current map[string][]byte
	versions                map[string]int64
}

// Moment remembers what is served now.
func (r *Repo) Moment() Moment {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Moment{maps.Clone(r.files), maps.Clone(r.targets), maps.Clone(r.current), maps.Clone(r.Versions)}
}

// Replay serves an earlier moment: rollback, or freeze if time passes. Roots
// published since stay, unless asked otherwise, since clients have them.
func (r *Repo) Replay(m Moment) {
	r.mu.Lock()
	defer r.mu.Unlock()
	roots, newest := r.Versions["root"], r.current["root"]
	kept := map[string][]byte{}
	for v := range roots {
		name := fmt.Sprintf("%d.root.json", v+1)
		kept[name] = r.files[name]
	}
	r.files, r.targets, r.current = maps.Clone(m.files), maps.Clone(m.targets), maps.Clone(m.current)
	r.Versions = maps.Clone(m.versions)
	maps.Copy(r.files, kept)
	r.Versions["root"], r.current["root"] = roots, newest
}

// ReplayFile serves one file as it was at an earlier moment.
func (r *Repo) ReplayFile(m Moment, name string) {
	data, ok := m.files[name]
	if !ok {
		r.tb.Fatalf("testrepo: %s was not served then", name)
	}
	r.Serve(name, data)
}

// Served returns what was served under a metadata name at that moment, nil if nothing.
func (m Moment) Served(name string) []byte { return m.files[name] }
