package distmake_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"example.com/bailiwick/internal/needs"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/pypi/dist"
	"example.com/bailiwick/internal/pypi/distmake"
)

var everything = distmake.Options{
	Tag: "py2.py3-none-any", Build: "2", Module: "made", Summary: "All of it", RequiresPython: ">=3.7", Requires: []string{"other>=1; extra == 'x'"},
	Metadata: []string{"Provides-Extra: x", "License: none"}, Description: "# Title\n", Scripts: map[string]string{"made-b": "made:main", "made-a": "made:main"},
	Files: map[string]string{"made_data/one.txt": "1", "two, three.txt": ""}, Payload: 5000, MetadataVersion: "2.3",
}

func builders() map[string]func(string, string, distmake.Options) distmake.File {
	return map[string]func(string, string, distmake.Options) distmake.File{
		"wheel": distmake.Wheel, "sdist": distmake.Sdist, "zip sdist": distmake.ZipSdist,
	}
}

func TestWhatIsBuiltIsGood(t *testing.T) {
	for kind, build := range builders() {
		for _, o := range []distmake.Options{{}, everything} {
			f := build("Made.Up_Name", "1.0+local.1", o)
			name, err := pypi.ParseFilename(f.Name)
			if err != nil {
				t.Fatal(err)
			}
			info, err := dist.Check(name, bytes.NewReader(f.Data), int64(len(f.Data)))
			if err != nil {
				t.Errorf("%s: %v", kind, err)
				continue
			}
			if !name.IsCanonical() && kind != "zip sdist" {
				t.Errorf("%s has the old-fashioned name %s", kind, f.Name)
			}
			if got := info.Metadata.Values("Requires-Dist"); len(got) != len(o.Requires) {
				t.Errorf("%s: Requires-Dist %q", kind, got)
			}
			if !bytes.Equal(build("Made.Up_Name", "1.0+local.1", o).Data, f.Data) {
				t.Errorf("%s: the same arguments gave other bytes", kind)
			}
		}
	}
}

func TestPayloadDoesNotCompress(t *testing.T) {
	for kind, build := range builders() {
		if f := build("x", "1", distmake.Options{Payload: 1 << 20}); len(f.Data) < 1<<20 {
			t.Errorf("%s of a payload of 1 MiB has %d bytes", kind, len(f.Data))
		}
	}
}

// TestPipInstalls installs what is built with the pip of this machine.
func TestPipInstalls(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: pip takes seconds; leave out -short")
	}
	python := needs.Pip(t)
	o := everything
	o.Requires = nil
	for kind, build := range builders() {
		t.Run(kind, func(t *testing.T) {
			dir := t.TempDir()
			f := build("Made.Up", "1.0", o)
			path := filepath.Join(dir, f.Name)
			if err := os.WriteFile(path, f.Data, 0o644); err != nil {
				t.Fatal(err)
			}
			target := filepath.Join(dir, "site")
			pip := exec.CommandContext(t.Context(), python, "-m", "pip", "install", "--no-index", "--no-deps", "--no-cache-dir",
				"--disable-pip-version-check", "--target", target, path)
			pip.Env = append(os.Environ(), "PIP_CONFIG_FILE="+os.DevNull)
			if out, err := pip.CombinedOutput(); err != nil {
				t.Fatalf("pip: %v\n%s", err, out)
			}
			run := exec.CommandContext(t.Context(), python, "-c", "import made; made.main()")
			run.Env = append(os.Environ(), "PYTHONPATH="+target)
			if out, err := run.CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != "Made.Up 1.0" {
				t.Errorf("the module prints %q, %v", out, err)
			}
		})
	}
}
