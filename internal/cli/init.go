package cli

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"example.com/bailiwick/internal/durable"
	"example.com/bailiwick/internal/files"
	"example.com/bailiwick/internal/index"
	"example.com/bailiwick/internal/keys"
	"example.com/bailiwick/internal/ledger"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
	"example.com/bailiwick/tuf/repo"
)

// newInit creates a repository deliberately; serve does the same with the standard settings.
func newInit(env *Env) *cobra.Command {
	var (
		spec           = genesisSpec{now: env.Now}
		passphraseFile string
		thresholds     []string
		lifetimes      map[string]string
		asJSON         bool
	)
	cmd := &cobra.Command{
		Use:   "init",
		Short: "create a repository and its keys",
		Long: "Create a repository in a new or empty data folder, and its offline keys in a folder apart from it.\n\n" +
			"The data folder gets what the server needs: the ledger, the file store and the three online keys.\n" +
			"The keys of root, targets, claimed and unclaimed are encrypted under a passphrase; move their folder off\n" +
			"the machine when the repository stands. The passphrase is the first line of --passphrase-file (or of the\n" +
			"file that " + passphraseVariable + " names), or is asked at the terminal, or is generated and shown once.",
		Example: "  bailiwick init --data /srv/index --offline-keys /media/stick/keys\n" +
			"  bailiwick init --threshold root=2/3 --lifetime root=730d --json",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if spec.shares, err = parseThresholds(thresholds); err != nil {
				return exit(exitUsage, err)
			}
			spec.settings.Lifetimes = lifetimes
			if _, err := spec.settings.lifetimes(); err != nil {
				return exit(exitUsage, err)
			}
			if _, err := policy.NewLayout(spec.bins); err != nil {
				return exit(exitUsage, fmt.Errorf("--bins: %w", err))
			}
			if spec.bins > stockBins {
				message(env, "with %d bins the snapshot is larger than 2 MB, and TUF clients other than bailiwick refuse it as they come", spec.bins)
			}
			made, err := createRepository(cmd.Context(), env, spec, passphraseFile)
			if err != nil {
				return err
			}
			if asJSON {
				return made.writeJSON(env.Stdout)
			}
			made.report(env.Stdout, "http://"+defaultListen, "bailiwick serve --data "+shellWord(spec.data))
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&spec.data, "data", defaultData, "data `folder` of the server, new or empty")
	flags.StringVar(&spec.offline, "offline-keys", "", "`folder` for the offline keys, apart from the data folder (default "+offlineName+" beside it)")
	flags.StringVar(&passphraseFile, "passphrase-file", "", "`file` whose first line is the passphrase of the offline keys")
	flags.IntVar(&spec.bins, "bins", standardBins, "number of bins: 16, 256, 4096 or 65536")
	flags.StringArrayVar(&thresholds, "threshold", nil, "`ROLE=M/N`: make N keys for root, targets, claimed or unclaimed, of which M must sign (default 1/1)")
	flags.StringToStringVar(&lifetimes, "lifetime", nil, "`ROLE=TIME`: how long signatures of a role are good, such as root=365d")
	flags.BoolVar(&asJSON, "json", false, "print the result as one JSON object")
	return cmd
}

// stockBins is the greatest number of bins whose roles leave most of a stock client's 2 MB for projects.
const stockBins = 4096

// share says how many keys a role has and how many of them must sign.
type share struct{ need, keys int }

// parseThresholds reads ROLE=M/N.
func parseThresholds(flags []string) (map[policy.KeyRole]share, error) {
	shares := map[policy.KeyRole]share{}
	for _, flag := range flags {
		role, text, _ := strings.Cut(flag, "=")
		need, count, ok := strings.Cut(text, "/")
		m, err1 := strconv.Atoi(need)
		n, err2 := strconv.Atoi(count)
		if !ok || err1 != nil || err2 != nil || m < 1 || n < m || n > maxShare {
			return nil, fmt.Errorf("--threshold %q: write it as ROLE=M/N with 1 to %d keys, such as root=2/3", flag, maxShare)
		}
		switch kr := policy.KeyRole(role); kr {
		case policy.KeyRoot, policy.KeyTargets, policy.KeyClaimed, policy.KeyUnclaimed:
			shares[kr] = share{m, n}
		default:
			return nil, fmt.Errorf("--threshold %q: only root, targets, claimed and unclaimed have several keys", flag)
		}
	}
	return shares, nil
}

