package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"example.com/bailiwick/internal/testrepo"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/client"
	"example.com/bailiwick/tuf/trust"
)

func flask(t *testing.T) (*testrepo.Repo, tuf.TargetPath) {
	t.Helper()
	r := testrepo.New(t, testrepo.Options{})
	r.Bailiwick(testrepo.Project{Name: "flask", Claimed: true, Files: map[string][]byte{"f": []byte("content")}})
	return r, tuf.TargetPath(testrepo.ProjectPath("flask", "f"))
}

func requestsOf(r *testrepo.Repo, do func()) string {
	r.ResetRequests()
	do()
	return strings.Join(r.Requests(), " ")
}

func TestDelegatedRolesAreFetchedOnce(t *testing.T) {
	r, path := flask(t)
	s := client.NewMemory()
	find := func(v *client.View) func() {
		return func() {
			if _, err := v.Find(t.Context(), path); err != nil {
				t.Fatal(err)
			}
		}
	}
	c := open(t, r, s)
	bin := "claimed-" + testrepo.Bin("flask")
	want := "1.claimed.json 1." + bin + ".json 1.project.flask.json"
	v := refresh(t, c)
	if got := requestsOf(r, find(v)); got != want {
		t.Errorf("fresh: %s", got)
	}
	if got := requestsOf(r, find(v)); got != "" {
		t.Errorf("the same view: %s", got)
	}
	v = refresh(t, c)
	if got := requestsOf(r, find(v)); got != "" {
		t.Errorf("the next view: %s", got)
	}
	v = refresh(t, open(t, r, s))
	if got := requestsOf(r, find(v)); got != "" {
		t.Errorf("another process: %s", got)
	}
	r.Touch("project.flask")
	r.Publish()
	v = refresh(t, open(t, r, s))
	if got := requestsOf(r, find(v)); got != "2.project.flask.json" {
		t.Errorf("a new version: %s", got)
	}
}

