package ceremony

import (
	"fmt"

	"example.com/bailiwick/internal/policy"
)

// IsParked reports whether the offline keys of the index sign the project's list in the place of its maintainers.
func (s *Standing) IsParked() bool { return s.Assurance == policy.ClaimedParked }

// ParkedText says what it means that a project is parked, and who can do what about it, in a sentence short enough
// for the reason phrase that upload tools show.
func (s *Standing) ParkedText() string {
	return fmt.Sprintf("%[1]s is parked: nothing is added until its maintainers take it back (bailiwick claim %[1]s) or, their keys lost, operators recover it (bailiwick claim %[1]s --recover)", s.Project)
}
