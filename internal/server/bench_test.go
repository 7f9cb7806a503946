package server_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"example.com/bailiwick/internal/pypi/distmake"
)

// BenchmarkUpload measures what an upload costs with everything in memory: HTTP, form, checks and
// publication, the share of the client included.
func BenchmarkUpload(b *testing.B) {
	for _, clients := range []int{1, 32} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			s := newSite(b, options{quiet: true})
			c := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}}
			defer c.CloseIdleConnections()
			var next atomic.Int64
			var group sync.WaitGroup
			b.ResetTimer()
			for range clients {
				group.Go(func() {
					for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
						project, version := "project-"+strconv.FormatInt(i%100, 10), "1."+strconv.FormatInt(i, 10)
						contentType, body := encode(uploadParts(distmake.Wheel(project, version, distmake.Options{}), project, version))
						r, err := http.NewRequestWithContext(b.Context(), http.MethodPost, s.url+"/legacy/", bytes.NewReader(body))
						if err != nil {
							b.Error(err)
							return
						}
						r.Header.Set("Content-Type", contentType)
						r.SetBasicAuth("__token__", s.token)
						resp, err := c.Do(r)
						if err != nil {
							b.Error(err)
							return
						}
						_, _ = io.Copy(io.Discard, resp.Body)
						resp.Body.Close()
						if resp.StatusCode != http.StatusOK {
							b.Errorf("status %s", resp.Status)
							return
						}
					}
				})
			}
			group.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "uploads/s")
		})
	}
}

// benchmarkGet asks for one address again and again over one connection.
func benchmarkGet(b *testing.B, s *site, path string, headers map[string]string) {
	b.Helper()
	c := &http.Client{Transport: &http.Transport{DisableCompression: true}}
	defer c.CloseIdleConnections()
	var size int64
	for b.Loop() {
		r, err := http.NewRequestWithContext(b.Context(), http.MethodGet, s.url+path, nil)
		if err != nil {
			b.Fatal(err)
		}
		for name, value := range headers {
			r.Header.Set(name, value)
		}
		resp, err := c.Do(r)
		if err != nil {
			b.Fatal(err)
		}
		if size, err = io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
			b.Fatalf("%s: %s, %v", path, resp.Status, err)
		}
		resp.Body.Close()
	}
	b.SetBytes(size)
}

// BenchmarkRead measures the addresses that an install asks for.
func BenchmarkRead(b *testing.B) {
	s := newSite(b, options{quiet: true})
	for i := range 200 {
		s.publish(b, "flask", "1."+strconv.Itoa(i), distmake.Options{Payload: 1000})
	}
	found := resolve(projectPage(b, s, "flask").Files[0].URL)
	for what, path := range map[string]string{"page": "/simple/flask/", "timestamp": "/metadata/timestamp.json", "file": found} {
		for _, coding := range []string{"identity", "gzip"} {
			if what == "page" || coding == "identity" {
				b.Run(what+"/"+coding, func(b *testing.B) {
					benchmarkGet(b, s, path, map[string]string{"Accept": jsonType, "Accept-Encoding": coding})
				})
			}
		}
	}
}
