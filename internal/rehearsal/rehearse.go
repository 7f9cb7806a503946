package rehearsal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"example.com/bailiwick/internal/cli"
	"example.com/bailiwick/internal/signtool"
)

// newRehearse goes through the whole life of a root, so that people have done it once before it counts.
func newRehearse(env *cli.Env) *cobra.Command {
	var keep bool
	cmd := &cobra.Command{
		Use:   "rehearse",
		Short: "go through the whole life of a root with a throw-away repository",
		Long: "Go through the whole life of a root in a temporary folder: three people create it, of whom two sign; one loses her\n" +
			"key and another comes; everybody's keys change; the server is broken into and gets new keys; a year passes and the\n" +
			"root is renewed. Every step is a command that you would give, and two users watch: one installs all the time, the\n" +
			"other pinned the first root and comes back at the end. Everything stays on loopback and in that folder, which is\n" +
			"removed. Exit code 0 only if every step held, and everything that must be refused was.",
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runRehearsal(cmd.Context(), env, keep) },
	}
	cmd.Flags().BoolVar(&keep, "keep", false, "keep the temporary folder, to look around in it")
	return cmd
}

// rehearsal is one run. People are folders: what lies in one is on that person's machine.
type rehearsal struct {
	*demo
	held  int      // checks that held
	typed []string // commands, as they were shown
	flags []string // further ones of init
	again []string // and those that are repeated when it goes on

	clock sync.Mutex
	later time.Duration // how far the clock of everybody is ahead
}

// passphrase is the passphrase of every key of a rehearsal.
const passphrase = "only for the rehearsal" //nolint:gosec // of keys that are thrown away

// workFactor makes keys that are thrown away at the end cheap to open.
const workFactor = 10

