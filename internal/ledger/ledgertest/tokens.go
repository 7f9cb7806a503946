package ledgertest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"example.com/bailiwick/internal/index"
	"example.com/bailiwick/internal/pypi"
)

func put(t testing.TB, l index.Tokens, token index.Token) {
	t.Helper()
	if err := l.PutToken(t.Context(), token); err != nil {
		t.Fatal(err)
	}
}

func wantToken(t testing.TB, l index.Tokens, want index.Token) {
	t.Helper()
	got, err := l.Token(t.Context(), want.Hash)
	if err != nil {
		t.Errorf("token %s: %v", want.ID, err)
		return
	}
	same(t, "token "+want.ID, got, want)
}

func testTokens(t *testing.T, l Ledger) {
	everywhere := index.Token{ID: "everywhere", Hash: [32]byte{1}, Note: "a note\nof two lines, é", Created: at(1)}
	nowhere := index.Token{ID: "nowhere", Hash: [32]byte{2}, Projects: []pypi.Project{}, Created: at(2)}
	two := index.Token{
		ID: "two", Hash: [32]byte{31: 3}, Created: at(3), Revoked: at(4),
		Projects: []pypi.Project{mustProject(t, "zope-interface"), mustProject(t, "a")},
	}
	for _, token := range []index.Token{everywhere, nowhere, two} {
		put(t, l, token)
		wantToken(t, l, token)
	}
	all, err := l.Tokens(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	same(t, "tokens", all, []index.Token{everywhere, nowhere, two})
	_, err = l.Token(t.Context(), [32]byte{3})
	wantErr(t, "an unknown hash", err, index.ErrNoToken)

	put(t, l, two) // safe to repeat
	everywhere.Revoked, everywhere.Note = at(9), "revoked"
	put(t, l, everywhere)
	wantToken(t, l, everywhere)
	all, err = l.Tokens(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	same(t, "tokens after a change", all, []index.Token{everywhere, nowhere, two})
	everywhere.Revoked = time.Time{}
	put(t, l, everywhere)
	if got, err := l.Token(t.Context(), everywhere.Hash); err != nil || !got.Revoked.IsZero() {
		t.Errorf("revoked at %v, %v; want never", got.Revoked, err)
	}
}

func testTokenOrder(t *testing.T, l Ledger) {
	for i, second := range []int64{5, 1, 3, 1, 1} {
		put(t, l, index.Token{ID: fmt.Sprint(i), Hash: [32]byte{byte(200 - i)}, Created: at(second)})
	}
	all, err := l.Tokens(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, token := range all {
		order = append(order, token.ID)
	}
	same(t, "order: oldest first, then as they came", order, []string{"1", "3", "4", "2", "0"})
}

func testTokenRivals(t *testing.T, l Ledger) {
	genesis(t, l)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for j := range 10 {
				token := index.Token{ID: fmt.Sprint(i, j), Hash: [32]byte{byte(i), byte(j)}, Created: at(1)}
				if err := l.PutToken(t.Context(), token); err != nil {
					t.Error(err)
				}
				wantToken(t, l, token)
			}
		})
	}
	for n := int64(2); n <= 10; n++ {
		commit(t, l, pub(n))
	}
	wg.Wait()
	if all, err := l.Tokens(t.Context()); len(all) != 40 || err != nil {
		t.Errorf("%d tokens, %v; want 40", len(all), err)
	}
}
