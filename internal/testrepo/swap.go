package testrepo

import (
	"fmt"
	"slices"
	"strings"
)

// A File is one signed version of a role, whatever it is served as.
type File struct {
	Role    string
	Version int64
	Data    []byte
}

// Offline returns the newest version of every role of [Repo.Bailiwick] that offline keys sign:
// targets, claimed, the claimed bins, unclaimed. A role's version comes from the repository, so
// roles must not be published again before the file is used.
func (r *Repo) Offline() []File {
	files := []File{r.file("targets"), r.file("claimed")}
	for bin := range 16 {
		files = append(files, r.file(fmt.Sprintf("claimed-%x", bin)))
	}
	return append(files, r.file("unclaimed"))
}

// file returns the newest version of a role.
func (r *Repo) file(role string) File {
	return File{Role: role, Version: r.Versions[role], Data: r.current[role]}
}

// Steal has a thief of the timestamp, snapshot and registry keys list a file wherever the
// registry key has a say: whatever search comes to an unclaimed bin finds content under path.
func (r *Repo) Steal(path string, content []byte) {
	thief := Delegation{Name: "thief", Paths: []string{"*/*/*"}, Holders: One("registry"), Terminating: true}
	for bin := range 16 {
		role := r.role(fmt.Sprintf("unclaimed-%x", bin))
		role.Delegations = slices.Insert(role.Delegations, 0, thief)
		r.AddTarget(role.Name, path, content)
	}
	r.role("thief").Holders = One("registry")
	r.AddTarget("thief", path, content)
	r.Publish()
}

// Swap serves files under the names of other roles, with a snapshot and a timestamp that list
// their versions: what a thief of these two keys can do with files that others signed.
func (r *Repo) Swap(as map[string]File) {
	for name, f := range as {
		r.ListEdit[name] = func(meta map[string]any) { meta["version"] = f.Version }
	}
	r.PublishSnapshot()
	r.PublishTimestamp()
	for name, f := range as {
		r.Serve(r.fileName(name, f.Version), f.Data)
	}
}

// Swapped names what Swap was told, for messages.
func Swapped(as map[string]File) string {
	var out []string
	for name, f := range as {
		out = append(out, fmt.Sprintf("%s version %d as %s", f.Role, f.Version, name))
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}
