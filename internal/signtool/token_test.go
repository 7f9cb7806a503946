//go:build cgo && pkcs11

package signtool_test

import (
	"crypto/ed25519"
	"os"
	"strings"
	"testing"

	"example.com/bailiwick/internal/keys"
	"example.com/bailiwick/internal/keys/keystest"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/sitting"
	"example.com/bailiwick/tuf/key"
)

// tokenWorld is an index whose key of claimed is in a token, and the URI of that key.
func tokenWorld(tb testing.TB, bins int, kind string) (w *world, d *desk, uri string) {
	tb.Helper()
	hsm := keystest.NewSoftHSM(tb)
	hsm.AddToken("vault")
	hsm.AddKey("vault", kind, "claimed", "01")
	hsm.AddKey("vault", kind, "spare", "02")
	opener := keys.NewOpener(keys.OpenOptions{})
	shown, err := opener.Show(tb.Context(), hsm.URI("token=vault;object=claimed"))
	must(tb, err)
	must(tb, opener.Close())
	w, d = newWorld(tb, 16), newDesk(tb)
	w.layout, err = policy.NewLayout(bins)
	must(tb, err)
	w.private[policy.KeyClaimed] = []ed25519.PrivateKey{nil}
	w.signers[policy.KeyClaimed] = []key.Signer{publicOnly{shown.Public, nil}}
	must(tb, os.WriteFile(d.path("pin"), []byte(keystest.PIN+"\n"), 0o600))
	return w, d, hsm.URI("token=vault;object=claimed") + "&pin-source=file:" + d.path("pin")
}

// publicOnly is a key that only its token can sign with.
type publicOnly struct {
	public *key.Public
	key.Signer
}

func (p publicOnly) Public() *key.Public { return p.public }

// TestTokens: a token signs as a key file does, with any kind of key that it makes.
func TestTokens(t *testing.T) {
	for _, kind := range []string{"EC:edwards25519", "EC:prime256v1", "rsa:2048"} {
		t.Run(kind, func(t *testing.T) {
			w, d, uri := tokenWorld(t, 16, kind)
			first, err := sitting.First(w.spec(), w.now.Add(30*day), "", "")
			must(t, err)
			file := writeRequest(t, d.dir, first)
			d.refuses(1, "signs nothing in this file", file, "--yes", "--out", d.path("signed"), "--key", strings.Replace(uri, "object=claimed", "object=spare", 1))
			d.refuses(2, "names 2 keys", file, "--yes", "--out", d.path("signed"), "--key", strings.Replace(uri, ";object=claimed", "", 1))
			must(t, os.WriteFile(d.path("pin"), []byte("111111\n"), 0o600))
			d.refuses(1, "wrong PIN", file, "--yes", "--out", d.path("signed"), "--key", uri)
			must(t, os.WriteFile(d.path("pin"), []byte(keystest.PIN+"\n"), 0o600))
			d.refuses(1, "there is no terminal to ask at", file, "--yes", "--out", d.path("signed"), "--key", strings.Split(uri, "&pin-source")[0])
			wantRemembered(t, d, 0)
			d.does(file, "--yes", "--out", d.path("signed"), "--key", uri)
			v, err := sitting.Judge(readRequest(t, d.path("signed")), d.now)
			must(t, err)
			for _, m := range v.Missing {
				if strings.HasPrefix(string(m.Role), "claimed") {
					t.Errorf("still missing: %v", m)
				}
			}
		})
	}
}

// BenchmarkSignBinsToken signs 4,096 claimed bins and claimed with a SoftHSM2 token.
//
//	CGO_ENABLED=1 go test -tags pkcs11 -run '^$' -bench SignBinsToken -benchtime 3x ./internal/signtool
func BenchmarkSignBinsToken(b *testing.B) {
	for _, kind := range []string{"EC:edwards25519", "EC:prime256v1"} {
		b.Run(strings.ReplaceAll(kind, ":", "-"), func(b *testing.B) {
			w, d, uri := tokenWorld(b, 4096, kind)
			first, err := sitting.First(w.spec(), w.now.Add(30*day), "", "")
			must(b, err)
			benchmarkSigning(b, d, writeRequest(b, d.dir, first), uri, 4097)
		})
	}
}
