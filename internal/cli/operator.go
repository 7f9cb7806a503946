package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"example.com/bailiwick/internal/durable"
	"example.com/bailiwick/internal/ledger"
)

// operatorVariable names the environment variable that holds an operator token.
const operatorVariable = "BAILIWICK_OPERATOR_TOKEN"

// operatorFlags say which index a command of operators is about.
type operatorFlags struct {
	data, index string
}

// add gives a command, and those below it, the flags.
func (f *operatorFlags) add(cmd *cobra.Command) {
	flags := cmd.PersistentFlags()
	flags.StringVar(&f.data, "data", defaultData, "data `folder` of the server, which may be running or not")
	flags.StringVar(&f.index, "index", "", "`URL` of an index on another machine, with an operator token in "+operatorVariable)
}

// operator is a session with the operator API of an index: through the control socket of a running server,
// in this process if no server runs, or over the network with a token.
type operator struct {
	env     *Env
	api     *apiClient
	where   string // for messages
	stopped bool   // no server runs, and this process stands in
	close   []func() error
}

// Bounds of waiting for a data folder.
const (
	folderWait = 5 * time.Second // for another command to be done with it, or for a server to come up
	folderLook = 50 * time.Millisecond
)

// openOperator opens a session. With publishing, a repository that no server holds is opened so that it
// can change; without, it is only looked at.
func openOperator(ctx context.Context, env *Env, flags *operatorFlags, publishing bool) (*operator, error) {
	if flags.index != "" {
		return remoteOperator(ctx, env, flags.index)
	}
	if err := requireRepository(ctx, flags.data); err != nil {
		return nil, explainFolder(flags.data, err)
	}
	deadline := time.NewTimer(folderWait)
	defer deadline.Stop()
	look := time.NewTicker(folderLook)
	defer look.Stop()
	for {
		o, err := localOperator(ctx, env, flags.data, publishing)
		if !errors.Is(err, errFolderBusy) {
			return o, err
		}
		select {
		case <-look.C:
		case <-deadline.C:
			return nil, err
		case <-ctx.Done():
			return nil, ctx.Err() //nolint:wrapcheck // Main says "interrupted"
		}
	}
}

// errFolderBusy: somebody holds the folder and does not answer on a control socket.
var errFolderBusy = errors.New("the data folder is in use")

// localOperator asks the server of a data folder, or stands in for it.
func localOperator(ctx context.Context, env *Env, data string, publishing bool) (*operator, error) {
	s, err := openServer(ctx, serverSpec{data: data, now: env.Now, log: quietLog(env)})
	switch {
	case errors.Is(err, durable.ErrInUse):
		return socketOperator(ctx, env, data)
	case err != nil:
		return nil, explainFolder(data, err)
	}
	o := &operator{env: env, where: data, stopped: true, close: []func() error{s.Close}}
	o.api = newAPIClient(handlerTransport{s.server.Control()}, "http://bailiwick", "")
	o.api.where = data
	if publishing {
		o.publish(ctx, s)
	}
	return o, nil
}

// publish runs the publisher for as long as the session is open.
func (o *operator) publish(ctx context.Context, s *openedServer) {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan error, 1)
	go func() { done <- s.publisher.Run(ctx) }()
	o.close = append(o.close, func() error {
		stop()
		return <-done
	})
}

