package verify

import (
	"context"
	"crypto/sha256"
	"errors"
	"strings"
	"sync"
	"time"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/tuf/client"
	"example.com/bailiwick/tuf/trust"
)

// Config is what an Engine is made of.
type Config struct {
	Client  *client.Client   // required
	Fetcher client.Fetcher   // required: the client's own, for METADATA, which lies beside its wheel
	Mirrors []client.Fetcher // likewise, further places
	Cache   Cache            // nil: files are not kept, and ranges not served
	// Source is the base URL of the repository for messages. Credentials in it are left out.
	Source string
	// State is where the client's state is kept, for messages. May be empty.
	State string
	// Refresh is how long one snapshot serves. Zero: for the life of the engine, which is right for
	// one install. Negative: refused.
	Refresh time.Duration
	// Remember is how long a file that did not match stays refused without asking again. Zero: for
	// the life of the engine.
	Remember time.Duration
	// Transfers bounds downloads at the same time. Zero: 8.
	Transfers int
	// Require gives what the user's configuration asks of a project, and false if nothing. It is asked
	// for every listing, and no override goes past it. May be nil.
	Require func(pypi.Project) (Requirement, bool)
	// Memory is what earlier sessions saw of projects. A project that has less now is refused. May be
	// nil: then nothing is remembered.
	Memory Memory
	// Passive leaves Memory as it is, for commands that look and do not install.
	Passive bool
	// Accept says for which projects the user takes less than Memory has. May be nil.
	Accept func(pypi.Project) bool
	Now    func() time.Time // required
	// OnVerdict is called once for every new verdict, from any goroutine. May be nil.
	OnVerdict func(Verdict)
}

// retryAfter is the least time between two attempts to refresh after one failed: installers retry,
// and each retry asks for several pages.
const retryAfter = time.Second

const defaultTransfers = 8

// Engine answers an installer from one verified snapshot at a time.
type Engine struct {
	client    *client.Client
	fetcher   client.Fetcher
	mirrors   []client.Fetcher
	cache     Cache
	source    string
	state     string
	refresh   time.Duration
	remember  time.Duration
	require   func(pypi.Project) (Requirement, bool)
	memory    Memory
	passive   bool
	accept    func(pypi.Project) bool
	now       func() time.Time
	onVerdict func(Verdict)
	slots     chan struct{} // one token for each download that may run

	mu         sync.Mutex // guards everything below
	current    *session   // newest verified snapshot; nil before the first
	trouble    error      // why the newest refresh failed; nil: it did not
	asked      time.Time  // when the newest refresh ended
	refreshing chan struct{}
	hashed     map[[sha256.Size]byte]bool // cached files hashed by this engine
	refused    map[string]refusal         // by target path and digest
	transfers  map[string]*transfer       // running downloads, by target path and digest
	noCache    bool                       // the cache failed to take a file; go on without
	pages      map[pypi.Project]*Listing  // last good listing, to stay listed through trouble
	verdicts   []Verdict
	recorded   map[verdictKey]bool
}

// refusal is a file that did not match.
type refusal struct {
	err  *Error
	when time.Time
}

// New makes an engine. It makes no request.
func New(c Config) (*Engine, error) {
	var problems []error
	if c.Client == nil || c.Fetcher == nil {
		problems = append(problems, errors.New("verify: Client and Fetcher are required"))
	}
	if c.Now == nil {
		problems = append(problems, errors.New("verify: Now is required"))
	}
	if c.Refresh < 0 || c.Remember < 0 || c.Transfers < 0 {
		problems = append(problems, errors.New("verify: Refresh, Remember and Transfers must not be negative"))
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	if c.Transfers == 0 {
		c.Transfers = defaultTransfers
	}
	return &Engine{
		client: c.Client, fetcher: c.Fetcher, mirrors: c.Mirrors, cache: c.Cache, source: withoutCredentials(c.Source), state: c.State,
		refresh: c.Refresh, remember: c.Remember, require: c.Require, memory: c.Memory, passive: c.Passive, accept: c.Accept, now: c.Now, onVerdict: c.OnVerdict,
		slots:  make(chan struct{}, c.Transfers),
		hashed: make(map[[sha256.Size]byte]bool), refused: make(map[string]refusal),
		transfers: make(map[string]*transfer), recorded: make(map[verdictKey]bool), pages: make(map[pypi.Project]*Listing),
	}, nil
}

// Source is the base URL of the repository, without credentials.
func (e *Engine) Source() string { return e.source }

// withoutCredentials cuts user and password out of a URL for messages.
func withoutCredentials(url string) string {
	scheme, rest, ok := strings.Cut(url, "://")
	if !ok {
		return url
	}
	authority, path, slash := strings.Cut(rest, "/")
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		authority = authority[at+1:]
	}
	if slash {
		authority += "/" + path
	}
	return strings.TrimRight(scheme+"://"+authority, "/")
}

