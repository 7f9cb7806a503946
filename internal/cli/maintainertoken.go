package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

const (
	// tokenVariable names the environment variable that holds an upload token.
	tokenVariable = "BAILIWICK_TOKEN"
	// tokensName is the file of upload tokens beside the user's configuration: a table from the URL of
	// an index to the token for it, so that no index is ever sent the token of another.
	tokensName = "tokens.toml"

	maxTokens = 64 << 10 // bytes of that file
)

// uploadToken finds the token for an index: in the environment, in the user's file, or at the terminal.
func uploadToken(ctx context.Context, env *Env, index string) (string, error) {
	token := strings.TrimSpace(env.Getenv(tokenVariable))
	if token == "" {
		var err error
		if token, err = keptToken(env, index); err != nil {
			return "", err
		}
	}
	if token == "" {
		in, ok := terminal(env)
		if !ok {
			return "", usagef("this needs an upload token for %s: set %s, or write it to %s", redactURL(index), tokenVariable, tokensPath(env))
		}
		secret, err := askSecret(ctx, in, "upload token for "+redactURL(index)+": ")
		if err != nil {
			return "", err
		}
		token = strings.TrimSpace(string(secret))
	}
	if token == "" || len(token) > 256 || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", usagef("the upload token for %s is empty or holds blanks; it is one word that begins with bwk_", redactURL(index))
	}
	warnPlain(env, index, "upload token")
	return token, nil
}

// warnPlain tells whoever sends a secret that others can read it on its way.
func warnPlain(env *Env, index, what string) {
	if u, err := url.Parse(index); err == nil && u.Scheme == "http" && !isLoopback(u.Hostname()) {
		message(env, "%s is not encrypted: the %s travels in plain text", redactURL(index), what)
	}
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}

// tokensPath is where the user's tokens are, for messages.
func tokensPath(env *Env) string {
	folder, err := trustConfigFolder(env)
	if err != nil {
		return tokensName
	}
	return filepath.Join(folder, tokensName)
}

// keptToken reads the user's token for an index; empty if there is none. The file has to be the user's
// alone, as a private key's.
func keptToken(env *Env, index string) (string, error) {
	path := tokensPath(env)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("reading the upload tokens: %w", err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("%s can be read by others (mode %o): run chmod 600 on it, and replace the tokens in it if others had the time to read them", path, info.Mode().Perm())
	}
	data, err := readBounded(path, maxTokens)
	if err != nil {
		return "", fmt.Errorf("reading the upload tokens: %w", err)
	}
	var tokens map[string]string
	if err := toml.NewDecoder(bytes.NewReader(data)).Decode(&tokens); err != nil {
		// go-toml quotes the line at fault in its long form only, which could be a secret.
		var bad *toml.DecodeError
		if errors.As(err, &bad) {
			row, _ := bad.Position()
			return "", fmt.Errorf("%s:%d: not a line of the form \"https://pkgs.example.com\" = \"bwk_…\"", path, row)
		}
		return "", fmt.Errorf("%s: its lines have the form \"https://pkgs.example.com\" = \"bwk_…\"", path)
	}
	for known, token := range tokens {
		if normal, err := indexURL(known); err == nil && normal == index {
			return strings.TrimSpace(token), nil
		}
	}
	return "", nil
}
