package proxy

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/verify"
)

const (
	metadataSuffix = ".metadata"
	// immutable: the address changes with what it answers with.
	immutable = "private, max-age=31536000, immutable"
	// firstByte is how long an installer waits for the head of an answer: pip gives up after 15 s
	// without a sign of life.
	firstByte = 5 * time.Second
	// moment is how long a file is held back whole before its first bytes go out.
	moment    = time.Second
	copyBytes = 64 << 10
)

// file serves files/PROJECT/TAG/NAME and the METADATA beside it.
func (h *handler) file(w http.ResponseWriter, r *http.Request) {
	project, err := pypi.ParseProject(r.PathValue("project"))
	if err != nil {
		fail(w, r, http.StatusNotFound, err.Error(), "")
		return
	}
	name, beside := strings.CutSuffix(r.PathValue("name"), metadataSuffix)
	file, err := h.engine.Lookup(r.Context(), project, name)
	if err != nil {
		refuse(w, r, err)
		return
	}
	if tag(file.Entry.SHA256) != r.PathValue("tag") {
		fail(w, r, http.StatusNotFound, name+" is not what it was when the page was made; ask for the page again", "")
		return
	}
	if beside {
		h.metadata(w, r, project, name)
		return
	}
	header := w.Header()
	header.Set("ETag", `"`+hex.EncodeToString(file.Entry.SHA256[:])+`"`)
	header.Set("Content-Type", "application/octet-stream")
	header.Set("Cache-Control", immutable)
	if r.Method == http.MethodHead {
		// All of it is signed data: nothing has to be fetched.
		header.Set("Accept-Ranges", "bytes")
		header.Set("Content-Length", strconv.FormatInt(file.Entry.Size, 10))
		return
	}
	h.download(w, r, project, name)
}

func (h *handler) metadata(w http.ResponseWriter, r *http.Request, project pypi.Project, name string) {
	data, err := h.engine.Metadata(r.Context(), project, name)
	if err != nil {
		refuse(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Cache-Control", immutable)
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	_, _ = w.Write(data) // the installer may have left
}

// download hands out a file: from the cache, in any order; or while it arrives, from the beginning.
func (h *handler) download(w http.ResponseWriter, r *http.Request, project pypi.Project, name string) {
	d, err := h.engine.Open(r.Context(), project, name)
	if err != nil {
		refuse(w, r, err)
		return
	}
	defer d.Close()
	if d.Seekable() {
		blob, err := h.whole(r, d)
		if err == nil {
			http.ServeContent(w, r, "", time.Time{}, seeker(blob))
			return
		}
		if !isPending(r, err) {
			refuse(w, r, err)
			return
		}
	}
	header := w.Header()
	header.Set("Content-Length", strconv.FormatInt(d.File.Entry.Size, 10))
	if d.Seekable() {
		header.Set("Accept-Ranges", "bytes")
	}
	started, cancel := context.WithTimeout(r.Context(), firstByte)
	err = d.Started(started)
	cancel()
	if isPending(r, err) {
		_ = http.NewResponseController(w).Flush() // a slow repository: show the installer a sign of life
		_, _ = stream(w, d.Stream(r.Context()))   // too late for another answer
		return
	}
	if err != nil {
		refuse(w, r, err)
		return
	}
	if sent, err := stream(w, d.Stream(r.Context())); err != nil && sent == 0 {
		refuse(w, r, err)
	}
}

// whole waits for the verified file: without end for a part of it, which is verified only with all of
// it; else for a moment, because an installer that has seen no byte yet can be told the reason of a
// refusal in its own output.
func (h *handler) whole(r *http.Request, d *verify.Download) (verify.Blob, error) {
	if r.Header.Get("Range") != "" || r.Header.Get("If-None-Match") != "" {
		return d.Wait(r.Context())
	}
	ctx, cancel := context.WithTimeout(r.Context(), moment)
	defer cancel()
	return d.Wait(ctx)
}

// isPending reports whether an error only means that waiting took too long so far: a repository that
// timed out is a verdict.
func isPending(r *http.Request, err error) bool {
	var verdict *verify.Error
	return errors.Is(err, context.DeadlineExceeded) && !errors.As(err, &verdict) && r.Context().Err() == nil
}

// seeker gives a plain *os.File where there is one, which the kernel can send by itself.
func seeker(blob verify.Blob) io.ReadSeeker {
	if f, ok := blob.(*cachedFile); ok {
		return f.File
	}
	return blob
}

// stream copies to an installer, without delay, and gives how many bytes it took and why the source
// ended early. Then nothing more may be written: as the head announced more bytes, the server cuts
// the connection, and the installer sees that the file is not whole.
func stream(w http.ResponseWriter, source io.Reader) (sent int64, err error) {
	flush := http.NewResponseController(w).Flush
	buf := make([]byte, copyBytes)
	for {
		n, err := source.Read(buf)
		if n > 0 {
			if _, failed := w.Write(buf[:n]); failed != nil {
				return sent, nil //nolint:nilerr // the installer left: there is nobody to tell
			}
			sent += int64(n)
			_ = flush() // an installer that left is noticed by the next Write
		}
		switch {
		case errors.Is(err, io.EOF):
			return sent, nil
		case err != nil:
			return sent, err
		}
	}
}
