package client

import (
	"context"
	"errors"
	"fmt"
	"io"

	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/trust"
)

// Held is how many bytes at the end of a target a Reader keeps back until all
// of it is verified; a shorter target is kept back whole.
const Held = 32 << 10

// resumes bounds how often one download goes on after a broken connection.
const resumes = 3

// Download writes a target's bytes to w: at most as many as listed, and the
// last of them (Held) only after length and hashes were found right. If they are
// not, and there are mirrors, and w can be wound back as files can (io.Seeker and
// Truncate), it tries again with the next. On an error, drop what was written. It
// is a *trust.RefusedError if the bytes are not the listed ones, or the repository
// does not have them; a *NetworkError; or w's.
func (c *Client) Download(ctx context.Context, found *trust.Found, w io.Writer) error {
	r, err := c.Open(ctx, found)
	if err != nil {
		return err
	}
	file, canRewind := w.(rewinder)
	var start int64
	if canRewind {
		start, err = file.Seek(0, io.SeekCurrent)
		canRewind = err == nil // pipes are files, too
	}
	for {
		_, err = io.Copy(w, r)
		var refused *trust.RefusedError
		if !canRewind || !errors.As(err, &refused) || !r.again() {
			break
		}
		if err := rewind(file, start); err != nil {
			return errors.Join(err, r.Close())
		}
	}
	return errors.Join(err, r.Close())
}

// rewinder is what can forget what was written to it.
type rewinder interface {
	io.Seeker
	Truncate(size int64) error
}

func rewind(w rewinder, to int64) error {
	if err := w.Truncate(to); err != nil {
		return fmt.Errorf("dropping what a mirror gave: %w", err)
	}
	if _, err := w.Seek(to, io.SeekStart); err != nil {
		return fmt.Errorf("dropping what a mirror gave: %w", err)
	}
	return nil
}

// Open begins a download and returns its bytes as they come; see Reader. The
// context covers all reading. Errors are those of Download.
func (c *Client) Open(ctx context.Context, found *trust.Found) (*Reader, error) {
	r := &Reader{
		target:  found.Target,
		role:    found.Chain[len(found.Chain)-1].Role,
		check:   found.Target.Hashes.NewVerifier(),
		mirrors: c.mirrors,
		liars:   map[int]bool{},
		open: func(from Fetcher, offset int64) (io.ReadCloser, error) {
			return from.Target(ctx, found.FetchName(), offset)
		},
		buffer: make([]byte, 2*Held),
	}
	if found.Target.Hashes.Unknown() { // what can not be checked completely need not be fetched
		return nil, r.refused(trust.Unsupported, fmt.Errorf("%w: it is listed with a hash of an unknown algorithm", tuf.ErrUnsupported))
	}
	if err := r.resume(); err != nil {
		return nil, err
	}
	return r, nil
}

// A Reader yields the bytes of a target while they come in, and never its end
// before all of it is verified: whoever copies from it has either an incomplete
// file and an error, or the right file. It goes on by itself after a broken
// connection, and with another mirror if one does not have the file; if one has
// other bytes, only as long as none of them was given away. It is not safe for
// concurrent use.
type Reader struct {
	target  tuf.Target
	role    tuf.RoleName
	check   *tuf.Verifier
	open    func(from Fetcher, offset int64) (io.ReadCloser, error)
	mirrors *mirrors

	body     io.ReadCloser // nil after Close
	from     int           // the mirror that gives it
	mixed    bool          // what was received comes from more than one
	pure     bool          // it must not: then nobody knew who was wrong
	liars    map[int]bool  // mirrors that gave other bytes
	given    bool          // some bytes were given away
	received int64
	opened   int64 // what was received when the body was opened
	leave    bool  // it broke off at once: others come first
	resumed  int
	buffer   []byte // holds what was received and not yet given, from begin to end
	begin    int
	end      int
	verified bool
	err      error // stays
}

// Read implements io.Reader.
func (r *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for r.err == nil && r.ready() == 0 {
		if r.verified {
			r.err = io.EOF
			break
		}
		if r.err = r.fill(); r.err != nil && !r.given && isWrong(r.err) && r.again() {
			continue
		}
	}
	if r.err != nil {
		return 0, r.err
	}
	n := copy(p, r.buffer[r.begin:r.begin+r.ready()])
	r.begin += n
	r.given = true
	return n, nil
}

