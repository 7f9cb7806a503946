package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"example.com/bailiwick/internal/durable"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/sitting"
)

// requestFile is, in a data folder whose repository does not exist yet, the request for the signatures that
// are still missing, with those that are there. It makes the folder one that waits.
const requestFile = "root.request"

// wait writes the request for what other people have to sign: the last step on this side.
func (made *created) wait(spec *genesisSpec, request *sitting.Request, verdict *sitting.Verdict) error {
	if err := storeRequest(spec.data, request, durable.Create); err != nil {
		return err
	}
	made.waits(spec.data, request, verdict)
	return nil
}

// waits notes what is missing.
func (made *created) waits(data string, request *sitting.Request, verdict *sitting.Verdict) {
	made.Request, made.Expires = filepath.Join(data, requestFile), request.Expires
	made.Missing = sitting.Waiting(verdict.Missing, request.Holders().Names)
}

// storeRequest writes the request of a data folder durably.
func storeRequest(data string, request *sitting.Request, store func(*os.Root, string, []byte, fs.FileMode) error) error {
	var b bytes.Buffer
	if err := sitting.Encode(&b, request); err != nil {
		return fmt.Errorf("writing the request: %w", err)
	}
	root, err := os.OpenRoot(data)
	if err != nil {
		return fmt.Errorf("opening the data folder: %w", err)
	}
	defer func() { _ = root.Close() }() // what was written in it is synced
	if err := store(root, requestFile, b.Bytes(), 0o600); err != nil {
		return fmt.Errorf("writing the request: %w", err)
	}
	return nil
}

// readRequest reads a request from a file.
func readRequest(path string) (_ *sitting.Request, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening the request: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	r, err := sitting.Decode(f)
	return r, aboutFile(path, err)
}

// pendingRequest reads the request of a folder that waits, and judges it.
func pendingRequest(data string, now time.Time) (*sitting.Request, *sitting.Verdict, error) {
	path := filepath.Join(data, requestFile)
	r, err := readRequest(path)
	if err != nil {
		return nil, nil, err
	}
	v, err := sitting.Judge(r, now)
	return r, v, aboutFile(path, err)
}

// errPending explains a repository that waits for signatures, without a clock: what has expired is said
// when it is resumed.
func errPending(data string) error {
	path := filepath.Join(data, requestFile)
	explain := "they sign it with bailiwick-sign, and bailiwick init --data " + shellWord(data) + " --resume SIGNED… starts the repository"
	r, err := readRequest(path)
	if err != nil {
		return err
	}
	v, err := sitting.Judge(r, r.Created)
	if err != nil {
		return aboutFile(path, err)
	}
	if v.Complete() {
		return fmt.Errorf("%s holds a repository that has all its signatures and was not started: run bailiwick init --data %s --resume", data, shellWord(data))
	}
	return fmt.Errorf("%s holds a repository that waits for signatures (%s): send %s to them; %s",
		data, strings.Join(sitting.Waiting(v.Missing, r.Holders().Names), "; "), path, explain)
}

