package main_test

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"example.com/bailiwick/internal/testrepo"
)

func TestClientDownloadsExpectedFile(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	r.AddTarget("targets", "target_file.txt", []byte("target file contents"))
	r.Publish()
	c := newClient(t, r)
	c.init(r.Root(1))
	c.refresh(0)
	c.artifacts()
	c.download(0, "target_file.txt")
	c.artifacts("target file contents")
}

func TestClientDownloadsExpectedFileInSubDir(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	r.AddTarget("targets", "path/to/a/target_file.txt", []byte("target file contents"))
	r.Publish()
	c := newClient(t, r)
	c.init(r.Root(1))
	c.download(0, "path/to/a/target_file.txt")
	c.artifacts("target file contents")
}

func TestRepositorySubstitutesTargetFile(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	r.AddTarget("targets", "target_file.txt", []byte("target file contents"))
	r.AddTarget("targets", "another_target_file.txt", []byte("content"))
	r.Publish()
	c := newClient(t, r)
	c.init(r.Root(1))
	c.download(0, "target_file.txt")
	malicious := []byte("malicious data - should not download")
	r.ServeTarget(r.TargetName("target_file.txt", []byte("target file contents")), malicious)
	r.ServeTarget(r.TargetName("another_target_file.txt", []byte("content")), malicious)
	c.download(0, "target_file.txt") // it is there already
	c.artifacts("target file contents")
	c.download(1, "another_target_file.txt")
	c.artifacts("target file contents")
}

func TestMultipleChangesToTarget(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	r.AddTarget("targets", "target_file.txt", []byte("target file contents"))
	r.Publish()
	c := newClient(t, r)
	c.init(r.Root(1))
	c.download(0, "target_file.txt")
	kept := []string{"target file contents"}
	previous := kept[0]
	for i := range 11 {
		changed, added := fmt.Sprint("modified file contents ", i), fmt.Sprint("new file contents ", i)
		r.AddTarget("targets", "target_file.txt", []byte(changed))
		r.AddTarget("targets", fmt.Sprint("new-target-", i), []byte(added))
		r.Publish()
		if i%5 != 0 {
			continue
		}
		c.download(0, "target_file.txt")
		kept = append(slices.DeleteFunc(kept, func(s string) bool { return s == previous }), changed)
		previous = changed
		c.artifacts(kept...)
		c.download(0, fmt.Sprint("new-target-", i))
		kept = append(kept, added)
		c.artifacts(kept...)
		// The file changes and its metadata does not.
		r.ServeTarget(r.TargetName("target_file.txt", []byte(changed)), fmt.Append(nil, "malicious contents ", i))
		r.Touch("targets")
		r.Publish()
		c.download(0, "target_file.txt")
		c.artifacts(kept...)
	}
}

func TestDownloadWithHashAlgorithms(t *testing.T) {
	content := []byte("target file contents")
	short, long := sha256.Sum256(content), sha512.Sum512(content)
	all := map[string]string{"sha256": hex.EncodeToString(short[:]), "sha512": hex.EncodeToString(long[:])}
	for _, names := range [][]string{{"sha256"}, {"sha512"}, {"sha256", "sha512"}} {
		t.Run(strings.Join(names, "+"), func(t *testing.T) {
			r := testrepo.New(t, testrepo.Options{})
			r.AddTarget("targets", "target_file.txt", content)
			hashes := map[string]any{}
			var possible []string
			for _, name := range names {
				hashes[name] = all[name]
				r.ServeTarget(all[name]+".target_file.txt", content)
				possible = append(possible, "targets/"+all[name]+".target_file.txt")
			}
			r.Roles["targets"].Targets["target_file.txt"]["hashes"] = hashes
			r.Publish()
			c := newClient(t, r)
			c.init(r.Root(1))
			c.download(0, "target_file.txt")
			c.artifacts(string(content))
			if got := r.Requests(); !slices.Contains(possible, got[len(got)-1]) || len(got) != 5 {
				t.Errorf("requests %q, want one of %q at the end", got, possible)
			}
		})
	}
}

func TestDownloadWithUnknownHashAlgorithm(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	content := []byte("target file contents")
	r.AddTarget("targets", "target_file.txt", content)
	sum := sha512.Sum512(content)
	name := hex.EncodeToString(sum[:])
	r.Roles["targets"].Targets["target_file.txt"]["hashes"] = map[string]any{"unknown-hash": name}
	r.ServeTarget(name+".target_file.txt", content)
	r.Publish()
	c := newClient(t, r)
	c.init(r.Root(1))
	c.download(1, "target_file.txt")
	c.artifacts()
}

func TestArtifactCache(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	content := []byte("target file contents")
	r.AddTarget("targets", "path/target_file.txt", content)
	r.Publish()
	c := newClient(t, r)
	c.init(r.Root(1))
	c.download(0, "path/target_file.txt")
	name := "targets/" + r.TargetName("path/target_file.txt", content)
	c.requested("2.root.json", "timestamp.json", "2.snapshot.json", "2.targets.json", name)
	c.download(0, "path/target_file.txt")
	c.requested("2.root.json", "timestamp.json")
	c.artifacts(string(content))
}

func TestUnusualRoleName(t *testing.T) {
	for _, role := range []string{"?", "#", "/delegatedrole", "../delegatedrole"} {
		t.Run(role, func(t *testing.T) {
			r := testrepo.New(t, testrepo.Options{})
			r.Delegate("targets", testrepo.Delegation{Name: role, Paths: []string{"*"}})
			r.Publish()
			c := newClient(t, r)
			c.init(r.Root(1))
			c.download(1, "nonexistent target")
			if want := "/metadata/1." + url.PathEscape(role) + ".json"; !slices.Contains(c.paths, want) {
				t.Errorf("paths %q, want %q among them", c.paths, want)
			}
			files := 0
			for _, name := range c.list(".json") {
				c.stored(strings.TrimSuffix(name, ".json"))
				files++
			}
			if files != 5 {
				t.Errorf("%d trusted roles, want 5", files)
			}
		})
	}
}
