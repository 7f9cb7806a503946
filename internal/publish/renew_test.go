package publish_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.com/bailiwick/internal/ledger"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/publish/publishtest"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/trust"
)

// logs gathers log lines.
type logs struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logs) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logs) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.buf.String(), text)
}

// installable fails the test unless a client that comes now can find the file.
func installable(t *testing.T, p *publish.Publisher, c publish.AddFile) {
	t.Helper()
	v := p.Current()
	stage := v.Set().Next(time.Now()) // a client that has seen this very publication
	ts, err := stage.Done()
	if err != nil {
		t.Fatal(err)
	}
	snapshots, err := ts.Accept(v.Timestamp())
	if err != nil {
		t.Fatal(err)
	}
	targets, ok := snapshots.Keep()
	if !ok {
		t.Fatalf("at %v the snapshot is no longer good", time.Now())
	}
	set, ok := targets.Keep()
	if !ok {
		t.Fatalf("at %v the targets role is no longer good", time.Now())
	}
	load := func(role tuf.RoleName, meta tuf.Meta) ([]byte, error) {
		return v.Metadata(t.Context(), role, meta.Version)
	}
	if _, err := set.Find(v.Layout().Path(c.File.Project, c.File.Filename), load); err != nil {
		t.Fatalf("at %v: %v", time.Now(), err)
	}
}

func TestRenewalWithoutAnyoneAsking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := ledger.NewMemory()
		keys := publishtest.Create(t, l, publishtest.Options{Now: time.Now()})
		var out logs
		p := publishtest.Run(t, publish.Config{
			Ledger: l, Signers: keys.Online(), Now: time.Now, Log: slog.New(slog.NewTextHandler(&out, nil)),
		})
		c := add(t, wheel, "a")
		must(t, p, c)
		first := p.Current().Number()

		// The offline bins of the claimed tree live longest of all but half a year is near.
		for day := range 360 {
			time.Sleep(24*time.Hour + 7*time.Minute)
			synctest.Wait()
			installable(t, p, c)
			if age := time.Since(p.Current().Set().Timestamp().Expires().Add(-24 * time.Hour)); age > 6*time.Hour+6*time.Minute {
				t.Fatalf("on day %d the timestamp is %v old", day, age)
			}
		}
		if n := p.Current().Number() - first; n < 4*350 || n > 6*360 {
			t.Errorf("%d publications in 360 days without a change, want about four a day", n)
		}
		roles, err := l.Roles(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range roles {
			switch {
			case strings.HasPrefix(string(r.Name), "unclaimed-") && (r.Version < 6 || r.Version > 8):
				t.Errorf("%s has version %d after 360 days of 90-day lives renewed at 60", r.Name, r.Version)
			case strings.HasPrefix(string(r.Name), "claimed") && r.Version != 1:
				t.Errorf("%s has version %d; the publisher has no key for it", r.Name, r.Version)
			}
		}
		if n := out.count("offline roles expire soon"); n < 20 || n > 30 {
			t.Errorf("%d warnings in the last 25 days of the offline roles, want one a day", n)
		}
		if s := p.Status(); len(s.Expiring) == 0 || s.Failure != nil {
			t.Errorf("status is %+v, want expiring roles and no failure", s)
		}
		if out.count("level=ERROR") > 0 {
			t.Errorf("errors were logged:\n%s", out.buf.String())
		}

		// What people do not sign expires, and that is said.
		time.Sleep(10 * 24 * time.Hour)
		synctest.Wait()
		var refused *trust.RefusedError
		_, err = p.Publish(t.Context(), add(t, "flask-9-py3-none-any.whl", "x"))
		if !errors.Is(err, publish.ErrVerification) && !errors.Is(err, publish.ErrExpired) {
			t.Errorf("with expired offline roles: %v", err)
		}
		if errors.Is(err, publish.ErrVerification) && (!errors.As(err, &refused) || refused.Code != trust.Expired) {
			t.Errorf("the refusal %v does not say that something expired", err)
		}
		if s := p.Status(); s.Failure == nil {
			t.Error("status tells of no failure")
		}
	})
}

func TestRenewalAfterALongPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := ledger.NewMemory()
		keys := publishtest.Create(t, l, publishtest.Options{Now: time.Now(), Bins: 256})
		config := publish.Config{Ledger: l, Signers: keys.Online(), Now: time.Now}
		c := add(t, wheel, "a")
		func() {
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			p, err := publish.Open(ctx, config)
			if err != nil {
				t.Fatal(err)
			}
			go p.Run(ctx)
			must(t, p, c)
		}()
		// Longer than the life of timestamp, snapshot, and every unclaimed bin.
		time.Sleep(150 * 24 * time.Hour)
		p := publishtest.Run(t, config)
		next := add(t, "django-1-py3-none-any.whl", "x")
		must(t, p, next) // at once: it renews what it needs
		installable(t, p, next)
		time.Sleep(time.Minute)
		synctest.Wait()
		installable(t, p, c)
		roles, err := l.Roles(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range roles {
			if strings.HasPrefix(string(r.Name), "unclaimed-") && r.Expires.Before(time.Now()) {
				t.Errorf("%s is expired still", r.Name)
			}
		}
		check(t, l)
	})
}

