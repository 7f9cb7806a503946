package proxy_test

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"

	"example.com/bailiwick/internal/proxy"
)

// scan gives findings as "refuse WHERE: WHAT" or "tell WHERE: WHAT".
func scan(files map[string]string, environ map[string]string, command string) string {
	s := proxy.Scanner{
		Read: func(name string) ([]byte, error) {
			if text, ok := files[filepath.ToSlash(name)]; ok {
				return []byte(text), nil
			}
			return nil, fs.ErrNotExist
		},
		Getenv: func(name string) string { return environ[name] },
	}
	tool, args, ok := proxy.ToolOf(strings.Fields(command))
	if !ok {
		return "no installer"
	}
	var out []string
	for _, f := range s.Scan(tool, args) {
		word := "tell"
		if f.Refuse {
			word = "refuse"
		}
		if f.Why == "" || f.String() == "" {
			word = "unexplained"
		}
		out = append(out, fmt.Sprintf("%s %s: %s", word, f.Where, f.What))
	}
	return strings.Join(out, "\n")
}

func TestScanArguments(t *testing.T) {
	tests := []struct{ command, want string }{
		{"pip install flask", ""},
		{"pip install -U flask>=3 -t dir --pre --no-index --upgrade-strategy eager", ""},
		{"pip install .", ""},
		{"pip install -e .", ""},
		{"pip install ./dist/x-1.0-py3-none-any.whl file:///tmp/x.whl", ""},
		{"pip install --index-url https://x flask", "refuse argument 3: --index-url https://x"},
		{"pip install --index-url=https://x flask", "refuse argument 2: --index-url https://x"},
		{"pip install -i https://x flask", "refuse argument 3: -i https://x"},
		{"pip install -ihttps://x flask", "refuse argument 2: -i https://x"},
		{"pip install -Ui https://x flask", "refuse argument 3: -i https://x"},
		{"pip install --ind https://x flask", "refuse argument 3: --index-url https://x"},
		{"pip install --pypi-url https://x flask", "refuse argument 3: --pypi-url https://x"},
		{"pip install --extra-index-url https://x flask", "refuse argument 3: --extra-index-url https://x"},
		{"pip install --extra https://x flask", "refuse argument 3: --extra-index-url https://x"},
		{"pip install -f https://x/links flask", "refuse argument 3: -f https://x/links"},
		{"pip install -f ./wheels flask", "tell argument 3: -f ./wheels"},
		{"pip install --find-links /opt/wheels flask", "tell argument 3: --find-links /opt/wheels"},
		{"pip --proxy http://corp install flask", "refuse argument 2: --proxy http://corp"},
		{"pip --isolated install flask", "refuse argument 1: --isolated"},
		{"pip --no-proxy-env install flask", "refuse argument 1: --no-proxy-env"},
		{"pip --no-pr install flask", "refuse argument 1: --no-proxy-env"},
		{"pip install https://x/y-1.0-py3-none-any.whl", "refuse argument 2: https://x/y-1.0-py3-none-any.whl"},
		{"pip install HTTPS://x/y.whl", "refuse argument 2: HTTPS://x/y.whl"},
		{"pip install y@https://x/y.whl", "refuse argument 2: y@https://x/y.whl"},
		{"pip install y[a,b]@git+https://x/y", "refuse argument 2: y[a,b]@git+https://x/y"},
		{"pip install -e git+ssh://git@x/y", "refuse argument 3: git+ssh://git@x/y"},
		{"pip install -- https://x/y.whl", "refuse argument 3: https://x/y.whl"},
		{"pip config set global.index-url https://x", ""},
		{"pip download -r https://x/requirements.txt", "refuse argument 3: https://x/requirements.txt"},
		{"python -m pip install --progress-bar off -i https://x y", "refuse argument 5: -i https://x"},
		{"uv pip install flask", ""},
		{"uv pip install --index https://x flask", "refuse argument 4: --index https://x"},
		{"uv add --default-index https://x flask", "refuse argument 3: --default-index https://x"},
		{"uv pip install -i https://x flask", "refuse argument 4: -i https://x"},
		{"uv pip install flask@https://x/f.whl", "refuse argument 3: flask@https://x/f.whl"},
		{"uv run --with https://x/f.whl python -i", "refuse argument 3: https://x/f.whl"},
		{"uv run -- pip -i https://x", ""},
		{"uvx --from git+https://x/y tool", "refuse argument 4: git+https://x/y"},
		{"pip install -r pylock.toml", "tell argument 3: pylock.toml"},
	}
	for _, tt := range tests {
		if got := scan(nil, nil, tt.command); got != tt.want {
			t.Errorf("%s\n got %s\nwant %s", tt.command, got, tt.want)
		}
	}
}

