package cli

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
)

// created is a repository that has just been made. It holds secrets, to be shown once.
type created struct {
	Data        string `json:"data"`
	OfflineKeys string `json:"offline_keys,omitempty"`
	RootSHA256  string `json:"root_sha256,omitempty"`
	UploadToken string `json:"upload_token,omitempty"`
	Bins        int    `json:"bins"`
	Passphrase  string `json:"passphrase,omitempty"` // only if it was generated
	Custody     string `json:"custody"`
	SignerKeys  string `json:"signer_keys,omitempty"` // folder for the machine of the isolated signer

	// In place of root and token, where other people have to sign first:
	Request string    `json:"request,omitempty"` // the file that they sign
	Expires time.Time `json:"expires,omitzero"`  // until when
	Missing []string  `json:"missing,omitempty"` // whose signatures, in words
}

// writeJSON prints one object on one line.
func (made *created) writeJSON(w io.Writer) error {
	text, err := json.Marshal(made)
	if err != nil {
		return fmt.Errorf("printing the result: %w", err)
	}
	_, err = fmt.Fprintf(w, "%s\n", text)
	return err //nolint:wrapcheck // standard output is gone; there is nothing to add
}

// report prints what was made and what to do next. url is where the server is or will be; before,
// unless empty, is what has to be done first.
func (made *created) report(w io.Writer, url, before string) {
	if made.Request != "" {
		made.reportWaiting(w)
		return
	}
	_, _ = fmt.Fprintf(w, "bailiwick: created a repository in %s (%d bins, custody %s)\n\n", made.Data, made.Bins, made.Custody)
	_, _ = fmt.Fprintf(w, "  root           sha256:%s\n                 what your users pin; print it, publish it\n", made.RootSHA256)
	made.reportOfflineKeys(w)
	if made.SignerKeys != "" {
		_, _ = fmt.Fprintf(w, "  signer         %s   its keys, its token and the root; move this folder to the machine of the signer\n", made.SignerKeys)
	}
	_, _ = fmt.Fprintf(w, "  upload token   %s   shown this once\n\n", made.UploadToken)
	steps := []string{
		"twine upload --repository-url " + url + "/legacy/ -u __token__ dist/*",
		"bailiwick trust add " + url + " --root sha256:" + made.RootSHA256,
		"bailiwick pip install YOUR-PROJECT",
	}
	if made.SignerKeys != "" {
		steps = append([]string{"bailiwick signer --index " + url + " --keys " + shellWord(made.SignerKeys)}, steps...)
	}
	if before != "" {
		steps = append([]string{before}, steps...)
	}
	for i, step := range steps {
		head := "         "
		if i == 0 {
			head = "  next   "
		}
		_, _ = fmt.Fprintln(w, head+step)
	}
	_, _ = fmt.Fprintln(w)
}

// reportOfflineKeys prints where the offline keys are that were made here.
func (made *created) reportOfflineKeys(w io.Writer) {
	if made.OfflineKeys != "" {
		_, _ = fmt.Fprintf(w, "  offline keys   %s   encrypted; move this folder off this machine\n", made.OfflineKeys)
	}
	if made.Passphrase != "" {
		_, _ = fmt.Fprintf(w, "  passphrase     %s   of the offline keys, made for you; shown this once, write it down\n", made.Passphrase)
	}
}

// reportWaiting prints who has to sign before there is a repository.
func (made *created) reportWaiting(w io.Writer) {
	_, _ = fmt.Fprintf(w, "bailiwick: prepared a repository in %s (%d bins, custody %s), which waits for signatures\n\n", made.Data, made.Bins, made.Custody)
	for i, line := range made.Missing {
		head := "               "
		if i == 0 {
			head = "  waits for    "
		}
		_, _ = fmt.Fprintf(w, "%s  %s\n", head, line)
	}
	_, _ = fmt.Fprintf(w, "  until          %s\n", made.Expires.Format(time.DateOnly))
	made.reportOfflineKeys(w)
	_, _ = fmt.Fprintf(w, "\n  next   send %s to those who have to sign; each of them, on a machine of their own:\n"+
		"         bailiwick-sign %s --key URI --out NAME.signed\n"+
		"         and here, in any order, as the files come back:\n"+
		"         bailiwick init --data %s --resume NAME.signed…\n\n", made.Request, requestFile, shellWord(made.Data))
}

func hexSHA256(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// shellWord quotes a word for a line that people copy into a shell.
func shellWord(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-+:@%") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
