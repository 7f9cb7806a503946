package pypi_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// readVectors reads a file that testdata/vectors.py wrote with the reference
// implementation.
func readVectors(t testing.TB, name string, columns int) [][]string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	var rows [][]string
	for line := range strings.Lines(string(data)) {
		row := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(row) != columns {
			t.Fatalf("%s: line %q has %d columns, want %d", name, line, len(row), columns)
		}
		rows = append(rows, row)
	}
	if len(rows) == 0 {
		t.Fatalf("%s is empty", name)
	}
	return rows
}

// refused reports whether the reference refuses what stands in the row.
func refused(column string) bool { return column == "null" }

func text(t testing.TB, column string) string {
	t.Helper()
	var s string
	if err := json.Unmarshal([]byte(column), &s); err != nil {
		t.Fatalf("%s: %v", column, err)
	}
	return s
}
