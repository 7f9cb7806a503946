package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"example.com/bailiwick/internal/durable"
	"example.com/bailiwick/internal/keys"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
)

// A new online key waits beside the old one, as keys/ROLE.next.key, until the request that names it is
// published. From then on the repository names it, and its file takes the place of the old one by one rename:
// whatever breaks off, one of the files holds the key that the repository names.
//
// Every request gets a key of its own, also if one waits: whoever broke into the server may know that one, or have put it
// there. The others wait on, as keys/ROLE.next-2.key and so on, because the request that is published may be an earlier
// one, and go when one of them has taken over.

// maxNextKeys bounds the keys that wait for a role.
const maxNextKeys = 16

// nextKeyName is how the key that was made as the nth is called.
func nextKeyName(role policy.KeyRole, n int) string {
	if n == 1 {
		return string(role) + ".next.key"
	}
	return fmt.Sprintf("%s.next-%d.key", role, n)
}

// nextKeyPaths are the keys that wait for a role, in the order of their names.
func nextKeyPaths(data string, role policy.KeyRole) []string {
	var found []string
	for n := range maxNextKeys {
		path := filepath.Join(data, keysFolder, nextKeyName(role, n+1))
		if _, err := os.Lstat(path); err == nil {
			found = append(found, path)
		}
	}
	return found
}

// makeNextKey makes the key that a request gives to a role.
func makeNextKey(data string, role policy.KeyRole) (key.Signer, error) {
	config, err := readSettings(data)
	if err != nil {
		return nil, err
	}
	if _, err := os.Lstat(onlineKeyPath(data, role)); err != nil && !config.isStrict(role) {
		return nil, fmt.Errorf("the server holds no key of %s, so it makes none: %w", role, err)
	}
	k, err := keys.Generate(string(role))
	if err != nil {
		return nil, err //nolint:wrapcheck // names the key
	}
	for n := range maxNextKeys {
		err := keys.CreateOnline(filepath.Join(data, keysFolder, nextKeyName(role, n+1)), k)
		if err == nil || !errors.Is(err, fs.ErrExist) {
			return k, err //nolint:wrapcheck // names the file
		}
	}
	return nil, fmt.Errorf("%d keys of %s wait already: abort the requests that name them, stop the server, and remove %s",
		maxNextKeys, role, filepath.Join(data, keysFolder, string(role)+".next*.key"))
}

// loadNextKeys loads the keys that wait.
func loadNextKeys(data string) ([]key.Signer, error) {
	var waiting []key.Signer
	for _, role := range policy.KeyRoles() {
		if !role.Online() {
			continue
		}
		for _, path := range nextKeyPaths(data, role) {
			k, err := keys.LoadOnline(path)
			if err != nil {
				return nil, fmt.Errorf("loading a new key of %s: %w", role, err)
			}
			waiting = append(waiting, k)
		}
	}
	return waiting, nil
}

// settleKeys lets keys that waited take over, where the repository names them. It returns the roles whose
// old key is gone.
func settleKeys(data string, view *publish.View) ([]policy.KeyRole, error) {
	var done []policy.KeyRole
	for _, role := range policy.KeyRoles() {
		if !role.Online() {
			continue
		}
		waiting := nextKeyPaths(data, role)
		if len(waiting) == 0 {
			continue
		}
		a, err := onlineAuthority(view, role)
		if err != nil {
			return done, err
		}
		for _, path := range waiting {
			k, err := keys.Show(path)
			if err != nil {
				return done, fmt.Errorf("looking at a new key of %s: %w", role, err)
			}
			if _, named := a.Key(k.Public.ID()); !named {
				continue // its request has not been published, or was given up
			}
			if err := replaceKey(data, role, filepath.Base(path)); err != nil {
				return done, err
			}
			done = append(done, role)
			break
		}
	}
	return done, nil
}

// onlineAuthority returns who signs for an online role.
func onlineAuthority(view *publish.View, role policy.KeyRole) (tuf.Authority, error) {
	if role != policy.KeyRegistry {
		a, _ := view.Set().Root().Authority(tuf.RoleName(role))
		return a, nil
	}
	held, err := view.Sitting(context.Background(), view.Time(), policy.DefaultLifetimes()).Holders()
	if err != nil {
		return tuf.Authority{}, fmt.Errorf("reading who signs for the registry: %w", err)
	}
	return held.Authorities[role], nil
}

// replaceKey puts a key that waited in the place of the old one, which is gone then. What else waits was for requests that
// are stale now.
func replaceKey(data string, role policy.KeyRole, name string) error {
	root, err := os.OpenRoot(filepath.Join(data, keysFolder))
	if err != nil {
		return fmt.Errorf("putting the new key of %s in its place: %w", role, err)
	}
	defer func() { _ = root.Close() }() // what was renamed in it is synced
	if err := root.Rename(name, string(role)+".key"); err != nil {
		return fmt.Errorf("putting the new key of %s in its place: %w", role, err)
	}
	if err := durable.SyncDir(root, "."); err != nil {
		return fmt.Errorf("putting the new key of %s in its place: %w", role, err)
	}
	return removeNextKeys(root, role)
}

// removeNextKeys removes the keys that wait for a role. The caller syncs the folder, if a key that comes back is more than a
// nuisance.
func removeNextKeys(root *os.Root, role policy.KeyRole) error {
	for n := range maxNextKeys {
		if err := root.Remove(nextKeyName(role, n+1)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("removing a key that waited for %s: %w", role, err)
		}
	}
	return nil
}

// nextKey makes the key that an online role gets next.
func (s *openedServer) nextKey(_ context.Context, role policy.KeyRole) (key.Signer, error) {
	return makeNextKey(s.data, role)
}

// afterPublication does what operators' requests leave to do. The publisher calls it, once a day as well.
func (s *openedServer) afterPublication(ctx context.Context, v *publish.View, due []publish.Role) {
	s.settleOnline(ctx)
	s.openDue(ctx, v, due)
}

// settleOnline notes where online keys are now, and puts new ones in their place.
func (s *openedServer) settleOnline(ctx context.Context) {
	s.settleCustody(ctx)
	s.settleKeys(ctx)
}

// settleKeys is [settleKeys] for a running server, which says what it did. What fails is done at the next start.
func (s *openedServer) settleKeys(ctx context.Context) {
	done, err := settleKeys(s.data, s.publisher.Current())
	if s.log == nil {
		return
	}
	if err != nil {
		s.log.ErrorContext(ctx, "a new online key could not take the place of the old one", slog.Any("error", err))
	}
	for _, role := range done {
		s.log.InfoContext(ctx, "a new online key signs; the old one was removed", slog.String("role", string(role)))
	}
}