// maxShare bounds the keys of one role.
const maxShare = 20

// genesisSpec is what a new repository is made from.
type genesisSpec struct {
	data, offline string // folders; offline empty: the default beside data
	bins          int
	shares        map[policy.KeyRole]share
	settings      settings
	now           func() time.Time
}

// created is a repository that has just been made. It holds secrets, to be shown once.
type created struct {
	Data        string `json:"data"`
	OfflineKeys string `json:"offline_keys"`
	RootSHA256  string `json:"root_sha256"`
	UploadToken string `json:"upload_token"`
	Bins        int    `json:"bins"`
	Passphrase  string `json:"passphrase,omitempty"` // only if it was generated
}

// createRepository makes a repository. The order makes a crash harmless: offline keys, online keys,
// folders, the token, each durable before the next; the first publication of the ledger comes last,
// and only it makes the folder a repository. What an error or an interrupt leaves behind is removed.
func createRepository(ctx context.Context, env *Env, spec genesisSpec, passphraseFile string) (_ *created, err error) {
	if spec.offline == "" {
		spec.offline = defaultOffline(spec.data)
	}
	if err := checkCreatable(ctx, &spec); err != nil {
		return nil, err
	}
	passphrase, generated, err := newPassphrase(ctx, env, passphraseFile)
	if err != nil {
		return nil, err
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
	made := &created{Data: spec.data, OfflineKeys: spec.offline, Bins: spec.bins}
	if generated {
		made.Passphrase = string(passphrase)
	}
	if err := makeFolders(&spec); err != nil {
		return nil, err
	}
	if err := made.genesis(ctx, &spec, ring); err != nil {
		return nil, err
	}
	return made, nil
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
	case state == folderUnfinished:
		return errUnfinished(spec.data)
	}
	found, err := filepath.Glob(filepath.Join(spec.offline, "*.key"))
	if err != nil {
		return fmt.Errorf("looking for offline keys: %w", err)
	}
	if len(found) > 0 {
		return fmt.Errorf("%s holds keys already (%s): name another folder with --offline-keys, or move them away if they belong to nothing",
			spec.offline, filepath.Base(found[0]))
	}
	return nil
}

// keyring is every private key of a new repository, by what it is for.
type keyring map[policy.KeyRole][]*keys.Key

