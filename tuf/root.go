package tuf

import (
	"fmt"
	"iter"

	"example.com/bailiwick/tuf/key"
)

// Root is verified root metadata: who may sign the top-level roles (4.3).
type Root struct {
	*document
	consistent bool
	ring       *keyring
	roles      []rootRole
}

type rootRole struct {
	name RoleName
	keys roleKeys
}

// ParseRoot reads root metadata. A nil l stands for DefaultLimits. Errors are of type
// *MalformedError. The result refers to data, which must not be changed any more.
func ParseRoot(data []byte, l *Limits) (*Unverified[Root], error) {
	limits := l.complete()
	return parse(data, limits, RoleRoot, limits.RootBytes, (*parser).root)
}

// SelfAuthority returns the authority that an unverified root claims for the role
// root. It has one use: a root must be signed by its own keys, too, beside those of
// the root before it (5.3.4), and an initial root can be checked against nothing else.
func SelfAuthority(u *Unverified[Root]) Authority {
	a, _ := u.value.Authority(RoleRoot)
	return a
}

// ConsistentSnapshot reports whether files are published under names that contain
// their version or hash (6.2.1). It is false if root metadata does not say.
func (r *Root) ConsistentSnapshot() bool { return r.consistent }

// Authority returns who may sign a top-level role. It returns false for roles that
// root metadata does not list; the four of this package are always there.
func (r *Root) Authority(role RoleName) (Authority, bool) {
	for i := range r.roles {
		if r.roles[i].name == role {
			return r.roles[i].keys.authority(r.ring), true
		}
	}
	return Authority{}, false
}

// Roles yields the names of all roles that root metadata lists, in its order.
func (r *Root) Roles() iter.Seq[RoleName] {
	return func(yield func(RoleName) bool) {
		for i := range r.roles {
			if !yield(r.roles[i].name) {
				return
			}
		}
	}
}

// Keys yields the KEY objects as received, sorted by id, those without use included.
// The slices must not be changed.
func (r *Root) Keys() iter.Seq2[key.ID, []byte] { return r.ring.all() }

func (p *parser) root() *Root {
	r := &Root{document: p.doc}
	p.signed(func(name []byte) bool {
		switch string(name) {
		case "consistent_snapshot":
			r.consistent = p.Bool()
		case "keys":
			r.ring = p.keys()
		case "roles":
			p.rootRoles(r)
		default:
			return false
		}
		return true
	})
	p.require("keys")
	p.require("roles")
	return r
}

func (p *parser) rootRoles(r *Root) {
	m := p.Object()
	for p.Next(&m) {
		if len(r.roles) == p.limits.RootRoles {
			p.tooMany(p.limits.RootRoles, "roles", "RootRoles")
			return
		}
		if reason := p.roleNameProblem(m.Name()); reason != "" {
			p.Fail(p.Position(), fmt.Sprintf("the role name %.60q: %s", m.Name(), reason))
			return
		}
		role := rootRole{name: RoleName(m.Name())}
		for f := p.Object(); p.Next(&f); {
			if !role.keys.member(p, f.Name()) {
				p.Skip()
			}
		}
		role.keys.finish(p)
		r.roles = append(r.roles, role)
	}
	for _, name := range [...]RoleName{RoleRoot, RoleTimestamp, RoleSnapshot, RoleTargets} {
		if _, ok := r.Authority(name); !ok {
			p.Fail(p.Position(), fmt.Sprintf("the role %q is missing", name))
		}
	}
}
