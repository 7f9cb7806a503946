package tuf

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"
	"sync"

	"example.com/bailiwick/tuf/key"
)

// Delegations are the delegations of one targets role, in order of priority (4.5):
// either a list of roles, or the bins of succinct_roles (TAP 15). Keys and patterns
// are decoded when first used.
type Delegations struct {
	raw      []byte
	ring     *keyring
	entries  []delegated
	succinct *succinct

	matcherOnce sync.Once
	matcher     *matcher
}

// delegated is one entry of "roles". Slices refer to the received bytes.
type delegated struct {
	raw         []byte
	name        []byte
	keys        roleKeys
	paths       []byte // array of patterns, or of hash prefixes
	hashed      bool   // paths are hash prefixes
	terminating bool
	minimum     int64
}

// succinct is a "succinct_roles" object: 1<<bits bins that share keys.
type succinct struct {
	raw    []byte
	keys   roleKeys
	bits   int
	prefix string
}

// Delegation is one delegation: who else may sign for which paths. The zero value
// delegates nothing.
type Delegation struct {
	of *Delegations
	at int64 // there may be more bins than an int counts on small machines
}

// Len returns the number of delegations; 1<<bit_length for succinct_roles, or as many as
// an int counts on machines where that is less.
func (d *Delegations) Len() int {
	if d.succinct != nil {
		return int(min(int64(1)<<d.succinct.bits, math.MaxInt))
	}
	return len(d.entries)
}

// At returns the delegation at position i, counted from zero; the zero Delegation if
// there is none.
func (d *Delegations) At(i int) Delegation {
	if i < 0 || i >= d.Len() {
		return Delegation{}
	}
	return Delegation{of: d, at: int64(i)}
}

// All yields all delegations in order.
func (d *Delegations) All() iter.Seq[Delegation] {
	return func(yield func(Delegation) bool) {
		for i := range d.Len() {
			if !yield(Delegation{of: d, at: int64(i)}) {
				return
			}
		}
	}
}

// Raw returns the "delegations" object as received. It must not be changed.
func (d *Delegations) Raw() []byte { return d.raw }

// Keys yields the KEY objects as received, sorted by id, those without use included.
// The slices must not be changed.
func (d *Delegations) Keys() iter.Seq2[key.ID, []byte] { return d.ring.all() }

// Succinct returns the name prefix and the number of bits of succinct_roles, and
// whether that is what d is.
func (d *Delegations) Succinct() (prefix string, bits int, ok bool) {
	if d.succinct == nil {
		return "", 0, false
	}
	return d.succinct.prefix, d.succinct.bits, true
}

func (d Delegation) entry() *delegated {
	if d.of == nil || d.of.succinct != nil || d.at >= int64(len(d.of.entries)) {
		return nil
	}
	return &d.of.entries[d.at]
}

// Position returns the position of d among the delegations of its role.
func (d Delegation) Position() int { return int(d.at) }

// Name returns the name of the delegated role.
func (d Delegation) Name() RoleName {
	switch e := d.entry(); {
	case e != nil:
		return RoleName(e.name)
	case d.of != nil && d.of.succinct != nil:
		return d.of.succinct.name(uint64(d.at))
	default:
		return ""
	}
}

// Terminating reports whether the search for a path ends with this delegation if it
// matches, whether or not the role lists the path (5.6.7.2). Bins of succinct_roles
// are terminating, as all implementations have them.
func (d Delegation) Terminating() bool {
	if e := d.entry(); e != nil {
		return e.terminating
	}
	return d.of != nil
}

// Paths returns the path patterns; nil if paths are delegated by their hash.
func (d Delegation) Paths() []string {
	if e := d.entry(); e != nil && !e.hashed {
		return stringArray(e.paths)
	}
	return nil
}

// HashPrefixes returns the prefixes of the hex SHA-256 of delegated paths; nil if
// paths are delegated by patterns.
func (d Delegation) HashPrefixes() []string {
	if e := d.entry(); e != nil && e.hashed {
		return stringArray(e.paths)
	}
	return nil
}

// MinimumVersion returns the additional member "minimum_version": the lowest version
// of the role that its delegator still accepts; zero if there is none. Clients that
// do not know the member ignore it.
func (d Delegation) MinimumVersion() int64 {
	if e := d.entry(); e != nil {
		return e.minimum
	}
	return 0
}

// Raw returns the entry as received, unknown members included; for a bin, the
// succinct_roles object. It must not be changed.
func (d Delegation) Raw() []byte {
	switch e := d.entry(); {
	case e != nil:
		return e.raw
	case d.of != nil && d.of.succinct != nil:
		return d.of.succinct.raw
	default:
		return nil
	}
}

// errNoDelegation is returned for a Delegation that came from nowhere.
var errNoDelegation = errors.New("an empty delegation has no authority")

