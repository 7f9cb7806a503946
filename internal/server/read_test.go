package server_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/pypi/distmake"
	"example.com/bailiwick/internal/pypi/simple"
	"example.com/bailiwick/tuf"
)

// The numbers are those of the checklist of conventions that the project keeps for index servers.

const (
	jsonType = string(simple.JSON)
	htmlType = string(simple.HTML)
)

func Test01To03FormsOfPages(t *testing.T) {
	s := newSite(t, options{})
	s.publish(t, "flask", "3.1.0", distmake.Options{})
	for _, page := range []string{"/simple/", "/simple/flask/"} {
		for _, c := range []struct{ accept, query, want string }{
			{"", "", "text/html; charset=utf-8"},
			{"*/*", "", "text/html; charset=utf-8"},
			{"text/html", "", "text/html; charset=utf-8"},
			{jsonType, "", jsonType},
			{htmlType, "", htmlType},
			{jsonType + ", " + htmlType + "; q=0.1, text/html; q=0.01", "", jsonType},
			{htmlType + ", " + jsonType, "", jsonType},
			{"application/vnd.pypi.simple.latest+json", "", jsonType},
			{"application/vnd.pypi.simple.latest+html", "", htmlType},
			{"text/html", "?format=" + url.QueryEscape(jsonType), jsonType},
		} {
			var headers []string
			if c.accept != "" {
				headers = append(headers, "Accept: "+c.accept)
			}
			a := s.get(t, page+c.query, headers...).want(t, http.StatusOK).wantHeader(t, "Content-Type", c.want)
			if !strings.Contains(strings.Join(a.Header.Values("Vary"), ","), "Accept") {
				t.Errorf("%s: Vary is %q", page, a.Header.Values("Vary"))
			}
			if isJSON := json.Valid([]byte(a.body)); isJSON != strings.HasSuffix(c.want, "json") {
				t.Errorf("%s with Accept %q: body is %.80s", page, c.accept, a.body)
			}
		}
		s.get(t, page, "Accept: image/png").want(t, http.StatusNotAcceptable).wantText(t, jsonType)
		s.get(t, page+"?format=pdf").want(t, http.StatusNotAcceptable)
	}
}

func Test04NamesAndRedirects(t *testing.T) {
	s := newSite(t, options{})
	s.publish(t, "foo-bar", "1.0", distmake.Options{})
	for path, want := range map[string]string{
		"/simple":                     "/simple/",
		"/simple/Foo.Bar":             "/simple/foo-bar/",
		"/simple/foo-bar":             "/simple/foo-bar/",
		"/simple/foo__bar/":           "/simple/foo-bar/",
		"/simple/FOO-._bar/?format=x": "/simple/foo-bar/?format=x",
		"/legacy":                     "/legacy/",
	} {
		a := s.get(t, path).want(t, http.StatusMovedPermanently)
		to, err := a.Location()
		if err != nil || to.RequestURI() != want {
			t.Errorf("%s redirects to %v (%v), want %s", path, to, err, want)
		}
		// Relative, so that a proxy may put the index below a prefix.
		if location := a.Header.Get("Location"); strings.HasPrefix(location, "/") || strings.Contains(location, "://") {
			t.Errorf("%s redirects to %q, which is not relative", path, location)
		}
	}
	for _, path := range []string{"/simple/absent/", "/simple/-/", "/simple/%2e%2e%2fx/", "/simple/%00/", "/nothing", "/simple/foo-bar/x"} {
		if a := s.get(t, path).want(t, http.StatusNotFound); len(a.body) > 200 {
			t.Errorf("%s: the answer has %d bytes", path, len(a.body))
		}
	}
}

func projectPage(t testing.TB, s *site, name string) (page struct {
	Meta struct {
		APIVersion string `json:"api-version"`
	}
	Files []struct {
		Filename, URL  string
		Hashes         map[string]string
		CoreMetadata   any `json:"core-metadata"`
		Size           int64
		UploadTime     string `json:"upload-time"`
		RequiresPython string `json:"requires-python"`
	}
	Versions []string
},
) {
	t.Helper()
	a := s.get(t, "/simple/"+name+"/", "Accept: "+jsonType).want(t, http.StatusOK)
	if err := json.Unmarshal([]byte(a.body), &page); err != nil {
		t.Fatal(err)
	}
	return page
}

