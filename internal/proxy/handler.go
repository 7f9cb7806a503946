package proxy

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"

	"example.com/bailiwick/internal/problem"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/pypi/simple"
	"example.com/bailiwick/internal/verify"
)

// program goes in front of every sentence, so that it can be told from the installer's own.
const program = "bailiwick: "

// handler answers installers.
type handler struct {
	engine    *verify.Engine
	prefix    string // "/ROOT/SECRET"
	hosts     []string
	onBlocked func(string)
	mux       *http.ServeMux
}

func newHandler(c Config, addr net.Addr, prefix string) *handler {
	_, port, _ := net.SplitHostPort(addr.String()) // a listener's own address
	h := &handler{
		engine: c.Engine, prefix: prefix, onBlocked: c.OnBlocked, mux: http.NewServeMux(),
		hosts: []string{addr.String(), "localhost:" + port, "127.0.0.1:" + port, "[::1]:" + port},
	}
	h.mux.HandleFunc("GET /simple/{$}", h.root)
	h.mux.HandleFunc("GET /simple/{project}", h.withSlash)
	h.mux.HandleFunc("GET /simple/{project}/{$}", h.project)
	h.mux.HandleFunc("GET /files/{project}/{tag}/{name}", h.file)
	h.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			fail(w, r, http.StatusMethodNotAllowed, "the verified index is for reading only; upload to the index itself", "")
			return
		}
		fail(w, r, http.StatusNotFound, "there is nothing at this address of the verified index", "")
	})
	return h
}

// ServeHTTP sorts requests: what is meant for other hosts is the guard's; what does not know the
// user's path part learns nothing.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodConnect || (r.URL.Host != "" && !h.isSelf(r.URL.Host)) {
		h.guard(w, r)
		return
	}
	if !h.isSelf(r.Host) {
		// A page in a browser that made its name point here must not read the index.
		fail(w, r, http.StatusForbidden, "this address is for installers on this machine", "")
		return
	}
	if nonce, ok := strings.CutPrefix(r.URL.Path, identityPath); ok {
		h.identify(w, r, nonce)
		return
	}
	n := len(h.prefix)
	if len(r.URL.Path) <= n || subtle.ConstantTimeCompare([]byte(r.URL.Path[:n]), []byte(h.prefix)) != 1 || r.URL.Path[n] != '/' {
		fail(w, r, http.StatusNotFound, "there is nothing here; take the address from bailiwick env", "")
		return
	}
	inner := r.Clone(r.Context())
	inner.URL.Path = r.URL.Path[n:]
	inner.URL.RawPath = ""
	h.mux.ServeHTTP(w, inner)
}

func (h *handler) isSelf(host string) bool {
	for _, own := range h.hosts {
		if strings.EqualFold(host, own) {
			return true
		}
	}
	return false
}

// guard refuses everything that is not the verified index.
func (h *handler) guard(w http.ResponseWriter, r *http.Request) {
	host := r.URL.Host
	if host == "" {
		host = r.Host
	}
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if len(host) > 100 {
		host = host[:100] + "..."
	}
	if h.onBlocked != nil {
		h.onBlocked(host)
	}
	fail(w, r, http.StatusForbidden, host+" is not the verified index; nothing vouches for what it sends",
		"This program runs under bailiwick, which lets it install only what verifies.")
}

// fail answers with one sentence.
func fail(w http.ResponseWriter, r *http.Request, status int, message, detail string) {
	problem.Write(w, r, &problem.Problem{Status: status, Message: program + message, Detail: detail})
}

// refuse answers with what the engine says, for files and METADATA.
func refuse(w http.ResponseWriter, r *http.Request, err error) {
	var e *verify.Error
	if !errors.As(err, &e) {
		return // the installer left: there is nobody to answer
	}
	p := &problem.Problem{
		Status: http.StatusForbidden, Message: program + e.Phrase(), Detail: detail(e),
		Type: "tag:bailiwick:" + string(e.Class) + ":" + e.Code,
	}
	switch e.Class {
	case verify.NotFound:
		p.Status = http.StatusNotFound
	case verify.Unreachable:
		p.Status = http.StatusServiceUnavailable
		p.Header = http.Header{"Retry-After": {"1"}}
	case verify.Refused, verify.Unusable:
	}
	problem.Write(w, r, p)
}

// detail is the report without its first line, which says again what the sentence says.
func detail(e *verify.Error) string {
	var lines []string
	for _, line := range e.Report()[1:] {
		lines = append(lines, strings.TrimSpace(line))
	}
	return strings.Join(lines, "\n")
}

