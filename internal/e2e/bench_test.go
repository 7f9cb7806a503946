package e2e_test

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/bailiwick/internal/needs"
	"example.com/bailiwick/internal/pypi/distmake"
)

// uploader is a client that keeps its connections, as twine and uv do.
func uploader(connections int) *http.Client {
	return &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: connections}}
}

// fill uploads one file to each of n new projects, sixteen at a time.
func (s *site) fill(b *testing.B, n int) {
	b.Helper()
	c := uploader(16)
	var next atomic.Int64
	var group sync.WaitGroup
	for range 16 {
		group.Go(func() {
			for {
				i := next.Add(1)
				if i > int64(n) {
					return
				}
				status, _, err := s.upload(b.Context(), c, fmt.Sprintf("filled-%d", i), "1.0")
				if err != nil || status != http.StatusOK {
					b.Errorf("filling: status %d, %v", status, err)
					return
				}
			}
		})
	}
	group.Wait()
}

// wire is a whole upload request as it goes over the connection, so that the load costs little beside the server on the same cores.
func (s *site) wire(p parcel) []byte {
	host := strings.TrimPrefix(s.url, "http://")
	credentials := base64.StdEncoding.EncodeToString([]byte("__token__:" + s.token))
	head := fmt.Sprintf("POST /legacy/ HTTP/1.1\r\nHost: %s\r\nAuthorization: Basic %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n",
		host, credentials, p.contentType, len(p.body))
	return append([]byte(head), p.body...)
}

// load uploads b.N files with the given number of clients at once, spread over the thousand projects (or as many as there are), and
// reports latencies and rate.
func (s *site) load(b *testing.B, clients, projects int) {
	b.Helper()
	latencies := make([]time.Duration, b.N)
	requests := make([][]byte, b.N)
	run := time.Now().UnixNano()
	for i := range requests {
		requests[i] = s.wire(pack(fmt.Sprintf("filled-%d", 1+i%projects), fmt.Sprintf("2.%d.%d", run, i)))
	}
	var next atomic.Int64
	b.ResetTimer()
	started := time.Now()
	var group sync.WaitGroup
	for range clients {
		group.Go(func() {
			conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
			if err != nil {
				b.Error(err)
				return
			}
			defer conn.Close()
			answers := bufio.NewReader(conn)
			for i := next.Add(1) - 1; i < int64(b.N); i = next.Add(1) - 1 {
				begin := time.Now()
				if err := roundTrip(conn, answers, requests[i]); err != nil {
					b.Errorf("upload: %v", err)
					return
				}
				latencies[i] = time.Since(begin)
			}
		})
	}
	group.Wait()
	elapsed := time.Since(started)
	b.StopTimer()
	slices.Sort(latencies)
	b.ReportMetric(float64(latencies[len(latencies)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(latencies[len(latencies)*99/100].Microseconds())/1000, "p99-ms")
	b.ReportMetric(float64(b.N)/elapsed.Seconds(), "uploads/s")
}

// roundTrip sends one request and wants it answered with 200.
func roundTrip(conn net.Conn, answers *bufio.Reader, request []byte) error {
	if _, err := conn.Write(request); err != nil {
		return err
	}
	resp, err := http.ReadResponse(answers, nil)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	return err
}

// BenchmarkUpload measures uploads from request to answer, that is to installable, over loopback with the load generator on the same cores.
// The index holds 1,000 projects already. Use a count: -benchtime 3000x.
func BenchmarkUpload(b *testing.B) {
	for _, clients := range []int{1, 32} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			s := newSite(b).start(b)
			s.fill(b, 1000)
			s.load(b, clients, 1000)
		})
	}
}