// ready is how many bytes may be given away now.
func (r *Reader) ready() int {
	if r.verified {
		return r.end - r.begin
	}
	return max(r.end-r.begin-Held, 0)
}

// fill receives some bytes, or verifies once all are there. 5.7.3: no more than
// the listed length is ever read.
func (r *Reader) fill() error {
	missing := r.target.Length - r.received
	if missing == 0 {
		if err := r.check.Check(); err != nil {
			return r.refused(trust.Hash, err)
		}
		r.verified = true
		return nil
	}
	r.end = copy(r.buffer, r.buffer[r.begin:r.end])
	r.begin = 0
	room := r.buffer[r.end:]
	n, err := r.body.Read(room[:min(int64(len(room)), missing)])
	if n > 0 {
		_, _ = r.check.Write(room[:n]) // a hash never fails
		r.end += n
		r.received += int64(n)
		return nil // an error comes again, if it matters
	}
	var broken *NetworkError
	switch {
	case errors.Is(err, io.EOF):
		return r.refused(trust.Length, fmt.Errorf("%d bytes, listed with %d", r.received, r.target.Length))
	case errors.As(err, &broken) && r.resumed < resumes*len(r.mirrors.all):
		r.resumed++
		if r.leave = r.received == r.opened; r.leave { // it gives nothing more
			r.mirrors.blame(r.from)
		}
		return r.resume()
	}
	return err
}

// resume opens the target where it broke off, where it broke off first.
func (r *Reader) resume() error {
	if r.body != nil {
		_ = r.body.Close() // it is broken
		r.body = nil
	}
	var errs []error
	for _, i := range r.sources() {
		if r.received > 0 && r.pure && i != r.from {
			continue
		}
		body, err := r.open(r.mirrors.all[i], r.received)
		if err == nil {
			r.mixed = r.mixed || r.received > 0 && i != r.from
			r.body, r.from, r.opened, r.leave = body, i, r.received, false
			return nil
		}
		if errors.Is(err, ErrAbsent) {
			err = r.refused(trust.Missing, err)
		}
		r.mirrors.blame(i)
		errs = append(errs, err)
	}
	return worst(errs)
}

// sources returns the mirrors that may be asked, the one at work first, unless it broke
// off without giving anything.
func (r *Reader) sources() []int {
	order, _ := r.mirrors.order()
	out := make([]int, 0, len(order))
	stay := r.received > 0 && !r.leave
	if stay {
		out = append(out, r.from)
	}
	for _, i := range order {
		if !r.liars[i] && (!stay || i != r.from) {
			out = append(out, i)
		}
	}
	return out
}

// isWrong reports whether an error says that bytes are not the listed ones.
func isWrong(err error) bool {
	var r *trust.RefusedError
	return errors.As(err, &r) && (r.Code == trust.Hash || r.Code == trust.Length)
}

// again begins anew with another mirror after one gave wrong bytes, and reports whether
// there is one. It is for those who can forget what they were given.
func (r *Reader) again() bool {
	switch {
	case !isWrong(r.err):
		return false
	case r.mixed: // one of several: find out whose bytes they were
		r.pure = true
	default:
		r.liars[r.from] = true
		r.mirrors.blame(r.from)
	}
	if len(r.liars) == len(r.mirrors.all) {
		return false
	}
	failed := r.err
	r.received, r.begin, r.end, r.resumed, r.mixed, r.given = 0, 0, 0, 0, false, false
	r.opened, r.leave = 0, false
	r.check = r.target.Hashes.NewVerifier()
	if r.err = r.resume(); r.err != nil {
		r.err = worst([]error{failed, r.err})
		return false
	}
	return true
}

func (r *Reader) refused(code trust.Code, err error) error {
	return &trust.RefusedError{Code: code, Role: r.role, Step: "5.7.3", Err: fmt.Errorf("target %s: %w", r.target.Path, err)}
}

// Close ends the download. What was not read is not verified.
func (r *Reader) Close() error {
	if r.err == nil {
		r.err = errors.New("reading a closed download")
	}
	if r.body == nil {
		return nil
	}
	body := r.body
	r.body = nil
	if err := body.Close(); err != nil {
		return fmt.Errorf("closing the download of %s: %w", r.target.Path, err)
	}
	return nil
}
