package repo_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
	"example.com/bailiwick/tuf/repo"
)

var (
	now     = time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)
	expires = now.Add(24 * time.Hour)
)

// fataler is what *testing.T, *testing.B and *rapid.T have in common.
type fataler interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// signerOf makes the same Ed25519 signer for the same name.
func signerOf(t fataler, name string) key.Signer {
	t.Helper()
	seed := sha256.Sum256([]byte(name))
	s, err := key.NewSigner(ed25519.NewKeyFromSeed(seed[:]))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// ecdsaSigner makes a signer whose public key is PEM, with line breaks.
func ecdsaSigner(t fataler) key.Signer {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := key.NewSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func authorityOf(t fataler, threshold int, signers ...key.Signer) tuf.Authority {
	t.Helper()
	keys := make([]*key.Public, len(signers))
	for i, s := range signers {
		keys[i] = s.Public()
	}
	a, err := tuf.NewAuthority(threshold, keys...)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// role is a role with one key.
type role struct {
	name      tuf.RoleName
	signer    key.Signer
	authority tuf.Authority
}

func newRole(t fataler, name tuf.RoleName) role {
	t.Helper()
	s := signerOf(t, string(name))
	return role{name, s, authorityOf(t, 1, s)}
}

func (r role) issue(version int64) repo.Issue {
	return repo.Issue{Role: r.name, Version: version, Expires: expires, Now: now, Authority: r.authority}
}

// published signs and assembles.
func published(t fataler, d *repo.Draft, err error, signers ...key.Signer) []byte {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	b, err := repo.Sign(ctx(t), d, signers...)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

type parse[T any] func([]byte, *tuf.Limits) (*tuf.Unverified[T], error)

// verified reads published bytes with package tuf.
func verified[T any](t fataler, p parse[T], data []byte, a tuf.Authority) *T {
	t.Helper()
	u, err := p(data, nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, data)
	}
	v, err := u.Verify(a)
	if err != nil {
		t.Fatalf("%v\n%s", err, data)
	}
	return v
}

// targets signs a draft of a targets role and reads it back.
func (r role) targets(t fataler, d *repo.Draft, err error) *tuf.Targets {
	t.Helper()
	return verified(t, tuf.ParseTargets, published(t, d, err, r.signer), r.authority)
}

func target(path, content string) tuf.Target {
	return tuf.Target{Path: tuf.TargetPath(path), Length: int64(len(content)), Hashes: tuf.NewHashes([]byte(content))}
}

func paths(t *tuf.Targets) []string {
	var out []string
	for target := range t.All() {
		out = append(out, string(target.Path))
	}
	return out
}

func names(t *tuf.Targets) []string {
	var out []string
	if t.Delegations() == nil {
		return nil
	}
	for d := range t.Delegations().All() {
		out = append(out, string(d.Name()))
	}
	return out
}

func keyCount(t *tuf.Targets) int {
	n := 0
	for range t.Delegations().Keys() {
		n++
	}
	return n
}

// naive is the canonical form as one would write it down from its definition, by
// way of the standard library's decoder.
func naive(t fataler, data []byte) []byte {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		t.Fatalf("not legal JSON: %v\n%q", err, data)
	}
	var b bytes.Buffer
	encode(&b, v)
	return b.Bytes()
}

func encode(b *bytes.Buffer, v any) {
	switch v := v.(type) {
	case map[string]any:
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		b.WriteByte('{')
		for i, k := range keys {
			if i > 0 {
				b.WriteByte(',')
			}
			encode(b, k)
			b.WriteByte(':')
			encode(b, v[k])
		}
		b.WriteByte('}')
	case []any:
		b.WriteByte('[')
		for i, e := range v {
			if i > 0 {
				b.WriteByte(',')
			}
			encode(b, e)
		}
		b.WriteByte(']')
	case string:
		b.WriteString(`"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(v) + `"`)
	case nil:
		b.WriteString("null")
	default:
		fmt.Fprint(b, v)
	}
}

// checkBytes compares what was drafted and published with the naive encoder.
func checkBytes(t fataler, d *repo.Draft, data []byte) {
	t.Helper()
	var envelope struct {
		Signed json.RawMessage `json:"signed"`
	}
	if err := json.Unmarshal(data, &envelope); err != nil {
		t.Fatalf("published bytes are not legal JSON: %v\n%q", err, data)
	}
	if got, want := d.Message(), naive(t, envelope.Signed); !bytes.Equal(got, want) {
		t.Fatalf("message\n%q\nis not canonical, that is\n%q", got, want)
	}
	if !bytes.HasPrefix(data, []byte(`{"signatures":[{"keyid":"`)) {
		t.Fatalf("envelope begins %.60q", data)
	}
}

// foreign signs "signed" as some other program would have written it, white space and all.
func foreign[T any](t fataler, p parse[T], signed string, r role) *T {
	t.Helper()
	sig, err := r.signer.Sign(ctx(t), naive(t, []byte(signed)))
	if err != nil {
		t.Fatal(err)
	}
	data := fmt.Appendf(nil, "{\n \"signed\": %s,\n \"signatures\": [{\"sig\": \"%x\", \"keyid\": \"%s\"}]\n}\n", signed, sig, r.signer.Public().ID())
	return verified(t, p, data, r.authority)
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error = %v, want %v", err, want)
	}
}