// resumeCreation takes the signatures that came, in any number of files and in any order, and starts the
// repository once there are enough. Each file may hold signatures of several people. Whatever fails or breaks
// off, the same command may be given again.
func resumeCreation(ctx context.Context, env *Env, spec genesisSpec, signed []string) (_ *created, err error) {
	if err := requirePending(ctx, spec.data); err != nil {
		return nil, err
	}
	lock, err := durable.LockFolder(spec.data)
	if err != nil {
		return nil, fmt.Errorf("locking the data folder: %w", err)
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	if err := requirePending(ctx, spec.data); err != nil { // again: somebody may have been faster
		return nil, err
	}
	now := env.Now().UTC().Truncate(time.Second)
	request, verdict, err := pendingRequest(spec.data, now)
	if err != nil {
		return nil, err
	}
	if len(signed) > 0 {
		if verdict, err = takeSignatures(spec.data, request, signed, now); err != nil {
			return nil, err
		}
	}
	config, err := readSettings(spec.data)
	if err != nil {
		return nil, err
	}
	spec.settings = *config
	if spec.signerKeys == "" {
		spec.signerKeys = defaultSignerKeys(spec.data)
	}
	made := &created{Data: spec.data, Custody: spec.settings.word()}
	if genesis, err := sitting.FirstSpec(request, policy.DefaultLifetimes()); err == nil {
		made.Bins = genesis.Layout.Bins()
	}
	if !verdict.Complete() {
		made.waits(spec.data, request, verdict)
		return made, nil
	}
	if err := removeLedger(spec.data); err != nil {
		return nil, err
	}
	if err := made.start(ctx, &spec, request, verdict, now); err != nil {
		return nil, err
	}
	return made, removeRequest(spec.data)
}

// requirePending refuses everything but a folder that waits for signatures.
func requirePending(ctx context.Context, data string) error {
	state, err := inspectFolder(ctx, data)
	switch {
	case err != nil:
		return err
	case state == folderPending:
		return nil
	case state == folderRepository:
		return errors.Join(removeRequest(data), fmt.Errorf("the repository in %s has started already: bailiwick serve --data %s", data, shellWord(data)))
	case state == folderUnfinished:
		return errUnfinished(data)
	}
	return fmt.Errorf("nothing waits for signatures in %s: prepare a repository with bailiwick init --root-invitation", data)
}

// takeSignatures adds the signatures of files to the request of a folder. All of them are good, or nothing
// is taken.
func takeSignatures(data string, request *sitting.Request, signed []string, now time.Time) (*sitting.Verdict, error) {
	merged := request.Clone()
	var verdict *sitting.Verdict
	for _, path := range signed {
		other, err := readRequest(path)
		if err != nil {
			return nil, err
		}
		if _, err := merged.Merge(other); err != nil {
			return nil, aboutFile(path, err)
		}
		if verdict, err = sitting.Judge(merged, now); err != nil {
			return nil, aboutFile(path, err)
		}
	}
	*request = *merged
	return verdict, storeRequest(data, request, durable.Replace)
}

// removeLedger removes what a start that broke off left of a ledger without a publication.
func removeLedger(data string) error {
	names, err := filepath.Glob(filepath.Join(data, ledgerFile+"*"))
	if err != nil {
		return fmt.Errorf("looking for an unfinished ledger: %w", err)
	}
	slices.Reverse(names) // the ledger itself last: without the others it would be another one
	for _, name := range names {
		if err := os.Remove(name); err != nil {
			return fmt.Errorf("removing an unfinished ledger: %w", err)
		}
	}
	return nil
}

// removeRequest removes the request of a folder whose repository has started. If it stays, it does no harm.
func removeRequest(data string) error {
	err := os.Remove(filepath.Join(data, requestFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing the request that was fulfilled: %w", err)
	}
	return nil
}

// abandonCreation removes a repository that was never started. Offline keys are left alone: they may be
// somebody's.
func abandonCreation(ctx context.Context, env *Env, data string) (err error) {
	state, err := inspectFolder(ctx, data)
	switch {
	case err != nil:
		return err
	case state == folderRepository:
		return fmt.Errorf("%s holds a repository, and nothing was removed", data)
	case state == folderFresh:
		return fmt.Errorf("there is nothing in %s to abandon", data)
	}
	lock, err := durable.LockFolder(data)
	if err != nil {
		return fmt.Errorf("locking the data folder: %w", err)
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	if state, err = inspectFolder(ctx, data); err != nil || state == folderRepository {
		return errors.Join(err, fmt.Errorf("%s has changed, and nothing was removed", data))
	}
	if err := emptyFolder(data); err != nil {
		return fmt.Errorf("removing what was prepared: %w", err)
	}
	message(env, "removed what was prepared in %s; offline keys that were made for it stay where they are and belong to nothing now", data)
	return nil
}
