package cli

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/keys"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/client"
	"example.com/bailiwick/tuf/trust"
)

// maintainerFlags are those of every command that signs.
type maintainerFlags struct {
	index          string
	passphraseFile string
	keys           []string
	yes            bool
}

func (f *maintainerFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.index, "index", "", "`URL` of a trusted index (default: BAILIWICK_INDEX, or the default of bailiwick trust)")
	flags.StringArrayVar(&f.keys, "key", nil, "`URI` of a key to sign with: a key file, ssh-agent:, ssh-agent:SHA256:…, pkcs11:…; may be repeated")
	flags.StringVar(&f.passphraseFile, "passphrase-file", "", "`file` whose first line is the passphrase of the key files (default: BAILIWICK_PASSPHRASE_FILE, or the terminal)")
	flags.BoolVar(&f.yes, "yes", false, "sign without asking; without a terminal nothing is signed otherwise")
}

// maintainer is one maintainer's session with an index.
//
// Two sources are kept apart in it. What is verified from the pinned root is what new versions are
// based on. What the index says over its API (which files are staged, which requests wait, who
// uploaded) is shown, and compared with files that are here; nothing is signed on its word alone
// without having been shown.
type maintainer struct {
	in         *installer
	env        *Env
	flags      *maintainerFlags
	pinned     *pinned
	fetcher    *client.HTTPFetcher
	client     *client.Client
	store      *client.Folder
	repository [sha256.Size]byte // of 1.root.json
	api        *apiClient
	opener     *keys.Opener
	signers    []*keys.Signer
}

// openMaintainer pins the index. It makes requests only where a root has to be fetched first.
func openMaintainer(ctx context.Context, env *Env, flags *maintainerFlags) (_ *maintainer, err error) {
	m := &maintainer{in: &installer{env: env}, env: env, flags: flags}
	defer func() {
		if err != nil {
			m.Close()
		}
	}()
	if m.pinned, err = m.in.pinIndex(ctx, flags.index); err != nil {
		return nil, err
	}
	if m.fetcher, err = m.in.fetcher(m.pinned.index.URL); err != nil {
		return nil, err
	}
	if m.store, err = client.OpenFolder(client.FolderConfig{Path: filepath.Join(m.pinned.state, "metadata")}); err != nil {
		return nil, exit(exitUnusable, fmt.Errorf("opening the trust state: %w", err))
	}
	m.client, err = client.New(client.Config{Fetcher: m.fetcher, Store: m.store, Root: m.pinned.root, Now: env.Now})
	if err != nil {
		return nil, exit(exitUnusable, fmt.Errorf("the pinned root %s cannot be used: %w", m.pinned.index.Root, err))
	}
	if m.repository, err = m.firstRoot(ctx); err != nil {
		return nil, err
	}
	m.opener = newKeyOpener(env, flags.passphraseFile)
	return m, nil
}

// login finds the upload token, for what only the index can tell or do.
func (m *maintainer) login(ctx context.Context) error {
	if m.api != nil {
		return nil
	}
	token, err := uploadToken(ctx, m.env, m.pinned.index.URL)
	if err != nil {
		return err
	}
	m.api = newAPIClient(m.in.transport, m.pinned.index.URL, token)
	return nil
}

// Close gives everything up, the keys first.
func (m *maintainer) Close() {
	if m.opener != nil {
		_ = m.opener.Close()
	}
	if m.store != nil {
		_ = m.store.Close()
	}
	if m.fetcher != nil {
		m.fetcher.Close()
	}
}

// pinIndex finds a trusted index: the one that is named, or the one in force.
func (in *installer) pinIndex(ctx context.Context, want string) (*pinned, error) {
	config, from, err := loadTrust(in.env)
	if err != nil {
		return nil, err
	}
	if want == "" {
		want = in.env.Getenv("BAILIWICK_INDEX")
	}
	index, err := config.choose(want)
	if err != nil {
		return nil, err
	}
	return in.withRoot(ctx, index, from)
}

