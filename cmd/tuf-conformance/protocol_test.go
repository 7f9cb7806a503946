package main_test

import (
	"go/ast"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"example.com/bailiwick/internal/testrepo"
)

// The tests of this file are about the protocol itself (who the command answers to and
// what it leaves on disk), where the suite relies on more than it tests.

func funcName(d ast.Decl) string {
	if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil {
		return f.Name.Name
	}
	return ""
}

func TestArguments(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	r.AddTarget("targets", "file", []byte("content"))
	r.Publish()
	c := newClient(t, r)
	c.init(r.Root(1))
	meta := []string{"--metadata-dir", c.metadata, "--metadata-url", c.url + "/metadata"}
	target := []string{"--target-name", "file", "--target-dir", c.targets, "--target-base-url", c.url + "/targets"}
	for name, args := range map[string][]string{
		"nothing":               {},
		"no command":            meta,
		"unknown command":       append(slices.Clone(meta), "update"),
		"two commands":          append(slices.Clone(meta), "refresh", "refresh"),
		"option after command":  append([]string{"refresh"}, meta...),
		"unknown option":        append([]string{"--verbose"}, append(slices.Clone(meta), "refresh")...),
		"no metadata folder":    {"--metadata-url", c.url, "refresh"},
		"no metadata url":       {"--metadata-dir", c.metadata, "refresh"},
		"init without root":     {"--metadata-dir", c.metadata, "init"},
		"init of no file":       {"--metadata-dir", c.metadata, "init", filepath.Join(c.metadata, "none")},
		"no target":             append(slices.Clone(meta), append(slices.Clone(target[2:]), "download")...),
		"no target folder":      append(slices.Clone(meta), append(slices.Concat(target[:2], target[4:]), "download")...),
		"no target url":         append(slices.Clone(meta), append(slices.Clone(target[:4]), "download")...),
		"target folder is none": append(slices.Clone(meta), "--target-name", "file", "--target-dir", c.targets+"/none", "--target-base-url", c.url, "download"),
		"url of another scheme": {"--metadata-dir", c.metadata, "--metadata-url", "ftp://example.com", "refresh"},
		"metadata not there":    {"--metadata-dir", c.metadata + "/none", "--metadata-url", c.url + "/metadata", "refresh"},
		"bad target name":       append(slices.Clone(meta), append([]string{"--target-name", "../file"}, append(slices.Clone(target[2:]), "download")...)...),
	} {
		if got := c.run(args...); got != 1 {
			t.Errorf("%s: exits with %d, want 1", name, got)
		}
	}
	c.artifacts()
	for _, args := range [][]string{
		append(slices.Clone(meta), "refresh"),
		append(slices.Clone(target), append(slices.Clone(meta), "download")...),
		{"-metadata-dir=" + c.metadata, "-metadata-url=" + c.url + "/metadata", "refresh"},
	} {
		if got := c.run(args...); got != 0 {
			t.Errorf("%v: exits with %d, want 0", args, got)
		}
	}
	c.artifacts("content")
}

func TestURLsMayEndInASlash(t *testing.T) {
	for _, slash := range []string{"", "/"} {
		r := testrepo.New(t, testrepo.Options{})
		r.AddTarget("targets", "dir/file", []byte("content"))
		r.Publish()
		t.Run("slash"+slash, func(t *testing.T) {
			c := newClient(t, r)
			c.slash = slash
			c.init(r.Root(1))
			c.refresh(0)
			c.download(0, "dir/file")
			for _, p := range c.paths {
				if strings.Contains(p, "//") {
					t.Errorf("asked for %s", p)
				}
			}
		})
	}
}

func TestFilesInTheMetadataFolder(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	r.Delegate("targets", testrepo.Delegation{Name: "Some Role", Paths: []string{"*"}})
	r.AddTarget("Some Role", "file", []byte("content"))
	r.Publish()
	c := newClient(t, r)
	if err := os.Chmod(c.metadata, 0o777); err != nil { // whatever the umask made of it
		t.Fatal(err)
	}
	c.init(r.Root(1))
	if got := c.list(".json"); !slices.Equal(got, []string{"root.json"}) {
		t.Fatalf("after init: %q", got)
	}
	c.refresh(0)
	if got := c.list(".json"); !slices.Equal(got, []string{"root.json", "snapshot.json", "targets.json", "timestamp.json"}) {
		t.Fatalf("after refresh: %q", got)
	}
	c.download(0, "file")
	r.PublishRoot()
	r.Touch("Some Role")
	r.Publish()
	c.download(0, "file")
	if got := c.list(".json"); len(got) != 5 {
		t.Fatalf("after download: %q", got)
	}
	c.artifacts("content")
}

