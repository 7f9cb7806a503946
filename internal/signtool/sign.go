package signtool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"example.com/bailiwick/internal/keys"
	"example.com/bailiwick/internal/keys/prompt"
	"example.com/bailiwick/internal/sitting"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
)

// signing is one run of the sign command.
type signing struct {
	env     *Env
	flags   *flags
	file    string // that asks for signatures
	out     *target
	request *sitting.Request
	verdict *sitting.Verdict
	facts   *facts
	memory  *memory
	known   *remembered // nil: nothing is remembered of this repository
	opener  *keys.Opener
}

// runSign shows a request, asks, and signs it.
func runSign(ctx context.Context, args []string, env *Env) (err error) {
	f := newFlags("", "key", "out", "yes", "passphrase-file", "memory", "aborted", "popular")
	rest, err := f.parse(args, "the FILE to sign, or a command")
	if err != nil {
		return printHelp(env, err)
	}
	switch {
	case len(f.keys) == 0:
		return usagef("name a key to sign with: --key URI; bailiwick-sign show %s only shows", rest[0])
	case f.out == "":
		return usagef("name the file to make: --out SIGNED")
	}
	s := &signing{env: env, flags: f, file: rest[0]}
	rank, err := readPopular(f.popular)
	if err != nil {
		return err
	}
	if s.out, err = newTarget(f.out); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if s.request, s.verdict, err = readRequest(s.file, env.Now()); err != nil {
		return err
	}
	if err := s.remember(); err != nil {
		return err
	}
	page := s.verdict.SummaryFor(rank)
	printPage(env.Stdout, &page)
	if len(s.verdict.Missing) == 0 {
		return fmt.Errorf("no signature is missing in %s, so nothing was signed: carry it back to the index", s.file)
	}
	return s.sign(ctx)
}

func (s *signing) close() error {
	var errs []error
	if s.opener != nil {
		errs = append(errs, s.opener.Close())
	}
	if s.memory != nil {
		errs = append(errs, s.memory.Close())
	}
	return errors.Join(append(errs, s.out.Close())...)
}

// remember opens the memory and holds the request against it.
func (s *signing) remember() error {
	path, err := memoryFolder(s.env, s.flags.memory)
	if err != nil {
		return err
	}
	if s.facts, err = factsOf(s.request); err != nil {
		return err
	}
	if s.memory, err = openMemory(path); err != nil {
		return err
	}
	if s.known, err = s.memory.recall(s.facts.root); err != nil {
		return err
	}
	if err := s.checkAborted(); err != nil {
		return err
	}
	return s.facts.check(s.known, s.flags.aborted)
}

// checkAborted refuses --aborted for requests that are not what stands in the way: a slip, or a habit.
func (s *signing) checkAborted() error {
	for _, id := range s.flags.aborted {
		signed := false
		if s.known != nil {
			for _, k := range s.known.Roles {
				signed = signed || k.Request == id
			}
		}
		if !signed {
			return usagef("--aborted: this machine remembers nothing of a request %.32q, so it need not be forgotten", id)
		}
	}
	return nil
}

// sign opens the keys, asks, and makes the file.
func (s *signing) sign(ctx context.Context) error {
	s.opener = newOpener(s.env, s.flags.passphrase)
	if err := s.look(ctx); err != nil { // before a secret is asked for
		return err
	}
	if err := s.confirm(ctx); err != nil {
		return err
	}
	signers, err := openSigners(ctx, s.opener, s.flags.keys)
	if err != nil {
		return err
	}
	for _, signer := range signers {
		if err := s.useful(signer.Info().URI, signer.Public()); err != nil {
			return err
		}
	}
	return s.make(ctx, signers)
}

// look finds out what the keys are without opening them: one that has no say here is told before anybody
// types its passphrase. A token may show nothing before its PIN, and then this comes later.
func (s *signing) look(ctx context.Context) error {
	for _, uri := range s.flags.keys {
		info, err := s.opener.Show(ctx, uri)
		switch {
		case errors.Is(err, keys.ErrNoKey):
			continue
		case err != nil:
			return keyError(err)
		case info.Problem != nil:
			return keyError(info.Problem)
		}
		if err := s.useful(info.URI, info.Public); err != nil {
			return err
		}
	}
	return nil
}

// useful checks that a key's signature is missing somewhere, and that the key serves this repository.
func (s *signing) useful(uri string, k *key.Public) error {
	other, err := s.memory.owner(k.ID(), s.facts.root)
	if err != nil {
		return err
	}
	if other != nil {
		return refused("%s has signed for another repository (root sha256:%s), and a signature says nothing of the repository that it is for: nothing was signed; "+
			"make a key of its own for this one with bailiwick-sign new-key", uri, other.name())
	}
	if s.wants(k.ID()) {
		return nil
	}
	for i := range s.request.Payloads {
		if slices.ContainsFunc(s.request.Payloads[i].Signatures, func(sig tuf.Signature) bool { return sig.KeyID == k.ID() }) {
			return fmt.Errorf("%s has signed this file already, and nothing else in it is for this key: still missing is %s", uri, missing(s.verdict))
		}
	}
	return fmt.Errorf("%s signs nothing in this file: its key id is %s, and missing is %s", uri, k.ID(), missing(s.verdict))
}

func (s *signing) wants(id key.ID) bool {
	for _, m := range s.verdict.Missing {
		if slices.Contains(m.Keys, id) {
			return true
		}
	}
	return false
}