// Authority returns who may sign the role. It fails for the zero Delegation only:
// keys that can not be used are found out by verification (see ThresholdError).
func (d Delegation) Authority() (Authority, error) {
	switch e := d.entry(); {
	case e != nil:
		return e.keys.authority(d.of.ring), nil
	case d.of != nil && d.of.succinct != nil:
		return d.of.succinct.keys.authority(d.of.ring), nil
	default:
		return Authority{}, errNoDelegation
	}
}

// Matches reports whether the delegation covers path.
func (d Delegation) Matches(path TargetPath) bool {
	e := d.entry()
	switch {
	case e == nil:
		return d.of != nil && d.of.succinct != nil && d.of.succinct.bin(path) == uint64(d.at)
	case e.hashed:
		digest := pathDigest(path)
		return slices.ContainsFunc(stringArray(e.paths), func(prefix string) bool {
			return strings.HasPrefix(digest, prefix)
		})
	default:
		return slices.ContainsFunc(stringArray(e.paths), func(pattern string) bool {
			return MatchPattern(pattern, string(path))
		})
	}
}

// pathDigest returns the lower-case hex SHA-256 of a path, which path_hash_prefixes
// are prefixes of.
func pathDigest(path TargetPath) string {
	sum := sha256.Sum256([]byte(path))
	return hex.EncodeToString(sum[:])
}

// bin returns the number of the bin that a path belongs to: the leftmost bits of its
// SHA-256.
func (s *succinct) bin(path TargetPath) uint64 {
	sum := sha256.Sum256([]byte(path))
	var first uint64
	for _, b := range sum[:4] {
		first = first<<8 | uint64(b)
	}
	return first >> (32 - s.bits)
}

// name returns the name of a bin: the prefix, a hyphen, and its number in hex, padded
// to the width of the highest number.
func (s *succinct) name(bin uint64) RoleName {
	return RoleName(fmt.Sprintf("%s-%0*x", s.prefix, (s.bits+3)/4, bin))
}

func (p *parser) delegations() *Delegations {
	d := &Delegations{}
	mark := p.Mark()
	var listed bool
	for m := p.Object(); p.Next(&m); {
		switch string(m.Name()) {
		case "keys":
			d.ring = p.keys()
		case "roles":
			listed = true
			p.delegatedRoles(d)
		case "succinct_roles":
			d.succinct = p.succinctRoles()
		default:
			p.Skip()
		}
	}
	d.raw, _ = p.Since(mark)
	if d.ring == nil {
		p.Fail(mark.Start(), `delegations without "keys"`)
	}
	if listed == (d.succinct != nil) {
		p.Fail(mark.Start(), `delegations must have either "roles" or "succinct_roles"`)
	}
	return d
}

func (p *parser) delegatedRoles(d *Delegations) {
	mark := p.Mark()
	for e := p.Array(); p.More(&e); {
		if len(d.entries) == p.limits.Delegations {
			p.tooMany(p.limits.Delegations, "delegations", "Delegations")
			return
		}
		d.entries = append(d.entries, p.delegated())
	}
	names := make([][]byte, len(d.entries))
	for i := range d.entries {
		names[i] = d.entries[i].name
	}
	slices.SortFunc(names, bytes.Compare)
	for i := 1; i < len(names); i++ {
		if bytes.Equal(names[i-1], names[i]) {
			p.Fail(mark.Start(), fmt.Sprintf("the role %.60q is delegated twice", names[i]))
		}
	}
}

// delegated reads one entry of "roles".
func (p *parser) delegated() delegated {
	var e delegated
	var paths, hashes, name bool
	mark := p.Mark()
	for m := p.Object(); p.Next(&m); {
		switch string(m.Name()) {
		case "name":
			name = true
			e.name = p.delegatedName()
		case "terminating":
			e.terminating = p.Bool()
		case "paths":
			paths = true
			e.paths = p.patterns(p.limits.PatternBytes)
		case "path_hash_prefixes":
			hashes, e.hashed = true, true
			e.paths = p.patterns(2 * sha256.Size)
		case "minimum_version":
			e.minimum = p.version()
		default:
			if !e.keys.member(p, m.Name()) {
				p.Skip()
			}
		}
	}
	e.raw, _ = p.Since(mark)
	e.keys.finish(p)
	switch {
	case !name:
		p.Fail(mark.Start(), `a delegation without "name"`)
	case paths && hashes:
		p.Fail(mark.Start(), `a delegation with both "paths" and "path_hash_prefixes"`)
	}
	return e
}

// delegatedName reads the name of a delegated role. Names of top-level roles are
// refused in any spelling: a file of that name must never be one that a stranger signs.
func (p *parser) delegatedName() []byte {
	at := p.Offset()
	name := p.Bytes()
	if reason := p.roleNameProblem(name); reason != "" {
		p.Fail(at, fmt.Sprintf("the role name %.60q: %s", name, reason))
	} else if RoleName(name).TopLevel() {
		p.Fail(at, fmt.Sprintf("a delegated role named %q like a top-level role", name))
	}
	return name
}

