package proxy

import (
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Bounds of a scan. Past them it stops looking and says so: the guard still stands behind it.
const (
	maxScanFiles = 200
	maxScanDepth = 16
	// MaxRequirements is how much of one requirements file is read, in bytes.
	MaxRequirements = 4 << 20
)

// Finding is something in a command line, or in a requirements file that it names, that leads an
// installer past the verified index.
type Finding struct {
	Refuse bool   // the command must not start; otherwise only worth a line
	Where  string // "argument 3", "requirements.txt:12", "PIP_CONSTRAINT"
	What   string // as written, for example "--index-url https://pypi.example.com/simple"
	Why    string // one clause: what it would do
}

// String is the finding in one line.
func (f Finding) String() string { return fmt.Sprintf("%s: %s %s", f.Where, f.What, f.Why) }

// Scanner looks through command lines. The zero Scanner reads no files.
type Scanner struct {
	Read   func(name string) ([]byte, error) // a requirements file, at most MaxRequirements bytes; nil: none
	Getenv func(string) string               // for ${NAME} in requirements files and PIP_REQUIREMENT; nil: empty
}

// Scan looks through the arguments of tool. Files that cannot be read are left to the installer to
// complain about.
func (s Scanner) Scan(tool Tool, args []string) []Finding {
	if s.Getenv == nil {
		s.Getenv = func(string) string { return "" }
	}
	w := &walk{Scanner: s, tool: tool, seen: make(map[string]bool)}
	switch tool {
	case Pip:
		w.pip(args)
		for _, name := range []string{"PIP_REQUIREMENT", "PIP_CONSTRAINT"} {
			for _, file := range strings.Fields(s.Getenv(name)) {
				w.file(name, file, "", 0)
			}
		}
	case UV:
		w.uv(args)
		for _, name := range []string{"UV_CONSTRAINT", "UV_OVERRIDE", "UV_BUILD_CONSTRAINT"} {
			for _, file := range strings.Fields(s.Getenv(name)) {
				w.file(name, file, "", 0)
			}
		}
	case PDM, Pipenv, Poetry: // their sources are in project files
	}
	w.project()
	return w.found
}

// ToolOf tells which installer a command runs, and which of its arguments are the installer's:
// "pip3.12 install x", "python3 -m pip install x", "uv pip install x", "uvx x".
func ToolOf(command []string) (Tool, []string, bool) {
	if len(command) == 0 {
		return "", nil, false
	}
	name := strings.ToLower(filepath.Base(command[0]))
	name = strings.TrimSuffix(name, ".exe")
	args := command[1:]
	switch {
	case isVersioned(name, "pip"):
		return Pip, args, true
	case name == "uv":
		return UV, args, true
	case name == "uvx":
		return UV, append([]string{"tool", "run"}, args...), true
	case name == "pdm", name == "pipenv", name == "poetry":
		return Tool(name), args, true
	case isVersioned(name, "python"), isVersioned(name, "pypy"):
		for i, a := range args {
			if !strings.HasPrefix(a, "-") {
				break
			}
			if module, ok := moduleOption(a); ok && module != "" {
				return ToolOf(append([]string{module}, args[i+1:]...))
			} else if ok {
				return ToolOf(args[i+1:])
			}
		}
	}
	return "", nil, false
}

// moduleOption finds Python's option -m among joined ones, and the module if that is joined as well:
// "-m", "-Im", "-mpip".
func moduleOption(word string) (module string, ok bool) {
	for i := 1; i < len(word); i++ {
		switch {
		case word[i] == 'm':
			return word[i+1:], true
		case !strings.ContainsRune("bBdEhiIOPqRsSuvVx", rune(word[i])): // takes a value, or is none of Python's
			return "", false
		}
	}
	return "", false
}

// OnlyInstalls reports whether a command of an installer does no more than that. "uv run", "poetry
// shell" and their like start programs of the user, which may need more of this machine.
func OnlyInstalls(tool Tool, args []string) bool {
	if tool == Pip {
		return true
	}
	for _, a := range args {
		switch a {
		case "install", "add", "sync", "lock", "compile", "update":
			return true
		case "run", "shell":
			return false
		}
	}
	return true
}

var versionSuffix = regexp.MustCompile(`^[0-9]*(\.[0-9]+)*$`)

func isVersioned(name, program string) bool {
	rest, ok := strings.CutPrefix(name, program)
	return ok && versionSuffix.MatchString(rest)
}

// walk is one scan.
type walk struct {
	Scanner
	tool  Tool
	seen  map[string]bool
	found []Finding
}

func (w *walk) add(refuse bool, where, what, why string) {
	w.found = append(w.found, Finding{Refuse: refuse, Where: where, What: what, Why: why})
}

// option judges one option that pip or uv would obey.
func (w *walk) option(name, value, where, from string, depth int) {
	what := strings.TrimSpace(name + " " + value)
	switch name {
	case "--index-url", "-i", "--pypi-url", "--default-index":
		w.add(true, where, what, "would replace the verified index")
	case "--extra-index-url", "--index":
		w.add(true, where, what, "would add an index that nothing verifies")
	case "--find-links", "-f":
		if isRemote(value) {
			w.add(true, where, what, "would add files that nothing verifies")
		} else {
			w.add(false, where, what, "names local files: they are installed without verification")
		}
	case "--proxy":
		w.add(true, where, what, "would lead around the guard; bailiwick itself uses HTTPS_PROXY towards the index")
	case "--no-proxy-env":
		w.add(true, where, what, "would lead around the guard")
	case "--isolated":
		w.add(true, where, what, "would make pip ignore the verified index")
	case "--editable", "-e":
		w.requirement(value, where)
	case "--requirement", "-r", "--requirements", "--constraint", "-c", "--constraints", "--override", "--overrides",
		"--build-constraint", "--build-constraints", "-b":
		w.file(where, value, from, depth)
	}
}

// requirement judges a positional requirement: a name, a path, or a URL.
func (w *walk) requirement(text, where string) {
	target := strings.TrimSpace(text)
	if m := directReference.FindStringSubmatch(target); m != nil {
		target = m[1]
	}
	if isRemote(target) {
		w.add(true, where, strings.TrimSpace(text), "is a direct URL: nothing signed vouches for it")
	}
}

var (
	directReference = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*\s*(?:\[[^\]]*\])?\s*@\s*(\S+)`)
	remoteURL       = regexp.MustCompile(`(?i)^(?:(?:https?|ftps?|ssh|git|svn|hg|bzr|s3)(?:\+[a-z+]+)?|(?:git|svn|hg|bzr)\+[a-z+]+)://?|^git@`)
)

