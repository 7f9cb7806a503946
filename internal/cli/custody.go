package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"example.com/bailiwick/internal/durable"
	"example.com/bailiwick/internal/index"
	"example.com/bailiwick/internal/keys"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/record"
	"example.com/bailiwick/tuf/key"
)

// This file is custody strict on the side of the server: which keys it must not have, and what it does while
// it waits for the signer that has them. The signer itself is in signer.go.

// signerKeysName is the folder for the signer's keys when none is named: beside the data folder.
const signerKeysName = "bailiwick-signer-keys"

// movable are the roles whose key an isolated signer can hold. The timestamp's key has to be where the clock is.
func movable() []policy.KeyRole { return []policy.KeyRole{policy.KeyRegistry, policy.KeySnapshot} }

// custody gives where each online key is.
func (s *settings) custody() (map[policy.KeyRole]policy.Custody, error) {
	out := make(map[policy.KeyRole]policy.Custody)
	for _, name := range slices.Sorted(maps.Keys(s.Custody)) {
		role, word := policy.KeyRole(name), policy.Custody(s.Custody[name])
		switch {
		case word != policy.CustodyStandard && word != policy.CustodyStrict:
			return nil, fmt.Errorf("custody of %s: %q is neither standard nor strict", name, word)
		case role == policy.KeyTimestamp && word == policy.CustodyStrict:
			return nil, errors.New("custody of timestamp: it is always standard; the server says what is current, and has to be able to say so at any time")
		case role != policy.KeyTimestamp && !slices.Contains(movable(), role):
			return nil, fmt.Errorf("custody of %q: no such role; the roles are registry, snapshot and timestamp", name)
		}
		out[role] = word
	}
	return out, nil
}

// isStrict reports whether the isolated signer holds the key of a role.
func (s *settings) isStrict(role policy.KeyRole) bool {
	return s.Custody[string(role)] == string(policy.CustodyStrict)
}

// anyStrict reports whether it holds any.
func (s *settings) anyStrict() bool { return slices.ContainsFunc(movable(), s.isStrict) }

// setCustody changes where the key of a role is said to be.
func (s *settings) setCustody(role policy.KeyRole, c policy.Custody) {
	if s.Custody == nil {
		s.Custody = make(map[string]string)
	}
	s.Custody[string(role)] = string(c)
	if c == policy.CustodyStandard {
		delete(s.Custody, string(role))
	}
}

// isStandard reports whether the file can be left out.
func (s *settings) isStandard() bool { return len(s.Lifetimes) == 0 && len(s.Custody) == 0 }

// word is the custody of the whole index, for people.
func (s *settings) word() string {
	var strict []policy.KeyRole
	for _, role := range movable() {
		if s.isStrict(role) {
			strict = append(strict, role)
		}
	}
	switch len(strict) {
	case 0:
		return "standard"
	case len(movable()):
		return "strict"
	}
	return "strict for " + string(strict[0])
}

// parseCustody reads the flag --custody: one word for both roles, or ROLE=WORD.
func parseCustody(words []string) (map[string]string, error) {
	s := settings{Custody: map[string]string{}}
	for _, w := range words {
		switch role, word, named := cutWord(w); {
		case named:
			s.Custody[role] = word
		default:
			for _, role := range movable() {
				s.Custody[string(role)] = w
			}
		}
	}
	if _, err := s.custody(); err != nil {
		return nil, fmt.Errorf("--%w", err)
	}
	for role, word := range s.Custody {
		if word == string(policy.CustodyStandard) {
			delete(s.Custody, role)
		}
	}
	return s.Custody, nil
}

func cutWord(w string) (role, word string, named bool) {
	for i := range w {
		if w[i] == '=' {
			return w[:i], w[i+1:], true
		}
	}
	return "", "", false
}

// writeSettings replaces the file of a data folder.
func writeSettings(data string, s *settings) error {
	text, err := s.encode()
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(data)
	if err != nil {
		return fmt.Errorf("writing the configuration: %w", err)
	}
	defer func() { _ = root.Close() }() // what was written in it is synced
	if err := durable.Replace(root, configFile, text, 0o600); err != nil {
		return fmt.Errorf("writing the configuration: %w", err)
	}
	return nil
}

// refuseStrictKeys keeps the promise of strict custody: the server does not start with a key that is the
// signer's.
func refuseStrictKeys(data string, config *settings) error {
	for _, role := range movable() {
		if !config.isStrict(role) {
			continue
		}
		if _, err := os.Lstat(onlineKeyPath(data, role)); err == nil {
			return fmt.Errorf("custody of %s is strict and %s is on this server: move the key to the machine of the signer (bailiwick signer --keys), where this server can not read it, and start again",
				role, onlineKeyPath(data, role))
		}
	}
	return nil
}

