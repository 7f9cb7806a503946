package repo

import (
	"errors"
	"fmt"
	"iter"

	"example.com/bailiwick/tuf"
)

// Bins delegates everything to a fixed number of roles that share keys, each for the
// paths whose SHA-256 begins with its number (succinct_roles, TAP 15). The entry has the
// same length for two bins and for a million.
type Bins struct {
	// Prefix is what the names of the bins begin with: "bin" makes "bin-0" to "bin-f".
	Prefix string
	// Bits is how many leading bits of the hash choose the bin, 1 to 32: there are 1<<Bits
	// bins.
	Bits int
	// Authority says who signs the bins.
	Authority tuf.Authority
}

// ErrBins says that the number of bits or the prefix of bins can not be used, or that bins
// would stand beside delegations that are listed.
var ErrBins = errors.New("bins are not acceptable")

// check validates the bins by themselves.
func (b *Bins) check() error {
	if b.Bits < 1 || b.Bits > 32 {
		return fmt.Errorf("bins of %d bits, 1 to 32 are possible: %w", b.Bits, ErrBins)
	}
	if b.Prefix == "" {
		return fmt.Errorf("bins without a prefix: %w", ErrBins)
	}
	// The longest name that parsers have to expect.
	if _, err := tuf.ParseRoleName(b.Prefix + "-00000000"); err != nil {
		return fmt.Errorf("bins with the prefix %.60q: %w: %w", b.Prefix, ErrBins, err)
	}
	if err := reachable(tuf.RoleName(b.Prefix+"-…"), b.Authority); err != nil {
		return err
	}
	return checkCount("keys of the bins", len(b.Authority.KeyIDs()), tuf.DefaultLimits().RoleKeys)
}

// Names yields the names of all bins in order.
func (b *Bins) Names() iter.Seq[tuf.RoleName] {
	return func(yield func(tuf.RoleName) bool) {
		for i := range uint64(1) << b.Bits {
			if !yield(tuf.RoleName(fmt.Sprintf("%s-%0*x", b.Prefix, (b.Bits+3)/4, i))) {
				return
			}
		}
	}
}

// Grant returns the prefixes of path hashes that the bin of this number is delegated, for
// Issue.HashPrefixes: one if the number of bits is a multiple of four, else two, four or
// eight.
func (b *Bins) Grant(bin uint32) []string {
	digits := (b.Bits + 3) / 4
	spare := 4*digits - b.Bits
	out := make([]string, 1<<spare)
	for i := range out {
		out[i] = fmt.Sprintf("%0*x", digits, uint64(bin)<<spare|uint64(i))
	}
	return out
}

// spliceBins returns the "delegations" object with the bins in it. Members that this
// package does not know stay, those of a "succinct_roles" that is there included; keys
// that the bins no longer use go.
func spliceBins(old []byte, b *Bins) ([]byte, error) {
	if old == nil {
		old = []byte(`{"keys":{}}`)
	}
	listed, err := lookup(old, "roles")
	if err != nil {
		return nil, err
	}
	if listed != nil {
		return nil, fmt.Errorf("delegations are listed one by one already: %w", ErrBins)
	}
	keys := make(keyWriter)
	keys.add(b.Authority)
	used := make(map[string]bool)
	for _, id := range b.Authority.KeyIDs() {
		used[string(id)] = true
	}
	return splice(make([]byte, 0, len(old)+1024), old, []change{
		{"keys", func(old []byte) ([]byte, error) { return spliceKeys(old, keys, used) }},
		{"succinct_roles", func(old []byte) ([]byte, error) {
			if old == nil {
				old = []byte("{}")
			}
			return splice(nil, old, []change{
				put("bit_length", number(int64(b.Bits))),
				put("keyids", stringList(b.Authority.KeyIDs())),
				put("name_prefix", quoted(b.Prefix)),
				put("threshold", number(int64(b.Authority.Threshold()))),
			})
		}},
	})
}
