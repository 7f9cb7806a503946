package tuf

import (
	"strings"

	"example.com/bailiwick/tuf/cjson"
)

// matcher finds delegations by path without trying every pattern. It files each
// pattern under its literal folder, which is what stands before the last slash in
// front of the first special character: "3f/flask/*" under "3f/flask/", "3f/*/*"
// under "3f/", "*/*/*" under "". A path can only match patterns filed under one of
// its own folders, so a look-up costs one map access for each slash of the path.
//
// Priority is kept by position: hits are sorted by it.
type matcher struct {
	names    map[string]int32
	folders  map[string]chain
	prefixes map[string]chain // by hash prefix
	patterns []filed          // what chains consist of
	widths   []int            // lengths that hash prefixes have
	deepest  int              // the most slashes in a folder
	hashed   []int32          // positions of delegations by hash
}

// chain is a list in matcher.patterns, by indices.
type chain struct {
	first, last int32
	bytes       int64 // of all that is in it, and one for each
}

// filed is a pattern without its folder, or an empty one for a hash prefix.
type filed struct {
	rest     string
	position int32
	next     int32 // -1 at the end of a chain
}

func newMatcher(entries []delegated) *matcher {
	m := &matcher{
		names:    make(map[string]int32, len(entries)),
		folders:  make(map[string]chain, len(entries)),
		prefixes: make(map[string]chain),
	}
	var widths [65]bool
	for i := range entries {
		e := &entries[i]
		position := int32(i)
		m.names[string(e.name)] = position
		if e.paths == nil {
			continue
		}
		if e.hashed {
			m.hashed = append(m.hashed, position)
		}
		r := cjson.New(e.paths, 0)
		for a := r.Array(); r.More(&a); {
			text := string(r.Bytes())
			if e.hashed {
				m.file(m.prefixes, text, "", position)
				widths[min(len(text), 64)] = true
				continue
			}
			folder, rest := splitPattern(text)
			m.file(m.folders, folder, rest, position)
			m.deepest = max(m.deepest, strings.Count(folder, "/"))
		}
	}
	for width, used := range widths {
		if used {
			m.widths = append(m.widths, width)
		}
	}
	return m
}

// file appends a pattern to the chain of its key.
func (m *matcher) file(in map[string]chain, key, rest string, position int32) {
	at := int32(len(m.patterns))
	m.patterns = append(m.patterns, filed{rest: rest, position: position, next: -1})
	c, ok := in[key]
	if ok {
		m.patterns[c.last].next = at
		c.last = at
	} else {
		c = chain{first: at, last: at}
	}
	c.bytes += int64(len(rest)) + 1
	in[key] = c
}

// splitPattern cuts a pattern behind its literal folder.
func splitPattern(pattern string) (folder, rest string) {
	literal := pattern
	if special := strings.IndexAny(pattern, "*?["); special >= 0 {
		literal = pattern[:special]
	}
	cut := strings.LastIndexByte(literal, '/') + 1
	return pattern[:cut], pattern[cut:]
}

// match appends the positions of the delegations that cover path, in no order and
// possibly more than once.
func (m *matcher) match(hits []int32, path string) []int32 {
	for cut, depth := 0, 0; ; depth++ {
		if c, ok := m.folders[path[:cut]]; ok {
			for i := c.first; i >= 0; i = m.patterns[i].next {
				p := &m.patterns[i]
				if MatchPattern(p.rest, path[cut:]) {
					hits = append(hits, p.position)
				}
			}
		}
		slash := strings.IndexByte(path[cut:], '/')
		if slash < 0 || depth == m.deepest {
			break
		}
		cut += slash + 1
	}
	if len(m.widths) > 0 {
		digest := pathDigest(TargetPath(path))
		for _, width := range m.widths {
			if c, ok := m.prefixes[digest[:width]]; ok {
				for i := c.first; i >= 0; i = m.patterns[i].next {
					hits = append(hits, m.patterns[i].position)
				}
			}
		}
	}
	return hits
}

// effort bounds the steps of match and of matchDir for a path or a folder. A pattern with
// many stars may be held against the rest of a path at each of its bytes.
func (m *matcher) effort(path string) int64 {
	steps := int64(len(m.hashed))
	if len(m.widths) > 0 {
		digest := pathDigest(TargetPath(path))
		for _, width := range m.widths {
			steps += m.prefixes[digest[:width]].bytes
		}
	}
	for cut, depth := 0, 0; ; depth++ {
		steps += m.folders[path[:cut]].bytes * int64(len(path)-cut+1)
		slash := strings.IndexByte(path[cut:], '/')
		if slash < 0 || depth == m.deepest {
			return steps
		}
		cut += slash + 1
	}
}

// matchDir appends the positions of the delegations that may cover a path directly
// in the folder dir.
func (m *matcher) matchDir(hits []int32, dir string) []int32 {
	if dir != "" {
		dir += "/"
	}
	for cut, depth := 0, 0; ; depth++ {
		if c, ok := m.folders[dir[:cut]]; ok {
			for i := c.first; i >= 0; i = m.patterns[i].next {
				p := &m.patterns[i]
				if matchFolder(p.rest, dir[cut:]) {
					hits = append(hits, p.position)
				}
			}
		}
		slash := strings.IndexByte(dir[cut:], '/')
		if slash < 0 || depth == m.deepest {
			break
		}
		cut += slash + 1
	}
	return append(hits, m.hashed...)
}

// matchFolder reports whether pattern may match some path directly in folder, which
// is empty or ends in a slash.
func matchFolder(pattern, folder string) bool {
	cut := strings.LastIndexByte(pattern, '/') + 1
	if cut == len(pattern) || !wellFormed(pattern) {
		return false // no file name ends in a slash
	}
	return MatchPattern(pattern[:cut], folder)
}