func TestSeveralTargets(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	for _, name := range []string{"one", "two", "three"} {
		r.AddTarget("targets", name, []byte(name))
	}
	r.Publish()
	c := newClient(t, r)
	c.init(r.Root(1))
	c.download(0, "two", "one")
	c.artifacts("two", "one")
	top := []string{"2.root.json", "timestamp.json", "2.snapshot.json", "2.targets.json"}
	file := func(name string) string { return "targets/" + r.TargetName(name, []byte(name)) }
	c.requested(append(top, file("two"), file("one"))...) // one refresh for all
	c.download(1, "none", "three")                        // stops at the first failure
	c.artifacts("two", "one")
	c.download(1, "three", "none")
	c.artifacts("two", "one", "three")
}

func TestDownloadReplaces(t *testing.T) {
	long := strings.Repeat("directory/", 50) + "file" // longer than a file name may be
	for _, name := range []string{"file", "a/b", "a%2Fb", long} {
		r := testrepo.New(t, testrepo.Options{})
		r.AddTarget("targets", name, []byte("old"))
		r.Publish()
		t.Run(name[:min(len(name), 20)], func(t *testing.T) {
			c := newClient(t, r)
			c.init(r.Root(1))
			c.download(0, name)
			c.artifacts("old")
			r.AddTarget("targets", name, []byte("new and longer"))
			r.Publish()
			c.download(0, name)
			c.artifacts("new and longer")
			// Of the listed length, and yet not what is listed.
			files, err := os.ReadDir(c.targets)
			if err != nil || len(files) != 1 {
				t.Fatalf("%v, %v", files, err)
			}
			if err := os.WriteFile(filepath.Join(c.targets, files[0].Name()), []byte("new and_longer"), 0o600); err != nil {
				t.Fatal(err)
			}
			c.download(0, name)
			c.artifacts("new and longer")
		})
	}
}

// Each target has a file of its own, also while another one is on its way.
func TestTargetsDoNotShareAFile(t *testing.T) {
	names := []string{"file.part", "a%.file", "a/b", "a%2Fb", "a%252Fb", "file"}
	r := testrepo.New(t, testrepo.Options{})
	for _, name := range names {
		r.AddTarget("targets", name, []byte("content of "+name))
	}
	r.Publish()
	c := newClient(t, r)
	c.init(r.Root(1))
	want := []string{}
	for _, name := range names {
		c.download(0, name)
		want = append(want, "content of "+name)
		c.artifacts(want...)
	}
}

func TestLinksInTheTargetFolder(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	r.AddTarget("targets", "file", []byte("content"))
	r.Publish()
	c := newClient(t, r)
	c.init(r.Root(1))
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"file", "%.file"} {
		if err := os.Symlink(outside, filepath.Join(c.targets, name)); err != nil {
			t.Fatal(err)
		}
	}
	c.download(0, "file")
	if info, err := os.Lstat(filepath.Join(c.targets, "file")); err != nil || !info.Mode().IsRegular() {
		t.Errorf("the target is still a link: %v, %v", info, err)
	}
	if data, err := os.ReadFile(outside); err != nil || string(data) != "content" {
		t.Errorf("the file outside is %q, %v", data, err)
	}
}

func TestTheFolderMayBeALink(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	c := newClient(t, r)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(c.metadata, link); err != nil {
		t.Fatal(err)
	}
	plain := c.metadata
	c.metadata = link
	c.init(r.Root(1))
	c.refresh(0)
	c.metadata = plain
	c.trusted("root 1, snapshot 1, targets 1, timestamp 1")
}

func TestARolesFileThatIsALinkIsRefused(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	c := newClient(t, r)
	c.init(r.Root(1))
	outside := filepath.Join(t.TempDir(), "timestamp.json")
	if err := os.WriteFile(outside, r.Bytes("timestamp"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(c.metadata, "timestamp.json")); err != nil {
		t.Fatal(err)
	}
	c.refresh(1)
	if err := os.Remove(filepath.Join(c.metadata, "timestamp.json")); err != nil {
		t.Fatal(err)
	}
	c.refresh(0)
}

// The command has the checks of the library, all of them: a key whose id is not its hash
// does not count.
func TestKeyIDsAreChecked(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	c := newClient(t, r)
	c.init(r.Root(1))
	id := string(r.Top["snapshot"].Keys[0].ID())
	r.Edit["root"] = func(signed map[string]any) { at(signed, "keys", id)["x-owner"] = "somebody" }
	r.PublishRoot()
	c.refresh(1)
	c.trusted("root 2, timestamp 1")
	delete(r.Edit, "root")
	r.PublishRoot()
	c.refresh(0)
	c.trusted("root 3, snapshot 1, targets 1, timestamp 1")
}

func TestDateIsAsked(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	c := newClient(t, r)
	c.init(r.Root(1))
	c.repo.Advance(10 * 365 * day)
	c.refresh(1)
	c.requested("2.root.json")
}
