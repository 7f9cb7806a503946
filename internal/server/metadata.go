package server

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/tuf"
)

const (
	// immutable is for addresses whose content never changes.
	immutable = "public, max-age=31536000, immutable"
	// brief is for what says what is current: caches in front may join requests, not hold answers.
	brief = "public, max-age=1, must-revalidate"
	// absent is for addresses that may exist any moment, above all the next root.
	absent = "no-cache"

	timestampName = "timestamp.json"
)

// metadata serves timestamp.json from memory, and every other file under its versioned name, for
// ever (TUF 1.0, consistent snapshots). A name without a version does not exist.
func (s *Server) metadata(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	view := s.publisher.Current()
	if name == timestampName {
		s.sendJSON(w, r, view.Timestamp(), strconv.FormatInt(view.Number(), 10), brief)
		return
	}
	role, version, ok := parseMetadataName(name)
	if !ok {
		notFound(w, "there is no metadata file of this name")
		return
	}
	data, err := view.Metadata(r.Context(), role, version)
	switch {
	case errors.Is(err, publish.ErrNotFound):
		notFound(w, "there is no such version of this role")
	case err != nil:
		s.fail(w, r, err)
	default:
		s.sendJSON(w, r, data, string(role)+"-"+strconv.FormatInt(version, 10), immutable)
	}
}

// sendJSON sends a metadata file; only its compressed form is worth keeping here.
func (s *Server) sendJSON(w http.ResponseWriter, r *http.Request, data []byte, tag, caching string) {
	page := &rendered{body: data, etag: `"` + tag + `"`}
	if takesGzip(r) && len(data) >= gzipMinimum {
		var err error
		page, err = s.cache.get("metadata "+tag, func() (*rendered, error) { return compressed(data, tag, true) })
		if err != nil {
			s.fail(w, r, err)
			return
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", caching)
	w.Header().Set("Access-Control-Allow-Origin", "*")
	send(w, r, page)
}

// parseMetadataName reads N.ROLE.json; N is written without leading zeros, so that every file has
// one address.
func parseMetadataName(name string) (tuf.RoleName, int64, bool) {
	number, rest, ok := strings.Cut(name, ".")
	stem, isJSON := strings.CutSuffix(rest, ".json")
	if !ok || !isJSON || number == "" || number[0] < '1' || number[0] > '9' {
		return "", 0, false
	}
	version, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return "", 0, false
	}
	role, err := tuf.ParseRoleName(stem)
	if err != nil || role == tuf.RoleTimestamp {
		return "", 0, false
	}
	return role, version, true
}