// quietLog tells of what is wrong, and not of what any command does.
func quietLog(env *Env) *slog.Logger {
	return slog.New(slog.NewTextHandler(env.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
}

// socketOperator reaches the server that holds a data folder.
func socketOperator(ctx context.Context, env *Env, data string) (*operator, error) {
	path, err := socketPath(data)
	if err != nil {
		return nil, err
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return nil, explainFolder(data, err)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("%w: another bailiwick command works on %s, or its server was started without a control socket; "+
			"try again in a moment, or look into the server's log", errFolderBusy, data)
	case err != nil:
		return nil, exit(exitUnreachable, fmt.Errorf("reaching the server of %s: %w", data, err))
	}
	_ = conn.Close() // it was only to see that somebody is there
	transport := socketTransport(path)
	o := &operator{
		env: env, where: data, api: newAPIClient(transport, "http://bailiwick", ""),
		close: []func() error{func() error { transport.CloseIdleConnections(); return nil }},
	}
	o.api.where = "the server of " + data
	return o, nil
}

// explainFolder says what to do where a folder belongs to somebody else, who lets others read it or does not.
func explainFolder(data string, err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s belongs to another user: run this as the one that the server runs as, or use --index with an operator token (%w)", data, err)
	case errors.Is(err, ledger.ErrReadOnly):
		return fmt.Errorf("the ledger in %s can not be written by this user: run this as the one that the server runs as, or use --index with an operator token (%w)", data, err)
	}
	return err
}

// remoteOperator reaches an index over the network.
func remoteOperator(ctx context.Context, env *Env, index string) (*operator, error) {
	url, err := indexURL(index)
	if err != nil {
		return nil, exit(exitUsage, fmt.Errorf("--index: %w", err))
	}
	token := strings.TrimSpace(env.Getenv(operatorVariable))
	if token == "" {
		if token, err = operatorToken(ctx, env, url); err != nil {
			return nil, err
		}
	}
	warnPlain(env, url, "operator token")
	return &operator{env: env, where: redactURL(url), api: newAPIClient(nil, url, token)}, nil
}

// operatorToken asks for the token at the terminal.
func operatorToken(ctx context.Context, env *Env, url string) (string, error) {
	in, ok := terminal(env)
	if !ok {
		return "", usagef("--index needs an operator token: put it into %s; bailiwick token new --operator makes one on the server", operatorVariable)
	}
	secret, err := askSecret(ctx, in, "operator token for "+redactURL(url)+": ")
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(secret)), nil
}

// Close ends the session: what is being published first, the folder last.
func (o *operator) Close() error {
	var errs []error
	for i := len(o.close) - 1; i >= 0; i-- {
		errs = append(errs, o.close[i]())
	}
	o.close = nil
	return errors.Join(errs...)
}

// withOperator opens a session for do.
func withOperator(ctx context.Context, env *Env, flags *operatorFlags, publishing bool, do func(*operator) error) error {
	o, err := openOperator(ctx, env, flags, publishing)
	if err != nil {
		return err
	}
	return errors.Join(do(o), o.Close())
}

// printf writes a result.
func (o *operator) printf(format string, args ...any) {
	_, _ = fmt.Fprintf(o.env.Stdout, format, args...)
}

// writeJSONTo prints a value for programs.
func writeJSONTo(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("writing JSON: %w", err)
	}
	return nil
}

// send uploads a file as it is and decodes the answer.
func (o *operator) send(ctx context.Context, path string, f *os.File, into any) (int, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, o.api.base+path, f)
	if err != nil {
		return 0, fmt.Errorf("asking %s: %w", o.where, err)
	}
	if info, err := f.Stat(); err == nil {
		r.ContentLength = info.Size()
	}
	r.Header.Set("Content-Type", "application/x-ndjson")
	data, status, err := o.api.do(r)
	if err != nil {
		return status, err
	}
	if err := json.Unmarshal(data, into); err != nil {
		return status, fmt.Errorf("%s answered with something else than the API does: %s", o.where, shown(err.Error()))
	}
	return status, nil
}

// fetch copies an answer of any length.
func (o *operator) fetch(ctx context.Context, path string, w io.Writer) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, o.api.base+path, nil)
	if err != nil {
		return fmt.Errorf("asking %s: %w", o.where, err)
	}
	r.SetBasicAuth("__token__", o.api.token)
	r.Header.Set("User-Agent", "bailiwick/"+version())
	resp, err := o.api.http.Do(r)
	if err != nil {
		return o.api.unreachable(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode >= 300 {
		complaint, _ := io.ReadAll(io.LimitReader(resp.Body, maxComplaint)) //nolint:forbidigo // bounded; half a complaint is better than none
		return refusalOf(resp, complaint)
	}
	out := &noted{Writer: w}
	if _, err := io.Copy(out, resp.Body); out.failed != nil {
		return &unwrittenError{out.failed}
	} else if err != nil {
		return fmt.Errorf("reading the answer of %s: %w", o.where, err)
	}
	return nil
}

// noted is a writer that remembers that it failed: a full disk is not the index's fault.
type noted struct {
	io.Writer
	failed error
}

// Write implements io.Writer.
func (n *noted) Write(p []byte) (int, error) {
	done, err := n.Writer.Write(p)
	n.failed = err
	return done, err //nolint:wrapcheck // a writer's own
}

// unwrittenError says that a file here could not be written.
type unwrittenError struct{ err error }

func unwritten(err error) error {
	if err == nil {
		return nil
	}
	return &unwrittenError{err}
}

// Error is the message of the wrapped error.
func (e *unwrittenError) Error() string { return e.err.Error() }

// Unwrap gives what went wrong.
func (e *unwrittenError) Unwrap() error { return e.err }
