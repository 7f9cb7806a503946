package cli

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"example.com/bailiwick/internal/durable"
	"example.com/bailiwick/internal/ledger"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/sitting"
	"example.com/bailiwick/tuf"
)

// newRootCommand groups what is about the people who hold offline keys.
func newRootCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "root",
		Short: "invite the people who hold offline keys; show who holds which",
		Long: "The offline keys of a repository can be held by several people, each on a machine of their own. Whoever prepares\n" +
			"the repository invites them; each makes a key, accepts, and sends the acceptance back, which holds the public half:\n\n" +
			"  bailiwick root invite --threshold 2 alice bob carol --key ops.key --out invitation.json\n" +
			"  bailiwick-sign accept invitation.json --as alice --key alice.key --out alice.json      each holder, on their machine\n" +
			"  bailiwick init --root-invitation invitation.json --accepted alice.json --accepted bob.json --accepted carol.json\n" +
			"  bailiwick-sign data/root.request --key alice.key --out alice.signed                     as many as have to sign\n" +
			"  bailiwick init --resume alice.signed bob.signed\n\n" +
			"Later, bailiwick rotate takes the acceptances of those who come to hold a key.",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return usagef("%s has no command %q: it is invite or show", cmd.CommandPath(), args[0])
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newRootInvite(env), newRootShow(env))
	return cmd
}

// inviteSpec is what an invitation is made from.
type inviteSpec struct {
	role, key, passphraseFile, out, data, root, by, note string
	threshold, days                                      int
	holders                                              []string
}

