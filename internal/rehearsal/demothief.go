package rehearsal

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"example.com/bailiwick/internal/files"
	"example.com/bailiwick/internal/keys"
	"example.com/bailiwick/internal/ledger"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
	"example.com/bailiwick/tuf/repo"
	"example.com/bailiwick/tuf/trust"
)

// demoAttack is one thing a thief does with the server, and how it must fail.
type demoAttack struct {
	title string
	do    func(ctx context.Context) (undo func() error, err error)
	code  int    // exit code that the user gets
	text  string // what the refusal must say
	look  string // what to look at in it
}

// attack plays one attack on a user who has no copy of the file, and then proves that an honest server serves the same user again.
func (d *demo) attack(ctx context.Context, a demoAttack) error {
	if err := os.RemoveAll(d.cache()); err != nil {
		return fmt.Errorf("emptying the user's cache: %w", err)
	}
	undo, err := a.do(ctx)
	if err != nil {
		return fmt.Errorf("preparing it: %w", err)
	}
	r, installed, err := d.pip(ctx)
	switch {
	case err != nil:
		return errors.Join(err, undo())
	case installed != "":
		return errors.Join(fmt.Errorf("version %s was installed", installed), undo())
	case r.code != a.code:
		return errors.Join(fmt.Errorf("the exit code is %d, expected %d", r.code, a.code), undo())
	case !strings.Contains(strings.ToLower(r.text), a.text):
		return errors.Join(fmt.Errorf("the refusal does not say %q", a.text), undo())
	}
	d.say("refused, exit code %d. %s", r.code, a.look)
	if err := undo(); err != nil {
		return fmt.Errorf("undoing it: %w", err)
	}
	if r, version, err := d.quietly(ctx); err != nil {
		return fmt.Errorf("the honest install afterwards: %w", err)
	} else if r.code != 0 || version != d.latest {
		return fmt.Errorf("the honest install afterwards ended with %d and version %q: %s", r.code, version, r.text)
	}
	d.say("honest again: the same user installs %s %s", demoProject, d.latest)
	return nil
}

// quietly installs without showing it.
func (d *demo) quietly(ctx context.Context) (ran, string, error) {
	out := d.out
	d.out = io.Discard
	defer func() { d.out = out }()
	return d.pip(ctx)
}

func (d *demo) attacks() []demoAttack {
	return []demoAttack{
		{
			title: "the file is swapped for another of the same length",
			do:    d.swapFile, code: codeRefused, text: "refused",
			look: "Look at the two hashes: what was signed, and what came.",
		},
		{
			title: "the metadata is rolled back to before the release",
			do:    d.rollBack, code: codeUnusable, text: "older",
			look: "The user has seen a newer timestamp, and does not go back.",
		},
		{
			title: "the server is frozen, so that its users never hear of an update; a day passes",
			do:    d.freeze, code: codeUnusable, text: "expired",
			look: "Expired is another sentence than attacked: nobody signed anything since.",
		},
		{
			title: "with the stolen timestamp and snapshot keys, a release is published that the thief signs himself",
			do:    d.forge, code: codeRefused, text: "sign",
			look: "Only the key that the delegation names may sign for " + demoProject + ".",
		},
	}
}

// swapFile overwrites the package in the file store.
func (d *demo) swapFile(context.Context) (func() error, error) {
	var path string
	var honest []byte
	err := filepath.WalkDir(filepath.Join(d.data(), filesFolder), func(p string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(p) //nolint:gosec // the demo's own folder
		if err == nil && bytes.HasPrefix(data, []byte("PK")) && bytes.Contains(data, []byte(demoProject+"-1.1.dist-info")) {
			path, honest = p, data
		}
		return err
	})
	if err != nil || path == "" {
		return nil, fmt.Errorf("looking for the package in the file store: %w", err)
	}
	evil := bytes.Clone(honest)
	evil[len(evil)/3] ^= 0x20
	write := func(data []byte) error {
		if err := os.Chmod(path, 0o600); err != nil {
			return fmt.Errorf("making it writable: %w", err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			return fmt.Errorf("overwriting it: %w", err)
		}
		return nil
	}
	d.say("overwrote %s", strings.TrimPrefix(path, d.dir+"/"))
	return func() error { return write(honest) }, write(evil)
}

// rollBack serves the metadata as it was before version 1.1.
func (d *demo) rollBack(ctx context.Context) (func() error, error) {
	return d.impersonate(ctx, func(ctx context.Context, t *thief) error {
		head, err := t.ledger.Head(ctx)
		if err != nil {
			return fmt.Errorf("reading the ledger: %w", err)
		}
		old, err := t.ledger.Metadata(ctx, tuf.RoleTimestamp, head.Number-1)
		t.replaced["timestamp.json"] = old.Bytes
		d.say("serves timestamp %d in place of %d, and all that belongs to it", head.Number-1, head.Number)
		return err //nolint:wrapcheck // names what is missing
	})
}

// freeze goes on serving what is there, and lets the user's clock run.
func (d *demo) freeze(ctx context.Context) (func() error, error) {
	undo, err := d.impersonate(ctx, func(context.Context, *thief) error { return nil })
	if err != nil {
		return nil, err
	}
	shift := func(by time.Duration) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.ahead = by
	}
	shift(26 * time.Hour)
	d.say("the user's clock is 26 hours further; a timestamp lives for 24")
	return func() error { shift(0); return undo() }, nil
}

