package verify

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"regexp"
	"sync"

	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/tuf/trust"
)

// Lookup finds a file of a project in the snapshot in force. A file that is refused gives its *Error.
func (e *Engine) Lookup(ctx context.Context, project pypi.Project, name string) (*File, error) {
	listing, err := e.Project(ctx, project)
	if err != nil {
		return nil, err
	}
	file, ok := listing.File(name)
	if !ok {
		return nil, e.notListed(name)
	}
	problem := file.Problem
	if problem == nil {
		problem = e.remembered(file)
	}
	if problem != nil {
		return nil, e.reject(project, name, e.about(problem, name))
	}
	if listing.accepted != nil {
		e.record(Verdict{Project: project, Accepted: listing.accepted})
	}
	return file, nil
}

// about names the file in a problem of the whole repository or project, for the installer's output.
func (e *Engine) about(problem *Error, name string) *Error {
	if problem.Subject == name {
		return problem
	}
	own := *problem
	own.Subject = name
	return e.newError(&own)
}

func fileKey(f *File) string {
	return string(f.Path) + "\x00" + hex.EncodeToString(f.Entry.SHA256[:])
}

// remembered is the verdict of an earlier download of the same file.
func (e *Engine) remembered(f *File) *Error {
	e.mu.Lock()
	defer e.mu.Unlock()
	key := fileKey(f)
	r, ok := e.refused[key]
	if !ok {
		return nil
	}
	if age := e.now().Sub(r.when); e.remember > 0 && (age >= e.remember || age < 0) {
		delete(e.refused, key)
		return nil
	}
	return r.err
}

// Download is one file on its way to one installer. It must be closed. Its methods are for one
// goroutine.
type Download struct {
	File *File

	e      *Engine
	blob   Blob          // verified and whole, from the cache
	t      *transfer     // or arriving now
	direct io.ReadCloser // or passing by, when there is no cache
	once   sync.Once
}

// Open begins to hand out a file. It returns before the file is there. The error is an *Error or that
// of ctx.
func (e *Engine) Open(ctx context.Context, project pypi.Project, name string) (*Download, error) {
	file, err := e.Lookup(ctx, project, name)
	if err != nil {
		return nil, err
	}
	d := &Download{File: file, e: e}
	if e.cache != nil {
		blob, err := e.verifiedBlob(file.Entry.SHA256, file.Entry.Size)
		if err == nil {
			d.blob = blob
			e.verified(file)
			return d, nil
		}
		if d.t = e.transfer(context.WithoutCancel(ctx), file); d.t != nil {
			return d, nil
		}
	}
	d.direct, err = e.client.Open(ctx, file.found)
	if err != nil {
		return nil, e.reject(project, name, e.downloadError(file, nil, err))
	}
	return d, nil
}

func (e *Engine) verified(f *File) {
	e.record(Verdict{
		Project: f.Project, File: f.Entry.Filename, SHA256: hex.EncodeToString(f.Entry.SHA256[:]), Size: f.Entry.Size, Assurance: f.Assurance,
	})
}

// transfer joins the running download of a file or starts one; nil if the cache does not take it.
func (e *Engine) transfer(ctx context.Context, f *File) *transfer {
	key := fileKey(f)
	e.mu.Lock()
	defer e.mu.Unlock()
	if t := e.transfers[key]; t != nil && t.join() {
		return t
	}
	if e.noCache {
		return nil
	}
	staged, err := e.cache.Stage(f.Entry.Size)
	if err != nil {
		e.noCache = true // verification does not need it: stream without keeping
		return nil
	}
	ctx, stop := context.WithCancel(ctx)
	t := newTransfer(staged, f.Entry.Size, stop)
	t.join()
	e.transfers[key] = t
	go e.run(ctx, key, f, t)
	return t
}

// run downloads one file and gives the verdict.
func (e *Engine) run(ctx context.Context, key string, f *File, t *transfer) {
	err := e.fetch(ctx, f, t)
	if err == nil {
		if kept := t.file.Keep(f.Entry.SHA256); kept == nil {
			e.markHashed(f.Entry.SHA256)
		} // else it is served from the staged file, and fetched again the next time
		e.verified(f)
	} else {
		err = e.reject(f.Project, f.Entry.Filename, e.downloadError(f, t, err))
	}
	e.mu.Lock()
	if e.transfers[key] == t {
		delete(e.transfers, key)
	}
	e.mu.Unlock()
	t.finish(err)
}