// patterns checks an array of patterns, or of hash prefixes, and returns it as
// received. What a pattern means is decided where it is matched.
func (p *parser) patterns(longest int) []byte {
	mark := p.Mark()
	count := 0
	for e := p.Array(); p.More(&e); count++ {
		if count == p.limits.Patterns {
			p.tooMany(p.limits.Patterns, "patterns in one delegation", "Patterns")
			break
		}
		if p.patternsIn++; p.patternsIn > p.limits.FilePatterns {
			p.tooMany(p.limits.FilePatterns, "patterns in one file", "FilePatterns")
			break
		}
		at := p.Offset()
		// An empty hash prefix would be a prefix of everything.
		if s := p.Bytes(); len(s) == 0 || len(s) > longest {
			p.Fail(at, fmt.Sprintf("a path pattern or hash prefix of %d bytes instead of 1 to %d", len(s), longest))
		}
	}
	raw, _ := p.Since(mark)
	return raw
}

// succinctRoles reads a "succinct_roles" object (TAP 15).
func (p *parser) succinctRoles() *succinct {
	s := &succinct{}
	var prefix bool
	mark := p.Mark()
	for m := p.Object(); p.Next(&m); {
		at := p.Offset()
		switch string(m.Name()) {
		case "bit_length":
			bits := p.Int()
			if bits < 1 || bits > 32 {
				p.Fail(at, fmt.Sprintf("a bit_length of %d: it must be 1 to 32", bits))
				return s
			}
			s.bits = int(bits)
		case "name_prefix":
			prefix = true
			s.prefix = string(p.Bytes())
			// Names of bins are longer by a hyphen and up to eight digits.
			if reason := p.roleNameProblem([]byte(s.prefix + "-00000000")); reason != "" || s.prefix == "" {
				p.Fail(at, fmt.Sprintf("the name_prefix %.60q does not make usable role names", s.prefix))
			}
		default:
			if !s.keys.member(p, m.Name()) {
				p.Skip()
			}
		}
	}
	s.raw, _ = p.Since(mark)
	s.keys.finish(p)
	if s.bits == 0 || !prefix {
		p.Fail(mark.Start(), `succinct_roles without "bit_length" or "name_prefix"`)
	}
	return s
}

// Find returns the delegation of a role by name, and whether there is one.
func (d *Delegations) Find(role RoleName) (Delegation, bool) {
	if d.succinct != nil {
		return d.succinct.find(d, role)
	}
	i, ok := d.index().names[string(role)]
	if !ok {
		return Delegation{}, false
	}
	return Delegation{of: d, at: int64(i)}, true
}

func (s *succinct) find(d *Delegations, role RoleName) (Delegation, bool) {
	digits, ok := strings.CutPrefix(string(role), s.prefix+"-")
	if !ok || len(digits) != (s.bits+3)/4 {
		return Delegation{}, false
	}
	bin := int64(0)
	for i := range len(digits) {
		v := hexValue[digits[i]]
		if v > 15 {
			return Delegation{}, false
		}
		bin = bin<<4 | int64(v)
	}
	if bin >= 1<<s.bits {
		return Delegation{}, false
	}
	return Delegation{of: d, at: bin}, true
}

// Match yields the delegations that cover path, in order of priority. Its cost
// depends on the depth of the path and on how many patterns begin like it, not on
// the number of delegations.
func (d *Delegations) Match(path TargetPath) iter.Seq[Delegation] {
	return func(yield func(Delegation) bool) {
		if d.succinct != nil {
			yield(Delegation{of: d, at: int64(d.succinct.bin(path))})
			return
		}
		var buffer [16]int32
		d.yield(d.index().match(buffer[:0], string(path)), yield)
	}
}

// MatchDir yields, in order of priority, the delegations that may cover some path
// directly in the folder dir, for example "3f/flask". Delegations by hash may cover
// any path. The empty dir is the top folder.
func (d *Delegations) MatchDir(dir string) iter.Seq[Delegation] {
	return func(yield func(Delegation) bool) {
		if d.succinct != nil {
			d.All()(yield)
			return
		}
		d.yield(d.index().matchDir(nil, dir), yield)
	}
}

// Effort bounds the steps that Match takes for a path, or MatchDir for a folder. It is
// known without taking them, for those who ask about many paths of a file that somebody
// may have made to be slow: one of few megabytes can demand minutes for a path.
func (d *Delegations) Effort(path string) int64 {
	if d.succinct != nil {
		return 1
	}
	return d.index().effort(path)
}

// yield yields delegations by their positions, in order, each once.
func (d *Delegations) yield(positions []int32, yield func(Delegation) bool) {
	slices.Sort(positions)
	last := int32(-1)
	for _, i := range positions {
		if i != last && !yield(Delegation{of: d, at: int64(i)}) {
			return
		}
		last = i
	}
}

func (d *Delegations) index() *matcher {
	d.matcherOnce.Do(func() { d.matcher = newMatcher(d.entries) })
	return d.matcher
}
