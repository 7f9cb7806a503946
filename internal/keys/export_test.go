package keys

import "time"

// Hurry shortens the time that an agent has to answer.
func (o *Opener) Hurry(d time.Duration) {
	for _, s := range o.schemes {
		if a, ok := s.source.(*agents); ok {
			a.listTime = d
		}
	}
}