// forge publishes a file in the project's name, signed by a key that nobody named.
func (d *demo) forge(ctx context.Context) (func() error, error) {
	undo, err := d.impersonate(ctx, func(ctx context.Context, t *thief) error {
		_, own, err := key.GenerateEd25519()
		if err != nil {
			return fmt.Errorf("making a key: %w", err)
		}
		d.say("the thief's own key: %s…", own.Public().ID()[:16])
		return t.publish(ctx, filepath.Join(d.data(), keysFolder), own, d.env.Now())
	})
	if err != nil {
		return nil, err
	}
	return func() error {
		// The user has seen the thief's timestamp, so the honest ones have to come after it.
		return errors.Join(undo(), d.upload(ctx, "1.2"), d.upload(ctx, "1.3"))
	}, nil
}

// impersonate stops the honest server and serves from its storage in its place, as prepare wants it.
func (d *demo) impersonate(ctx context.Context, prepare func(context.Context, *thief) error) (undo func() error, err error) {
	if err := d.stopServer(); err != nil {
		return nil, err
	}
	t, err := newThief(ctx, d.data())
	if err != nil {
		return nil, err
	}
	if err := prepare(ctx, t); err != nil {
		return nil, errors.Join(err, t.close())
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", d.listen)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("taking over the address: %w", err), t.close())
	}
	server := &http.Server{Handler: t, ReadHeaderTimeout: time.Minute}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	return func() error {
		err := server.Close()
		if served := <-done; !errors.Is(served, http.ErrServerClosed) {
			err = errors.Join(err, served)
		}
		return errors.Join(err, t.close(), d.serve(ctx))
	}, nil
}

// thief serves from the storage of the server, with what it likes in place of some metadata. It checks nothing.
type thief struct {
	ledger   *ledger.SQLite
	files    *files.Folder
	replaced map[string][]byte            // by metadata file name
	forged   map[[sha256.Size]byte][]byte // package files, by the hash under which they are served
}

func newThief(ctx context.Context, data string) (*thief, error) {
	l, err := ledger.OpenSQLite(ctx, filepath.Join(data, ledgerFile))
	if err != nil {
		return nil, fmt.Errorf("opening the stolen ledger: %w", err)
	}
	store, err := files.Open(data)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening the stolen files: %w", err), l.Close())
	}
	return &thief{ledger: l, files: store, replaced: map[string][]byte{}, forged: map[[sha256.Size]byte][]byte{}}, nil
}

func (t *thief) close() error { return errors.Join(t.files.Close(), t.ledger.Close()) }

// ServeHTTP answers for /metadata/ and /targets/, which is all that verification reads.
func (t *thief) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if name, ok := strings.CutPrefix(r.URL.Path, "/metadata/"); ok {
		if data, err := t.metadata(r.Context(), name); err == nil {
			_, _ = w.Write(data)
			return
		}
	}
	if _, name, ok := strings.Cut(r.URL.Path, "/targets/"); ok {
		digest, _, _ := strings.Cut(filepath.Base(name), ".")
		sum, err := hex.DecodeString(digest)
		if err == nil && len(sum) == sha256.Size {
			if data, ok := t.forged[[sha256.Size]byte(sum)]; ok {
				_, _ = w.Write(data)
				return
			}
			if blob, err := t.files.Open(r.Context(), [sha256.Size]byte(sum)); err == nil {
				defer blob.Close()
				http.ServeContent(w, r, "", time.Time{}, blob)
				return
			}
		}
	}
	http.NotFound(w, r)
}

// metadata finds timestamp.json or N.ROLE.json.
func (t *thief) metadata(ctx context.Context, name string) ([]byte, error) {
	if data, ok := t.replaced[name]; ok {
		return data, nil
	}
	role, version := tuf.RoleTimestamp, int64(0)
	if name != "timestamp.json" {
		number, rest, _ := strings.Cut(strings.TrimSuffix(name, ".json"), ".")
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			return nil, publish.ErrNotFound
		}
		role, version = tuf.RoleName(rest), n
	}
	m, err := t.ledger.Metadata(ctx, role, version)
	return m.Bytes, err //nolint:wrapcheck // only whether it is there matters
}

