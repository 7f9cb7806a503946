package index

// MaySign reports whether the actor may connect as the isolated signer of the index. That decides who is
// listened to; what a signature is worth, its key decides.
func (a Actor) MaySign() bool { return a.id != "" && a.right == RightSigner }
