package proxy

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Tool is an installer whose settings this package knows.
type Tool string

// The installers that are pointed at the proxy. Programs built on one of them (tox, nox, pipx, build,
// hatch) inherit its variables.
const (
	Pip    Tool = "pip"
	UV     Tool = "uv"
	PDM    Tool = "pdm"
	Pipenv Tool = "pipenv"
	Poetry Tool = "poetry"
)

// Tools lists every known installer.
func Tools() []Tool { return []Tool{Pip, UV, PDM, Pipenv, Poetry} }

// Endpoint is where a running proxy is reached.
type Endpoint struct {
	Index string // the verified index, http://127.0.0.1:8399/ROOT/SECRET/simple/
	Guard string // what HTTP_PROXY and HTTPS_PROXY are set to; empty: leave the proxy variables alone
	// Sealed leads loopback addresses to the guard, too: another server on this machine is as little
	// verified as one elsewhere. It is for commands that only install; others may need servers of
	// their own, as tests do. See [OnlyInstalls].
	Sealed bool
	// Caches is a folder for what pip and uv keep, one for each root; empty: wherever they keep it
	// otherwise. What an installer got elsewhere lies in its usual cache under the address that it
	// came from, and a lock file or a dependency that names this address takes it from there without
	// any request that could be refused.
	Caches string
}

// Variable is one change to an environment: a value, or its removal.
type Variable struct {
	Name  string
	Value string
	Unset bool
}

// Variables gives the changes that make the tools (all of them when none is named) install from the
// endpoint and from nowhere else. It is a pure function; environ ("NAME=value") is only searched
// for unusual spellings of variables to remove: pip reads PIP_index_url as well as PIP_INDEX_URL.
// The order is fixed, removals last.
func Variables(environ []string, at Endpoint, tools ...Tool) []Variable {
	if len(tools) == 0 {
		tools = Tools()
	}
	var set, unset []Variable
	for _, tool := range tools {
		s := settings(tool, at)
		set = append(set, s.set...)
		unset = append(unset, unsetAll(s.clear)...)
	}
	if at.Guard != "" {
		guard := guardVariables(environ, at)
		set, unset = append(set, guard.set...), append(unset, unsetAll(guard.clear)...)
	}
	if slices.Contains(tools, Pip) {
		unset = append(unset, oddPipSpellings(environ, append(slices.Clone(set), unset...))...)
	}
	return append(set, unset...)
}

// Environ is environ with the changes of [Variables] applied.
func Environ(environ []string, at Endpoint, tools ...Tool) []string {
	changes := Variables(environ, at, tools...)
	changed := make(map[string]bool, len(changes))
	for _, c := range changes {
		changed[c.Name] = true
	}
	out := make([]string, 0, len(environ)+len(changes))
	for _, kv := range environ {
		if name, _, _ := strings.Cut(kv, "="); !changed[name] {
			out = append(out, kv)
		}
	}
	for _, c := range changes {
		if !c.Unset {
			out = append(out, c.Name+"="+c.Value)
		}
	}
	return out
}

type toolSettings struct {
	set   []Variable
	clear []string
}

func settings(tool Tool, at Endpoint) toolSettings {
	index := at.Index
	switch tool {
	case Pip:
		return toolSettings{
			// The null device switches every configuration file off: an extra index in one of them
			// stays active whatever the environment says.
			set: append([]Variable{{Name: "PIP_INDEX_URL", Value: index}, {Name: "PIP_CONFIG_FILE", Value: os.DevNull}}, at.cache("PIP_CACHE_DIR", "pip")...),
			clear: []string{
				"PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_ISOLATED", "PIP_NO_INDEX", "PIP_NO_PROXY_ENV", "PIP_PROXY", "PIP_PYPI_URL", "PIP_TRUSTED_HOST",
			},
		}
	case UV:
		return toolSettings{
			set: append([]Variable{{Name: "UV_DEFAULT_INDEX", Value: index}, {Name: "UV_INDEX_URL", Value: index}}, at.cache("UV_CACHE_DIR", "uv")...),
			clear: []string{
				"UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS", "UV_NO_INDEX", "UV_INSECURE_HOST", "UV_TORCH_BACKEND",
			},
		}
	case PDM:
		return toolSettings{set: []Variable{{Name: "PDM_PYPI_URL", Value: index}, {Name: "PDM_IGNORE_STORED_INDEX", Value: "1"}}}
	case Pipenv:
		return toolSettings{set: []Variable{{Name: "PIPENV_PYPI_MIRROR", Value: index}}}
	case Poetry:
		// Poetry's default index is fixed in its code; only its mirror plugin reads this. Without
		// the plugin the guard refuses what poetry asks for elsewhere.
		return toolSettings{set: []Variable{{Name: "POETRY_PYPI_MIRROR_URL", Value: index}}}
	}
	return toolSettings{}
}

