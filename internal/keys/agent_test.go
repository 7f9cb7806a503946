package keys_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/dsa" //nolint:staticcheck // a kind that has to be explained
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"example.com/bailiwick/internal/keys"
	sshagent "example.com/bailiwick/internal/keys/agent"
	"example.com/bailiwick/internal/keys/keystest"
	"example.com/bailiwick/tuf/key"
)

// socketPath is short: the path of a socket has at most 107 characters.
func socketPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "bwk") //nolint:usetesting // t.TempDir is too long with the name of the test
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

// answering listens as an agent would, and gives every connection to serve.
func answering(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	path := socketPath(t)
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, conn)
			mu.Unlock()
			wg.Go(func() {
				defer conn.Close()
				serve(conn)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, c := range conns {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return path
}

// serving runs an agent in this process.
func serving(t *testing.T, a agent.Agent) string {
	t.Helper()
	return answering(t, func(c net.Conn) { _ = agent.ServeAgent(a, c) })
}

// agentOpener opens keys of the agent at a socket.
func agentOpener(t *testing.T, socket string) *keys.Opener {
	t.Helper()
	return opener(t, keys.OpenOptions{Getenv: environment("SSH_AUTH_SOCK", socket)})
}

func environment(pairs ...string) func(string) string {
	return func(name string) string {
		if i := slices.Index(pairs, name); i >= 0 && i%2 == 0 {
			return pairs[i+1]
		}
		return ""
	}
}

func opener(t *testing.T, o keys.OpenOptions) *keys.Opener {
	t.Helper()
	if o.Sources == nil {
		o.Sources = []keys.Source{sshagent.New(sshagent.Config{Getenv: o.Getenv})}
	}
	opened := keys.NewOpener(o)
	t.Cleanup(func() {
		if err := opened.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return opened
}

// keyring holds private keys, each with its kind as the comment.
func keyring(t *testing.T, private map[string]crypto.Signer) agent.Agent {
	t.Helper()
	ring := agent.NewKeyring()
	for kind, k := range private {
		if err := ring.Add(agent.AddedKey{PrivateKey: k, Comment: kind}); err != nil {
			t.Fatal(err)
		}
	}
	return ring
}

func TestAgentSigns(t *testing.T) {
	private := kinds(t)
	o := agentOpener(t, serving(t, keyring(t, private)))
	for _, kind := range []string{"ed25519", "p256", "p384"} {
		t.Run(kind, func(t *testing.T) {
			want, err := key.FromCrypto(private[kind].Public())
			if err != nil {
				t.Fatal(err)
			}
			byFingerprint, err := o.OpenOne(t.Context(), "ssh-agent:"+keys.SSHFingerprint(want))
			if err != nil {
				t.Fatal(err)
			}
			byComment, err := o.OpenOne(t.Context(), "ssh-agent:"+kind)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range []*keys.Signer{byFingerprint, byComment} {
				if s.Public().ID() != want.ID() || s.Info().Name != kind || s.Info().SSH != keys.SSHFingerprint(want) {
					t.Errorf("opened %+v, want key id %s", s.Info(), want.ID())
				}
			}
			keystest.Run(t, byFingerprint)
		})
	}
}

// TestAgentSignaturesAreTUFSignatures: for Ed25519, which has one signature for a message, the agent's
// is that of a key file.
func TestAgentSignaturesAreTUFSignatures(t *testing.T) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	o := agentOpener(t, serving(t, keyring(t, map[string]crypto.Signer{"a": private})))
	s, err := o.OpenOne(t.Context(), "ssh-agent:a")
	if err != nil {
		t.Fatal(err)
	}
	sig, err := s.Sign(t.Context(), []byte("metadata"))
	if err != nil || !bytes.Equal(sig, ed25519.Sign(private, []byte("metadata"))) {
		t.Errorf("Sign = %x, %v", sig, err)
	}
}

// held is an agent that only lists.
type held struct {
	agent.Agent
	keys []*agent.Key
}

func (h held) List() ([]*agent.Key, error) { return h.keys, nil }

// TestAgentExplains: what can not sign is listed with the reason, and opening it gives the reason, too.
func TestAgentExplains(t *testing.T) {
	p521, err1 := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	rsaKey, err2 := rsa.GenerateKey(rand.Reader, 2048)
	edPublic, edPrivate, err3 := ed25519.GenerateKey(rand.Reader)
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	of := func(public crypto.PublicKey) ssh.PublicKey {
		k, err := ssh.NewPublicKey(public)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	list := []*agent.Key{}
	add := func(comment, format string, blob []byte) {
		list = append(list, &agent.Key{Format: format, Blob: blob, Comment: comment})
	}
	addKey := func(comment string, k ssh.PublicKey) { add(comment, k.Type(), k.Marshal()) }
	addKey("good", of(edPublic))
	addKey("rsa", of(&rsaKey.PublicKey))
	addKey("p521", of(&p521.PublicKey))
	g := big.NewInt(4)
	addKey("dsa", of(&dsa.PublicKey{Parameters: dsa.Parameters{P: new(big.Int).Lsh(big.NewInt(1), 1023), Q: new(big.Int).Lsh(big.NewInt(1), 159), G: g}, Y: g}))
	skEd := ssh.Marshal(struct {
		Name        string
		Key         []byte
		Application string
	}{"sk-ssh-ed25519@openssh.com", edPublic, "ssh:"})
	add("sk-ed", "sk-ssh-ed25519@openssh.com", skEd)
	skEC := ssh.Marshal(struct{ Name, Curve, Key, Application string }{"sk-ecdsa-sha2-nistp256@openssh.com", "nistp256", "x", "ssh:"})
	add("sk-ec", "sk-ecdsa-sha2-nistp256@openssh.com", skEC)
	signer, err := ssh.NewSignerFromKey(edPrivate)
	if err != nil {
		t.Fatal(err)
	}
	cert := &ssh.Certificate{Key: of(edPublic), CertType: ssh.UserCert, ValidBefore: ssh.CertTimeInfinity}
	if err := cert.SignCert(rand.Reader, signer); err != nil {
		t.Fatal(err)
	}
	addKey("cert", cert)
	add("future", "ssh-mldsa65", ssh.Marshal(struct{ Name, Key string }{"ssh-mldsa65", "x"}))
	add("torn", "ssh-ed25519", ssh.Marshal(struct{ Name, Key string }{"ssh-ed25519", "short"}))

	var skipped []string
	o := opener(t, keys.OpenOptions{
		Getenv:  environment("SSH_AUTH_SOCK", serving(t, held{keyring(t, nil), list})),
		Skipped: func(i keys.Info) { skipped = append(skipped, i.Name) },
	})
	all, err := o.List(t.Context(), "ssh-agent:")
	if err != nil || len(all) != len(list) {
		t.Fatalf("List = %d keys, %v; want %d", len(all), err, len(list))
	}
	why := map[string]string{
		"rsa": "PKCS #1 v1.5", "p521": "P-256 and P-384", "dsa": "P-256 and P-384", "sk-ed": "FIDO", "sk-ec": "FIDO",
		"cert": "certificate", "future": "does not know its kind", "torn": "does not know its kind",
	}
	types := map[string]string{"good": "ed25519", "rsa": "rsa-2048", "p521": "ecdsa-p521", "sk-ed": "sk-ed25519", "sk-ec": "sk-ecdsa-sha2-nistp256", "future": "ssh-mldsa65"}
	for _, k := range all {
		if want := types[k.Name]; want != "" && k.Type != want {
			t.Errorf("%s is of the type %q, want %q", k.Name, k.Type, want)
		}
		if !strings.HasPrefix(k.SSH, "SHA256:") || k.URI != "ssh-agent:"+k.SSH {
			t.Errorf("%s: fingerprint %q, URI %q", k.Name, k.SSH, k.URI)
		}
		if k.Name == "good" {
			if k.Problem != nil || k.Public == nil {
				t.Errorf("the good key: %+v", k)
			}
			continue
		}
		wantErr(t, k.Name, k.Problem, keys.ErrUnusable)
		if k.Public != nil || !strings.Contains(k.Problem.Error(), why[k.Name]) {
			t.Errorf("%s: %v does not say %q", k.Name, k.Problem, why[k.Name])
		}
		_, err := o.Open(t.Context(), k.URI)
		wantErr(t, "opening "+k.Name, err, keys.ErrUnusable)
	}
	if len(skipped) != 0 {
		t.Errorf("List and failures reported %q as skipped", skipped)
	}
	s, err := o.OpenOne(t.Context(), "ssh-agent:")
	if err != nil || s.Info().Name != "good" || len(skipped) != len(list)-1 {
		t.Errorf("OpenOne = %v, %v; skipped %q", s, err, skipped)
	}
}

// TestAgentOfRSAAlone: when nothing can sign, every reason is told.
func TestAgentOfRSAAlone(t *testing.T) {
	one, two := kinds(t)["rsa"], kinds(t)["rsa"]
	o := agentOpener(t, serving(t, keyring(t, map[string]crypto.Signer{"one": one, "two": two})))
	_, err := o.Open(t.Context(), "ssh-agent:")
	wantErr(t, "RSA", err, keys.ErrUnusable)
	if n := strings.Count(err.Error(), "PKCS #1 v1.5"); n != 2 || !strings.Contains(err.Error(), "none of the 2 keys") {
		t.Errorf("%v", err)
	}
}

func TestAgentAddresses(t *testing.T) {
	private := kinds(t)
	delete(private, "rsa")
	o := agentOpener(t, serving(t, keyring(t, private)))
	all, err := o.Open(t.Context(), "ssh-agent:")
	if err != nil || len(all) != 3 {
		t.Fatalf("Open = %v, %v", all, err)
	}
	_, err = o.OpenOne(t.Context(), "SSH-AGENT:")
	var several *keys.SeveralError
	if !errors.As(err, &several) || len(several.Keys) != 3 || !errors.Is(err, keys.ErrSeveral) {
		t.Fatalf("several keys: %v", err)
	}
	for _, k := range several.Keys {
		if !strings.Contains(err.Error(), k.URI) || !strings.Contains(err.Error(), k.Name) {
			t.Errorf("%v does not offer %s", err, k.URI)
		}
	}
	if _, err := o.OpenOne(t.Context(), all[0].Info().URI+"="); err != nil { // base64 with its padding
		t.Error(err)
	}
	for _, bad := range []string{"SHA256:", "SHA256:abc", "SHA256:" + strings.Repeat("!", 43), "SHA256:" + strings.Repeat("A", 44)} {
		_, err := o.Open(t.Context(), "ssh-agent:"+bad)
		wantErr(t, bad, err, keys.ErrURI)
	}
	for _, other := range []string{"SHA256:" + strings.Repeat("A", 43), "nobody", "\x1b[2J"} {
		_, err := o.Open(t.Context(), "ssh-agent:"+other)
		wantErr(t, other, err, keys.ErrNoKey)
		if strings.Contains(err.Error(), "\x1b") {
			t.Errorf("%q drives the terminal", err)
		}
	}
}

func TestAgentMissing(t *testing.T) {
	tests := map[string]struct {
		socket string
		want   error
		says   string
	}{
		"no variable":   {"", keys.ErrNoAgent, "SSH_AUTH_SOCK is not set"},
		"nothing there": {filepath.Join(t.TempDir(), "s"), keys.ErrNoAgent, "it may have ended"},
		"too long":      {"/" + strings.Repeat("x", 200), keys.ErrNoAgent, "nothing answers"},
		"empty":         {serving(t, agent.NewKeyring()), keys.ErrNoKey, "holds none, or is locked"},
	}
	locked := keyring(t, kinds(t))
	if err := locked.Lock([]byte("secret")); err != nil {
		t.Fatal(err)
	}
	tests["locked"] = tests["empty"]
	one := tests["locked"]
	one.socket = serving(t, locked)
	tests["locked"] = one
	dead := socketPath(t)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: dead, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	one.socket, one.want, one.says = dead, keys.ErrNoAgent, "it may have ended"
	tests["dead"] = one
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			o := agentOpener(t, test.socket)
			_, err1 := o.Open(t.Context(), "ssh-agent:")
			_, err2 := o.List(t.Context(), "ssh-agent:")
			for _, err := range []error{err1, err2} {
				wantErr(t, name, err, test.want)
				if !strings.Contains(err.Error(), test.says) || !strings.Contains(err.Error(), "ssh-add") {
					t.Errorf("%v: does not say %q and what to do", err, test.says)
				}
			}
		})
	}
}

// TestAgentCommentsAreShownSafely: a comment is text from elsewhere.
func TestAgentCommentsAreShownSafely(t *testing.T) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	comment := "\x1b]0;title\x07\u202egnp\n" + strings.Repeat("é", 400)
	o := agentOpener(t, serving(t, keyring(t, map[string]crypto.Signer{comment: private})))
	k, err := o.Show(t.Context(), "ssh-agent:")
	if err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(k.Name, "\x1b\x07\n\u202e") || len(k.Name) > 110 || !strings.HasPrefix(k.Name, "?]0;title??gnp?é") {
		t.Errorf("the comment is shown as %q", k.Name)
	}
	if _, err := o.OpenOne(t.Context(), "ssh-agent:"+comment); err != nil { // but matched as it is
		t.Error(err)
	}
}

