package publish

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/record"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
)

// storedForm is a publication as it is kept until its proposal is answered. Its number and time are given when it is
// committed.
type storedForm struct {
	Format     int              `json:"format"`
	Metadata   []storedMetadata `json:"metadata"`
	Files      []storedFile     `json:"files,omitempty"`
	Events     []storedEvent    `json:"events,omitempty"`
	Closed     []string         `json:"closed,omitempty"`
	Executed   []string         `json:"executed,omitempty"`
	Record     []string         `json:"record,omitempty"`
	Recoveries []storedRecovery `json:"recoveries,omitempty"`
}

type storedMetadata struct {
	Role       string    `json:"role"`
	Version    int64     `json:"version"`
	Expires    time.Time `json:"expires"`
	Maintained bool      `json:"maintained,omitempty"`
	Bytes      []byte    `json:"bytes,omitempty"` // none: the signer signs it
}

type storedFile struct {
	Filename       string    `json:"filename"`
	Project        string    `json:"project"`
	Version        string    `json:"version"`
	Size           int64     `json:"size"`
	SHA256         []byte    `json:"sha256"`
	MetadataSHA256 []byte    `json:"metadata_sha256,omitempty"`
	RequiresPython string    `json:"requires_python,omitempty"`
	Uploaded       time.Time `json:"uploaded"`
	Uploader       string    `json:"uploader"`
	Signers        []key.ID  `json:"signers,omitempty"`
}

type storedEvent struct {
	Project string    `json:"project"`
	Kind    EventKind `json:"kind"`
	Time    time.Time `json:"time"`
	Token   string    `json:"token,omitempty"`
	Request string    `json:"request,omitempty"`
	Keys    []key.ID  `json:"keys,omitempty"`
	Text    string    `json:"text,omitempty"`
}

type storedRecovery struct {
	Project   string      `json:"project"`
	Entry     int64       `json:"entry"`
	Announced time.Time   `json:"announced"`
	NotBefore time.Time   `json:"not_before"`
	Keys      [][3]string `json:"keys"`
	Threshold int         `json:"threshold"`
	Text      string      `json:"text"`
	Token     string      `json:"token"`
	Outcome   record.Kind `json:"outcome,omitempty"`
}

const storedFormat = 1

func encodePublication(p *Publication) ([]byte, error) {
	s := storedForm{Format: storedFormat, Closed: p.Closed, Executed: p.Executed}
	for _, m := range p.Metadata {
		s.Metadata = append(s.Metadata, storedMetadata{string(m.Role), m.Version, m.Expires, m.Maintained, m.Bytes})
	}
	for i := range p.Files {
		s.Files = append(s.Files, storeFile(&p.Files[i]))
	}
	for _, e := range p.Events {
		s.Events = append(s.Events, storedEvent{e.Project.String(), e.Kind, e.Time, e.Token, e.Request, e.Keys, e.Text})
	}
	for i := range p.Record {
		s.Record = append(s.Record, string(p.Record[i].AppendCanonical(nil)))
	}
	for _, r := range p.Recoveries {
		out := storedRecovery{
			Project: r.Project.String(), Entry: r.Entry, Announced: r.Announced, NotBefore: r.NotBefore,
			Threshold: r.Threshold, Text: r.Text, Token: r.Token, Outcome: r.Outcome,
		}
		for _, k := range r.Keys {
			out.Keys = append(out.Keys, [3]string{k.Type(), k.Scheme(), k.Value()})
		}
		s.Recoveries = append(s.Recoveries, out)
	}
	data, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("encoding a publication: %w", err)
	}
	return data, nil
}

func decodePublication(data []byte) (*Publication, error) {
	var s storedForm
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	err := d.Decode(&s)
	if err == nil {
		if _, more := d.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("something follows its end")
		}
	}
	if err == nil && s.Format != storedFormat {
		err = fmt.Errorf("it has form %d, and this program knows %d", s.Format, storedFormat)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: the stored publication can not be read: %w", ErrDamaged, err)
	}
	p := &Publication{Closed: s.Closed, Executed: s.Executed}
	for _, m := range s.Metadata {
		p.Metadata = append(p.Metadata, Metadata{Role: tuf.RoleName(m.Role), Version: m.Version, Expires: m.Expires, Maintained: m.Maintained, Bytes: m.Bytes})
	}
	for _, step := range []func(*storedForm) error{p.storedFiles, p.storedEvents, p.storedRecord, p.storedRecoveries} {
		if err := step(&s); err != nil {
			return nil, fmt.Errorf("%w: the stored publication can not be read: %w", ErrDamaged, err)
		}
	}
	return p, nil
}

func storeFile(f *File) storedFile {
	out := storedFile{
		Filename: f.Filename.String(), Project: f.Project.String(), Version: f.Version, Size: f.Size, SHA256: f.SHA256[:],
		RequiresPython: f.RequiresPython, Uploaded: f.Uploaded, Uploader: f.Uploader, Signers: f.Signers,
	}
	if f.MetadataSHA256 != nil {
		out.MetadataSHA256 = f.MetadataSHA256[:]
	}
	return out
}

