package signtool_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/sitting"
	"example.com/bailiwick/tuf"
)

// TestR5OfflineSigning: a request leaves the index as a file, is read and signed where there is no network,
// comes back as a file, and is published.
func TestR5OfflineSigning(t *testing.T) {
	w, d := newWorld(t, 16), newDesk(t)
	w.claim("flask", "requests")
	w.now = w.now.Add(20 * day)
	d.now = w.now.Add(1)
	file := w.plan(d.dir, sitting.Wishes{MinAge: 14 * day})
	key, out := w.keyFile(d.dir, policy.KeyClaimed, 0), d.path("signed.bwk")

	page := d.does("show", file).stdout
	for _, words := range []string{"flask", "requests", "2 projects"} {
		if !strings.Contains(d.does("show", file, "--all").stdout+page, words) {
			t.Errorf("nothing shows %q", words)
		}
	}
	s := d.does(file, "--key", key, "--out", out, "--yes")
	if !strings.HasPrefix(s.stdout, page) || !strings.Contains(s.stdout, "signed. ") {
		t.Errorf("signing does not show first what show shows:\n%s\n%s", s.stdout, page)
	}
	info, err := os.Stat(out)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("the signed file: mode %v, %v", info.Mode(), err)
	}
	wantNames(t, d, "partial", false)
	before := readRequest(t, file)
	if after := readRequest(t, out); after.ID() != before.ID() {
		t.Error("the signed file is of another request")
	}
	w.accept(out)
	for _, name := range []string{"flask", "requests"} {
		p := project(t, name)
		bin, err := w.set.Delegated(w.load, w.layout.ClaimedChain(p)...)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := bin.Delegations().Find(policy.ProjectRole(p)); !ok {
			t.Errorf("%s is not in its claimed bin", name)
		}
	}
}

// wantNames checks whether the desk holds files whose names have a part.
func wantNames(t *testing.T, d *desk, part string, want bool) {
	t.Helper()
	entries, err := os.ReadDir(d.dir)
	must(t, err)
	found := slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return strings.Contains(e.Name(), part) })
	if found != want {
		t.Errorf("files with %q in the name: %t, want %t: %v", part, found, want, entries)
	}
}

// TestNothingIsSignedWithoutAYes: without a terminal and without --yes there is no signature, no memory of
// one, and no file.
func TestNothingIsSignedWithoutAYes(t *testing.T) {
	w, d := newWorld(t, 16), newDesk(t)
	file := w.plan(d.dir, sitting.Wishes{All: true})
	key, out := w.keyFile(d.dir, policy.KeyClaimed, 0), d.path("signed.bwk")
	s := d.refuses(2, "nothing was signed: there is no terminal to ask at", file, "--key", key, "--out", out)
	if !strings.Contains(s.stderr, "--yes") || s.stdout != d.does("show", file).stdout {
		t.Errorf("does not show and say what to do:\n%s%s", s.stdout, s.stderr)
	}
	wantNames(t, d, "signed", false)
	wantRemembered(t, d, 0)
}

// wantRemembered counts the repositories in the memory of a desk.
func wantRemembered(t *testing.T, d *desk, want int) []string {
	t.Helper()
	files, err := filepath.Glob(d.path("state/bailiwick-sign/*.json"))
	must(t, err)
	if len(files) != want {
		t.Errorf("the memory holds %d repositories, want %d", len(files), want)
	}
	return files
}

// TestR8HoldersSignApart: everybody signs on a machine of their own, in any order, one after the other or
// each a copy; the request says who is missing.
func TestR8HoldersSignApart(t *testing.T) {
	w := newWorld(t, 16)
	first, err := sitting.First(w.spec(), w.now.Add(30*day), "", "")
	must(t, err)
	file := writeRequest(t, t.TempDir(), first)
	chain := []struct {
		role policy.KeyRole
		n    int
	}{{policy.KeyRoot, 1}, {policy.KeyClaimed, 0}, {policy.KeyRoot, 0}, {policy.KeyUnclaimed, 0}}
	for i, holder := range chain {
		d := newDesk(t)
		out := d.path("signed")
		s := d.does("--yes", "--out", out, "--key", w.keyFile(d.dir, holder.role, holder.n), file)
		if _, after, _ := strings.Cut(s.stdout, "signed. "); !strings.Contains(after, "missing") || !strings.Contains(after, "carry it back (bailiwick init --resume signed)") {
			t.Errorf("%d: does not say that others are missing, and where it goes:\n%s", i, s.stdout)
		}
		file = out
	}
	apart := newDesk(t)
	d := newDesk(t)
	last := w.keyFile(d.dir, policy.KeyTargets, 0)
	s := d.does(file, "--yes", "--key="+last, "--out="+d.path("signed"))
	if _, after, _ := strings.Cut(s.stdout, "signed. "); strings.Contains(after, "missing") || !strings.Contains(after, "init --resume") {
		t.Errorf("a complete request:\n%s", s.stdout)
	}
	v, err := sitting.Judge(readRequest(t, d.path("signed")), d.now)
	if err != nil || !v.Complete() {
		t.Fatalf("the request is not complete: %v, %v", v.Missing, err)
	}
	// A copy that was signed apart holds a further signature of its own, and is merged.
	lone := writeRequest(t, apart.dir, first)
	apart.does(lone, "--yes", "--out", apart.path("copy"), "--key", w.keyFile(apart.dir, policy.KeyTargets, 0), "--key", w.keyFile(apart.dir, policy.KeyRoot, 0))
	both, other := readRequest(t, file), readRequest(t, apart.path("copy"))
	if n, err := both.Merge(other); err != nil || n != 1 {
		t.Errorf("merged %d signatures, %v; want that of targets", n, err)
	}
	if v, err := sitting.Judge(both, d.now); err != nil || !v.Complete() {
		t.Errorf("merged copies are not complete: %v", err)
	}
	apart.refuses(1, "no signature is missing", d.path("signed"), "--yes", "--key", last, "--out", apart.path("again"))
}

