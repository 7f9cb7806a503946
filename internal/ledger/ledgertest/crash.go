package ledgertest

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/record"
	"example.com/bailiwick/tuf"
)

// Sizes of a publication in [Crash] and [Bench]: a busy server's.
const (
	batch         = 16     // project roles and files
	projectSize   = 3_000  // bytes
	snapshotSize  = 60_000 // bytes
	timestampSize = 600    // bytes
	crashRounds   = 30     // kills
	crashPatience = 30     // seconds for one round
	crashEnv      = "LEDGERTEST_CRASH"
	crashAck      = "committed "
)

// Crash kills a process in the middle of commits, again and again, and checks after each time that
// every acknowledged publication is there whole and that nothing of any later one is, except that
// the one under way may have become durable before its acknowledgement was sent.
//
// The child is the test binary itself, running the calling test alone. create and open work on a
// path inside a folder of the test.
func Crash(t *testing.T, create, open func(t testing.TB, path string) Ledger) {
	if path := os.Getenv(crashEnv); path != "" {
		commitForever(t, open(t, path))
		return
	}
	path := filepath.Join(t.TempDir(), "ledger")
	l := create(t, path)
	commit(t, l, crashPublication(t, 1))
	closeLedger(t, l)
	rng := rand.New(rand.NewPCG(1, uint64(os.Getpid())))
	acked := int64(1)
	for round := range crashRounds {
		acked = max(acked, killWhileCommitting(t, path, rng))
		l := open(t, path)
		head, err := l.Head(t.Context())
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if head.Number != acked && head.Number != acked+1 {
			t.Fatalf("round %d: publication %d was acknowledged, the head is %d", round, acked, head.Number)
		}
		acked = head.Number
		checkWhole(t, l, head.Number, round == crashRounds-1)
		closeLedger(t, l)
	}
	if acked < crashRounds {
		t.Errorf("only %d publications in %d rounds: the kills came too early to show anything", acked, crashRounds)
	}
}

// commitForever is the child: it acknowledges each publication on standard output.
func commitForever(t *testing.T, l Ledger) {
	head, err := l.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for n := head.Number + 1; ; n++ {
		commit(t, l, crashPublication(t, n))
		if _, err := fmt.Printf("\n%s%d\n", crashAck, n); err != nil {
			t.Fatal(err)
		}
	}
}

// killWhileCommitting starts a child, kills it at a random moment, and returns the newest
// publication that it acknowledged.
func killWhileCommitting(t *testing.T, path string, rng *rand.Rand) int64 {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, "-test.run=^"+t.Name()+"$", "-test.timeout="+strconv.Itoa(crashPatience)+"s")
	cmd.Env = append(os.Environ(), crashEnv+"="+path)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var newest int64
	var said strings.Builder
	lines := bufio.NewScanner(out)
	killer := (*time.Timer)(nil)
	for lines.Scan() {
		text, ok := strings.CutPrefix(lines.Text(), crashAck)
		if !ok {
			said.WriteString(lines.Text() + "\n")
			continue
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		newest = n
		if killer == nil { // from the first commit on, anywhere within the next few
			killer = time.AfterFunc(time.Duration(rng.IntN(15_000))*time.Microsecond, func() { _ = cmd.Process.Kill() })
		}
	}
	_ = cmd.Wait() // killed: an error always
	if newest == 0 {
		t.Fatalf("the child committed nothing; it said:\n%s", said.String())
	}
	killer.Stop()
	return newest
}

// crashPublication makes publication n from n alone, so that the parent can check the child's.
func crashPublication(t testing.TB, n int64) *publish.Publication {
	p := &publish.Publication{Number: n, Time: at(n)}
	for i := range batch {
		m := meta(projectRole(i), n)
		m.Bytes = fill(m.Bytes, projectSize)
		p.Metadata = append(p.Metadata, m)
		p.Files = append(p.Files, file(t, i, fmt.Sprintf("p%d-%d.0.tar.gz", i, n)))
	}
	snapshot, timestamp := meta(tuf.RoleSnapshot, n), meta(tuf.RoleTimestamp, n)
	snapshot.Bytes, timestamp.Bytes = fill(snapshot.Bytes, snapshotSize), fill(timestamp.Bytes, timestampSize)
	p.Metadata = append(p.Metadata, snapshot, timestamp)
	p.Record = []publish.RecordEntry{entry(n, n, record.Claimed)}
	return p
}

// fill repeats seed up to size bytes.
func fill(seed []byte, size int) []byte {
	out := make([]byte, 0, size+len(seed))
	for len(out) < size {
		out = append(out, seed...)
	}
	return out[:size]
}

// checkWhole checks that publication head is the newest and is complete, and that nothing of the
// next one is there; with all, every earlier one too.
func checkWhole(t *testing.T, l Ledger, head int64, all bool) {
	t.Helper()
	first := head
	if all {
		first = 1
	}
	for n := first; n <= head; n++ {
		p := crashPublication(t, n)
		for _, m := range p.Metadata {
			wantMetadata(t, l, m)
		}
		for _, f := range p.Files {
			got, err := l.File(t.Context(), f.Filename)
			if err != nil {
				t.Errorf("publication %d: %v", n, err)
				continue
			}
			same(t, "file", got, f)
		}
	}
	next := crashPublication(t, head+1)
	for _, m := range next.Metadata {
		wantNoMetadata(t, l, m.Role, m.Version)
	}
	for _, f := range next.Files {
		_, err := l.File(t.Context(), f.Filename)
		wantErr(t, "file of a publication that did not happen", err, publish.ErrNotFound)
	}
	checkEntries(t, l, head)
	roles, err := l.Roles(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range roles {
		if r.Version != head {
			t.Errorf("role %s is at version %d in publication %d", r.Name, r.Version, head)
		}
	}
}

// checkEntries checks that the record has the one entry of each publication up to head, and no other.
func checkEntries(t *testing.T, l Ledger, head int64) {
	t.Helper()
	h, err := l.Head(t.Context())
	if err != nil || h.Record.Length != head {
		t.Errorf("the record has %d entries after publication %d, %v", h.Record.Length, head, err)
	}
	last, err := l.Record(t.Context(), head, 2)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "newest entry", last, []publish.RecordEntry{entry(head, head, record.Claimed)})
}
