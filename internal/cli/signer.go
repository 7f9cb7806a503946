package cli

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"example.com/bailiwick/internal/custody"
	"example.com/bailiwick/internal/durable"
	"example.com/bailiwick/internal/keys"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/server"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/client"
	"example.com/bailiwick/tuf/trust"
)

// Names in the folder of a signer's keys, which init writes.
const (
	signerTokenName = "token"
	signerState     = "bailiwick-signer"
)

// newSigner runs the isolated signer of strict custody.
func newSigner(env *Env) *cobra.Command {
	spec := signerSpec{}
	var lifetimes map[string]string
	cmd := &cobra.Command{
		Use:   "signer --index URL --keys FOLDER",
		Short: "sign for an index whose server does not hold its keys (custody strict)",
		Long: "Run the isolated signer of an index in strict custody until SIGINT or SIGTERM. It holds the registry and snapshot\n" +
			"keys, calls the index and asks for what there is to sign; it listens to nobody. What the index proposes it\n" +
			"holds against what it has verified itself, from the pinned root on: versions, delegations, files, and the\n" +
			"signatures of maintainers and operators. It signs what can not have been tampered with, and says of the rest why not.\n\n" +
			"The folder of keys is the one that bailiwick init --custody strict --signer-keys made: it also has the\n" +
			"token and the root. The state folder remembers what was signed; keep it with the keys, and never run two.\n\n" +
			"Exit codes: 2 wrong usage, 3 the index does not lead back to the pinned root, or does not let this signer in.",
		Example: "  bailiwick signer --index https://pkgs.example.com --keys /srv/signer/keys --data /srv/signer/state",
		Args:    NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s := settings{Lifetimes: lifetimes}
			var err error
			if spec.lifetimes, err = s.lifetimes(); err != nil {
				return exit(exitUsage, err)
			}
			return runSigner(cmd.Context(), env, spec)
		},
	}
	cmd.AddCommand(newSignerKey(env))
	flags := cmd.Flags()
	flags.StringVar(&spec.index, "index", "", "`URL` of the index")
	flags.StringVar(&spec.keys, "keys", "", "`folder` of the keys to sign with")
	flags.StringVar(&spec.data, "data", signerState, "state `folder`: what was verified and signed")
	flags.StringVar(&spec.token, "token-file", "", "`file` with the token (default FOLDER/"+signerTokenName+" of --keys)")
	flags.StringVar(&spec.root, "root", "", "`sha256:HEX` of the root metadata, or a root file (default FOLDER/"+signerRoot+" of --keys)")
	flags.StringToStringVar(&lifetimes, "lifetime", nil, "`ROLE=TIME`: sign a role for so long at most (default: the standard of an index)")
	return cmd
}

// newSignerKey makes a key for the signer: when an index that exists moves its keys to it, or changes them.
func newSignerKey(env *Env) *cobra.Command {
	var folder string
	cmd := &cobra.Command{
		Use:   "new-key ROLE… --keys FOLDER",
		Short: "make a key for registry or snapshot in the folder of the signer's keys",
		Long: "Make a key for registry or snapshot. Start the signer with it, and it signs from the moment that the operators'\n" +
			"request is published which names it: bailiwick rotate ROLE… --custody strict. Keys that sign no more stay until\n" +
			"you remove them.",
		Example: "  bailiwick signer new-key registry snapshot --keys /srv/signer/keys",
		Args:    cobra.MinimumNArgs(1),
		RunE:    func(_ *cobra.Command, args []string) error { return makeSignerKeys(env, folder, args) },
	}
	cmd.Flags().StringVar(&folder, "keys", "", "`folder` of the signer's keys, made if it is not there")
	return cmd
}

func makeSignerKeys(env *Env, folder string, roles []string) error {
	if folder == "" {
		return usagef("name the folder of the signer's keys with --keys")
	}
	for _, role := range roles {
		if !slices.Contains(movable(), policy.KeyRole(role)) {
			return usagef("%q: a signer holds the keys of registry and snapshot", role)
		}
	}
	if err := makeFolder(folder); err != nil {
		return fmt.Errorf("making the folder of the keys: %w", err)
	}
	for _, role := range roles {
		k, err := keys.Generate(role)
		if err != nil {
			return fmt.Errorf("making a key: %w", err)
		}
		path := filepath.Join(folder, fmt.Sprintf("%s-%.8s.key", role, k.Public().ID()))
		if err := keys.CreateOnline(path, k); err != nil {
			return fmt.Errorf("making a key: %w", err)
		}
		_, _ = fmt.Fprintf(env.Stdout, "%s  %s\n", path, k.Public().ID())
	}
	return nil
}

