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
// whatever breaks off, one of the two files holds the key that the repository names.

func nextKeyPath(data string, role policy.KeyRole) string {
	return filepath.Join(data, keysFolder, nextKeyName(role))
}

func nextKeyName(role policy.KeyRole) string { return string(role) + ".next.key" }

// makeNextKey returns the key that waits for a role, made if there is none.
func makeNextKey(data string, role policy.KeyRole) (key.Signer, error) {
	path := nextKeyPath(data, role)
	k, err := keys.LoadOnline(path)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return k, err //nolint:wrapcheck // names the file
	}
	config, err := readSettings(data)
	if err != nil {
		return nil, err
	}
	if _, err := os.Lstat(onlineKeyPath(data, role)); err != nil && !config.isStrict(role) {
		return nil, fmt.Errorf("the server holds no key of %s, so it makes none: %w", role, err)
	}
	if k, err = keys.Generate(string(role)); err != nil {
		return nil, err //nolint:wrapcheck // names the key
	}
	return k, keys.CreateOnline(path, k) //nolint:wrapcheck // names the file
}

// hasNextKey reports whether a key waits for a role.
func hasNextKey(data string, role policy.KeyRole) bool {
	_, err := os.Lstat(nextKeyPath(data, role))
	return err == nil
}

// loadNextKeys loads the keys that wait.
func loadNextKeys(data string) ([]key.Signer, error) {
	var waiting []key.Signer
	for _, role := range policy.KeyRoles() {
		if !role.Online() {
			continue
		}
		k, err := keys.LoadOnline(nextKeyPath(data, role))
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return nil, fmt.Errorf("loading the new key of %s: %w", role, err)
		default:
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
		k, err := keys.Show(nextKeyPath(data, role))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return done, fmt.Errorf("looking at the new key of %s: %w", role, err)
		}
		a, err := onlineAuthority(view, role)
		if err != nil {
			return done, err
		}
		if _, named := a.Key(k.Public.ID()); !named {
			continue // its request has not been published, or was given up
		}
		if err := replaceKey(data, role); err != nil {
			return done, err
		}
		done = append(done, role)
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

// replaceKey puts a key that waited in the place of the old one, which is gone then.
func replaceKey(data string, role policy.KeyRole) error {
	root, err := os.OpenRoot(filepath.Join(data, keysFolder))
	if err != nil {
		return fmt.Errorf("putting the new key of %s in its place: %w", role, err)
	}
	defer func() { _ = root.Close() }() // what was renamed in it is synced
	if err := root.Rename(nextKeyName(role), string(role)+".key"); err != nil {
		return fmt.Errorf("putting the new key of %s in its place: %w", role, err)
	}
	if err := durable.SyncDir(root, "."); err != nil {
		return fmt.Errorf("putting the new key of %s in its place: %w", role, err)
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