// A stored role that was verified through one delegator is held against the
// keys of the one that leads to it now.
func TestStoredRoleIsVerifiedAgainstItsDelegator(t *testing.T) {
	r, path := flask(t)
	s := client.NewMemory()
	if _, err := refresh(t, open(t, r, s)).Find(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	bin := "claimed-" + testrepo.Bin("flask")
	r.Undelegate(bin, "project.flask")
	r.AddProject(testrepo.Project{Name: "flask", Claimed: true, Holders: testrepo.One("new maintainer")})
	r.SignWith["project.flask"] = testrepo.Keys("flask", 1)
	r.Publish()
	_, err := refresh(t, open(t, r, s)).Find(t.Context(), path)
	refused(t, err, trust.Threshold, "project.flask")
	delete(r.SignWith, "project.flask")
	r.Touch("project.flask")
	r.Publish()
	if _, err := refresh(t, open(t, r, s)).Find(t.Context(), path); err != nil {
		t.Error(err)
	}
}

func TestRefusedRolesAreNotStored(t *testing.T) {
	r, path := flask(t)
	for name, attack := range map[string]func(){
		"unsigned": func() { r.DropSignatures("project.flask") },
		"attacker": func() { r.SwapKey("project.flask") },
		"cut":      func() { r.Truncate(r.FileName("project.flask"), 80) },
	} {
		t.Run(name, func(t *testing.T) {
			s := client.NewMemory()
			r.Restore("project.flask")
			attack()
			v := refresh(t, open(t, r, s))
			for range 2 {
				if _, err := v.Find(t.Context(), path); err == nil || errors.Is(err, trust.ErrNotFound) {
					t.Fatalf("Find: %v", err)
				}
			}
			if data, err := s.Load("project.flask.json"); err == nil {
				t.Errorf("stored: %.40q", data)
			}
			if data, err := s.Load("claimed.json"); err != nil {
				t.Errorf("what verified on the way is lost: %.40q, %v", data, err)
			}
			r.Restore("project.flask")
			if _, err := v.Find(t.Context(), path); err != nil {
				t.Errorf("the same view, once the repository is honest: %v", err)
			}
		})
	}
}

func TestMissingAndUnreachableDiffer(t *testing.T) {
	r, path := flask(t)
	v := refresh(t, open(t, r, client.NewMemory()))
	r.Break("1.claimed.json", testrepo.Fault{Err: &client.NetworkError{URL: "u", Err: io.ErrUnexpectedEOF}})
	_, err := v.Find(t.Context(), path)
	refused(t, err, trust.Unavailable, "claimed")
	var network *client.NetworkError
	if !errors.As(err, &network) {
		t.Errorf("no network error in %v", err)
	}
	r.Break("1.claimed.json", testrepo.Fault{})
	r.Remove("1.claimed.json")
	_, err = v.Find(t.Context(), path)
	refused(t, err, trust.Missing, "claimed")
	if !errors.Is(err, client.ErrAbsent) {
		t.Errorf("no ErrAbsent in %v", err)
	}
	r.Endless("1.claimed.json")
	_, err = v.Find(t.Context(), path)
	refused(t, err, trust.Length, "claimed")
	if _, err = v.List(t.Context(), "0/none"); err == nil {
		t.Error("a list without claimed")
	}
	if e := v.Explain(t.Context(), path); e.Err == nil || len(e.Steps) != 2 {
		t.Errorf("%+v", e)
	}
	r.Break("1.claimed.json", testrepo.Fault{})
	r.Restore("claimed")
	if _, err := v.Role(t.Context(), "claimed", "claimed-0", "unclaimed"); err != nil {
		t.Errorf("once it is there: %v", err)
	}
}

// gate is a fetcher whose metadata waits until it is opened.
type gate struct {
	client.Fetcher
	waiting chan string
	open    chan struct{}
}

func (g *gate) Metadata(ctx context.Context, name string, limit int64) ([]byte, error) {
	g.waiting <- name
	select {
	case <-g.open:
		return g.Fetcher.Metadata(ctx, name, limit)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func TestParallelFindsShareRequests(t *testing.T) {
	r, path := flask(t)
	s := client.NewMemory()
	refresh(t, open(t, r, s))
	synctest.Test(t, func(t *testing.T) {
		g := &gate{Fetcher: r, waiting: make(chan string, 100), open: make(chan struct{})}
		c, err := client.New(client.Config{Fetcher: g, Store: s, Root: r.Root(1), Now: r.Now})
		if err != nil {
			t.Fatal(err)
		}
		online := refreshThrough(t, c, g)
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				if _, err := online.Find(t.Context(), path); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		if n := len(g.waiting); n != 1 {
			t.Errorf("%d requests for the first role at once", n)
		}
		close(g.open)
		wg.Wait()
		close(g.waiting)
		seen := map[string]int{}
		for name := range g.waiting {
			seen[name]++
		}
		if len(seen) != 3 {
			t.Errorf("requests %v", seen)
		}
		for name, n := range seen {
			if n != 1 {
				t.Errorf("%s was fetched %d times", name, n)
			}
		}
	})
}

// refreshThrough lets a refresh pass a gate and empties its log.
func refreshThrough(t *testing.T, c *client.Client, g *gate) *client.View {
	t.Helper()
	pass := g.open
	g.open = make(chan struct{})
	close(g.open)
	v := refresh(t, c)
	for len(g.waiting) > 0 {
		<-g.waiting
	}
	g.open = pass
	return v
}

// Who waits for another's request is not harmed when that one gives up.
func TestFollowersOutliveTheLeader(t *testing.T) {
	r, path := flask(t)
	synctest.Test(t, func(t *testing.T) {
		g := &gate{Fetcher: r, waiting: make(chan string, 100), open: make(chan struct{})}
		c, err := client.New(client.Config{Fetcher: g, Store: client.NewMemory(), Root: r.Root(1), Now: r.Now})
		if err != nil {
			t.Fatal(err)
		}
		v := refreshThrough(t, c, g)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := v.Find(ctx, path); !errors.Is(err, context.Canceled) {
				t.Errorf("the leader: %v", err)
			}
		})
		synctest.Wait()
		for range 3 {
			wg.Go(func() {
				if _, err := v.Find(t.Context(), path); err != nil {
					t.Errorf("a follower: %v", err)
				}
			})
		}
		impatient, cancelImpatient := context.WithCancel(t.Context())
		wg.Go(func() {
			if _, err := v.Find(impatient, path); !errors.Is(err, context.Canceled) {
				t.Errorf("an impatient follower: %v", err)
			}
		})
		synctest.Wait()
		cancelImpatient()
		synctest.Wait()
		cancel()
		synctest.Wait()
		close(g.open)
		wg.Wait()
	})
}

func TestDownload(t *testing.T) {
	content := strings.Repeat("0123456789abcdef", 10_000) // 160 kB
	for _, size := range []int{0, 1, client.Held - 1, client.Held, client.Held + 1, 2 * client.Held, 2*client.Held + 1, len(content)} {
		for _, o := range []testrepo.Options{{}, {Plain: true}, {SHA512: true}} {
			r := testrepo.New(t, o)
			r.AddTarget("targets", "dir/file", []byte(content[:size]))
			r.Publish()
			c := open(t, r, client.NewMemory())
			f, err := refresh(t, c).Find(t.Context(), "dir/file")
			if err != nil {
				t.Fatal(err)
			}
			var b strings.Builder
			if err := c.Download(t.Context(), f, &b); err != nil || b.String() != content[:size] {
				t.Errorf("%d bytes, %+v: %d bytes, %v", size, o, b.Len(), err)
			}
		}
	}
}

func TestDownloadRefusals(t *testing.T) {
	content := []byte(strings.Repeat("x", 3*client.Held))
	changed := append([]byte("y"), content[1:]...)
	for name, test := range map[string]struct {
		attack func(r *testrepo.Repo, name string)
		code   trust.Code
	}{
		"first byte swapped": {func(r *testrepo.Repo, name string) { r.ServeTarget(name, changed) }, trust.Hash},
		"last byte swapped": {func(r *testrepo.Repo, name string) {
			r.ServeTarget(name, append([]byte(strings.Repeat("x", len(content)-1)), 'y'))
		}, trust.Hash},
		"short":   {func(r *testrepo.Repo, name string) { r.ServeTarget(name, content[:len(content)-1]) }, trust.Length},
		"empty":   {func(r *testrepo.Repo, name string) { r.ServeTarget(name, nil) }, trust.Length},
		"endless": {func(r *testrepo.Repo, name string) { r.Break("targets/"+name, testrepo.Fault{Endless: true}) }, trust.Hash},
		"missing": {func(r *testrepo.Repo, name string) {
			r.Break("targets/"+name, testrepo.Fault{Err: fmt.Errorf("x: %w", client.ErrAbsent)})
		}, trust.Missing},
	} {
		t.Run(name, func(t *testing.T) {
			r := testrepo.New(t, testrepo.Options{})
			r.AddTarget("targets", "f", content)
			r.Publish()
			c := open(t, r, client.NewMemory())
			f, err := refresh(t, c).Find(t.Context(), "f")
			if err != nil {
				t.Fatal(err)
			}
			test.attack(r, f.FetchName())
			var b strings.Builder
			err = c.Download(t.Context(), f, &b)
			refused(t, err, test.code, "targets")
			if b.Len() > len(content)-client.Held {
				t.Errorf("%d of %d bytes were given away", b.Len(), len(content))
			}
			r.Break("targets/"+f.FetchName(), testrepo.Fault{})
			r.ServeTarget(f.FetchName(), content)
			if err := c.Download(t.Context(), f, io.Discard); err != nil {
				t.Errorf("an honest download afterwards: %v", err)
			}
		})
	}
}

func TestUnknownHashIsUnsupported(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{Plain: true})
	r.AddTarget("targets", "f", []byte("x"))
	r.Roles["targets"].Targets["f"]["hashes"] = map[string]any{"md5": "9dd4e461268c8034f5c8564e155c67a6"}
	r.Publish()
	c := open(t, r, client.NewMemory())
	v, err := c.Refresh(t.Context())
	if err != nil {
		return // refusing the metadata is fine as well
	}
	f, err := v.Find(t.Context(), "f")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := c.Download(t.Context(), f, &b); err == nil || b.Len() > 0 {
		t.Errorf("%d bytes, %v", b.Len(), err)
	}
}

