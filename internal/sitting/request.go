package sitting

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"example.com/bailiwick/internal/parallel"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/tuf"
)

// Bounds of a request.
const (
	MaxBytes      = 1 << 30             // of its encoded form
	MaxRoots      = 1024                // versions of root in the chain
	MaxPayloads   = 65_536 + 16_384     // every bin of the finest layout, and what goes with them
	MaxNotes      = 1 << 18             // projects that the index says something about
	MaxSignatures = 72                  // on one payload
	MaxLife       = 60 * 24 * time.Hour // from creation to expiry
	MaxBy         = 200                 // bytes
	MaxText       = 1000                // bytes of a note

	maxSignature = 2048 // bytes of one signature
)

// Request is a signing request to offline keys. Make one with [Plan] or [Decode], or by filling its
// fields.
type Request struct {
	// Repository is the SHA-256 of 1.root.json; all zero where that file is what is to be signed.
	Repository [32]byte
	// Created and Expires are UTC, in whole seconds, at most MaxLife apart.
	Created, Expires time.Time
	// By and Note are for people, and not verified.
	By, Note string
	// Chain is what the payloads' bases are verified by.
	Chain Chain
	// Payloads are in the order of [Request.Sort].
	Payloads []Payload
	// Notes are what the index says of projects that change hands, sorted by name. They are shown as the
	// index's word and never trusted.
	Notes []Note
}

// Chain holds current signed files, for a signer who has nothing else. A file that no payload needs may
// be nil: the roots are needed always, but for a first root; targets from the first payload below root
// on; and so on downwards.
type Chain struct {
	Roots     [][]byte // versions 1 to the one in force
	Targets   []byte
	Claimed   []byte
	Bin       []byte // one of the claimed bins, which all say who signs unclaimed; nil if bins are among the payloads
	Unclaimed []byte
}

// Payload is a new version of one role and the signatures that it has.
type Payload struct {
	Role tuf.RoleName
	// Base is the signed file that the payload replaces; nil if there is none. For root, targets, claimed
	// and unclaimed it is the one of the chain.
	Base       []byte
	Message    []byte // canonical "signed" object: what is signed and, in its envelope, published
	Signatures []tuf.Signature
}

// Note is what the index says of a project that changes hands.
type Note struct {
	Project      pypi.Project
	Since        time.Time // when it was claimed
	Token        string    // id of the upload token with which it was
	TokenCreated time.Time
	Popular      int       // rank, 1 is the first; 0: unknown
	Rekeyed      time.Time // when its keys changed last; zero: never
	Text         string
}

