package tuf

// UnverifiedDelegations gives tests the delegations of a file that nobody signed.
func UnverifiedDelegations(u *Unverified[Targets]) *Delegations { return u.value.delegations }
