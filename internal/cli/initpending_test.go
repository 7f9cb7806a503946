package cli_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/bailiwick/internal/cli"
	"example.com/bailiwick/internal/index"
	"example.com/bailiwick/internal/ledger"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/sitting"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
)

// prepared is a data folder that waits for the signatures of two people, and everything to go on with.
type prepared struct {
	t       *testing.T
	base    string
	holders map[string]key.Signer
}

// prepare makes the folder as bailiwick init does, with invitations from memory.
func prepare(t *testing.T) *prepared {
	t.Helper()
	p := &prepared{t: t, base: t.TempDir(), holders: map[string]key.Signer{"alice": newSigner(t), "bob": newSigner(t)}}
	now := time.Now().UTC().Truncate(time.Second)
	i := &sitting.Invitation{Role: policy.KeyRoot, Threshold: 2, Holders: []string{"alice", "bob"}, Created: now, Expires: now.Add(time.Hour)}
	if err := i.Sign(t.Context(), newSigner(t)); err != nil {
		t.Fatal(err)
	}
	data, err := i.Encode()
	if err != nil {
		t.Fatal(err)
	}
	write(t, p.path("invitation.json"), string(data))
	for name, s := range p.holders {
		a, err := sitting.Accept(t.Context(), i, name, s, now)
		if err != nil {
			t.Fatal(err)
		}
		write(t, p.path(name+".json"), string(a.Encode()))
	}
	write(t, p.path("pass"), "correct horse battery staple\n")
	if code, out := p.init("data", "offline"); code != 0 || !strings.Contains(out, "waits for signatures") {
		t.Fatalf("init ended with %d: %s", code, out)
	}
	return p
}

func newSigner(t *testing.T) key.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := key.NewSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (p *prepared) path(name string) string { return filepath.Join(p.base, name) }

// run runs a command; both of its streams come back.
func (p *prepared) run(ctx context.Context, args ...string) (int, string) {
	p.t.Helper()
	env := cli.OSEnv().WithWorkFactor(cheapWork)
	var both bytes.Buffer
	env.Stdin, env.Stdout, env.Stderr = strings.NewReader(""), &both, &both
	code := cli.Main(ctx, args, env)
	return code, both.String()
}

func (p *prepared) init(data, offline string) (int, string) {
	p.t.Helper()
	return p.run(p.t.Context(), "init", "--data", p.path(data), "--offline-keys", p.path(offline), "--passphrase-file", p.path("pass"), "--bins", "16", "--yes",
		"--root-invitation", p.path("invitation.json"), "--accepted", p.path("alice.json"), "--accepted", p.path("bob.json"))
}

// serves returns what serve says of a folder that holds no repository.
func (p *prepared) serves(data string) string {
	p.t.Helper()
	_, out := p.run(p.t.Context(), "serve", "--data", p.path(data), "--listen", "127.0.0.1:0")
	return out
}

// copyOf copies a data folder, leaving out what lies under some names.
func (p *prepared) copyOf(from, to string, without ...string) string {
	p.t.Helper()
	if err := os.CopyFS(p.path(to), os.DirFS(p.path(from))); err != nil {
		p.t.Fatal(err)
	}
	for _, name := range without {
		if err := os.RemoveAll(filepath.Join(p.path(to), name)); err != nil {
			p.t.Fatal(err)
		}
	}
	p.private(to)
	return to
}

// private makes key files what os.CopyFS does not leave them: readable by their owner alone.
func (p *prepared) private(data string) {
	p.t.Helper()
	err := filepath.WalkDir(p.path(data), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		return os.Chmod(path, 0o600)
	})
	if err != nil {
		p.t.Fatal(err)
	}
}

// signed signs the request of a folder by all who hold a key, into a file.
func (p *prepared) signed(data string) string {
	p.t.Helper()
	f, err := os.Open(filepath.Join(p.path(data), "root.request"))
	if err != nil {
		p.t.Fatal(err)
	}
	defer f.Close()
	r, err := sitting.Decode(f)
	if err != nil {
		p.t.Fatal(err)
	}
	for _, s := range p.holders {
		sig, err := s.Sign(p.t.Context(), r.Payload(tuf.RoleRoot).Message)
		if err != nil {
			p.t.Fatal(err)
		}
		if _, err := r.Add(tuf.RoleRoot, tuf.Signature{KeyID: s.Public().ID(), Sig: sig}); err != nil {
			p.t.Fatal(err)
		}
	}
	var b bytes.Buffer
	if err := sitting.Encode(&b, r); err != nil {
		p.t.Fatal(err)
	}
	write(p.t, p.path(data+".signed"), b.String())
	return p.path(data + ".signed")
}

