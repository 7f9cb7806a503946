package server

import (
	"bytes"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"example.com/bailiwick/internal/index"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/pypi/simple"
)

// pageCaching makes installers ask each time, which a 304 answers: what an upload has published is
// there for the next install, without waiting for anybody's cache.
const pageCaching = "public, max-age=0, stale-while-revalidate=10"

// projects serves /simple/, the list of all projects.
func (s *Server) projects(w http.ResponseWriter, r *http.Request) {
	form, ok := s.negotiate(w, r)
	if !ok {
		return
	}
	names, tag, err := s.index.Projects(r.Context())
	if err != nil {
		s.fail(w, r, err)
		return
	}
	s.sendPage(w, r, "projects", tag, form, func() ([]byte, error) {
		var b bytes.Buffer
		err := simple.WriteProjects(&b, form, func(yield func(string) bool) {
			for _, p := range names {
				if !yield(p.String()) {
					return
				}
			}
		})
		return b.Bytes(), err
	})
}

// project serves /simple/PROJECT/, the files of one project.
func (s *Server) project(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("project")
	p, err := pypi.ParseProject(name)
	if err != nil {
		notFound(w, "there is no project of this name")
		return
	}
	if p.String() != name {
		redirect(w, r, "../"+p.String()+"/", http.StatusMovedPermanently)
		return
	}
	form, ok := s.negotiate(w, r)
	if !ok {
		return
	}
	page, tag, err := s.index.Project(r.Context(), p)
	var refusal *index.Refusal
	switch {
	case errors.As(err, &refusal) && refusal.Kind == index.NotFound:
		notFound(w, refusal.Message)
		return
	case err != nil:
		s.fail(w, r, err)
		return
	}
	s.sendPage(w, r, "project "+name, tag, form, func() ([]byte, error) {
		page.Files = slices.Clone(page.Files)
		for i := range page.Files {
			f := &page.Files[i]
			// Relative, so that it holds under any host name and path prefix.
			f.URL = "../../" + filePath(s.layout, p, f.Filename, f.SHA256)
		}
		return page.Render(form), nil
	})
}

// negotiate chooses between HTML and JSON, or answers 406.
func (s *Server) negotiate(w http.ResponseWriter, r *http.Request) (simple.Type, bool) {
	w.Header().Add("Vary", "Accept")
	form, err := simple.Negotiate(strings.Join(r.Header.Values("Accept"), ","), r.URL.Query().Get("format"))
	if err != nil {
		plain(w, http.StatusNotAcceptable, err.Error())
		return "", false
	}
	return form, true
}

// sendPage renders a page, or takes it from the cache, where its entity tag and form name it.
func (s *Server) sendPage(w http.ResponseWriter, r *http.Request, what, tag string, form simple.Type, render func() ([]byte, error)) {
	short := "html"
	if form == simple.JSON {
		short = "json"
	}
	gz := takesGzip(r)
	key := what + " " + tag + " " + short + " " + strconv.FormatBool(gz)
	page, err := s.cache.get(key, func() (*rendered, error) {
		body, err := render()
		if err != nil {
			return nil, err
		}
		return compressed(body, tag+"-"+short, gz)
	})
	if err != nil {
		s.fail(w, r, err)
		return
	}
	h := w.Header()
	h.Set("Content-Type", form.ContentType())
	h.Set("Cache-Control", pageCaching)
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("X-PyPI-Last-Serial", strconv.FormatInt(s.publisher.Current().Number(), 10))
	send(w, r, page)
}

// withoutSlash sends /simple/PROJECT to /simple/NORMALISED/.
func (s *Server) withoutSlash(w http.ResponseWriter, r *http.Request) {
	p, err := pypi.ParseProject(r.PathValue("project"))
	if err != nil {
		notFound(w, "there is no project of this name")
		return
	}
	redirect(w, r, p.String()+"/", http.StatusMovedPermanently)
}

// redirect sends the client on. An address relative to the one it asked for works behind a proxy that
// adds a path prefix; the standard library would make it absolute.
func redirect(w http.ResponseWriter, r *http.Request, to string, status int) {
	if r.URL.RawQuery != "" {
		to += "?" + r.URL.RawQuery
	}
	w.Header().Set("Location", to)
	w.WriteHeader(status)
}