// TestSeveralKeys: one person with several keys signs with all of them at once.
func TestSeveralKeys(t *testing.T) {
	w, d := newWorld(t, 16), newDesk(t)
	file := w.plan(d.dir, sitting.Wishes{All: true})
	args := []string{file, "--yes", "--out", d.path("signed")}
	for _, role := range []policy.KeyRole{policy.KeyTargets, policy.KeyClaimed, policy.KeyUnclaimed} {
		args = append(args, "--key", w.keyFile(d.dir, role, 0))
	}
	d.does(args...)
	w.accept(d.path("signed"))
}

func TestKeysThatDoNotFit(t *testing.T) {
	w, d := newWorld(t, 16), newDesk(t)
	file := w.plan(d.dir, sitting.Wishes{MinAge: day})
	claimed, targets := w.keyFile(d.dir, policy.KeyClaimed, 0), w.keyFile(d.dir, policy.KeyTargets, 0)
	out := d.path("signed")
	sign := func(args ...string) []string { return append([]string{file, "--yes", "--out", out}, args...) }

	s := d.refuses(1, "signs nothing in this file", sign("--key", targets)...)
	if !strings.Contains(s.stderr, string(w.signers[policy.KeyTargets][0].Public().ID())) || !strings.Contains(s.stderr, string(w.signers[policy.KeyClaimed][0].Public().ID()[:12])) {
		t.Errorf("does not name the key that was given and the one that is wanted: %s", s.stderr)
	}
	d.refuses(1, "signs nothing in this file", sign("--key", claimed, "--key", targets)...)
	d.refuses(2, "are the same key", sign("--key", claimed, "--key", "file:"+claimed)...)
	d.refuses(1, "no such file", sign("--key", d.path("none.key"))...)
	d.refuses(2, "not the URI of a key", sign("--key", "ssh-agent:alice")...)
	d.refuses(2, "a PIN does not belong into a URI", sign("--key", "pkcs11:token=a;pin-value=1234")...)

	d.environ["BAILIWICK_PASSPHRASE_FILE"] = ""
	d.refuses(1, "it needs its passphrase, and there is no terminal", sign("--key", claimed)...)
	must(t, os.WriteFile(d.path("wrong"), []byte("not the passphrase\n"), 0o600))
	d.refuses(1, "wrong passphrase", sign("--key", claimed, "--passphrase-file", d.path("wrong"))...)
	d.refuses(2, "a secret is never an argument", sign("--key", claimed, "--passphrase", phrase)...)
	wantNames(t, d, "signed", false)
	wantRemembered(t, d, 0)

	d.does(sign("--key", claimed, "--passphrase-file", d.path("passphrase"))...)
	signed := out
	out = d.path("twice")
	d.refuses(1, "no signature is missing", signed, "--yes", "--out", out, "--key", claimed)
}