// BenchmarkUploadBesideManyFiles shows that a publication does not cost more because other projects have many files.
func BenchmarkUploadBesideManyFiles(b *testing.B) {
	for _, files := range []int{0, 5000} {
		b.Run(fmt.Sprintf("other-files=%d", files), func(b *testing.B) {
			s := newSite(b).start(b)
			s.fill(b, 100)
			c := uploader(16)
			var next atomic.Int64
			var group sync.WaitGroup
			for range 16 {
				group.Go(func() {
					for i := next.Add(1); i <= int64(files); i = next.Add(1) {
						status, _, err := s.upload(b.Context(), c, fmt.Sprintf("crowded-%d", i%50), fmt.Sprintf("1.%d", i))
						if err != nil || status != http.StatusOK {
							b.Errorf("filling: status %d, %v", status, err)
							return
						}
					}
				})
			}
			group.Wait()
			s.load(b, 1, 100)
		})
	}
}

// BenchmarkServeMemory reports the server's memory with 10,000 projects; one iteration is enough: -benchtime 1x.
func BenchmarkServeMemory(b *testing.B) {
	for range b.N {
		s := newSite(b).start(b)
		s.fill(b, 10_000)
		b.ReportMetric(vm(b, s.server.Process.Pid, "VmHWM"), "peak-MiB")
		s.stop(b)
		s.start(b)
		get(b, s.url+"/simple/")
		b.ReportMetric(vm(b, s.server.Process.Pid, "VmRSS"), "restarted-MiB")
	}
}

// vm reads a memory figure of a process, in MiB.
func vm(b *testing.B, pid int, field string) float64 {
	b.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		needs.Without(b, fmt.Sprintf("there is no /proc (%v); run the benchmark on Linux", err))
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			kib, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			if err != nil {
				b.Fatal(err)
			}
			return kib / 1024
		}
	}
	b.Fatalf("no %s for process %d", field, pid)
	return 0
}

// BenchmarkInstall compares a verified install of 30 small wheels with plain pip from the same server, interleaved, verified metadata at
// hand from earlier runs; once with the files of earlier runs kept, too, and once without. Use -benchtime 7x for seven rounds.
func BenchmarkInstall(b *testing.B) {
	python := tool(b, "pip-new/bin/python")
	s := newSite(b).start(b).trust(b)
	dist := b.TempDir()
	var names []string
	c := uploader(1)
	for i := range 30 {
		name := fmt.Sprintf("small-%d", i)
		names = append(names, name)
		if status, _, err := s.upload(b.Context(), c, name, "1.0"); err != nil || status != http.StatusOK {
			b.Fatalf("upload: status %d, %v", status, err)
		}
	}
	install := func(verified bool) time.Duration {
		target := filepath.Join(dist, fmt.Sprintf("t%d", time.Now().UnixNano()))
		args := append([]string{"-m", "pip", "install", "--quiet", "--target", target}, names...)
		begin := time.Now()
		if verified {
			s.user(b, append([]string{"run", "--", python}, args...)...).wantCode(b, 0)
		} else {
			command(b, s.dir, s.env("PIP_INDEX_URL="+s.url+"/simple/"), python, args...).wantCode(b, 0)
		}
		return time.Since(begin)
	}
	for _, kept := range []bool{true, false} {
		b.Run(fmt.Sprintf("files-kept=%t", kept), func(b *testing.B) {
			install(true) // warm both
			install(false)
			var plain, verified []time.Duration
			b.ResetTimer()
			for range b.N {
				plain = append(plain, install(false))
				if !kept {
					if err := os.RemoveAll(filepath.Join(s.home, ".cache", "bailiwick")); err != nil {
						b.Fatal(err)
					}
				}
				verified = append(verified, install(true))
			}
			slices.Sort(plain)
			slices.Sort(verified)
			p, v := plain[len(plain)/2], verified[len(verified)/2]
			b.ReportMetric(float64(p.Milliseconds()), "plain-ms")
			b.ReportMetric(float64(v.Milliseconds()), "verified-ms")
			b.ReportMetric(v.Seconds()/p.Seconds(), "ratio")
		})
	}
}

// BenchmarkWheel is the share of the load generator: what making one small wheel costs.
func BenchmarkWheel(b *testing.B) {
	for i := range b.N {
		distmake.Wheel("generated", strconv.Itoa(i), distmake.Options{})
	}
}
