package signtool

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"example.com/bailiwick/internal/parallel"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/sitting"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
)

// fact is what a request says of a role: what is published, and what it would make of it.
type fact struct {
	role             tuf.RoleName
	base, next       int64 // 0: none
	baseSum, nextSum digest
}

// facts are what the memory compares.
type facts struct {
	root       digest // of the signed part of the first root
	repository string // of the file 1.root.json; "" if it is what is signed
	request    string
	roles      []fact
}

// factsOf reads them from a request that was judged.
func factsOf(r *sitting.Request) (*facts, error) {
	f := &facts{request: r.ID()}
	if r.Repository != [32]byte{} {
		f.repository = fmt.Sprintf("%x", r.Repository)
	}
	first := func(data []byte) error {
		root, err := tuf.ParseRoot(data, nil)
		if err == nil {
			f.root = sha256.Sum256(root.Message())
		}
		return err
	}
	switch {
	case len(r.Chain.Roots) > 0:
		if err := first(r.Chain.Roots[0]); err != nil {
			return nil, fmt.Errorf("reading the first root: %w", err)
		}
	default:
		p := r.Payload(tuf.RoleRoot)
		if p == nil {
			return nil, errors.New("the request holds no root")
		}
		f.root = sha256.Sum256(p.Message)
	}
	if err := f.add(r); err != nil {
		return nil, err
	}
	return f, nil
}

// add reads what the request says of each role, and of those in its chain.
func (f *facts) add(r *sitting.Request) error {
	f.roles = make([]fact, len(r.Payloads), len(r.Payloads)+4)
	err := inParallel(len(r.Payloads), func(i int) error {
		p := &r.Payloads[i]
		one := fact{role: p.Role, nextSum: sha256.Sum256(p.Message)}
		var err error
		if p.Base != nil {
			one.base, one.baseSum, err = published(p.Role, p.Base)
		}
		one.next = one.base + 1 // Judge has seen to that
		f.roles[i] = one
		return err
	})
	if err != nil {
		return err
	}
	c := &r.Chain
	var root []byte
	if n := len(c.Roots); n > 0 {
		root = c.Roots[n-1]
	}
	for _, above := range []struct {
		role tuf.RoleName
		data []byte
	}{{tuf.RoleRoot, root}, {tuf.RoleTargets, c.Targets}, {policy.RoleClaimed, c.Claimed}, {policy.RoleUnclaimed, c.Unclaimed}} {
		if above.data == nil || r.Payload(above.role) != nil {
			continue
		}
		version, sum, err := published(above.role, above.data)
		if err != nil {
			return err
		}
		f.roles = append(f.roles, fact{role: above.role, base: version, baseSum: sum})
	}
	return nil
}

// published reads the version of a signed file, and the digest of its signed part.
func published(role tuf.RoleName, data []byte) (version int64, sum digest, err error) {
	if role == tuf.RoleRoot {
		root, err := tuf.ParseRoot(data, nil)
		if err != nil {
			return 0, sum, fmt.Errorf("reading %s: %w", role, err)
		}
		return root.Header().Version, sha256.Sum256(root.Message()), nil
	}
	targets, err := tuf.ParseTargets(data, nil)
	if err != nil {
		return 0, sum, fmt.Errorf("reading %s: %w", role, err)
	}
	return targets.Header().Version, sha256.Sum256(targets.Message()), nil
}

// inParallel does n things on all processors, and returns the errors of those that failed.
func inParallel(n int, do func(i int) error) error {
	errs := make([]error, n)
	parallel.Do(n, func(i int) { errs[i] = do(i) })
	return errors.Join(errs...)
}

// contradiction is why a request can not be signed after what was signed before.
type contradiction struct {
	text    string
	request string // that --aborted may name; "" if nothing helps
}

