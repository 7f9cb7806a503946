package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"example.com/bailiwick/internal/verify"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/client"
)

// newTrust manages which indexes the user trusts.
func newTrust(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "trust",
		Short: "say which index to trust, by its root",
		Long: "Trust begins with one hash: that of the root metadata which the index's operators publish. It is pinned\n" +
			"here, in your configuration, or in a " + projectConfigName + " that travels with your project and takes precedence:\n\n" +
			"  [[index]]\n  url  = \"https://pkgs.example.com\"\n  root = \"sha256:8f41…d2\"\n\n" +
			"Where several indexes are trusted, the one added last is used, or the one that BAILIWICK_INDEX names by its URL.\n\n" +
			"The same files may ask for more than a good signature. Each [[require]] names projects by patterns, and the least\n" +
			"assurance they must have: \"claimed\", \"recently claimed\" or \"unclaimed\"; with index = URL for one index only.\n" +
			"Of all rules that match, those of the user's own file among them, the one that asks for most counts:\n\n" +
			"  [[require]]\n  projects  = [\"corp-*\", \"flask\"]\n  assurance = \"claimed\"",
		Args: NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newTrustAdd(env), newTrustList(env), newTrustRemove(env))
	return cmd
}

func newTrustAdd(env *Env) *cobra.Command {
	var root string
	var replace bool
	cmd := &cobra.Command{
		Use:   "add URL --root sha256:HEX|FILE",
		Short: "pin the root of an index and check that the index leads back to it",
		Long: "Pins the root of the index at URL, given as the hash that its operators publish or as a root file, and\n" +
			"checks once that the index's metadata leads back to it. Without --root nothing is trusted: whoever sits\n" +
			"between you and the index would choose what you trust.\n\n" +
			"Exit codes: 2 wrong usage, 3 no root there has the pinned hash, 4 the metadata is unusable, 5 unreachable.",
		Example: "  bailiwick trust add https://pkgs.example.com --root sha256:8f41…d2",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			in := &installer{env: env}
			return in.trustAdd(cmd.Context(), args[0], root, replace)
		},
	}
	cmd.Flags().StringVar(&root, "root", "", "`sha256:HEX` of the root metadata, or a root metadata file")
	cmd.Flags().BoolVar(&replace, "replace", false, "pin another root than the one pinned for this URL before")
	return cmd
}

func newTrustRemove(env *Env) *cobra.Command {
	return &cobra.Command{
		Use:   "remove URL",
		Short: "stop trusting an index, and forget what is known about it",
		Args:  cobra.ExactArgs(1),
		RunE:  func(_ *cobra.Command, args []string) error { return trustRemove(env, args[0]) },
	}
}

// trustAdd pins a root. Nothing is written to the configuration before the index has proved that it
// leads back to it.
func (in *installer) trustAdd(ctx context.Context, url, root string, replace bool) error {
	index, file, err := readPin(url, root)
	if err != nil {
		return err
	}
	if err := in.checkKnown(index, replace); err != nil {
		return err
	}
	p, existed, err := in.prepare(ctx, index, file)
	if err != nil {
		return err
	}
	summary, err := in.prove(ctx, p)
	if err != nil {
		if !existed {
			_ = os.RemoveAll(p.state) // made a moment ago
		}
		return err
	}
	path, err := in.keepTrust(p, replace)
	if err != nil {
		return err
	}
	in.printTrusted(p, summary, path)
	return nil
}

// readPin reads the arguments of trust add: the root is a hash, or a file whose hash becomes the pin.
func readPin(url, root string) (trustIndex, []byte, error) {
	normal, err := indexURL(url)
	if err != nil {
		return trustIndex{}, nil, exit(exitUsage, err)
	}
	index := trustIndex{URL: normal, Root: root}
	switch {
	case root == "":
		return index, nil, usagef("--root is missing: give the hash that the index's operators publish, as sha256:HEX, or a root file")
	case strings.HasPrefix(root, "sha256:"):
		if err := checkPin(root); err != nil {
			return index, nil, usagef("--root: %w", err)
		}
		return index, nil, nil
	}
	data, err := readBounded(root, maxRootBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return index, nil, usagef("--root: %q is neither a file nor a hash of the form sha256:HEX", root)
	}
	if err != nil {
		return index, nil, fmt.Errorf("reading the root file: %w", err)
	}
	sum := sha256.Sum256(data)
	index.Root = "sha256:" + hex.EncodeToString(sum[:])
	return index, data, nil
}

// checkKnown refuses to change the pin of a known index in passing: that is the one thing an attacker
// wants people to do.
func (in *installer) checkKnown(index trustIndex, replace bool) error {
	_, c, err := loadUserTrust(in.env)
	if err != nil {
		return err
	}
	return samePin(c, index, replace)
}

func samePin(c *trustConfig, index trustIndex, replace bool) error {
	for _, known := range c.Indexes {
		if known.URL == index.URL && known.Root != index.Root && !replace {
			return exit(exitRefused, fmt.Errorf("%s is trusted already, with another root (%s): an index renews its root by itself, so a changed pin needs a reason; if its operators told you, add --replace",
				redactURL(index.URL), known.Root))
		}
	}
	return nil
}

