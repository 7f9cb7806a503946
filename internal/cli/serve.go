package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"example.com/bailiwick/internal/durable"
	"example.com/bailiwick/internal/files"
	"example.com/bailiwick/internal/index"
	"example.com/bailiwick/internal/keys"
	"example.com/bailiwick/internal/ledger"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/server"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
)

// defaultListen is reachable from this machine only: what listens further is for the operator to say.
const defaultListen = "127.0.0.1:8470"

// newServe runs the index.
func newServe(env *Env) *cobra.Command {
	var data, offline, passphraseFile, listen, logLevel string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "run the index; on an empty data folder, create the repository first",
		Long: "Run the index until SIGINT or SIGTERM. It prints \"listening on http://ADDRESS\" when it is ready; port 0\n" +
			"takes any free port. On a new or empty data folder it first creates a repository with the standard\n" +
			"settings; bailiwick init does the same deliberately.",
		Args: NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := newLog(env, logLevel)
			if err != nil {
				return err
			}
			return serve(cmd.Context(), env, serveSpec{data, offline, passphraseFile, listen, log})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&data, "data", defaultData, "data `folder`")
	flags.StringVar(&listen, "listen", defaultListen, "`address` to listen on")
	flags.StringVar(&offline, "offline-keys", "", "on first start: `folder` for the offline keys, apart from the data folder (default "+offlineName+" beside it)")
	flags.StringVar(&passphraseFile, "passphrase-file", "", "on first start: `file` whose first line is the passphrase of the offline keys")
	flags.StringVar(&logLevel, "log-level", "info", "what goes to standard error: debug (every request), info (uploads), warn or error")
	return cmd
}

// newLog writes to standard error.
func newLog(env *Env, level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, usagef("--log-level %q: it is debug, info, warn or error", level)
	}
	return slog.New(slog.NewTextHandler(env.Stderr, &slog.HandlerOptions{Level: l})), nil
}

type serveSpec struct {
	data, offline, passphraseFile, listen string
	log                                   *slog.Logger
}

