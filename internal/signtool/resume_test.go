package signtool_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"example.com/bailiwick/internal/keys"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/sitting"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
)

// device is a token, "test:", that counts its signatures and can be told when something happens.
type device struct {
	key.Signer
	mu     sync.Mutex
	signed int
	at     int          // before this signature, counted from 1
	do     func() error // what happens then
}

func (v *device) Scheme() string { return "test" }
func (v *device) Form() string   { return "test:KEY" }
func (v *device) Close() error   { return nil }

func (v *device) Find(context.Context, string) ([]keys.Info, error) {
	return nil, keys.ErrNoKey // it shows nothing before it is opened
}

func (v *device) Open(context.Context, string) ([]keys.Found, error) {
	return []keys.Found{{Info: keys.Info{URI: "test:key", Source: "test", Public: v.Public()}, Signer: v}}, nil
}

func (v *device) Sign(ctx context.Context, message []byte) ([]byte, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.signed+1 == v.at && v.do != nil {
		if err := v.do(); err != nil {
			return nil, err
		}
	}
	sig, err := v.Signer.Sign(ctx, message)
	if err == nil {
		v.signed++
	}
	return sig, err
}

// firstRequest is a request that the key of claimed signs 17 times, and the desk where it lies.
func firstRequest(t *testing.T) (d *desk, v *device, args []string) {
	t.Helper()
	return newWorld(t, 16).firstRequest(t)
}

func (w *world) firstRequest(t *testing.T) (d *desk, v *device, args []string) {
	t.Helper()
	d = newDesk(t)
	first, err := sitting.First(w.spec(), w.now.Add(30*day), "", "")
	must(t, err)
	v = &device{Signer: w.signers[policy.KeyClaimed][0]}
	d.sources = []keys.Source{v}
	return d, v, []string{writeRequest(t, d.dir, first), "--key", "test:key", "--out", d.path("signed"), "--yes"}
}

const toSign = 17

// TestInterruptedAnywhere: whenever a signing is interrupted, or its token fails, running it again ends it,
// and asks the token for nothing that it has made before.
func TestInterruptedAnywhere(t *testing.T) {
	broken := errors.New("the token was pulled out")
	w := newWorld(t, 16)
	for at := 1; at <= toSign; at++ {
		for _, how := range []string{"interrupted", "broken"} {
			t.Run(fmt.Sprintf("%s at %d", how, at), func(t *testing.T) {
				d, v, args := w.firstRequest(t)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				v.at, v.do = at, func() error { return broken }
				code, words := 1, broken.Error()
				if how == "interrupted" {
					v.do = func() error { cancel(); return nil }
					code, words = 130, "interrupted; "
				}
				s := d.run(ctx, args...)
				if how == "interrupted" && at == toSign && s.code == 0 {
					return // too late
				}
				if s.code != code || !strings.Contains(s.stderr, words) || !strings.Contains(s.stderr, "run the same command again to go on") {
					t.Fatalf("ended with %d: %s", s.code, s.stderr)
				}
				wantSigned(t, d, false)
				v.do = nil
				s = d.does(args...)
				if v.signed != toSign {
					t.Errorf("the token signed %d times in all, want %d", v.signed, toSign)
				}
				if resumed := strings.Contains(s.stderr, "going on with"); resumed != (at > 1) && how == "broken" {
					t.Errorf("going on: %t", resumed)
				}
				wantSigned(t, d, true)
			})
		}
	}
}

// wantSigned checks that the signed file is there, whole, and alone; or is not there.
func wantSigned(t *testing.T, d *desk, want bool) {
	t.Helper()
	_, err := os.Stat(d.path("signed"))
	if (err == nil) != want {
		t.Fatalf("the signed file: %v, want it: %t", err, want)
	}
	wantNames(t, d, ".tmp-", false)
	if !want {
		return
	}
	wantNames(t, d, "partial", false)
	r := readRequest(t, d.path("signed"))
	n := 0
	for _, p := range r.Payloads {
		n += len(p.Signatures)
	}
	if n != toSign {
		t.Errorf("it holds %d signatures, want %d", n, toSign)
	}
	if _, err := sitting.Judge(r, d.now); err != nil {
		t.Error(err)
	}
}

// half signs until the token breaks, and returns what OUT.partial holds.
func half(t *testing.T) (d *desk, v *device, args []string, part []byte) {
	t.Helper()
	d, v, args = firstRequest(t)
	v.at, v.do = 9, func() error { return errors.New("broken") }
	if s := d.run(t.Context(), args...); s.code != 1 {
		t.Fatalf("ended with %d: %s", s.code, s.stderr)
	}
	v.do = nil
	part, err := os.ReadFile(d.path("signed.partial"))
	must(t, err)
	if n := bytes.Count(part, []byte("\n")); n != 9 { // and a head
		t.Fatalf("the file with some of the signatures has %d lines", n)
	}
	return d, v, args, part
}