// confirm asks whether to sign what was shown.
func (s *signing) confirm(ctx context.Context) error {
	if s.known == nil {
		message(s.env, "nothing is remembered of this repository in %s: if you have signed for it before, stop, and find that folder (--memory); if not, compare its root with what the other operators see", s.memory.path)
	}
	if s.flags.yes {
		return nil
	}
	in, ok := prompt.Terminal(s.env.Stdin)
	if !ok {
		return usagef("nothing was signed: there is no terminal to ask at; read the lines above, and if that is what you want, run this again with --yes")
	}
	yes, err := prompt.Yes(ctx, in, fmt.Sprintf("sign %s with %s? [y/N] ", plural(len(s.request.Payloads), "file"), strings.Join(s.flags.keys, " and ")))
	if err != nil {
		return err
	}
	if !yes {
		return errors.New("nothing was signed")
	}
	return nil
}

// job is one signature to make.
type job struct {
	role    tuf.RoleName
	message []byte
	signer  *keys.Signer
}

// jobs lists the signatures that are missing and that the keys at hand can make.
func (s *signing) jobs(signers []*keys.Signer) []job {
	wanted := make(map[tuf.RoleName][]key.ID)
	for _, m := range s.verdict.Missing {
		wanted[m.Role] = append(wanted[m.Role], m.Keys...)
	}
	var jobs []job
	for i := range s.request.Payloads {
		p := &s.request.Payloads[i]
		for _, signer := range signers {
			id := signer.Public().ID()
			signed := slices.ContainsFunc(p.Signatures, func(sig tuf.Signature) bool { return sig.KeyID == id })
			if !signed && slices.Contains(wanted[p.Role], id) {
				jobs = append(jobs, job{p.Role, p.Message, signer})
			}
		}
	}
	return jobs
}

// make signs what is missing and writes the file. What is going to be signed is remembered before the
// first signature is made, and so before one is on a disk.
func (s *signing) make(ctx context.Context, signers []*keys.Signer) error {
	byID := make(map[key.ID]*keys.Signer, len(signers))
	ids := make([]key.ID, 0, len(signers))
	for _, signer := range signers {
		byID[signer.Public().ID()] = signer
		ids = append(ids, signer.Public().ID())
	}
	all := s.jobs(signers)
	signed := make(map[tuf.RoleName]bool, len(all))
	for _, j := range all {
		signed[j.role] = true
	}
	before := s.request.Clone()
	found, err := s.out.readPartial(s.request, s.facts.request, func(role tuf.RoleName, sig tuf.Signature) (good, known bool) {
		signer, p := byID[sig.KeyID], s.request.Payload(role)
		if signer == nil || p == nil {
			return false, signer != nil
		}
		return signed[role] && signer.Public().Verify(p.Message, sig.Sig), true
	})
	if err != nil {
		return err
	}
	if err := s.memory.keep(s.facts.note(s.known, signed, ids, s.env.Now())); err != nil {
		return err
	}
	todo := s.jobs(signers)
	if found > 0 {
		message(s.env, "going on with %s.partial, which holds %s of %s", s.out.path, plural(found, "signature"), thousands(len(all)))
	}
	if err := s.collect(ctx, todo, len(all), made(before, s.request)); err != nil {
		return err
	}
	final, err := s.write()
	if err != nil {
		return err
	}
	s.out.removePartial()
	s.report(len(all), final)
	return nil
}

// write makes the file, and judges it as the index will: read again from the disk, before it gets its name.
func (s *signing) write() (*sitting.Verdict, error) {
	var final *sitting.Verdict
	err := s.out.create(
		func(w io.Writer) error { return sitting.Encode(w, s.request) },
		func(r io.Reader) error {
			again, err := sitting.Decode(r)
			if err == nil && again.ID() != s.facts.request {
				err = errors.New("what was written is not what was signed: is the disk damaged?")
			}
			if err == nil {
				final, err = sitting.Judge(again, s.env.Now())
			}
			return err
		})
	return final, err
}

// report says what was done, and what comes next.
func (s *signing) report(n int, v *sitting.Verdict) {
	out := s.env.Stdout
	_, _ = fmt.Fprintf(out, "\nsigned. %s holds %s\n", s.flags.out, plural(n, "new signature"))
	back := "bailiwick request import"
	if s.request.IsFirst() {
		back = "bailiwick init --resume"
	}
	back += " " + filepath.Base(s.flags.out)
	if len(v.Missing) > 0 {
		_, _ = fmt.Fprintf(out, "  missing  %s\n  next     give %s to the next holder, or carry it back (%s): copies that were signed apart are merged\n", missing(v), filepath.Base(s.flags.out), back)
		return
	}
	_, _ = fmt.Fprintf(out, "  next     carry it back: %s\n", back)
}

// missing says whose signatures a request still needs.
func missing(v *sitting.Verdict) string { return strings.Join(v.Summary().Waiting, "; ") }

// name is how people know a repository.
func (r *remembered) name() string {
	if r.Repository != "" {
		return r.Repository
	}
	return "not published yet"
}

// made lists the signatures that after has and before has not.
func made(before, after *sitting.Request) []partialLine {
	var out []partialLine
	for i := range after.Payloads {
		old := before.Payloads[i].Signatures
		for _, sig := range after.Payloads[i].Signatures {
			if !slices.ContainsFunc(old, func(o tuf.Signature) bool { return o.KeyID == sig.KeyID }) {
				out = append(out, lineOf(after.Payloads[i].Role, sig))
			}
		}
	}
	return out
}
