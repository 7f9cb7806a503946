package server

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"unicode/utf8"

	"example.com/bailiwick/internal/index"
)

// formError is what is wrong with an upload's form, as a person should read it.
type formError struct {
	status int
	text   string
	err    error // what the network or the parser said; nil when the rule is ours
}

func (e *formError) Error() string { return e.text }
func (e *formError) Unwrap() error { return e.err }

func badForm(err error, format string, args ...any) error {
	return &formError{http.StatusBadRequest, fmt.Sprintf(format, args...), err}
}

func largeForm(format string, args ...any) error {
	return &formError{http.StatusRequestEntityTooLarge, fmt.Sprintf(format, args...), nil}
}

// errAllowance says that a part of the request grew past what it may take.
var errAllowance = errors.New("allowance used up")

// partSlack is what the multipart reader may take from the body ahead of what it was asked for: its
// buffer, and a boundary line.
const partSlack = 8 << 10

// allowance lets through as many bytes as the part of the form that is being read may take. The
// multipart reader bounds headers at 10 MiB each and preambles not at all; this is the tighter bound.
type allowance struct {
	r    io.Reader
	left int64
}

// Read fails with errAllowance when the allowance is used up, never with a silent end.
func (a *allowance) Read(p []byte) (int, error) {
	if a.left <= 0 {
		return 0, errAllowance
	}
	if int64(len(p)) > a.left {
		p = p[:a.left]
	}
	n, err := a.r.Read(p)
	a.left -= int64(n)
	return n, err
}

// form reads an upload: fields in any order, before and after the one file part, each bounded.
type form struct {
	fields   map[string][]string
	filename string // of the content part, as the client wrote it
	body     *allowance
	parts    *multipart.Reader
	limits   *Limits
	count    int   // parts seen
	size     int64 // bytes of all field values
	hasFile  bool
}

// newForm prepares to read r's body, which comes through body so that its bounds hold.
func newForm(contentType string, body io.Reader, limits *Limits) (*form, error) {
	media, params, err := mime.ParseMediaType(contentType)
	if err != nil || media != "multipart/form-data" {
		return nil, &formError{http.StatusUnsupportedMediaType, "an upload is a multipart/form-data request", err}
	}
	boundary := params["boundary"]
	if boundary == "" || len(boundary) > 70 { // RFC 2046, 5.1.1
		return nil, badForm(nil, "the Content-Type of the upload needs a boundary of 1 to 70 characters")
	}
	a := &allowance{r: body}
	return &form{fields: map[string][]string{}, body: a, parts: multipart.NewReader(a, boundary), limits: limits}, nil
}

// addQuery takes the two fields that clients may put into the address instead of the form.
func (f *form) addQuery(query url.Values) {
	for _, name := range []string{":action", "protocol_version"} {
		for _, value := range query[name] {
			if value != "" && len(value) <= f.limits.FieldName {
				f.fields[name] = append(f.fields[name], value)
			}
		}
	}
}

// goneAction refuses actions that need no file, before anyone misses the file.
func (f *form) goneAction() error {
	if len(f.fields[":action"]) == 0 || slices.Contains(f.fields[":action"], "file_upload") {
		return nil // the checks of the whole form come later
	}
	_, err := index.ParseForm(f.fields, "")
	return err //nolint:wrapcheck // a refusal
}

// read takes the whole form. It calls content once, with the bytes of the file part; an error of
// content ends the reading and is returned as it is.
func (f *form) read(content func(io.Reader) error) error {
	for {
		f.body.left = f.limits.PartHeader + partSlack
		part, err := f.parts.NextRawPart()
		if err == io.EOF { // not errors.Is: this is the last boundary, a wrapped io.EOF is a body that ends before it
			break
		}
		if err != nil {
			return f.broken(err, "the headers of a form field")
		}
		if err := f.part(part, content); err != nil {
			return err
		}
	}
	if !f.hasFile {
		if err := f.goneAction(); err != nil {
			return err
		}
		return badForm(nil, "the upload holds no file: the form needs a part named content")
	}
	return nil
}

