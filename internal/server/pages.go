package server

import (
	"bytes"
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/pypi/simple"
	"example.com/bailiwick/tuf"
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
	key := "projects " + tag
	s.sendPage(w, r, key, form, func() (*content, error) {
		var b bytes.Buffer
		err := simple.WriteProjects(&b, form, func(yield func(string) bool) {
			for _, p := range names {
				if !yield(p.String()) {
					return
				}
			}
		})
		return &content{body: b.Bytes(), tag: tag}, err
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
	s.sendPage(w, r, s.pageKey(p), form, func() (*content, error) {
		page, tag, err := s.index.Project(r.Context(), p)
		if err != nil {
			return nil, err //nolint:wrapcheck // a refusal, or explained by fail
		}
		page.Files = slices.Clone(page.Files)
		for i := range page.Files {
			f := &page.Files[i]
			// Relative, so that it holds under any host name and path prefix.
			f.URL = "../../" + filePath(s.layout, p, f.Filename, f.SHA256)
		}
		return &content{body: page.Render(form), tag: tag, once: s.delegates(r.Context(), p)}, nil
	})
}

// content is a page as it was rendered, and the unquoted entity tag of what it says.
type content struct {
	body []byte
	tag  string
	once bool // see rendered
}

// delegates reports whether a project's role hands on to further roles, whose versions pageKey does
// not name. It errs on the side of yes.
func (s *Server) delegates(ctx context.Context, p pypi.Project) bool {
	view, role := s.publisher.Current(), policy.ProjectRole(p)
	pinned, _ := view.Set().Snapshot().Lookup(role)
	data, err := view.Metadata(ctx, role, pinned.Version)
	return err != nil || bytes.Contains(data, []byte(`"delegations"`))
}

// pageKey names what a project's page is made of: the versions of every role on the way to its files.
// As long as they stay, a rendered page is good, and nobody has to search for the files again.
func (s *Server) pageKey(p pypi.Project) string {
	set := s.publisher.Current().Set()
	key := "project " + p.String()
	for _, role := range append(s.layout.UnclaimedChain(p), tuf.RoleTargets, policy.ProjectRole(p)) {
		pinned, _ := set.Snapshot().Lookup(role) // 0 for a role that is not there
		key += " " + strconv.FormatInt(pinned.Version, 10)
	}
	return key + " " + strconv.FormatInt(set.Root().Version(), 10)
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

// sendPage takes a page from the cache, where key and form name it, or renders it.
func (s *Server) sendPage(w http.ResponseWriter, r *http.Request, key string, form simple.Type, render func() (*content, error)) {
	short := "html"
	if form == simple.JSON {
		short = "json"
	}
	gz := takesGzip(r)
	page, err := s.cache.get(key+" "+short+" "+strconv.FormatBool(gz), func() (*rendered, error) {
		c, err := render()
		if err != nil {
			return nil, err
		}
		page, err := compressed(c.body, c.tag+"-"+short, gz)
		if err == nil {
			page.once = c.once
		}
		return page, err
	})
	if err != nil {
		s.missing(w, r, err)
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
