package testrepo

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"example.com/bailiwick/tuf/key"
)

// Key is an ed25519 key whose private half is derived from a name, so that
// repositories come out the same, byte for byte, each time.
type Key struct {
	Name    string
	Private ed25519.PrivateKey
	// Object is the KEY object of metadata; the id is that of its canonical form.
	// Tests may add members.
	Object map[string]any
}

// NewKey derives a key from a name.
func NewKey(name string) Key {
	seed := sha256.Sum256([]byte("testrepo key " + name))
	private := ed25519.NewKeyFromSeed(seed[:])
	return Key{Name: name, Private: private, Object: map[string]any{
		"keytype": "ed25519", "scheme": "ed25519",
		"keyval": map[string]any{"public": hex.EncodeToString(private.Public().(ed25519.PublicKey))},
	}}
}

// Keys derives n keys: name-1, name-2, and so on.
func Keys(name string, n int) []Key {
	keys := make([]Key, n)
	for i := range keys {
		keys[i] = NewKey(name + "-" + strconv.Itoa(i+1))
	}
	return keys
}

// ID returns the key's id.
func (k Key) ID() key.ID {
	sum := sha256.Sum256(Canonical(k.Object))
	return key.ID(hex.EncodeToString(sum[:]))
}

// Signer returns the key for writers.
func (k Key) Signer() key.Signer {
	s, err := key.NewSigner(k.Private)
	if err != nil {
		panic(err) // an ed25519 key always works
	}
	return s
}

// Holders are the keys of a role and how many must sign.
type Holders struct {
	Keys      []Key
	Threshold int
}

// One is one key that signs alone.
func One(name string) Holders { return Holders{Keys: Keys(name, 1), Threshold: 1} }

// Some is a threshold of n keys.
func Some(name string, threshold, n int) Holders {
	return Holders{Keys: Keys(name, n), Threshold: threshold}
}

func (h Holders) object() map[string]any {
	ids := make([]any, len(h.Keys))
	for i, k := range h.Keys {
		ids[i] = string(k.ID())
	}
	return map[string]any{"keyids": ids, "threshold": h.Threshold}
}

func keyObjects(holders ...Holders) map[string]any {
	out := map[string]any{}
	for _, h := range holders {
		for _, k := range h.Keys {
			out[string(k.ID())] = k.Object
		}
	}
	return out
}

// Canonical encodes objects, arrays, strings, integers, booleans and nil in the
// form that is signed. It is written apart from the product's encoder, so that
// each finds the other's faults. It panics on anything else.
func Canonical(v any) []byte { return appendCanonical(nil, v) }

func appendCanonical(dst []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(dst, "null"...)
	case bool:
		return strconv.AppendBool(dst, v)
	case int:
		return strconv.AppendInt(dst, int64(v), 10)
	case int64:
		return strconv.AppendInt(dst, v, 10)
	case json.Number:
		return append(dst, v...)
	case string:
		dst = append(dst, '"')
		for i := range len(v) {
			if v[i] == '"' || v[i] == '\\' {
				dst = append(dst, '\\')
			}
			dst = append(dst, v[i])
		}
		return append(dst, '"')
	case []any:
		dst = append(dst, '[')
		for i, e := range v {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendCanonical(dst, e)
		}
		return append(dst, ']')
	case map[string]any:
		dst = append(dst, '{')
		for i, name := range slices.Sorted(maps.Keys(v)) {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(appendCanonical(dst, name), ':')
			dst = appendCanonical(dst, v[name])
		}
		return append(dst, '}')
	}
	panic(fmt.Sprintf("canonical form of %T", v))
}

// Envelope signs an object as it is, with each of the keys.
func Envelope(signed map[string]any, keys ...Key) []byte {
	message := Canonical(signed)
	signatures := []any{}
	for _, k := range keys {
		signatures = append(signatures, signature(k, message))
	}
	return Wire(Canonical(map[string]any{"signed": signed, "signatures": signatures}))
}

// Wire makes legal JSON of canonical form, which has control characters as they are:
// line breaks in PEM keys, for example. They occur in strings only.
func Wire(canonical []byte) []byte {
	out := make([]byte, 0, len(canonical))
	for _, c := range canonical {
		if c < 0x20 {
			out = fmt.Appendf(out, `\u%04x`, c)
			continue
		}
		out = append(out, c)
	}
	return out
}

func signature(k Key, message []byte) map[string]any {
	return map[string]any{"keyid": string(k.ID()), "sig": hex.EncodeToString(ed25519.Sign(k.Private, message))}
}
