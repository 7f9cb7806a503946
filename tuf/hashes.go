package tuf

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"

	"example.com/bailiwick/tuf/cjson"
)

// Hashes are the hashes that metadata lists for a file. Known are sha256 and sha512.
// The zero value lists none.
type Hashes struct {
	sha256  [sha256.Size]byte
	sha512  string // its bytes, "" if it is not listed: it seldom is, and there are many Hashes
	has256  bool
	unknown bool
}

// NewHashes returns the hashes of data that we publish: its SHA-256.
func NewHashes(data []byte) Hashes { return SHA256Hashes(sha256.Sum256(data)) }

// SHA256Hashes returns Hashes that list one known SHA-256.
func SHA256Hashes(sum [sha256.Size]byte) Hashes { return Hashes{sha256: sum, has256: true} }

// WithSHA512 returns h with a SHA-512 beside what it lists.
func (h Hashes) WithSHA512(sum [sha512.Size]byte) Hashes {
	h.sha512 = string(sum[:])
	return h
}

// SHA256 returns the listed SHA-256, and whether there is one.
func (h Hashes) SHA256() ([sha256.Size]byte, bool) { return h.sha256, h.has256 }

// SHA512 returns the listed SHA-512, and whether there is one.
func (h Hashes) SHA512() (sum [sha512.Size]byte, ok bool) {
	return sum, copy(sum[:], h.sha512) == len(sum)
}

// Unknown reports whether metadata lists an algorithm that is not known here. Bytes
// can then not be checked completely, and Check refuses them.
func (h Hashes) Unknown() bool { return h.unknown }

// IsZero reports whether metadata lists no hash at all, known or not.
func (h Hashes) IsZero() bool { return !h.has256 && h.sha512 == "" && !h.unknown }

// Check returns nil if data has all listed hashes. It returns ErrHash if one differs,
// and an error that matches ErrUnsupported if none is listed or if one is of an
// unknown algorithm: what can not be checked is not accepted.
func (h Hashes) Check(data []byte) error {
	v := h.NewVerifier()
	_, _ = v.Write(data) // never fails
	return v.Check()
}

// NewVerifier returns a Verifier for bytes that arrive piece by piece.
func (h Hashes) NewVerifier() *Verifier {
	v := &Verifier{want: h}
	if h.has256 {
		v.h256 = sha256.New()
	}
	if h.sha512 != "" {
		v.h512 = sha512.New()
	}
	return v
}

// Verifier is an io.Writer that compares what was written to it with listed hashes.
// It belongs to one goroutine.
type Verifier struct {
	want Hashes
	h256 hash.Hash
	h512 hash.Hash
}

// Write adds data. It never fails.
func (v *Verifier) Write(data []byte) (int, error) {
	if v.h256 != nil {
		v.h256.Write(data)
	}
	if v.h512 != nil {
		v.h512.Write(data)
	}
	return len(data), nil
}

// Check compares all that was written so far, as Hashes.Check does.
func (v *Verifier) Check() error {
	switch {
	case v.want.unknown:
		return fmt.Errorf("%w: metadata lists a hash of an unknown algorithm", ErrUnsupported)
	case v.want.IsZero():
		return fmt.Errorf("%w: metadata lists no hash", ErrUnsupported)
	}
	var errs []error
	if v.h256 != nil {
		errs = append(errs, differ("sha256", v.h256.Sum(nil), v.want.sha256[:]))
	}
	if v.h512 != nil {
		errs = append(errs, differ("sha512", v.h512.Sum(nil), []byte(v.want.sha512)))
	}
	return errors.Join(errs...)
}

func differ(algorithm string, have, want []byte) error {
	if bytes.Equal(have, want) {
		return nil
	}
	return fmt.Errorf("%w: %s is %x instead of %x", ErrHash, algorithm, have, want)
}

// readHashes reads a "hashes" object, which must not be empty. Values of algorithms
// that we know must be lower-case hex of the right length. Without keep only the form is
// looked at, and a SHA-512 costs no allocation.
func readHashes(r *cjson.Reader, h *Hashes, keep bool) {
	*h = Hashes{}
	var sum512 [sha512.Size]byte
	at := r.Offset()
	for m := r.Object(); r.Next(&m); {
		ok := true
		switch string(m.Name()) {
		case "sha256":
			h.has256, ok = true, decodeHex(h.sha256[:], r.Bytes())
		case "sha512":
			h.sha512, ok = "not kept", decodeHex(sum512[:], r.Bytes())
			if keep {
				h.sha512 = string(sum512[:])
			}
		default:
			h.unknown = true
			r.Bytes()
		}
		if !ok {
			r.Fail(at, "a hash that is not lower-case hex of the right length")
			return
		}
	}
	if !h.has256 && h.sha512 == "" && !h.unknown {
		r.Fail(at, "an empty list of hashes")
	}
}

// hexValue maps a lower-case hex digit to its value, everything else to 0xff.
var hexValue = func() (t [256]byte) {
	for i := range t {
		t[i] = 0xff
	}
	for i := range 16 {
		t["0123456789abcdef"[i]] = byte(i)
	}
	return t
}()

// decodeHex decodes exactly len(dst) bytes, a multiple of four, of lower-case hex. It
// decodes eight digits at a time: nearly all of large metadata is digests.
func decodeHex(dst, text []byte) bool {
	if len(text) != 2*len(dst) {
		return false
	}
	const ones = 0x0101010101010101
	var bad uint64
	for len(dst) >= 4 && len(text) >= 8 {
		v := binary.LittleEndian.Uint64(text)
		// The value of a digit is its low half, and nine more for a letter.
		n := v&(ones*0x0f) + 9*(v>>6&ones)
		// Nothing but a digit has a value below sixteen and comes out the same when that is
		// written again. No byte of n exceeds 0x18, so none spills over into the next.
		bad |= n & (ones * 0xf0)
		bad |= v ^ (n + ones*'0' + ('a'-10-'0')*((n+ones*6)>>4&ones))
		n = (n<<4 | n>>8) & 0x00ff00ff00ff00ff
		n = (n | n>>8) & 0x0000ffff0000ffff
		binary.LittleEndian.PutUint32(dst, uint32(n|n>>16))
		dst, text = dst[4:], text[8:]
	}
	return bad == 0
}

// appendHex appends src, whose length is a multiple of four, in lower-case hex: the
// other way round.
func appendHex(dst, src []byte) []byte {
	const ones = 0x0101010101010101
	for ; len(src) >= 4; src = src[4:] {
		n := uint64(binary.LittleEndian.Uint32(src))
		n = (n | n<<16) & 0x0000ffff0000ffff
		n = (n | n<<8) & 0x00ff00ff00ff00ff
		n = (n>>4 | n<<8) & (ones * 0x0f)
		dst = binary.LittleEndian.AppendUint64(dst, n+ones*'0'+('a'-10-'0')*((n+ones*6)>>4&ones))
	}
	return dst
}
