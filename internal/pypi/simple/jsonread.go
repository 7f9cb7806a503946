package simple

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// members reads the JSON object data: each member named in want is decoded
// into the pointer given there, the others are passed over. encoding/json
// alone would match names without regard to case and take the last of two
// members with one name, so that two readers could see two pages.
func members(data []byte, want map[string]any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	if err := open(d, '{'); err != nil {
		return err
	}
	seen := make(map[string]bool, len(want))
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return err
		}
		name, ok := token.(string)
		if !ok {
			return fmt.Errorf("found %v where a member name must stand", token)
		}
		if seen[name] {
			return fmt.Errorf("member %.80q is there twice", name)
		}
		seen[name] = true
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return fmt.Errorf("member %.80q: %w", name, err)
		}
		if target, ok := want[name]; ok {
			if err := json.Unmarshal(value, target); err != nil {
				return fmt.Errorf("member %.80q: %w", name, err)
			}
		}
	}
	return finish(d)
}

// elements reads the JSON array data, of at most limit elements.
func elements(data []byte, limit int, each func(json.RawMessage) error) error {
	d := json.NewDecoder(bytes.NewReader(data))
	if err := open(d, '['); err != nil {
		return err
	}
	for n := 0; d.More(); n++ {
		if n == limit {
			return fmt.Errorf("there are more than %d elements", limit)
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return err
		}
		if err := each(value); err != nil {
			return err
		}
	}
	return finish(d)
}

func open(d *json.Decoder, delim json.Delim) error {
	token, err := d.Token()
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	if err != nil {
		return err
	}
	if token != delim {
		return fmt.Errorf("found %v where %v must stand", token, delim)
	}
	return nil
}

// finish reads the closing delimiter and refuses anything after it.
func finish(d *json.Decoder) error {
	if _, err := d.Token(); err != nil {
		return err
	}
	if token, err := d.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("found %v after the end", token)
	}
	return nil
}
