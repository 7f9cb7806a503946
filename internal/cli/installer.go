package cli

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"example.com/bailiwick/internal/durable"
	"example.com/bailiwick/internal/proxy"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/verify"
	"example.com/bailiwick/tuf/client"
)

const (
	// cacheBytes bounds the verified files that are kept between runs.
	cacheBytes = 4 << 30
	// maxRootBytes is how much of a root file is read.
	maxRootBytes = 1 << 20
	// maxRootVersions is how far a pinned root is looked for, from version 1.
	maxRootVersions = 256
	// How patient the installing side is. Installers give up after 15 seconds without a byte, and
	// retry by themselves.
	upstreamFirstByte = 10 * time.Second
	upstreamIdle      = 15 * time.Second
	// proxyRefresh is how long one snapshot serves in a long-lived proxy.
	proxyRefresh = 10 * time.Second
	// proxyRemember is how long such a proxy holds a file's refusal against retries.
	proxyRemember = time.Minute
)

// installer wires the installing side: configuration, trust state, engine and proxy. The zero
// transport is the default one.
type installer struct {
	env       *Env
	transport http.RoundTripper
}

// pinned is an index together with its root.
type pinned struct {
	index trustIndex
	root  []byte // the pinned root file
	from  string // configuration file that names it
	state string // folder of this root's state
	rules rules  // what the configuration asks of projects
}

// id names the root in addresses.
func (p *pinned) id() string { return p.index.rootHex()[:16] }

// pin finds the index in force and its root.
func (in *installer) pin(ctx context.Context) (*pinned, error) {
	config, from, err := loadTrust(in.env)
	if err != nil {
		return nil, err
	}
	index, err := config.choose(in.env.Getenv("BAILIWICK_INDEX"))
	if err != nil {
		return nil, err
	}
	p, err := in.withRoot(ctx, index, from)
	if err != nil {
		return nil, err
	}
	p.rules, err = loadRules(in.env, config, from)
	return p, err
}

// withRoot gets the pinned root file: from beside the configuration, from the state of earlier runs,
// or, once, from the index.
func (in *installer) withRoot(ctx context.Context, index trustIndex, from string) (*pinned, error) {
	states, err := trustStateFolder(in.env)
	if err != nil {
		return nil, err
	}
	p := &pinned{index: index, from: from, state: filepath.Join(states, index.rootHex())}
	if index.RootFile != "" {
		path := index.RootFile
		if !filepath.IsAbs(path) {
			path = filepath.Join(filepath.Dir(from), path)
		}
		if p.root, err = readBounded(path, maxRootBytes); err != nil {
			return nil, fmt.Errorf("reading the pinned root: %w", err)
		}
		return p, p.checkRoot(path)
	}
	kept := filepath.Join(p.state, "root.json")
	p.root, err = readBounded(kept, maxRootBytes)
	if err == nil && p.checkRoot(kept) == nil {
		return p, nil
	}
	// Lost or damaged: the pin says which file it has to be.
	if p.root, err = in.fetchRoot(ctx, index); err != nil {
		return nil, err
	}
	return p, p.write("root.json", p.root)
}

// checkRoot holds the root file against the pin.
func (p *pinned) checkRoot(path string) error {
	if sum := sha256.Sum256(p.root); hex.EncodeToString(sum[:]) != p.index.rootHex() {
		return fmt.Errorf("%s has SHA-256 %x, but the pin in %s is %s: put the right file there, or change the pin if you know why",
			path, sum, p.from, p.index.Root)
	}
	return nil
}

// write puts a file into the state folder, durably.
func (p *pinned) write(name string, data []byte) error {
	if err := os.MkdirAll(p.state, 0o700); err != nil {
		return fmt.Errorf("making the state folder: %w", err)
	}
	dir, err := os.OpenRoot(p.state)
	if err != nil {
		return fmt.Errorf("opening the state folder: %w", err)
	}
	defer dir.Close()
	if err := durable.Replace(dir, name, data, 0o600); err != nil {
		return fmt.Errorf("writing the state: %w", err)
	}
	return nil
}

// fetcher talks to an index.
func (in *installer) fetcher(url string) (*client.HTTPFetcher, error) {
	f, err := client.NewHTTPFetcher(client.HTTPConfig{
		Metadata: url + "/metadata", Targets: url + "/targets", UserAgent: "bailiwick/" + version(),
		FirstByte: upstreamFirstByte, Idle: upstreamIdle, Retries: 1, Transport: in.transport,
	})
	if err != nil {
		return nil, fmt.Errorf("using index %s: %w", redactURL(url), err)
	}
	return f, nil
}