// TestUsage: flags and the file come in any order, and slips are told.
func TestUsage(t *testing.T) {
	w, d := newWorld(t, 16), newDesk(t)
	file := w.plan(d.dir, sitting.Wishes{MinAge: day})
	key := w.keyFile(d.dir, policy.KeyClaimed, 0)
	for i, args := range [][]string{
		{file, "--key", key, "--out", d.path("0"), "--yes"},
		{"--key", key, file, "--yes", "--out", d.path("1")},
		{"--yes", "--out=" + d.path("2"), "-key=" + key, "--", file},
	} {
		d.does(args...)
		if _, err := os.Stat(d.path(string(rune('0' + i)))); err != nil {
			t.Errorf("%q: %v", args, err)
		}
	}
	for _, c := range []struct {
		words string
		args  []string
	}{
		{"name a key to sign with", []string{file}},
		{"name the file to make", []string{file, "--key", key}},
		{"name the FILE to sign", []string{"--key", key, "--out", "x"}},
		{"one thing too many", []string{file, "--key", key, "--out", "x", file}},
		{"there is no flag --force", []string{file, "--force"}},
		{"--out needs a value", []string{file, "--out"}},
		{"it is empty", []string{file, "--key", ""}},
		{"show: name the FILE", []string{"show"}},
		{"one of --project, --role and --all", []string{"show", file, "--all", "--role", "claimed"}},
		{"new-key: name the file to make", []string{"new-key"}},
		{"accept: name the one key", []string{"accept", file, "--out", "x"}},
		{"accept: name the INVITATION", []string{"accept", "--key", key}},
		{"is not the name of a file", []string{file, "--key", key, "--out", "/"}},
	} {
		s := d.refuses(2, c.words, c.args...)
		if !strings.Contains(s.stderr, "see: bailiwick-sign --help") {
			t.Errorf("%q: does not point to the help", c.args)
		}
	}
	for _, args := range [][]string{nil, {"--help"}, {"-h"}, {"help"}, {"show", "--help"}, {file, "--help"}, {"accept", "-h"}, {"new-key", "--help"}} {
		if s := d.does(args...); !strings.Contains(s.stdout, "--passphrase-file FILE") {
			t.Errorf("%q does not help", args)
		}
	}
	if s := d.does("version"); !strings.HasPrefix(s.stdout, "bailiwick-sign ") {
		t.Errorf("version: %q", s.stdout)
	}
}

// TestFilesAreNeverOverwritten: nor anything that a link leads to.
func TestFilesAreNeverOverwritten(t *testing.T) {
	w, d := newWorld(t, 16), newDesk(t)
	file := w.plan(d.dir, sitting.Wishes{MinAge: day})
	key := w.keyFile(d.dir, policy.KeyClaimed, 0)
	victim := d.path("victim")
	must(t, os.WriteFile(victim, []byte("precious"), 0o600))
	must(t, os.Symlink(victim, d.path("link")))
	must(t, os.Symlink(d.path("nowhere"), d.path("broken")))
	must(t, os.Mkdir(d.path("folder"), 0o700))
	for _, name := range []string{"victim", "link", "broken", "folder"} {
		d.refuses(1, "is there already, and no file is ever overwritten", file, "--key", key, "--yes", "--out", d.path(name))
		d.refuses(1, "is there already, and no file is ever overwritten", "new-key", "--name", "x", "--out", d.path(name))
	}
	d.refuses(1, "is there already", file, "--key", key, "--yes", "--out", file)
	d.refuses(1, "is there already", file, "--key", key, "--yes", "--out", key)
	d.refuses(1, "there is no folder", file, "--key", key, "--yes", "--out", d.path("none/signed"))
	d.refuses(1, "there is no folder", "new-key", "--out", d.path("none/x.key"))
	if data, err := os.ReadFile(victim); err != nil || string(data) != "precious" {
		t.Errorf("the victim holds %q, %v", data, err)
	}
	if _, err := os.Lstat(d.path("nowhere")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the broken link was followed")
	}
	wantRemembered(t, d, 0)

	// Links where the signatures so far would go.
	must(t, os.Symlink(victim, d.path("signed.partial")))
	d.refuses(1, "can not be gone on with", file, "--key", key, "--yes", "--out", d.path("signed"))
	must(t, os.Remove(d.path("signed.partial")))
	must(t, os.Symlink(victim, d.path("signed.partial.new")))
	d.does(file, "--key", key, "--yes", "--out", d.path("signed"))
	if data, err := os.ReadFile(victim); err != nil || string(data) != "precious" {
		t.Errorf("the victim holds %q, %v", data, err)
	}
}

