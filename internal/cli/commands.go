package cli

import "github.com/spf13/cobra"

// commands lists every command of this package, in the order of a first day with Bailiwick. Each owner of a command
// adds its constructor here.
func commands(env *Env) []*cobra.Command {
	return []*cobra.Command{
		newTrust(env),
		newPip(env),
		newUV(env),
		newRun(env),
		newProxy(env),
		newEnv(env),
		newWhy(env),
		newClaim(env),
		newPublish(env),
		newSign(env),
		newTeam(env),
		newRevoke(env),
		newYank(env),
		newUnyank(env),
		newDelete(env),
		newArchive(env),
		newUnarchive(env),
		newInit(env),
		newRootCommand(env),
		newRotate(env),
		newServe(env),
		newSigner(env),
		newStatus(env),
		newRequests(env),
		newRequest(env),
		newSitting(env),
		newRecover(env),
		newRestore(env),
		newAudit(env),
		newToken(env),
		newKeys(env),
		newRenew(env),
		newVersion(env),
	}
}
