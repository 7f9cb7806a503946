package signtool_test

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"example.com/bailiwick/internal/keys"
	"example.com/bailiwick/internal/keys/prompt/prompttest"
	"example.com/bailiwick/internal/needs"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/signtool"
	"example.com/bailiwick/internal/sitting"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"bailiwick-sign": func() { os.Exit(program()) },
		"typist":         func() { os.Exit(prompttest.Typist()) },
	})
}

// program is cmd/bailiwick-sign on the day of these tests, with a cheap hash for passphrases.
func program() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	env := signtool.OSEnv()
	env.KeyOptions = []keys.Option{keys.WithWorkFactor(4)}
	env.Now = func() time.Time { return start().Add(20*day + time.Hour) }
	return signtool.Main(ctx, os.Args[1:], env)
}

// TestScripts tells the stories of testdata/script: what a person types and sees. Each begins with a
// sitting of two promotions, sitting.bwk; a request for the signatures of a new repository, first.bwk;
// an invitation, invitation.json; and the keys in keys/, whose passphrase is in pass.txt.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		Condition: func(name string) (bool, error) {
			if name != "terminal" {
				return false, errors.New("this condition means nothing here")
			}
			return needs.Condition(prompttest.Have(), "there is no pseudo-terminal here; run the test on Linux, with /dev/ptmx and /dev/pts")
		},
		Setup: func(env *testscript.Env) error {
			w := newWorld(t, 16)
			w.claim("flask", "requests")
			w.now = w.now.Add(20 * day)
			rename(t, w.plan(env.WorkDir, sitting.Wishes{MinAge: 14 * day}), "sitting.bwk")
			first, err := sitting.First(w.spec(), w.now.Add(30*day), "", "")
			must(t, err)
			rename(t, writeRequest(t, env.WorkDir, first), "first.bwk")
			folder := filepath.Join(env.WorkDir, "keys")
			must(t, os.Mkdir(folder, 0o700))
			for _, role := range policy.KeyRoles() {
				if !role.Online() {
					w.keyFile(folder, role, 0)
				}
			}
			must(t, os.WriteFile(filepath.Join(env.WorkDir, "invitation.json"), invite(t, w, "alice", "bob"), 0o600))
			must(t, os.WriteFile(filepath.Join(env.WorkDir, "pass.txt"), []byte(phrase+"\n"), 0o600))
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("INVITER", sitting.Fingerprint(w.signers[policy.KeyTargets][0].Public()))
			return nil
		},
	})
}

func rename(t *testing.T, path, name string) {
	t.Helper()
	must(t, os.Rename(path, filepath.Join(filepath.Dir(path), name)))
}

// invite makes an invitation to hold keys of root of a new repository, signed by the key of targets.
func invite(t *testing.T, w *world, names ...string) []byte {
	t.Helper()
	i := &sitting.Invitation{
		Role: policy.KeyRoot, Threshold: min(2, len(names)), Holders: names,
		Created: w.now, Expires: w.now.Add(30 * day), By: "carol", Note: "see you on Tuesday",
	}
	must(t, i.Sign(t.Context(), w.signers[policy.KeyTargets][0]))
	data, err := i.Encode()
	must(t, err)
	return data
}