// makeKeys generates the keys and stores them: offline ones encrypted, online ones in the data folder.
// stored is given the files of offline keys, also if an error comes later.
func makeKeys(ctx context.Context, spec *genesisSpec, pass keys.Passphrase, options []keys.Option, stored *[]string) (keyring, error) {
	if err := makeFolder(spec.offline); err != nil {
		return nil, fmt.Errorf("making the folder for the offline keys: %w", err)
	}
	keysDir := filepath.Join(spec.data, keysFolder)
	if err := makeFolder(keysDir); err != nil {
		return nil, fmt.Errorf("making the folder for the online keys: %w", err)
	}
	ring := keyring{}
	for _, role := range policy.KeyRoles() {
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
			if role.Online() {
				err = keys.CreateOnline(onlineKeyPath(spec.data, role), k)
			} else {
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
	if len(spec.settings.Lifetimes) > 0 {
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

// genesis signs the first state and commits it: the moment from which the repository exists.
func (made *created) genesis(ctx context.Context, spec *genesisSpec, ring keyring) (err error) {
	now := spec.now().UTC().Truncate(time.Second)
	first, err := signGenesis(ctx, spec, ring, now)
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
	if err := publish.Create(ctx, l, now, first); err != nil {
		return fmt.Errorf("publishing the first state of the repository: %w", err)
	}
	made.UploadToken = secret
	for _, m := range first {
		if m.Role == tuf.RoleRoot {
			made.RootSHA256 = hexSHA256(m.Bytes)
		}
	}
	return nil
}

// signGenesis makes the metadata of publication 1.
func signGenesis(ctx context.Context, spec *genesisSpec, ring keyring, now time.Time) ([]publish.Metadata, error) {
	layout, err := policy.NewLayout(spec.bins)
	if err != nil {
		return nil, fmt.Errorf("choosing the bins: %w", err)
	}
	lifetimes, err := spec.settings.lifetimes()
	if err != nil {
		return nil, err
	}
	public := map[policy.KeyRole][]*key.Public{}
	var signers []key.Signer
	for role, ks := range ring {
		for _, k := range ks {
			public[role] = append(public[role], k.Public())
			signers = append(signers, k)
		}
	}
	drafts, err := policy.Genesis(policy.GenesisSpec{
		Layout: layout, Keys: public, Lifetimes: lifetimes, Now: now,
		Thresholds: policy.Thresholds{
			Root: spec.shares[policy.KeyRoot].need, Targets: spec.shares[policy.KeyTargets].need,
			Claimed: spec.shares[policy.KeyClaimed].need, Unclaimed: spec.shares[policy.KeyUnclaimed].need,
		},
	})
	if err != nil {
		return nil, fmt.Errorf("drawing up the first state of the repository: %w", err)
	}
	first := make([]publish.Metadata, 0, len(drafts))
	for _, d := range drafts {
		signed, err := repo.Sign(ctx, d, signers...)
		if err != nil {
			return nil, fmt.Errorf("signing %s: %w", d.Role(), err)
		}
		first = append(first, publish.Metadata{Role: d.Role(), Version: d.Version(), Expires: d.Expires(), Bytes: signed})
	}
	return first, nil
}

// writeJSON prints one object on one line.
func (made *created) writeJSON(w io.Writer) error {
	text, err := json.Marshal(made)
	if err != nil {
		return fmt.Errorf("printing the result: %w", err)
	}
	_, err = fmt.Fprintf(w, "%s\n", text)
	return err //nolint:wrapcheck // standard output is gone; there is nothing to add
}

// report prints what was made and what to do next. url is where the server is or will be; before,
// unless empty, is what has to be done first.
func (made *created) report(w io.Writer, url, before string) {
	_, _ = fmt.Fprintf(w, "bailiwick: created a repository in %s (%d bins, custody standard)\n\n", made.Data, made.Bins)
	_, _ = fmt.Fprintf(w, "  root           sha256:%s\n                 what your users pin; print it, publish it\n", made.RootSHA256)
	_, _ = fmt.Fprintf(w, "  offline keys   %s   encrypted; move this folder off this machine\n", made.OfflineKeys)
	if made.Passphrase != "" {
		_, _ = fmt.Fprintf(w, "  passphrase     %s   of the offline keys, made for you; shown this once, write it down\n", made.Passphrase)
	}
	_, _ = fmt.Fprintf(w, "  upload token   %s   shown this once\n\n", made.UploadToken)
	steps := []string{
		"twine upload --repository-url " + url + "/legacy/ -u __token__ dist/*",
		"bailiwick trust add " + url + " --root sha256:" + made.RootSHA256,
		"bailiwick pip install YOUR-PROJECT",
	}
	if before != "" {
		steps = append([]string{before}, steps...)
	}
	for i, step := range steps {
		head := "         "
		if i == 0 {
			head = "  next   "
		}
		_, _ = fmt.Fprintln(w, head+step)
	}
	_, _ = fmt.Fprintln(w)
}

func hexSHA256(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// shellWord quotes a word for a line that people copy into a shell.
func shellWord(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-+:@%") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
