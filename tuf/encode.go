package tuf

import (
	"encoding/hex"
	"fmt"
	"time"

	"example.com/bailiwick/tuf/cjson"
	"example.com/bailiwick/tuf/key"
)

// What follows serves writers. All functions append canonical JSON; AppendEnvelope
// makes of it what is published.

// FormatTime returns a date as metadata writes it, in UTC and without fractions.
func FormatTime(t time.Time) string { return t.UTC().Format(timeLayout) }

// AppendHashes appends a "hashes" object. Unknown algorithms, whose values were not
// kept, are not written.
func AppendHashes(dst []byte, h Hashes) []byte {
	dst = append(dst, '{')
	if h.has256 {
		dst = append(dst, `"sha256":"`...)
		dst = appendHex(dst, h.sha256[:])
		dst = append(dst, '"')
	}
	if h.sha512 != "" {
		if h.has256 {
			dst = append(dst, ',')
		}
		dst = append(dst, `"sha512":"`...)
		dst = appendHex(dst, []byte(h.sha512))
		dst = append(dst, '"')
	}
	return append(dst, '}')
}

// AppendMeta appends an entry of "meta" in snapshot and timestamp metadata.
func AppendMeta(dst []byte, m Meta) []byte {
	dst = append(dst, '{')
	if !m.Hashes.IsZero() {
		dst = append(dst, `"hashes":`...)
		dst = AppendHashes(dst, m.Hashes)
		dst = append(dst, ',')
	}
	if m.Length >= 0 {
		dst = append(dst, `"length":`...)
		dst = cjson.AppendInt(dst, m.Length)
		dst = append(dst, ',')
	}
	dst = append(dst, `"version":`...)
	dst = cjson.AppendInt(dst, m.Version)
	return append(dst, '}')
}

// AppendTarget appends an entry of "targets", without the path. It fails if the
// custom object has no canonical form.
func AppendTarget(dst []byte, t Target) ([]byte, error) {
	out := append(dst, '{')
	if t.Custom != nil {
		custom, err := cjson.Canonical(t.Custom, 0) // mostly as it is
		if err != nil {
			return dst, fmt.Errorf("encoding the custom object of %s: %w", t.Path, err)
		}
		out = append(append(append(out, `"custom":`...), custom...), ',')
	}
	out = append(out, `"hashes":`...)
	out = AppendHashes(out, t.Hashes)
	out = append(out, `,"length":`...)
	out = cjson.AppendInt(out, t.Length)
	return append(out, '}'), nil
}

// AppendRole appends the members "keyids" and "threshold" of a, for a root role or a
// delegation; the caller adds braces and further members around them.
func AppendRole(dst []byte, a Authority) []byte {
	dst = append(dst, `"keyids":[`...)
	for i, id := range a.ids {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = cjson.AppendString(dst, id)
	}
	dst = append(dst, `],"threshold":`...)
	return cjson.AppendInt(dst, int64(a.threshold))
}

// AppendEnvelope appends the file that is published: the signatures, in the order
// given, around "signed", whose canonical form is message.
func AppendEnvelope(dst, message []byte, signatures []Signature) []byte {
	dst = append(dst, `{"signatures":[`...)
	for i, s := range signatures {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, `{"keyid":`...)
		dst = appendWireString(dst, s.KeyID)
		dst = append(dst, `,"sig":"`...)
		dst = hex.AppendEncode(dst, s.Sig)
		dst = append(dst, `"}`...)
	}
	dst = append(dst, `],"signed":`...)
	dst = cjson.AppendWire(dst, message)
	return append(dst, '}')
}

func appendWireString(dst []byte, id key.ID) []byte {
	return cjson.AppendWire(dst, cjson.AppendString(nil, id))
}
