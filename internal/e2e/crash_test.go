package e2e_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"mime/multipart"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/bailiwick/internal/pypi/distmake"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/client"
)

// uploadForm is the request that an uploader sends for a wheel.
func uploadForm(name, version, filename string, data []byte) (contentType string, body []byte) {
	var b bytes.Buffer
	form := multipart.NewWriter(&b)
	sum := sha256.Sum256(data)
	for _, kv := range [][2]string{
		{":action", "file_upload"},
		{"protocol_version", "1"},
		{"metadata_version", "2.1"},
		{"name", name},
		{"version", version},
		{"filetype", "bdist_wheel"},
		{"pyversion", "py3"},
		{"sha256_digest", hex.EncodeToString(sum[:])},
	} {
		_ = form.WriteField(kv[0], kv[1])
	}
	part, _ := form.CreateFormFile("content", filename)
	_, _ = part.Write(data)
	_ = form.Close()
	return form.FormDataContentType(), b.Bytes()
}

// parcel is one wheel, ready to be sent.
type parcel struct {
	contentType string
	body        []byte
	target      string // path under which TUF clients find it
	sum         [32]byte
}

func pack(name, version string) parcel {
	made := distmake.Wheel(name, version, distmake.Options{})
	bin := sha256.Sum256([]byte(name))
	p := parcel{target: fmt.Sprintf("%x/%s/%s", bin[:1], name, made.Name), sum: sha256.Sum256(made.Data)}
	p.contentType, p.body = uploadForm(name, version, made.Name, made.Data)
	return p
}

// send uploads a parcel; the error is that of the connection.
func (s *site) send(ctx context.Context, c *http.Client, p parcel) (status int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+"/legacy/", bytes.NewReader(p.body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", p.contentType)
	req.SetBasicAuth("__token__", s.token)
	resp, err := c.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20))
	return resp.StatusCode, nil
}

// upload makes a wheel and sends it.
func (s *site) upload(ctx context.Context, c *http.Client, name, version string) (status int, p parcel, err error) {
	p = pack(name, version)
	status, err = s.send(ctx, c, p)
	return status, p, err
}

