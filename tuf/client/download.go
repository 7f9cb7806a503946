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
// last of them (Held) only after length and hashes were found right. On an
// error, drop what was written. It is a *trust.RefusedError if the bytes are
// not the listed ones, or the repository does not have them; a *NetworkError;
// or w's.
func (c *Client) Download(ctx context.Context, found *trust.Found, w io.Writer) error {
	r, err := c.Open(ctx, found)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, r)
	return errors.Join(err, r.Close())
}

// Open begins a download and returns its bytes as they come; see Reader. The
// context covers all reading. Errors are those of Download.
func (c *Client) Open(ctx context.Context, found *trust.Found) (*Reader, error) {
	r := &Reader{
		target: found.Target,
		role:   found.Chain[len(found.Chain)-1].Role,
		check:  found.Target.Hashes.NewVerifier(),
		open: func(offset int64) (io.ReadCloser, error) {
			return c.fetcher.Target(ctx, found.FetchName(), offset)
		},
		buffer: make([]byte, 2*Held),
	}
	if err := r.resume(); err != nil {
		return nil, err
	}
	return r, nil
}

// A Reader yields the bytes of a target while they come in, and never its end
// before all of it is verified: whoever copies from it has either an incomplete
// file and an error, or the right file. It goes on by itself after a broken
// connection. It is not safe for concurrent use.
type Reader struct {
	target tuf.Target
	role   tuf.RoleName
	check  *tuf.Verifier
	open   func(offset int64) (io.ReadCloser, error)

	body     io.ReadCloser // nil after Close
	received int64
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
		r.err = r.fill()
	}
	if r.err != nil {
		return 0, r.err
	}
	n := copy(p, r.buffer[r.begin:r.begin+r.ready()])
	r.begin += n
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
	case errors.As(err, &broken) && r.resumed < resumes:
		r.resumed++
		return errors.Join(r.resume())
	}
	return err
}

// resume opens the target where it broke off.
func (r *Reader) resume() error {
	if r.body != nil {
		_ = r.body.Close() // it is broken
		r.body = nil
	}
	body, err := r.open(r.received)
	switch {
	case errors.Is(err, ErrAbsent):
		return r.refused(trust.Missing, err)
	case err != nil:
		return err
	}
	r.body = body
	return nil
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