func TestScanRequirements(t *testing.T) {
	utf16File := "\xff\xfe"
	for _, u := range utf16.Encode([]rune("-i https://x\n")) {
		utf16File += string([]byte{byte(u), byte(u >> 8)})
	}
	tests := []struct {
		name, file, want string
	}{
		{"ordinary", "flask==3.1.0 --hash=sha256:00\n# -i https://x\nrequests ; python_version < '3' # -i https://x\n--pre\n", ""},
		{"index", "flask\n--index-url https://x\n", "refuse r.txt:2: --index-url https://x"},
		{"joined", "-ihttps://x", "refuse r.txt:1: -i https://x"},
		{"continuation", "flask\n--index-url \\\n  https://x\nother", "refuse r.txt:2: --index-url https://x"},
		{"in the middle of a continuation", "a\nb \\\n c\n--extra-index-url=https://x", "refuse r.txt:4: --extra-index-url https://x"},
		{"quoted", `--index-url "https://x"`, "refuse r.txt:1: --index-url https://x"},
		{"abbreviated", "--index https://x", "refuse r.txt:1: --index-url https://x"},
		{"abbreviated to the utmost", "--i=https://x\n--f https://x/links", "refuse r.txt:1: --index-url https://x\nrefuse r.txt:2: --find-links https://x/links"},
		{"abbreviated and joined", "--ed=git+ssh://x/y", "refuse r.txt:1: git+ssh://x/y"},
		{"windows lines", "flask\r\n-i https://x\r\n", "refuse r.txt:2: -i https://x"},
		{"byte order mark", "\xef\xbb\xbf-i https://x", "refuse r.txt:1: -i https://x"},
		{"utf-16", utf16File, "refuse r.txt:1: -i https://x"},
		{"variable", "-i ${INDEX}", "refuse r.txt:1: -i https://from-environment"},
		{"url requirement", "y @ https://x/y.whl", "refuse r.txt:1: y @ https://x/y.whl"},
		{"plain url", "https://x/y.whl --hash=sha256:00", "refuse r.txt:1: https://x/y.whl"},
		{"editable", "-e git+https://x/y#egg=y", "refuse r.txt:1: git+https://x/y#egg=y"},
		{"links", "-f ./wheels", "tell r.txt:1: -f ./wheels"},
		{"nested", "-r more/base.txt", "refuse more/base.txt:1: -i https://nested\nrefuse more/c.txt:1: --extra-index-url https://deep"},
		{"missing", "-r nosuch.txt", ""},
		{"itself", "-r r.txt\n-i https://x", "refuse r.txt:2: -i https://x"},
		{"not text", "\x00\xff\xfe\x80 -i https://x", "refuse r.txt:1: -i https://x"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			files := map[string]string{
				"r.txt": tt.file, "more/base.txt": "-i https://nested\n-c c.txt", "more/c.txt": "--extra-index-url https://deep",
			}
			environ := map[string]string{"INDEX": "https://from-environment"}
			if got := scan(files, environ, "pip install -r r.txt"); got != tt.want {
				t.Errorf("got %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestScanEnvironmentFiles(t *testing.T) {
	files := map[string]string{"c.txt": "-i https://x"}
	want := "refuse c.txt:1: -i https://x"
	if got := scan(files, map[string]string{"PIP_CONSTRAINT": "c.txt"}, "pip install flask"); got != want {
		t.Errorf("pip: got %q, want %q", got, want)
	}
	if got := scan(files, map[string]string{"UV_CONSTRAINT": "c.txt"}, "uv pip install flask"); got != want {
		t.Errorf("uv: got %q, want %q", got, want)
	}
}

func TestScanProjectFiles(t *testing.T) {
	pyproject := `[project]
name = "x"
[[tool.uv.index]]
name = "corp"
url = "https://user:secret@corp.example.com/simple"
[[tool.pdm.source]]
name = "pypi"
url = "https://pdm.example.com"
[[tool.poetry.source]]
name = "poet"
url = "https://poetry.example.com"
`
	files := map[string]string{
		"pyproject.toml": pyproject,
		"uv.toml":        "index-url = 'https://uv.example.com'\n",
		"Pipfile":        "[[source]]\nname = 'pypi'\nurl = 'https://pipenv.example.com'\n",
	}
	for command, want := range map[string]string{
		"uv sync":        "tell pyproject.toml: corp (https://corp.example.com/simple)\ntell uv.toml: an index (https://uv.example.com)",
		"pdm install":    "tell pyproject.toml: pypi (https://pdm.example.com)",
		"poetry install": "tell pyproject.toml: poet (https://poetry.example.com)",
		"pipenv install": "tell Pipfile: pypi (https://pipenv.example.com)",
		"pip install x":  "",
	} {
		if got := scan(files, nil, command); got != want {
			t.Errorf("%s\n got %s\nwant %s", command, got, want)
		}
	}
	files["pyproject.toml"] = "[tool.uv]\nextra-index-url = [\"https://extra.example.com\"]\n"
	delete(files, "uv.toml")
	if got, want := scan(files, nil, "uv sync"), "tell pyproject.toml: an index (https://extra.example.com)"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	files["pyproject.toml"] = "not [ toml"
	if got := scan(files, nil, "uv sync"); got != "" {
		t.Errorf("what cannot be read: %s", got)
	}
}

// TestScanIsBounded: files that name each other without end do not keep it from ending.
func TestScanIsBounded(t *testing.T) {
	reads := 0
	s := proxy.Scanner{Read: func(name string) ([]byte, error) {
		reads++
		if reads > 100_000 {
			return nil, errors.New("endless")
		}
		return []byte(fmt.Sprintf("-r a%s\n-r b%s\n", name, name)), nil
	}}
	found := s.Scan(proxy.Pip, []string{"install", "-r", "x"})
	if reads > 300 {
		t.Errorf("%d files were read", reads)
	}
	if len(found) == 0 {
		t.Error("it does not say that it stopped looking")
	}
}

func FuzzScan(f *testing.F) {
	f.Add("install -r r.txt", "-i https://x\n-r r.txt\n\\\n\"")
	f.Add("--ind", "${A}")
	f.Fuzz(func(t *testing.T, args, file string) {
		s := proxy.Scanner{Read: func(string) ([]byte, error) { return []byte(file), nil }}
		for _, tool := range proxy.Tools() {
			for _, found := range s.Scan(tool, strings.Fields(args)) {
				if found.Where == "" || found.Why == "" {
					t.Errorf("%+v", found)
				}
			}
		}
	})
}
