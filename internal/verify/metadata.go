package verify

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/pypi/dist"
	"example.com/bailiwick/tuf/client"
	"example.com/bailiwick/tuf/trust"
)

// maxMetadata is how much METADATA is read, in bytes. Its length is not signed, only its hash.
const maxMetadata = 8 << 20

// Metadata gives the METADATA of a wheel, checked against the hash in the wheel's signed entry. It is
// fetched from beside the wheel, or, when a mirror has only what the standard asks for, taken out of
// the verified wheel. The error is an *Error or that of ctx.
func (e *Engine) Metadata(ctx context.Context, project pypi.Project, name string) ([]byte, error) {
	file, err := e.Lookup(ctx, project, name)
	if err != nil {
		return nil, err
	}
	sum := file.Entry.MetadataSHA256
	if sum == nil {
		return nil, e.notListed(name + ".metadata")
	}
	if data, ok := e.cachedMetadata(*sum); ok {
		return data, nil
	}
	data, err := e.fetchMetadata(ctx, e.fetcher, file)
	for _, mirror := range e.mirrors {
		if err == nil && sha256.Sum256(data) == *sum {
			break
		}
		// What the first place did stays the verdict unless another one has the right bytes.
		if other, otherErr := e.fetchMetadata(ctx, mirror, file); otherErr == nil && sha256.Sum256(other) == *sum {
			data, err = other, nil
		}
	}
	if errors.Is(err, client.ErrAbsent) {
		data, err = e.metadataInside(ctx, file)
	}
	if err != nil {
		return nil, e.reject(project, name, e.classify(name, err))
	}
	if got := sha256.Sum256(data); got != *sum {
		return nil, e.reject(project, name, e.newError(&Error{
			Class: Refused, Code: CodeMetadata, Subject: name, Role: listedBy(file.found),
			Cause:    "its METADATA is " + mismatchCause(file.found),
			Expected: &Content{SHA256: hex.EncodeToString(sum[:]), Length: -1},
			Received: &Content{SHA256: hex.EncodeToString(got[:]), Length: int64(len(data))},
			SignedBy: signedBy(file.found), Err: &trust.RefusedError{Code: trust.Hash, Role: listedBy(file.found)},
		}))
	}
	e.keepMetadata(*sum, data)
	return data, nil
}

func (e *Engine) fetchMetadata(ctx context.Context, from client.Fetcher, f *File) ([]byte, error) {
	select {
	case e.slots <- struct{}{}:
		defer func() { <-e.slots }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	body, err := from.Target(ctx, f.found.FetchName()+".metadata", 0)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(body, maxMetadata+1)) //nolint:forbidigo // bounded
	if err = errors.Join(err, body.Close()); err != nil {
		return nil, &client.NetworkError{URL: f.found.FetchName() + ".metadata", Err: err}
	}
	if len(data) > maxMetadata {
		return nil, &trust.RefusedError{Code: trust.Length, Role: listedBy(f.found), Err: fmt.Errorf("METADATA is longer than %d bytes", maxMetadata)}
	}
	return data, nil
}

// metadataInside reads METADATA out of the wheel itself.
func (e *Engine) metadataInside(ctx context.Context, f *File) ([]byte, error) {
	d, err := e.Open(ctx, f.Project, f.Entry.Filename)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	blob, err := d.Wait(ctx)
	if err != nil {
		return nil, err
	}
	return dist.CoreMetadata(blob, blob.Size())
}

func (e *Engine) cachedMetadata(sum [sha256.Size]byte) ([]byte, bool) {
	if e.cache == nil {
		return nil, false
	}
	blob, err := e.verifiedBlob(sum, anySize)
	if err != nil {
		return nil, false
	}
	defer blob.Close()
	var data bytes.Buffer
	_, err = io.Copy(&data, io.LimitReader(blob, maxMetadata))
	return data.Bytes(), err == nil
}

// keepMetadata puts checked METADATA into the cache; if that fails it is fetched again next time.
func (e *Engine) keepMetadata(sum [sha256.Size]byte, data []byte) {
	if e.cache == nil {
		return
	}
	staged, err := e.cache.Stage(int64(len(data)))
	if err != nil {
		return
	}
	defer staged.Close()
	if _, err := staged.Write(data); err != nil {
		return
	}
	if staged.Keep(sum) == nil {
		e.markHashed(sum)
	}
}