func (in *storedFile) file() (File, error) {
	f := File{
		Version: in.Version, Size: in.Size, RequiresPython: in.RequiresPython,
		Uploaded: in.Uploaded, Uploader: in.Uploader, Signers: in.Signers,
	}
	var err error
	if f.Project, err = pypi.ParseProject(in.Project); err != nil {
		return f, err
	}
	if f.Filename, err = pypi.ParseFilenameFor(f.Project, in.Filename); err != nil {
		return f, err
	}
	if copy(f.SHA256[:], in.SHA256) != len(f.SHA256) {
		return f, fmt.Errorf("the hash of %s is cut", in.Filename)
	}
	if in.MetadataSHA256 != nil {
		f.MetadataSHA256 = new([32]byte)
		if copy(f.MetadataSHA256[:], in.MetadataSHA256) != len(f.MetadataSHA256) {
			return f, fmt.Errorf("the hash of what %s says of itself is cut", in.Filename)
		}
	}
	return f, nil
}

func (p *Publication) storedFiles(s *storedForm) error {
	for i := range s.Files {
		f, err := s.Files[i].file()
		if err != nil {
			return err
		}
		p.Files = append(p.Files, f)
	}
	return nil
}

func (p *Publication) storedEvents(s *storedForm) error {
	for _, in := range s.Events {
		e := Event{Kind: in.Kind, Time: in.Time, Token: in.Token, Request: in.Request, Keys: in.Keys, Text: in.Text}
		var err error
		if e.Project, err = pypi.ParseProject(in.Project); err != nil {
			return err
		}
		p.Events = append(p.Events, e)
	}
	return nil
}

func (p *Publication) storedRecord(s *storedForm) error {
	for _, line := range s.Record {
		e, err := record.Parse([]byte(line))
		if err != nil {
			return err
		}
		p.Record = append(p.Record, e)
	}
	return nil
}

func (p *Publication) storedRecoveries(s *storedForm) error {
	for _, in := range s.Recoveries {
		r := Recovery{
			Entry: in.Entry, Announced: in.Announced, NotBefore: in.NotBefore,
			Threshold: in.Threshold, Text: in.Text, Token: in.Token, Outcome: in.Outcome,
		}
		var err error
		if r.Project, err = pypi.ParseProject(in.Project); err != nil {
			return err
		}
		for _, k := range in.Keys {
			public, err := key.New(k[0], k[1], k[2])
			if err != nil {
				return err
			}
			r.Keys = append(r.Keys, public)
		}
		p.Recoveries = append(p.Recoveries, r)
	}
	return nil
}

// storedChange is a change of an unclaimed project as it is kept until it can be published.
type storedChange struct {
	Add    *storedFile `json:"add,omitempty"`
	Yank   *storedEdit `json:"yank,omitempty"`
	Delete *storedEdit `json:"delete,omitempty"`
}

type storedEdit struct {
	Project string   `json:"project"`
	Files   []string `json:"files"`
	Reason  *string  `json:"reason,omitempty"`
}

// EncodeChange returns an [AddFile], [Yank] or [Delete] in a form in which it can be kept. Any other change
// is ErrInvalid: signing requests have a form of their own.
func EncodeChange(c Change) ([]byte, error) {
	var s storedChange
	edit := func(p pypi.Project, files []pypi.Filename, reason *string) *storedEdit {
		e := &storedEdit{Project: p.String(), Reason: reason}
		for _, f := range files {
			e.Files = append(e.Files, f.String())
		}
		return e
	}
	switch c := c.(type) {
	case AddFile:
		f := storeFile(&c.File)
		s.Add = &f
	case Yank:
		s.Yank = edit(c.Project, c.Files, c.Reason)
	case Delete:
		s.Delete = edit(c.Project, c.Files, nil)
	default:
		return nil, fmt.Errorf("keeping a change of type %T: %w", c, ErrInvalid)
	}
	data, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("encoding a change: %w", err)
	}
	return data, nil
}

// DecodeChange reads what [EncodeChange] wrote. The error wraps ErrInvalid.
func DecodeChange(data []byte) (Change, error) {
	var s storedChange
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		return nil, fmt.Errorf("reading a kept change: %w: %w", ErrInvalid, err)
	}
	switch {
	case s.Add != nil:
		f, err := s.Add.file()
		if err != nil {
			return nil, fmt.Errorf("reading a kept change: %w: %w", ErrInvalid, err)
		}
		return AddFile{File: f}, nil
	case s.Yank != nil:
		p, files, err := s.Yank.names()
		return Yank{Project: p, Files: files, Reason: s.Yank.Reason}, err
	case s.Delete != nil:
		p, files, err := s.Delete.names()
		return Delete{Project: p, Files: files}, err
	}
	return nil, fmt.Errorf("reading a kept change: it is of no known kind: %w", ErrInvalid)
}

func (e *storedEdit) names() (pypi.Project, []pypi.Filename, error) {
	p, err := pypi.ParseProject(e.Project)
	if err != nil {
		return p, nil, fmt.Errorf("reading a kept change: %w: %w", ErrInvalid, err)
	}
	var files []pypi.Filename
	for _, name := range e.Files {
		f, err := pypi.ParseFilenameFor(p, name)
		if err != nil {
			return p, nil, fmt.Errorf("reading a kept change: %w: %w", ErrInvalid, err)
		}
		files = append(files, f)
	}
	return p, files, nil
}