// part takes one part of the form.
func (f *form) part(part *multipart.Part, content func(io.Reader) error) error {
	if f.count++; f.count > f.limits.Fields {
		return largeForm("the form has more than %d fields", f.limits.Fields)
	}
	name, filename, isFile := disposition(part)
	switch {
	case name == "":
		return badForm(nil, "a part of the form has no name")
	case len(name) > f.limits.FieldName:
		return largeForm("the name of a form field is longer than %d bytes", f.limits.FieldName)
	case name == "content" && !isFile:
		return badForm(nil, "the form field content has to be a file, with a file name")
	case name == "content" && f.hasFile:
		return badForm(nil, "the upload holds more than one file; upload one file at a time")
	case name == "content":
		if err := f.goneAction(); err != nil {
			return err
		}
		f.hasFile, f.filename = true, filename
		f.body.left = f.limits.Request
		err := content(part)
		if errors.Is(err, errAllowance) || errors.Is(err, io.ErrUnexpectedEOF) {
			return f.broken(err, "the file")
		}
		return err
	default:
		return f.field(name, part, isFile)
	}
}

// field takes one part that is not the file. A file under another name (a detached signature) is
// read and dropped.
func (f *form) field(name string, part *multipart.Part, drop bool) error {
	room := f.limits.FieldBytes - f.size
	f.body.left = room + partSlack
	value, err := io.ReadAll(io.LimitReader(part, room+1)) //nolint:forbidigo // bounded, and the length is checked below
	if err != nil {
		return f.broken(err, "the form field "+printable(name))
	}
	if int64(len(value)) > room {
		return f.tooMuch()
	}
	f.size += int64(len(value))
	if len(value) == 0 || drop {
		return nil // empty is absent: some clients send every field they know
	}
	if !utf8.Valid(value) {
		return badForm(nil, "the form field %s is not UTF-8 text", printable(name))
	}
	f.fields[name] = append(f.fields[name], string(value))
	return nil
}

func (f *form) tooMuch() error {
	return largeForm("the form fields together are larger than %s", byteCount(f.limits.FieldBytes))
}

// broken explains an error of the multipart reader.
func (f *form) broken(err error, what string) error {
	switch {
	case errors.Is(err, errAllowance) && what == "the file":
		return largeForm("the upload is larger than %s", byteCount(f.limits.Request))
	case errors.Is(err, errAllowance) && f.size > f.limits.FieldBytes-partSlack:
		return f.tooMuch()
	case errors.Is(err, errAllowance):
		return largeForm("%s are larger than %s", what, byteCount(f.limits.PartHeader))
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return badForm(err, "the upload ended in the middle of the form")
	}
	var own *formError
	if errors.As(err, &own) { // the clock of the body
		return own
	}
	return badForm(err, "the upload is not a well-formed multipart/form-data body")
}

// disposition reads the name of a part, and its file name as the client wrote it: the standard
// library's FileName would cut off the folders that uploads must be refused for.
func disposition(part *multipart.Part) (name, filename string, isFile bool) {
	kind, params, err := mime.ParseMediaType(part.Header.Get("Content-Disposition"))
	if err != nil || kind != "form-data" {
		return "", "", false
	}
	filename, isFile = params["filename"]
	return params["name"], filename, isFile
}

// printable makes a name from outside fit for one line of a message.
func printable(s string) string {
	if len(s) > 60 {
		s = s[:60] + "…"
	}
	return fmt.Sprintf("%q", s)
}

// byteCount writes a bound the way people say it.
func byteCount(n int64) string {
	switch {
	case n >= 1<<20 && n%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 1<<10 && n%(1<<10) == 0:
		return fmt.Sprintf("%d KiB", n>>10)
	default:
		return fmt.Sprintf("%d bytes", n)
	}
}
