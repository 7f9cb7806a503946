package sitting

import (
	"bytes"
	"encoding/hex"
	"maps"
	"slices"
	"strings"
	"time"

	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/cjson"
	"example.com/bailiwick/tuf/key"
)

// fileReader reads a small strict JSON object in one pass. The first fault sticks.
type fileReader struct {
	*cjson.Reader
	what    string
	data    []byte
	refused *Refused
	name    string
}

func newFileReader(what string, data []byte) *fileReader {
	r := &fileReader{what: what, data: bytes.TrimRight(data, "\n")}
	switch {
	case len(data) > MaxInvitation:
		r.refused = refuse(Malformed, "", "this is not %s: it is %d bytes long, and at most %d are read", what, len(data), MaxInvitation)
	case bytes.Contains(data, []byte("PRIVATE KEY-----")), bytes.Contains(data, []byte("AGE-SECRET-KEY-")):
		r.refused = refusePrivate(what)
	default:
		r.refused = refuseKind(what, data[:min(len(data), headSize)])
	}
	if r.refused != nil {
		r.Reader = cjson.New(nil, invitationDepth)
		return r
	}
	r.Reader = cjson.New(bytes.Clone(r.data), invitationDepth)
	return r
}

// refusePrivate is the loud refusal of R27.
func refusePrivate(what string) *Refused {
	return refuse(PrivateKey, "", "%s holds a PRIVATE key; nothing was stored; that key must be taken for stolen, so make a new one and send its public half only", what)
}

func (r *fileReader) fail(f *Refused) {
	if r.refused == nil && r.Err() == nil {
		r.refused = f
		r.Fail(r.Position(), f.Message)
	}
}

func (r *fileReader) malformed(format string, args ...any) {
	r.fail(refuse(Malformed, "", "this is not "+r.what+": "+format, args...))
}

// members reads an object that has each of the members, and no other.
func (r *fileReader) members(each map[string]func()) {
	seen := make(map[string]bool, len(each))
	for m := r.Object(); r.Next(&m); {
		r.name = string(m.Name())
		read := each[r.name]
		if read == nil {
			r.malformed("it has a member %.40q that this program does not know; use a newer bailiwick", r.name)
			return
		}
		seen[r.name] = true
		read()
	}
	for _, name := range slices.Sorted(maps.Keys(each)) {
		if !seen[name] && r.Err() == nil {
			r.malformed("its member %q is missing", name)
		}
	}
}

func (r *fileReader) end() error {
	err := r.End()
	switch {
	case r.refused != nil:
		return r.refused
	case err != nil:
		return refuse(Malformed, "", "this is not %s: %v", r.what, err)
	}
	return nil
}

// same refuses a second spelling: what was read, encoded again, is what came.
func (r *fileReader) same(encoded []byte) error {
	if !bytes.Equal(encoded, r.data) {
		return refuse(Malformed, "", "this is not %s as bailiwick writes it: it was edited or reformatted on the way, so ask for the file itself", r.what)
	}
	return nil
}

func (r *fileReader) format() {
	if n := r.Int(); n != invitationFormat {
		r.malformed("it has form %d and this program reads form %d; use a newer bailiwick", n, invitationFormat)
	}
}

func (r *fileReader) text() string { return string(r.Bytes()) }

func (r *fileReader) texts(most int) (all []string) {
	for e := r.Array(); r.More(&e); {
		if len(all) == most {
			r.malformed("its member %q lists more than %d", r.name, most)
			return nil
		}
		all = append(all, r.text())
	}
	return all
}

func (r *fileReader) time() time.Time {
	text := r.text()
	t, err := time.Parse(time.RFC3339, text)
	if r.Err() == nil && (err != nil || tuf.FormatTime(t) != text) {
		r.malformed("its member %q is %.40q and not a time such as 2026-11-23T05:00:00Z", r.name, text)
	}
	return t.UTC()
}

func (r *fileReader) hex(into []byte) {
	text := r.text()
	if r.Err() != nil {
		return
	}
	if len(text) != 2*len(into) || strings.Trim(text, "0123456789abcdef") != "" {
		r.malformed("its member %q is not %d lower-case hex digits", r.name, 2*len(into))
		return
	}
	_, _ = hex.Decode(into, []byte(text)) // looked at above
}

func (r *fileReader) signature() []byte {
	text := r.text()
	sig, err := hex.DecodeString(text)
	if r.Err() == nil && (err != nil || len(sig) == 0 || len(sig) > maxInvitedSig || strings.ToLower(text) != text) {
		r.malformed("its signature is not 2 to %d lower-case hex digits", 2*maxInvitedSig)
	}
	return sig
}

func (r *fileReader) small() int {
	n := r.Int()
	if n < 0 || n > 1_000_000 {
		r.malformed("its member %q is %d, which is out of range", r.name, n)
	}
	return int(n)
}

// key reads a KEY object strictly: a further member could carry anything, and would give the key another id.
func (r *fileReader) key() *key.Public {
	var keytype, scheme, public, unknown string
	private := false
	for m := r.Object(); r.Next(&m); {
		switch name := string(m.Name()); name {
		case "keytype":
			keytype = r.text()
		case "scheme":
			scheme = r.text()
		case "keyval":
			for v := r.Object(); r.Next(&v); {
				switch inner := string(v.Name()); inner {
				case "public":
					public = r.text()
				default:
					private = private || inner == "private"
					unknown = inner
					r.Skip()
				}
			}
		default:
			private = private || name == "private"
			unknown = name
			r.Skip()
		}
	}
	if r.Err() != nil {
		return nil
	}
	switch {
	case private:
		r.fail(refusePrivate(r.what))
		return nil
	case unknown != "":
		r.malformed("its key has a member %.40q; a key has keytype, scheme and keyval with public, and nothing else", unknown)
		return nil
	}
	k, err := key.New(keytype, scheme, public)
	if err != nil {
		r.fail(refuse(Key, "", "the key in %s can not be used: %v", strings.TrimPrefix(r.what, "an "), err))
		return nil
	}
	return k
}