// resolve follows an address on a project's page, as a client does.
func resolve(address string) string { return "/" + strings.TrimPrefix(address, "../../") }

func Test05To12FilesOnAPage(t *testing.T) {
	s := newSite(t, options{})
	wheel := s.publish(t, "local", "1.0+cpu.1", distmake.Options{RequiresPython: ">=3.9,<4"})
	sdist := distmake.Sdist("local", "0.9", distmake.Options{})
	s.send(t, uploadParts(sdist, "local", "0.9")).want(t, http.StatusOK)
	page := projectPage(t, s, "local")
	if page.Meta.APIVersion != "1.4" || len(page.Files) != 2 || strings.Join(page.Versions, " ") != "0.9 1.0+cpu.1" {
		t.Fatalf("page is %+v", page)
	}
	for i, want := range []distmake.File{sdist, wheel} {
		f := page.Files[i]
		if f.Filename != want.Name || f.Size != int64(len(want.Data)) || len(f.Hashes) != 1 || f.Hashes["sha256"] != sha(want.Data) {
			t.Errorf("entry is %+v, want %s", f, want.Name)
		}
		if !regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z$`).MatchString(f.UploadTime) {
			t.Errorf("upload time %q", f.UploadTime)
		}
		// 6: the last segment is the name, and the address holds under any prefix.
		if segments := strings.Split(f.URL, "/"); segments[len(segments)-1] != want.Name || !strings.HasPrefix(f.URL, "../../") {
			t.Errorf("URL of %s is %q", f.Filename, f.URL)
		}
		base, _ := url.Parse("https://pkgs.example.com/prefix/simple/local/")
		at, err := base.Parse(f.URL)
		if err != nil || !strings.HasPrefix(at.Path, "/prefix/files/") {
			t.Errorf("URL of %s resolves to %v", f.Filename, at)
		}
		path := strings.TrimPrefix(at.EscapedPath(), "/prefix")
		if a := s.get(t, path).want(t, http.StatusOK); a.body != string(want.Data) {
			t.Errorf("%s: other bytes", path)
		}
		// A client may write the + of a local version either way.
		s.get(t, strings.ReplaceAll(path, "+", "%2B")).want(t, http.StatusOK)
	}
	// 12: METADATA is served where it is advertised, and only there.
	core, ok := page.Files[1].CoreMetadata.(map[string]any)
	if !ok {
		t.Fatalf("core-metadata of the wheel is %v", page.Files[1].CoreMetadata)
	}
	a := s.get(t, resolve(page.Files[1].URL)+".metadata").want(t, http.StatusOK).wantText(t, "Name: local", "Version: 1.0+cpu.1")
	if core["sha256"] != sha([]byte(a.body)) {
		t.Errorf("core-metadata is %v, the served bytes have %s", core, sha([]byte(a.body)))
	}
	if v := page.Files[0].CoreMetadata; v == nil || v == false {
		s.get(t, resolve(page.Files[0].URL)+".metadata").want(t, http.StatusNotFound)
	}
}

func Test16Files(t *testing.T) {
	s := newSite(t, options{})
	f := s.publish(t, "flask", "3.1.0", distmake.Options{Payload: 200_000})
	path := resolve(projectPage(t, s, "flask").Files[0].URL)
	etag := `"` + sha(f.Data) + `"`
	whole := s.get(t, path, "Accept-Encoding: gzip").want(t, http.StatusOK).
		wantHeader(t, "Cache-Control", "public, max-age=31536000, immutable").wantHeader(t, "ETag", etag).
		wantHeader(t, "Accept-Ranges", "bytes").wantHeader(t, "Content-Type", "application/octet-stream").
		wantHeader(t, "Content-Encoding", "").wantHeader(t, "Content-Length", strconv.Itoa(len(f.Data)))
	if whole.body != string(f.Data) {
		t.Error("other bytes than uploaded")
	}
	head := s.do(t, http.MethodHead, path, nil).want(t, http.StatusOK)
	for _, name := range []string{"Content-Length", "ETag", "Content-Type", "Accept-Ranges", "Cache-Control", "Last-Modified"} {
		if got, want := head.Header.Get(name), whole.Header.Get(name); got != want || got == "" {
			t.Errorf("HEAD: %s is %q, GET says %q", name, got, want)
		}
	}
	tail := s.get(t, path, "Range: bytes=-65536").want(t, http.StatusPartialContent)
	if tail.body != string(f.Data[len(f.Data)-65536:]) {
		t.Error("the last 64 KiB are other bytes")
	}
	s.get(t, path, "Range: bytes=5-9", "If-Range: "+etag).want(t, http.StatusPartialContent)
	s.get(t, path, "Range: bytes=5-9", `If-Range: "other"`).want(t, http.StatusOK)
	s.get(t, path, "Range: bytes=999999999-").want(t, http.StatusRequestedRangeNotSatisfiable)
	s.get(t, path, "If-None-Match: "+etag).want(t, http.StatusNotModified)
	wrong := strings.Replace(path, sha(f.Data), strings.Repeat("0", 64), 1)
	s.get(t, wrong).want(t, http.StatusNotFound).wantHeader(t, "Cache-Control", "no-cache")
	s.get(t, wrong+".metadata").want(t, http.StatusNotFound)
	s.do(t, http.MethodPost, path, nil).want(t, http.StatusMethodNotAllowed).wantHeader(t, "Allow", "GET, HEAD")
}

func Test17CachingOfPages(t *testing.T) {
	s := newSite(t, options{})
	for i := range 30 {
		s.publish(t, "flask", "1."+strconv.Itoa(i), distmake.Options{})
	}
	seen := map[string]string{}
	for _, accept := range []string{"text/html", jsonType} {
		for _, coding := range []string{"identity", "gzip"} {
			a := s.get(t, "/simple/flask/", "Accept: "+accept, "Accept-Encoding: "+coding).want(t, http.StatusOK)
			etag := a.Header.Get("ETag")
			if other, taken := seen[etag]; taken || !strings.HasPrefix(etag, `"`) {
				t.Errorf("%s %s has the entity tag %s of %s", accept, coding, etag, other)
			}
			seen[etag] = accept + " " + coding
			body := []byte(a.body)
			if coding == "gzip" {
				a.wantHeader(t, "Content-Encoding", "gzip")
				zr, err := gzip.NewReader(bytes.NewReader(body))
				if err != nil {
					t.Fatal(err)
				}
				if body, err = io.ReadAll(zr); err != nil {
					t.Fatal(err)
				}
			} else {
				a.wantHeader(t, "Content-Encoding", "")
			}
			if !bytes.Contains(body, []byte("flask-1.29-py3-none-any.whl")) {
				t.Errorf("%s %s: the page lacks the newest file", accept, coding)
			}
			if cc := a.Header.Get("Cache-Control"); !strings.Contains(cc, "max-age=0") || !strings.Contains(cc, "stale-while-revalidate") {
				t.Errorf("Cache-Control is %q", cc)
			}
			a.wantHeader(t, "Access-Control-Allow-Origin", "*").wantHeader(t, "Vary", "Accept, Accept-Encoding")
			for _, sent := range []string{etag, "W/" + etag, `"x", ` + etag, "*"} {
				again := s.get(t, "/simple/flask/", "Accept: "+accept, "Accept-Encoding: "+coding, "If-None-Match: "+sent).want(t, http.StatusNotModified)
				if again.body != "" || again.Header.Get("ETag") != etag {
					t.Errorf("304 with %d bytes, tag %s", len(again.body), again.Header.Get("ETag"))
				}
			}
			head := s.do(t, http.MethodHead, "/simple/flask/", nil, "Accept: "+accept, "Accept-Encoding: "+coding).want(t, http.StatusOK)
			if head.Header.Get("Content-Length") != strconv.Itoa(len(a.body)) || head.Header.Get("ETag") != etag {
				t.Errorf("HEAD says length %s, tag %s", head.Header.Get("Content-Length"), head.Header.Get("ETag"))
			}
		}
	}
	before := s.get(t, "/simple/flask/")
	s.publish(t, "flask", "2.0", distmake.Options{})
	after := s.get(t, "/simple/flask/", "If-None-Match: "+before.Header.Get("ETag")).want(t, http.StatusOK).wantText(t, "flask-2.0")
	// 18: a serial that rises with every change.
	was, _ := strconv.Atoi(before.Header.Get("X-PyPI-Last-Serial"))
	is, _ := strconv.Atoi(after.Header.Get("X-PyPI-Last-Serial"))
	if was < 1 || is <= was {
		t.Errorf("the serial went from %d to %d", was, is)
	}
}

