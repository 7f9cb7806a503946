// Command tuf-conformance lets the public TUF conformance suite drive
// tuf/client. It speaks the suite's protocol and nothing more:
//
//	tuf-conformance --metadata-dir DIR init ROOTFILE
//	tuf-conformance --metadata-dir DIR --metadata-url URL refresh
//	tuf-conformance --metadata-dir DIR --metadata-url URL --target-name PATH… --target-dir DIR --target-base-url URL download
//
// It exits with 0 if the whole command succeeded and with 1 otherwise.
//
// Trusted metadata lies in DIR as root.json, timestamp.json, snapshot.json,
// targets.json and one .json file for each delegated role; nothing else there ends
// in .json.
//
// One thing differs from every other program of this module. The suite shifts time
// with a preloaded C library, which Go programs do not pass through; so this
// command, and only this command, asks the date program what time it is. Bounds and
// checks are the library's own; none is switched off for the suite.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/client"
)

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "tuf-conformance:", err)
		os.Exit(1)
	}
}

// options are the arguments of one run.
type options struct {
	metadataDir, metadataURL string
	targetDir, targetURL     string
	targetNames              []string
	command                  string
	root                     string
}

func parse(args []string) (*options, error) {
	o := &options{}
	flags := flag.NewFlagSet("tuf-conformance", flag.ContinueOnError)
	flags.StringVar(&o.metadataDir, "metadata-dir", "", "folder of the trusted metadata")
	flags.StringVar(&o.metadataURL, "metadata-url", "", "base URL of the metadata")
	flags.StringVar(&o.targetDir, "target-dir", "", "folder for downloaded targets")
	flags.StringVar(&o.targetURL, "target-base-url", "", "base URL of the targets")
	flags.Func("target-name", "path of a target to download; may be repeated", func(s string) error {
		o.targetNames = append(o.targetNames, s)
		return nil
	})
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	o.command = flags.Arg(0)
	want := 1
	if o.command == "init" {
		want, o.root = 2, flags.Arg(1)
	}
	switch {
	case flags.NArg() != want:
		return nil, fmt.Errorf("expected one of init ROOTFILE, refresh, download; got %q", flags.Args())
	case o.metadataDir == "":
		return nil, errors.New("--metadata-dir is missing")
	case o.command != "init" && o.metadataURL == "":
		return nil, errors.New("--metadata-url is missing")
	case o.command == "download" && (o.targetDir == "" || o.targetURL == "" || len(o.targetNames) == 0):
		return nil, errors.New("download needs --target-name, --target-dir and --target-base-url")
	}
	return o, nil
}

func run(ctx context.Context, args []string) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	switch o.command {
	case "init":
		return initialise(o)
	case "refresh", "download":
		return update(ctx, o)
	default:
		return fmt.Errorf("unknown command %q", o.command)
	}
}

// initialise stores the root that everything else starts from. It asks nobody, and
// leaves it to the first refresh to find the root wrong.
func initialise(o *options) error {
	root, err := os.ReadFile(o.root) //nolint:gosec // the protocol names the file
	if err != nil {
		return err
	}
	if err := os.MkdirAll(o.metadataDir, 0o700); err != nil { //nolint:gosec // the protocol names the folder
		return err
	}
	// The folder is handed over to this command; a store refuses one that is open to all.
	if err := os.Chmod(o.metadataDir, 0o700); err != nil { //nolint:gosec // it is a folder
		return err
	}
	return os.WriteFile(filepath.Join(o.metadataDir, "root.json"), root, 0o600) //nolint:gosec // as above
}

// update refreshes, and for download fetches the targets in order, all of them from that one view.
func update(ctx context.Context, o *options) error {
	root, err := os.ReadFile(filepath.Join(o.metadataDir, "root.json")) //nolint:gosec // the folder that the suite names
	if err != nil {
		return err
	}
	now, err := date(ctx)
	if err != nil {
		return err
	}
	targets := o.targetURL
	if targets == "" {
		targets = o.metadataURL // refresh is told of no other, and asks for no target
	}
	fetcher, err := client.NewHTTPFetcher(client.HTTPConfig{Metadata: o.metadataURL, Targets: targets})
	if err != nil {
		return err
	}
	defer fetcher.Close()
	store, err := client.OpenFolder(client.FolderConfig{Path: o.metadataDir})
	if err != nil {
		return err
	}
	defer store.Close()
	c, err := client.New(client.Config{
		Fetcher: fetcher, Store: store, Root: root, Now: func() time.Time { return now },
	})
	if err != nil {
		return err
	}
	view, err := c.Refresh(ctx)
	if err != nil {
		return err
	}
	for _, name := range o.targetNames {
		if err := download(ctx, c, view, o.targetDir, name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// download keeps a target under one flat, escaped name: what is there already and still right is not fetched again.
func download(ctx context.Context, c *client.Client, view *client.View, dir, name string) error {
	path, err := tuf.ParseTargetPath(name)
	if err != nil {
		return err
	}
	found, err := view.Find(ctx, path)
	if err != nil {
		return err
	}
	folder, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer folder.Close()
	local := localName(name)
	if isRight(folder, local, found.Target) {
		return nil
	}
	part := "%." + local // the name of no target: localName has 25, 2F or - after each %
	if err := folder.Remove(part); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := folder.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = c.Download(ctx, found, file)
	if err := errors.Join(err, file.Close()); err != nil {
		return errors.Join(err, folder.Remove(part))
	}
	return folder.Rename(part, local)
}

// isRight reports whether a file is there already, with the bytes that are listed.
func isRight(folder *os.Root, name string, want tuf.Target) bool {
	info, err := folder.Lstat(name)
	if err != nil || !info.Mode().IsRegular() || info.Size() != want.Length {
		return false
	}
	file, err := folder.Open(name)
	if err != nil {
		return false
	}
	defer file.Close()
	check := want.Hashes.NewVerifier()
	n, err := io.Copy(check, io.LimitReader(file, want.Length+1))
	return err == nil && n == want.Length && check.Check() == nil
}

// localName is the one name in the target folder that belongs to a target path.
func localName(path string) string {
	local := strings.NewReplacer("%", "%25", "/", "%2F").Replace(path)
	if len(local) > 200 { // file systems end at 255
		sum := sha256.Sum256([]byte(path))
		return "%-" + hex.EncodeToString(sum[:])
	}
	return local
}

// date asks the date program for the time, to the second.
func date(ctx context.Context) (time.Time, error) {
	cmd := exec.CommandContext(ctx, "date", "-u", "+%s")
	var out strings.Builder
	cmd.Stdout = &limited{w: &out, left: 64}
	if err := cmd.Run(); err != nil {
		return time.Time{}, fmt.Errorf("asking date for the time: %w", err)
	}
	seconds, err := strconv.ParseInt(strings.TrimSpace(out.String()), 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("date printed no number: %w", err)
	}
	return time.Unix(seconds, 0).UTC(), nil
}

// limited writes at most left bytes.
type limited struct {
	w    io.Writer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	if len(p) > l.left {
		return 0, errors.New("too much output")
	}
	l.left -= len(p)
	return l.w.Write(p)
}