func runRehearsal(ctx context.Context, env *cli.Env, keep bool) (err error) {
	dir, err := os.MkdirTemp("", "bailiwick-rehearsal-")
	if err != nil {
		return fmt.Errorf("making a temporary folder: %w", err)
	}
	r := &rehearsal{demo: &demo{out: env.Stdout, listen: "127.0.0.1:0", dir: dir}}
	here := env.WithWorkFactor(workFactor)
	here.Now = func() time.Time {
		r.clock.Lock()
		defer r.clock.Unlock()
		return env.Now().Add(r.later)
	}
	r.env = here
	back, err := enter(dir)
	if err != nil {
		return err
	}
	defer func() {
		if r.stopServer != nil {
			err = errors.Join(err, r.stopServer())
		}
		err = errors.Join(err, back())
		if keep {
			r.say("kept %s", dir)
		} else {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	started := env.Now()
	r.say("Everything happens in %s and on loopback.", dir)
	for i, act := range r.acts() {
		r.title(fmt.Sprintf("%d. %s", i+1, act.title))
		if err := act.play(ctx); err != nil {
			return fmt.Errorf("%d. %s: %w", i+1, act.title, err)
		}
	}
	r.title(fmt.Sprintf("All of it held: %d checks in %.0f seconds.", r.held, env.Now().Sub(started).Seconds()))
	return nil
}

// act is a chapter of the story.
type act struct {
	title string
	play  func(ctx context.Context) error
}

func (r *rehearsal) acts() []act {
	return []act{
		{"Three people are invited to hold the root; two of them will have to sign", r.invite},
		{"The repository is prepared, and waits for two signatures", r.found},
		{"It runs; two users pin the root, one of them stays away from now on", r.begin},
		{"carol has lost her key: dave comes in her place", r.lose},
		{"The keys behind root change, one role after the other", r.changeOffline},
		{"The server was broken into: everything that it holds gets a new key", r.breakIn},
		{"Almost a year later: root is renewed before it expires", r.renew},
		{"The user who stayed away comes back, with the first root", r.comeBack},
	}
}

// person is who types the command, for the story; their files lie in the folder of that name.
func (r *rehearsal) shows(who, program string, args []string) {
	r.typed = append(r.typed, fmt.Sprintf("%s$ %s %s", who, program, strings.Join(args, " ")))
	r.say("%s$ %s %s", who, program, strings.Join(args, " "))
}

// types runs a command of bailiwick that has to succeed.
func (r *rehearsal) types(ctx context.Context, who string, args ...string) (ran, error) {
	r.shows(who, "bailiwick", args)
	out := r.run(ctx, args...)
	r.quote(out.text)
	if out.code != 0 {
		return out, fmt.Errorf("bailiwick %s ended with %d: %s", strings.Join(args, " "), out.code, out.text)
	}
	r.held++
	return out, nil
}

// signs runs bailiwick-sign on somebody's machine.
func (r *rehearsal) signs(ctx context.Context, who string, args ...string) ran {
	r.shows(who, "bailiwick-sign", args)
	var both transcript
	environ := append(r.userEnviron(), passphraseVariable+"="+filepath.Join(r.dir, "passphrase"))
	env := signtool.OSEnv()
	env.Stdin, env.Stdout, env.Stderr = strings.NewReader(""), &both, &both
	env.Getenv, env.Now = lookup(environ), r.env.Now
	code := signtool.Main(ctx, append(args, "--memory", filepath.Join(who, "memory"), "--yes"), env)
	out := ran{code: code, text: both.String()}
	return out
}

// agrees has somebody sign a file, which has to work.
func (r *rehearsal) agrees(ctx context.Context, who string, args ...string) error {
	out := r.signs(ctx, who, args...)
	if out.code != 0 {
		return fmt.Errorf("bailiwick-sign of %s ended with %d: %s", who, out.code, out.text)
	}
	for line := range strings.Lines(out.text) {
		if strings.HasPrefix(line, "signed.") || strings.HasPrefix(line, "accepted.") || strings.HasPrefix(line, "  missing ") {
			r.quote(line)
		}
	}
	r.held++
	return nil
}

// refuses wants a command to fail, and to say why.
func (r *rehearsal) refuses(ctx context.Context, who, why string, args ...string) error {
	r.shows(who, "bailiwick", args)
	out := r.run(ctx, args...)
	r.quote(out.text)
	if out.code == 0 || !strings.Contains(out.text, why) {
		return fmt.Errorf("bailiwick %s ended with %d and did not say %q: %s", strings.Join(args, " "), out.code, why, out.text)
	}
	r.held++
	return nil
}

// newKey makes somebody a key file.
func (r *rehearsal) newKey(ctx context.Context, who, name string) error {
	if err := os.MkdirAll(filepath.Join(r.dir, who), 0o700); err != nil {
		return fmt.Errorf("making a folder for %s: %w", who, err)
	}
	out := r.run(ctx, "keys", "new", "--out", filepath.Join(who, name+".key"), "--passphrase-file", "passphrase")
	if out.code != 0 {
		return fmt.Errorf("making a key for %s: %s", who, out.text)
	}
	return nil
}

// accepts makes a key for somebody who was invited, and accepts with it.
func (r *rehearsal) accepts(ctx context.Context, who, invitation string) error {
	if err := r.newKey(ctx, who, who); err != nil {
		return err
	}
	return r.agrees(ctx, who, "accept", invitation, "--as", who, "--key", filepath.Join(who, who+".key"), "--out", filepath.Join(who, "accepted.json"))
}

func (r *rehearsal) invite(ctx context.Context) error {
	if err := os.WriteFile(filepath.Join(r.dir, "passphrase"), []byte(passphrase+"\n"), 0o600); err != nil {
		return fmt.Errorf("writing a passphrase: %w", err)
	}
	if err := r.newKey(ctx, "ops", "ops"); err != nil {
		return err
	}
	if _, err := r.types(ctx, "ops", "root", "invite", "--threshold", "2", "alice", "bob", "carol", "--key", "ops/ops.key", "--passphrase-file", "passphrase", "--out", "invitation.json"); err != nil {
		return err
	}
	for _, who := range []string{"alice", "bob", "carol"} {
		if err := r.accepts(ctx, who, "invitation.json"); err != nil {
			return err
		}
	}
	return nil
}

func (r *rehearsal) found(ctx context.Context) error {
	args := append([]string{
		"init", "--data", "data", "--offline-keys", "ops/keys", "--bins", "16", "--passphrase-file", "passphrase", "--yes",
		"--root-invitation", "invitation.json", "--accepted", "alice/accepted.json", "--accepted", "bob/accepted.json", "--accepted", "carol/accepted.json",
	}, r.flags...)
	if _, err := r.types(ctx, "ops", args...); err != nil {
		return err
	}
	if err := r.refuses(ctx, "ops", "waits for signatures", "serve", "--data", "data"); err != nil {
		return err
	}
	if err := r.agrees(ctx, "carol", "data/root.request", "--key", "carol/carol.key", "--out", "carol/root.signed"); err != nil {
		return err
	}
	args = append([]string{"init", "--data", "data", "--resume", "carol/root.signed"}, r.again...)
	if out, err := r.types(ctx, "ops", args...); err != nil || !strings.Contains(out.text, "1 of alice") {
		return errors.Join(err, errors.New("one signature of two should not have been enough"))
	}
	if err := r.agrees(ctx, "alice", "data/root.request", "--key", "alice/alice.key", "--out", "alice/root.signed"); err != nil {
		return err
	}
	args = append([]string{"init", "--data", "data", "--resume", "alice/root.signed", "--json"}, r.again...)
	r.shows("ops", "bailiwick", args)
	if err := r.created(r.run(ctx, args...)); err != nil {
		return err
	}
	r.say("root sha256:%s is what users pin", r.root)
	r.held++
	return nil
}

func (r *rehearsal) begin(ctx context.Context) error {
	if err := r.serve(ctx); err != nil {
		return err
	}
	if err := r.upload(ctx, "1.0"); err != nil {
		return err
	}
	for _, who := range []string{"sleeper", "user"} {
		r.user = who
		if _, err := r.types(ctx, who, "trust", "add", r.url, "--root", "sha256:"+r.root); err != nil {
			return err
		}
		if err := r.verifies(ctx, 1); err != nil {
			return err
		}
	}
	return nil
}

// verifies has the user verify the newest release by way of a root of that version, or later.
func (r *rehearsal) verifies(ctx context.Context, root int) error {
	out := r.run(ctx, "why", demoProject)
	want := fmt.Sprintf("v%d ", root)
	for line := range strings.Lines(out.text) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "root" {
			if fields[1]+" " != want {
				return fmt.Errorf("%s trusts root %s and not %s: %s", r.user, fields[1], want, out.text)
			}
			if out.code == 0 && strings.Contains(out.text, demoProject+"-"+r.latest) {
				r.say("%s verifies %s %s by way of root version %d", r.user, demoProject, r.latest, root)
				r.held++
				return nil
			}
		}
	}
	return fmt.Errorf("bailiwick why of %s ended with %d: %s", r.user, out.code, out.text)
}

// publishes carries a request to those who sign, and back.
func (r *rehearsal) publishes(ctx context.Context, request string, signers ...[]string) error {
	for i, by := range signers {
		signed := fmt.Sprintf("%s.%s", request, by[0])
		args := []string{request}
		for _, k := range by[1:] {
			args = append(args, "--key", k)
		}
		if err := r.agrees(ctx, by[0], append(args, "--out", signed)...); err != nil {
			return err
		}
		out, err := r.types(ctx, "ops", "request", "import", signed, "--data", "data")
		if err != nil {
			return err
		}
		if last := i == len(signers)-1; last != strings.Contains(out.text, "ublished") {
			return fmt.Errorf("after %d of %d signatures the index said: %s", i+1, len(signers), out.text)
		}
	}
	return nil
}

func (r *rehearsal) lose(ctx context.Context) error {
	if _, err := r.types(ctx, "ops", "root", "invite", "--data", "data", "--threshold", "2", "dave", "--key", "ops/ops.key", "--passphrase-file", "passphrase", "--out", "dave-invitation.json"); err != nil {
		return err
	}
	if err := r.accepts(ctx, "dave", "dave-invitation.json"); err != nil {
		return err
	}
	if _, err := r.types(ctx, "ops", "rotate", "root", "--data", "data", "--add", "dave/accepted.json", "--invitation", "dave-invitation.json", "--remove", "carol", "--yes", "--out", "root2.request"); err != nil {
		return err
	}
	if err := r.publishes(ctx, "root2.request", []string{"bob", "bob/bob.key"}, []string{"alice", "alice/alice.key"}); err != nil {
		return err
	}
	if err := r.refuses(ctx, "ops", "does not come back", "rotate", "root", "--data", "data", "--add", "carol/carol.key", "--yes"); err != nil {
		return err
	}
	if err := r.upload(ctx, "1.1"); err != nil {
		return err
	}
	return r.verifies(ctx, 2)
}

func (r *rehearsal) changeOffline(ctx context.Context) error {
	for _, role := range []struct {
		name    string
		signers [][]string
	}{
		{"targets", [][]string{{"alice", "alice/alice.key"}, {"dave", "dave/dave.key"}, {"ops", "ops/next-targets.key"}}},
		{"claimed", [][]string{{"ops", "ops/next-targets.key", "ops/next-claimed.key"}}},
		{"unclaimed", [][]string{{"ops", "ops/next-claimed.key", "ops/next-unclaimed.key"}}},
	} {
		next := "next-" + role.name
		if err := r.newKey(ctx, "ops", next); err != nil {
			return err
		}
		held := r.run(ctx, "root", "show", "--data", "data")
		old := keyShownFor(held.text, role.name)
		if old == "" {
			return fmt.Errorf("bailiwick root show did not say who signs %s: %s", role.name, held.text)
		}
		request := role.name + ".request"
		if _, err := r.types(ctx, "ops", "rotate", role.name, "--data", "data", "--add", "ops/"+next+".key", "--remove", old, "--yes", "--out", request); err != nil {
			return err
		}
		if err := r.publishes(ctx, request, role.signers...); err != nil {
			return err
		}
	}
	if err := r.upload(ctx, "1.2"); err != nil {
		return err
	}
	return r.verifies(ctx, 3)
}

// keyShownFor takes the first digits of a role's key out of what root show prints.
func keyShownFor(text, role string) string {
	found := false
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		switch {
		case len(fields) > 3 && !strings.HasPrefix(line, " "):
			found = fields[0] == role
		case found && len(fields) >= 3:
			return fields[0] + fields[1] + fields[2]
		}
	}
	return ""
}

