package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"example.com/bailiwick/internal/durable"
	"example.com/bailiwick/internal/index"
	"example.com/bailiwick/internal/server"
	"example.com/bailiwick/internal/sitting"
)

// newRequest carries signing requests to offline keys and back.
func newRequest(env *Env) *cobra.Command {
	var flags operatorFlags
	cmd := &cobra.Command{
		Use:   "request",
		Short: "carry signing requests to offline keys and back",
		Long: "Carry the signing requests of operators through an air gap: export writes one into a file, bailiwick-sign signs\n" +
			"the file on a machine without a network, import brings the signatures back. Several people may sign copies of one\n" +
			"request in any order; with the last signature that it needs it is published.\n\n" +
			"bailiwick requests lists what waits.",
		Args: needsCommand("export, show, import or abort"),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	flags.add(cmd)
	cmd.AddCommand(newRequestExport(env, &flags), newRequestShow(env, &flags), newRequestImport(env, &flags), newRequestAbort(env, &flags))
	return cmd
}

// needsCommand refuses words that are none of a group's commands.
func needsCommand(list string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		return usagef("%s has no command %q: it is %s", cmd.CommandPath(), args[0], list)
	}
}

func newRequestExport(env *Env, flags *operatorFlags) *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "export ID… --out FILE",
		Short: "write signing requests into files, for an air gap",
		Long: "Write a signing request, with the signatures that it has, into a file that bailiwick-sign can sign. An ID may be\n" +
			"shortened to what tells it apart. For several requests --out is a folder, and each becomes ID.request in it.\n" +
			"The file holds nothing secret; what is in it is verified by whoever signs it.",
		Example: "  bailiwick request export 3f1a9c0d12ab34cd --out root.request\n  bailiwick request export 3f1a 77b2 --out /media/stick",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, ids []string) error {
			if out == "" {
				return usagef("--out is missing: name the file that goes to the offline keys")
			}
			return withOperator(cmd.Context(), env, flags, false, func(o *operator) error { return o.export(cmd.Context(), ids, out) })
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "`FILE` to write; for several requests a folder")
	return cmd
}

// export writes requests into files.
func (o *operator) export(ctx context.Context, ids []string, out string) error {
	list, err := o.requests(ctx, false)
	if err != nil {
		return err
	}
	info, err := os.Stat(out)
	folder := err == nil && info.IsDir()
	if err == nil && !folder {
		return errExisting(out)
	}
	if len(ids) > 1 && !folder {
		return usagef("--out: for several requests it is a folder, which has to be there; %s is none", out)
	}
	for _, id := range ids {
		r, err := findRequest(list, id)
		if err != nil {
			return err
		}
		path := out
		if folder {
			path = filepath.Join(out, shown(r.ID)+".request")
		}
		if err := o.exportTo(ctx, r, path); err != nil {
			return err
		}
	}
	return nil
}

// refuseExisting refuses to write over a file, before anything is asked of the index; fetchInto makes sure.
func refuseExisting(path string) error {
	if path == "" {
		return nil
	}
	if _, err := os.Lstat(path); err == nil {
		return errExisting(path)
	}
	return nil // if something else is wrong with it, whoever writes it says so
}

func errExisting(path string) error {
	return fmt.Errorf("%s is there already, and is not overwritten: name another file with --out", path)
}

// exportTo fetches a request into a new file, checks that it is the one that was asked for, and only then gives
// the file its name.
func (o *operator) exportTo(ctx context.Context, r *server.OperatorRequestAnswer, path string) error {
	if err := refuseExisting(path); err != nil {
		return err
	}
	request, err := o.fetchInto(ctx, r.ID, path)
	if err != nil {
		return err
	}
	message(o.env, "%s holds request %s (%s), %s signed so far; sign it with: bailiwick-sign %s --key KEY --out %s",
		path, request.ID(), shown(r.Title), signedSoFar(request), shellWord(path), shellWord(signedName(path)))
	return nil
}

// signedName suggests the name of a signed copy.
func signedName(path string) string {
	ext := filepath.Ext(path)
	return strings.TrimSuffix(path, ext) + "-signed" + ext
}

// signedSoFar says how much of a request has signatures.
func signedSoFar(r *sitting.Request) string {
	n := 0
	for i := range r.Payloads {
		if len(r.Payloads[i].Signatures) > 0 {
			n++
		}
	}
	return fmt.Sprintf("%d of %s", n, plural(len(r.Payloads), "role"))
}

// fetchInto writes an exported request to a new file, durably, whole or not at all.
func (o *operator) fetchInto(ctx context.Context, id, path string) (*sitting.Request, error) {
	folder, name := filepath.Dir(path), filepath.Base(path)
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, errUnwritable(id, path, err)
	}
	defer func() { _ = root.Close() }() // what was written is synced
	part := "." + name + ".part"
	f, err := root.OpenFile(part, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, errUnwritable(id, path, err)
	}
	request, err := o.fetchFile(ctx, id, f)
	if err == nil {
		err = unwritten(f.Sync())
	}
	if closed := f.Close(); err == nil {
		err = unwritten(closed)
	}
	if err == nil {
		err = unwritten(durable.MoveNew(root, part, name))
	}
	var here *unwrittenError
	switch {
	case errors.Is(err, fs.ErrExist):
		err = errExisting(path)
	case errors.As(err, &here):
		err = errUnwritable(id, path, here.err)
	}
	if err != nil {
		return nil, errors.Join(err, ignoreAbsent(root.Remove(part)))
	}
	return request, nil
}

