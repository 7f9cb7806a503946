package dist_test

import (
	"bytes"
	"strings"
	"testing"

	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/pypi/dist"
	"example.com/bailiwick/internal/pypi/distmake"
)

// TestCoreMetadata: what Check found at upload is what is read out of the wheel later.
func TestCoreMetadata(t *testing.T) {
	made := distmake.Wheel("core", "1.0", distmake.Options{Description: strings.Repeat("long ", 1000), Files: map[string]string{"sub/x.dist-info/METADATA": "not this one"}})
	name, err := pypi.ParseFilename(made.Name)
	if err != nil {
		t.Fatal(err)
	}
	r := bytes.NewReader(made.Data)
	info, err := dist.Check(name, r, r.Size())
	if err != nil {
		t.Fatal(err)
	}
	got, err := dist.CoreMetadata(r, r.Size())
	if err != nil || !bytes.Equal(got, info.CoreMetadata) {
		t.Fatalf("%d bytes, %v; Check found %d", len(got), err, len(info.CoreMetadata))
	}
}

func TestCoreMetadataRefuses(t *testing.T) {
	most := int(dist.DefaultLimits().Metadata)
	for name, data := range map[string][]byte{
		"no zip":      []byte("PK but nothing else"),
		"no METADATA": distmake.Zip(distmake.Member{Name: "a.py", Data: []byte("x")}),
		"only deeper": distmake.Zip(distmake.Member{Name: "b/a.dist-info/METADATA", Data: []byte("x")}),
		"too long":    distmake.Zip(distmake.Member{Name: "a.dist-info/METADATA", Data: bytes.Repeat([]byte("x"), most+1)}),
	} {
		if got, err := dist.CoreMetadata(bytes.NewReader(data), int64(len(data))); err == nil {
			t.Errorf("%s: %d bytes were read", name, len(got))
		}
	}
}
