package repo

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"example.com/bailiwick/tuf"
)

// MemberRoleName is the additional member by which a targets role names itself;
// the package comment says why.
const MemberRoleName = "role_name"

// maxVersion is the highest version written: the greatest integer that
// every JSON implementation reads exactly.
const maxVersion = 1<<53 - 1

// Issue says what a new version of a role needs besides its content.
type Issue struct {
	// Role is the role's name. Targets roles need it; for root, snapshot and
	// timestamp it may be left empty.
	Role tuf.RoleName
	// Version is the new version. Editors insist on the base's version plus one,
	// so that two writers who started from the same base can not both win.
	Version int64
	// Expires is when the new version ends; fractions of a second are cut off.
	Expires time.Time
	// Now is the time of the edit. Expires must lie after it.
	Now time.Time
	// Authority says who must sign: what root or the delegator lists for the
	// role. Root itself ignores it, as its own content says who signs.
	Authority tuf.Authority
	// Paths and HashPrefixes are what the delegator grants the role. A target that is put
	// outside of it could never be found by a client, so it is refused ([ErrPath]); patterns
	// of further delegations are not compared with it. Both nil: everything is granted, as
	// to the top-level targets.
	Paths        []string
	HashPrefixes []string
}

// check validates the issue of the role.
func (i *Issue) check(role tuf.RoleName) error {
	if i.Role != "" && i.Role != role {
		return fmt.Errorf("issuing %s: issue names role %q: %w", role, i.Role, ErrRoleName)
	}
	if i.Version < 1 || i.Version > maxVersion {
		return fmt.Errorf("issuing %s: version %d is outside 1 to %d: %w", role, i.Version, int64(maxVersion), ErrVersion)
	}
	expires := i.expires()
	if !expires.After(i.Now) {
		return fmt.Errorf("issuing %s version %d: expiry %s is not after %s; choose a later one: %w",
			role, i.Version, tuf.FormatTime(expires), tuf.FormatTime(i.Now), ErrExpiry)
	}
	if expires.Year() > 9999 {
		return fmt.Errorf("issuing %s version %d: expiry in year %d can not be written: %w", role, i.Version, expires.Year(), ErrExpiry)
	}
	if role == tuf.RoleRoot {
		return nil
	}
	return reachable(role, i.Authority)
}

// succeeds additionally insists that the issue follows base's version.
func (i *Issue) succeeds(role tuf.RoleName, base int64) error {
	if i.Version-1 != base {
		return fmt.Errorf("issuing %s version %d: the version before it is %d, so the next is %d: %w", role, i.Version, base, base+1, ErrVersion)
	}
	return i.check(role)
}

func (i *Issue) expires() time.Time { return i.Expires.UTC().Truncate(time.Second) }

// header are the changes that every new version makes.
func (i *Issue) header() []change {
	return []change{
		put("expires", quoted(tuf.FormatTime(i.Expires))),
		put("version", number(i.Version)),
	}
}

// blank is the canonical object a first version starts from.
func blank(typ tuf.RoleName) []byte {
	return []byte(`{"_type":"` + string(typ) + `","spec_version":"` + specVersion + `"}`)
}

// specVersion is the version of the specification written into new roles.
const specVersion = "1.0.34"

// reachable refuses an authority that no set of signatures could satisfy.
// Clients count distinct key material, so the same key twice counts once.
func reachable(role tuf.RoleName, a tuf.Authority) error {
	distinct := make(map[[32]byte]bool)
	for _, id := range a.KeyIDs() {
		if k, ok := a.Key(id); ok {
			distinct[k.Fingerprint()] = true
		}
	}
	if a.Threshold() < 1 || a.Threshold() > len(distinct) {
		return fmt.Errorf("%s needs %d signatures but has %d usable keys: %w", role, a.Threshold(), len(distinct), ErrThreshold)
	}
	return nil
}

// reserved reports whether a delegated role may not bear the name: those of the
// top-level roles and of mirrors.json, in any letter case, because some file
// systems would let one overwrite the other.
func reserved(role tuf.RoleName) bool {
	return role.TopLevel() || strings.EqualFold(string(role), "mirrors")
}

// granted refuses a path that the delegator does not let the role list.
func (i *Issue) granted(path tuf.TargetPath) error {
	if i.Paths == nil && i.HashPrefixes == nil {
		return nil
	}
	for _, p := range i.Paths {
		if tuf.MatchPattern(p, string(path)) {
			return nil
		}
	}
	sum := sha256.Sum256([]byte(path))
	digits := hex.EncodeToString(sum[:])
	for _, p := range i.HashPrefixes {
		if strings.HasPrefix(digits, p) {
			return nil
		}
	}
	return fmt.Errorf("target %q is outside what the role is delegated, so no client would find it: %w", path, ErrPath)
}
