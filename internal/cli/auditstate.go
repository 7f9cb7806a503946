package cli

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"example.com/bailiwick/internal/audit"
	"example.com/bailiwick/internal/durable"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/record"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
	"example.com/bailiwick/tuf/trust"
)

// auditState is what an auditor remembers of one repository.
type auditState struct{ folder string }

// seenName is the file with what the last audit saw.
const seenName = "seen.json"

// maxSeen bounds that file, in bytes.
const maxSeen = 1 << 20

// auditSeen is what the last audit without findings saw.
type auditSeen struct {
	head     record.Head
	time     time.Time
	snapshot int64
	own      map[policy.KeyRole]record.Keys
}

// auditFile is its form in the file.
type auditFile struct {
	Format   int       `json:"format"`
	Length   int64     `json:"length"`
	Head     string    `json:"head"`
	Snapshot int64     `json:"snapshot"`
	Time     time.Time `json:"time"`
	// Own are the index's own keys, by what they sign.
	Own map[policy.KeyRole]auditKeys `json:"own"`
}

type auditKeys struct {
	KeyIDs    []key.ID `json:"keyids"`
	Threshold int      `json:"threshold"`
}

func openAuditState(folder string) (*auditState, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("making the state folder: %w", err)
	}
	return &auditState{folder}, nil
}

// read returns what was seen, nil before the first audit. A damaged file is an error: starting anew would forget what
// an index could want to be forgotten.
func (s *auditState) read() (*auditSeen, error) {
	path := filepath.Join(s.folder, seenName)
	data, err := readBounded(path, maxSeen)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading what the last audit saw: %w", err)
	}
	var f auditFile
	err = json.Unmarshal(data, &f)
	sum, badHex := hex.DecodeString(f.Head)
	if err != nil || badHex != nil || f.Format != 1 || len(sum) != 32 || f.Length < 0 {
		return nil, fmt.Errorf("%s is damaged: put it back from a backup; without it this audit can not tell whether the record was rewritten since (remove it to begin anew)", path)
	}
	seen := &auditSeen{head: record.Head{Length: f.Length, Sum: [32]byte(sum)}, time: f.Time, snapshot: f.Snapshot, own: map[policy.KeyRole]record.Keys{}}
	for role, k := range f.Own {
		seen.own[role] = record.Keys{IDs: k.KeyIDs, Threshold: k.Threshold}
	}
	return seen, nil
}

func (s *auditState) write(seen *auditSeen) error {
	own := map[policy.KeyRole]auditKeys{}
	for role, k := range seen.own {
		own[role] = auditKeys{k.IDs, k.Threshold}
	}
	data, err := json.Marshal(auditFile{
		Format: 1, Length: seen.head.Length, Head: hex.EncodeToString(seen.head.Sum[:]), Snapshot: seen.snapshot,
		Time: seen.time.UTC().Truncate(time.Second), Own: own,
	})
	if err != nil {
		return fmt.Errorf("writing what this audit saw: %w", err)
	}
	root, err := os.OpenRoot(s.folder)
	if err != nil {
		return fmt.Errorf("writing what this audit saw: %w", err)
	}
	defer func() { _ = root.Close() }() // what was written is synced
	if err := durable.Replace(root, seenName, append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("writing what this audit saw: %w", err)
	}
	return nil
}

// auditWorkers is how many files are fetched at once.
const auditWorkers = 8