// TestAlteredInEveryLine: whatever line of a request is changed, and however, it is refused, and nothing is
// signed.
func TestAlteredInEveryLine(t *testing.T) {
	w, d := newWorld(t, 16), newDesk(t)
	w.claim("flask")
	w.now = w.now.Add(20 * day)
	d.now = w.now
	file := w.plan(d.dir, sitting.Wishes{MinAge: 14 * day, Note: "a note", Notes: func(p pypi.Project) sitting.Note { return sitting.Note{Project: p, Text: "hello"} }})
	key := w.keyFile(d.dir, policy.KeyClaimed, 0)
	data, err := os.ReadFile(file)
	must(t, err)
	lines := bytes.SplitAfter(data, []byte("\n"))
	lines = lines[:len(lines)-1]
	if len(lines) < 8 {
		t.Fatalf("the request has %d lines", len(lines))
	}
	bad := d.path("bad")
	try := func(what string, changed ...[]byte) {
		t.Helper()
		must(t, os.WriteFile(bad, bytes.Join(changed, nil), 0o600))
		s := d.run(t.Context(), bad, "--key", key, "--yes", "--out", d.path("signed"))
		if s.code != 3 || !strings.HasPrefix(s.stderr, "bailiwick-sign: "+bad+": ") || strings.Contains(s.stdout, "signed.") {
			t.Errorf("%s: ended with %d: %s", what, s.code, s.stderr)
		}
		if s := d.run(t.Context(), "show", bad, "--all"); s.code != 3 || s.stdout != "" {
			t.Errorf("%s: show ended with %d: %s", what, s.code, s.stderr)
		}
	}
	with := func(i int, line []byte) [][]byte {
		changed := slices.Clone(lines)
		changed[i] = line
		return changed
	}
	for i, line := range lines {
		flipped := bytes.Clone(line)
		at := bytes.LastIndexFunc(flipped, func(r rune) bool { return r >= '0' && r <= '8' || r >= 'a' && r <= 'y' })
		flipped[at]++
		try("a changed character", with(i, flipped)...)
		try("a missing line", slices.Delete(slices.Clone(lines), i, i+1)...)
		try("a line twice", slices.Insert(slices.Clone(lines), i, line)...)
		try("an empty line", with(i, []byte("\n"))...)
		try("a blank", with(i, append([]byte(" "), line...))...)
		if i > 0 {
			swapped := slices.Clone(lines)
			swapped[i], swapped[i-1] = swapped[i-1], swapped[i]
			try("lines in another order", swapped...)
		}
	}
	for n := 0; n < len(data); n += 1 + len(data)/20 {
		try("cut off", data[:n])
	}
	try("something behind it", data, []byte("{}\n"))
	try("no line end", data[:len(data)-1])
	wantNames(t, d, "signed", false)
	wantRemembered(t, d, 0)
	d.does(file, "--key", key, "--yes", "--out", d.path("signed"))
}

// TestFilesThatAreNoRequests: other files are told from requests, whatever they are.
func TestFilesThatAreNoRequests(t *testing.T) {
	w, d := newWorld(t, 16), newDesk(t)
	key := w.keyFile(d.dir, policy.KeyClaimed, 0)
	huge, err := os.Create(d.path("huge"))
	must(t, err)
	must(t, huge.Truncate(sitting.MaxBytes+1)) // takes no room
	must(t, huge.Close())
	must(t, os.WriteFile(d.path("empty"), nil, 0o600))
	must(t, os.WriteFile(d.path("noise"), bytes.Repeat([]byte{0xff, 0}, 4096), 0o600))
	must(t, os.WriteFile(d.path("long"), bytes.Repeat([]byte{'x'}, 8<<20), 0o600))
	for name, c := range map[string]struct {
		code  int
		words string
	}{
		"huge":  {3, "at most"},
		"empty": {3, "cut off"},
		"noise": {3, ""},
		"long":  {3, "too long"},
		"none":  {1, "no such file"},
		".":     {1, "not a regular file"},
	} {
		d.refuses(c.code, c.words, "show", d.path(name))
		d.refuses(c.code, c.words, d.path(name), "--key", key, "--yes", "--out", d.path("signed"))
	}
	d.refuses(3, "", "show", key)
	d.refuses(3, "", "accept", key, "--key", key, "--yes", "--out", d.path("accepted"))
	d.refuses(3, "no invitation", "accept", d.path("huge"), "--key", key, "--yes", "--out", d.path("accepted"))
	must(t, os.WriteFile(d.path("private"), []byte("-----BEGIN PRIVATE KEY-----\n"), 0o600))
	d.refuses(3, "PRIVATE key", "show", d.path("private"))
}

// TestExpiredRequests: and those from a clock that is wrong.
func TestExpiredRequests(t *testing.T) {
	w, d := newWorld(t, 16), newDesk(t)
	file := w.plan(d.dir, sitting.Wishes{MinAge: day})
	key := w.keyFile(d.dir, policy.KeyClaimed, 0)
	d.now = start().Add(61 * day)
	d.refuses(3, "expired", file, "--key", key, "--yes", "--out", d.path("signed"))
	d.now = start().Add(-2 * day)
	d.refuses(3, "clock", file, "--key", key, "--yes", "--out", d.path("signed"))
}

// kept is a part of what a memory holds.
type kept struct {
	Keys  []string
	Roles map[tuf.RoleName]struct{ Seen, Signed int64 }
}

// memoryOf reads what a desk remembers.
func memoryOf(t *testing.T, d *desk) (m kept) {
	t.Helper()
	data, err := os.ReadFile(wantRemembered(t, d, 1)[0])
	must(t, err)
	must(t, json.Unmarshal(data, &m))
	return m
}
