package script

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Fileset is the wish to move those files of a directory that globs select. It
// is read, so that an exe-unit that moves single files can refuse it by name.
type Fileset struct {
	Desc               string
	Includes, Excludes []string
}

// maxGlob bounds one glob, in bytes.
const maxGlob = 1024

func filesets(f fields, into *[]Fileset) error {
	raw := strings.TrimSpace(string(f["fileset"]))
	if raw == "" || raw == "null" {
		return nil
	}
	list := []json.RawMessage{json.RawMessage(raw)}
	if raw[0] == '[' {
		if err := f.opt("fileset", &list); err != nil {
			return err
		}
	}
	for _, item := range list {
		s, err := fileset(item)
		if err != nil {
			return fmt.Errorf("fileset: %w", err)
		}
		*into = append(*into, s)
	}
	return nil
}

func fileset(raw json.RawMessage) (Fileset, error) {
	var glob string
	if json.Unmarshal(raw, &glob) == nil {
		s := Fileset{Includes: []string{glob}}
		return s, s.check()
	}
	f, err := object(raw)
	if err != nil {
		return Fileset{}, errors.New("want a glob or an object with includes and excludes")
	}
	var s Fileset
	err = errors.Join(f.opt("desc", &s.Desc), globs(f, "includes", &s.Includes), globs(f, "excludes", &s.Excludes))
	if err == nil {
		err = s.check()
	}
	return s, err
}

func globs(f fields, name string, into *[]string) error {
	var one string
	if f.opt(name, &one) == nil {
		if one != "" {
			*into = []string{one}
		}
		return nil
	}
	return f.opt(name, into)
}

func (s Fileset) check() error {
	for _, g := range slices.Concat(s.Includes, s.Excludes) {
		if len(g) > maxGlob {
			return fmt.Errorf("glob of %d bytes, at most %d are taken", len(g), maxGlob)
		}
	}
	return nil
}