func (e *Engine) fetch(ctx context.Context, f *File, t *transfer) error {
	select {
	case e.slots <- struct{}{}:
		defer func() { <-e.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	return e.client.Download(ctx, f.found, t)
}

// downloadError turns a failed download into an Error; t is what arrived, if it was kept. A file that
// did not match is remembered.
func (e *Engine) downloadError(f *File, t *transfer, err error) error {
	if t != nil && t.writeError() != nil {
		e.mu.Lock()
		e.noCache = true
		e.mu.Unlock()
		return e.newError(&Error{
			Class: Unreachable, Code: CodeCache, Subject: f.Entry.Filename, Err: err,
			Cause: fmt.Sprintf("cannot keep %s in the cache: %v", f.Entry.Filename, t.writeError()),
		})
	}
	var refused *trust.RefusedError
	if !errors.As(err, &refused) || refused.Code == trust.Unavailable {
		return e.classify(f.Entry.Filename, err)
	}
	problem := &Error{
		Class: Refused, Code: string(refused.Code), Subject: f.Entry.Filename, Role: listedBy(f.found),
		Cause: mismatchCause(f.found), Expected: expected(f), SignedBy: signedBy(f.found), Err: err,
	}
	switch refused.Code {
	case trust.Missing:
		problem.Cause = "the index does not have the file it signed for"
	case trust.Hash:
		problem.Received = measured(err, f.Entry.Size)
	case trust.Length:
		problem.Cause = "shorter than what was signed"
		problem.Detail = refused.Error()
	default:
		problem.Cause = roleCause(refused)
	}
	problem = e.newError(problem)
	e.mu.Lock()
	if len(e.refused) >= maxRemembered {
		clear(e.refused)
	}
	e.refused[fileKey(f)] = refusal{err: problem, when: e.now()}
	e.mu.Unlock()
	return problem
}

// measured takes the SHA-256 that was found out of the client's message: only the client sees the
// bytes that it refuses.
func measured(err error, length int64) *Content {
	m := foundSHA256.FindStringSubmatch(err.Error())
	if m == nil {
		return nil
	}
	return &Content{SHA256: m[1], Length: length}
}

var foundSHA256 = regexp.MustCompile(`sha256 is ([0-9a-f]{64}) instead`)

// Seekable reports whether Wait can give the file in any order; it cannot when there is no cache.
func (d *Download) Seekable() bool { return d.direct == nil }

// Wait waits for the whole file, verified. Closing the Download closes the Blob. The error is an
// *Error or that of ctx; errors.ErrUnsupported if not Seekable.
func (d *Download) Wait(ctx context.Context) (Blob, error) {
	switch {
	case d.blob != nil:
		return d.blob, nil
	case d.t == nil:
		return nil, fmt.Errorf("verify: the file passes by and is not kept: %w", errors.ErrUnsupported)
	}
	if err := d.t.wait(ctx); err != nil {
		return nil, err
	}
	return &section{SectionReader: io.NewSectionReader(d.t.file, 0, d.t.size)}, nil
}

// Started waits until the first bytes may leave or the verdict is known. Its error is the verdict, or
// that of ctx, which is no verdict: more may come.
func (d *Download) Started(ctx context.Context) error {
	if d.t == nil {
		return nil
	}
	for {
		p := d.t.progress()
		if p.ended || p.allowed > 0 {
			return p.verdict
		}
		select {
		case <-p.changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Stream gives the file from its beginning as it arrives. It ends with io.EOF only after the last
// block was verified; any other error means that the file is incomplete and must not be used.
func (d *Download) Stream(ctx context.Context) io.Reader {
	switch {
	case d.blob != nil:
		return io.NewSectionReader(d.blob, 0, d.blob.Size())
	case d.t != nil:
		return &stream{ctx: ctx, t: d.t}
	}
	return &passing{d: d}
}

// passing reads a file that is not kept, and tells the log how it ended.
type passing struct {
	d *Download
}

// Read passes on what the client's reader releases: never the last block of a file that fails.
func (p *passing) Read(b []byte) (int, error) {
	n, err := p.d.direct.Read(b)
	switch {
	case err == nil:
	case errors.Is(err, io.EOF):
		p.d.e.verified(p.d.File)
	default:
		err = p.d.e.reject(p.d.File.Project, p.d.File.Entry.Filename, p.d.e.downloadError(p.d.File, nil, err))
	}
	return n, err
}

// Close lets go of the file. The last reader of a running download stops it.
func (d *Download) Close() error {
	var err error
	d.once.Do(func() {
		switch {
		case d.blob != nil:
			err = d.blob.Close()
		case d.t != nil:
			d.t.release()
		case d.direct != nil:
			err = d.direct.Close()
		}
	})
	return err
}