// fetchRoot looks for the pinned root among the versions that the index has. Nothing of it is trusted
// but what has the pinned hash.
func (in *installer) fetchRoot(ctx context.Context, index trustIndex) ([]byte, error) {
	f, err := in.fetcher(index.URL)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	last := 0
	for n := 1; n <= maxRootVersions; n++ {
		data, err := f.Metadata(ctx, fmt.Sprintf("%d.root.json", n), maxRootBytes)
		var network *client.NetworkError
		switch {
		case errors.Is(err, client.ErrAbsent) && n == 1:
			return nil, fmt.Errorf("%s has no TUF metadata (no metadata/1.root.json): check the address", redactURL(index.URL))
		case errors.Is(err, client.ErrAbsent):
			return nil, exit(exitRefused, fmt.Errorf("none of the %d root versions at %s has the pinned hash %s: compare the pin with what the operators publish",
				last, redactURL(index.URL), index.Root))
		case errors.As(err, &network):
			return nil, exit(exitUnreachable, fmt.Errorf("cannot reach %s: %w", redactURL(index.URL), err))
		case err != nil:
			return nil, fmt.Errorf("fetching root version %d from %s: %w", n, redactURL(index.URL), err)
		}
		if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) == index.rootHex() {
			return data, nil
		}
		last = n
	}
	return nil, exit(exitRefused, fmt.Errorf("none of the first %d root versions at %s has the pinned hash %s", last, redactURL(index.URL), index.Root))
}

// opened is an engine with what has to be closed after it.
type opened struct {
	*verify.Engine
	pinned  *pinned
	closers []func() error
}

// Close gives everything up. Errors are of no use to anyone: all state is already written.
func (o *opened) Close() {
	for i := len(o.closers) - 1; i >= 0; i-- {
		_ = o.closers[i]()
	}
}

// EngineOptions is what whoever opens an engine by [OpenEngine] may have otherwise than an installer.
type EngineOptions struct {
	NoCache bool           // download each file anew, and keep none
	Accept  []pypi.Project // may have less assurance than is remembered, as after [verify.Override]
}

// OpenEngine opens the engine on which the installers of env's user stand: for the index that the user configured, with
// the pinned root and with what earlier runs remember. The index is only asked for the root, if the user's copy is lost.
// An error says what to do: that nothing is configured, say, or that the index has no root with the pinned hash.
// Otherwise closeEngine gives up the engine and all that belongs to it.
func OpenEngine(ctx context.Context, env *Env, opts EngineOptions) (_ *verify.Engine, closeEngine func(), err error) {
	in := &installer{env: env}
	p, err := in.pin(ctx)
	if err != nil {
		return nil, nil, err
	}
	accept := make(acceptFlag, len(opts.Accept))
	for _, project := range opts.Accept {
		accept[project] = true
	}
	o, err := in.open(p, engineOptions{noCache: opts.NoCache, accept: accept})
	if err != nil {
		return nil, nil, err
	}
	return o.Engine, o.Close, nil
}

// engineOptions is what differs between one install and a long-lived proxy.
type engineOptions struct {
	refresh, remember time.Duration
	onVerdict         func(verify.Verdict)
	noCache           bool
	passive           bool       // look, and do not change what is remembered
	accept            acceptFlag // projects that may have less assurance than is remembered
}

