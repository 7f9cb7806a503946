package testrepo

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
)

// Project is a project of a Bailiwick-like repository.
type Project struct {
	Name    string
	Claimed bool              // in the claimed tree; else in the unclaimed one
	Holders Holders           // maintainers; zero: one key "NAME" if claimed, else the registry's
	Files   map[string][]byte // by file name
}

// Bailiwick delegates as the product's repositories do, with 16 bins: targets → claimed → claimed
// bins → project roles and, last, unclaimed → unclaimed bins → project roles; and publishes.
func (r *Repo) Bailiwick(projects ...Project) {
	r.Delegate("targets", Delegation{Name: "claimed", Paths: []string{"*/*/*"}, Terminating: true})
	for bin := range 16 {
		digit := fmt.Sprintf("%x", bin)
		paths := []string{digit + "/*/*"}
		r.Delegate("claimed", Delegation{Name: "claimed-" + digit, Paths: paths, Holders: One("claimed"), Terminating: true})
		r.Delegate("claimed-"+digit, Delegation{Name: "unclaimed", Paths: paths, Holders: One("unclaimed"), Terminating: true})
		r.Delegate("unclaimed", Delegation{Name: "unclaimed-" + digit, Paths: paths, Holders: One("registry"), Terminating: true})
	}
	for _, p := range projects {
		r.AddProject(p)
	}
	r.Publish()
}

// AddProject delegates to a project's role and lists its files.
func (r *Repo) AddProject(p Project) {
	tree := "unclaimed"
	if p.Claimed {
		tree = "claimed"
	}
	if p.Holders.Threshold == 0 {
		p.Holders = One("registry")
		if p.Claimed {
			p.Holders = One(p.Name)
		}
	}
	role := "project." + p.Name
	r.Delegate(tree+"-"+Bin(p.Name), Delegation{
		Name: role, Paths: []string{Bin(p.Name) + "/" + p.Name + "/*"}, Holders: p.Holders, Terminating: true,
	})
	for name, content := range p.Files {
		r.AddTarget(role, ProjectPath(p.Name, name), content)
	}
}

// Undelegate drops a delegation.
func (r *Repo) Undelegate(from, to string) {
	role := r.role(from)
	role.Delegations = slices.DeleteFunc(role.Delegations, func(d Delegation) bool { return d.Name == to })
	r.dirty[from] = true
}

// Bin is the bin of a project, with 16 bins.
func Bin(project string) string {
	sum := sha256.Sum256([]byte(project))
	return hex.EncodeToString(sum[:])[:1]
}

// ProjectPath is the target path of a project's file, with 16 bins.
func ProjectPath(project, file string) string { return Bin(project) + "/" + project + "/" + file }