// TestPreparationThatBreaksOff: a machine that goes down at any step of preparing a repository for others to sign leaves
// a folder that passes for nothing, and that one command removes; then the same command works.
func TestPreparationThatBreaksOff(t *testing.T) {
	p := prepare(t)
	for n, missing := range [][]string{
		{"root.request"},
		{"root.request", "format"},
		{"root.request", "format", "staging"},
		{"root.request", "format", "staging", "files"},
		{"root.request", "format", "staging", "files", "keys/timestamp.key"},
		{"root.request", "format", "staging", "files", "keys/timestamp.key", "keys/snapshot.key", "keys/registry.key"},
	} {
		t.Run("without "+strings.Join(missing, " "), func(t *testing.T) {
			cut := p.copyOf("data", "cut"+string(rune('a'+n)), missing...)
			if out := p.serves(cut); !strings.Contains(out, "did not finish") {
				t.Errorf("serve says: %s", out)
			}
			if code, out := p.run(t.Context(), "init", "--data", p.path(cut), "--resume"); code == 0 || !strings.Contains(out, "did not finish") {
				t.Errorf("init --resume ended with %d: %s", code, out)
			}
			if code, out := p.run(t.Context(), "init", "--data", p.path(cut), "--abandon"); code != 0 {
				t.Fatalf("init --abandon ended with %d: %s", code, out)
			}
			if left := filesIn(t, p.path(cut)); !slices.Equal(left, []string{"lock"}) {
				t.Errorf("left behind: %v", left)
			}
			if code, out := p.init(cut, cut+"-offline"); code != 0 || !strings.Contains(out, "waits for signatures") {
				t.Errorf("the same command ended with %d: %s", code, out)
			}
		})
	}
}

// TestStartThatBreaksOff: with all signatures there, the start may break off wherever it likes, and is done again by the same
// command. Whatever it left is no repository until it is one.
func TestStartThatBreaksOff(t *testing.T) {
	p := prepare(t)
	signed := p.signed("data")
	all, err := os.ReadFile(signed)
	if err != nil {
		t.Fatal(err)
	}
	newLedger := func(t *testing.T, data string, fill func(l *ledger.SQLite)) {
		t.Helper()
		l, err := ledger.CreateSQLite(t.Context(), filepath.Join(p.path(data), "ledger.db"))
		if err != nil {
			t.Fatal(err)
		}
		fill(l)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for name, left := range map[string]func(t *testing.T, data string){
		"the signatures": func(*testing.T, string) {},
		"an empty ledger": func(t *testing.T, data string) {
			newLedger(t, data, func(*ledger.SQLite) {})
		},
		"a token": func(t *testing.T, data string) {
			newLedger(t, data, func(l *ledger.SQLite) {
				_, token, err := index.NewToken(rand.Reader, time.Now(), "lost", nil)
				if err != nil {
					t.Fatal(err)
				}
				if err := l.PutToken(t.Context(), token); err != nil {
					t.Fatal(err)
				}
			})
		},
		"half a ledger": func(t *testing.T, data string) {
			write(t, filepath.Join(p.path(data), "ledger.db.new"), "torn")
			write(t, filepath.Join(p.path(data), "ledger.db.new-journal"), "torn")
		},
	} {
		t.Run(name, func(t *testing.T) {
			data := p.copyOf("data", "start "+name)
			write(t, filepath.Join(p.path(data), "root.request"), string(all))
			left(t, data)
			if out := p.serves(data); !strings.Contains(out, "has all its signatures and was not started") {
				t.Errorf("serve says: %s", out)
			}
			p.starts(t, data)
		})
	}
	t.Run("a request that was fulfilled", func(t *testing.T) {
		data := p.copyOf("data", "done")
		write(t, filepath.Join(p.path(data), "root.request"), string(all))
		p.starts(t, data)
		write(t, filepath.Join(p.path(data), "root.request"), string(all))
		if code, out := p.run(t.Context(), "token", "list", "--data", p.path(data)); code != 0 {
			t.Errorf("token list ended with %d: %s", code, out)
		}
		if code, out := p.run(t.Context(), "init", "--data", p.path(data), "--resume"); code == 0 || !strings.Contains(out, "has started already") {
			t.Errorf("init --resume ended with %d: %s", code, out)
		}
		if slices.Contains(filesIn(t, p.path(data)), "root.request") {
			t.Error("the request is still there")
		}
	})
	t.Run("a ledger that can not be read is not taken for one that was never used", func(t *testing.T) {
		data := p.copyOf("data", "damaged")
		write(t, filepath.Join(p.path(data), "root.request"), string(all))
		write(t, filepath.Join(p.path(data), "ledger.db"), "all that there ever was")
		for _, flag := range []string{"--resume", "--abandon"} {
			if code, out := p.run(t.Context(), "init", "--data", p.path(data), flag); code == 0 || !strings.Contains(out, "not a bailiwick ledger") {
				t.Errorf("init %s ended with %d: %s", flag, code, out)
			}
		}
		if kept, err := os.ReadFile(filepath.Join(p.path(data), "ledger.db")); err != nil || string(kept) != "all that there ever was" {
			t.Errorf("the ledger is gone: %q, %v", kept, err)
		}
	})
}

// starts goes on with a folder whose request has all signatures, and wants a repository that a client accepts.
func (p *prepared) starts(t *testing.T, data string) {
	t.Helper()
	code, out := p.run(t.Context(), "init", "--data", p.path(data), "--resume", "--json")
	var made struct {
		Root  string `json:"root_sha256"`
		Token string `json:"upload_token"`
	}
	if err := json.Unmarshal([]byte(out), &made); err != nil || code != 0 || made.Root == "" || made.Token == "" {
		t.Fatalf("init --resume ended with %d: %s", code, out)
	}
	l, err := ledger.OpenSQLite(t.Context(), filepath.Join(p.path(data), "ledger.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := publish.Check(t.Context(), l); err != nil {
		t.Error(err)
	}
	tokens, err := l.Tokens(t.Context())
	if err != nil || len(tokens) != 1 {
		t.Errorf("the repository has %d tokens, %v; want the one that was shown", len(tokens), err)
	}
}
