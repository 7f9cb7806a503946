// Command ours does one workload with this module and reports what it cost.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"example.com/bailiwick/bench/internal/fixture"
	"example.com/bailiwick/bench/internal/measure"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/client"
	"example.com/bailiwick/tuf/key"
	"example.com/bailiwick/tuf/repo"
)

func main() {
	if err := run(os.Args[1], os.Args[2], os.Args[3:]); err != nil {
		fmt.Fprintln(os.Stderr, "ours:", err)
		os.Exit(1)
	}
}

func run(workload, dir string, args []string) error {
	switch workload {
	case "targets":
		return parse(dir, args[0], tuf.RoleTargets, tuf.ParseTargets)
	case "snapshot":
		return parse(dir, args[0], tuf.RoleSnapshot, tuf.ParseSnapshot)
	case "sign":
		return sign(false)
	case "issue":
		return sign(true)
	case "responsible":
		return responsible(dir)
	case "role":
		return role(dir)
	case "rollback":
		return rollback(dir, args[0], args[1])
	case "client":
		return follow(dir, args[0], args[1], false)
	case "again":
		return follow(dir, args[0], args[1], true)
	}
	return fmt.Errorf("no workload %q", workload)
}

// verify is what most workloads consist of.
func verify[T any](data []byte, a tuf.Authority, p func([]byte, *tuf.Limits) (*tuf.Unverified[T], error)) (*T, error) {
	u, err := p(data, nil)
	if err != nil {
		return nil, err
	}
	return u.Verify(a)
}

func authority(dir string, role tuf.RoleName) (tuf.Authority, error) {
	data, err := os.ReadFile(filepath.Join(dir, "root.json"))
	if err != nil {
		return tuf.Authority{}, err
	}
	u, err := tuf.ParseRoot(data, nil)
	if err != nil {
		return tuf.Authority{}, err
	}
	root, err := u.Verify(tuf.SelfAuthority(u))
	if err != nil {
		return tuf.Authority{}, err
	}
	a, _ := root.Authority(role)
	return a, nil
}

func load[T any](dir, name string, role tuf.RoleName, p func([]byte, *tuf.Limits) (*tuf.Unverified[T], error)) (*T, error) {
	a, err := authority(dir, role)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return nil, err
	}
	return verify(data, a, p)
}

func parse[T any](dir, name string, role tuf.RoleName, p func([]byte, *tuf.Limits) (*tuf.Unverified[T], error)) error {
	a, err := authority(dir, role)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return err
	}
	return measure.Report(1, func() error {
		_, err := verify(data, a, p)
		return err
	})
}

// sign makes and signs a file. With check, it is verified before it is handed out: that is
// what repo.Sign does, and what peers do not.
func sign(check bool) error {
	n := fixture.Targets[0]
	signer, err := key.NewSigner(fixture.Seed("targets"))
	if err != nil {
		return err
	}
	a, err := tuf.NewAuthority(1, signer.Public())
	if err != nil {
		return err
	}
	now := time.Now()
	spec := repo.TargetsSpec{Targets: make([]tuf.Target, n)}
	for i := range spec.Targets {
		spec.Targets[i] = tuf.Target{Path: tuf.TargetPath(fixture.Path(i)), Length: fixture.Length(i), Hashes: tuf.SHA256Hashes(fixture.Digest(i))}
	}
	return measure.Report(1, func() error {
		d, err := repo.NewTargets(spec, repo.Issue{Role: tuf.RoleTargets, Version: 1, Now: now, Expires: now.Add(time.Hour), Authority: a})
		if err != nil {
			return err
		}
		if check {
			_, err := repo.Sign(context.Background(), d, signer)
			return err
		}
		sig, err := d.Sign(context.Background(), signer)
		if err != nil {
			return err
		}
		d.Envelope([]tuf.Signature{sig})
		return nil
	})
}

// responsible asks for every delegation once, after the first question, which makes
// the index.
func responsible(dir string) error {
	t, err := load(dir, "delegations.json", tuf.RoleTargets, tuf.ParseTargets)
	if err != nil {
		return err
	}
	paths := make([]tuf.TargetPath, fixture.Delegations)
	for i := range paths {
		paths[i] = tuf.TargetPath(fixture.ProjectPath(i))
	}
	ds := t.Delegations()
	for range ds.Match(paths[0]) {
	}
	const rounds = 100
	return measure.Report(rounds*len(paths), func() error {
		for range rounds {
			for i, path := range paths {
				n := 0
				for d := range ds.Match(path) {
					if n++; n > 1 || d.Position() != i {
						return fmt.Errorf("%s: delegation %d", path, d.Position())
					}
				}
				if n != 1 {
					return fmt.Errorf("%s: %d delegations", path, n)
				}
			}
		}
		return nil
	})
}

func role(dir string) error {
	t, err := load(dir, "delegations.json", tuf.RoleTargets, tuf.ParseTargets)
	if err != nil {
		return err
	}
	all, err := os.ReadFile(filepath.Join(dir, "roles.jsonl"))
	if err != nil {
		return err
	}
	files := bytes.Split(bytes.TrimSpace(all), []byte("\n"))
	if len(files) != fixture.Delegations {
		return errors.New("roles are missing")
	}
	return measure.Report(len(files), func() error {
		for i, data := range files {
			d, ok := t.Delegations().Find(tuf.RoleName(fixture.ProjectRole(i)))
			if !ok {
				return errors.New("no delegation")
			}
			a, err := d.Authority()
			if err != nil {
				return err
			}
			if _, err := verify(data, a, tuf.ParseTargets); err != nil {
				return err
			}
		}
		return nil
	})
}

func rollback(dir, before, after string) error {
	older, err := load(dir, before, tuf.RoleSnapshot, tuf.ParseSnapshot)
	if err != nil {
		return err
	}
	newer, err := load(dir, after, tuf.RoleSnapshot, tuf.ParseSnapshot)
	if err != nil {
		return err
	}
	return measure.Report(1, func() error {
		for c := range newer.Changes(older) {
			if c.New < c.Old {
				return errors.New("rollback")
			}
		}
		return nil
	})
}

// follow refreshes and looks one path up. With again, that has happened in this
// process before, with the same result.
func follow(dir, url, state string, again bool) error {
	root, err := os.ReadFile(filepath.Join(dir, "root.json"))
	if err != nil {
		return err
	}
	var c *client.Client
	open := func() error {
		folder, err := client.OpenFolder(client.FolderConfig{Path: state})
		if err != nil {
			return err
		}
		fetcher, err := client.NewHTTPFetcher(client.HTTPConfig{Metadata: url, Targets: url})
		if err != nil {
			return err
		}
		c, err = client.New(client.Config{Fetcher: fetcher, Store: folder, Root: root, Now: time.Now})
		return err
	}
	use := func() error {
		ctx := context.Background()
		view, err := c.Refresh(ctx)
		if err != nil {
			return err
		}
		_, err = view.Find(ctx, fixture.ClientPath)
		return err
	}
	if again {
		if err := errors.Join(open(), use()); err != nil {
			return err
		}
		return measure.Report(1, use)
	}
	return measure.Report(1, func() error {
		if err := open(); err != nil {
			return err
		}
		return use()
	})
}
