package simple

import (
	"bytes"
	"fmt"
	"html"
	"io"
	"iter"
)

// projectsChunk is how much of a project list is gathered before it is
// written, in bytes.
const projectsChunk = 64 << 10

// WriteProjects writes the list of all projects as t: the root page of an
// index, where each project's page is at NAME/ below. The names are normalised
// and are listed in the order given. Memory use does not grow with their number.
//
// It returns the first error of w.
func WriteProjects(w io.Writer, t Type, names iter.Seq[string]) error {
	var b bytes.Buffer
	b.Grow(projectsChunk + 4<<10)
	if t == JSON {
		b.WriteString(`{"meta":{"api-version":"` + APIVersion + `"},"projects":[`)
	} else {
		writeHTMLHead(&b, "Simple index", "")
	}
	first := true
	for name := range names {
		if t == JSON {
			if !first {
				b.WriteByte(',')
			}
			b.WriteString(`{"name":`)
			b.Write(marshal(name))
			b.WriteByte('}')
		} else {
			name = html.EscapeString(name)
			b.WriteString(`<a href="` + name + `/">` + name + "</a><br>\n")
		}
		first = false
		if b.Len() >= projectsChunk {
			if _, err := b.WriteTo(w); err != nil {
				return fmt.Errorf("writing the project list: %w", err)
			}
		}
	}
	if t == JSON {
		b.WriteString("]}")
	} else {
		b.WriteString(htmlFoot)
	}
	if _, err := b.WriteTo(w); err != nil {
		return fmt.Errorf("writing the project list: %w", err)
	}
	return nil
}