type signerSpec struct {
	index, keys, data, token, root string
	lifetimes                      policy.Lifetimes
}

// signing is a signer that runs.
type signing struct {
	env    *Env
	signer *custody.Signer
	memory *signerMemory
	index  *signerIndex
	http   *http.Client
	url    string // of the index
	token  string
	keys   []custody.HeldKey
}

func runSigner(ctx context.Context, env *Env, spec signerSpec) (err error) {
	s, err := openSigner(ctx, env, spec)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.index.store.flush(), s.memory.Close()) }()
	return s.run(ctx)
}

// openSigner makes everything ready that needs no network but the first root.
func openSigner(ctx context.Context, env *Env, spec signerSpec) (_ *signing, err error) {
	if spec.index == "" || spec.keys == "" {
		return nil, usagef("name the index with --index URL and the folder of the keys with --keys")
	}
	url, err := indexURL(spec.index)
	if err != nil {
		return nil, exit(exitUsage, err)
	}
	s := &signing{env: env, url: url}
	held, err := signerKeys(spec.keys)
	if err != nil {
		return nil, err
	}
	for _, k := range held {
		s.keys = append(s.keys, custody.HeldKey{Name: k.Name(), Public: k.Public()})
	}
	if s.token, err = signerToken(&spec); err != nil {
		return nil, err
	}
	warnPlain(env, s.url, "signer's token")
	if s.memory, err = openSignerMemory(spec.data); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.memory.Close())
		}
	}()
	in := &installer{env: env}
	root, name, err := s.pinnedRoot(ctx, in, &spec)
	if err != nil {
		return nil, err
	}
	if s.index, err = newSignerIndex(in, url, filepath.Join(spec.data, signerClient), root); err != nil {
		return nil, err
	}
	c := custody.Config{Memory: s.memory, Repository: s.index, Name: name, Lifetimes: spec.lifetimes, Now: env.Now}
	for _, k := range held {
		c.Keys = append(c.Keys, k)
	}
	s.signer, err = custody.NewSigner(c)
	if err != nil {
		return nil, fmt.Errorf("starting the signer: %w", err)
	}
	s.http = &http.Client{
		Transport: in.transport,
		// The token goes where its owner sent it, and nowhere that an answer names.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return s, nil
}

// signerKeys loads every key of a folder.
func signerKeys(folder string) ([]*keys.Key, error) {
	paths, err := filepath.Glob(filepath.Join(folder, "*.key"))
	if err != nil || len(paths) == 0 {
		return nil, fmt.Errorf("there are no keys (*.key) in %s: name the folder that bailiwick init --signer-keys made with --keys", folder)
	}
	var held []*keys.Key
	for _, path := range paths {
		k, err := keys.LoadOnline(path)
		if err != nil {
			return nil, fmt.Errorf("loading a key: %w", err)
		}
		held = append(held, k)
	}
	return held, nil
}

// signerToken reads the token, from a file that is the signer's alone.
func signerToken(spec *signerSpec) (string, error) {
	path := spec.token
	if path == "" {
		path = filepath.Join(spec.keys, signerTokenName)
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", usagef("there is no token in %s: make one on the server with bailiwick token new --signer, and name its file with --token-file", path)
	}
	if err != nil {
		return "", fmt.Errorf("reading the token: %w", err)
	}
	if runtime.GOOS != "windows" && info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("%s can be read by others (mode %o): run chmod 600 on it", path, info.Mode().Perm())
	}
	data, err := readBounded(path, 4096)
	if err != nil {
		return "", fmt.Errorf("reading the token: %w", err)
	}
	token, _, _ := strings.Cut(string(data), "\n")
	if token = strings.TrimSpace(token); token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", usagef("%s has no token in its first line: it is one word that begins with bwk_", path)
	}
	return token, nil
}