// check holds a request against what is remembered of its repository. known may be nil. aborted are
// requests that were signed here and then given up.
func (f *facts) check(known *remembered, aborted []string) error {
	if known == nil {
		return nil
	}
	if f.repository != "" && known.Repository != "" && f.repository != known.Repository {
		return refused("the first root in this file is sha256:%s, and this machine signed for sha256:%s: somebody passes off another repository as yours; "+
			"nothing was signed: tell the other operators", f.repository, known.Repository)
	}
	var found []contradiction
	for i := range f.roles {
		if c := f.roles[i].check(known.Roles[f.roles[i].role], aborted); c != nil {
			found = append(found, *c)
		}
	}
	if len(found) == 0 {
		return nil
	}
	worst := slices.IndexFunc(found, func(c contradiction) bool { return c.request == "" })
	text := found[max(worst, 0)].text
	if n := len(found) - 1; n > 0 {
		text += fmt.Sprintf("; the same goes for %s of this file", plural(n, "further role"))
	}
	return refused("%s; nothing was signed%s", text, found[max(worst, 0)].advice())
}

func (c contradiction) advice() string {
	if c.request == "" {
		return ": ask for a new file; if it is the same then, the index lies or was brought back from an old backup: tell the other operators"
	}
	return fmt.Sprintf(": if request %s was given up (bailiwick request abort %s) and its signed file destroyed, say so with --aborted %s", c.request, c.request, c.request)
}

// check compares one role. What was seen published is never undone; what was only signed may have
// been given up.
func (f *fact) check(k rememberedRole, aborted []string) *contradiction {
	switch {
	case f.base < k.Seen:
		return &contradiction{text: fmt.Sprintf("this file takes version %d of %s for the newest, and version %d was published already when this machine signed: it would be rolled back", f.base, f.role, k.Seen)}
	case f.base > 0 && f.base == k.Seen && f.baseSum != k.SeenSum:
		return &contradiction{text: fmt.Sprintf("version %d of %s in this file is not the version %d that this machine saw before: there are two", f.base, f.role, f.base)}
	case k.Signed == 0 || slices.Contains(aborted, k.Request):
		return nil
	case f.base == k.Signed && f.baseSum != k.SignedSum:
		return &contradiction{fmt.Sprintf("version %d of %s is not what this machine signed as version %d, on %s in request %s", f.base, f.role, f.base, day(k.At), k.Request), k.Request}
	case f.next > 0 && f.next < k.Signed, f.next == k.Signed && f.nextSum != k.SignedSum:
		return &contradiction{fmt.Sprintf("this machine signed version %d of %s on %s in request %s, and this file asks for another version %d", k.Signed, f.role, day(k.At), k.Request, f.next), k.Request}
	}
	return nil
}

func day(t time.Time) string { return t.UTC().Format("2006-01-02 15:04") }

// note adds to what is known that these roles are about to be signed by these keys.
func (f *facts) note(known *remembered, signed map[tuf.RoleName]bool, ids []key.ID, now time.Time) *remembered {
	r := &remembered{Root: f.root, Roles: map[tuf.RoleName]rememberedRole{}}
	if known != nil {
		r.Repository, r.Keys, r.Roles = known.Repository, slices.Clone(known.Keys), maps.Clone(known.Roles)
		if r.Roles == nil {
			r.Roles = map[tuf.RoleName]rememberedRole{}
		}
	}
	if f.repository != "" {
		r.Repository = f.repository
	}
	for _, id := range ids {
		if !slices.Contains(r.Keys, id) {
			r.Keys = append(r.Keys, id)
		}
	}
	slices.Sort(r.Keys)
	for i := range f.roles {
		one := &f.roles[i]
		k := r.Roles[one.role]
		if one.base > 0 {
			k.Seen, k.SeenSum = one.base, one.baseSum
		}
		if signed[one.role] && (k.Signed != one.next || k.SignedSum != one.nextSum) { // signed again, it keeps its date
			k.Signed, k.SignedSum, k.Request, k.At = one.next, one.nextSum, f.request, now.UTC().Truncate(time.Second)
		}
		r.Roles[one.role] = k
	}
	return r
}

// refused is an error with the exit code of a refusal.
func refused(format string, args ...any) error { return exit(exitRefused, fmt.Errorf(format, args...)) }

// plural is a number with its noun, and groups of three digits.
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return thousands(n) + " " + noun + "s"
}

func thousands(n int) string {
	text := fmt.Sprint(n)
	var b strings.Builder
	for i, c := range text {
		if i > 0 && (len(text)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(c)
	}
	return b.String()
}