// strictKeyIDs are the keys that the repository names for roles in strict custody.
func strictKeyIDs(view *publish.View, config *settings) ([]key.ID, error) {
	var ids []key.ID
	for _, role := range movable() {
		if !config.isStrict(role) {
			continue
		}
		a, err := onlineAuthority(view, role)
		if err != nil {
			return nil, err
		}
		ids = append(ids, a.KeyIDs()...)
	}
	return ids, nil
}

// signerKey returns the key that the signer brings for a role: the one that does not sign already, and never did. Files of keys
// that were replaced stay in the signer's folder, and one that was stolen must not come back.
func (s *openedServer) signerKey(role policy.KeyRole) (*key.Public, error) {
	if !slices.Contains(movable(), role) {
		return nil, fmt.Errorf("the key of %s stays on the server", role)
	}
	status := s.line.Status()
	if !status.Connected {
		return nil, fmt.Errorf("the signer is not connected, so nobody knows its key for %s: start bailiwick signer, then try again", role)
	}
	a, err := onlineAuthority(s.publisher.Current(), role)
	if err != nil {
		return nil, err
	}
	replaced, err := replacedKeys(context.Background(), s.publisher)
	if err != nil {
		return nil, err
	}
	var fresh []*key.Public
	var ids []string
	for _, k := range status.Keys {
		if _, signs := a.Key(k.Public.ID()); k.Name == string(role) && !signs && !replaced[k.Public.ID()] {
			fresh, ids = append(fresh, k.Public), append(ids, fmt.Sprintf("%.8s", k.Public.ID()))
		}
	}
	switch len(fresh) {
	case 1:
		return fresh[0], nil
	case 0:
	default:
		return nil, fmt.Errorf("the signer that is connected has %d keys for %s that could be meant (%s): remove the files of all but one on its machine, start the signer anew, then try again",
			len(fresh), role, strings.Join(ids, ", "))
	}
	return nil, fmt.Errorf("the signer that is connected has no other key for %s than those that sign now or were replaced: make one on its machine with bailiwick signer new-key %s, start the signer anew, then try again", role, role)
}

// replacedKeys returns the keys of the index itself that were replaced, as its record says.
func replacedKeys(ctx context.Context, p *publish.Publisher) (map[key.ID]bool, error) {
	const page = 1000
	gone := make(map[key.ID]bool)
	for from := int64(1); ; {
		entries, err := p.Record(ctx, from, page)
		if err != nil {
			return nil, fmt.Errorf("reading which keys were replaced: %w", err)
		}
		if len(entries) == 0 {
			return gone, nil
		}
		for i := range entries {
			if kind := entries[i].Kind; kind != record.KeysChanged && kind != record.Root {
				continue
			}
			for _, id := range entries[i].Old.IDs {
				gone[id] = gone[id] || !slices.Contains(entries[i].New.IDs, id)
			}
		}
		from += int64(len(entries))
	}
}

// settleCustody notes in the configuration where the keys are that the repository names since an operators'
// request was published: with the signer, and then the server's old ones are removed; or on the server.
func settleCustody(data string, view *publish.View) (moved []policy.KeyRole, err error) {
	config, err := readSettings(data)
	if err != nil {
		return nil, err
	}
	for _, role := range movable() {
		a, err := onlineAuthority(view, role)
		if err != nil {
			return moved, err
		}
		here := slices.ContainsFunc(append(nextKeyPaths(data, role), onlineKeyPath(data, role)), func(path string) bool { return names(a.KeyIDs(), path) })
		if here != config.isStrict(role) {
			continue // as it says
		}
		to := policy.CustodyStrict
		if here {
			to = policy.CustodyStandard
		}
		// First the word, then the file: without the key the server could not start otherwise.
		config.setCustody(role, to)
		if err := writeSettings(data, config); err != nil {
			return moved, err
		}
		if to == policy.CustodyStrict {
			if err := removeOnline(data, role); err != nil {
				return moved, err
			}
		}
		moved = append(moved, role)
	}
	return moved, nil
}

// names reports whether a key file holds one of the keys.
func names(ids []key.ID, path string) bool {
	k, err := keys.Show(path)
	return err == nil && slices.Contains(ids, k.Public.ID())
}

// removeOnline removes the server's keys of a role, which sign nothing any more.
func removeOnline(data string, role policy.KeyRole) error {
	root, err := os.OpenRoot(filepath.Join(data, keysFolder))
	if err != nil {
		return fmt.Errorf("removing the old key of %s: %w", role, err)
	}
	defer func() { _ = root.Close() }() // what was removed in it is synced
	if err := root.Remove(string(role) + ".key"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing the old key of %s: %w", role, err)
	}
	if err := removeNextKeys(root, role); err != nil {
		return err
	}
	if err := durable.SyncDir(root, "."); err != nil {
		return fmt.Errorf("removing the old key of %s: %w", role, err)
	}
	return nil
}