func TestRenewalSpreads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFaulty(ledger.NewMemory())
		keys := publishtest.Create(t, l, publishtest.Options{Now: time.Now(), Bins: 256})
		p := publishtest.Run(t, publish.Config{Ledger: l, Signers: keys.Online(), Now: time.Now})
		synctest.Wait()
		for range 61 * 24 {
			before := p.Current()
			time.Sleep(time.Hour)
			synctest.Wait()
			changed := 0
			after := p.Current().Set().Snapshot()
			for role, meta := range before.Set().Snapshot().All() {
				if now, _ := after.Lookup(role); now.Version != meta.Version {
					changed++
				}
			}
			if n := p.Current().Number() - before.Number(); n > 0 && changed > int(n)*64 {
				t.Fatalf("%d roles were renewed in %d publications", changed, n)
			}
		}
		check(t, l)
	})
}

func TestRenewalOutlivesFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFaulty(ledger.NewMemory())
		keys := publishtest.Create(t, l, publishtest.Options{Now: time.Now()})
		var out logs
		p := publishtest.Run(t, publish.Config{
			Ledger: l, Signers: keys.Online(), Now: time.Now, Log: slog.New(slog.NewTextHandler(&out, nil)),
		})
		c := add(t, wheel, "a")
		must(t, p, c)
		l.set("Commit", nothingDone)
		time.Sleep(8 * time.Hour)
		synctest.Wait()
		if out.count("renewing metadata failed") == 0 {
			t.Error("nobody was told that the renewal fails")
		}
		l.clear()
		time.Sleep(6 * time.Minute)
		synctest.Wait()
		if s := p.Status(); s.Failure != nil {
			t.Errorf("the ledger works again, and the status is still %v", s.Failure)
		}
		time.Sleep(20 * time.Hour)
		synctest.Wait()
		installable(t, p, c)
	})
}

func TestPruning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFaulty(ledger.NewMemory())
		keys := publishtest.Create(t, l, publishtest.Options{Now: time.Now()})
		p := publishtest.Run(t, publish.Config{Ledger: l, Signers: keys.Online(), Now: time.Now})
		must(t, p, add(t, wheel, "a"))
		has := func(role tuf.RoleName, version int64) bool {
			_, err := l.Metadata(t.Context(), role, version)
			if err != nil && !errors.Is(err, publish.ErrNotFound) {
				t.Fatal(err)
			}
			return err == nil
		}
		time.Sleep(time.Hour)
		must(t, p, add(t, "flask-4-py3-none-any.whl", "a"))
		superseded := time.Now()
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if !has(tuf.RoleSnapshot, 2) || !has("project.flask", 1) {
			t.Error("after ten minutes something is pruned that clients may be asking for")
		}
		l.set("Prune", nothingDone) // must not harm, and must be tried again
		time.Sleep(15 * time.Minute)
		l.clear()
		// Pruning goes by the time of publications, so there has to be one.
		must(t, p, add(t, "other-1-py3-none-any.whl", "a"))
		time.Sleep(6 * time.Minute)
		synctest.Wait()
		if has(tuf.RoleSnapshot, 2) || has(tuf.RoleTimestamp, 2) {
			t.Error("a snapshot and a timestamp are kept after half an hour")
		}
		if !has("project.flask", 1) || !has(tuf.RoleRoot, 1) || !has(tuf.RoleSnapshot, 4) {
			t.Error("a role version went before its time")
		}
		for time.Since(superseded) < 31*time.Hour {
			time.Sleep(time.Hour)
		}
		synctest.Wait()
		if has("project.flask", 1) {
			t.Error("a superseded role version is kept after a day and more")
		}
		if !has("project.flask", 2) || !has(tuf.RoleRoot, 1) || !has(tuf.RoleTargets, 1) {
			t.Error("something current was pruned")
		}
		check(t, l)
	})
}

// TestLeastLifetime: the shortest lives that a server is set to are kept up, with room for failures.
func TestLeastLifetime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lives := policy.DefaultLifetimes()
		for _, d := range []*time.Duration{&lives.Timestamp, &lives.Snapshot, &lives.UnclaimedBin, &lives.UnclaimedProject} {
			*d = publish.LeastLifetime
		}
		l := ledger.NewMemory()
		keys := publishtest.Create(t, l, publishtest.Options{Now: time.Now(), Lifetimes: lives})
		p := publishtest.Run(t, publish.Config{Ledger: l, Signers: keys.Online(), Lifetimes: lives, Now: time.Now})
		c := add(t, wheel, "a")
		must(t, p, c)
		for range 600 {
			time.Sleep(time.Minute)
			synctest.Wait()
			installable(t, p, c)
			roles, err := l.Roles(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range roles {
				if left := time.Until(r.Expires); left < publish.LeastLifetime/6 {
					t.Fatalf("%s is good for another %v only", r.Name, left)
				}
			}
		}
	})
}
