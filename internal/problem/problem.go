// Package problem tells HTTP clients why they were refused, in one sentence
// that people get to see.
//
// The programs that speak to a package index show different parts of an answer:
// pip, twine and flit print the reason phrase of the status line, uv prints the
// title and detail of a problem document or the "code" of a JSON body, poetry
// prints the raw body, browsers show the page. [Write] puts the same sentence
// into all of them, and into the X-Error-Message header for what survives
// HTTP/2, which has no reason phrase (RFC 9457, RFC 9112 section 4).
//
// net/http always writes the standard phrase, so over HTTP/1 [Write] takes the
// connection over, answers by itself and closes it, in such a way that a client
// which is still sending its upload reads the answer instead of a reset.
//
// The package decides nothing: the status and the sentence are the caller's.
// It has no state; everything may be called concurrently.
package problem

import (
	"bytes"
	"encoding/json"
	"html"
	"net/http"
	"strconv"
	"strings"
)

// MaxPhrase is the longest reason phrase in bytes. Longer sentences are cut
// there, but stand in the body in full.
const MaxPhrase = 200

// HeaderMessage is the header that repeats the sentence of the status line.
const HeaderMessage = "X-Error-Message"

// Problem is one refusal.
type Problem struct {
	// Status is the HTTP status code. One outside 400–599 counts as 500.
	Status int

	// Message is the sentence: what happened, to what, what to do. When it is
	// empty, the standard phrase of the status stands in.
	Message string

	// Detail says more, in the body only. It may be empty.
	Detail string

	// Type is a URI that identifies the kind of problem for programs. Empty
	// means "about:blank".
	Type string

	// Header holds further headers of the answer, such as Retry-After.
	Header http.Header
}

func (p *Problem) status() int {
	if p.Status < 400 || p.Status > 599 {
		return http.StatusInternalServerError
	}
	return p.Status
}

// title is the standard phrase of the status.
func (p *Problem) title() string {
	if text := http.StatusText(p.status()); text != "" {
		return text
	}
	return "Error"
}

func (p *Problem) message() string {
	if p.Message == "" {
		return p.title()
	}
	return strings.ToValidUTF8(p.Message, "?")
}

// Phrase returns message in a form that fits into a status line: one line of
// at most [MaxPhrase] printable ASCII characters. That is less than ISO-8859-1
// allows, but the rest comes out differently in every client.
func Phrase(message string) string {
	var b strings.Builder
	for _, r := range message {
		if b.Len() == MaxPhrase {
			break
		}
		switch {
		case r == '\n' || r == '\r' || r == '\t':
			b.WriteByte(' ')
		case r < ' ' || r > '~':
			b.WriteByte('?')
		default:
			b.WriteRune(r)
		}
	}
	return strings.TrimSpace(b.String())
}

// body renders the problem in the form that accept asks for.
func (p *Problem) body(accept string) (contentType string, body []byte) {
	message := p.message()
	switch chooseForm(accept) {
	case formProblem:
		return string(formProblem), marshal(struct {
			Type   string `json:"type"`
			Title  string `json:"title"`
			Status int    `json:"status"`
			Detail string `json:"detail,omitempty"`
		}{orDefault(p.Type, "about:blank"), message, p.status(), strings.ToValidUTF8(p.Detail, "?")})
	case formJSON:
		// uv prints the member "code".
		return string(formJSON), marshal(struct {
			Message string `json:"message"`
			Code    string `json:"code"`
			Title   string `json:"title"`
		}{message, strconv.Itoa(p.status()) + " " + message, p.title()})
	case formHTML:
		return "text/html; charset=utf-8", p.html(message)
	default:
		text := message + "\n"
		if p.Detail != "" {
			text += "\n" + strings.ToValidUTF8(p.Detail, "?") + "\n"
		}
		return "text/plain; charset=utf-8", []byte(text)
	}
}

func (p *Problem) html(message string) []byte {
	var b bytes.Buffer
	title := strconv.Itoa(p.status()) + " " + p.title()
	b.WriteString("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>" +
		html.EscapeString(title) + "</title>\n</head>\n<body>\n<h1>" + html.EscapeString(title) + "</h1>\n<p>" +
		html.EscapeString(message) + "</p>\n")
	if p.Detail != "" {
		b.WriteString("<p>" + html.EscapeString(strings.ToValidUTF8(p.Detail, "?")) + "</p>\n")
	}
	b.WriteString("</body>\n</html>\n")
	return b.Bytes()
}

func orDefault(s, def string) string {
	if s == "" {
		return def
	}
	return s
}

// marshal encodes a struct of strings and numbers, which always encodes.
func marshal(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return []byte("{}\n")
	}
	return b.Bytes()
}
