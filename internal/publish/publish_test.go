package publish_test

import (
	"testing"

	"example.com/bailiwick/internal/ledger"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/publish/publishtest"
)

func TestPublishMakesAFileVisible(t *testing.T) {
	l := ledger.NewMemory()
	keys := publishtest.Create(t, l, publishtest.Options{})
	p := publishtest.Run(t, publish.Config{Ledger: l, Signers: keys.Online()})
	f := publishtest.File(t, "flask-3.1.0-py3-none-any.whl", "wheel")
	r, err := p.Publish(t.Context(), publish.AddFile{File: f})
	if err != nil {
		t.Fatal(err)
	}
	if r.Unchanged || r.Publication != 2 {
		t.Errorf("receipt is %+v, want publication 2", r)
	}
	v := p.Current()
	found, err := v.Find(t.Context(), v.Layout().Path(f.Project, f.Filename))
	if err != nil {
		t.Fatal(err)
	}
	if sum, _ := found.Target.Hashes.SHA256(); sum != f.SHA256 || found.Target.Length != f.Size {
		t.Errorf("found %+v, want %x", found.Target, f.SHA256)
	}
	if err := publish.Check(t.Context(), l); err != nil {
		t.Error(err)
	}
}
