package problem

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"
)

// Bounds of what is done for a client that is still sending when it is refused.
const (
	lingerBytes = 1 << 30           // as much as the largest upload
	lingerTime  = 120 * time.Second // from the answer on
	lingerIdle  = 5 * time.Second   // without a byte from the client
	lingerChunk = 8 << 10           // read at a time: thousands may be lingered for at once
	writeTime   = 10 * time.Second  // for the answer itself
)

// Write answers r with p. It must be the first and the last thing that writes
// to w; the headers that are in w.Header() already go along, except those that
// describe another body.
//
// Over HTTP/1 it closes the connection afterwards and, where the client may
// still be sending a body, returns only when that has ended or taken too long.
// Errors of the connection are not reported: there is nobody left to tell.
func Write(w http.ResponseWriter, r *http.Request, p *Problem) {
	contentType, body := p.body(r.Header.Get("Accept"))
	header := w.Header()
	for _, name := range []string{
		"Content-Encoding", "Content-Length", "Content-Range", "Content-Disposition", "Accept-Ranges",
		"Etag", "Last-Modified", "Transfer-Encoding", "Trailer", "Expires",
	} {
		header.Del(name)
	}
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Type", contentType)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set(HeaderMessage, Phrase(p.message()))
	header.Add("Vary", "Accept")
	for name, values := range p.Header {
		header[http.CanonicalHeaderKey(name)] = values
	}
	header.Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method == http.MethodHead {
		body = nil
	}
	if r.ProtoMajor == 1 && writeHijacked(w, r, p, body) {
		return
	}
	w.WriteHeader(p.status())
	_, _ = w.Write(body)
}

// writeHijacked takes the connection over and answers with the sentence as
// reason phrase. It reports false, with nothing done, when w does not give the
// connection away.
func writeHijacked(w http.ResponseWriter, r *http.Request, p *Problem, body []byte) bool {
	header := w.Header().Clone()
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return false
	}
	defer conn.Close()
	header.Set("Connection", "close")
	if header.Get("Date") == "" {
		header.Set("Date", time.Now().UTC().Format(http.TimeFormat)) //nolint:forbidigo // what net/http would have set
	}
	var answer bytes.Buffer
	// net/http, too, answers HTTP/1.0 with its own version number.
	fmt.Fprintf(&answer, "HTTP/1.1 %03d %s\r\n", p.status(), Phrase(p.message()))
	_ = header.Write(&answer) // takes line breaks out of values; writing to memory does not fail
	answer.WriteString("\r\n")
	answer.Write(body)
	_ = conn.SetDeadline(time.Now().Add(writeTime)) //nolint:forbidigo // deadlines of connections are in real time
	if _, err := conn.Write(answer.Bytes()); err != nil {
		return true
	}
	if mayHaveBody(r) {
		linger(conn, buffered.Reader)
	}
	return true
}

// mayHaveBody reports whether the client may be sending something yet.
func mayHaveBody(r *http.Request) bool {
	return r.ContentLength != 0 && r.Body != nil && r.Body != http.NoBody
}

// linger ends the answer and reads on until the client ends, too. To close
// with bytes unread would send a reset, and a reset makes the client's system
// throw away the answer that has arrived: many clients read only after they
// have sent everything.
func linger(conn net.Conn, rest *bufio.Reader) {
	half, ok := conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	end := time.Now().Add(lingerTime) //nolint:forbidigo // deadlines of connections are in real time
	buf := make([]byte, lingerChunk)
	for read := 0; read < lingerBytes; {
		now := time.Now() //nolint:forbidigo // deadlines of connections are in real time
		if now.After(end) {
			return
		}
		_ = conn.SetReadDeadline(now.Add(lingerIdle))
		n, err := rest.Read(buf)
		read += n
		if err != nil {
			return
		}
	}
}
