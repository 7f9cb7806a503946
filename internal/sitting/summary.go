package sitting

// Exception is something in a request at which a person should look before signing.
type Exception struct {
	Subject string // a project or a role
	Text    string // what is unusual, in a few words
	Weight  int    // higher comes first
}

// How much it matters that people look.
const (
	weightRecovered = 90
	weightKeys      = 80
	weightRekeyed   = 70
	weightLife      = 60
	weightParked    = 50
	weightShared    = 40
	weightPopular   = 30
	weightFresh     = 20
)

func weightOf(k ChangeKind) int {
	switch k { //nolint:exhaustive // the others are told elsewhere
	case Recovered:
		return weightRecovered
	case Rekeyed:
		return weightRekeyed
	case Parked:
		return weightParked
	}
	return weightKeys
}
