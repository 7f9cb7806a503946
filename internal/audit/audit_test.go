package audit_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/bailiwick/internal/audit"
	"example.com/bailiwick/internal/ledger"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/publish/publishtest"
	"example.com/bailiwick/internal/record"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
	"example.com/bailiwick/tuf/repo"
)

// world is a repository in which flask is claimed and quart recently claimed, and the entries that would tell so.
type world struct {
	repository audit.Repository
	keys       publishtest.Keys
	entries    []record.Entry
	now        time.Time
}

func signer(t *testing.T) key.Signer {
	t.Helper()
	_, s, err := key.GenerateEd25519()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func keysOf(t *testing.T, threshold int, signers ...key.Signer) record.Keys {
	t.Helper()
	var public []*key.Public
	for _, s := range signers {
		public = append(public, s.Public())
	}
	a, err := tuf.NewAuthority(threshold, public...)
	if err != nil {
		t.Fatal(err)
	}
	return record.KeysOf(a)
}

func newWorld(t *testing.T) *world {
	t.Helper()
	alice, bob := signer(t), signer(t)
	l := ledger.NewMemory()
	w := &world{now: publishtest.Start()}
	w.keys = publishtest.Create(t, l, publishtest.Options{
		ClaimedKeys: map[string]key.Signer{"flask": alice}, RecentKeys: map[string]key.Signer{"quart": bob},
	})
	p, err := publish.Open(t.Context(), publish.Config{Ledger: l, Signers: w.keys.Online(), Now: func() time.Time { return w.now }})
	if err != nil {
		t.Fatal(err)
	}
	s := p.Current().Sitting(t.Context(), w.now, policy.DefaultLifetimes())
	w.repository = audit.Repository{Set: s.Set, Load: s.Load, Layout: s.Layout, Now: w.now, Roots: []*tuf.Root{s.Set.Root()}}
	a, b := keysOf(t, 1, alice), keysOf(t, 1, bob)
	w.entries = []record.Entry{
		{Kind: record.Claimed, Role: "project.flask", New: a},
		{Kind: record.Claimed, Role: "project.quart", New: b},
		{Kind: record.Promoted, Role: "project.flask", Old: a, New: a},
	}
	return w
}

// replay adds entries in their order, numbered and dated.
func replay(t *testing.T, entries []record.Entry) *audit.Replay {
	t.Helper()
	r := audit.New()
	for i := range entries {
		e := entries[i]
		e.Number, e.Publication = int64(i)+1, int64(i)+2
		if e.Time.IsZero() {
			e.Time = publishtest.Start().Add(time.Duration(i) * time.Minute)
		}
		if err := r.Add(&e); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// findings compares, and returns what was found but for the head in the snapshot, which knows nothing of entries that a test made.
func (w *world) findings(t *testing.T, r *audit.Replay) []string {
	t.Helper()
	report, err := r.Compare(w.repository)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range report.Findings {
		if !strings.Contains(f.Text, "stands for a record of") {
			out = append(out, f.String())
		}
	}
	return out
}

func TestR65AuditAgrees(t *testing.T) {
	w := newWorld(t)
	r := replay(t, w.entries)
	report, err := r.Compare(w.repository)
	if err != nil {
		t.Fatal(err)
	}
	if report.Claimed != 1 || report.Recent != 1 || report.Unclaimed != 0 || report.Parked != 0 || len(report.Expired) != 0 || len(report.Waiting) != 0 {
		t.Errorf("%+v", report)
	}
	if got := w.findings(t, r); len(got) != 0 {
		t.Errorf("found %q", got)
	}
	// The one finding is that the snapshot was signed before any of these entries.
	if len(report.Findings) != 1 || report.Findings[0].Role != tuf.RoleSnapshot || !strings.Contains(report.Findings[0].Text, "stands for a record of 0 entries") {
		t.Errorf("found %v", report.Findings)
	}
	if len(report.Own) != len(policy.KeyRoles()) {
		t.Errorf("knows the keys of %d roles", len(report.Own))
	}
	if head := r.Head(); head.Length != 3 {
		t.Errorf("head %+v", head)
	}
	w.repository.Own = report.Own
	if got := w.findings(t, replay(t, w.entries)); len(got) != 0 {
		t.Errorf("the same again: %q", got)
	}
}

func TestR65AuditFinds(t *testing.T) {
	thief := signer(t)
	for name, c := range map[string]struct {
		edit func(w *world, t *testing.T)
		want []string
	}{
		"a project that was promoted without a word": {
			func(w *world, _ *testing.T) { w.entries = w.entries[:2] },
			[]string{"project.flask: offline keys vouch for it, and the record does not tell of that"},
		},
		"keys of which nobody told": {
			func(w *world, _ *testing.T) { w.entries = slices.Delete(w.entries, 1, 2) },
			[]string{"project.quart: keys sign it that are not the registry's, and the record does not tell whose they are"},
		},
		"a claimed project of which nobody told": {
			func(w *world, _ *testing.T) { w.entries = w.entries[1:2] },
			[]string{"project.flask: offline keys vouch for it, and the record does not tell that anybody claimed it"},
		},
		"other keys than were told": {
			func(w *world, t *testing.T) { w.entries[1].New = keysOf(t, 1, thief) },
			[]string{"project.quart: 1 of 1 keys sign it (*), and the record says in entry 2 that 1 of 1 keys sign it (*)"},
		},
		"another threshold": {
			func(w *world, t *testing.T) {
				w.entries = append(w.entries, record.Entry{Kind: record.Rekeyed, Role: "project.quart", Old: w.entries[1].New, New: keysOf(t, 2, thief, signer(t))})
			},
			[]string{"project.quart: 1 of 1 keys sign it (*), and the record says in entry 4 that 2 of 2 keys sign it (*)"},
		},
		"a promotion that never happened": {
			func(w *world, _ *testing.T) {
				w.entries = append(w.entries, record.Entry{Kind: record.Promoted, Role: "project.quart", Old: w.entries[1].New, New: w.entries[1].New})
			},
			[]string{"project.quart: the record says in entry 4 that offline keys vouch for it, and only the registry's key does"},
		},
		"a claim that never happened": {
			func(w *world, t *testing.T) {
				w.entries = append(w.entries, record.Entry{Kind: record.Claimed, Role: "project.django", New: keysOf(t, 1, thief)})
			},
			[]string{"project.django: the record says in entry 4 that it is claimed, and nothing delegates it to its maintainers"},
		},
		"a second claim": {
			func(w *world, _ *testing.T) {
				w.entries = append(w.entries, record.Entry{Kind: record.Claimed, Role: "project.quart", New: w.entries[1].New})
			},
			[]string{"entry 4, project.quart: it was claimed already, in entry 2, and nobody can displace its maintainers by claiming it"},
		},
		"keys that came from nowhere": {
			func(w *world, t *testing.T) {
				w.entries = append(w.entries, record.Entry{Kind: record.Rekeyed, Role: "project.quart", Old: keysOf(t, 1, thief), New: w.entries[1].New})
			},
			[]string{"entry 4, project.quart: its keys were those of entry 2, and this entry says otherwise"},
		},
		"a rekey of what nobody claimed": {
			func(w *world, t *testing.T) {
				w.entries = append(w.entries, record.Entry{Kind: record.Revoked, Role: "project.django", New: keysOf(t, 1, thief)})
			},
			[]string{
				"entry 4, project.django: it is revoked, and no entry before says that it was claimed",
				"project.django: the record says in entry 4 that it is claimed, and nothing delegates it to its maintainers",
			},
		},
		"a promotion that changes keys": {
			func(w *world, t *testing.T) { w.entries[0].New = keysOf(t, 1, thief); w.entries[2].Old = record.Keys{} },
			[]string{"entry 3, project.flask: a promotion changes no keys, and this one does"},
		},
		"a second promotion": {
			func(w *world, _ *testing.T) { w.entries = append(w.entries, w.entries[2]) },
			[]string{"entry 4, project.flask: it was promoted already, in entry 3 or before"},
		},
		"a claim taken back that offline keys vouch for": {
			func(w *world, _ *testing.T) {
				w.entries = append(w.entries, record.Entry{Kind: record.Cleared, Role: "project.flask", Old: w.entries[0].New})
			},
			[]string{
				"entry 4, project.flask: it is cleared, and the record says in entry 3 that offline keys vouch for it",
				"project.flask: offline keys vouch for it, and the record does not tell that anybody claimed it",
			},
		},
		"a recovery out of the blue": {
			func(w *world, _ *testing.T) {
				w.entries = append(w.entries, record.Entry{Kind: record.Recovered, Role: "project.flask", Old: w.entries[0].New, New: w.entries[0].New})
			},
			[]string{"entry 4, project.flask: it was recovered without an announcement"},
		},
		"a recovery before its time": {
			func(w *world, _ *testing.T) {
				w.entries = append(w.entries, announced(w.entries[0], publishtest.Start().Add(96*time.Hour)),
					record.Entry{Kind: record.Recovered, Role: "project.flask", New: w.entries[0].New})
			},
			[]string{"entry 5, project.flask: it was recovered on 2000-01-01T00:04:00Z, and entry 4 had announced that for 2000-01-05T00:00:00Z at the earliest"},
		},
		"an announcement that leaves no time to object": {
			func(w *world, _ *testing.T) {
				a := announced(w.entries[0], publishtest.Start().Add(time.Hour))
				done := record.Entry{Kind: record.Recovered, Role: "project.flask", New: w.entries[0].New, Time: a.NotBefore}
				w.entries = append(w.entries, a, done)
			},
			[]string{"entry 4, project.flask: it may be recovered from 2000-01-01T01:00:00Z on, which leaves those who have the keys less than 3 days to object"},
		},
		"a recovery to other keys than announced": {
			func(w *world, t *testing.T) {
				a := announced(w.entries[0], publishtest.Start().Add(96*time.Hour))
				a.New = keysOf(t, 1, thief)
				w.entries = append(w.entries, a, record.Entry{Kind: record.Recovered, Role: "project.flask", New: w.entries[0].New, Time: a.NotBefore})
			},
			[]string{"entry 5, project.flask: it got other keys than entry 4 had announced"},
		},
		"two announcements": {
			func(w *world, _ *testing.T) {
				a := announced(w.entries[0], publishtest.Start().Add(96*time.Hour))
				w.entries = append(w.entries, a, a)
			},
			[]string{"entry 5, project.flask: a recovery was announced already, in entry 4"},
		},
		"an end of nothing": {
			func(w *world, _ *testing.T) {
				w.entries = append(w.entries, record.Entry{Kind: record.RecoveryCancelled, Role: "project.flask"})
			},
			[]string{"entry 4, project.flask: a recovery is cancelled that nobody announced"},
		},
		"an entry out of its time": {
			func(w *world, _ *testing.T) { w.entries[1].Time = publishtest.Start().Add(-time.Hour) },
			[]string{"entry 2, project.quart: it is dated 1999-12-31T23:00:00Z, before the entry in front of it"},
		},
		"keys that were replaced": {
			func(w *world, t *testing.T) {
				w.entries = append(w.entries, record.Entry{Kind: record.KeysChanged, Role: "claimed", Old: keysOf(t, 1, w.keys[policy.KeyClaimed]), New: keysOf(t, 1, thief)})
			},
			[]string{"claimed: 1 of 1 keys sign it (*), and the record says in entry 4 that these keys were replaced"},
		},
		"a registry key that was exchanged without a word": {
			func(w *world, t *testing.T) {
				w.repository.Own = map[policy.KeyRole]record.Keys{policy.KeyRegistry: keysOf(t, 1, thief)}
			},
			[]string{"registry: 1 of 1 keys sign it (*), at the last audit it was that 1 of 1 keys sign it (*), and the record does not tell of the change"},
		},
		"a root of which nobody told": {
			func(w *world, t *testing.T) { w.repository.Roots = append(w.repository.Roots, w.nextRoot(t, thief)) },
			[]string{"root: version 2 gave timestamp other keys, and the record does not tell of that"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c.edit(w, t)
			got := w.findings(t, replay(t, w.entries))
			if len(got) != len(c.want) {
				t.Fatalf("found %q, want %q", got, c.want)
			}
			for i := range got {
				if !matches(c.want[i], got[i]) {
					t.Errorf("found\n%s, want\n%s", got[i], c.want[i])
				}
			}
		})
	}
}

func announced(claim record.Entry, at time.Time) record.Entry {
	return record.Entry{Kind: record.RecoveryAnnounced, Role: claim.Role, Old: claim.New, New: claim.New, NotBefore: at, Text: "they lost it"}
}

// matches compares text with a pattern in which * stands for what a pair of brackets holds.
func matches(pattern, text string) bool {
	for {
		before, after, more := strings.Cut(pattern, "*")
		if !more {
			return text == pattern
		}
		rest, ok := strings.CutPrefix(text, before)
		end := strings.IndexByte(rest, ')')
		if !ok || end < 0 {
			return false
		}
		pattern, text = after, rest[end:]
	}
}

// nextRoot makes a second root with another timestamp key.
func (w *world) nextRoot(t *testing.T, timestamp key.Signer) *tuf.Root {
	t.Helper()
	a, err := tuf.NewAuthority(1, timestamp.Public())
	if err != nil {
		t.Fatal(err)
	}
	d, err := repo.EditRoot(w.repository.Set.Root(), repo.RootEdit{Roles: map[tuf.RoleName]tuf.Authority{tuf.RoleTimestamp: a}},
		repo.Issue{Role: tuf.RoleRoot, Version: 2, Now: w.now, Expires: w.now.Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	data, err := repo.Sign(t.Context(), d, w.keys[policy.KeyRoot])
	if err != nil {
		t.Fatal(err)
	}
	u, err := tuf.ParseRoot(data, nil)
	if err != nil {
		t.Fatal(err)
	}
	root, err := u.Verify(tuf.SelfAuthority(u))
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func TestAuditFollowsToldChanges(t *testing.T) {
	w := newWorld(t)
	next := signer(t)
	w.repository.Roots = append(w.repository.Roots, w.nextRoot(t, next))
	w.repository.Own = map[policy.KeyRole]record.Keys{policy.KeyClaimed: keysOf(t, 1, next)}
	w.entries = append(w.entries,
		record.Entry{Kind: record.Root, Role: "root", Old: keysOf(t, 1, w.keys[policy.KeyTimestamp]), New: keysOf(t, 1, next)},
		record.Entry{Kind: record.KeysChanged, Role: "claimed", Old: keysOf(t, 1, next), New: keysOf(t, 1, w.keys[policy.KeyClaimed])},
		record.Entry{Kind: record.Custody, Role: "snapshot", Text: "strict"},
		announced(w.entries[1], w.now.Add(96*time.Hour)),
	)
	// This test keeps the first root's timestamp key in force, which entry 4 says was replaced: that, and nothing else.
	got := w.findings(t, replay(t, w.entries))
	if len(got) != 1 || !strings.HasPrefix(got[0], "timestamp: ") || !strings.Contains(got[0], "in entry 4 that these keys were replaced") {
		t.Errorf("found %q", got)
	}
	report, err := replay(t, w.entries).Compare(w.repository)
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Waiting) != 1 || report.Waiting[0].Role != "project.quart" {
		t.Errorf("waiting: %v", report.Waiting)
	}
}

func TestR65AuditSeesARewrittenRecord(t *testing.T) {
	w := newWorld(t)
	seen := replay(t, w.entries[:2]).Head()
	for name, c := range map[string]struct {
		edit func(entries []record.Entry) []record.Entry
		want string
	}{
		"goes on":     {func(e []record.Entry) []record.Entry { return e }, ""},
		"unchanged":   {func(e []record.Entry) []record.Entry { return e[:2] }, ""},
		"rewritten":   {func(e []record.Entry) []record.Entry { e[0].Text = "other words"; return e }, "the record was rewritten: up to here"},
		"cut short":   {func(e []record.Entry) []record.Entry { return e[:1] }, "the record had 2 entries when it was read last, and has 1 now: it was cut short"},
		"out of date": {func([]record.Entry) []record.Entry { return nil }, "it was cut short"},
	} {
		t.Run(name, func(t *testing.T) {
			entries := c.edit(slices.Clone(w.entries))
			r := audit.New()
			r.GoesOnFrom(seen)
			for i := range entries {
				e := entries[i]
				e.Number, e.Publication, e.Time = int64(i)+1, int64(i)+2, publishtest.Start().Add(time.Duration(i)*time.Minute)
				if err := r.Add(&e); err != nil {
					t.Fatal(err)
				}
			}
			report, err := r.Compare(w.repository)
			if err != nil {
				t.Fatal(err)
			}
			found := slices.ContainsFunc(report.Findings, func(f audit.Finding) bool {
				return strings.Contains(f.Text, "rewritten") || strings.Contains(f.Text, "cut short")
			})
			told := c.want != "" && slices.ContainsFunc(report.Findings, func(f audit.Finding) bool { return strings.Contains(f.Text, c.want) })
			if found != (c.want != "") || found != told {
				t.Errorf("found %v, want %q", report.Findings, c.want)
			}
		})
	}
}

func TestAuditRefusesABrokenChain(t *testing.T) {
	w := newWorld(t)
	e := w.entries[0]
	e.Number, e.Publication, e.Time = 2, 2, publishtest.Start()
	if err := audit.New().Add(&e); !errors.Is(err, record.ErrChain) {
		t.Errorf("an entry was skipped: %v", err)
	}
	e.Number, e.Kind = 1, "rumour"
	if err := audit.New().Add(&e); !errors.Is(err, record.ErrInvalid) {
		t.Errorf("an unknown kind: %v", err)
	}
}

// TestR65PublicationsOnlyRise: several entries may be of one publication, none of an earlier one than the entry before.
func TestR65PublicationsOnlyRise(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]struct {
		numbers [2]int64
		want    int
	}{
		"rising": {[2]int64{2, 5}, 0}, "the same": {[2]int64{4, 4}, 0}, "falling": {[2]int64{5, 4}, 1},
	} {
		r := audit.New()
		for i, n := range c.numbers {
			e := w.entries[i]
			e.Number, e.Publication, e.Time = int64(i)+1, n, publishtest.Start()
			if err := r.Add(&e); err != nil {
				t.Fatal(err)
			}
		}
		if got := r.Findings(); len(got) != c.want || len(got) > 0 && !strings.Contains(got[0].Text, "publication 4, and the entry in front of it 5") {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestAuditTellsExpired: what nobody signed in time is named and is no finding.
func TestAuditTellsExpired(t *testing.T) {
	w := newWorld(t)
	w.repository.Now = w.now.AddDate(2, 0, 0)
	report, err := replay(t, w.entries).Compare(w.repository)
	if err != nil {
		t.Fatal(err)
	}
	// claimed and unclaimed, and 16 bins of each.
	if len(report.Expired) != 34 || !slices.Contains(report.Expired, policy.RoleClaimed) || !slices.IsSorted(report.Expired) {
		t.Errorf("expired: %v", report.Expired)
	}
	if got := w.findings(t, replay(t, w.entries)); len(got) != 0 {
		t.Errorf("found %q", got)
	}
}
