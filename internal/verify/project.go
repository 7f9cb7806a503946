package verify

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/pypi/simple"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/trust"
)

// maxPages bounds the listings kept for times of trouble.
const maxPages = 20_000

// File is one file of a project, as the signed metadata has it.
type File struct {
	Project   pypi.Project
	Entry     simple.File // for the index page; URL is empty
	Assurance policy.Assurance
	Path      tuf.TargetPath
	// Adopted: its maintainers list it, and did not build it; the index vouched for it when they
	// claimed the project.
	Adopted bool
	// Problem is why every request for the file is refused; nil in ordinary times.
	Problem *Error

	found *trust.Found // nil only if Problem is not
}

// Listing is what the verified repository has of one project. It is immutable.
type Listing struct {
	Project pypi.Project
	Files   []File // sorted by path
	// Problem is set when the files are listed only so that an installer that asks for one of them
	// is told why it is refused.
	Problem *Error

	// Status is what its maintainers say of the project as a whole.
	Status policy.Status

	since    time.Time // since when the project is claimed; zero: not known
	accepted *Error    // what the user's override let pass
}

// File finds a file by its name.
func (l *Listing) File(name string) (*File, bool) {
	i := slices.IndexFunc(l.Files, func(f File) bool { return f.Entry.Filename == name })
	if i < 0 {
		return nil, false
	}
	return &l.Files[i], true
}

// refusedFor is the same listing with every file refused for err.
func (l *Listing) refusedFor(err *Error) *Listing {
	refused := &Listing{Project: l.Project, Files: slices.Clone(l.Files), Problem: err, Status: l.Status, since: l.since}
	for i := range refused.Files {
		refused.Files[i].Problem = err
	}
	return refused
}

// listingCall is one listing being read, which any number of requests may wait for.
type listingCall struct {
	done    chan struct{}
	listing *Listing
	err     error
}

func (c *listingCall) settled() bool {
	select {
	case <-c.done:
		return c.err == nil
	default:
		return false
	}
}

// Project lists the files of a project. When the repository is in trouble, a project that was listed
// before stays listed with all its files refused; otherwise the error is an *Error (NotFound if the
// verified repository does not list the project) or that of ctx.
func (e *Engine) Project(ctx context.Context, project pypi.Project) (*Listing, error) {
	listing, err := e.listing(ctx, project)
	if err == nil {
		return listing, nil
	}
	var problem *Error
	if !errors.As(err, &problem) || problem.Class == NotFound {
		return nil, err
	}
	e.mu.Lock()
	last := e.pages[project]
	e.mu.Unlock()
	if last == nil {
		return nil, e.reject(project, "", problem)
	}
	return last.refusedFor(problem), nil
}

