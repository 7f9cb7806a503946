package ledger_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"example.com/bailiwick/internal/ledger"
	"example.com/bailiwick/internal/ledger/ledgertest"
)

func createMemory(testing.TB) (ledgertest.Ledger, func() ledgertest.Ledger) {
	m := ledger.NewMemory()
	return m, func() ledgertest.Ledger { return m }
}

func createSQLite(t testing.TB) (ledgertest.Ledger, func() ledgertest.Ledger) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	l, err := ledger.CreateSQLite(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return l, func() ledgertest.Ledger {
		l, err := ledger.OpenSQLite(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
}

func TestMemory(t *testing.T) { ledgertest.Run(t, createMemory) }

func TestSQLite(t *testing.T) { ledgertest.Run(t, createSQLite) }

func TestCrashSQLite(t *testing.T) {
	ledgertest.Crash(t,
		func(t testing.TB, path string) ledgertest.Ledger {
			l, err := ledger.CreateSQLite(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			return l
		},
		func(t testing.TB, path string) ledgertest.Ledger {
			l, err := ledger.OpenSQLite(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			return l
		})
}

func BenchmarkSQLite(b *testing.B) {
	for _, roles := range []int{1_000, 10_000, 100_000} {
		b.Run(fmt.Sprintf("roles=%d", roles), func(b *testing.B) { ledgertest.Bench(b, createSQLite, roles) })
	}
}

func BenchmarkMemory(b *testing.B) { ledgertest.Bench(b, createMemory, 1_000) }
