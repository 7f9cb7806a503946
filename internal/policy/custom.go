package policy

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/pypi/simple"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/cjson"
)

// ErrCustom means: what a target says about its file is not in the agreed form.
var ErrCustom = errors.New("custom object is not usable")

// Bounds of a custom object.
const (
	maxCustom     = 16 << 10 // bytes, unknown members included
	MaxYankReason = 1024     // bytes of the reason why a file was yanked
	customDepth   = 16
)

// Custom is what the signed metadata says about a file besides its length and
// hashes: all that an index page needs. It is the "custom" object of a target,
// under the names of the Simple API (PEP 691, 700, 714, 592).
type Custom struct {
	// Version that the file belongs to, in normal form.
	Version string
	// RequiresPython is a specifier set of PEP 440, or "".
	RequiresPython string
	// UploadTime in UTC, cut to microseconds; the zero time is left out.
	UploadTime time.Time
	// MetadataSHA256 is the digest of the METADATA that is served beside the file;
	// nil if none is.
	MetadataSHA256 *[32]byte
	// VouchedBy says who vouches for the bytes of a file that its signers did not build
	// themselves: [VouchedByIndex] for files that a claim adopted, or "".
	VouchedBy string
	// Yanked is nil, or the reason, which may be "".
	Yanked *string
}

// VouchedByIndex marks a file of a claimed project that was uploaded before the claim: the
// maintainers adopted what the index had received.
const VouchedByIndex = "index"

// check holds for both directions.
func (c *Custom) check() error {
	v, err := pypi.ParseVersion(c.Version)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCustom, err)
	}
	if v.String() != c.Version {
		return fmt.Errorf("%w: version %q is not in normal form, that is %q", ErrCustom, c.Version, v)
	}
	if err := pypi.CheckRequiresPython(c.RequiresPython); err != nil {
		return fmt.Errorf("%w: %w", ErrCustom, err)
	}
	if year := c.UploadTime.UTC().Year(); year < 1 || year > 9999 {
		return fmt.Errorf("%w: upload time in year %d can not be written", ErrCustom, year)
	}
	if c.VouchedBy != "" && c.VouchedBy != VouchedByIndex {
		return fmt.Errorf("%w: vouched-by is %.40q, the one known value is %q", ErrCustom, c.VouchedBy, VouchedByIndex)
	}
	if c.Yanked != nil {
		return checkReason("the yank", *c.Yanked)
	}
	return nil
}

func checkReason(what, reason string) error {
	if len(reason) > MaxYankReason {
		return fmt.Errorf("%w: reason for %s has %d bytes, at most %d", ErrCustom, what, len(reason), MaxYankReason)
	}
	if !utf8.ValidString(reason) {
		return fmt.Errorf("%w: reason for %s is not UTF-8", ErrCustom, what)
	}
	for _, c := range reason {
		if c < ' ' || c == 0x7f {
			return fmt.Errorf("%w: reason for %s holds control character %U; write it in one line", ErrCustom, what, c)
		}
	}
	return nil
}

// timeLayout keeps up to six decimals and drops trailing zeros (PEP 700).
const timeLayout = "2006-01-02T15:04:05.999999Z"

// Encode returns the custom object as canonical JSON. A version that is not in normal form, or
// a value outside its bounds, is [ErrCustom].
func (c Custom) Encode() ([]byte, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	b := []byte{'{'}
	member := func(name string) {
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(cjson.AppendString(b, name), ':')
	}
	if c.MetadataSHA256 != nil {
		member("core-metadata")
		b = append(b, `{"sha256":"`...)
		b = hex.AppendEncode(b, c.MetadataSHA256[:])
		b = append(b, `"}`...)
	}
	if c.RequiresPython != "" {
		member("requires-python")
		b = cjson.AppendString(b, c.RequiresPython)
	}
	if !c.UploadTime.IsZero() {
		member("upload-time")
		b = cjson.AppendString(b, c.UploadTime.UTC().Truncate(time.Microsecond).Format(timeLayout))
	}
	member("version")
	b = cjson.AppendString(b, c.Version)
	if c.VouchedBy != "" {
		member("vouched-by")
		b = cjson.AppendString(b, c.VouchedBy)
	}
	if c.Yanked != nil {
		member("yanked")
		if *c.Yanked == "" {
			b = append(b, "true"...)
		} else {
			b = cjson.AppendString(b, *c.Yanked)
		}
	}
	return append(b, '}'), nil
}

