// Command bailiwick is a Python package index secured by TUF metadata, and the tool that lets pip
// and uv install only what verifies. Everything it does is in internal/cli, and what it plays on
// throw-away repositories in internal/rehearsal.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"example.com/bailiwick/internal/cli"
	"example.com/bailiwick/internal/rehearsal"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	code := cli.Main(ctx, os.Args[1:], cli.OSEnv(), rehearsal.Commands)
	stop()
	os.Exit(code)
}
