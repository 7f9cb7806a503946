// Command gotuf does one workload with go-tuf and reports what it cost.
package main

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/config"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"

	"example.com/bailiwick/bench/internal/fixture"
	"example.com/bailiwick/bench/internal/measure"
)

func main() {
	if err := run(os.Args[1], os.Args[2], os.Args[3:]); err != nil {
		fmt.Fprintln(os.Stderr, "gotuf:", err)
		os.Exit(1)
	}
}

func run(workload, dir string, args []string) error {
	switch workload {
	case "targets":
		return parse(dir, args[0], metadata.TARGETS, metadata.Targets().FromBytes)
	case "snapshot":
		return parse(dir, args[0], metadata.SNAPSHOT, metadata.Snapshot().FromBytes)
	case "sign":
		return sign()
	case "responsible":
		return responsible(dir)
	case "role":
		return role(dir)
	case "rollback":
		return rollback(dir, args[0], args[1])
	case "client":
		return follow(dir, args[0], args[1])
	}
	return fmt.Errorf("no workload %q", workload)
}

func root(dir string) (*metadata.Metadata[metadata.RootType], error) {
	data, err := os.ReadFile(filepath.Join(dir, "root.json"))
	if err != nil {
		return nil, err
	}
	r, err := metadata.Root().FromBytes(data)
	if err != nil {
		return nil, err
	}
	return r, r.VerifyDelegate(metadata.ROOT, r)
}

func parse[T metadata.Roles](dir, name, role string, p func([]byte) (*metadata.Metadata[T], error)) error {
	r, err := root(dir)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return err
	}
	return measure.Report(1, func() error {
		m, err := p(data)
		if err != nil {
			return err
		}
		return r.VerifyDelegate(role, m)
	})
}

func load[T metadata.Roles](dir, name, role string, p func([]byte) (*metadata.Metadata[T], error)) (*metadata.Metadata[T], error) {
	r, err := root(dir)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return nil, err
	}
	m, err := p(data)
	if err != nil {
		return nil, err
	}
	return m, r.VerifyDelegate(role, m)
}

func sign() error {
	m := metadata.Targets(time.Now().Add(time.Hour).UTC())
	for i := range fixture.Targets[0] {
		sum := fixture.Digest(i)
		f := metadata.TargetFile()
		f.Length, f.Path = fixture.Length(i), fixture.Path(i)
		f.Hashes["sha256"] = sum[:]
		m.Signed.Targets[f.Path] = f
	}
	signer, err := signature.LoadSigner(fixture.Seed("targets"), crypto.Hash(0))
	if err != nil {
		return err
	}
	return measure.Report(1, func() error {
		if _, err := m.Sign(signer); err != nil {
			return err
		}
		_, err := m.ToBytes(false)
		return err
	})
}

func responsible(dir string) error {
	t, err := load(dir, "delegations.json", metadata.TARGETS, metadata.Targets().FromBytes)
	if err != nil {
		return err
	}
	const step = 16
	return measure.Report(fixture.Delegations/step, func() error {
		for i := 0; i < fixture.Delegations; i += step {
			roles := t.Signed.Delegations.GetRolesForTarget(fixture.ProjectPath(i))
			if len(roles) != 1 || roles[0].Name != fixture.ProjectRole(i) {
				return fmt.Errorf("%s: %v", fixture.ProjectPath(i), roles)
			}
		}
		return nil
	})
}

func role(dir string) error {
	t, err := load(dir, "delegations.json", metadata.TARGETS, metadata.Targets().FromBytes)
	if err != nil {
		return err
	}
	all, err := os.ReadFile(filepath.Join(dir, "roles.jsonl"))
	if err != nil {
		return err
	}
	files := bytes.Split(bytes.TrimSpace(all), []byte("\n"))
	return measure.Report(len(files), func() error {
		for i, data := range files {
			m, err := metadata.Targets().FromBytes(data)
			if err != nil {
				return err
			}
			if err := t.VerifyDelegate(fixture.ProjectRole(i), m); err != nil {
				return err
			}
		}
		return nil
	})
}

// rollback has the loop of trustedmetadata.UpdateSnapshot.
func rollback(dir, before, after string) error {
	older, err := load(dir, before, metadata.SNAPSHOT, metadata.Snapshot().FromBytes)
	if err != nil {
		return err
	}
	newer, err := load(dir, after, metadata.SNAPSHOT, metadata.Snapshot().FromBytes)
	if err != nil {
		return err
	}
	return measure.Report(1, func() error {
		for name, info := range older.Signed.Meta {
			next, ok := newer.Signed.Meta[name]
			if !ok || next.Version < info.Version {
				return errors.New("rollback")
			}
		}
		return nil
	})
}

func follow(dir, url, state string) error {
	anchor, err := os.ReadFile(filepath.Join(dir, "root.json"))
	if err != nil {
		return err
	}
	return measure.Report(1, func() error {
		c, err := config.New(url, anchor)
		if err != nil {
			return err
		}
		c.LocalMetadataDir, c.LocalTargetsDir = state, state
		u, err := updater.New(c)
		if err != nil {
			return err
		}
		if err := u.Refresh(); err != nil {
			return err
		}
		_, err = u.GetTargetInfo(fixture.ClientPath)
		return err
	})
}