// pinnedRoot returns the root from which the signer verifies everything, and the repository's name. Once
// pinned it stays in the state folder.
func (s *signing) pinnedRoot(ctx context.Context, in *installer, spec *signerSpec) (root []byte, name [32]byte, err error) {
	kept, err := readIn(s.memory.dir, signerRoot, maxRootBytes)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, name, fmt.Errorf("reading the pinned root: %w", err)
	}
	want := spec.root
	if beside := filepath.Join(spec.keys, signerRoot); want == "" {
		if _, err := os.Stat(beside); err == nil {
			want = beside
		} else if kept == nil {
			return nil, name, usagef("--root is missing: give the hash that init printed, as sha256:HEX, or the file 1.root.json")
		}
	}
	if want != "" {
		index, file, err := readPin(s.url, want)
		if err != nil {
			return nil, name, err
		}
		if kept != nil {
			if sum := sha256.Sum256(kept); index.Root != "sha256:"+hex.EncodeToString(sum[:]) {
				return nil, name, exit(exitRefused, fmt.Errorf("%s belongs to another root (sha256:%x) than the one given: name another folder with --data", spec.data, sum))
			}
		} else if kept = file; kept == nil {
			if kept, err = in.fetchRoot(ctx, index); err != nil {
				return nil, name, err
			}
		}
		if err := durable.Replace(s.memory.dir, signerRoot, kept, 0o600); err != nil {
			return nil, name, fmt.Errorf("keeping the pinned root: %w", err)
		}
	}
	u, err := tuf.ParseRoot(kept, nil)
	if err != nil || u.Header().Version != 1 {
		return nil, name, exit(exitRefused, errors.New("the pinned root is not the repository's first: give the hash or the file of 1.root.json, which names the repository for ever"))
	}
	return kept, sha256.Sum256(kept), nil
}

// Times of the way to the index.
const (
	signerPatience = 75 * time.Second // for the head of an answer: the index leaves a question open for less
	signerRetry    = time.Second      // after a first failure, then twice as long each time
	signerRetryMax = 30 * time.Second
	signerGoodbye  = 3 * time.Second // to hand over what is signed, when asked to stop
)

// errNotLetIn: asking again would not help.
var errNotLetIn = errors.New("the index does not let this signer in")

// run asks for proposals until ctx ends.
func (s *signing) run(ctx context.Context) error {
	turn := custody.Turn{Keys: s.keys, Hello: true}
	wait, troubled := time.Duration(0), ""
	for {
		if wait > 0 {
			select {
			case <-ctx.Done():
			case <-time.After(wait):
			}
		}
		if ctx.Err() != nil {
			s.goodbye(ctx, &turn)
			return nil //nolint:nilerr // it was asked to stop
		}
		proposal, err := s.ask(ctx, &turn)
		switch {
		case ctx.Err() != nil:
			continue
		case errors.Is(err, errNotLetIn):
			return exit(exitRefused, err)
		case err != nil:
			wait = min(max(2*wait, signerRetry), signerRetryMax)
			if text := err.Error(); text != troubled {
				troubled = text
				message(s.env, "%s; trying again", text)
			}
			continue
		}
		switch {
		case turn.Hello:
			_, _ = fmt.Fprintf(s.env.Stdout, "connected to %s\n", redactURL(s.url))
		case troubled != "":
			message(s.env, "connected to %s again", redactURL(s.url))
		}
		if proposal == nil {
			if err := s.index.store.flush(); err != nil {
				message(s.env, "what was verified can not be kept (%v); trying again", err)
			}
		}
		wait, troubled, turn.Hello, turn.Answer = 0, "", false, nil
		if proposal != nil {
			turn.Answer = s.consider(ctx, proposal)
		}
	}
}

// consider judges and signs. It is not interrupted half-way: what it has begun takes no long time.
func (s *signing) consider(ctx context.Context, proposal []byte) *custody.Answer {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), signerPatience)
	defer cancel()
	answer := s.signer.Consider(ctx, proposal)
	id := custody.ShortID(answer.Proposal)
	if r := answer.Refused; r != nil {
		message(s.env, "proposal %s is not signed (%s): %s", id, r.Reason, shown(r.Message))
		return answer
	}
	message(s.env, "signed proposal %s: %d signatures", id, len(answer.Signatures))
	return answer
}

