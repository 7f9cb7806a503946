package client_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"time"

	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/client"
	"example.com/bailiwick/tuf/key"
	"example.com/bailiwick/tuf/repo"
	"example.com/bailiwick/tuf/trust"
)

// shelf is a repository in memory, as a Fetcher. Over the network that is
// client.NewHTTPFetcher.
type shelf map[string][]byte

func (s shelf) Metadata(_ context.Context, name string, limit int64) ([]byte, error) {
	data, ok := s[name]
	switch {
	case !ok:
		return nil, client.ErrAbsent
	case int64(len(data)) > limit:
		return nil, client.ErrTooLarge
	}
	return data, nil
}

func (s shelf) Target(_ context.Context, name string, offset int64) (io.ReadCloser, error) {
	data, ok := s[name]
	if !ok {
		return nil, client.ErrAbsent
	}
	return io.NopCloser(bytes.NewReader(data[min(offset, int64(len(data))):])), nil
}

// Verify a download: from a root that came with the program, through what the
// repository says now, to the bytes of a file.
func Example() {
	ctx := context.Background()
	now := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	repository, root := publish(now, "hello\n")

	c, err := client.New(client.Config{
		Fetcher: repository,
		Store:   client.NewMemory(), // client.OpenFolder keeps it between sessions
		Root:    root,
		Now:     func() time.Time { return now },
	})
	if err != nil {
		panic(err)
	}
	view, err := c.Refresh(ctx)
	if err != nil {
		panic(err)
	}

	found, err := view.Find(ctx, "greetings/hello.txt")
	if err != nil {
		panic(err)
	}
	var file bytes.Buffer
	err = c.Download(ctx, found, &file)
	fmt.Printf("%q %v\n", file.String(), err)

	// What nobody signed is not there. That is not the same as a failure to verify.
	_, err = view.Find(ctx, "greetings/goodbye.txt")
	fmt.Println(errors.Is(err, trust.ErrNotFound))

	// Somebody swaps the file at the server.
	repository[found.FetchName()] = []byte("other\n")
	file.Reset()
	err = c.Download(ctx, found, &file)
	var refused *trust.RefusedError
	fmt.Println(errors.As(err, &refused), refused.Code, file.Len())
	// Output:
	// "hello\n" <nil>
	// true
	// true hash 0
}

// publish makes a repository with one file; the example of package repo explains how.
func publish(now time.Time, content string) (files shelf, root []byte) {
	files = shelf{}
	signers := map[tuf.RoleName]key.Signer{}
	authorities := map[tuf.RoleName]tuf.Authority{}
	for _, role := range []tuf.RoleName{tuf.RoleRoot, tuf.RoleTargets, tuf.RoleSnapshot, tuf.RoleTimestamp} {
		seed := sha256.Sum256([]byte("an example's key: " + role))
		signers[role] = must(key.NewSigner(ed25519.NewKeyFromSeed(seed[:])))
		authorities[role] = must(tuf.NewAuthority(1, signers[role].Public()))
	}
	issue := func(role tuf.RoleName) repo.Issue {
		return repo.Issue{Role: role, Version: 1, Now: now, Expires: now.AddDate(0, 1, 0), Authority: authorities[role]}
	}
	sign := func(d *repo.Draft, err error) []byte {
		d = must(d, err)
		data := must(repo.Sign(context.Background(), d, signers[d.Role()]))
		files[trust.FileName(d.Role(), 1, true)] = data
		return data
	}
	hashes := tuf.NewHashes([]byte(content))
	root = sign(repo.NewRoot(repo.RootSpec{ConsistentSnapshot: true, Roles: authorities}, issue(tuf.RoleRoot)))
	sign(repo.NewTargets(repo.TargetsSpec{Targets: []tuf.Target{
		{Path: "greetings/hello.txt", Length: int64(len(content)), Hashes: hashes},
	}}, issue(tuf.RoleTargets)))
	snapshot := sign(repo.NewSnapshot(map[tuf.RoleName]int64{tuf.RoleTargets: 1}, issue(tuf.RoleSnapshot)))
	sign(repo.NewTimestamp(repo.MetaOf(1, snapshot), issue(tuf.RoleTimestamp)))
	sum, _ := hashes.SHA256()
	files[fmt.Sprintf("greetings/%x.hello.txt", sum)] = []byte(content)
	return files, root
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
