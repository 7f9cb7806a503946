//go:build !cgo || !pkcs11

package pkcs11_test

import (
	"errors"
	"strings"
	"testing"

	"example.com/bailiwick/internal/keys/pkcs11"
)

func TestNotBuilt(t *testing.T) {
	m, err := pkcs11.Load("/usr/lib/softhsm/libsofthsm2.so")
	if m != nil || !errors.Is(err, pkcs11.ErrNotBuilt) || !strings.Contains(err.Error(), "go build -tags pkcs11") || pkcs11.Built {
		t.Errorf("Load = %v, %v", m, err)
	}
	var none pkcs11.Module
	_, err1 := none.List(t.Context(), pkcs11.URI{})
	_, err2 := none.Open(t.Context(), pkcs11.URI{}, nil)
	if !errors.Is(err1, pkcs11.ErrNotBuilt) || !errors.Is(err2, pkcs11.ErrNotBuilt) || none.Close() != nil {
		t.Errorf("%v, %v", err1, err2)
	}
}