func TestAgentRefusesLater(t *testing.T) {
	ring := keyring(t, kinds(t))
	o := agentOpener(t, serving(t, ring))
	s, err := o.OpenOne(t.Context(), "ssh-agent:p256")
	if err != nil {
		t.Fatal(err)
	}
	if err := ring.Lock([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Sign(t.Context(), []byte("m")); err == nil || !strings.Contains(err.Error(), "ssh-add -X") {
		t.Errorf("a locked agent: %v", err)
	}
	if err := ring.Unlock([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Sign(t.Context(), []byte("m")); err != nil {
		t.Errorf("after unlocking: %v", err)
	}
	if err := ring.RemoveAll(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Sign(t.Context(), []byte("m")); err == nil || !strings.Contains(err.Error(), s.Info().URI) {
		t.Errorf("a key that was removed: %v", err)
	}
}

// TestAgentSilence: an agent that never answers is waited for until the caller gives up.
func TestAgentSilence(t *testing.T) {
	asked := make(chan struct{}, 1)
	socket := answering(t, func(c net.Conn) {
		_, _ = readFrame(c)
		select {
		case asked <- struct{}{}:
		default:
		}
		_, _ = readFrame(c) // until it is closed
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-asked
		cancel()
	}()
	_, err := agentOpener(t, socket).Open(ctx, "ssh-agent:")
	wantErr(t, "cancelled", err, context.Canceled)
	_, err = agentOpener(t, socket).Open(ctx, "ssh-agent:")
	wantErr(t, "cancelled before", err, context.Canceled)

	hurried := sshagent.New(sshagent.Config{Getenv: environment("SSH_AUTH_SOCK", socket), ListTime: time.Millisecond})
	_, err = opener(t, keys.OpenOptions{Sources: []keys.Source{hurried}}).Open(t.Context(), "ssh-agent:")
	if err == nil || !strings.Contains(err.Error(), "did not answer within 1ms") {
		t.Errorf("a silent agent: %v", err)
	}
}
