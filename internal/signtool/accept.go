package signtool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"example.com/bailiwick/internal/keys/prompt"
	"example.com/bailiwick/internal/sitting"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
)

// runAccept answers an invitation to hold a key.
func runAccept(ctx context.Context, args []string, env *Env) (err error) {
	f := newFlags("accept", "key", "out", "as", "yes", "passphrase-file", "memory")
	rest, err := f.parse(args, "the INVITATION to accept")
	if err != nil {
		return printHelp(env, err)
	}
	switch {
	case len(f.keys) != 1:
		return usagef("accept: name the one key that you are going to hold: --key URI; bailiwick-sign new-key makes one")
	case f.out == "":
		return usagef("accept: name the file to make: --out FILE")
	}
	out, err := newTarget(f.out)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	data, err := readSmall(rest[0], sitting.MaxInvitation, "invitation")
	if err != nil {
		return err
	}
	invitation, err := sitting.DecodeInvitation(data)
	if err != nil {
		return fmt.Errorf("%s: %w", rest[0], err)
	}
	holder, err := invitation.HolderNamed(f.as)
	if err != nil && f.as == "" { // nothing is wrong with the file
		return exit(exitUsage, fmt.Errorf("accept: %w", err))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", rest[0], err)
	}
	printInvitation(env.Stdout, invitation, holder)
	if err := confirmAccept(ctx, env, f, holder); err != nil {
		return err
	}
	return accept(ctx, env, f, out, invitation, holder)
}

func printInvitation(w io.Writer, i *sitting.Invitation, holder string) {
	what := "a new repository"
	if !i.First() {
		what = fmt.Sprintf("the repository with the root sha256:%x", i.Repository)
	}
	_, _ = fmt.Fprintf(w, "Invitation %s to hold a key of %s, of %s\n\n", i.ID(), i.Role, what)
	_, _ = fmt.Fprintf(w, "  invited      %s; %d of the keys will have to sign\n", strings.Join(i.Holders, ", "), i.Threshold)
	_, _ = fmt.Fprintf(w, "  you are      %s\n", holder)
	_, _ = fmt.Fprintf(w, "  made         %s, good until %s\n", tuf.FormatTime(i.Created), tuf.FormatTime(i.Expires))
	if i.By != "" {
		_, _ = fmt.Fprintf(w, "  by           %s (not verified)\n", i.By)
	}
	if i.Note != "" {
		_, _ = fmt.Fprintf(w, "  note         %s (not verified)\n", i.Note)
	}
	_, _ = fmt.Fprintf(w, "  signed by    %s\n\n", sitting.Fingerprint(i.Inviter))
	_, _ = fmt.Fprintf(w, "Have the one who invites you read out the fingerprint behind \"signed by\": who can change this file could put their own key there.\n\n")
}

func confirmAccept(ctx context.Context, env *Env, f *flags, holder string) error {
	if f.yes {
		return nil
	}
	in, ok := prompt.Terminal(env.Stdin)
	if !ok {
		return usagef("nothing was signed: there is no terminal to ask at; read the lines above, and if that is what you want, run this again with --yes")
	}
	yes, err := prompt.Yes(ctx, in, fmt.Sprintf("accept as %s with %s? [y/N] ", holder, f.keys[0]))
	if err != nil {
		return err
	}
	if !yes {
		return errors.New("nothing was signed")
	}
	return nil
}

// accept signs the invitation with the new key and writes the answer.
func accept(ctx context.Context, env *Env, f *flags, out *target, i *sitting.Invitation, holder string) (err error) {
	opener := newOpener(env, f.passphrase)
	defer func() { err = errors.Join(err, opener.Close()) }()
	signers, err := openSigners(ctx, opener, f.keys)
	if err != nil {
		return err
	}
	signer := signers[0]
	if err := freeKey(env, f, signer.Info().URI, signer.Public().ID(), i); err != nil {
		return err
	}
	accepted, err := sitting.Accept(ctx, i, holder, signer, env.Now())
	if err != nil {
		return err
	}
	write := func(w io.Writer) error {
		_, err := w.Write(accepted.Encode())
		return err
	}
	if err := out.create(write, nil); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(env.Stdout, "accepted. %s holds your answer\n  your key     %s\n  next         send the file to the one who invites you, and read them this fingerprint\n", f.out, sitting.Fingerprint(accepted.Key))
	return nil
}

// freeKey refuses a key that signed for another repository: its signatures would count in both.
func freeKey(env *Env, f *flags, uri string, id key.ID, i *sitting.Invitation) error {
	path, err := memoryFolder(env, f.memory)
	if err != nil {
		return err
	}
	m, err := readMemory(path)
	if err != nil {
		return err
	}
	other, err := m.owner(id, digest{})
	if err = errors.Join(err, m.Close()); err != nil {
		return err
	}
	if other == nil || !i.First() && other.Repository == fmt.Sprintf("%x", i.Repository) {
		return nil
	}
	return refused("%s has signed for another repository (root sha256:%s), and a signature says nothing of the repository that it is for: nothing was signed; "+
		"make a key of its own for this one with bailiwick-sign new-key", uri, other.name())
}
