package simple

import (
	"bytes"
	"encoding/hex"
	"html"
)

// HTML renders the page in the HTML form of PEP 503. New fields of the API
// never come to this form (PEP 833): sizes, upload times and versions are in
// the JSON form only.
func (p *Page) HTML() []byte {
	var b bytes.Buffer
	b.Grow(256 + 512*len(p.Files))
	writeHTMLHead(&b, "Links for "+p.Name, p.statusTags())
	b.WriteString("<h1>Links for " + html.EscapeString(p.Name) + "</h1>\n")
	for _, f := range p.sortedFiles() {
		writeAnchor(&b, f)
	}
	b.WriteString(htmlFoot)
	return b.Bytes()
}

const htmlFoot = "</body>\n</html>\n"

// statusTags are the meta tags of PEP 792.
func (p *Page) statusTags() string {
	if p.Status == "" {
		return ""
	}
	tags := "<meta name=\"pypi:project-status\" content=\"" + html.EscapeString(p.Status) + "\">\n"
	if p.StatusReason != "" {
		tags += "<meta name=\"pypi:project-status-reason\" content=\"" + html.EscapeString(p.StatusReason) + "\">\n"
	}
	return tags
}

func writeHTMLHead(b *bytes.Buffer, title, tags string) {
	b.WriteString("<!DOCTYPE html>\n<html>\n<head>\n<meta charset=\"utf-8\">\n" +
		"<meta name=\"pypi:repository-version\" content=\"" + APIVersion + "\">\n" + tags + "<title>")
	b.WriteString(html.EscapeString(title))
	b.WriteString("</title>\n</head>\n<body>\n")
}

func writeAnchor(b *bytes.Buffer, f *File) {
	// The separator must be "=": uv refuses a whole page for any other.
	b.WriteString(`<a href="` + html.EscapeString(f.URL) + "#sha256=" + hex.EncodeToString(f.SHA256[:]) + `"`)
	if f.RequiresPython != "" {
		writeAttribute(b, "data-requires-python", f.RequiresPython)
	}
	if f.Yanked != nil {
		writeAttribute(b, "data-yanked", *f.Yanked)
	}
	if f.MetadataSHA256 != nil {
		sum := "sha256=" + hex.EncodeToString(f.MetadataSHA256[:])
		writeAttribute(b, "data-core-metadata", sum)
		writeAttribute(b, "data-dist-info-metadata", sum) // the name before PEP 714; PDM and old tools read it
	}
	b.WriteString(">" + html.EscapeString(f.Filename) + "</a><br>\n")
}

func writeAttribute(b *bytes.Buffer, name, value string) {
	b.WriteString(" " + name + `="` + html.EscapeString(value) + `"`)
}