// firstRoot gives the hash by which requests name their repository, that of the first root. A root
// pinned later does not hold it, and nothing depends on the index telling the truth here: it decides
// which index takes a request, not what is signed.
func (m *maintainer) firstRoot(ctx context.Context) ([sha256.Size]byte, error) {
	if u, err := tuf.ParseRoot(m.pinned.root, nil); err == nil && u.Header().Version == 1 {
		return sha256.Sum256(m.pinned.root), nil
	}
	data, err := m.fetcher.Metadata(ctx, "1.root.json", maxRootBytes)
	if err != nil {
		return [sha256.Size]byte{}, m.clientError(fmt.Errorf("fetching the first root: %w", err))
	}
	return sha256.Sum256(data), nil
}

// look refreshes the verified state and reads where a project stands.
func (m *maintainer) look(ctx context.Context, project pypi.Project) (*ceremony.Standing, error) {
	view, err := m.client.Refresh(ctx)
	if err != nil {
		return nil, m.clientError(err)
	}
	set := view.Set()
	s, err := ceremony.Look(set, m.loader(ctx, set), m.repository, project)
	if err != nil {
		return nil, m.clientError(fmt.Errorf("reading the verified state of %s: %w", project, err))
	}
	return s, nil
}

// loader fetches delegated roles for a search; whatever comes is verified there.
func (m *maintainer) loader(ctx context.Context, set *trust.Set) trust.Loader {
	return func(role tuf.RoleName, _ tuf.Meta) ([]byte, error) {
		want, ok := set.Want(role)
		if !ok {
			return nil, fmt.Errorf("role %s is not in the snapshot", role)
		}
		return m.fetcher.Metadata(ctx, want.Name, want.Limit)
	}
}

// clientError gives the errors of the client workflow their exit codes and a plain sentence.
func (m *maintainer) clientError(err error) error {
	var network *client.NetworkError
	var store *client.StoreError
	var locked *client.LockedError
	var refused *trust.RefusedError
	url := redactURL(m.pinned.index.URL)
	switch {
	case errors.As(err, &network):
		return exit(exitUnreachable, fmt.Errorf("cannot reach %s: %w; nothing was signed", url, err))
	case errors.As(err, &store), errors.As(err, &locked):
		return exit(exitUnusable, err)
	case errors.As(err, &refused) && (refused.Code == trust.Expired || refused.Code == trust.Rollback):
		return exit(exitUnusable, fmt.Errorf("the metadata of %s cannot be used: %w; nothing was signed", url, err))
	case errors.As(err, &refused):
		return exit(exitRefused, fmt.Errorf("the metadata of %s does not verify: %w; nothing was signed", url, err))
	}
	return err
}

// openKeys opens the keys to sign with, at least one, and finds the token.
func (m *maintainer) openKeys(ctx context.Context) error {
	if len(m.flags.keys) == 0 {
		return usagef("--key is missing: name the key to sign with, such as --key ssh-agent: or --key alice.key; bailiwick keys list shows what is here")
	}
	var err error
	if m.signers, err = openSigners(ctx, m.opener, m.flags.keys); err != nil {
		return err
	}
	return m.login(ctx)
}

// parseProject reads the name of a project from the command line.
func parseProject(name string) (pypi.Project, error) {
	p, err := pypi.ParseProject(name)
	if err != nil {
		return p, exit(exitUsage, err)
	}
	return p, nil
}

// maxShown bounds one piece of text from the index on a terminal.
const maxShown = 700

// shown makes text that came from elsewhere safe to print: one line, without control characters,
// which could rewrite what the terminal shows around it, and without marks that reverse the direction.
func shown(text string) string {
	var b strings.Builder
	for _, r := range text {
		if b.Len() >= maxShown {
			b.WriteString("…")
			break
		}
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			r = '?'
		}
		b.WriteRune(r)
	}
	return b.String()
}
