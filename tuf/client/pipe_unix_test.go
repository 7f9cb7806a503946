//go:build unix

package client_test

import (
	"errors"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"example.com/bailiwick/internal/testrepo"
	"example.com/bailiwick/tuf/client"
)

// A named pipe under the name of a file is refused like a link, and nobody waits for what
// may be written into it.
func TestFolderRefusesPipes(t *testing.T) {
	for _, name := range []string{"root.json", "timestamp.json", "roots/2.root.json"} {
		dir := t.TempDir()
		f := folder(t, client.FolderConfig{Path: dir})
		if err := syscall.Mkfifo(filepath.Join(dir, name), 0o600); err != nil {
			t.Fatal(err)
		}
		r := testrepo.New(t, testrepo.Options{})
		done := make(chan error, 1)
		go func() {
			_, err := open(t, r, f).Refresh(t.Context())
			done <- err
		}()
		select {
		case err := <-done:
			var failed *client.StoreError
			if !errors.As(err, &failed) || failed.Op != "loading" {
				t.Errorf("%s: %v", name, err)
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("%s: a refresh waits for a writer", name)
		}
	}
}
