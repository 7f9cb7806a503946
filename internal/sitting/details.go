package sitting

import (
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/tuf"
)

// listing is what a project lists before and after the request.
type listing struct{ base, next *tuf.Targets }

// String says the change in a line.
func (c *Change) String() string {
	what := string(c.Role)
	if !c.Project.IsZero() {
		what = c.Project.String()
	}
	text := fmt.Sprintf("%-12s %-24s %s", c.Kind, what, c.Text)
	if c.Kind == Promoted && !c.Since.IsZero() {
		text += " since " + c.Since.Format(time.DateOnly)
	}
	if c.Kind == Promoted {
		ids := make([]string, 0, 4)
		for _, k := range keysOf(c.New) {
			ids = append(ids, short(k.ID()))
		}
		text += ": " + strings.Join(ids, ", ")
	}
	return text
}

// Lines yields a line for every change of the request, in the order of the payloads.
func (v *Verdict) Lines() iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := range v.Changes {
			if !yield(v.Changes[i].String()) {
				return
			}
		}
	}
}

// ProjectLines tells everything that the request and the index say of a project. The error is a *Refused
// with the reason Unknown if the request does not touch it.
func (v *Verdict) ProjectLines(p pypi.Project) ([]string, error) {
	var out []string
	for i := range v.Changes {
		c := &v.Changes[i]
		if c.Project != p {
			continue
		}
		out = append(out, c.String())
		out = append(out, "  delegated by             "+string(c.Role))
		if !c.Since.IsZero() {
			out = append(out, "  claimed since            "+c.Since.Format(time.DateOnly)+", as its bin says")
		}
		out = append(out, indent(ceremony.DescribeKeys(c.Old, c.New))...)
		out = append(out, keyLines(c.New)...)
	}
	if len(out) == 0 {
		return nil, refuse(Unknown, policy.ProjectRole(p), "the request changes nothing about %s", p)
	}
	if l, ok := v.listings[p]; ok {
		out = append(out, fmt.Sprintf("  its list                 version %d to %d, until %s", l.base.Version(), l.next.Version(), l.next.Expires().Format(time.DateOnly)))
		out = append(out, indent(ceremony.Describe(l.base, l.next))...)
	}
	return append(out, v.noteLines(p)...), nil
}

// noteLines are what the index says of a project, marked as its word.
func (v *Verdict) noteLines(p pypi.Project) []string {
	for i := range v.request.Notes {
		n := &v.request.Notes[i]
		if n.Project != p {
			continue
		}
		out := []string{"  the index says, and nobody has signed:"}
		line := func(what, text string) {
			if text != "" {
				out = append(out, fmt.Sprintf("    %-22s %s", what, text))
			}
		}
		date := func(t time.Time) string {
			if t.IsZero() {
				return ""
			}
			return t.Format(time.DateOnly)
		}
		line("claimed", date(n.Since))
		if n.Token != "" {
			line("by token", strconv.Quote(n.Token))
		}
		line("token made", date(n.TokenCreated))
		line("keys changed", date(n.Rekeyed))
		if n.Popular > 0 {
			line("rank", count(n.Popular))
		}
		if n.Text != "" {
			line("note", strconv.Quote(n.Text))
		}
		return out
	}
	return nil
}

// RoleLines tells what the request does to a role: versions, expiry, every change. The error is a *Refused
// with the reason Unknown if it has no payload for it.
func (v *Verdict) RoleLines(role tuf.RoleName) ([]string, error) {
	r, ok := v.Result(role)
	if !ok {
		return nil, refuse(Unknown, role, "the request has nothing to sign for %.80q", role)
	}
	out := []string{fmt.Sprintf("%s version %d, until %s", role, r.Version, r.Expires.Format(time.DateOnly))}
	for i := range v.Changes {
		if c := &v.Changes[i]; c.Role == role {
			out = append(out, "  "+c.String())
			if c.Project.IsZero() && c.New.Threshold() > 0 {
				out = append(out, indent(ceremony.DescribeKeys(c.Old, c.New))...)
			}
		}
	}
	for _, m := range v.Missing {
		if m.Role == role {
			out = append(out, "  missing: "+m.String())
		}
	}
	return out, nil
}

func indent(lines []ceremony.Line) []string {
	out := make([]string, len(lines))
	for i, l := range lines {
		out[i] = "    " + l.String()
	}
	return out
}

// keyLines show the keys in full, to be compared with what the maintainers say elsewhere.
func keyLines(a tuf.Authority) []string {
	var out []string
	for _, k := range keysOf(a) {
		out = append(out, fmt.Sprintf("    %s  %s", k.ID(), k.Scheme()))
	}
	return out
}
