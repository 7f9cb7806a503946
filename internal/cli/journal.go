package cli

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"example.com/bailiwick/internal/verify"
)

// Bounds of the journal: refusals that `bailiwick why ID` can still explain.
const (
	maxJournal      = 200
	maxJournalEntry = 64 << 10 // bytes
)

var journalID = regexp.MustCompile(`^[0-9a-f]{6}$`)

// note keeps a refusal for `bailiwick why ID`, which runs later and in another process. A refusal that
// cannot be kept was still told.
func (p *pinned) note(v verify.Verdict) {
	switch {
	case v.Accepted != nil:
		p.enter(acceptedFolder, v.Accepted)
	case v.Problem != nil && v.Problem.Class != verify.NotFound:
		p.enter(refusalsFolder, v.Problem)
	}
}

// The two parts of the journal: what was refused, and what an override on the command line let pass,
// each with its time. The second has a bound of its own, so that refusals never push it out.
const (
	refusalsFolder = "refusals"
	acceptedFolder = "accepted"
)

func (p *pinned) enter(folder string, e *verify.Error) {
	data, err := json.MarshalIndent(e, "", "  ")
	if err != nil {
		return
	}
	if os.MkdirAll(filepath.Join(p.state, folder), 0o700) != nil {
		return
	}
	if p.write(filepath.Join(folder, e.ID+".json"), append(data, '\n')) == nil {
		p.trimJournal(folder)
	}
}

// trimJournal removes the oldest entries beyond the bound.
func (p *pinned) trimJournal(part string) {
	folder := filepath.Join(p.state, part)
	entries, err := os.ReadDir(folder)
	if err != nil || len(entries) <= maxJournal {
		return
	}
	modified := func(e fs.DirEntry) int64 {
		if info, err := e.Info(); err == nil {
			return info.ModTime().UnixNano()
		}
		return 0
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return cmp.Compare(modified(a), modified(b)) })
	for _, e := range entries[:len(entries)-maxJournal] {
		_ = os.Remove(filepath.Join(folder, e.Name())) // the next refusal tries again
	}
}

// recall finds an entry of the journal by its ID; nil if there is none.
func (p *pinned) recall(id string) (*verify.Error, error) {
	if !journalID.MatchString(id) {
		return nil, nil
	}
	e, err := p.entry(refusalsFolder, id)
	if e == nil && err == nil {
		e, err = p.entry(acceptedFolder, id)
	}
	return e, err
}

func (p *pinned) entry(folder, id string) (*verify.Error, error) {
	path := filepath.Join(p.state, folder, id+".json")
	data, err := readBounded(path, maxJournalEntry)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the refusal %s: %w", id, err)
	}
	var e verify.Error
	if err := json.Unmarshal(data, &e); err != nil {
		return nil, fmt.Errorf("reading the refusal %s: %s is damaged: %w", id, path, err)
	}
	return &e, nil
}