// DecodeCustom reads a custom object strictly: known members must have the
// type and form that Encode writes, "version" must be there, unknown members are passed over. It
// need not be canonical. Errors wrap [ErrCustom].
func DecodeCustom(raw []byte) (Custom, error) {
	if len(raw) > maxCustom {
		return Custom{}, fmt.Errorf("%w: %d bytes, at most %d", ErrCustom, len(raw), maxCustom)
	}
	var c Custom
	r := cjson.New(raw, customDepth)
	m := r.Object()
	for r.Next(&m) {
		c.member(r, string(m.Name()))
	}
	if err := r.End(); err != nil {
		return Custom{}, fmt.Errorf("%w: %w", ErrCustom, err)
	}
	if err := c.check(); err != nil {
		return Custom{}, err
	}
	return c, nil
}

// member reads the value of one member.
func (c *Custom) member(r *cjson.Reader, name string) {
	at := r.Offset()
	switch name {
	case "core-metadata":
		c.MetadataSHA256 = readDigest(r)
	case "requires-python":
		c.RequiresPython = string(r.Bytes())
	case "upload-time":
		s := string(r.Bytes())
		t, err := time.Parse(timeLayout, s)
		if err != nil || t.Format(timeLayout) != s || t.IsZero() {
			r.Fail(at, "upload-time is not a time in UTC with at most six decimals")
		}
		c.UploadTime = t
	case "version":
		c.Version = string(r.Bytes())
	case "vouched-by":
		if c.VouchedBy = string(r.Bytes()); c.VouchedBy == "" {
			r.Fail(at, "vouched-by is left out where nobody else vouches")
		}
	case "yanked":
		c.readYanked(r)
	default:
		r.Skip()
	}
}

func (c *Custom) readYanked(r *cjson.Reader) {
	at := r.Offset()
	if r.Kind() != cjson.String {
		if r.Bool() {
			c.Yanked = new(string)
		}
		return
	}
	reason := string(r.Bytes())
	if reason == "" {
		r.Fail(at, "yanked without a reason is written true")
	}
	c.Yanked = &reason
}

func readDigest(r *cjson.Reader) *[32]byte {
	var sum *[32]byte
	at := r.Offset()
	m := r.Object()
	for r.Next(&m) {
		if string(m.Name()) != "sha256" {
			r.Skip()
			continue
		}
		// Length first: the decoder trusts its caller with the size of the result.
		digits := r.Bytes()
		sum = new([32]byte)
		if len(digits) != hex.EncodedLen(len(sum)) || strings.Trim(string(digits), "0123456789abcdef") != "" {
			r.Fail(at, "core-metadata's sha256 is not 64 lower-case hex digits")
			return nil
		}
		if _, err := hex.Decode(sum[:], digits); err != nil {
			r.Fail(at, "core-metadata's sha256 is not hex")
			return nil
		}
	}
	if sum == nil {
		r.Fail(at, "core-metadata has no sha256")
	}
	return sum
}

// File turns a verified target into its entry on an index page. URL is left for the
// caller, who knows from where the file is served. Paths that are not those of
// distribution files give [ErrForeignPath], targets without usable custom object
// or SHA-256 [ErrCustom], and so does a version that is not the file name's.
func File(t tuf.Target) (simple.File, error) {
	_, name, err := ParsePath(t.Path)
	if err != nil {
		return simple.File{}, err
	}
	sum, ok := t.Hashes.SHA256()
	if !ok {
		return simple.File{}, fmt.Errorf("target %q: no SHA-256 is listed: %w", t.Path, ErrCustom)
	}
	c, err := DecodeCustom(t.Custom)
	if err != nil {
		return simple.File{}, fmt.Errorf("target %q: %w", t.Path, err)
	}
	v, err := pypi.ParseVersion(c.Version)
	if err != nil || v.Compare(name.Version()) != 0 {
		return simple.File{}, fmt.Errorf("target %q: version %q is not the file name's: %w", t.Path, c.Version, ErrCustom)
	}
	return simple.File{
		Filename:       name.String(),
		SHA256:         sum,
		Size:           t.Length,
		RequiresPython: c.RequiresPython,
		UploadTime:     c.UploadTime,
		MetadataSHA256: c.MetadataSHA256,
		Yanked:         c.Yanked,
		Version:        c.Version,
	}, nil
}