func TestGzipIsANegotiatedChoice(t *testing.T) {
	s := newSite(t, options{})
	for i := range 10 {
		s.publish(t, "flask", "1."+strconv.Itoa(i), distmake.Options{})
	}
	for header, want := range map[string]string{
		"gzip": "gzip", "gzip;q=0": "", "gzip; q=0.5": "gzip", "*": "gzip", "*;q=0": "", "gzip;q=0, *": "", "*;q=0, gzip": "gzip",
		"br, deflate": "", "GZIP": "gzip", "gzip;q=x": "", "identity": "",
	} {
		s.get(t, "/simple/flask/", "Accept-Encoding: "+header).want(t, http.StatusOK).wantHeader(t, "Content-Encoding", want)
	}
}

func Test22MetadataAndTargets(t *testing.T) {
	s := newSite(t, options{})
	f := s.publish(t, "flask", "3.1.0", distmake.Options{})
	view := s.publisher.Current()
	a := s.get(t, "/metadata/timestamp.json").want(t, http.StatusOK).wantHeader(t, "Content-Type", "application/json").
		wantHeader(t, "Cache-Control", "public, max-age=1, must-revalidate")
	if a.body != string(view.Timestamp()) {
		t.Error("timestamp.json is not the current one")
	}
	s.get(t, "/metadata/timestamp.json", "If-None-Match: "+a.Header.Get("ETag")).want(t, http.StatusNotModified)
	snapshot := view.Set().Snapshot()
	for role, version := range map[tuf.RoleName]int64{
		tuf.RoleRoot: 1, tuf.RoleTargets: 1, policy.RoleClaimed: 1, tuf.RoleSnapshot: snapshot.Version(), "project.flask": 1, "unclaimed-0": 1,
	} {
		want, err := view.Metadata(t.Context(), role, version)
		if err != nil {
			t.Fatal(err)
		}
		path := "/metadata/" + strconv.FormatInt(version, 10) + "." + string(role) + ".json"
		a := s.get(t, path).want(t, http.StatusOK).wantHeader(t, "Cache-Control", "public, max-age=31536000, immutable")
		if a.body != string(want) {
			t.Errorf("%s: other bytes", path)
		}
		packed := s.get(t, path, "Accept-Encoding: gzip").want(t, http.StatusOK)
		if packed.Header.Get("Content-Encoding") == "gzip" {
			zr, err := gzip.NewReader(strings.NewReader(packed.body))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(zr); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s: other bytes under gzip (%v)", path, err)
			}
		} else if len(want) >= 1024 {
			t.Errorf("%s is not packed, %d bytes", path, len(want))
		}
	}
	for _, name := range []string{
		"2.root.json", "root.json", "1.timestamp.json", "0.root.json", "01.root.json", "+1.root.json", "-1.root.json", "1.root", "1..json",
		"99999999999999999999.root.json", "1.ROOT.json", "1.project.flask2.json", ".json", "%2e%2e.json",
	} {
		s.get(t, "/metadata/"+name).want(t, http.StatusNotFound).wantHeader(t, "Cache-Control", "no-cache")
	}

	p, err := pypi.ParseProject("flask")
	if err != nil {
		t.Fatal(err)
	}
	dir := "/targets/" + view.Layout().Dir(p) + "/"
	hashed := s.get(t, dir+sha(f.Data)+"."+f.Name).want(t, http.StatusOK).wantHeader(t, "Cache-Control", "public, max-age=31536000, immutable")
	plain := s.get(t, dir+f.Name).want(t, http.StatusOK).wantHeader(t, "Cache-Control", "no-cache")
	if hashed.body != string(f.Data) || plain.body != string(f.Data) {
		t.Error("a target has other bytes")
	}
	s.get(t, dir+sha(f.Data)+"."+f.Name+".metadata").want(t, http.StatusOK).wantText(t, "Name: flask")
	for _, path := range []string{
		dir + strings.Repeat("0", 64) + "." + f.Name, dir + strings.ToUpper(sha(f.Data)) + "." + f.Name, dir + "flask-9-py3-none-any.whl",
		"/targets/zz/flask/" + f.Name, "/targets/0/flasc/" + f.Name, dir + "%2e%2e",
	} {
		s.get(t, path).want(t, http.StatusNotFound)
	}
}