func (r *rehearsal) breakIn(ctx context.Context) error {
	stolen, err := os.ReadFile(filepath.Join(r.dir, "data", keysFolder, "timestamp.key"))
	if err != nil {
		return fmt.Errorf("stealing a key: %w", err)
	}
	if _, err := r.types(ctx, "ops", "rotate", "timestamp", "snapshot", "registry", "--data", "data", "--out", "online.request"); err != nil {
		return err
	}
	if err := r.publishes(ctx, "online.request", []string{"dave", "dave/dave.key"}, []string{"bob", "bob/bob.key"}, []string{"ops", "ops/next-unclaimed.key"}); err != nil {
		return err
	}
	if err := r.upload(ctx, "1.3"); err != nil {
		return err
	}
	if err := r.verifies(ctx, 4); err != nil {
		return err
	}
	if err := r.stopServer(); err != nil {
		return err
	}
	now, err := os.ReadFile(filepath.Join(r.dir, "data", keysFolder, "timestamp.key"))
	if err != nil {
		return fmt.Errorf("looking for the new key: %w", err)
	}
	if bytes.Equal(now, stolen) {
		return errors.New("the stolen key is still the one that the server holds")
	}
	r.say("the stolen keys sign nothing any more, and are gone from the server")
	r.held++
	return r.serve(ctx)
}