// tufClient is our own client, starting from the root that init printed.
func (s *site) tufClient(t testing.TB) *client.Client {
	t.Helper()
	_, _, root := get(t, s.url+"/metadata/1.root.json")
	if sum := sha256.Sum256(root); hex.EncodeToString(sum[:]) != s.root {
		t.Fatalf("1.root.json has sha256 %x, init said %s", sum, s.root)
	}
	fetcher, err := client.NewHTTPFetcher(client.HTTPConfig{Metadata: s.url + "/metadata", Targets: s.url + "/targets"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fetcher.Close)
	c, err := client.New(client.Config{Fetcher: fetcher, Store: client.NewMemory(), Root: root, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestCrashKeepsEveryAnsweredUpload kills the server at random moments under load. After each restart every upload that was answered
// with 200 is there and verifies, nothing is half there, and a client that was in the middle of an install can finish.
func TestCrashKeepsEveryAnsweredUpload(t *testing.T) {
	const uploaders = 8
	rounds := 8
	if testing.Short() {
		rounds = 2
	}
	s := newSite(t).start(t)
	listen := strings.TrimPrefix(s.url, "http://")
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	acknowledged := map[string][32]byte{}
	user := s.tufClient(t) // one client for the whole life: it would notice any step back

	for round := range rounds {
		var mu sync.Mutex
		ctx, cancel := context.WithCancel(t.Context())
		var group sync.WaitGroup
		for u := range uploaders {
			group.Go(func() {
				c := &http.Client{Transport: &http.Transport{}}
				defer c.CloseIdleConnections()
				for n := 0; ctx.Err() == nil; n++ {
					name := fmt.Sprintf("crash-%d", u)
					status, sent, err := s.upload(ctx, c, name, fmt.Sprintf("%d.%d", round, n))
					if err != nil {
						return // the server is gone: not answered, nothing promised
					}
					if status != http.StatusOK {
						t.Errorf("upload answered %d", status)
						return
					}
					mu.Lock()
					acknowledged[sent.target] = sent.sum
					mu.Unlock()
				}
			})
		}
		time.Sleep(time.Duration(50+random.IntN(400)) * time.Millisecond) // the moment of the crash, not a synchronisation
		before, err := user.Refresh(t.Context())
		if err != nil {
			t.Fatalf("round %d: refresh under load: %v", round, err)
		}
		s.kill()
		cancel()
		group.Wait()
		s.startOn(t, listen)

		finishInstall(t, user, before, acknowledged)
		checkAcknowledged(t, user, acknowledged)
		s.checkPagesAgree(t, user, uploaders)
	}
	if len(acknowledged) < rounds*uploaders {
		t.Fatalf("only %d uploads were answered in %d rounds; this test proved little", len(acknowledged), rounds)
	}
	t.Logf("%d answered uploads survived %d crashes", len(acknowledged), rounds)
}

// finishInstall downloads through a view from before the crash whatever that view lists.
func finishInstall(t *testing.T, user *client.Client, before *client.View, acknowledged map[string][32]byte) {
	t.Helper()
	for target, sum := range acknowledged {
		found, err := before.Find(t.Context(), tuf.TargetPath(target))
		if err != nil {
			continue // published after that view was taken
		}
		var b bytes.Buffer
		if err := user.Download(t.Context(), found, &b); err != nil {
			t.Fatalf("a client in the middle of an install could not finish %s: %v", target, err)
		}
		if sha256.Sum256(b.Bytes()) != sum {
			t.Fatalf("%s: wrong bytes", target)
		}
		return
	}
}

func checkAcknowledged(t *testing.T, user *client.Client, acknowledged map[string][32]byte) {
	t.Helper()
	view, err := user.Refresh(t.Context())
	if err != nil {
		t.Fatalf("refresh after the crash: %v", err)
	}
	for target, sum := range acknowledged {
		found, err := view.Find(t.Context(), tuf.TargetPath(target))
		if err != nil {
			t.Fatalf("%s was answered with 200 and is gone: %v", target, err)
		}
		if got, ok := found.Target.Hashes.SHA256(); !ok || got != sum {
			t.Fatalf("%s: signed hash %x, uploaded %x", target, got, sum)
		}
	}
}

// checkPagesAgree wants every file of every page to be signed and downloadable: nothing half there.
func (s *site) checkPagesAgree(t *testing.T, user *client.Client, uploaders int) {
	t.Helper()
	view, err := user.Refresh(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for u := range uploaders {
		name := fmt.Sprintf("crash-%d", u)
		status, _, body := get(t, s.url+"/simple/"+name+"/", "Accept", "application/vnd.pypi.simple.v1+json")
		if status == http.StatusNotFound {
			continue
		}
		var page struct {
			Files []struct {
				Filename string            `json:"filename"`
				Hashes   map[string]string `json:"hashes"`
			} `json:"files"`
		}
		if err := json.Unmarshal(body, &page); err != nil {
			t.Fatal(err)
		}
		bin := sha256.Sum256([]byte(name))
		for i, f := range page.Files {
			target := fmt.Sprintf("%x/%s/%s", bin[:1], name, f.Filename)
			found, err := view.Find(t.Context(), tuf.TargetPath(target))
			if err != nil {
				t.Fatalf("the page lists %s, the metadata does not: %v", target, err)
			}
			if sum, _ := found.Target.Hashes.SHA256(); hex.EncodeToString(sum[:]) != f.Hashes["sha256"] {
				t.Fatalf("%s: page and metadata disagree", target)
			}
			if i%10 == 0 { // every tenth: the bytes too
				if err := user.Download(t.Context(), found, io.Discard); err != nil {
					t.Fatalf("%s is listed and signed but cannot be downloaded: %v", target, err)
				}
			}
		}
	}
}