// prepare gets the root file and puts it into the state folder. existed reports whether there was
// such a folder.
func (in *installer) prepare(ctx context.Context, index trustIndex, file []byte) (p *pinned, existed bool, err error) {
	states, err := trustStateFolder(in.env)
	if err != nil {
		return nil, false, err
	}
	p = &pinned{index: index, root: file, from: "the command line", state: filepath.Join(states, index.rootHex())}
	if _, err := os.Stat(p.state); err == nil {
		existed = true
	}
	if p.root == nil {
		if p.root, err = in.fetchRoot(ctx, index); err != nil {
			return nil, existed, err
		}
	}
	return p, existed, nil
}

// prove refreshes once from the pinned root.
func (in *installer) prove(ctx context.Context, p *pinned) (verify.Summary, error) {
	if _, err := client.New(client.Config{Fetcher: noFetcher{}, Store: client.NewMemory(), Root: p.root, Now: in.env.Now}); err != nil {
		return verify.Summary{}, exit(exitRefused, fmt.Errorf("%s is not usable root metadata: %w", p.index.Root, err))
	}
	o, err := in.open(p, engineOptions{noCache: true, passive: true})
	if err != nil {
		return verify.Summary{}, err
	}
	defer o.Close()
	err = o.Refresh(ctx)
	var e *verify.Error
	if errors.As(err, &e) {
		report(in.env, e)
		return verify.Summary{}, exit(classCode(e.Class), fmt.Errorf("%s was not added", redactURL(p.index.URL)))
	}
	return o.Summary(), err
}

// noFetcher is for looking at a root file alone.
type noFetcher struct{ client.Fetcher }

// keepTrust writes the pin and its root file to the user's configuration.
func (in *installer) keepTrust(p *pinned, replace bool) (string, error) {
	if err := p.write("root.json", p.root); err != nil {
		return "", err
	}
	index := p.index
	index.RootFile = filepath.Join(rootsFolder, index.rootHex()+".json")
	return editUserTrust(in.env, map[string][]byte{index.RootFile: p.root}, func(c *trustConfig) error {
		if err := samePin(c, index, replace); err != nil { // another process may have been faster
			return err
		}
		c.Indexes = slices.DeleteFunc(c.Indexes, func(known trustIndex) bool { return known.URL == index.URL })
		c.Indexes = append(c.Indexes, index)
		c.Default = index.URL
		return nil
	})
}

func (in *installer) printTrusted(p *pinned, s verify.Summary, path string) {
	out := in.env.Stdout
	fmt.Fprintf(out, "trusted %s\n\n", redactURL(p.index.URL))
	fmt.Fprintf(out, "  root       %s%s\n", p.index.Root, describeRoot(p.root))
	fmt.Fprintf(out, "  snapshot   %d, good for another %s\n", s.Snapshot, verify.Duration(s.Expires.Sub(in.env.Now())))
	fmt.Fprintf(out, "  kept in    %s\n\n", in.tilde(path))
	fmt.Fprintf(out, "next   bailiwick pip install PROJECT\n")
	if project, _, err := findProjectConfig(); err == nil && project != "" {
		message(in.env, "%s takes precedence in this folder", project)
	}
}

// describeRoot says in words what the pinned root is.
func describeRoot(data []byte) string {
	u, err := tuf.ParseRoot(data, nil)
	if err != nil {
		return ""
	}
	h := u.Header()
	return fmt.Sprintf("   version %d, until %s", h.Version, h.Expires.Format(time.DateOnly))
}

// trustRemove forgets an index: its pin, and the trust state unless another index shares the root.
func trustRemove(env *Env, url string) error {
	normal, err := indexURL(url)
	if err != nil {
		return exit(exitUsage, err)
	}
	var removed trustIndex
	shared := false
	_, err = editUserTrust(env, nil, func(c *trustConfig) error {
		i := slices.IndexFunc(c.Indexes, func(known trustIndex) bool { return known.URL == normal })
		if i < 0 {
			return fmt.Errorf("%s is not trusted; bailiwick trust list shows what is", redactURL(normal))
		}
		removed = c.Indexes[i]
		c.Indexes = slices.Delete(c.Indexes, i, i+1)
		shared = slices.ContainsFunc(c.Indexes, func(known trustIndex) bool { return known.Root == removed.Root })
		if c.Default == normal {
			c.Default = ""
			if len(c.Indexes) > 0 {
				c.Default = c.Indexes[len(c.Indexes)-1].URL
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if !shared {
		if err := forget(env, removed); err != nil {
			return err
		}
	}
	fmt.Fprintf(env.Stdout, "no longer trusted: %s\n", redactURL(normal))
	return nil
}

// forget removes what is kept for a root.
func forget(env *Env, index trustIndex) error {
	states, err := trustStateFolder(env)
	if err != nil {
		return err
	}
	folder, err := trustConfigFolder(env)
	if err != nil {
		return err
	}
	err = errors.Join(
		os.RemoveAll(filepath.Join(states, index.rootHex())),
		os.RemoveAll(filepath.Join(folder, rootsFolder, index.rootHex()+".json")),
	)
	if err != nil {
		return fmt.Errorf("the pin is gone, its state is not: %w", err)
	}
	return nil
}