// settleCustody is [settleCustody] for a running server, which says what it did.
func (s *openedServer) settleCustody(ctx context.Context) {
	moved, err := settleCustody(s.data, s.publisher.Current())
	if s.log == nil {
		return
	}
	if err != nil {
		s.log.ErrorContext(ctx, "where the online keys are now could not be noted", slog.Any("error", err))
	}
	for _, role := range moved {
		s.log.InfoContext(ctx, "an online key is held elsewhere from now on", slog.String("role", string(role)))
	}
}

// drainEvery is how often what waits for the signer is tried again while it is there.
const drainEvery = time.Minute

// drain has published what waited for the signer, each time that it comes, until ctx ends.
func (s *openedServer) drain(ctx context.Context) {
	again := time.NewTicker(drainEvery)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.line.Arrived():
		case <-again.C:
			if !s.line.Ready() {
				continue
			}
		}
		s.publisher.Nudge()
		done, err := s.index.Drain(ctx)
		switch {
		case s.log == nil || ctx.Err() != nil:
		case err != nil && !errors.Is(err, publish.ErrNoSigner):
			s.log.ErrorContext(ctx, "what waited for the signer could not be published; trying again", slog.Any("error", err))
		case done.Published+done.Refused+done.Left > 0:
			s.log.InfoContext(ctx, "the signer was there", slog.Int("published", done.Published), slog.Int("refused", done.Refused), slog.Int("left", done.Left))
		}
	}
}

// defaultSignerKeys is the folder for the signer's keys when none is named: beside the data folder.
func defaultSignerKeys(data string) string {
	return filepath.Join(filepath.Dir(filepath.Clean(data)), signerKeysName)
}

// checkSignerKeys refuses a folder for the signer's keys that is not apart from all others, or holds keys.
func checkSignerKeys(spec *genesisSpec) error {
	if !spec.settings.anyStrict() {
		return nil
	}
	for _, other := range []string{spec.data, spec.offline} {
		a, err := realPath(spec.signerKeys)
		if err != nil {
			return err
		}
		b, err := realPath(other)
		if err != nil {
			return err
		}
		if within(a, b) || within(b, a) {
			return fmt.Errorf("the keys of the signer can not live in %s: that folder and %s have to be apart, so that whoever takes one does not get the other; name another with --signer-keys", spec.signerKeys, other)
		}
	}
	found, err := filepath.Glob(filepath.Join(spec.signerKeys, "*"))
	if err != nil {
		return fmt.Errorf("looking for the keys of a signer: %w", err)
	}
	if len(found) > 0 {
		return fmt.Errorf("%s is not empty (it holds %s): name another folder with --signer-keys", spec.signerKeys, filepath.Base(found[0]))
	}
	return nil
}

// genesisSigners are the online keys of a repository that is being made: the only time that they are together.
func genesisSigners(spec *genesisSpec) ([]key.Signer, error) {
	online, err := loadOnline(spec.data, &spec.settings)
	if err != nil {
		return nil, err
	}
	all := []key.Signer{online.Timestamp}
	for role, s := range map[policy.KeyRole]key.Signer{policy.KeyRegistry: online.Registry, policy.KeySnapshot: online.Snapshot} {
		if spec.settings.isStrict(role) {
			k, err := keys.LoadOnline(filepath.Join(spec.signerKeys, string(role)+".key"))
			if err != nil {
				return nil, fmt.Errorf("loading the signer's key of %s (--signer-keys names its folder): %w", role, err)
			}
			s = k
		}
		all = append(all, s)
	}
	return all, nil
}

// equipSigner puts beside the signer's keys what else it needs: the root, and a token to connect with.
func (made *created) equipSigner(ctx context.Context, l index.Tokens, spec *genesisSpec, first []byte, now time.Time) error {
	secret, token, err := index.NewToken(rand.Reader, now, "the signer, made with the repository", nil)
	if err != nil {
		return fmt.Errorf("making the signer's token: %w", err)
	}
	token.Right = index.RightSigner
	root, err := os.OpenRoot(spec.signerKeys)
	if err != nil {
		return fmt.Errorf("writing for the signer: %w", err)
	}
	defer func() { _ = root.Close() }() // what was written in it is synced
	for name, data := range map[string][]byte{signerRoot: first, signerTokenName: []byte(secret + "\n")} {
		if err := durable.Replace(root, name, data, 0o600); err != nil {
			return fmt.Errorf("writing for the signer: %w", err)
		}
	}
	if err := l.PutToken(ctx, token); err != nil {
		return fmt.Errorf("storing the signer's token: %w", err)
	}
	made.SignerKeys = spec.signerKeys
	return nil
}
