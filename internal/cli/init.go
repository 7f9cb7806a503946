package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"example.com/bailiwick/internal/policy"
)

// newInit creates a repository deliberately; serve does the same with the standard settings.
func newInit(env *Env) *cobra.Command {
	c := &initCommand{env: env, spec: genesisSpec{now: env.Now}, people: enrolment{invitations: map[policy.KeyRole]*string{}}}
	cmd := &cobra.Command{
		Use:   "init",
		Short: "create a repository and its keys",
		Long: "Create a repository in a new or empty data folder, and its offline keys in a folder apart from it.\n\n" +
			"The data folder gets what the server needs: the ledger, the file store and the three online keys.\n" +
			"The keys of root, targets, claimed and unclaimed are encrypted under a passphrase; move their folder off\n" +
			"the machine when the repository stands. The passphrase is the first line of --passphrase-file (or of the\n" +
			"file that " + passphraseVariable + " names), or is asked at the terminal, or is generated and shown once.\n\n" +
			"Keys of root, targets, claimed and unclaimed can be held by other people, on machines of their own: give the\n" +
			"invitation that bailiwick root invite wrote, and everyone's acceptance. Then everything is prepared but for their\n" +
			"signatures, and --resume takes these as they come and starts the repository when there are enough. --abandon\n" +
			"removes what was prepared.\n\n" +
			"With --custody strict the keys of registry and snapshot go into a folder of their own, with a token and the root: move\n" +
			"it to the machine of the signer (bailiwick signer). Whoever takes the server then gets the timestamp key alone.\n\n" +
			"Back up, when it stands: the data folder, copied while no server runs on it (or as an atomic snapshot of the file\n" +
			"system); the folder of the offline keys; and their passphrase; each in another place. bailiwick root show prints what\n" +
			"a copy is compared with. After a copy has been put back that is older than what users have seen, run\n" +
			"bailiwick rotate timestamp snapshot registry, so that they take it.",
		Example: "  bailiwick init --data /srv/index --offline-keys /media/stick/keys\n" +
			"  bailiwick init --threshold root=2/3 --lifetime root=730d --json\n" +
			"  bailiwick init --root-invitation invitation.json --accepted alice.json --accepted bob.json\n" +
			"  bailiwick init --resume alice.signed bob.signed",
		Args: func(cmd *cobra.Command, args []string) error {
			if c.resume {
				return nil
			}
			return NoArgs(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case c.resume && c.abandon:
				return usagef("--resume and --abandon exclude each other")
			case c.abandon:
				return abandonCreation(cmd.Context(), env, c.spec.data)
			case c.resume:
				made, err := resumeCreation(cmd.Context(), env, c.spec, args)
				return c.print(made, err)
			}
			return c.create(cmd.Context())
		},
	}
	c.flags(cmd)
	return cmd
}

// initCommand is what the flags of init say.
type initCommand struct {
	env             *Env
	spec            genesisSpec
	people          enrolment
	passphraseFile  string
	thresholds      []string
	lifetimes       map[string]string
	asJSON          bool
	resume, abandon bool
	custody         []string
}

func (c *initCommand) flags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&c.spec.data, "data", defaultData, "data `folder` of the server, new or empty")
	flags.StringVar(&c.spec.offline, "offline-keys", "", "`folder` for the offline keys, apart from the data folder (default "+offlineName+" beside it)")
	flags.StringVar(&c.passphraseFile, "passphrase-file", "", "`file` whose first line is the passphrase of the offline keys")
	flags.IntVar(&c.spec.bins, "bins", standardBins, "number of bins: 16, 256, 4096 or 65536")
	flags.StringArrayVar(&c.thresholds, "threshold", nil, "`ROLE=M/N`: make N keys for root, targets, claimed or unclaimed, of which M must sign (default 1/1)")
	flags.StringToStringVar(&c.lifetimes, "lifetime", nil, "`ROLE=TIME`: how long signatures of a role are good, such as root=365d")
	for _, role := range offlineRoles() {
		c.people.invitations[role] = flags.String(string(role)+"-invitation", "", "invitation `file` to those who hold the keys of "+string(role))
	}
	flags.StringArrayVar(&c.people.accepted, "accepted", nil, "acceptance `file` of somebody who was invited; give it for everyone")
	flags.BoolVar(&c.people.yes, "yes", false, "the fingerprints of those who accepted were compared: do not ask")
	flags.BoolVar(&c.resume, "resume", false, "take the signed files named, and start the repository that waits for them")
	flags.BoolVar(&c.abandon, "abandon", false, "remove a repository that was prepared and never started")
	flags.StringArrayVar(&c.custody, "custody", nil, "standard: the server holds all online keys (default); strict: an isolated signer holds those of registry and snapshot; or `ROLE=WORD`")
	flags.StringVar(&c.spec.signerKeys, "signer-keys", "", "with --custody strict: `folder` for the signer's keys, apart from the data folder (default "+signerKeysName+" beside it)")
	flags.BoolVar(&c.asJSON, "json", false, "print the result as one JSON object")
}

