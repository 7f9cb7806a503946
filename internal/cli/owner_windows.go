package cli

// checkOwner: folders of other users are not writable for everybody on Windows.
func checkOwner(string, string) error { return nil }