func newRootInvite(env *Env) *cobra.Command {
	var spec inviteSpec
	cmd := &cobra.Command{
		Use:   "invite NAME…",
		Short: "ask people to make a key each for an offline role",
		Long: "Write an invitation, signed with your key, to the people who shall hold the keys of an offline role. Send it to\n" +
			"them by any way, and read them the fingerprint of your key by another. What they send back is for bailiwick init,\n" +
			"or for bailiwick rotate if the repository exists already: name its data folder, or the hash of its first root.",
		Example: "  bailiwick root invite --threshold 2 alice bob carol --key ops.key --out invitation.json\n" +
			"  bailiwick root invite --data /srv/index --threshold 2 dave --key ops.key --out dave.json",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("%s takes the names of those who are invited", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			spec.holders = args
			return rootInvite(cmd.Context(), env, spec)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&spec.role, "role", string(policy.KeyRoot), "`role` whose keys they shall hold: root, targets, claimed or unclaimed")
	flags.IntVar(&spec.threshold, "threshold", 0, "how many of the role's keys have to sign")
	flags.StringVar(&spec.key, "key", "", "`URI` of your key, which signs the invitation")
	flags.StringVar(&spec.passphraseFile, "passphrase-file", "", "`file` whose first line is the passphrase of your key")
	flags.StringVar(&spec.out, "out", "", "`file` to write")
	flags.StringVar(&spec.data, "data", "", "data `folder` of the repository, if it exists already")
	flags.StringVar(&spec.root, "root", "", "`sha256:HASH` of its first root, if it exists already and is on another machine")
	flags.IntVar(&spec.days, "days", 30, "how many days the invitation is good")
	flags.StringVar(&spec.by, "by", "", "who invites, for people to read")
	flags.StringVar(&spec.note, "note", "", "what it is about, for people to read")
	return cmd
}

// peopleCount is a number of people.
func peopleCount(n int) string {
	if n == 1 {
		return "1 person"
	}
	return fmt.Sprintf("%d people", n)
}

// rootInvite is the whole command.
func rootInvite(ctx context.Context, env *Env, spec inviteSpec) error {
	switch {
	case spec.threshold == 0:
		return usagef("say with --threshold how many of the keys have to sign")
	case spec.key == "" || spec.out == "":
		return usagef("an invitation needs the key that signs it, --key, and the file to write, --out")
	case spec.data != "" && spec.root != "":
		return usagef("name the repository by --data or by --root, not by both")
	case spec.data == "" && spec.root == "" && spec.threshold > len(spec.holders): // before anybody types a passphrase
		return usagef("a threshold of %d with %s can never be reached, for a new repository: invite more, or name the one that exists with --data or --root", spec.threshold, peopleCount(len(spec.holders)))
	}
	repository, err := invitedTo(ctx, spec)
	if err != nil {
		return err
	}
	now := env.Now().UTC().Truncate(time.Second)
	i := &sitting.Invitation{
		Repository: repository, Role: policy.KeyRole(spec.role), Threshold: spec.threshold, Holders: spec.holders,
		Created: now, Expires: now.AddDate(0, 0, spec.days), By: spec.by, Note: spec.note,
	}
	_, _ = rand.Read(i.Nonce[:]) // never fails
	opener := newKeyOpener(env, spec.passphraseFile)
	signers, err := openSigners(ctx, opener, []string{spec.key})
	if err == nil {
		err = i.Sign(ctx, signers[0])
	}
	if err = errors.Join(err, opener.Close()); err != nil {
		return refusedByRules(err)
	}
	data, err := i.Encode()
	if err != nil {
		return err //nolint:wrapcheck // a sentence
	}
	if err := createFile(spec.out, data); err != nil {
		return err
	}
	printInvitation(env, i)
	message(env, "wrote %s; send it to %s, and read them your fingerprint by another way than the file takes", spec.out, strings.Join(i.Holders, ", "))
	return nil
}

// refusedByRules gives the refusals of package sitting the exit code of a refusal.
func refusedByRules(err error) error {
	var r *sitting.Refused
	if errors.As(err, &r) {
		return exit(exitRefused, err)
	}
	return err
}

// invitedTo returns the hash of the first root of the repository that an invitation is about; zero for one that
// is still to be made.
func invitedTo(ctx context.Context, spec inviteSpec) (repository [32]byte, err error) {
	if spec.root != "" {
		text, ok := strings.CutPrefix(spec.root, "sha256:")
		sum, err := hex.DecodeString(text)
		if !ok || err != nil || len(sum) != len(repository) {
			return repository, usagef("--root %q: write it as sha256: and 64 hex digits, as bailiwick init printed it", spec.root)
		}
		return [32]byte(sum), nil
	}
	if spec.data == "" {
		return repository, nil
	}
	l, err := openLedger(ctx, spec.data)
	if err != nil {
		return repository, err
	}
	first, err := l.Metadata(ctx, tuf.RoleRoot, 1)
	if err = errors.Join(err, l.Close()); err != nil {
		return repository, fmt.Errorf("reading the first root: %w", err)
	}
	return sha256.Sum256(first.Bytes), nil
}

// createFile writes a new file that travels, and overwrites nothing.
func createFile(path string, data []byte) error {
	dir, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	defer func() { _ = dir.Close() }() // what was written is synced
	err = durable.Create(dir, filepath.Base(path), data, 0o644)
	if errors.Is(err, os.ErrExist) {
		return errExisting(path)
	}
	return err //nolint:wrapcheck // names the file
}

func newRootShow(env *Env) *cobra.Command {
	var data string
	cmd := &cobra.Command{
		Use:   "show [FILE…]",
		Short: "show invitations and acceptances; without a file, who holds which key of a repository",
		Long: "Show what invitations and acceptances say, and the fingerprints to compare. Without a file, show the hash of the\n" +
			"repository's first root and the keys of every role with those who hold them, to compare a backup with.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return showHolders(cmd.Context(), env, data)
			}
			for _, path := range args {
				if err := showInvitation(env, path); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&data, "data", defaultData, "data `folder` of the server")
	return cmd
}

// showInvitation prints one file, whichever of the two it is.
func showInvitation(env *Env, path string) error {
	i, a, err := readInvitation(path)
	switch {
	case err != nil:
		return err
	case i != nil:
		printInvitation(env, i)
	default:
		_, _ = fmt.Fprintf(env.Stdout, "acceptance of %s\n  invitation    %x\n  accepted      %s\n  fingerprint   %s\n",
			a.Holder, a.Invitation[:8], tuf.FormatTime(a.Accepted), sitting.Fingerprint(a.Key))
	}
	return nil
}

// readInvitation reads an invitation or an acceptance.
func readInvitation(path string) (*sitting.Invitation, *sitting.Acceptance, error) {
	data, err := readBounded(path, sitting.MaxInvitation)
	if err != nil {
		return nil, nil, fmt.Errorf("reading %s: %w", path, err)
	}
	if strings.Contains(string(data), `"bailiwick-acceptance":`) {
		a, err := sitting.DecodeAcceptance(data)
		return nil, a, aboutFile(path, err)
	}
	i, err := sitting.DecodeInvitation(data)
	return i, nil, aboutFile(path, err)
}

// aboutFile says in which file the fault of a file is.
func aboutFile(path string, err error) error {
	if err == nil {
		return nil
	}
	return exit(exitRefused, fmt.Errorf("%s: %w", path, err))
}

// printInvitation shows what those who are invited will see.
func printInvitation(env *Env, i *sitting.Invitation) {
	where := "a repository that is being created"
	if !i.First() {
		where = fmt.Sprintf("the repository with the first root sha256:%x", i.Repository)
	}
	_, _ = fmt.Fprintf(env.Stdout, "invitation %s to hold a key of %s\n  for           %s\n  to            %s\n  threshold     %d\n  until         %s\n",
		i.ID(), i.Role, where, strings.Join(i.Holders, ", "), i.Threshold, tuf.FormatTime(i.Expires))
	for _, line := range [][2]string{{"by", i.By}, {"note", i.Note}} {
		if line[1] != "" {
			_, _ = fmt.Fprintf(env.Stdout, "  %-13s %s\n", line[0], shown(line[1]))
		}
	}
	_, _ = fmt.Fprintf(env.Stdout, "  fingerprint   %s   of the key that signed it\n", sitting.Fingerprint(i.Inviter))
}

// showHolders prints who holds which key, and the hash that users pin: on the day on which somebody has to put a
// backup back, what it is compared with.
func showHolders(ctx context.Context, env *Env, data string) error {
	state, err := inspectFolder(ctx, data)
	if err != nil {
		return err
	}
	if state == folderPending {
		request, _, err := pendingRequest(data, env.Now())
		if err != nil {
			return err
		}
		_, _ = fmt.Fprintf(env.Stdout, "not created yet: request %s waits for signatures\n", request.ID())
		printHolding(env.Stdout, request.Holders())
		return nil
	}
	l, err := openLedger(ctx, data)
	if err != nil {
		return err
	}
	first, held, err := readHolders(ctx, l)
	newest, failed := l.Metadata(ctx, tuf.RoleRoot, 0)
	if err = errors.Join(err, failed, l.Close()); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(env.Stdout, "root sha256:%x\n", first)
	if newest.Version > 1 { // the page of the index shows it, for those who pin now
		_, _ = fmt.Fprintf(env.Stdout, "     sha256:%s   version %d, to which the first one leads\n", hexSHA256(newest.Bytes), newest.Version)
	}
	printHolding(env.Stdout, held)
	return nil
}

// printHolding prints the keys of each role.
func printHolding(w io.Writer, held *sitting.Keyholders) {
	for _, role := range policy.KeyRoles() {
		a := held.Authorities[role]
		where := "offline"
		if role.Online() {
			where = "online"
		}
		_, _ = fmt.Fprintf(w, "%-10s %s, %d of %d\n", role, where, a.Threshold(), len(a.KeyIDs()))
		for _, id := range a.KeyIDs() {
			_, _ = fmt.Fprintln(w, strings.TrimRight("  "+sitting.Spoken(string(id[:32]))+"   "+held.Names[id], " "))
		}
	}
}

// readHolders reads the newest of each role that says who signs, from root down, whatever has expired.
func readHolders(ctx context.Context, l *ledger.SQLite) (first [32]byte, held *sitting.Keyholders, err error) {
	one, err := l.Metadata(ctx, tuf.RoleRoot, 1)
	if err != nil {
		return first, nil, fmt.Errorf("reading the first root: %w", err)
	}
	newest, err := l.Metadata(ctx, tuf.RoleRoot, 0)
	if err != nil {
		return first, nil, fmt.Errorf("reading root: %w", err)
	}
	u, err := tuf.ParseRoot(newest.Bytes, nil)
	if err != nil {
		return first, nil, fmt.Errorf("reading root: %w", err)
	}
	root, err := u.Verify(tuf.SelfAuthority(u))
	if err != nil {
		return first, nil, fmt.Errorf("verifying root: %w", err)
	}
	lists := map[tuf.RoleName]*tuf.Targets{}
	authority, _ := root.Authority(tuf.RoleTargets)
	role := tuf.RoleTargets
	for role != "" {
		t, err := readVerified(ctx, l, role, authority)
		if err != nil {
			return first, nil, err
		}
		lists[role] = t
		below := map[tuf.RoleName]policy.Kind{
			tuf.RoleTargets: policy.KindClaimed, policy.RoleClaimed: policy.KindClaimedBin,
		}[role]
		if policy.KindOf(role) == policy.KindClaimedBin {
			below, lists[anyBin] = policy.KindUnclaimed, t
		}
		if role, authority, err = firstOfKind(t, below); err != nil {
			return first, nil, err
		}
	}
	return sha256.Sum256(one.Bytes), sitting.HoldersOf(root, lists[tuf.RoleTargets], lists[anyBin], lists[policy.RoleUnclaimed]), nil
}

// anyBin stands for a claimed bin: all of them say the same of who signs unclaimed.
const anyBin tuf.RoleName = "claimed-*"

// firstOfKind returns the first delegation of a kind, and "" if there is none.
func firstOfKind(t *tuf.Targets, kind policy.Kind) (tuf.RoleName, tuf.Authority, error) {
	if ds := t.Delegations(); ds != nil && kind != policy.KindOther {
		for d := range ds.All() {
			if policy.KindOf(d.Name()) == kind {
				a, err := d.Authority()
				if err != nil {
					return "", a, fmt.Errorf("reading the keys of %s: %w", d.Name(), err)
				}
				return d.Name(), a, nil
			}
		}
	}
	return "", tuf.Authority{}, nil
}

func readVerified(ctx context.Context, l *ledger.SQLite, role tuf.RoleName, a tuf.Authority) (*tuf.Targets, error) {
	m, err := l.Metadata(ctx, role, 0)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", role, err)
	}
	u, err := tuf.ParseTargets(m.Bytes, nil)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", role, err)
	}
	t, err := u.Verify(a)
	if err != nil {
		return nil, fmt.Errorf("verifying %s: %w", role, err)
	}
	return t, nil
}