func (e *Engine) listing(ctx context.Context, project pypi.Project) (*Listing, error) {
	s, err := e.session(ctx)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	call := s.listings[project]
	if call == nil {
		call = &listingCall{done: make(chan struct{})}
		s.listings[project] = call
		go e.load(context.WithoutCancel(ctx), s, project, call)
	}
	s.mu.Unlock()
	select {
	case <-call.done:
		return call.listing, call.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// load reads a listing. Failures are not kept: the next request tries again.
func (e *Engine) load(ctx context.Context, s *session, project pypi.Project, call *listingCall) {
	found, err := s.view.List(ctx, s.layout.Dir(project))
	if err == nil {
		call.listing, err = e.build(project, found)
	}
	if err == nil {
		call.listing.Status, err = projectStatus(ctx, s, project, found[0])
	}
	if err == nil {
		err = e.judge(ctx, s, call.listing)
	}
	call.err = e.brokenRole(ctx, s, project, project.String(), err)
	if call.err != nil {
		s.mu.Lock()
		delete(s.listings, project)
		s.mu.Unlock()
	} else if call.listing.Problem == nil {
		e.mu.Lock()
		if len(e.pages) >= maxPages {
			clear(e.pages)
		}
		e.pages[project] = call.listing
		e.mu.Unlock()
	}
	close(call.done)
}

// build makes the listing from verified targets. A file whose signed entry cannot be used is hidden,
// unless that leaves nothing: then the files are listed to be refused with the reason.
func (e *Engine) build(project pypi.Project, found []*trust.Found) (*Listing, error) {
	listing := &Listing{Project: project}
	var hidden []File
	for _, f := range found {
		file := e.file(project, f)
		if file.Problem != nil {
			hidden = append(hidden, file)
			continue
		}
		listing.Files = append(listing.Files, file)
	}
	if len(listing.Files) == 0 {
		listing.Files = hidden
		if len(hidden) > 0 {
			listing.Problem = hidden[0].Problem
		}
	}
	if len(listing.Files) == 0 {
		return nil, trust.ErrNotFound
	}
	return listing, nil
}

// projectStatus reads what the project's role says of the project, if that role is on the way to a file of it.
// A word that this program does not know is none.
func projectStatus(ctx context.Context, s *session, project pypi.Project, f *trust.Found) (policy.Status, error) {
	var way []tuf.RoleName
	for _, link := range f.Chain[1:] {
		way = append(way, link.Role)
		if link.Role != policy.ProjectRole(project) {
			continue
		}
		t, err := s.view.Role(ctx, way...)
		if err != nil {
			return policy.Status{}, err
		}
		status, err := policy.StatusOf(t)
		if err != nil {
			status = policy.Status{} // see above
		}
		if assurance(f) == policy.ClaimedParked && !status.IsArchived() {
			status = policy.ParkedStatus()
		}
		return status, nil
	}
	return policy.Status{}, nil
}

func (e *Engine) file(project pypi.Project, f *trust.Found) File {
	path := string(f.Target.Path)
	file := File{Project: project, Path: f.Target.Path, Assurance: assurance(f), found: f}
	owner, name, err := policy.ParsePath(f.Target.Path)
	if err == nil && owner != project {
		err = fmt.Errorf("%s is not a path of %s", path, project)
	}
	if err == nil {
		file.Entry, err = policy.File(f.Target)
	}
	if err == nil {
		file.Entry.Filename, file.Entry.URL = name.String(), ""
		file.Adopted = adopted(f)
		return file
	}
	base := path[strings.LastIndexByte(path, '/')+1:]
	file.Entry = simple.File{Filename: base, Size: f.Target.Length}
	if sum, ok := f.Target.Hashes.SHA256(); ok {
		file.Entry.SHA256 = sum
	}
	file.Problem = e.newError(&Error{
		Class: Refused, Code: CodeEntry, Subject: base, Role: listedBy(f), Cause: "its signed entry cannot be used", Detail: err.Error(), Err: err,
	})
	return file
}

// assurance is the word for the chain that leads to a file.
func assurance(f *trust.Found) policy.Assurance {
	chain := make([]policy.ChainLink, len(f.Chain))
	for i, link := range f.Chain {
		chain[i] = policy.ChainLink{Role: link.Role, Keys: link.Authority.KeyIDs()}
	}
	return policy.Assess(chain)
}

// adopted reports whether maintainers list a file that only the index vouches for.
func adopted(f *trust.Found) bool {
	if assurance(f) == policy.Unclaimed || !bytes.Contains(f.Target.Custom, []byte("vouched-by")) {
		return false
	}
	c, err := policy.DecodeCustom(f.Target.Custom)
	return err == nil && c.VouchedBy == policy.VouchedByIndex
}

func listedBy(f *trust.Found) tuf.RoleName {
	if len(f.Chain) == 0 {
		return ""
	}
	return f.Chain[len(f.Chain)-1].Role
}

// signedBy says in words whose signature a file has: "2 of 3 maintainers", "the registry".
func signedBy(f *trust.Found) string {
	if assurance(f) == policy.Unclaimed || len(f.Chain) == 0 {
		return "the registry"
	}
	last := f.Chain[len(f.Chain)-1]
	if _, main := policy.ProjectOf(last.Role); main && assurance(f) == policy.ClaimedParked {
		return "the index's offline keys, which signed its last list as it was"
	}
	who := "its maintainer"
	if n := len(last.Authority.KeyIDs()); n > 1 {
		who = fmt.Sprintf("%d of %d maintainers", len(last.Signers), n)
	}
	if _, sub, ok := policy.SubRoleOf(last.Role); ok {
		who = fmt.Sprintf("%d of %s, to which its maintainers delegate %q", len(last.Signers), count(len(last.Authority.KeyIDs()), "key"), sub)
	}
	if adopted(f) {
		who += ", vouched for by the index at the claim"
	}
	return who
}

// mismatchCause names whose signature the bytes fail.
func mismatchCause(f *trust.Found) string {
	if assurance(f) == policy.Unclaimed {
		return "not the bytes the registry signed"
	}
	if assurance(f) == policy.ClaimedParked {
		return "not the bytes its maintainers signed before it was parked"
	}
	return "not the bytes its maintainers signed"
}

func expected(f *File) *Content {
	return &Content{SHA256: hex.EncodeToString(f.Entry.SHA256[:]), Length: f.Entry.Size}
}