// create makes or prepares a repository.
func (c *initCommand) create(ctx context.Context) (err error) {
	if c.spec.shares, err = parseThresholds(c.thresholds); err != nil {
		return exit(exitUsage, err)
	}
	c.spec.settings.Lifetimes = c.lifetimes
	if _, err := c.spec.settings.lifetimes(); err != nil {
		return exit(exitUsage, err)
	}
	if c.spec.settings.Custody, err = parseCustody(c.custody); err != nil {
		return exit(exitUsage, err)
	}
	if _, err := policy.NewLayout(c.spec.bins); err != nil {
		return exit(exitUsage, fmt.Errorf("--bins: %w", err))
	}
	for role := range c.spec.shares {
		if *c.people.invitations[role] != "" {
			return usagef("--threshold %s: the invitation says how many sign", role)
		}
	}
	if c.spec.bins > stockBins {
		message(c.env, "with %d bins the snapshot is larger than 2 MB, and TUF clients other than bailiwick refuse it as they come", c.spec.bins)
	}
	out := c.env.Stdout
	if c.asJSON {
		out = c.env.Stderr
	}
	if c.spec.held, err = c.people.read(ctx, c.env, out); err != nil {
		return err
	}
	made, err := createRepository(ctx, c.env, c.spec, c.passphraseFile)
	return c.print(made, err)
}

// print shows what was made.
func (c *initCommand) print(made *created, err error) error {
	if err != nil {
		return err
	}
	if c.asJSON {
		return made.writeJSON(c.env.Stdout)
	}
	made.report(c.env.Stdout, "http://"+defaultListen, "bailiwick serve --data "+shellWord(c.spec.data))
	return nil
}

// stockBins is the greatest number of bins whose roles leave most of a stock client's 2 MB for projects.
const stockBins = 4096

// share says how many keys a role has and how many of them must sign.
type share struct{ need, keys int }

// parseThresholds reads ROLE=M/N.
func parseThresholds(flags []string) (map[policy.KeyRole]share, error) {
	shares := map[policy.KeyRole]share{}
	for _, flag := range flags {
		role, text, _ := strings.Cut(flag, "=")
		need, count, ok := strings.Cut(text, "/")
		m, err1 := strconv.Atoi(need)
		n, err2 := strconv.Atoi(count)
		if !ok || err1 != nil || err2 != nil || m < 1 || n < m || n > maxShare {
			return nil, fmt.Errorf("--threshold %q: write it as ROLE=M/N with 1 to %d keys, such as root=2/3", flag, maxShare)
		}
		switch kr := policy.KeyRole(role); kr {
		case policy.KeyRoot, policy.KeyTargets, policy.KeyClaimed, policy.KeyUnclaimed:
			shares[kr] = share{m, n}
		default:
			return nil, fmt.Errorf("--threshold %q: only root, targets, claimed and unclaimed have several keys", flag)
		}
	}
	return shares, nil
}

// maxShare bounds the keys of one role.
const maxShare = 20

// genesisSpec is what a new repository is made from.
type genesisSpec struct {
	data, offline string // folders; offline empty: the default beside data
	signerKeys    string // likewise, for what the isolated signer holds
	bins          int
	shares        map[policy.KeyRole]share
	held          map[policy.KeyRole]held // offline roles whose keys other people hold
	settings      settings
	now           func() time.Time
}