// ID returns the request's name: 16 hex digits of the SHA-256 over everything but signatures on
// payloads. Signing does not change it, anything else does.
func (r *Request) ID() string {
	lines := r.lines()
	sums := make([][sha256.Size]byte, len(lines))
	parallel.Do(len(lines), func(i int) { sums[i] = sha256.Sum256(lines[i](nil, false)) })
	h := sha256.New()
	h.Write(r.header(nil, ""))
	for i := range sums {
		h.Write(sums[i][:])
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// Payload returns the payload of a role, nil if there is none. It points into the request.
func (r *Request) Payload(role tuf.RoleName) *Payload {
	i := r.index(role)
	if i < 0 {
		return nil
	}
	return &r.Payloads[i]
}

// index returns where the payload of a role is, -1 if there is none.
func (r *Request) index(role tuf.RoleName) int {
	i, found := slices.BinarySearchFunc(r.Payloads, role, func(p Payload, role tuf.RoleName) int { return order(p.Role, role) })
	if found {
		return i
	}
	// In the wrong order, which is refused where it counts.
	return slices.IndexFunc(r.Payloads, func(p Payload) bool { return p.Role == role })
}

// Sort puts the payloads into the order that a request must have: root, targets, claimed, claimed bins,
// unclaimed, projects, each kind by name; and the notes by project.
func (r *Request) Sort() {
	slices.SortStableFunc(r.Payloads, func(a, b Payload) int { return order(a.Role, b.Role) })
	slices.SortStableFunc(r.Notes, func(a, b Note) int { return strings.Compare(a.Project.String(), b.Project.String()) })
}

// Add adds a signature to a role's payload and reports whether it was new. It does not verify it: [Judge]
// does. A signature by a key that has signed already takes the place of the one before. The error is
// a *Refused with the reason Unknown if the request has no payload for the role, or Malformed if there
// are too many.
func (r *Request) Add(role tuf.RoleName, sig tuf.Signature) (bool, error) {
	p := r.Payload(role)
	if p == nil {
		return false, refuse(Unknown, role, "the request has nothing to sign for %.80q", role)
	}
	if i := p.signature(sig); i >= 0 {
		same := bytes.Equal(p.Signatures[i].Sig, sig.Sig)
		p.Signatures[i] = sig
		return !same, nil
	}
	if err := p.add(sig); err != nil {
		return false, err
	}
	return true, nil
}

func (p *Payload) signature(sig tuf.Signature) int {
	return slices.IndexFunc(p.Signatures, func(s tuf.Signature) bool { return s.KeyID == sig.KeyID })
}

func (p *Payload) add(sig tuf.Signature) error {
	if len(p.Signatures) >= MaxSignatures {
		return refuse(Malformed, p.Role, "%s has %d signatures already, which is as many as a request may hold", p.Role, MaxSignatures)
	}
	p.Signatures = append(slices.Clip(p.Signatures), sig)
	return nil
}

// Merge adds the signatures of another copy of the request, and returns how many were new. Where both
// have one of the same key, the one of r stays. The error is a *Refused: Altered if other is not a copy
// of r, and then nothing is added.
func (r *Request) Merge(other *Request) (int, error) {
	mine, theirs := r.ID(), other.ID()
	if mine != theirs || len(r.Payloads) != len(other.Payloads) {
		return 0, refuse(Altered, "", "the other file is request %s and this is %s: not two copies of one request; export it again and sign that", theirs, mine)
	}
	added := 0
	for i := range other.Payloads {
		p := &r.Payloads[i]
		for _, sig := range other.Payloads[i].Signatures {
			if p.signature(sig) >= 0 {
				continue
			}
			if err := p.add(sig); err != nil {
				return added, err
			}
			added++
		}
	}
	return added, nil
}

// Clone returns a copy that shares nothing which Add and Merge change.
func (r *Request) Clone() *Request {
	c := *r
	c.Payloads = slices.Clone(r.Payloads)
	for i := range c.Payloads {
		c.Payloads[i].Signatures = slices.Clone(c.Payloads[i].Signatures)
	}
	return &c
}

// order compares the places of two payloads.
func order(a, b tuf.RoleName) int {
	return cmp.Or(cmp.Compare(rank(a), rank(b)), strings.Compare(string(a), string(b)))
}

// rank returns where payloads of a role's kind stand, and noRank for roles that no offline key signs.
func rank(role tuf.RoleName) int {
	kind := policy.KindOf(role)
	if _, _, ok := policy.SubRoleOf(role); ok {
		kind = policy.KindProject
	}
	i := slices.Index([]policy.Kind{
		policy.KindRoot, policy.KindTargets, policy.KindClaimed, policy.KindClaimedBin, policy.KindUnclaimed, policy.KindProject,
	}, kind)
	if i < 0 {
		return noRank
	}
	return i
}

const noRank = 99

// top returns the file of the chain that the payload of a role replaces, and whether the chain has the
// bases of that role: those of bins and projects are only in the payloads.
func (c *Chain) top(role tuf.RoleName) (base []byte, ok bool) {
	switch policy.KindOf(role) { //nolint:exhaustive // the others are not in the chain
	case policy.KindRoot:
		if len(c.Roots) == 0 {
			return nil, true
		}
		return c.Roots[len(c.Roots)-1], true
	case policy.KindTargets:
		return c.Targets, true
	case policy.KindClaimed:
		return c.Claimed, true
	case policy.KindUnclaimed:
		return c.Unclaimed, true
	}
	return nil, false
}

// plain reports whether text for people is short and can be shown as it is: no control characters, and
// none that change how the text around them is read.
func plain(s string, most int) bool {
	return len(s) <= most && utf8.ValidString(s) && !strings.ContainsFunc(s, func(c rune) bool { return !unicode.IsPrint(c) })
}
