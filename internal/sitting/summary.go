package sitting

// Exception is something in a request at which a person should look before signing.
type Exception struct {
	Subject string // a project or a role
	Text    string // what is unusual, in a few words
	Weight  int    // higher comes first
}