// session is one verified snapshot and what was read from it.
type session struct {
	view   *client.View
	layout policy.Layout

	mu       sync.Mutex
	listings map[pypi.Project]*listingCall
}

// Refresh makes sure that there is a verified snapshot as fresh as Config asks for. The error is an
// *Error, or that of ctx.
func (e *Engine) Refresh(ctx context.Context) error {
	_, err := e.session(ctx)
	return err
}

// session returns the snapshot in force. With an error it still returns the last good one, if any:
// its pages stay listed while its files are refused.
func (e *Engine) session(ctx context.Context) (*session, error) {
	e.mu.Lock()
	if !e.due(e.now()) {
		defer e.mu.Unlock()
		return e.current, e.trouble
	}
	wait := e.refreshing
	if wait == nil {
		wait = make(chan struct{})
		e.refreshing = wait
		// Not the request's context: other requests wait for the same answer.
		go e.renew(context.WithoutCancel(ctx), wait)
	}
	e.mu.Unlock()
	select {
	case <-wait:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.current, e.trouble
}

// due reports whether it is time to ask the repository; e.mu is held.
func (e *Engine) due(now time.Time) bool {
	since := now.Sub(e.asked)
	switch {
	case e.asked.IsZero():
		return true
	case since < 0: // the clock was set back
		return true
	case e.trouble != nil:
		return since >= retryAfter
	case e.refresh == 0:
		return false
	}
	return since >= e.refresh
}

// renew asks the repository once.
func (e *Engine) renew(ctx context.Context, done chan struct{}) {
	view, err := e.client.Refresh(ctx)
	var next *session
	if err == nil {
		next, err = newSession(view)
	}
	err = e.classify("", err)
	e.mu.Lock()
	switch {
	case err == nil:
		e.adopt(next)
		e.trouble = nil
	case e.stillGood(err):
		e.trouble = nil
	default:
		e.trouble = err
	}
	e.asked = e.now()
	e.refreshing = nil
	trouble := e.trouble
	e.mu.Unlock()
	_ = e.reject(pypi.Project{}, "", trouble)
	close(done)
}

// adopt puts a new snapshot in force; e.mu is held. Listings of an unchanged snapshot stay.
func (e *Engine) adopt(next *session) {
	if old := e.current; old != nil {
		a, b := old.view.Set(), next.view.Set()
		if a.Snapshot().Digest() == b.Snapshot().Digest() && a.Root().Digest() == b.Root().Digest() {
			old.mu.Lock()
			for project, call := range old.listings {
				if call.settled() {
					next.listings[project] = call
				}
			}
			old.mu.Unlock()
		}
	}
	e.current = next
}

// stillGood reports whether the repository merely could not be asked while what was verified last is
// not expired; e.mu is held. How long that may go on is for the timestamp's expiry to say.
func (e *Engine) stillGood(err error) bool {
	var problem *Error
	return e.current != nil && errors.As(err, &problem) && problem.Class == Unreachable &&
		e.now().Before(e.current.view.Set().Expires())
}

func newSession(view *client.View) (*session, error) {
	layout, err := policy.LayoutOf(view.Set().Targets())
	if err != nil {
		return nil, &trust.RefusedError{
			Code: trust.Unsupported, Role: "targets", Version: view.Set().Targets().Version(), Err: err,
		}
	}
	return &session{view: view, layout: layout, listings: make(map[pypi.Project]*listingCall)}, nil
}