// publish makes a publication with the stolen snapshot and timestamp keys, and a project role that own signs.
func (t *thief) publish(ctx context.Context, keyFolder string, own key.Signer, now time.Time) error {
	snapshotKey, err := keys.LoadOnline(filepath.Join(keyFolder, "snapshot.key"))
	if err != nil {
		return fmt.Errorf("stealing the snapshot key: %w", err)
	}
	timestampKey, err := keys.LoadOnline(filepath.Join(keyFolder, "timestamp.key"))
	if err != nil {
		return fmt.Errorf("stealing the timestamp key: %w", err)
	}
	registry, err := keys.Show(filepath.Join(keyFolder, "registry.key"))
	if err != nil {
		return fmt.Errorf("reading who signs projects: %w", err)
	}
	role := tuf.RoleName("project." + demoProject)
	project, err := stolen(ctx, t.ledger, role, registry.Public, tuf.ParseTargets)
	if err != nil {
		return err
	}
	snapshot, err := stolen(ctx, t.ledger, tuf.RoleSnapshot, snapshotKey.Public(), tuf.ParseSnapshot)
	if err != nil {
		return err
	}
	timestamp, err := stolen(ctx, t.ledger, tuf.RoleTimestamp, timestampKey.Public(), tuf.ParseTimestamp)
	if err != nil {
		return err
	}
	forged, err := t.sign(ctx, own, project.Version(), now, func(issue repo.Issue) (*repo.Draft, error) {
		issue.Role = role
		return repo.EditTargets(project, repo.TargetsEdit{Put: nextRelease(project)}, issue)
	})
	if err != nil {
		return err
	}
	pinned, err := t.sign(ctx, snapshotKey, snapshot.Version(), now, func(issue repo.Issue) (*repo.Draft, error) {
		return repo.EditSnapshot(snapshot, map[tuf.RoleName]int64{role: project.Version() + 1}, issue)
	})
	if err != nil {
		return err
	}
	current, err := t.sign(ctx, timestampKey, timestamp.Version(), now, func(issue repo.Issue) (*repo.Draft, error) {
		return repo.EditTimestamp(timestamp, repo.MetaOf(snapshot.Version()+1, pinned), issue)
	})
	if err != nil {
		return err
	}
	t.replaced[trust.FileName(role, project.Version()+1, true)] = forged
	t.replaced[trust.FileName(tuf.RoleSnapshot, snapshot.Version()+1, true)] = pinned
	t.replaced[trust.FileName(tuf.RoleTimestamp, 0, true)] = current
	return nil
}

// nextRelease lists an honest file once more, as version 9.9.
func nextRelease(project *tuf.Targets) []tuf.Target {
	for target := range project.All() {
		target.Path = tuf.TargetPath(strings.Replace(string(target.Path), demoProject+"-1.", demoProject+"-9.", 1))
		return []tuf.Target{target}
	}
	return nil
}

// sign makes the version after last of a role, signed by whoever the thief likes.
func (t *thief) sign(ctx context.Context, signer key.Signer, last int64, now time.Time, edit func(repo.Issue) (*repo.Draft, error)) ([]byte, error) {
	authority, err := tuf.NewAuthority(1, signer.Public())
	if err != nil {
		return nil, fmt.Errorf("naming the signer: %w", err)
	}
	draft, err := edit(repo.Issue{Version: last + 1, Expires: now.Add(20 * time.Hour), Now: now, Authority: authority})
	if err != nil {
		return nil, fmt.Errorf("forging metadata: %w", err)
	}
	data, err := repo.Sign(ctx, draft, signer)
	if err != nil {
		return nil, fmt.Errorf("signing %s: %w", draft.Role(), err)
	}
	return data, nil
}

// stolen reads the newest version of a role that the ledger holds.
func stolen[T any](ctx context.Context, l *ledger.SQLite, role tuf.RoleName, signer *key.Public, parse func([]byte, *tuf.Limits) (*tuf.Unverified[T], error)) (*T, error) {
	m, err := l.Metadata(ctx, role, 0)
	if err != nil {
		return nil, fmt.Errorf("reading %s from the ledger: %w", role, err)
	}
	unverified, err := parse(m.Bytes, nil)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", role, err)
	}
	authority, err := tuf.NewAuthority(1, signer)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", role, err)
	}
	value, err := unverified.Verify(authority)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", role, err)
	}
	return value, nil
}
