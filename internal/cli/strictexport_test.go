package cli

import (
	"context"
	"testing"
	"time"

	"example.com/bailiwick/internal/custody"
	"example.com/bailiwick/tuf/key"
)

// KeysOfServer opens a data folder as bailiwick serve does, and returns the ids of all keys that it can sign
// with, and of those that the repository names for timestamp, snapshot and registry.
func KeysOfServer(ctx context.Context, tb testing.TB, data string) (held []key.ID, named map[string]key.ID) {
	tb.Helper()
	s, err := openServer(ctx, serverSpec{data: data, now: time.Now})
	if err != nil {
		tb.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	}()
	named = make(map[string]key.ID)
	for _, role := range append(movable(), "timestamp") {
		a, err := onlineAuthority(s.publisher.Current(), role)
		if err != nil {
			tb.Fatal(err)
		}
		named[string(role)] = a.KeyIDs()[0]
	}
	return s.publisher.KeysAtHand(), named
}

// SignerMemory opens the memory of a signer in a state folder.
func SignerMemory(path string) (custody.Memory, func() error, error) {
	m, err := openSignerMemory(path)
	if err != nil {
		return nil, nil, err
	}
	return m, m.Close, nil
}