func Test23Health(t *testing.T) {
	s := newSite(t, options{})
	s.get(t, "/healthz").want(t, http.StatusOK)
	s.get(t, "/readyz").want(t, http.StatusOK)
}

func TestHomePageIsEscapedAndRunsNothing(t *testing.T) {
	s := newSite(t, options{})
	s.publish(t, "flask", "3.1.0", distmake.Options{})
	digest := s.publisher.Current().Set().Root().Digest()
	a := s.get(t, "/").want(t, http.StatusOK).wantHeader(t, "Content-Type", "text/html; charset=utf-8").
		wantText(t, "sha256:"+hexOf(digest), "bailiwick trust add "+s.url, "twine upload", s.url+"/legacy/", "1 project<")
	policy := a.Header.Get("Content-Security-Policy")
	if !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
		t.Errorf("Content-Security-Policy is %q", policy)
	}
	_, style, _ := strings.Cut(a.body, "<style>")
	style, _, _ = strings.Cut(style, "</style>")
	sum := sha256.Sum256([]byte(style))
	if !strings.Contains(policy, "'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'") {
		t.Errorf("the policy %q does not allow the page's own style", policy)
	}
	if strings.Contains(a.body, "<script") || strings.Contains(a.body, " style=") {
		t.Error("the page holds script or inline style")
	}
	_, r := s.raw(t, "GET / HTTP/1.1\r\nHost: evil.example.com\"><b>x\r\nConnection: close\r\n\r\n")
	got, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(got, []byte("<b>x")) {
		t.Errorf("a host name from outside is not escaped:\n%s", got)
	}
	s.get(t, "/", "X-Forwarded-Proto: https").wantText(t, "https://"+s.host+"/legacy/")
}

func TestGracefulStop(t *testing.T) {
	s := newSite(t, options{})
	contentType, body := encode(uploadParts(distmake.Wheel("flask", "3.1.0", distmake.Options{Payload: 50_000}), "flask", "3.1.0"))
	conn, r := s.raw(t, "POST /legacy/ HTTP/1.1\r\nHost: x\r\n"+basic("__token__", s.token)+"\r\nContent-Type: "+contentType+
		"\r\nContent-Length: "+strconv.Itoa(len(body))+"\r\n\r\n"+string(body[:len(body)/2]))
	eventually(t, "the upload has begun", func() bool { return s.store.inProgress() == 1 })
	stopped := make(chan error, 1)
	go func() { stopped <- s.stop() }()
	eventually(t, "no new connections", func() bool {
		c, err := (&http.Client{Timeout: time.Second}).Get(s.url + "/healthz")
		if err == nil {
			c.Body.Close()
		}
		return err != nil
	})
	if _, err := conn.Write(body[len(body)/2:]); err != nil {
		t.Fatal(err)
	}
	if line := statusLine(t, r); line != "HTTP/1.1 200 OK" {
		t.Errorf("the upload in progress was answered %q", line)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}
