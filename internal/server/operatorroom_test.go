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

// TestOpenRequestsAreBounded: nor can it fill the disk with requests, or bury those that are meant.
func TestOpenRequestsAreBounded(t *testing.T) {
	b := newBureau(t, ledger.NewMemory(), publish.Config{})
	plan := func(note int) *strings.Reader {
		return strings.NewReader(fmt.Sprintf(`{"all":true,"note":"%d"}`, note))
	}
	const most, json = 200, "Content-Type: application/json"
	for i := range most {
		b.operate(t, "POST", "/sittings", plan(i), json).want(t, http.StatusCreated)
	}
	b.operate(t, "POST", "/sittings", plan(most), json).want(t, http.StatusConflict).wantText(t, "no more are kept")
	list := decoded[server.OperatorRequestsAnswer](t, b.operate(t, "GET", "/requests", nil).want(t, http.StatusOK)).Requests
	if len(list) != most || list[0].Note != "0" {
		t.Errorf("%d requests are listed, the first is %+v", len(list), list[0])
	}
	b.control.do(t, "POST", "/api/v1/operator/sittings", plan(most), json).want(t, http.StatusCreated)
	for _, r := range list[:2] {
		b.operate(t, "DELETE", "/requests/"+r.ID, nil).want(t, http.StatusNoContent)
	}
	b.operate(t, "POST", "/sittings", plan(most+1), json).want(t, http.StatusCreated)
}
