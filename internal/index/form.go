package index

import (
	"crypto/subtle"
	"encoding/hex"
	"strings"
)

// Form is a parsed upload form: what the uploader claims about the content that comes with it.
// The file itself decides; the claims have to agree with it.
type Form struct {
	Filename        string // of the content part; never empty
	Name            string // as sent, not normalised; never empty
	Version         string // never empty
	MetadataVersion string // never empty
	Filetype        string // "sdist" or "bdist_wheel"
	PyVersion       string // "source", a Python tag, or empty

	// Stage asks that the file is staged for its maintainers' signature even if nobody has claimed
	// the project: so that a new project can be claimed by its first release.
	Stage bool

	// Digests of the content, decoded; nil if not sent. At least one is there.
	MD5, SHA256, Blake2b256 []byte
}

// Names of form fields.
const (
	fieldAction   = ":action"
	fieldProtocol = "protocol_version"
	fieldStage    = "bailiwick_stage"
)

// maxField bounds the fields that a Form is made of, in bytes. All of them are short.
const maxField = 512

// ParseForm reads the fields of an upload form, in whatever order they came; filename is that of
// the content part. An empty field counts as absent, unknown fields are ignored, and a field that
// is sent twice must say the same both times. All errors are refusals: Invalid, or Gone for
// the actions that other indexes had before.
func ParseForm(fields map[string][]string, filename string) (Form, error) {
	p := formParser{fields: fields}
	switch action := p.get(fieldAction); action {
	case "file_upload":
	case "submit", "submit_pkg_info", "doc_upload":
		return Form{}, refuse(Gone, "the action %q is gone; upload the files alone, projects are created by the first upload", action)
	case "":
		return Form{}, refuse(Invalid, "the form has no field :action; it must be file_upload")
	default:
		return Form{}, refuse(Invalid, "the action %q is not known; it must be file_upload", action)
	}
	if v := p.get(fieldProtocol); v != "1" {
		return Form{}, refuse(Invalid, "protocol_version is %q; this index speaks version 1", v)
	}
	if attestations := p.get("attestations"); attestations != "" && attestations != "[]" {
		return Form{}, refuse(Invalid, "this index does not take attestations; upload without them (twine: no --attestations, uv: --no-attestations)")
	}
	f := Form{
		Filename:        filename,
		Name:            p.need("name"),
		Version:         p.need("version"),
		MetadataVersion: p.need("metadata_version"),
		Filetype:        p.need("filetype"),
		PyVersion:       p.get("pyversion"),
		MD5:             p.digest("md5_digest", 16),
		SHA256:          p.digest("sha256_digest", 32),
		Blake2b256:      p.digest("blake2_256_digest", 32),
	}
	stage := p.get(fieldStage)
	f.Stage = stage == "1"
	switch {
	case p.err != nil:
		return Form{}, p.err
	case stage != "" && !f.Stage:
		return Form{}, refuse(Invalid, "the form field %s is %q; it is 1, or left out", fieldStage, stage)
	case filename == "":
		return Form{}, refuse(Invalid, "the form has no file; send it as the part \"content\" with its file name")
	case f.Filetype != "sdist" && f.Filetype != "bdist_wheel":
		return Form{}, refuse(Invalid, "the file type %q is not taken; this index takes sdist and bdist_wheel", f.Filetype)
	case f.MD5 == nil && f.SHA256 == nil && f.Blake2b256 == nil:
		return Form{}, refuse(Invalid, "the form has no digest of the file; send at least sha256_digest")
	}
	return f, nil
}

// formParser remembers the first mistake.
type formParser struct {
	fields map[string][]string
	err    error
}

func (p *formParser) fail(err error) {
	if p.err == nil {
		p.err = err
	}
}

// get returns a field, or the empty string if it is absent, empty, or wrong.
func (p *formParser) get(name string) string {
	var value string
	for _, v := range p.fields[name] {
		v = strings.TrimSpace(v)
		switch {
		case v == "" || v == value:
		case value != "":
			p.fail(refuse(Invalid, "the form says %s twice, once %q and once %q", name, value, v))
			return ""
		default:
			value = v
		}
	}
	if len(value) > maxField && name != "attestations" {
		p.fail(refuse(Invalid, "the form field %s is %d bytes long; at most %d are taken", name, len(value), maxField))
		return ""
	}
	return value
}

func (p *formParser) need(name string) string {
	v := p.get(name)
	if v == "" {
		p.fail(refuse(Invalid, "the form has no field %s", name))
	}
	return v
}

func (p *formParser) digest(name string, size int) []byte {
	v := p.get(name)
	if v == "" {
		return nil
	}
	sum, err := hex.DecodeString(v)
	if err != nil || len(sum) != size {
		p.fail(refuse(Invalid, "the form field %s is no digest: it needs %d hexadecimal digits", name, 2*size))
		return nil
	}
	return sum
}

// checkDigests compares every digest that was sent with the content.
func (f *Form) checkDigests(c *Content) error {
	for _, d := range []struct {
		name       string
		sent, have []byte
	}{
		{"sha256_digest", f.SHA256, c.sha256[:]},
		{"blake2_256_digest", f.Blake2b256, c.blake2[:]},
		{"md5_digest", f.MD5, c.md5[:]},
	} {
		if d.sent != nil && subtle.ConstantTimeCompare(d.sent, d.have) != 1 {
			return refuse(Invalid, "the file is not the one that the form describes: %s is %x, the file received has %x", d.name, d.sent, d.have)
		}
	}
	return nil
}