// root would be the list of all projects, which nobody needs to install one and which would take every
// bin of the repository to build.
func (h *handler) root(w http.ResponseWriter, r *http.Request) {
	fail(w, r, http.StatusNotFound, "the verified index has one page for each project: ask for simple/PROJECT/", "")
}

func (h *handler) withSlash(w http.ResponseWriter, r *http.Request) {
	h.redirect(w, r, r.PathValue("project"))
}

// redirect leads to the page of a project under its normalised name.
func (h *handler) redirect(w http.ResponseWriter, r *http.Request, name string) {
	project, err := pypi.ParseProject(name)
	if err != nil {
		fail(w, r, http.StatusNotFound, err.Error(), "")
		return
	}
	target := h.prefix + "/simple/" + project.String() + "/"
	if r.URL.RawQuery != "" {
		target += "?" + r.URL.RawQuery
	}
	http.Redirect(w, r, target, http.StatusMovedPermanently)
}

// project serves the page of a project, built from verified targets.
func (h *handler) project(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("project")
	if !pypi.IsNormalized(name) {
		h.redirect(w, r, name)
		return
	}
	project, err := pypi.ParseProject(name)
	if err != nil {
		fail(w, r, http.StatusNotFound, err.Error(), "")
		return
	}
	w.Header().Set("Vary", "Accept")
	form, err := simple.Negotiate(strings.Join(r.Header.Values("Accept"), ", "), r.URL.Query().Get("format"))
	if err != nil {
		fail(w, r, http.StatusNotAcceptable, err.Error(), "")
		return
	}
	listing, err := h.engine.Project(r.Context(), project)
	if err != nil {
		h.noPage(w, r, err)
		return
	}
	h.send(w, r, page(listing).Render(form), form.ContentType())
}

// page turns a listing into an index page. Addresses are relative to the page's own.
func page(l *verify.Listing) *simple.Page {
	p := &simple.Page{Name: l.Project.String(), Status: l.Status.Word, StatusReason: l.Status.Reason}
	for _, f := range l.Files {
		entry := f.Entry
		entry.URL = "../../files/" + p.Name + "/" + tag(entry.SHA256) + "/" + escape(entry.Filename)
		p.Files = append(p.Files, entry)
	}
	return p
}

// tag is the beginning of a file's hash: it makes addresses change with the content, so that caches
// may keep what they have, and keeps installers' output readable. Nothing is verified by it.
func tag(sum [sha256.Size]byte) string { return hex.EncodeToString(sum[:8]) }

// escape encodes a file name for a path; "+" too, which some clients read as a blank.
func escape(name string) string {
	return strings.ReplaceAll(url.PathEscape(name), "+", "%2B")
}

// send answers with a page, or with "not modified".
func (h *handler) send(w http.ResponseWriter, r *http.Request, body []byte, contentType string) {
	sum := sha256.Sum256(body)
	etag := `"` + hex.EncodeToString(sum[:16]) + `"`
	header := w.Header()
	header.Set("ETag", etag)
	header.Set("Cache-Control", "no-cache") // ask again each time: the engine knows what is current
	if r.Header.Get("If-None-Match") == etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	header.Set("Content-Type", contentType)
	header.Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(body) // the installer may have left
}

// noPage answers where there is no page to show. pip hides the text of every error status on a page,
// but prints a Content-Type that it does not know. uv does the reverse; 401, 403 and 404 it takes for
// "no such project here".
func (h *handler) noPage(w http.ResponseWriter, r *http.Request, err error) {
	var e *verify.Error
	if !errors.As(err, &e) || e.Class == verify.NotFound || e.Class == verify.Unreachable {
		refuse(w, r, err)
		return
	}
	if strings.HasPrefix(r.Header.Get("User-Agent"), "uv/") {
		fail(w, r, http.StatusConflict, e.Phrase(), detail(e))
		return
	}
	sentence := problem.Phrase(program + e.Phrase())
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set(problem.HeaderMessage, sentence)
	w.Header().Set("Content-Type", `application/x-bailiwick-refusal; reason="`+quotable(sentence)+`"`)
	_, _ = w.Write([]byte(program + strings.Join(e.Report(), "\n") + "\n"))
}

// quotable makes a phrase fit between quotes in a header.
func quotable(s string) string {
	return strings.NewReplacer(`"`, "'", `\`, "/").Replace(s)
}
