package server

import (
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
	"time"

	"example.com/bailiwick/internal/index"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/trust"
)

// metadataSuffix is what installers append to a wheel's address for its METADATA file (PEP 658).
const metadataSuffix = ".metadata"

// filePath is the address of a file in pages, relative to the root of the server: content-addressed,
// and its last segment is the file's name, because pip takes the name from there.
func filePath(l policy.Layout, p pypi.Project, name string, sum [32]byte) string {
	return "files/" + l.Dir(p) + "/" + hex.EncodeToString(sum[:]) + "/" + name
}

// file serves /files/BIN/PROJECT/SHA256/FILENAME, what index pages link to.
func (s *Server) file(w http.ResponseWriter, r *http.Request) {
	s.hashed(w, r, r.PathValue("bin")+"/"+r.PathValue("project"), r.PathValue("sha256"), r.PathValue("filename"))
}

// target serves the two addresses of TUF targets: BIN/PROJECT/SHA256.FILENAME, which TUF clients
// use under consistent snapshots, for ever; and BIN/PROJECT/FILENAME for files listed now.
func (s *Server) target(w http.ResponseWriter, r *http.Request) {
	dir, name := r.PathValue("bin")+"/"+r.PathValue("project"), r.PathValue("name")
	sum, filename, ok := strings.Cut(name, ".")
	if ok && isSHA256(sum) {
		s.hashed(w, r, dir, sum, filename)
		return
	}
	path, err := tuf.ParseTargetPath(dir + "/" + strings.TrimSuffix(name, metadataSuffix))
	if err != nil {
		notFound(w, "there is no target of this name")
		return
	}
	found, err := s.publisher.Current().Find(r.Context(), path)
	if err != nil {
		s.missing(w, r, err)
		return
	}
	sha256, ok := found.Target.Hashes.SHA256()
	if !ok {
		notFound(w, "there is no target of this name")
		return
	}
	// The name may be given up by its project tomorrow, so caches have to ask each time.
	w.Header().Set("Cache-Control", "no-cache")
	s.hashed(w, r, dir, hex.EncodeToString(sha256[:]), name)
}

// hashed serves a file, or the METADATA beside it, whose hash the client knows.
func (s *Server) hashed(w http.ResponseWriter, r *http.Request, dir, sum, name string) {
	file, err := s.index.OpenTarget(r.Context(), dir+"/"+sum+"."+name)
	if err != nil {
		s.missing(w, r, err)
		return
	}
	defer func() { _ = file.Close() }() // was only read
	s.sendFile(w, r, file)
}

// sendFile lets the standard library answer ranges, conditions and HEAD; plain files go out without
// being copied through this process.
func (s *Server) sendFile(w http.ResponseWriter, r *http.Request, file *index.File) {
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream") // never a type that a browser would run
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", immutable)
	}
	h.Set("ETag", `"`+hex.EncodeToString(file.SHA256[:])+`"`)
	h.Set("Access-Control-Allow-Origin", "*")
	s.giveTime(w, file.Size())
	http.ServeContent(w, r, "", file.Uploaded, file.Blob)
}

// giveTime moves the deadlines of an answer to what size bytes may take. The one for reading moves as
// well: it ends the request's context, even when there is nothing to read.
func (s *Server) giveTime(w http.ResponseWriter, size int64) {
	until := time.Now().Add(s.limits.allowed(size)) //nolint:forbidigo // deadlines of sockets follow the system's clock
	ctl := http.NewResponseController(w)            // fails in tests without a connection, where nothing is slow
	_ = ctl.SetReadDeadline(until)
	_ = ctl.SetWriteDeadline(until)
}

// missing answers for a file or project that could not be had.
func (s *Server) missing(w http.ResponseWriter, r *http.Request, err error) {
	var refusal *index.Refusal
	switch {
	case errors.As(err, &refusal) && refusal.Kind == index.NotFound:
		notFound(w, refusal.Message)
	case errors.As(err, &refusal) && refusal.Kind == index.Invalid:
		notFound(w, refusal.Message) // an address that can not exist
	case errors.Is(err, trust.ErrNotFound):
		notFound(w, "there is no target of this name")
	default:
		s.fail(w, r, err)
	}
}

// isSHA256 reports whether s is the hexadecimal form of a SHA-256, in the one spelling we use.
func isSHA256(s string) bool {
	if len(s) != 64 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