// prefetch gets both trees' bins at once, and returns a loader that has them. It verifies nothing: whoever uses the bytes does.
func (a *auditor) prefetch(ctx context.Context, set *trust.Set, layout policy.Layout) (trust.Loader, error) {
	var wanted []tuf.RoleName
	for bin := range layout.BinNames() {
		chain := layout.UnclaimedBinChain(bin)
		if len(wanted) == 0 {
			wanted = append(wanted, chain[0], chain[2])
		}
		wanted = append(wanted, chain[1], chain[3])
	}
	files := make([][]byte, len(wanted))
	errs := make([]error, auditWorkers)
	var wg sync.WaitGroup
	for w := range auditWorkers {
		wg.Go(func() {
			for i := w; i < len(wanted) && errs[w] == nil; i += auditWorkers {
				files[i], errs[w] = a.load(ctx, set, wanted[i])
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	byRole := make(map[tuf.RoleName][]byte, len(wanted))
	for i, role := range wanted {
		byRole[role] = files[i]
	}
	return func(role tuf.RoleName, _ tuf.Meta) ([]byte, error) {
		if data, ok := byRole[role]; ok {
			return data, nil
		}
		return a.load(ctx, set, role)
	}, nil
}

func (a *auditor) load(ctx context.Context, set *trust.Set, role tuf.RoleName) ([]byte, error) {
	want, ok := set.Want(role)
	if !ok {
		return nil, exit(exitRefused, fmt.Errorf("the snapshot does not list the role %s", role))
	}
	return a.fetcher.Metadata(ctx, want.Name, want.Limit) //nolint:wrapcheck // names the file
}

// auditAnswer is the result for programs.
type auditAnswer struct {
	Agrees    bool      `json:"agrees"`
	Length    int64     `json:"length"`
	Head      string    `json:"head"`
	Snapshot  int64     `json:"snapshot"`
	Root      int64     `json:"root"`
	Claimed   int       `json:"claimed"`
	Recent    int       `json:"recently_claimed"`
	Unclaimed int       `json:"unclaimed"`
	Parked    int       `json:"parked"`
	Waiting   []string  `json:"recoveries_waiting"`
	Expired   []string  `json:"expired"`
	Findings  []string  `json:"findings"`
	Before    *int64    `json:"seen_before,omitempty"` // length of the record at the last audit
	Time      time.Time `json:"time"`
}

func (a *auditor) answer(r *audit.Report, seen *auditSeen) *auditAnswer {
	out := &auditAnswer{
		Agrees: len(r.Findings) == 0, Length: r.Head.Length, Head: hex.EncodeToString(r.Head.Sum[:]), Snapshot: r.Snapshot, Root: r.Root,
		Claimed: r.Claimed, Recent: r.Recent, Unclaimed: r.Unclaimed, Parked: r.Parked,
		Waiting: []string{}, Expired: a.allExpired(r), Findings: []string{}, Time: a.env.Now().UTC().Truncate(time.Second),
	}
	for _, e := range r.Waiting {
		out.Waiting = append(out.Waiting, string(e.Role))
	}
	for _, f := range r.Findings {
		out.Findings = append(out.Findings, f.String())
	}
	if seen != nil {
		out.Before = &seen.head.Length
	}
	return out
}

// allExpired are the roles that nobody signed in time: top-level ones first.
func (a *auditor) allExpired(r *audit.Report) []string {
	out := append([]string{}, a.expired...)
	for _, role := range r.Expired {
		out = append(out, string(role))
	}
	return out
}

func (a *auditor) print(r *audit.Report, seen *auditSeen) {
	out := func(format string, args ...any) { _, _ = fmt.Fprintf(a.env.Stdout, format, args...) }
	on := "; seen for the first time from here"
	if seen != nil {
		on = fmt.Sprintf("; goes on from %s seen on %s", entries(seen.head.Length), onDay(seen.time))
	}
	if len(r.Findings) > 0 {
		on = ""
	}
	out("record      %s, head %x%s\n", entries(r.Head.Length), r.Head.Sum, on)
	out("projects    %d claimed, %d recently claimed, %d unclaimed\n", r.Claimed, r.Recent, r.Unclaimed)
	if r.Parked > 0 {
		out("parked      %d of the claimed\n", r.Parked)
	}
	out("signed by   root version %d, snapshot %d\n", r.Root, r.Snapshot)
	for _, e := range r.Waiting {
		out("recovery    %s gets other keys on %s at the earliest: %s\n", shown(string(e.Role)), onDay(e.NotBefore), shown(e.Text))
	}
	for i, role := range a.allExpired(r) {
		if i == 10 {
			out("expired     and %d more\n", len(a.expired)+len(r.Expired)-i)
			break
		}
		out("expired     %s\n", shown(role))
	}
	for _, f := range r.Findings {
		out("FINDING     %s\n", shown(f.String()))
	}
}
