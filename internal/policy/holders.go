package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	"example.com/bailiwick/tuf/cjson"
	"example.com/bailiwick/tuf/key"
)

// HoldersMember is the additional member in which an offline role says by key id who holds a key, for
// people who are told whose signature is missing: {"1f3a…":"alice"}. It stands where the keys are
// listed: in root those of root and targets, in targets those of claimed; and in unclaimed its own. It
// gives nobody any rights.
const HoldersMember = "x-bailiwick-holders"

const (
	maxHolders    = 256 // in one file
	maxHolderName = 64  // bytes
)

// IsHolder reports whether the holder of a key can be called so: 1 to 64 letters, digits and the
// characters ".@_-", the first a letter or digit.
func IsHolder(name string) bool {
	const first = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	return name != "" && len(name) <= maxHolderName && strings.Trim(name[:1], first) == "" && strings.Trim(name, first+".@_-") == ""
}

// Document is metadata of any role, with its additional members.
type Document interface {
	// Member returns the raw value of a member, and false if there is none.
	Member(name string) ([]byte, bool)
}

// HoldersOf reads the member of a document. What can not be read is left out: names are for messages only.
func HoldersOf(doc Document) map[key.ID]string {
	names := make(map[key.ID]string)
	raw, ok := doc.Member(HoldersMember)
	if !ok {
		return names
	}
	r := cjson.New(raw, 2)
	for m := r.Object(); r.Next(&m); {
		id := key.ID(m.Name())
		name := ""
		if r.Kind() == cjson.String {
			name = string(r.Bytes())
		} else {
			r.Skip()
		}
		if isKeyID(id) && IsHolder(name) && len(names) < maxHolders {
			names[id] = name
		}
	}
	return names
}

func isKeyID(id key.ID) bool {
	return len(id) == hex.EncodedLen(sha256.Size) && strings.Trim(string(id), "0123456789abcdef") == ""
}

// EncodeHolders returns the value of the member for those of the keys that have a name; nil, which
// removes it, if none has.
func EncodeHolders(names map[key.ID]string, keys ...key.ID) []byte {
	var b []byte
	for _, id := range slices.Compact(slices.Sorted(slices.Values(keys))) {
		name := names[id]
		if !IsHolder(name) {
			continue
		}
		sep := byte(',')
		if b == nil {
			sep = '{'
		}
		b = cjson.AppendString(append(b, sep), string(id))
		b = cjson.AppendString(append(b, ':'), name)
	}
	if b == nil {
		return nil
	}
	return append(b, '}')
}
