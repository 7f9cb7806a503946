// Command bailiwick-sign is the offline half of Bailiwick: it shows what an operator is asked to sign,
// and signs it, on a machine without a network. It links no network code, which its test proves.
// Everything it does is in internal/signtool.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"example.com/bailiwick/internal/signtool"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	code := signtool.Main(ctx, os.Args[1:], signtool.OSEnv())
	stop()
	os.Exit(code)
}
