package policy

import (
	"errors"
	"fmt"
	"strings"

	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/tuf"
)

// The heads of the two trees. Top-level targets delegate to claimed; every claimed bin delegates to
// unclaimed, after all its projects.
const (
	RoleClaimed   tuf.RoleName = "claimed"
	RoleUnclaimed tuf.RoleName = "unclaimed"
)

// ErrSubRole means: not the name of a role to which a project may delegate.
var ErrSubRole = errors.New("not a usable name of a sub-role")

const projectPrefix = "project."

// ProjectRole returns the name of a project's role, "project.flask".
func ProjectRole(p pypi.Project) tuf.RoleName { return tuf.RoleName(projectPrefix + p.String()) }

// ProjectOf returns the project whose role it is, and false if it is no project's.
func ProjectOf(role tuf.RoleName) (pypi.Project, bool) {
	name, ok := strings.CutPrefix(string(role), projectPrefix)
	if !ok || !pypi.IsNormalized(name) {
		return pypi.Project{}, false
	}
	p, err := pypi.ParseProject(name)
	return p, err == nil
}

// maxSub is the length of the last part of a sub-role's name, in bytes.
const maxSub = 32

// SubRole returns the name of a role to which a project's maintainers delegate,
// "project.flask.ci". The last part is a lower-case letter or digit and up to 31 letters,
// digits and hyphens; anything else is [ErrSubRole]. A project name holds no dot, so the
// name can not be that of a project or of another project's sub-role.
func SubRole(p pypi.Project, sub string) (tuf.RoleName, error) {
	if p.IsZero() || !isSub(sub) {
		return "", fmt.Errorf("%q: use 1 to %d of a-z, 0-9 and hyphen, no hyphen first: %w", sub, maxSub, ErrSubRole)
	}
	return ProjectRole(p) + "." + tuf.RoleName(sub), nil
}

// SubRoleOf takes the name of a sub-role apart, and returns false for any other role.
func SubRoleOf(role tuf.RoleName) (p pypi.Project, sub string, ok bool) {
	dot := strings.LastIndexByte(string(role), '.')
	if dot < 0 || !isSub(string(role[dot+1:])) {
		return pypi.Project{}, "", false
	}
	p, ok = ProjectOf(role[:dot])
	return p, string(role[dot+1:]), ok
}

func isSub(s string) bool {
	return len(s) >= 1 && len(s) <= maxSub && s[0] != '-' && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

func claimedBin(bin string) tuf.RoleName   { return RoleClaimed + "-" + tuf.RoleName(bin) }
func unclaimedBin(bin string) tuf.RoleName { return RoleUnclaimed + "-" + tuf.RoleName(bin) }

// Kind is what a role is in the topology.
type Kind int

// The kinds of roles. KindOther is what this package knows nothing about, such as
// a role that a project's maintainers delegated to.
const (
	KindOther Kind = iota
	KindRoot
	KindTimestamp
	KindSnapshot
	KindTargets
	KindClaimed
	KindUnclaimed
	KindClaimedBin
	KindUnclaimedBin
	KindProject
)

// String names the kind for messages.
func (k Kind) String() string {
	names := [...]string{
		"other", "root", "timestamp", "snapshot", "targets", "claimed", "unclaimed",
		"claimed bin", "unclaimed bin", "project",
	}
	if k < 0 || int(k) >= len(names) {
		return names[KindOther]
	}
	return names[k]
}

// KindOf classifies a role by its name.
func KindOf(role tuf.RoleName) Kind {
	switch role {
	case tuf.RoleRoot:
		return KindRoot
	case tuf.RoleTimestamp:
		return KindTimestamp
	case tuf.RoleSnapshot:
		return KindSnapshot
	case tuf.RoleTargets:
		return KindTargets
	case RoleClaimed:
		return KindClaimed
	case RoleUnclaimed:
		return KindUnclaimed
	}
	if bin, ok := strings.CutPrefix(string(role), string(claimedBin(""))); ok && isBin(bin) {
		return KindClaimedBin
	}
	if bin, ok := strings.CutPrefix(string(role), string(unclaimedBin(""))); ok && isBin(bin) {
		return KindUnclaimedBin
	}
	if _, ok := ProjectOf(role); ok {
		return KindProject
	}
	return KindOther
}

func isBin(s string) bool {
	return len(s) >= 1 && len(s) <= maxDigits && strings.Trim(s, "0123456789abcdef") == ""
}

// KeyRole names a set of keys by what it is for. It is also the name of the key
// file.
type KeyRole string

// The keys of a repository in standard custody. Root, targets, claimed and unclaimed are kept offline;
// the server holds the others.
const (
	KeyRoot      KeyRole = "root"      // signs root
	KeyTargets   KeyRole = "targets"   // signs targets
	KeyClaimed   KeyRole = "claimed"   // signs claimed and its bins
	KeyUnclaimed KeyRole = "unclaimed" // signs unclaimed, and nothing else may: see Genesis
	KeyRegistry  KeyRole = "registry"  // signs unclaimed bins and projects nobody claimed
	KeySnapshot  KeyRole = "snapshot"  // signs snapshot
	KeyTimestamp KeyRole = "timestamp" // signs timestamp
)

// KeyRoles returns all of them, offline ones first.
func KeyRoles() []KeyRole {
	return []KeyRole{KeyRoot, KeyTargets, KeyClaimed, KeyUnclaimed, KeyRegistry, KeySnapshot, KeyTimestamp}
}

// Online reports whether the server holds the key in standard custody.
func (r KeyRole) Online() bool {
	return r == KeyRegistry || r == KeySnapshot || r == KeyTimestamp
}

// SignedBy returns which keys sign a role. Of a project it tells who signs until
// somebody claims it; after that only the delegation knows. It returns false for a
// role that is none of the topology's.
func SignedBy(role tuf.RoleName) (KeyRole, bool) {
	switch KindOf(role) {
	case KindRoot:
		return KeyRoot, true
	case KindTimestamp:
		return KeyTimestamp, true
	case KindSnapshot:
		return KeySnapshot, true
	case KindTargets:
		return KeyTargets, true
	case KindClaimed, KindClaimedBin:
		return KeyClaimed, true
	case KindUnclaimed:
		return KeyUnclaimed, true
	case KindUnclaimedBin, KindProject:
		return KeyRegistry, true
	case KindOther:
	}
	return "", false
}