func TestDownloadResumes(t *testing.T) {
	content := []byte(strings.Repeat("0123456789", 20_000))
	r := testrepo.New(t, testrepo.Options{})
	r.AddTarget("targets", "f", content)
	r.Publish()
	c := open(t, r, client.NewMemory())
	f, err := refresh(t, c).Find(t.Context(), "f")
	if err != nil {
		t.Fatal(err)
	}
	for breaks, works := range map[int]bool{1: true, 3: true, 4: false} {
		r.Break("targets/"+f.FetchName(), testrepo.Fault{Breaks: breaks})
		r.ResetRequests()
		var b strings.Builder
		err := c.Download(t.Context(), f, &b)
		var network *client.NetworkError
		switch {
		case works && (err != nil || b.String() != string(content)):
			t.Errorf("%d breaks: %d bytes, %v", breaks, b.Len(), err)
		case !works && !errors.As(err, &network):
			t.Errorf("%d breaks: %v", breaks, err)
		}
		if got := len(r.Requests()); got > 4 {
			t.Errorf("%d breaks: %d requests", breaks, got)
		}
	}
}

func TestReader(t *testing.T) {
	content := []byte(strings.Repeat("0123456789", 20_000))
	r := testrepo.New(t, testrepo.Options{})
	r.AddTarget("targets", "f", content)
	r.Publish()
	c := open(t, r, client.NewMemory())
	f, err := refresh(t, c).Find(t.Context(), "f")
	if err != nil {
		t.Fatal(err)
	}
	body, err := c.Open(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := body.Read(nil); n != 0 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	one := make([]byte, 1)
	if n, err := body.Read(one); n != 1 || err != nil || one[0] != '0' {
		t.Errorf("%d, %v, %q", n, err, one)
	}
	if err := body.Close(); err != nil {
		t.Error(err)
	}
	if n, err := body.Read(one); n != 0 || err == nil || errors.Is(err, io.EOF) {
		t.Errorf("after Close: %d, %v", n, err)
	}
	if err := body.Close(); err != nil {
		t.Error("closing twice:", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Open(ctx, f); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that ended: %v", err)
	}
}