// open makes the engine for a pinned index. It makes no request.
func (in *installer) open(p *pinned, opts engineOptions) (_ *opened, err error) {
	o := &opened{pinned: p}
	defer func() {
		if err != nil {
			o.Close()
		}
	}()
	fetcher, err := in.fetcher(p.index.URL)
	if err != nil {
		return nil, err
	}
	o.closers = append(o.closers, func() error { fetcher.Close(); return nil })
	store, err := client.OpenFolder(client.FolderConfig{Path: filepath.Join(p.state, "metadata")})
	if err != nil {
		return nil, exit(exitUnusable, fmt.Errorf("opening the trust state: %w", err))
	}
	o.closers = append(o.closers, store.Close)
	var mirrors []client.Fetcher
	for _, url := range p.index.Mirrors {
		mirror, err := in.fetcher(url)
		if err != nil {
			return nil, err
		}
		o.closers = append(o.closers, func() error { mirror.Close(); return nil })
		mirrors = append(mirrors, mirror)
	}
	c, err := client.New(client.Config{Fetcher: fetcher, Mirrors: mirrors, Store: store, Root: p.root, Now: in.env.Now})
	if err != nil {
		return nil, exit(exitUnusable, fmt.Errorf("the pinned root %s cannot be used: %w", p.index.Root, err))
	}
	config := verify.Config{
		Client: c, Fetcher: fetcher, Mirrors: mirrors, Source: redactURL(p.index.URL), State: filepath.Join(p.state, "metadata"), Refresh: opts.refresh, Remember: opts.remember, Now: in.env.Now,
		Require: p.rules.forIndex(p.index.URL), Passive: opts.passive,
		Accept: func(project pypi.Project) bool { return opts.accept[project] },
		OnVerdict: func(v verify.Verdict) {
			p.note(v)
			if opts.onVerdict != nil {
				opts.onVerdict(v)
			}
		},
	}
	memory := openMemory(p.state, func(warning string) { message(in.env, "%s", warning) })
	config.Memory = memory
	o.closers = append(o.closers, memory.Close)
	if !opts.noCache {
		cache, err := in.openCache()
		if err != nil {
			message(in.env, "going on without a cache: %v", err)
		} else {
			config.Cache = cache
			o.closers = append(o.closers, cache.Close)
		}
	}
	if o.Engine, err = verify.New(config); err != nil {
		return nil, fmt.Errorf("starting verification: %w", err)
	}
	return o, nil
}

func (in *installer) openCache() (*proxy.Cache, error) {
	folder, err := trustCacheFolder(in.env)
	if err != nil {
		return nil, err
	}
	return proxy.OpenCache(filepath.Join(folder, "packages"), cacheBytes, in.env.Now)
}

// installerCaches is the folder for what pip and uv keep while they install from this root.
func (p *pinned) installerCaches(env *Env) (string, error) {
	folder, err := trustCacheFolder(env)
	if err != nil {
		return "", err
	}
	return filepath.Join(folder, "installers", p.id()), nil
}

var secretForm = regexp.MustCompile(`^[0-9A-Z]{20,64}$`)

// secret is the part of the proxy's addresses that only this user knows. It is made once and kept, so
// that addresses stay the same.
func (p *pinned) secret() (string, error) {
	path := filepath.Join(p.state, "secret")
	for range 2 {
		data, err := readBounded(path, 4096)
		if err == nil && secretForm.MatchString(strings.TrimSpace(string(data))) {
			return strings.TrimSpace(string(data)), nil
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("reading the address secret: %w", err)
		}
		if err == nil { // damaged: addresses change once, nothing else is lost
			if err := p.write("secret", []byte(rand.Text()+"\n")); err != nil {
				return "", err
			}
			continue
		}
		if err := p.createSecret(); err != nil {
			return "", err
		}
	}
	return "", fmt.Errorf("%s cannot be kept", path)
}

// createSecret makes the file unless another process just did.
func (p *pinned) createSecret() error {
	if err := os.MkdirAll(p.state, 0o700); err != nil {
		return fmt.Errorf("making the state folder: %w", err)
	}
	dir, err := os.OpenRoot(p.state)
	if err != nil {
		return fmt.Errorf("opening the state folder: %w", err)
	}
	defer dir.Close()
	err = durable.Create(dir, "secret", []byte(rand.Text()+"\n"), 0o600)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("making the address secret: %w", err)
	}
	return nil
}

// start runs a proxy in front of an engine.
func (o *opened) start(ctx context.Context, listen string, anyPort bool, onBlocked func(string)) (*proxy.Proxy, error) {
	secret, err := o.pinned.secret()
	if err != nil {
		return nil, err
	}
	return proxy.Start(ctx, proxy.Config{
		Engine: o.Engine, Listen: listen, AnyPort: anyPort, Root: o.pinned.id(), Secret: secret, OnBlocked: onBlocked,
	})
}

// classCode is the exit code of a class of trouble; 0: it has none of its own.
func classCode(c verify.Class) int {
	switch c {
	case verify.Refused:
		return exitRefused
	case verify.Unusable:
		return exitUnusable
	case verify.Unreachable:
		return exitUnreachable
	case verify.NotFound:
	}
	return 0
}

// report prints a problem in full.
func report(env *Env, e *verify.Error) {
	message(env, "%s", strings.Join(e.Report(), "\n"))
}
