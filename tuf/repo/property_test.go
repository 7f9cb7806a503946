package repo_test

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
	"example.com/bailiwick/tuf/repo"
)

// state is what a targets role should say.
type state struct {
	targets     map[string]tuf.Target
	delegations []delegation
	members     map[string]string
}

type delegation struct {
	Name        string
	Threshold   int
	Keys        []key.ID
	Paths       []string
	Prefixes    []string
	Terminating bool
	Minimum     int64
}

var (
	segments    = rapid.StringMatching(`[a-c"{}:,äß☃𝄞 ]{1,4}`)
	targetPaths = rapid.Custom(func(t *rapid.T) string {
		return segments.Draw(t, "folder") + "/" + segments.Draw(t, "file")
	})
	jsonValues = rapid.SampledFrom([]string{
		`{}`, `[]`, `"x"`, `null`, `-17`, `{"b":[{"a":"}],\\\""}],"c":true}`, `[[],{"":""}]`, `"\u0000\n\u2028"`, `{"𝄞":1,"\uffff":2}`,
	})
)

func drawTarget(t *rapid.T, path string) tuf.Target {
	out := target(path, rapid.StringN(0, 4, 8).Draw(t, "content"))
	if rapid.Bool().Draw(t, "has custom") {
		out.Custom = fmt.Appendf(nil, `{"z": %s, "a": %s}`, jsonValues.Draw(t, "z"), jsonValues.Draw(t, "a"))
	}
	return out
}

func drawDelegation(t *rapid.T, name string) (repo.Delegation, delegation) {
	n := rapid.IntRange(1, 3).Draw(t, "keys")
	first := rapid.IntRange(0, 4).Draw(t, "first key")
	signers := make([]key.Signer, n)
	for i := range signers {
		signers[i] = signerOf(t, fmt.Sprint("key", first+i))
	}
	d := repo.Delegation{
		Role:           tuf.RoleName(name),
		Authority:      authorityOf(t, rapid.IntRange(1, n).Draw(t, "threshold"), signers...),
		Terminating:    rapid.Bool().Draw(t, "terminating"),
		MinimumVersion: rapid.Int64Range(0, 3).Draw(t, "minimum"),
	}
	if rapid.Bool().Draw(t, "hashed") {
		d.HashPrefixes = []string{rapid.StringMatching(`[0-9a-f]{1,4}`).Draw(t, "prefix")}
	} else {
		d.Paths = []string{rapid.StringMatching(`[a-c*?"]{1,5}`).Draw(t, "pattern"), "x/*"}
	}
	return d, delegation{name, d.Authority.Threshold(), d.Authority.KeyIDs(), d.Paths, d.HashPrefixes, d.Terminating, d.MinimumVersion}
}

func lower(name string) string { return string(bytes.ToLower([]byte(name))) }

// drawEdit draws an edit that is allowed and applies it to the state.
func (s *state) drawEdit(t *rapid.T) repo.TargetsEdit {
	edit := repo.TargetsEdit{Members: make(map[string][]byte)}
	for _, path := range rapid.SliceOfNDistinct(targetPaths, 0, 5, rapid.ID).Draw(t, "put") {
		one := drawTarget(t, path)
		edit.Put = append(edit.Put, one)
		s.targets[path] = one
	}
	for _, path := range slices.Sorted(maps.Keys(s.targets)) {
		again := slices.ContainsFunc(edit.Put, func(o tuf.Target) bool { return string(o.Path) == path })
		if !again && rapid.IntRange(0, 3).Draw(t, "remove") == 0 {
			edit.Remove = append(edit.Remove, tuf.TargetPath(path))
			delete(s.targets, path)
		}
	}
	used := make(map[string]bool) // no role twice in one edit
	var kept []delegation
	for _, d := range s.delegations {
		used[lower(d.Name)] = true
		switch rapid.IntRange(0, 5).Draw(t, "fate") {
		case 0:
			edit.RemoveDelegations = append(edit.RemoveDelegations, tuf.RoleName(d.Name))
			continue
		case 1:
			replacement, model := drawDelegation(t, d.Name)
			edit.ReplaceDelegations = append(edit.ReplaceDelegations, replacement)
			d = model
		}
		kept = append(kept, d)
	}
	for _, name := range rapid.SliceOfNDistinct(rapid.StringMatching(`[a-dA-D"ä.-]{1,3}`), 0, 3, lower).Draw(t, "add") {
		if used[lower(name)] {
			continue
		}
		added, model := drawDelegation(t, name)
		edit.AddDelegations = append(edit.AddDelegations, added)
		kept = append(kept, model)
	}
	s.delegations = kept
	for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"", "a", "x-𝄞", "x-\uffff", "x\"", "zzz", "\n"}), 0, 3, rapid.ID).Draw(t, "members") {
		if rapid.Bool().Draw(t, "drop") {
			edit.Members[name] = nil
			delete(s.members, name)
			continue
		}
		value := jsonValues.Draw(t, "value")
		edit.Members[name] = []byte(value)
		s.members[name] = string(naive(t, []byte(value)))
	}
	return edit
}

