package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"example.com/bailiwick/internal/proxy"
	"example.com/bailiwick/internal/verify"
)

// newProxy runs a long-lived verified index.
func newProxy(env *Env) *cobra.Command {
	var listen string
	cmd := &cobra.Command{
		Use:   "proxy",
		Short: "serve a verified index on this machine until stopped",
		Long: "Serves the trusted index, verified, on this machine, for shells and programs whose environment bailiwick env\n" +
			"prepared. The address stays the same between runs. It asks the index for news at most every " + proxyRefresh.String() + ".",
		Example: "  bailiwick proxy &\n  eval \"$(bailiwick env)\"\n  pip install flask",
		Args:    NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			in := &installer{env: env}
			return in.serveProxy(cmd.Context(), listen, !cmd.Flags().Changed("listen"))
		},
	}
	cmd.Flags().StringVar(&listen, "listen", proxy.DefaultListen, "loopback `address` to listen at; the default falls back to a free port")
	return cmd
}

// serveProxy serves until ctx ends.
func (in *installer) serveProxy(ctx context.Context, listen string, anyPort bool) error {
	p, err := in.pin(ctx)
	if err != nil {
		return err
	}
	o, err := in.open(p, engineOptions{refresh: proxyRefresh, remember: proxyRemember, onVerdict: in.tell})
	if err != nil {
		return err
	}
	defer o.Close()
	server, err := o.start(ctx, listen, anyPort, func(host string) {
		message(in.env, "refused a connection to %s: nothing there leads back to the pinned root", host)
	})
	if errors.Is(err, proxy.ErrPortTaken) {
		return fmt.Errorf("%w: another proxy may be running; stop it, or choose another port with --listen", err)
	}
	if err != nil {
		return fmt.Errorf("starting the verified index: %w", err)
	}
	if anyPort && server.Address() != listen {
		message(in.env, "%s is taken, so the address is another one this time: use bailiwick env --listen %s", listen, server.Address())
	}
	message(in.env, "verifying %s from root %s", redactURL(p.index.URL), p.index.Root)
	fmt.Fprintf(in.env.Stdout, "listening on %s\n", server.Endpoint().Index)
	_ = o.Refresh(ctx) // trouble was told by tell; it may be over when somebody asks
	<-ctx.Done()
	if err := server.Close(); err != nil {
		return fmt.Errorf("stopping the verified index: %w", err)
	}
	return nil
}

// tell prints what goes wrong while it happens.
func (in *installer) tell(v verify.Verdict) {
	if v.Problem != nil && v.Problem.Class != verify.NotFound {
		report(in.env, v.Problem)
	}
	if v.Note != "" {
		message(in.env, "%s", v.Note)
	}
}

// newEnv prints the environment that points installers at a running proxy.
func newEnv(env *Env) *cobra.Command {
	var shell, listen string
	var guard bool
	cmd := &cobra.Command{
		Use:   "env",
		Short: "print the settings that point a shell's installers at bailiwick proxy",
		Long: "Prints commands for a shell: what to set and what to unset so that its installers use a running bailiwick\n" +
			"proxy and nothing else. It prints none if something else than your proxy listens at the address. With --guard everything else on the network is refused, too, for every program that\n" +
			"the shell starts.",
		Example: "  eval \"$(bailiwick env)\"\n  bailiwick env --shell fish | source",
		Args:    NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			in := &installer{env: env}
			return in.printEnv(cmd.Context(), shell, listen, guard)
		},
	}
	cmd.Flags().StringVar(&shell, "shell", "sh", "sh, fish or powershell")
	cmd.Flags().StringVar(&listen, "listen", proxy.DefaultListen, "`address` of the proxy")
	cmd.Flags().BoolVar(&guard, "guard", false, "also refuse everything that is not the verified index")
	return cmd
}

func (in *installer) printEnv(ctx context.Context, shell, listen string, guard bool) error {
	line, ok := shellLine(shell)
	if !ok {
		return usagef("--shell: %q is not one of sh, fish, powershell", shell)
	}
	p, err := in.pin(ctx)
	if err != nil {
		return err
	}
	secret, err := p.secret()
	if err != nil {
		return err
	}
	switch err := proxy.Identify(ctx, listen, p.id(), secret); {
	case errors.Is(err, proxy.ErrNobody):
		message(in.env, "nothing listens at %s yet: start bailiwick proxy before you install", listen)
	case errors.Is(err, proxy.ErrStranger):
		return exit(exitRefused, fmt.Errorf("%w: whoever that is would choose what you install; name the address that your bailiwick proxy printed with --listen, or stop the other", err))
	case err != nil:
		return err
	}
	caches, err := p.installerCaches(in.env)
	if err != nil {
		return err
	}
	at := proxy.Endpoint{Index: proxy.IndexURL(listen, p.id()+"/"+secret), Caches: caches}
	if guard {
		at.Guard = "http://" + listen
	}
	for _, v := range proxy.Variables(in.env.Environ(), at) {
		if text := line(v); text != "" {
			fmt.Fprintln(in.env.Stdout, text)
		}
	}
	return nil
}

// shellLine gives the way to say one change in a shell's language. A name that the shell cannot say
// gives "".
func shellLine(shell string) (func(proxy.Variable) string, bool) {
	switch shell {
	case "sh":
		return func(v proxy.Variable) string {
			switch {
			case !isShellName(v.Name):
				return ""
			case v.Unset:
				return "unset " + v.Name
			}
			return "export " + v.Name + "='" + strings.ReplaceAll(v.Value, "'", `'\''`) + "'"
		}, true
	case "fish":
		return func(v proxy.Variable) string {
			switch {
			case !isShellName(v.Name):
				return ""
			case v.Unset:
				return "set -e " + v.Name
			}
			return "set -gx " + v.Name + " '" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(v.Value) + "'"
		}, true
	case "powershell":
		return func(v proxy.Variable) string {
			name := "Env:" + v.Name
			switch {
			case !isShellName(v.Name):
				return ""
			case v.Unset:
				return "Remove-Item -ErrorAction SilentlyContinue " + name
			}
			return "$" + name + " = '" + strings.ReplaceAll(v.Value, "'", "''") + "'"
		}, true
	}
	return nil, false
}

// isShellName keeps names from the environment, which may hold anything, out of commands.
func isShellName(name string) bool {
	for i, r := range name {
		letter := r == '_' || ('A' <= r && r <= 'Z') || ('a' <= r && r <= 'z')
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return name != ""
}