// wait lets time pass while no server runs.
func (r *rehearsal) wait(ctx context.Context, d time.Duration) error {
	if err := r.stopServer(); err != nil {
		return err
	}
	r.clock.Lock()
	r.later += d
	r.clock.Unlock()
	return r.serve(ctx)
}

func (r *rehearsal) renew(ctx context.Context) error {
	if err := r.wait(ctx, 340*24*time.Hour); err != nil {
		return err
	}
	for _, due := range []struct {
		role    string
		signers [][]string
	}{
		{"root", [][]string{{"alice", "alice/alice.key"}, {"bob", "bob/bob.key"}}},
		{"targets", [][]string{{"ops", "ops/next-targets.key"}}},
	} {
		id, err := r.requestFor(ctx, due.role)
		if err != nil {
			return err
		}
		file := due.role + "-renewal.request"
		if _, err := r.types(ctx, "ops", "request", "export", id, "--data", "data", "--out", file); err != nil {
			return err
		}
		if err := r.publishes(ctx, file, due.signers...); err != nil {
			return err
		}
	}
	if _, err := r.types(ctx, "ops", "sitting", "plan", "--data", "data", "--out", "sitting.request"); err != nil {
		return err
	}
	if err := r.publishes(ctx, "sitting.request", []string{"ops", "ops/next-claimed.key", "ops/next-unclaimed.key"}); err != nil {
		return err
	}
	if err := r.wait(ctx, 60*24*time.Hour); err != nil {
		return err
	}
	if err := r.upload(ctx, "1.4"); err != nil {
		return err
	}
	return r.verifies(ctx, 5)
}

// requestFor finds the request that the index opened by itself for a role.
func (r *rehearsal) requestFor(ctx context.Context, role string) (string, error) {
	out := r.run(ctx, "requests", "--data", "data", "--json")
	var list struct {
		Requests []struct {
			ID      string `json:"id"`
			Title   string `json:"title"`
			Missing []struct {
				Role string `json:"role"`
			} `json:"missing"`
		} `json:"requests"`
	}
	if err := json.Unmarshal([]byte(out.stdout), &list); err != nil {
		return "", fmt.Errorf("reading the list of requests: %w: %s", err, out.text)
	}
	for _, q := range list.Requests {
		for _, m := range q.Missing {
			if m.Role == role {
				r.say("the index opened request %s by itself: %s", q.ID, q.Title)
				r.held++
				return q.ID, nil
			}
		}
	}
	return "", fmt.Errorf("the index opened no request for %s: %s", role, out.text)
}

func (r *rehearsal) comeBack(ctx context.Context) error {
	r.user = "sleeper"
	if err := r.verifies(ctx, 5); err != nil {
		return err
	}
	r.user = "newcomer"
	if _, err := r.types(ctx, "newcomer", "trust", "add", r.url, "--root", "sha256:"+r.root); err != nil {
		return err
	}
	if err := r.verifies(ctx, 5); err != nil {
		return err
	}
	_, err := r.types(ctx, "ops", "audit", "--data", "data")
	return err
}