// TestLeftovers: whatever a crash leaves behind is gone on with, or passed by.
func TestLeftovers(t *testing.T) {
	for _, c := range []struct {
		name  string
		leave func(d *desk, part []byte)
		made  int // signatures that the token makes then
	}{
		{"nothing but the memory", func(d *desk, _ []byte) { must(t, os.Remove(d.path("signed.partial"))) }, toSign},
		{"an empty file", func(d *desk, _ []byte) { must(t, os.WriteFile(d.path("signed.partial"), nil, 0o600)) }, toSign},
		{"half a head", func(d *desk, p []byte) { must(t, os.WriteFile(d.path("signed.partial"), p[:10], 0o600)) }, toSign},
		{"a head", func(d *desk, p []byte) {
			must(t, os.WriteFile(d.path("signed.partial"), p[:bytes.IndexByte(p, '\n')+1], 0o600))
		}, toSign},
		{"half a line", func(d *desk, p []byte) { must(t, os.WriteFile(d.path("signed.partial"), p[:len(p)-30], 0o600)) }, toSign - 7},
		{"a line twice", func(d *desk, p []byte) {
			last := bytes.LastIndexByte(p[:len(p)-1], '\n') + 1
			must(t, os.WriteFile(d.path("signed.partial"), append(bytes.Clone(p), p[last:]...), 0o600))
		}, toSign - 8},
		{"temporary files", func(d *desk, p []byte) {
			must(t, os.WriteFile(d.path("signed.partial.new"), []byte("x"), 0o600))
			must(t, os.WriteFile(d.path("state/bailiwick-sign/.tmp-X"), []byte("x"), 0o600))
		}, toSign - 8},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, v, args, part := half(t)
			c.leave(d, part)
			before := v.signed
			d.does(args...)
			if made := v.signed - before; made != c.made {
				t.Errorf("the token made %d signatures, want %d", made, c.made)
			}
			wantSigned(t, d, true)
		})
	}
}

// TestAlteredPartial: what is wrong with the signatures so far is told, and never signed over.
func TestAlteredPartial(t *testing.T) {
	d, v, args, part := half(t)
	before := v.signed
	lines := bytes.SplitAfter(part, []byte("\n"))
	bend := func(what string, content []byte) {
		t.Helper()
		must(t, os.WriteFile(d.path("signed.partial"), content, 0o600))
		s := d.refuses(1, "signed.partial", args...)
		if !strings.Contains(s.stderr, "remove it") && !strings.Contains(s.stderr, "another file with --out") {
			t.Errorf("%s: does not say what to do: %s", what, s.stderr)
		}
	}
	bend("another signature", bytes.Replace(part, []byte(`"sig":"`), []byte(`"sig":"00`), 1))
	bend("of another role", bytes.Replace(part, []byte(`"role":"claimed-`), []byte(`"role":"claimed-f`), 1))
	bend("no head", bytes.Join(lines[1:], nil))
	bend("another form", bytes.Replace(part, []byte(`"bailiwick-partial":1`), []byte(`"bailiwick-partial":2`), 1))
	bend("another request", bytes.Replace(part, []byte(`"request":"`), []byte(`"request":"0`), 1))
	bend("noise", append(bytes.Clone(lines[0]), "noise\n"...))
	bend("a member more", append(bytes.Clone(lines[0]), "{\"role\":\"claimed\",\"keyid\":\"x\",\"sig\":\"00\",\"x\":1}\n"...))
	bend("a long line", append(bytes.Clone(lines[0]), append(bytes.Repeat([]byte("x"), 10_000), '\n')...))
	wantSigned(t, d, false)
	if v.signed != before {
		t.Error("something was signed")
	}

	// Signatures of a key that is not at hand are left out, not trusted.
	must(t, os.WriteFile(d.path("signed.partial"), append(bytes.Clone(part), fmt.Sprintf("{\"role\":\"claimed\",\"keyid\":%q,\"sig\":\"00\"}\n", strings.Repeat("0", 64))...), 0o600))
	d.does(args...)
	wantSigned(t, d, true)
}

// TestOutFolderGoesAway: a disk that is pulled out ends the signing before anything is lost.
func TestOutFolderGoesAway(t *testing.T) {
	d, v, args := firstRequest(t)
	must(t, os.Mkdir(d.path("stick"), 0o700))
	args[4] = d.path("stick/signed")
	v.at, v.do = 5, func() error { return os.RemoveAll(d.path("stick")) }
	s := d.run(t.Context(), args...)
	if s.code != 1 || !strings.Contains(s.stderr, "stick/signed") {
		t.Errorf("ended with %d: %s", s.code, s.stderr)
	}
	v.do = nil
	must(t, os.Mkdir(d.path("stick"), 0o700))
	d.does(args...) // what was remembered allows the same again
	if r := readRequest(t, d.path("stick/signed")); len(r.Payload(tuf.RoleName("claimed")).Signatures) != 1 {
		t.Error("not signed")
	}
}
