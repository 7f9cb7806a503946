package tuf_test

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"example.com/bailiwick/tuf"
)

// Every byte in every place is decoded like the standard library does, or refused:
// there, upper case would pass.
func TestDecodeHex(t *testing.T) {
	for _, n := range []int{32, 64} {
		text := []byte(strings.Repeat("0123456789abcdef", n/8))
		for at := range text {
			for c := range 256 {
				in := bytes.Clone(text)
				in[at] = byte(c)
				got, want := make([]byte, n), make([]byte, n)
				ok := tuf.DecodeHex(got, in)
				_, err := hex.Decode(want, in)
				if legal := strings.IndexByte("0123456789abcdef", byte(c)) >= 0; ok != legal {
					t.Fatalf("%q: %v", in, ok)
				}
				if ok && (err != nil || !bytes.Equal(got, want)) {
					t.Fatalf("%q: %x, want %x", in, got, want)
				}
			}
		}
		for _, bad := range []string{"", string(text[1:]), string(text) + "0", string(text) + "00"} {
			if tuf.DecodeHex(make([]byte, n), []byte(bad)) {
				t.Errorf("%q is taken for %d bytes", bad, n)
			}
		}
	}
}

func TestAppendHex(t *testing.T) {
	src := make([]byte, 256+4)
	for i := range src {
		src[i] = byte(i)
	}
	for at := range 4 { // every byte in every place
		in := src[at : at+256]
		if got, want := string(tuf.AppendHex([]byte("x"), in)), "x"+hex.EncodeToString(in); got != want {
			t.Errorf("%s\nwant %s", got, want)
		}
	}
}
