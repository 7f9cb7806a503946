package proxy

import (
	"fmt"

	"github.com/pelletier/go-toml/v2"
)

// source is an index in a project's own files, under whatever name the tool calls its members.
type source struct {
	Name    string `toml:"name"`
	URL     string `toml:"url"`
	Default bool   `toml:"default"`
}

// projectFile is what matters here of pyproject.toml, uv.toml and Pipfile.
type projectFile struct {
	Tool struct {
		UV     uvSettings `toml:"uv"`
		PDM    sources    `toml:"pdm"`
		Poetry sources    `toml:"poetry"`
	} `toml:"tool"`
	uvSettings // uv.toml
	sources    // Pipfile
}

type uvSettings struct {
	Index         []source `toml:"index"`
	IndexURL      string   `toml:"index-url"`
	ExtraIndexURL []string `toml:"extra-index-url"`
}

type sources struct {
	Source []source `toml:"source"`
}

// project looks for indexes in the project files of the working folder. They are told, not refused:
// the variables set for the tool may win over them, and where they do not, the guard refuses what
// they lead to.
func (w *walk) project() {
	const pyproject = "pyproject.toml"
	switch w.tool {
	case UV:
		w.uvIndexes(pyproject, w.decodeProject(pyproject).Tool.UV)
		w.uvIndexes("uv.toml", w.decodeProject("uv.toml").uvSettings)
	case PDM:
		w.indexes(pyproject, w.decodeProject(pyproject).Tool.PDM.Source)
	case Poetry:
		w.indexes(pyproject, w.decodeProject(pyproject).Tool.Poetry.Source)
	case Pipenv:
		w.indexes("Pipfile", w.decodeProject("Pipfile").Source)
	case Pip: // reads no such file
	}
}

// decodeProject reads a project file as far as it can be read: the tool says what is wrong with it.
func (w *walk) decodeProject(name string) projectFile {
	var p projectFile
	if w.Read == nil {
		return p
	}
	data, err := w.Read(name)
	if err != nil {
		return p
	}
	if toml.Unmarshal(data, &p) != nil {
		return projectFile{}
	}
	return p
}

func (w *walk) uvIndexes(where string, s uvSettings) {
	w.indexes(where, s.Index)
	for _, url := range append([]string{s.IndexURL}, s.ExtraIndexURL...) {
		if url != "" {
			w.indexes(where, []source{{URL: url}})
		}
	}
}

func (w *walk) indexes(where string, found []source) {
	for i, s := range found {
		if i == maxTold {
			w.add(false, where, fmt.Sprintf("and %d more", len(found)-i), "are indexes of their own")
			return
		}
		name := s.Name
		if name == "" {
			name = "an index"
		}
		w.add(false, where, name+" ("+withoutUser(s.URL)+")", "is an index of its own: what is asked of it is refused")
	}
}

// maxTold bounds the sources of one file that are told one by one.
const maxTold = 5
