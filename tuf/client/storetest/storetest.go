// Package storetest is the contract of client.Store as tests: every store runs
// them, and a test that fails names the promise that was broken. It uses nothing
// but the interface.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"testing"

	"example.com/bailiwick/tuf/client"
)

// names are such as package client makes: durable ones, roots, cached roles.
var names = []string{
	"root.json", "timestamp.json", "snapshot.json", "targets.json", "roots/1.root.json", "roots/27.root.json",
	"project.flask.json", "claimed-3f.json", "%2e.json", "%2f%2e%2e%2fetc.json", "%-00ff.json", "-.json", "%52oot.json",
}

// bad are names that lead elsewhere, or mean something to file systems.
var bad = []string{
	"", ".", "..", "../x.json", "/x.json", "roots/../x.json", "roots/roots/1.root.json", "other/x.json",
	"x", "X.json", "a b.json", "roots/", "roots", "lock", "tmp/1", ".json", ".hidden.json", "a\x00.json", `a\b.json`, "a:b.json",
}

// Run runs the contract tests. open returns an empty store, different each time.
func Run(t *testing.T, open func(t *testing.T) client.Store) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, client.Store){
		"what was never saved does not exist":        absent,
		"load returns the last save":                 lastSave,
		"what is loaded and saved is not shared":     notShared,
		"names do not touch each other":              apart,
		"remove drops a name, once or more":          remove,
		"names that lead elsewhere are refused":      elsewhere,
		"the lock is held by one":                    lockExcludes,
		"waiting for the lock ends with the context": lockContext,
		"saves at the same time do not mix":          noMixture,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

func absent(t *testing.T, s client.Store) {
	for _, name := range names {
		if data, err := s.Load(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %q, %v", name, data, err)
		}
	}
}

func lastSave(t *testing.T, s client.Store) {
	for _, name := range names {
		for _, data := range [][]byte{[]byte("one"), {}, []byte("longer than one"), []byte("short"), []byte("short"), bytes.Repeat([]byte{0, 255}, 1<<16)} {
			if err := s.Save(name, data); err != nil {
				t.Fatalf("saving %s: %v", name, err)
			}
			if got, err := s.Load(name); err != nil || !bytes.Equal(got, data) || got == nil {
				t.Fatalf("%s: loaded %.20q, %v after saving %.20q", name, got, err, data)
			}
		}
	}
}

func notShared(t *testing.T, s client.Store) {
	data := []byte("data")
	must(t, s.Save("root.json", data))
	data[0] = 'X'
	got, err := s.Load("root.json")
	must(t, err)
	got[1] = 'X'
	if again, err := s.Load("root.json"); err != nil || string(again) != "data" {
		t.Errorf("%q, %v", again, err)
	}
}

func apart(t *testing.T, s client.Store) {
	for _, name := range names {
		must(t, s.Save(name, []byte(name)))
	}
	must(t, s.Remove(names[0]))
	for _, name := range names[1:] {
		if got, err := s.Load(name); err != nil || string(got) != name {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func remove(t *testing.T, s client.Store) {
	for _, name := range names {
		must(t, s.Remove(name))
		must(t, s.Save(name, []byte("x")))
		must(t, s.Remove(name))
		must(t, s.Remove(name))
		if _, err := s.Load(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there: %v", name, err)
		}
	}
}

func elsewhere(t *testing.T, s client.Store) {
	for _, name := range bad {
		if err := s.Save(name, []byte("x")); err == nil {
			t.Errorf("%q was saved", name)
		}
		if data, err := s.Load(name); err == nil {
			t.Errorf("%q was loaded: %q", name, data)
		}
	}
}

func lockExcludes(t *testing.T, s client.Store) {
	var wg sync.WaitGroup
	held, rounds := 0, 0 // guarded by the lock under test; the race detector watches
	for range 4 {
		wg.Go(func() {
			for range 5 {
				unlock, err := s.Lock(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				held++
				if held != 1 {
					t.Errorf("%d hold the lock", held)
				}
				rounds++
				held--
				unlock()
			}
		})
	}
	wg.Wait()
	if rounds != 20 {
		t.Errorf("%d rounds", rounds)
	}
}

func lockContext(t *testing.T, s client.Store) {
	unlock, err := s.Lock(t.Context())
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if again, err := s.Lock(ctx); !errors.Is(err, context.Canceled) {
		if err == nil {
			again()
		}
		t.Errorf("Lock returned %v", err)
	}
	unlock()
	unlock, err = s.Lock(t.Context())
	must(t, err)
	unlock()
}

func noMixture(t *testing.T, s client.Store) {
	var wg sync.WaitGroup
	must(t, s.Save("a.json", bytes.Repeat([]byte("0"), 1000)))
	for i := range 4 {
		wg.Go(func() {
			data := bytes.Repeat([]byte(fmt.Sprint(i)), 1000*(i+1))
			for range 10 {
				if err := s.Save("a.json", data); err != nil {
					t.Error(err)
				}
				got, err := s.Load("a.json")
				if err != nil || len(got) == 0 || len(bytes.Trim(got, string(got[:1]))) != 0 || len(got)%1000 != 0 {
					t.Errorf("%d bytes, %v", len(got), err)
				}
			}
		})
	}
	wg.Wait()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Outcome is how a change of a Faulty store goes wrong.
type Outcome string

// How a change goes wrong.
const (
	Failed Outcome = "error"           // nothing happens, and the caller learns
	Lost   Outcome = "lost"            // nothing happens, and the caller believes it did
	Torn   Outcome = "torn"            // half of the bytes are there, and the caller learns
	Died   Outcome = "done, then dies" // it happened, and everything after fails
)

// ErrInjected is what a Faulty store returns.
var ErrInjected = errors.New("injected fault")

// Faulty wraps a store and lets one change go wrong: the one with number At,
// counted from 0. After Torn, Failed and Died, no further change happens, as
// after a kill. Safe for concurrent use.
type Faulty struct {
	client.Store
	At  int
	How Outcome

	mu   sync.Mutex
	n    int
	dead bool
}

// Changes returns how many changes were asked for.
func (f *Faulty) Changes() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.n
}

func (f *Faulty) next() (how Outcome, now bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dead {
		return Failed, true
	}
	now = f.n == f.At
	f.n++
	f.dead = now && f.How != Lost
	return f.How, now
}

// Save implements client.Store.
func (f *Faulty) Save(name string, data []byte) error {
	how, now := f.next()
	switch {
	case !now:
		return f.Store.Save(name, data)
	case how == Lost:
		return nil
	case how == Torn:
		return errors.Join(ErrInjected, f.Store.Save(name, data[:len(data)/2]))
	case how == Died:
		return f.Store.Save(name, data)
	}
	return ErrInjected
}

// Remove implements client.Store.
func (f *Faulty) Remove(name string) error {
	how, now := f.next()
	switch {
	case !now:
		return f.Store.Remove(name)
	case how == Lost:
		return nil
	case how == Died:
		return f.Store.Remove(name)
	}
	return ErrInjected
}
