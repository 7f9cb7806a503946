package ceremony

import (
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/tuf"
)

// status checks what the project's role says of the project as a whole, and notes it for files. Only a
// release changes it.
func (j *judge) status() error {
	project := j.drafts[j.role]
	if project == nil {
		project = j.s.Base
	}
	if project == nil {
		return nil
	}
	var err error
	if j.mark, err = policy.StatusOf(project); err != nil {
		return refuse(Malformed, j.role, "the member %q can not be used: %v", policy.StatusMember, err)
	}
	if j.r.Kind != Release && j.mark != statusOf(j.s.Base) {
		return refuse(Altered, j.role, "a %s does not archive a project, nor take that back; make it a release", j.r.Kind)
	}
	return nil
}

// noFilesWhenArchived refuses new files of a project that is archived afterwards, too.
func (j *judge) noFilesWhenArchived() error {
	if n := len(j.out.Added); n > 0 && j.mark.IsArchived() {
		return refuse(Archived, j.role, "%s is archived%s, and takes no more files; its maintainers run bailiwick unarchive %s first", j.s.Project, because(j.mark), j.s.Project)
	}
	return nil
}

// statusOf is the status that a role states, active if it can not be read.
func statusOf(t *tuf.Targets) policy.Status {
	if t == nil {
		return policy.Status{}
	}
	s, err := policy.StatusOf(t)
	if err != nil {
		return policy.Status{}
	}
	return s
}

func because(s policy.Status) string {
	if s.Reason == "" {
		return ""
	}
	return " (" + s.Reason + ")"
}

func describeStatus(base, next *tuf.Targets) []Line {
	old, now := statusOf(base), statusOf(next)
	switch {
	case old == now:
		return nil
	case now.IsArchived():
		return []Line{{'~', "the project is archived" + because(now)}}
	}
	return []Line{{'~', "the project is no longer archived"}}
}
