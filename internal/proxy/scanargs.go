package proxy

import (
	"fmt"
	"slices"
	"strings"
)

// watched are the long options that this scan judges.
func watched() []string {
	return []string{
		"--index-url", "--pypi-url", "--extra-index-url", "--find-links", "--proxy", "--isolated", "--no-proxy-env", "--editable",
		"--requirement", "--constraint",
	}
}

// isSwitch reports whether a watched option takes no value.
func isSwitch(name string) bool { return name == "--isolated" || name == "--no-proxy-env" }

// pip looks through the arguments of pip.
func (w *walk) pip(args []string) {
	install := slices.ContainsFunc(args, func(a string) bool {
		return a == "install" || a == "download" || a == "wheel" || a == "lock"
	})
	positional := func(arg, where string) {
		if install {
			w.requirement(arg, where)
		}
	}
	w.options(args, argument, "", 0, positional)
}

func argument(i int) string { return fmt.Sprintf("argument %d", i+1) }

// options walks words the way pip's option parser does: long options may be abbreviated and may
// carry their value after =, short ones may be joined. Values of options it does not know are seen
// as positional, which is harmless: they are only looked at for URLs.
func (w *walk) options(words []string, where func(int) string, file string, depth int, positional func(arg, where string)) {
	for i := 0; i < len(words); i++ {
		word := words[i]
		switch {
		case word == "--":
			for j := i + 1; j < len(words) && positional != nil; j++ {
				positional(words[j], where(j))
			}
			return
		case strings.HasPrefix(word, "--"):
			name, value, joined := strings.Cut(word, "=")
			full := expand(name)
			if full != "" && !isSwitch(full) && !joined && i+1 < len(words) {
				i++
				value = words[i]
			}
			w.option(full, value, where(i), file, depth)
		case len(word) > 1 && word[0] == '-':
			name, value, wantsNext := shortOption(word)
			if wantsNext && i+1 < len(words) {
				i++
				value = words[i]
			}
			w.option(name, value, where(i), file, depth)
		case positional != nil:
			positional(word, where(i))
		}
	}
}

// expand completes an abbreviated long option if it can mean one of the watched ones, and gives ""
// otherwise. What is ambiguous on a command line need not be so in a requirements file, which knows
// few options; where it is, pip refuses it itself.
func expand(name string) string {
	if len(name) < len("--i") || slices.Contains([]string{"--no", "--no-", "--no-p", "--pre"}, name) {
		return ""
	}
	for _, full := range watched() {
		if name == full {
			return full
		}
	}
	for _, full := range watched() {
		if strings.HasPrefix(full, name) {
			return full
		}
	}
	return ""
}

// shortOption finds the watched letter in a group such as -Ui: the letters before it are switches,
// what follows it is its value.
func shortOption(word string) (name, value string, wantsNext bool) {
	for i := 1; i < len(word); i++ {
		switch word[i] {
		case 'i', 'f', 'r', 'c', 'e':
			rest := word[i+1:]
			return "-" + word[i:i+1], rest, rest == ""
		case 't', 'd', 'w', 'b', 'p', 'C': // these take a value of their own: the rest is not letters
			return "", "", false
		}
	}
	return "", "", false
}

// uv looks through the arguments of uv. Its options are never abbreviated. After "run" and "tool
// run" comes a command with options of its own, so only long options before -- are judged there.
func (w *walk) uv(args []string) {
	runs := slices.Contains(args, "run")
	installs := slices.ContainsFunc(args, func(a string) bool {
		return a == "install" || a == "add" || a == "compile" || a == "sync"
	})
	values := []string{
		"--index-url", "--default-index", "--extra-index-url", "--index", "--find-links", "--editable",
		"--requirement", "--requirements", "--constraint", "--constraints", "--override", "--overrides",
		"--build-constraint", "--build-constraints", "--with", "--from",
	}
	for i := 0; i < len(args); i++ {
		word := args[i]
		switch {
		case word == "--":
			return
		case strings.HasPrefix(word, "--"):
			name, value, joined := strings.Cut(word, "=")
			if !slices.Contains(values, name) {
				continue
			}
			if !joined && i+1 < len(args) {
				i++
				value = args[i]
			}
			if name == "--with" || name == "--from" {
				w.requirement(value, argument(i))
				continue
			}
			w.option(name, value, argument(i), "", 0)
		case len(word) > 1 && word[0] == '-' && !runs:
			name, value, wantsNext := shortOption(word)
			if wantsNext && i+1 < len(args) {
				i++
				value = args[i]
			}
			w.option(name, value, argument(i), "", 0)
		case installs && !runs:
			w.requirement(word, argument(i))
		}
	}
}
