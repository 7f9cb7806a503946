package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"example.com/bailiwick/internal/durable"
	"example.com/bailiwick/internal/files"
	"example.com/bailiwick/internal/index"
	"example.com/bailiwick/internal/keys"
	"example.com/bailiwick/internal/ledger"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/sitting"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
	"example.com/bailiwick/tuf/repo"
)

// createRepository makes a repository, or prepares one that waits for the signatures of people elsewhere.
// The order makes a crash harmless: offline keys, online keys, folders, the token, each durable before the
// next; the first publication of the ledger comes last, and only it makes the folder a repository. Where
// signatures are missing, the last step is the request for them. What an error or an interrupt leaves
// behind is removed.
func createRepository(ctx context.Context, env *Env, spec genesisSpec, passphraseFile string) (_ *created, err error) {
	if spec.offline == "" {
		spec.offline = defaultOffline(spec.data)
	}
	if spec.signerKeys == "" {
		spec.signerKeys = defaultSignerKeys(spec.data)
	}
	if err := checkCreatable(ctx, &spec); err != nil {
		return nil, err
	}
	made := &created{Data: spec.data, OfflineKeys: spec.offline, Bins: spec.bins, Custody: spec.settings.word()}
	var passphrase []byte
	if spec.makesOfflineKeys() {
		var generated bool
		if passphrase, generated, err = newPassphrase(ctx, env, passphraseFile); err != nil {
			return nil, err
		}
		if generated {
			made.Passphrase = string(passphrase)
		}
	} else {
		made.OfflineKeys = ""
	}
	if err := makeFolder(spec.data); err != nil {
		return nil, fmt.Errorf("making the data folder: %w", err)
	}
	lock, err := durable.LockFolder(spec.data)
	if err != nil {
		return nil, fmt.Errorf("locking the data folder: %w", err)
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	if err := checkCreatable(ctx, &spec); err != nil { // again: somebody may have been faster
		return nil, err
	}
	var stored []string
	defer func() {
		if err != nil {
			err = undoCreation(ctx, &spec, stored, err)
		}
	}()
	ring, err := makeKeys(ctx, &spec, fixedPassphrase(passphrase), env.keyOptions, &stored)
	if err != nil {
		return nil, err
	}
	if err := makeFolders(&spec); err != nil {
		return nil, err
	}
	request, verdict, err := firstRequest(ctx, &spec, ring)
	if err != nil {
		return nil, err
	}
	if !verdict.Complete() {
		return made, made.wait(&spec, request, verdict)
	}
	return made, made.start(ctx, &spec, request, verdict, request.Created)
}

// checkCreatable refuses folders that hold something.
func checkCreatable(ctx context.Context, spec *genesisSpec) error {
	if err := checkApart(spec.data, spec.offline); err != nil {
		return err
	}
	state, err := inspectFolder(ctx, spec.data)
	switch {
	case err != nil:
		return err
	case state == folderRepository:
		return fmt.Errorf("there is a repository in %s already: start it with bailiwick serve --data %s", spec.data, spec.data)
	case state == folderPending:
		return errPending(spec.data)
	case state == folderUnfinished:
		return errUnfinished(spec.data)
	}
	if err := checkSignerKeys(spec); err != nil {
		return err
	}
	found, err := filepath.Glob(filepath.Join(spec.offline, "*.key"))
	if err != nil {
		return fmt.Errorf("looking for offline keys: %w", err)
	}
	if len(found) > 0 && spec.makesOfflineKeys() {
		return fmt.Errorf("%s holds keys already (%s): name another folder with --offline-keys, or move them away if they belong to nothing",
			spec.offline, filepath.Base(found[0]))
	}
	return nil
}

// keyring is every private key of a new repository that is made here, by what it is for.
type keyring map[policy.KeyRole][]*keys.Key

// makeKeys generates the keys and stores them: offline ones encrypted, online ones in the data folder.
// Keys that people hold elsewhere are not made. stored is given the files of offline keys, also if an
// error comes later.
func makeKeys(ctx context.Context, spec *genesisSpec, pass keys.Passphrase, options []keys.Option, stored *[]string) (keyring, error) {
	folders := []string{filepath.Join(spec.data, keysFolder)}
	if spec.settings.anyStrict() {
		folders = append(folders, spec.signerKeys)
	}
	if spec.makesOfflineKeys() {
		folders = append(folders, spec.offline)
	}
	for _, folder := range folders {
		if err := makeFolder(folder); err != nil {
			return nil, fmt.Errorf("making a folder for keys: %w", err)
		}
	}
	ring := keyring{}
	for _, role := range policy.KeyRoles() {
		if _, elsewhere := spec.held[role]; elsewhere {
			continue
		}
		n := max(spec.shares[role].keys, 1)
		for i := range n {
			if err := ctx.Err(); err != nil { // each offline key takes about a second
				return nil, fmt.Errorf("making keys: %w", err)
			}
			name := string(role)
			if n > 1 {
				name += "-" + strconv.Itoa(i+1)
			}
			k, err := keys.Generate(name)
			if err != nil {
				return nil, fmt.Errorf("making the key %s: %w", name, err)
			}
			switch path := filepath.Join(spec.signerKeys, string(role)+".key"); {
			case spec.settings.isStrict(role):
				if err = keys.CreateOnline(path, k); err == nil {
					*stored = append(*stored, path)
				}
			case role.Online():
				err = keys.CreateOnline(onlineKeyPath(spec.data, role), k)
			default:
				path := filepath.Join(spec.offline, name+".key")
				if err = keys.CreateOffline(ctx, path, k, pass, options...); err == nil {
					*stored = append(*stored, path)
				}
			}
			if err != nil {
				return nil, fmt.Errorf("storing the key %s: %w", name, err)
			}
			ring[role] = append(ring[role], k)
		}
	}
	return ring, nil
}

// makeFolders makes everything of the data folder but the ledger.
func makeFolders(spec *genesisSpec) error {
	store, err := files.Create(spec.data)
	if err != nil {
		return fmt.Errorf("making the file store: %w", err)
	}
	if err := store.Close(); err != nil {
		return fmt.Errorf("making the file store: %w", err)
	}
	root, err := os.OpenRoot(spec.data)
	if err != nil {
		return fmt.Errorf("opening the data folder: %w", err)
	}
	defer func() { _ = root.Close() }() // what was written in it is synced
	if !spec.settings.isStandard() {
		text, err := spec.settings.encode()
		if err != nil {
			return err
		}
		if err := durable.Create(root, configFile, text, 0o600); err != nil {
			return fmt.Errorf("writing the configuration: %w", err)
		}
	}
	if err := durable.CreateFormat(root, dataFormat); err != nil {
		return fmt.Errorf("marking the data folder: %w", err)
	}
	return nil
}

// firstRequest drafts what the offline keys sign and signs it with those that are here.
func firstRequest(ctx context.Context, spec *genesisSpec, ring keyring) (*sitting.Request, *sitting.Verdict, error) {
	genesis, err := spec.genesis(ring)
	if err != nil {
		return nil, nil, err
	}
	by := "bailiwick init"
	request, err := sitting.First(genesis, genesis.Now.Add(sitting.MaxLife), by, "")
	if err != nil {
		return nil, nil, fmt.Errorf("drawing up the first state of the repository: %w", err)
	}
	for i := range request.Payloads {
		p := &request.Payloads[i]
		role, _ := policy.SignedBy(p.Role)
		for _, k := range ring[role] {
			if err := ctx.Err(); err != nil {
				return nil, nil, err //nolint:wrapcheck // explained where it is undone
			}
			sig, err := k.Sign(ctx, p.Message)
			if err != nil {
				return nil, nil, fmt.Errorf("signing %s: %w", p.Role, err)
			}
			if _, err := request.Add(p.Role, tuf.Signature{KeyID: k.Public().ID(), Sig: sig}); err != nil {
				return nil, nil, fmt.Errorf("signing %s: %w", p.Role, err)
			}
		}
	}
	verdict, err := sitting.Judge(request, genesis.Now)
	if err != nil {
		return nil, nil, fmt.Errorf("checking the first state of the repository: %w", err)
	}
	return request, verdict, nil
}

// genesis is the repository to be made.
func (spec *genesisSpec) genesis(ring keyring) (policy.GenesisSpec, error) {
	layout, err := policy.NewLayout(spec.bins)
	if err != nil {
		return policy.GenesisSpec{}, fmt.Errorf("choosing the bins: %w", err)
	}
	lifetimes, err := spec.settings.lifetimes()
	if err != nil {
		return policy.GenesisSpec{}, err
	}
	out := policy.GenesisSpec{
		Layout: layout, Lifetimes: lifetimes, Now: spec.now().UTC().Truncate(time.Second),
		Keys: map[policy.KeyRole][]*key.Public{}, Holders: map[key.ID]string{},
		Thresholds: policy.Thresholds{
			Root: spec.need(policy.KeyRoot), Targets: spec.need(policy.KeyTargets),
			Claimed: spec.need(policy.KeyClaimed), Unclaimed: spec.need(policy.KeyUnclaimed),
		},
	}
	for role, ks := range ring {
		for _, k := range ks {
			out.Keys[role] = append(out.Keys[role], k.Public())
		}
	}
	for role, h := range spec.held {
		for _, holder := range h.holders {
			out.Keys[role] = append(out.Keys[role], holder.Key)
			out.Holders[holder.Key.ID()] = holder.Name
		}
	}
	return out, nil
}

// need is how many keys of a role sign; zero means one.
func (spec *genesisSpec) need(role policy.KeyRole) int {
	if h, ok := spec.held[role]; ok {
		return h.threshold
	}
	return spec.shares[role].need
}

// start signs what online keys sign, and commits the first publication: the moment from which the
// repository exists.
func (made *created) start(ctx context.Context, spec *genesisSpec, request *sitting.Request, verdict *sitting.Verdict, now time.Time) (err error) {
	first, err := firstPublication(ctx, spec, request, verdict, now)
	if err != nil {
		return err
	}
	l, err := ledger.CreateSQLite(ctx, filepath.Join(spec.data, ledgerFile))
	if err != nil {
		return fmt.Errorf("making the ledger: %w", err)
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	secret, token, err := index.NewToken(rand.Reader, now, "first token, made with the repository", nil)
	if err != nil {
		return fmt.Errorf("making the first upload token: %w", err)
	}
	if err := l.PutToken(ctx, token); err != nil {
		return fmt.Errorf("storing the first upload token: %w", err)
	}
	if spec.settings.anyStrict() {
		root, _ := verdict.Result(tuf.RoleRoot)
		if err := made.equipSigner(ctx, l, spec, root.Bytes, now); err != nil {
			return err
		}
	}
	if err := publish.Create(ctx, l, now, first); err != nil {
		return fmt.Errorf("publishing the first state of the repository: %w", err)
	}
	made.UploadToken = secret
	root, _ := verdict.Result(tuf.RoleRoot)
	made.RootSHA256 = hexSHA256(root.Bytes)
	return nil
}

// firstPublication is what offline keys signed, and the rest of publication 1 with it.
func firstPublication(ctx context.Context, spec *genesisSpec, request *sitting.Request, verdict *sitting.Verdict, now time.Time) ([]publish.Metadata, error) {
	lifetimes, err := spec.settings.lifetimes()
	if err != nil {
		return nil, err
	}
	genesis, err := sitting.FirstSpec(request, lifetimes)
	if err != nil {
		return nil, fmt.Errorf("reading the request: %w", err)
	}
	genesis.Now = now
	drafts, err := policy.Genesis(genesis)
	if err != nil {
		return nil, fmt.Errorf("drawing up the first state of the repository: %w", err)
	}
	online, err := genesisSigners(spec)
	if err != nil {
		return nil, err
	}
	first := make([]publish.Metadata, 0, len(drafts))
	for _, r := range verdict.Roles {
		first = append(first, publish.Metadata{Role: r.Role, Version: r.Version, Expires: r.Expires, Bytes: r.Bytes})
	}
	for _, d := range drafts {
		if _, signed := verdict.Result(d.Role()); signed {
			continue
		}
		signed, err := repo.Sign(ctx, d, online...)
		if err != nil {
			return nil, fmt.Errorf("signing %s: %w", d.Role(), err)
		}
		first = append(first, publish.Metadata{Role: d.Role(), Version: d.Version(), Expires: d.Expires(), Bytes: signed})
	}
	return first, nil
}