// errUnwritable: the file for a request can not be written. The index did its part.
func errUnwritable(id, path string, err error) error {
	return fmt.Errorf("%w; request %s is open all the same: bailiwick request export %s --out FILE writes it to another place",
		durable.Explain("writing", path, err), shown(id), shown(id))
}

func ignoreAbsent(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// fetchFile copies a request into a file and reads it back.
func (o *operator) fetchFile(ctx context.Context, id string, f *os.File) (*sitting.Request, error) {
	if err := o.fetch(ctx, operatorAPI+"/requests/"+url.PathEscape(id), f); err != nil {
		return nil, err
	}
	if _, err := f.Seek(0, 0); err != nil {
		return nil, fmt.Errorf("reading back %s: %w", f.Name(), err)
	}
	r, err := sitting.Decode(f)
	if err != nil {
		return nil, exit(exitRefused, fmt.Errorf("what %s sent as the signing request %s is none: %w", o.where, shown(id), err))
	}
	if r.ID() != id {
		return nil, exit(exitRefused, fmt.Errorf("%s sent request %s in place of request %s: nothing was written", o.where, r.ID(), shown(id)))
	}
	return r, nil
}

func newRequestImport(env *Env, flags *operatorFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "import FILE…",
		Short: "bring signed requests back; the last signature publishes",
		Long: "Bring back what bailiwick-sign has signed. Signatures of several people add up, in any order and also from several\n" +
			"files of one request; a file may be imported twice. With the last signature that a request needs it is published\n" +
			"at once, as one publication. What it would change is checked again first, by the function that the signers used.",
		Example: "  bailiwick request import root-alice.request root-bob.request",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, files []string) error {
			return withOperator(cmd.Context(), env, flags, true, func(o *operator) error { return o.importFiles(cmd.Context(), files) })
		},
	}
}

// importFiles brings files in, one after the other, and ends at the first that is refused.
func (o *operator) importFiles(ctx context.Context, files []string) error {
	for _, path := range files {
		outcome, err := o.importFile(ctx, path)
		if err != nil {
			return fmt.Errorf("%s: %w", path, importHint(err))
		}
		o.printOutcome(path, outcome)
	}
	return nil
}

func (o *operator) importFile(ctx context.Context, path string) (*server.OperatorOutcomeAnswer, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading the signed request: %w", err)
	}
	defer func() { _ = f.Close() }() // was only read
	if info, err := f.Stat(); err == nil && !info.Mode().IsRegular() {
		return nil, errors.New("it is no file")
	}
	var outcome server.OperatorOutcomeAnswer
	_, err = o.send(ctx, operatorAPI+"/requests", f, &outcome)
	return &outcome, err
}

// importHint adds the next step to a refusal that has a usual one.
func importHint(err error) error {
	var refused *apiError
	if !errors.As(err, &refused) {
		return err
	}
	code, hint := exitRefused, ""
	switch {
	case refused.status == http.StatusConflict || refused.reason == string(sitting.Stale):
		hint = "; nothing was changed. Plan it anew (bailiwick sitting plan, or bailiwick renew) and sign that"
	case refused.reason == string(sitting.Expired):
		hint = "; nothing was changed. Plan it anew and sign that"
	case refused.reason == string(sitting.Malformed):
		hint = "; is this the file that bailiwick-sign wrote with --out, and did all of it arrive?"
	case refused.reason == "":
		code = exitFailed
	}
	return exit(code, fmt.Errorf("%w%s", err, hint))
}

func (o *operator) printOutcome(path string, a *server.OperatorOutcomeAnswer) {
	switch {
	case a.Already:
		o.printf("request %s was published before, in publication %d\n", shown(a.ID), a.Publication)
	case a.Publication > 0:
		o.printf("published: request %s (publication %d)\n", shown(a.ID), a.Publication)
	default:
		if a.New == 0 {
			o.printf("request %s waits; %s brought no new signature\n", shown(a.ID), path)
		} else {
			o.printf("request %s waits; %s came with %s\n", shown(a.ID), plural(a.New, "new signature"), path)
		}
		for _, m := range a.Missing {
			o.printf("  missing %s\n", missingText(&m))
		}
	}
}

func newRequestAbort(env *Env, flags *operatorFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "abort ID",
		Short: "give up a signing request",
		Long: "Give up a signing request. Nothing of it is published, and signatures that somebody still makes are refused. One\n" +
			"that opened by itself opens again as long as something is due.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withOperator(cmd.Context(), env, flags, false, func(o *operator) error {
				list, err := o.requests(cmd.Context(), false)
				if err != nil {
					return err
				}
				r, err := findRequest(list, args[0])
				if err != nil {
					return err
				}
				if _, err := o.api.call(cmd.Context(), http.MethodDelete, operatorAPI+"/requests/"+url.PathEscape(r.ID), nil, nil); err != nil {
					return err
				}
				o.printf("given up: request %s (%s)\n", shown(r.ID), shown(r.Title))
				if r.Kind == index.KindRoot || r.Kind == index.KindKeys {
					message(o.env, "keys that the server made for it, if it made some, stay in its data folder as keys/ROLE.next.key, where another request may name them; "+
						"they sign nothing, and go with the next change of these keys that is published")
				}
				return nil
			})
		},
	}
}