// serve is the whole command. It listens before it creates anything, so that a busy port does not
// leave behind a repository whose token nobody has seen.
func serve(ctx context.Context, env *Env, spec serveSpec) (err error) {
	state, err := inspectFolder(ctx, spec.data)
	switch {
	case err != nil:
		return err
	case state == folderUnfinished:
		return errUnfinished(spec.data)
	case state == folderPending:
		return errPending(spec.data)
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", spec.listen)
	if err != nil {
		return fmt.Errorf("listening on %s: %w; name another address with --listen", spec.listen, err)
	}
	defer func() { _ = l.Close() }() // the server has closed it by then
	url := "http://" + l.Addr().String()
	if state == folderFresh {
		made, err := createRepository(ctx, env, genesisSpec{data: spec.data, offline: spec.offline, bins: standardBins, now: env.Now}, spec.passphraseFile)
		if err != nil {
			return err
		}
		made.report(env.Stderr, url, "")
	}
	s, err := openServer(ctx, serverSpec{data: spec.data, now: env.Now, log: spec.log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if tcp, ok := l.Addr().(*net.TCPAddr); ok && !tcp.IP.IsLoopback() {
		message(env, "%s can be reached from other machines, and tokens travel in plain text: put a server that speaks TLS in front", url)
	}
	return s.serve(ctx, l, func() { _, _ = fmt.Fprintln(env.Stdout, "listening on "+url) })
}

// serverSpec is what a running index is made from.
type serverSpec struct {
	data   string           // an existing repository
	now    func() time.Time // the clock of everything that is signed
	log    *slog.Logger
	limits server.Limits // zero: the standard
}

// openedServer is an index over a data folder, which it keeps locked. Close it after serve.
type openedServer struct {
	data      string
	now       func() time.Time
	ledger    *ledger.SQLite
	publisher *publish.Publisher
	index     *index.Index
	server    *server.Server
	away      map[policy.KeyRole]bool // roles whose key the isolated signer holds
	line      *server.Line            // to the isolated signer
	log       *slog.Logger            // nil: discard
	closers   []func() error          // in the order of opening
}

// openServer wires the engines and adapters of an index together. It refuses a folder that another
// server uses, that holds an offline key, or that lacks an online one.
func openServer(ctx context.Context, spec serverSpec) (_ *openedServer, err error) {
	if err := requireRepository(ctx, spec.data); err != nil {
		return nil, err
	}
	s := &openedServer{data: spec.data, now: spec.now, log: spec.log}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	lock, err := durable.LockFolder(spec.data)
	if err != nil {
		return nil, err //nolint:wrapcheck // says already which folder is in use
	}
	s.closers = append(s.closers, lock.Unlock)
	config, err := readSettings(spec.data)
	if err != nil {
		return nil, err
	}
	lifetimes, err := config.lifetimes()
	if err != nil {
		return nil, err
	}
	if err := refuseOfflineKeys(spec.data, nil); err != nil {
		return nil, err
	}
	if err := refuseStrictKeys(spec.data, config); err != nil {
		return nil, err
	}
	signers, err := loadOnline(spec.data, config)
	if err != nil {
		return nil, err
	}
	if err := s.open(ctx, &spec, signers, lifetimes, config); err != nil {
		return nil, err
	}
	// Once more, now that the repository says which keys are not the server's: a copy under another name.
	strict, err := strictKeyIDs(s.publisher.Current(), config)
	if err != nil {
		return nil, err
	}
	if err := refuseOfflineKeys(spec.data, append(offlineKeyIDs(s.publisher.Current()), strict...)); err != nil {
		return nil, err
	}
	return s, nil
}

// open opens stores, then engines, then the server.
func (s *openedServer) open(ctx context.Context, spec *serverSpec, signers publish.Signers, lifetimes policy.Lifetimes, config *settings) error {
	custody, err := config.custody()
	if err != nil {
		return err
	}
	s.line, s.away = server.NewLine(), make(map[policy.KeyRole]bool)
	for role, c := range custody {
		s.away[role] = c == policy.CustodyStrict
	}
	l, err := ledger.OpenSQLite(ctx, filepath.Join(spec.data, ledgerFile))
	if err != nil {
		return fmt.Errorf("opening the ledger: %w", err)
	}
	s.ledger = l
	s.closers = append(s.closers, l.Close)
	store, err := files.Open(spec.data)
	if err != nil {
		return fmt.Errorf("opening the file store: %w", err)
	}
	s.closers = append(s.closers, store.Close)
	s.publisher, err = publish.Open(ctx, publish.Config{
		Ledger: l, Signers: signers, Lifetimes: lifetimes, Now: spec.now, Log: spec.log, Expiring: s.afterPublication,
		Countersign: s.line, Proposals: l,
	})
	if err != nil {
		return fmt.Errorf("opening the repository: %w", err)
	}
	s.settleOnline(ctx)
	s.closers = append(s.closers, func() error { s.settleOnline(context.WithoutCancel(ctx)); return nil })
	s.index, err = index.New(index.Config{Publisher: s.publisher, Files: store, Tokens: l, Records: l, Now: spec.now, NextKey: s.nextKey, Custody: custody, SignerKey: s.signerKey})
	if err != nil {
		return fmt.Errorf("opening the index: %w", err)
	}
	s.server, err = server.New(server.Config{Index: s.index, Publisher: s.publisher, Signer: s.line, Limits: spec.limits, Now: spec.now, Log: spec.log})
	if err != nil {
		return fmt.Errorf("opening the server: %w", err)
	}
	return nil
}

// serve answers requests until ctx ends, calling ready when it does. The publisher outlives the
// HTTP server, so that uploads in progress still get their answer.
func (s *openedServer) serve(ctx context.Context, l net.Listener, ready func()) error {
	httpCtx, stopHTTP := context.WithCancel(ctx)
	defer stopHTTP()
	publishCtx, stopPublisher := context.WithCancel(context.WithoutCancel(ctx))
	defer stopPublisher()
	published := make(chan error, 1)
	go func() {
		err := s.publisher.Run(publishCtx)
		stopHTTP() // without a publisher there is nothing to serve for
		published <- err
	}()
	s.settle(httpCtx)
	control := s.serveControl(httpCtx)
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		s.drain(httpCtx)
	}()
	ready()
	httpErr := s.server.Serve(httpCtx, l)
	stopHTTP()
	control()
	<-drained
	stopPublisher()
	if err := <-published; err != nil {
		return fmt.Errorf("publishing: %w", err)
	}
	return httpErr //nolint:wrapcheck // says what was served where
}

// Bounds of settle.
const (
	settleTime  = 30 * time.Second
	settleStall = 2 * time.Second // without a single role renewed
	settleLook  = 10 * time.Millisecond
)

// settle waits until the publisher has renewed what expired while no server was running, so that the
// first client does not meet it. If that does not get on the server runs all the same: the publisher
// tries again, its log says why, and what has not expired can be read.
func (s *openedServer) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	look := time.NewTicker(settleLook)
	defer look.Stop()
	stall := time.NewTimer(settleStall)
	defer stall.Stop()
	for left := s.expired(ctx); left > 0; {
		select {
		case <-ctx.Done():
			return
		case <-stall.C:
			return
		case <-look.C:
		}
		if n := s.expired(ctx); n < left {
			left = n
			stall.Reset(settleStall)
		}
	}
}

// expired counts the expired roles that the server's own keys sign. Roles of claimed projects are
// among them, because only their delegation says who signs; settle gives up waiting for those.
func (s *openedServer) expired(ctx context.Context) int {
	roles, err := s.ledger.Roles(ctx)
	if err != nil {
		return 0 // the publisher meets the same error, and says it
	}
	n, now := 0, s.now()
	for _, r := range roles {
		if by, ok := policy.SignedBy(r.Name); ok && by.Online() && !s.away[by] && !now.Before(r.Expires) {
			n++
		}
	}
	return n
}

// Close gives everything back, the lock last.
func (s *openedServer) Close() error {
	var errs []error
	for i := len(s.closers) - 1; i >= 0; i-- {
		errs = append(errs, s.closers[i]())
	}
	s.closers = nil
	return errors.Join(errs...)
}

// loadOnline loads the keys that the server signs with: three, or fewer in custody strict.
func loadOnline(data string, config *settings) (publish.Signers, error) {
	var signers publish.Signers
	for role, into := range map[policy.KeyRole]*key.Signer{
		policy.KeyRegistry: &signers.Registry, policy.KeySnapshot: &signers.Snapshot, policy.KeyTimestamp: &signers.Timestamp,
	} {
		if config.isStrict(role) {
			continue
		}
		k, err := keys.LoadOnline(onlineKeyPath(data, role))
		if errors.Is(err, fs.ErrNotExist) && len(nextKeyPaths(data, role)) > 0 {
			continue // it has taken over, and was not put into its place yet
		}
		if errors.Is(err, fs.ErrNotExist) {
			return signers, fmt.Errorf("the online key %s is missing: put %s back from a backup; without it nothing can be published (%w)",
				role, onlineKeyPath(data, role), err)
		}
		if err != nil {
			return signers, fmt.Errorf("loading the online key %s: %w", role, err)
		}
		*into = k
	}
	var err error
	signers.Others, err = loadNextKeys(data)
	return signers, err
}

// refuseOfflineKeys keeps the promise that taking the server is not taking the offline keys.
func refuseOfflineKeys(data string, ids []key.ID) error {
	found, err := keys.ScanForOffline(data, keys.Scan{Skip: []string{filesFolder, stagingName}, Offline: ids})
	if err != nil {
		return fmt.Errorf("looking for offline keys in the data folder: %w", err)
	}
	if len(found) > 0 {
		return fmt.Errorf("%s is an offline private key inside the data folder: move it away, to where this server can not read it, and start again", found[0])
	}
	return nil
}

// offlineKeyIDs are the keys that must never be on the server.
func offlineKeyIDs(view *publish.View) []key.ID {
	set := view.Set()
	var ids []key.ID
	for _, role := range []tuf.RoleName{tuf.RoleRoot, tuf.RoleTargets} {
		if a, ok := set.Root().Authority(role); ok {
			ids = append(ids, a.KeyIDs()...)
		}
	}
	if d := set.Targets().Delegations(); d != nil {
		for i := range d.Len() {
			if a, err := d.At(i).Authority(); err == nil {
				ids = append(ids, a.KeyIDs()...)
			}
		}
	}
	return ids
}