// cache points a tool at a folder of its own among the caches, if there are any.
func (at Endpoint) cache(variable, folder string) []Variable {
	if at.Caches == "" {
		return nil
	}
	return []Variable{{Name: variable, Value: filepath.Join(at.Caches, folder)}}
}

func unsetAll(names []string) []Variable {
	out := make([]Variable, 0, len(names))
	for _, name := range names {
		out = append(out, Variable{Name: name, Unset: true})
	}
	return out
}

// loopback is not led to the guard unless the endpoint is sealed. "::1" is not among it: several
// programs, older pips among them, compare the ends of names, and take it for every address that
// ends so.
const loopback = "127.0.0.1,localhost"

// guardVariables route what is not loopback to the guard, which refuses it; of a sealed endpoint,
// everything: the guard serves the verified index in that way as well.
func guardVariables(environ []string, at Endpoint) toolSettings {
	s := toolSettings{
		set: []Variable{
			{Name: "HTTP_PROXY", Value: at.Guard},
			{Name: "http_proxy", Value: at.Guard},
			{Name: "HTTPS_PROXY", Value: at.Guard},
			{Name: "https_proxy", Value: at.Guard},
			{Name: "ALL_PROXY", Value: at.Guard},
			{Name: "all_proxy", Value: at.Guard},
		},
		// uv prefers its own proxy variables to the common ones.
		clear: []string{"UV_HTTP_PROXY", "UV_HTTPS_PROXY", "UV_ALL_PROXY", "UV_NO_PROXY"},
	}
	if at.Sealed {
		s.clear = append(s.clear, "NO_PROXY", "no_proxy")
	} else {
		s.set = append(s.set, Variable{Name: "NO_PROXY", Value: loopback}, Variable{Name: "no_proxy", Value: loopback})
	}
	s.set = append(s.set, gitVariables(environ, at.Guard)...)
	return s
}

// gitVariables keep git, which installers call for "git+" requirements, behind the guard: other
// transports than HTTP know no proxy, and a proxy in git's own configuration wins over the common
// variables. Settings that the environment holds for git already stay in front.
func gitVariables(environ []string, guard string) []Variable {
	count := 0
	for _, kv := range environ {
		if value, ok := strings.CutPrefix(kv, "GIT_CONFIG_COUNT="); ok {
			if n, err := strconv.Atoi(value); err == nil && n > 0 {
				count = n
			}
		}
	}
	return []Variable{
		{Name: "GIT_ALLOW_PROTOCOL", Value: "file:http:https"},
		{Name: "GIT_CONFIG_COUNT", Value: strconv.Itoa(count + 1)},
		{Name: "GIT_CONFIG_KEY_" + strconv.Itoa(count), Value: "http.proxy"},
		{Name: "GIT_CONFIG_VALUE_" + strconv.Itoa(count), Value: guard},
	}
}

// oddPipSpellings finds variables that pip takes for one that known sets or removes: it compares
// names without regard to case after "PIP_", and takes - for _.
func oddPipSpellings(environ []string, known []Variable) []Variable {
	watched := make(map[string]bool)
	exact := make(map[string]bool)
	for _, v := range known {
		exact[v.Name] = true
		if rest, ok := strings.CutPrefix(v.Name, "PIP_"); ok {
			watched[pipOption(rest)] = true
		}
	}
	var odd []Variable
	for _, kv := range environ {
		name, _, _ := strings.Cut(kv, "=")
		rest, ok := strings.CutPrefix(name, "PIP_")
		if ok && !exact[name] && watched[pipOption(rest)] {
			exact[name] = true
			odd = append(odd, Variable{Name: name, Unset: true})
		}
	}
	return odd
}

func pipOption(name string) string {
	return strings.ReplaceAll(strings.ToLower(name), "_", "-")
}