// withoutUser is a URL without credentials, for messages.
func withoutUser(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "unreadable address"
	}
	u.User = nil
	return u.String()
}

// isRemote: local paths and file: URLs are the user's own machine; everything with another scheme is not.
func isRemote(s string) bool {
	if strings.HasPrefix(strings.ToLower(s), "git+file:") {
		return false
	}
	return remoteURL.MatchString(s)
}

// file scans one requirements or constraints file. from is the file that names it.
func (w *walk) file(where, name, from string, depth int) {
	switch {
	case name == "" || name == "-":
		return
	case isRemote(name):
		w.add(true, where, name, "is a requirements file from the network: nothing signed vouches for it")
		return
	}
	name = strings.TrimPrefix(name, "file://")
	if from != "" && !filepath.IsAbs(name) {
		name = filepath.Join(filepath.Dir(from), name)
	}
	if strings.HasSuffix(name, ".toml") {
		if base := filepath.Base(name); strings.HasPrefix(base, "pylock.") {
			w.add(false, where, name, "names absolute URLs: what is not the verified index will be refused")
		}
		return
	}
	if w.Read == nil || w.seen[name] {
		return
	}
	if depth >= maxScanDepth || len(w.seen) >= maxScanFiles {
		w.add(false, where, name, "was not looked through: too many requirements files")
		return
	}
	w.seen[name] = true
	data, err := w.Read(name)
	if err != nil {
		return // the installer says what is wrong with it
	}
	number := 0
	for line, lines := range logicalLines(decode(data)) {
		w.line(line, fmt.Sprintf("%s:%d", name, number+1), name, depth)
		number += lines
	}
}

// line is one logical line of a requirements file: a requirement, options, or both.
func (w *walk) line(line, where, file string, depth int) {
	line = environmentName.ReplaceAllStringFunc(line, func(m string) string {
		if v := w.Getenv(m[2 : len(m)-1]); v != "" {
			return v
		}
		return m
	})
	words := splitWords(line)
	n := 0
	for n < len(words) && !strings.HasPrefix(words[n], "-") {
		n++
	}
	if n > 0 {
		w.requirement(strings.Join(words[:n], " "), where)
	}
	w.options(words[n:], func(int) string { return where }, file, depth+1, nil)
}

var environmentName = regexp.MustCompile(`\$\{[A-Z0-9_]+\}`)

// logicalLines yields the lines of a requirements file with continuations joined and comments gone,
// each with the number of physical lines it took.
func logicalLines(text string) func(yield func(string, int) bool) {
	return func(yield func(string, int) bool) {
		var joined strings.Builder
		lines := 0
		for raw := range strings.SplitSeq(strings.ReplaceAll(text, "\r\n", "\n"), "\n") {
			lines++
			raw = comment.ReplaceAllString(raw, "")
			if rest, ok := strings.CutSuffix(raw, `\`); ok {
				joined.WriteString(rest + " ")
				continue
			}
			joined.WriteString(raw)
			if !yield(strings.TrimSpace(joined.String()), lines) {
				return
			}
			joined.Reset()
			lines = 0
		}
		if rest := strings.TrimSpace(joined.String()); rest != "" {
			yield(rest, lines)
		}
	}
}

var comment = regexp.MustCompile(`(^|\s+)#.*$`)

// decode turns a requirements file into text the way pip does: a byte order mark decides.
func decode(data []byte) string {
	switch {
	case len(data) >= 2 && data[0] == 0xff && data[1] == 0xfe:
		return decode16(data[2:], 0, 1)
	case len(data) >= 2 && data[0] == 0xfe && data[1] == 0xff:
		return decode16(data[2:], 1, 0)
	case len(data) >= 3 && string(data[:3]) == "\xef\xbb\xbf":
		data = data[3:]
	}
	if utf8.Valid(data) {
		return string(data)
	}
	return strings.ToValidUTF8(string(data), "?")
}

func decode16(data []byte, low, high int) string {
	units := make([]uint16, 0, len(data)/2)
	for i := 0; i+1 < len(data); i += 2 {
		units = append(units, uint16(data[i+low])|uint16(data[i+high])<<8)
	}
	return string(utf16.Decode(units))
}

// splitWords splits like a shell: quotes group, a backslash escapes. An open quote ends with the line.
func splitWords(line string) []string {
	var words []string
	var word strings.Builder
	var quote rune
	inWord, escaped := false, false
	for _, r := range line {
		switch {
		case escaped:
			word.WriteRune(r)
			escaped = false
		case r == '\\' && quote != '\'':
			escaped, inWord = true, true
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '"' || r == '\'':
			quote, inWord = r, true
		case r == ' ' || r == '\t':
			if inWord {
				words = append(words, word.String())
				word.Reset()
				inWord = false
			}
		default:
			word.WriteRune(r)
			inWord = true
		}
	}
	if inWord {
		words = append(words, word.String())
	}
	return words
}
