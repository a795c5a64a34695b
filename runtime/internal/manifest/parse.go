package manifest

import (
	"encoding/json"
	"fmt"
)

// Parse reads and checks a files.json. The error wraps Err.
func Parse(data []byte) (*Manifest, error) {
	var m Manifest
	if err := json.Unmarshal(data, &m); err != nil {
		// A later format may have changed more than the version number.
		if version, ok := versionOf(data); ok {
			if err := checkVersion(version); err != nil {
				return nil, err
			}
		}
		return nil, fmt.Errorf("%w: %s: %w", Err, FileName, err)
	}
	if err := m.Check(); err != nil {
		return nil, err
	}
	// Of two keys of one name, or of two that differ in case, the last one counts here.
	if head, ok := parseHead(data); ok && (head.ContentHash != m.ContentHash || head.Version != m.Version) {
		return nil, errorf("contentHash or version is there twice")
	}
	return &m, nil
}

// versionOf reads only the version of a files.json.
func versionOf(data []byte) (int, bool) {
	var v struct {
		Version int `json:"version"`
	}
	err := json.Unmarshal(data, &v)
	return v.Version, err == nil
}

// checkVersion refuses formats that this package does not know.
func checkVersion(version int) error {
	if version != 0 && version != Version {
		return fmt.Errorf("%w: %s has version %d; this runtime reads version %d and go-embed-python's: update the runtime, or generate the bundle with the pyembed-gen that belongs to it",
			ErrFormat, FileName, version, Version)
	}
	return nil
}

// Encode gives the bytes of files.json, contentHash first, one entry a line.
func (m *Manifest) Encode() ([]byte, error) {
	head := *m
	head.Files = nil
	out, err := json.Marshal(head)
	if err != nil {
		return nil, err
	}
	out = append(out[:len(out)-len("null}")], "[\n"...)
	for i := range m.Files {
		line, err := json.Marshal(&m.Files[i])
		if err != nil {
			return nil, err
		}
		out = append(out, line...)
		if i < len(m.Files)-1 {
			out = append(out, ',')
		}
		out = append(out, '\n')
	}
	return append(out, "]}\n"...), nil
}