// goodbye hands over what is signed, so that nobody waits for it.
func (s *signing) goodbye(ctx context.Context, turn *custody.Turn) {
	if turn.Answer == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), signerGoodbye)
	defer cancel()
	turn.Hello = true
	_, _ = s.ask(ctx, turn) // if it does not arrive, the next start of this signer gives the same answer
}

// ask puts one question: here is my answer, what is next? It returns nil if there is nothing yet.
func (s *signing) ask(ctx context.Context, turn *custody.Turn) ([]byte, error) {
	body, err := turn.Encode()
	if err != nil {
		return nil, err //nolint:wrapcheck // says what
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	slow := time.AfterFunc(signerPatience, cancel)
	defer slow.Stop()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+server.SignerPath, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("asking %s: %w", redactURL(s.url), err)
	}
	r.Header.Set("Authorization", "Bearer "+s.token)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "bailiwick/"+version())
	r.Header.Set("Accept", "application/problem+json, application/jsonl;q=0.9")
	resp, err := s.http.Do(r)
	if err != nil {
		return nil, s.unreachable(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode == http.StatusNoContent {
		return nil, nil
	}
	most := int64(maxComplaint)
	if resp.StatusCode == http.StatusOK {
		most = custody.MaxBytes
	}
	data, err := io.ReadAll(io.LimitReader(&patientReader{resp.Body, slow}, most+1)) //nolint:forbidigo // bounded, and Decode checks the length
	switch {
	case err != nil:
		return nil, s.unreachable(err)
	case resp.StatusCode == http.StatusOK:
		return data, nil
	case resp.StatusCode/100 == 4 && !passes(resp.StatusCode):
		return nil, fmt.Errorf("%w: %w", errNotLetIn, refusalOf(resp, data))
	}
	return nil, fmt.Errorf("%s: %w", redactURL(s.url), refusalOf(resp, data))
}

// passes reports whether an answer is about this moment and not about who asks.
func passes(status int) bool {
	return status == http.StatusRequestTimeout || status == http.StatusTooManyRequests || status == http.StatusTooEarly
}

func (s *signing) unreachable(err error) error {
	var failed *url.Error
	if errors.As(err, &failed) {
		err = failed.Err // without the URL, which is in the sentence
	}
	return fmt.Errorf("cannot reach %s: %w", redactURL(s.url), err)
}

// patientReader gives a body that keeps coming more time.
type patientReader struct {
	r    io.Reader
	slow *time.Timer
}

// Read implements io.Reader.
func (p *patientReader) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	p.slow.Reset(signerPatience)
	return n, err //nolint:wrapcheck // an io.Reader passes errors through
}

// signerIndex is a custody.Repository: the index as this signer verifies it.
type signerIndex struct {
	client  *client.Client
	store   *signerStore
	fetcher *client.HTTPFetcher
	at      time.Time
}

var _ custody.Repository = (*signerIndex)(nil)

func newSignerIndex(in *installer, url, folder string, root []byte) (*signerIndex, error) {
	x := &signerIndex{}
	var err error
	if x.fetcher, err = in.fetcher(url); err != nil {
		return nil, err
	}
	store, err := client.OpenFolder(client.FolderConfig{Path: folder})
	if err != nil {
		return nil, fmt.Errorf("opening what was verified before: %w", err)
	}
	x.store = newSignerStore(store)
	x.client, err = client.New(client.Config{Fetcher: x.fetcher, Store: x.store, Root: root, Now: func() time.Time { return x.at }})
	if err != nil {
		return nil, exit(exitRefused, fmt.Errorf("the pinned root can not be used: %w", err))
	}
	return x, nil
}

// Current implements custody.Repository.
func (x *signerIndex) Current(ctx context.Context, at time.Time) (*trust.Set, trust.Loader, error) {
	x.at = at
	view, err := x.client.Refresh(ctx)
	if err != nil {
		return nil, nil, err //nolint:wrapcheck // its types tell what happened
	}
	set := view.Set()
	return set, func(role tuf.RoleName, _ tuf.Meta) ([]byte, error) {
		want, ok := set.Want(role)
		if !ok {
			return nil, fmt.Errorf("the snapshot does not list the role %s", role)
		}
		return x.fetcher.Metadata(ctx, want.Name, want.Limit) //nolint:wrapcheck // says what
	}, nil
}
