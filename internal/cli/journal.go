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
	if v.Problem == nil || v.Problem.Class == verify.NotFound {
		return
	}
	data, err := json.MarshalIndent(v.Problem, "", "  ")
	if err != nil {
		return
	}
	if os.MkdirAll(filepath.Join(p.state, "refusals"), 0o700) != nil {
		return
	}
	if p.write(filepath.Join("refusals", v.Problem.ID+".json"), append(data, '\n')) == nil {
		p.trimJournal()
	}
}

// trimJournal removes the oldest entries beyond the bound.
func (p *pinned) trimJournal() {
	folder := filepath.Join(p.state, "refusals")
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

// recall finds a refusal by its ID; nil if there is none.
func (p *pinned) recall(id string) (*verify.Error, error) {
	if !journalID.MatchString(id) {
		return nil, nil
	}
	path := filepath.Join(p.state, "refusals", id+".json")
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