// read turns verified metadata into a state.
func read(t fataler, v *tuf.Targets) state {
	t.Helper()
	s := state{targets: make(map[string]tuf.Target), members: make(map[string]string)}
	for one := range v.All() {
		s.targets[string(one.Path)] = one
	}
	if list := v.Delegations(); list != nil {
		used := make(map[key.ID]bool)
		for d := range list.All() {
			a, err := d.Authority()
			if err != nil {
				t.Fatal(err)
			}
			s.delegations = append(s.delegations, delegation{
				string(d.Name()), a.Threshold(), a.KeyIDs(), d.Paths(), d.HashPrefixes(), d.Terminating(), d.MinimumVersion(),
			})
			for _, id := range a.KeyIDs() {
				used[id] = true
				if _, ok := a.Key(id); !ok {
					t.Fatalf("key %s of %s is missing", id, d.Name())
				}
			}
		}
		for id := range list.Keys() {
			if !used[id] {
				t.Fatalf("key %s is listed for nobody", id)
			}
		}
	}
	for name, raw := range v.Members() {
		switch name {
		case "_type", "spec_version", "version", "expires", "targets", "delegations", repo.MemberRoleName:
		default:
			s.members[name] = string(naive(t, raw))
		}
	}
	return s
}

// TestReadingBackWhatWasWritten edits a role at random and compares, after each
// edit, what package tuf reads with a model, and the bytes with the naive encoder.
func TestReadingBackWhatWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := newRole(t, "project.x")
		model := state{targets: make(map[string]tuf.Target), members: make(map[string]string)}
		first := model.drawEdit(t)
		d, err := repo.NewTargets(repo.TargetsSpec{Targets: first.Put, Delegations: first.AddDelegations, Members: first.Members}, r.issue(1))
		for version := int64(1); ; version++ {
			data := published(t, d, err, r.signer)
			checkBytes(t, d, data)
			got := verified(t, tuf.ParseTargets, data, r.authority)
			opts := cmp.Options{
				cmp.AllowUnexported(state{}), cmp.Comparer(func(a, b tuf.Hashes) bool { return a == b }),
				cmp.Transformer("custom", func(b []byte) string { return string(naive(t, orNull(b))) }),
			}
			if diff := cmp.Diff(model, read(t, got), opts); diff != "" {
				t.Fatalf("version %d (-model +read back):\n%s", version, diff)
			}
			if version == 4 {
				return
			}
			d, err = repo.EditTargets(got, model.drawEdit(t), r.issue(version+1))
		}
	})
}

func orNull(b []byte) []byte {
	if b == nil {
		return []byte("null")
	}
	return b
}

// TestMergingSignatures: whatever order they come in, and whatever junk comes along,
// the result is the same, or a ThresholdError that counts right.
func TestMergingSignatures(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 5).Draw(t, "keys")
		threshold := rapid.IntRange(1, n).Draw(t, "threshold")
		signers := make([]key.Signer, n)
		for i := range signers {
			signers[i] = signerOf(t, fmt.Sprint(i))
		}
		d, err := repo.NewTargets(repo.TargetsSpec{}, repo.Issue{
			Role: "x", Version: 1, Expires: expires, Now: now, Authority: authorityOf(t, threshold, signers...),
		})
		if err != nil {
			t.Fatal(err)
		}
		who := rapid.SliceOfDistinct(rapid.IntRange(0, n-1), rapid.ID).Draw(t, "who signs")
		junk := []tuf.Signature{{KeyID: "00", Sig: []byte("junk")}, {KeyID: signers[0].Public().ID()}}
		for _, i := range who {
			junk = append(junk, sign(t, d, signers[i]))
		}
		one, err1 := d.Assemble(junk)
		other, err2 := d.Assemble(rapid.Permutation(junk).Draw(t, "order"))
		if !bytes.Equal(one, other) || (err1 == nil) != (err2 == nil) {
			t.Fatalf("order matters:\n%s %v\n%s %v", one, err1, other, err2)
		}
		if (err1 == nil) != (len(who) >= threshold) {
			t.Fatalf("%d of %d signed: %v", len(who), threshold, err1)
		}
		if err1 == nil {
			verified(t, tuf.ParseTargets, one, d.Authority())
		}
	})
}
