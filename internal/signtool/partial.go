package signtool

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"example.com/bailiwick/internal/sitting"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
)

// Bounds of a file with some of the signatures.
const (
	partialFormat  = 1
	maxPartialLine = 8 << 10
	maxPartial     = 512 << 20 // bytes
	flushEvery     = 512       // signatures that may be lost with the process
)

// partial is the file OUT.partial: the signatures so far of a request that is being signed. A line is
// written with every signature, so that nothing that a person touched a token for is lost; the
// file goes away when OUT is complete.
type partial struct {
	out  *target
	file *os.File
	w    *bufio.Writer
	held int // signatures since the last flush
}

type partialHead struct {
	Format  int    `json:"bailiwick-partial"`
	Request string `json:"request"`
}

type partialLine struct {
	Role  tuf.RoleName `json:"role"`
	KeyID key.ID       `json:"keyid"`
	Sig   string       `json:"sig"`
}

func (t *target) partialName() string { return t.name + ".partial" }

// readPartial adds to the request of this ID the signatures that an earlier run left in OUT.partial, and
// returns how many were new. verify tells of a signature whether it is good; known is false for one by a
// key that is not at hand, which is left out. A last line that is cut short is what an interruption leaves.
func (t *target) readPartial(r *sitting.Request, id string, verify func(role tuf.RoleName, sig tuf.Signature) (good, known bool)) (int, error) {
	name := t.partialName()
	info, err := t.dir.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("looking at %s.partial: %w", t.path, err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxPartial {
		return 0, t.badPartial("it is not a file that bailiwick-sign made")
	}
	f, err := t.dir.Open(name)
	if err != nil {
		return 0, fmt.Errorf("reading %s.partial: %w", t.path, err)
	}
	defer func() { _ = f.Close() }() // was only read
	lines := bufio.NewReaderSize(io.LimitReader(f, maxPartial), maxPartialLine)
	head, err := lines.ReadSlice('\n')
	var h partialHead
	switch {
	case errors.Is(err, io.EOF): // interrupted before the first signature
		return 0, nil
	case err != nil || strict(head, &h) != nil || h.Format != partialFormat:
		return 0, t.badPartial("its first line can not be read")
	case h.Request != id:
		return 0, fmt.Errorf("%s.partial holds signatures for request %.32q, and this is request %s: finish that one with its own file, or name another file with --out", t.path, h.Request, id)
	}
	added := 0
	for n := 2; ; n++ {
		line, err := lines.ReadSlice('\n')
		if errors.Is(err, io.EOF) {
			return added, nil
		}
		var l partialLine
		if err != nil || strict(line, &l) != nil {
			return added, t.badPartial(fmt.Sprintf("its line %d can not be read", n))
		}
		sig, err := hex.DecodeString(l.Sig)
		if err != nil || len(sig) == 0 {
			return added, t.badPartial(fmt.Sprintf("its line %d holds no signature", n))
		}
		s := tuf.Signature{KeyID: l.KeyID, Sig: sig}
		good, known := verify(l.Role, s)
		switch {
		case !known:
			continue
		case !good:
			return added, t.badPartial(fmt.Sprintf("the signature in its line %d is not one of the key %.12s for %.80q", n, l.KeyID, l.Role))
		}
		fresh, err := r.Add(l.Role, s)
		if err != nil {
			return added, t.badPartial(err.Error())
		}
		if fresh {
			added++
		}
	}
}

func (t *target) badPartial(why string) error {
	return fmt.Errorf("%s.partial can not be gone on with: %s; remove it, and sign from the beginning", t.path, why)
}

// strict decodes one JSON value, whole and without unknown members.
func strict(line []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one value")
	}
	return nil
}

// startPartial writes OUT.partial anew, with the signatures that are known to be good.
func (t *target) startPartial(id string, keep []partialLine) (*partial, error) {
	temp := t.partialName() + ".new"
	_ = t.dir.Remove(temp) // of an interrupted run
	f, err := t.dir.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, t.explain("writing beside", err)
	}
	p := &partial{out: t, file: f, w: bufio.NewWriter(f)}
	err = p.line(partialHead{partialFormat, id})
	for _, l := range keep {
		err = errors.Join(err, p.line(l))
	}
	if err = errors.Join(err, p.flush()); err == nil {
		err = t.dir.Rename(temp, t.partialName())
	}
	if err != nil {
		_ = t.dir.Remove(temp) // the cause is err
		return nil, t.explain("writing beside", errors.Join(err, f.Close()))
	}
	return p, nil
}

func (p *partial) line(v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = p.w.Write(append(data, '\n'))
	return err
}

// add appends a signature. now says that it must not wait for the next ones.
func (p *partial) add(role tuf.RoleName, sig tuf.Signature, now bool) error {
	err := p.line(lineOf(role, sig))
	if p.held++; err == nil && (now || p.held >= flushEvery) {
		err = p.flush()
	}
	if err != nil {
		return p.out.explain("writing beside", err)
	}
	return nil
}

func (p *partial) flush() error {
	p.held = 0
	return errors.Join(p.w.Flush(), p.file.Sync())
}

// Close keeps what was added.
func (p *partial) Close() error { return errors.Join(p.flush(), p.file.Close()) }

// removePartial is called when OUT is complete. That the file stays behind harms nobody.
func (t *target) removePartial() { _ = t.dir.Remove(t.partialName()) }

func lineOf(role tuf.RoleName, sig tuf.Signature) partialLine {
	return partialLine{role, sig.KeyID, hex.EncodeToString(sig.Sig)}
}
