package cli

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/verify"
)

// Bounds of the rules of one configuration file.
const (
	maxRequireRules = 1000
	maxPatterns     = 1000 // of one rule
	maxPattern      = 200  // bytes
)

// requireRule is one [[require]]: the least assurance that is asked of some projects.
type requireRule struct {
	// Projects are patterns of project names: * stands for any characters, ? for one.
	Projects []string `toml:"projects"`
	// Assurance is "claimed", "recently claimed" or "unclaimed".
	Assurance string `toml:"assurance"`
	// Index is the URL of the one index that the rule is for. Without it, it is for all.
	Index string `toml:"index,omitempty"`

	level    policy.Assurance
	patterns []string // normalised
	file     string   // where the rule stands
	line     int
}

// parseAssurance reads the word that users see.
func parseAssurance(word string) (policy.Assurance, error) {
	if a, ok := policy.ParseAssurance(word); ok && a == a.Grade() { // "parked" is no grade to ask for
		return a, nil
	}
	return 0, fmt.Errorf(`%.60q is not one of "claimed", "recently claimed", "unclaimed"`, word)
}

// check holds a rule against what rules may say, and brings it into one form. A rule that could never
// match would protect nothing, so it is refused.
func (r *requireRule) check(indexes map[string]bool) error {
	var err error
	if len(r.Projects) == 0 || len(r.Projects) > maxPatterns {
		return fmt.Errorf(`projects: name 1 to %d patterns, such as projects = ["corp-*"]`, maxPatterns)
	}
	for _, p := range r.Projects {
		pattern, err := projectPattern(p)
		if err != nil {
			return fmt.Errorf("projects: %w", err)
		}
		r.patterns = append(r.patterns, pattern)
	}
	if r.level, err = parseAssurance(r.Assurance); err != nil {
		return fmt.Errorf("assurance: %w", err)
	}
	if r.Index == "" {
		return nil
	}
	if r.Index, err = indexURL(r.Index); err != nil {
		return fmt.Errorf("index: %w", err)
	}
	if !indexes[r.Index] {
		return fmt.Errorf("index: %s is none of the indexes in this file", redactURL(r.Index))
	}
	return nil
}

// projectPattern brings a pattern into the form of normalised names: "Corp_*" is "corp-*".
func projectPattern(s string) (string, error) {
	var b strings.Builder
	for _, c := range strings.ToLower(s) {
		switch {
		case c == '-' || c == '_' || c == '.':
			if text := b.String(); text != "" && text[len(text)-1] == '-' {
				continue
			}
			c = '-'
		case c == '*' || c == '?' || 'a' <= c && c <= 'z' || '0' <= c && c <= '9':
		default:
			return "", fmt.Errorf("%.100q holds %q; a pattern is made of letters, digits, hyphens, * and ?", s, c)
		}
		b.WriteRune(c)
	}
	pattern := b.String()
	if pattern == "" || len(pattern) > maxPattern || pattern[0] == '-' || pattern[len(pattern)-1] == '-' {
		return "", fmt.Errorf("%.100q matches no project: it is empty, too long, or begins or ends with a hyphen", s)
	}
	return pattern, nil
}

// matchProject reports whether a pattern matches a whole name. Both are ASCII.
func matchProject(pattern, name string) bool {
	p, n, star, back := 0, 0, -1, 0
	for n < len(name) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, back = p, n
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == name[n]):
			p, n = p+1, n+1
		case star >= 0: // let the last * take one more
			back++
			p, n = star+1, back
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// checkRules checks the rules of a configuration and says of each where it stands.
func (c *trustConfig) checkRules(path string, data []byte, indexes map[string]bool) error {
	if len(c.Require) == 0 {
		return nil
	}
	lines, err := requireLines(data)
	if err != nil || len(lines) != len(c.Require) {
		return fmt.Errorf("%s: write each rule as a table of its own, headed [[require]]", path)
	}
	if len(c.Require) > maxRequireRules {
		return fmt.Errorf("%s: more than %d [[require]] rules", path, maxRequireRules)
	}
	for i := range c.Require {
		r := &c.Require[i]
		r.file, r.line = path, lines[i]
		if err := r.check(indexes); err != nil {
			return fmt.Errorf("%s:%d: %w", path, r.line, err)
		}
	}
	return nil
}

// requireLines gives the line of each [[require]] header.
func requireLines(data []byte) ([]int, error) {
	var lines []int
	var p unstable.Parser
	p.Reset(data)
	for p.NextExpression() {
		node := p.Expression()
		if node.Kind != unstable.ArrayTable {
			continue
		}
		key := node.Key()
		if key.Next() && string(key.Node().Data) == "require" && key.IsLast() {
			lines = append(lines, p.Shape(key.Node().Raw).Start.Line)
		}
	}
	if err := p.Error(); err != nil {
		return nil, fmt.Errorf("reading the rules: %w", err)
	}
	return lines, nil
}

// rules are those of all configuration files that count.
type rules []requireRule

// loadRules gives the rules of the configuration in force, and those of the user's own file beside
// it: a bailiwick.toml that came with a project can ask for more than its user does, never for less.
func loadRules(env *Env, c *trustConfig, from string) (rules, error) {
	out := slices.Clone(c.Require)
	path, own, err := loadUserTrust(env)
	if err != nil {
		return nil, err
	}
	if filepath.Clean(path) != filepath.Clean(from) {
		out = append(out, own.Require...)
	}
	return out, nil
}

// forIndex is what verify asks: of the rules that match a project, the one that asks for most; among
// equals the first.
func (rs rules) forIndex(url string) func(pypi.Project) (verify.Requirement, bool) {
	rs = slices.DeleteFunc(slices.Clone(rs), func(r requireRule) bool { return r.Index != "" && r.Index != url })
	if len(rs) == 0 {
		return nil
	}
	return func(p pypi.Project) (verify.Requirement, bool) {
		var best verify.Requirement
		found := false
		for _, r := range rs {
			i := slices.IndexFunc(r.patterns, func(pattern string) bool { return matchProject(pattern, p.String()) })
			if i < 0 || (found && r.level <= best.Level) {
				continue
			}
			where := fmt.Sprintf(":%d", r.line)
			best = verify.Requirement{Level: r.level, Pattern: r.patterns[i], Origin: filepath.Base(r.file) + where, File: r.file + where}
			found = true
		}
		return best, found
	}
}

// acceptFlag is the override, as it is written on the command line of bailiwick run alone.
type acceptFlag map[pypi.Project]bool

// parse takes the options of bailiwick run off its arguments.
func (a acceptFlag) parse(args []string) (rest []string, err error) {
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		name, value, inline := strings.Cut(args[0], "=")
		switch {
		case args[0] == "--":
			return args[1:], nil
		case name != verify.Override:
			return nil, usagef("run has no option %s; write bailiwick run -- COMMAND", args[0])
		case !inline && len(args) < 2:
			return nil, usagef("%s needs the name of a project", verify.Override)
		case !inline:
			value, args = args[1], args[1:]
		}
		p, err := pypi.ParseProject(value)
		if err != nil {
			return nil, exit(exitUsage, fmt.Errorf("%s takes one project by its name, no pattern: %w", verify.Override, err))
		}
		a[p] = true
		args = args[1:]
	}
	return args, nil
}

var errNoCommand = errors.New("run needs a command: bailiwick run -- COMMAND")
