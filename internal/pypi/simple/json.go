package simple

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
)

type jsonMeta struct {
	APIVersion string `json:"api-version"`
}

type jsonPage struct {
	Meta     jsonMeta    `json:"meta"`
	Name     string      `json:"name"`
	Versions []string    `json:"versions"`
	Files    []jsonFile  `json:"files"`
	Status   *jsonStatus `json:"project-status,omitempty"`
}

// jsonStatus stands beside "meta", where the text of PEP 792 puts it; its example has it inside.
type jsonStatus struct {
	Status string `json:"status"`
	Reason string `json:"reason,omitempty"`
}

type jsonFile struct {
	Filename       string       `json:"filename"`
	URL            string       `json:"url"`
	Hashes         jsonHashes   `json:"hashes"`
	RequiresPython string       `json:"requires-python,omitempty"`
	Size           int64        `json:"size"`
	UploadTime     string       `json:"upload-time,omitempty"`
	CoreMetadata   jsonMetadata `json:"core-metadata"`
	DistInfo       jsonMetadata `json:"data-dist-info-metadata"` // not in the standard; PDM's finder reads it
	Yanked         jsonYanked   `json:"yanked"`
}

type jsonHashes struct {
	SHA256 string `json:"sha256"`
}

// jsonMetadata is false, or the hashes of the metadata file.
type jsonMetadata struct {
	sum *[32]byte
}

// MarshalJSON returns false or an object with the hash.
func (m jsonMetadata) MarshalJSON() ([]byte, error) {
	if m.sum == nil {
		return []byte("false"), nil
	}
	return []byte(`{"sha256":"` + hex.EncodeToString(m.sum[:]) + `"}`), nil
}

// jsonYanked is false, true or the reason.
type jsonYanked struct {
	reason *string
}

// MarshalJSON returns false, true or the reason: the standard has no empty reason.
func (y jsonYanked) MarshalJSON() ([]byte, error) {
	switch {
	case y.reason == nil:
		return []byte("false"), nil
	case *y.reason == "":
		return []byte("true"), nil
	}
	return marshal(*y.reason), nil
}

// JSON renders the page in the JSON form, version 1.4.
func (p *Page) JSON() []byte {
	page := jsonPage{
		Meta:     jsonMeta{APIVersion},
		Name:     p.Name,
		Versions: p.AllVersions(),
		Files:    make([]jsonFile, 0, len(p.Files)),
	}
	if p.Status != "" {
		page.Status = &jsonStatus{p.Status, p.StatusReason}
	}
	for _, f := range p.sortedFiles() {
		out := jsonFile{
			Filename:       f.Filename,
			URL:            f.URL,
			Hashes:         jsonHashes{hex.EncodeToString(f.SHA256[:])},
			RequiresPython: f.RequiresPython,
			Size:           f.Size,
			CoreMetadata:   jsonMetadata{f.MetadataSHA256},
			DistInfo:       jsonMetadata{f.MetadataSHA256},
			Yanked:         jsonYanked{f.Yanked},
		}
		if !f.UploadTime.IsZero() {
			out.UploadTime = uploadTime(f.UploadTime)
		}
		page.Files = append(page.Files, out)
	}
	return marshal(page)
}

// marshal encodes v without the escapes for HTML, so that a specifier reads as
// it was written. Its callers pass plain data only, which always encodes.
func marshal(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
