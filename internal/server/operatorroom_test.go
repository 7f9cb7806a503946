package server_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"example.com/bailiwick/internal/ledger"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/server"
)

// TestFewImportsAtOnce: a file of operators may take a gigabyte of memory while it is read, so a stolen token can not have
// many of them read at once; whoever holds the data folder is not kept waiting by that.
func TestFewImportsAtOnce(t *testing.T) {
	b := newBureau(t, ledger.NewMemory(), publish.Config{})
	for i := range 2 {
		c, err := net.Dial("tcp", b.host)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		_, err = fmt.Fprintf(c, "POST /api/v1/operator/requests HTTP/1.1\r\nHost: %s\r\n%s\r\n%s\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n",
			b.host, bearer(b.tokens["operator"]), ndjson)
		if err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(c).ReadString('\n') // comes when the body begins to be read
		if err != nil || !strings.Contains(line, " 100 ") {
			t.Fatalf("import %d: %q, %v", i, line, err)
		}
	}
	b.operate(t, "POST", "/requests", strings.NewReader("no request"), ndjson).want(t, http.StatusServiceUnavailable).wantText(t, "try again")
	b.control.do(t, "POST", "/api/v1/operator/requests", strings.NewReader("no request"), "Content-Type: "+server.OperatorRequestType).want(t, http.StatusBadRequest)
}
