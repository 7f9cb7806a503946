package server

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"html/template"
	"net/http"
	"strings"
	"time"
)

// homeStyle is the page's whole style, allowed by its hash: the page needs nothing else, and a
// policy that forbids everything else costs nothing.
const homeStyle = `body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:3rem auto;padding:0 1rem;color:#222;background:#fff}` +
	`h1{font-size:1.5rem}pre{background:#f4f4f2;padding:.8rem 1rem;overflow-x:auto}code{font-family:ui-monospace,monospace;font-size:.9em;overflow-wrap:anywhere}` +
	`dt{font-weight:600;margin-top:.8rem}dd{margin:0}` +
	`@media (prefers-color-scheme:dark){body{color:#ddd;background:#161616}pre{background:#242424}a{color:#8ab4f8}}`

func homePolicy() string {
	sum := sha256.Sum256([]byte(homeStyle))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}

const homeText = `<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Python package index at {{.Host}}</title>
<style>{{.Style}}</style></head>
<body>
<h1>Python package index at {{.Host}}</h1>
<p>The files here are signed along a chain of keys (TUF). Whoever pins the root below installs only what that chain
vouches for, whatever happens to this server.</p>
<dl>
<dt>Root, version {{.RootVersion}}</dt>
<dd><code>sha256:{{.Root}}</code><br>Compare it with what the operators of this index tell you by another way, then pin it.</dd>
{{if gt .RootVersion 1}}<dt>Root, version 1</dt>
<dd><code>sha256:{{.FirstRoot}}</code><br>The first one. It leads to the newest: either can be pinned.</dd>
{{end -}}
<dt>Current</dt>
<dd>publication {{.Number}} of {{.Time}}, {{.Projects}} {{if eq .Projects 1}}project{{else}}projects{{end}}</dd>
</dl>
<h2>Install</h2>
<pre><code>bailiwick trust add {{.URL}} --root sha256:{{.Root}}
bailiwick pip install PROJECT</code></pre>
<p>Without verification, any installer works with <a href="simple/">{{.URL}}/simple/</a> as its index.</p>
<h2>Upload</h2>
<pre><code>twine upload --repository-url {{.URL}}/legacy/ -u __token__ dist/*</code></pre>
<p>The password is an upload token, which the operators of this index give out.</p>
<h2>For programs</h2>
<p>TUF metadata: <code>{{.URL}}/metadata/</code> (<a href="metadata/timestamp.json">timestamp</a>,
<a href="metadata/{{.RootVersion}}.root.json">root</a>). Targets: <code>{{.URL}}/targets/</code>.</p>
</body>
</html>
`

// homeData is what the page shows; html/template escapes all of it.
type homeData struct {
	Style       template.CSS
	Host, URL   string
	Root        string
	RootVersion int64
	FirstRoot   string
	Number      int64
	Time        string
	Projects    int
}

// home says what this is, what to pin, and the two commands that people come for.
func (s *Server) home(w http.ResponseWriter, r *http.Request) {
	names, _, err := s.index.Projects(r.Context())
	if err != nil {
		s.fail(w, r, err)
		return
	}
	view := s.publisher.Current()
	root := view.Set().Root()
	digest, first := root.Digest(), view.Repository()
	data := homeData{
		Style: template.CSS(homeStyle), //nolint:gosec // a constant of ours
		Host:  r.Host, URL: baseURL(r),
		Root: hex.EncodeToString(digest[:]), RootVersion: root.Version(), FirstRoot: hex.EncodeToString(first[:]),
		Number: view.Number(), Time: view.Time().UTC().Format(time.RFC3339), Projects: len(names),
	}
	var page bytes.Buffer
	if err := s.homePage.Execute(&page, data); err != nil {
		s.fail(w, r, fmt.Errorf("rendering the home page: %w", err))
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", homePolicy())
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-cache")
	h.Add("Vary", "Host, X-Forwarded-Proto")
	sum := sha256.Sum256(page.Bytes())
	send(w, r, &rendered{body: page.Bytes(), etag: `"` + hex.EncodeToString(sum[:8]) + `"`})
}

// baseURL is the address under which the client reached the server, as far as the server can know.
// It is for showing only: host names come from the client.
func baseURL(r *http.Request) string {
	scheme := "http"
	if r.TLS != nil || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https") {
		scheme = "https"
	}
	return scheme + "://" + r.Host
}
