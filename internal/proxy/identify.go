package proxy

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// identityPath is where a proxy shows that it knows the secret of its addresses, without saying it:
// whoever else of this machine listens at the port that a shell is about to use, must neither be
// taken for the user's proxy nor learn the secret from the question.
const identityPath = "/identity/"

const (
	nonceDigits  = 2 * 16
	identifyTime = 3 * time.Second
)

// Errors of [Identify].
var (
	// ErrNobody: nothing listens at the address.
	ErrNobody = errors.New("nothing listens there")
	// ErrStranger: what listens at the address does not know the secret.
	ErrStranger = errors.New("something else than this user's proxy listens there")
)

// identity answers one question. The address is part of it, so that an answer can not be fetched from
// the true proxy and given at another address. prefix is "/ROOT/SECRET".
func identity(prefix, address, nonce string) string {
	mac := hmac.New(sha256.New, []byte(prefix))
	fmt.Fprintf(mac, "proxy at %s asked %s", address, nonce)
	return hex.EncodeToString(mac.Sum(nil))
}

// identify answers GET /identity/NONCE, to anybody.
func (h *handler) identify(w http.ResponseWriter, r *http.Request, nonce string) {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if _, err := hex.DecodeString(nonce); err != nil || len(nonce) != nonceDigits || !ok || r.Method != http.MethodGet {
		fail(w, r, http.StatusNotFound, "there is nothing here; take the address from bailiwick env", "")
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = io.WriteString(w, identity(h.prefix, local.String(), nonce)+"\n") // whoever asked may have left
}

// Identify asks whether what listens at address is a proxy with this root and secret; nil means yes, at
// the moment of asking. The secret does not leave the process. It takes some seconds at most.
func Identify(ctx context.Context, address, root, secret string) error {
	ctx, cancel := context.WithTimeout(ctx, identifyTime)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if isRefused(err) {
		return fmt.Errorf("%s: %w", address, ErrNobody)
	}
	if err != nil {
		return fmt.Errorf("asking who listens at %s: %w", address, err)
	}
	transport := &http.Transport{
		DialContext:       func(context.Context, string, string) (net.Conn, error) { return conn, nil },
		DisableKeepAlives: true, MaxResponseHeaderBytes: headerBytes,
	}
	defer transport.CloseIdleConnections()
	nonce := make([]byte, nonceDigits/2)
	_, _ = rand.Read(nonce) // never fails
	digits, remote := hex.EncodeToString(nonce), conn.RemoteAddr().String()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+remote+identityPath+digits, nil)
	if err != nil {
		return errors.Join(fmt.Errorf("asking who listens at %s: %w", address, err), conn.Close())
	}
	answer, err := transport.RoundTrip(request)
	if err != nil {
		return fmt.Errorf("%s: %w (%w)", address, ErrStranger, err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, 256)) //nolint:forbidigo // bounded
	want := identity("/"+root+"/"+secret, remote, digits)
	if err != nil || answer.StatusCode != http.StatusOK || !hmac.Equal([]byte(strings.TrimSpace(string(body))), []byte(want)) {
		return fmt.Errorf("%s: %w", address, ErrStranger)
	}
	return nil
}
