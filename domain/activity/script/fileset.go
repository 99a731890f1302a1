package script

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Fileset selects files of a directory by globs in which * does not cross '/'.
// No includes means all; excludes win.
type Fileset struct {
	Desc               string
	Includes, Excludes []string
}

// maxGlob bounds one glob, so that the expression made of it stays small.
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
	for _, g := range append(append([]string{}, s.Includes...), s.Excludes...) {
		if _, err := globRegexp(g); err != nil {
			return err
		}
	}
	return nil
}

// Match says whether the set selects a path relative to its directory.
func (s Fileset) Match(path string) bool {
	if anyMatches(s.Excludes, path) {
		return false
	}
	return len(s.Includes) == 0 || anyMatches(s.Includes, path)
}

// Selected says whether any of the sets selects path; no sets select all.
func Selected(sets []Fileset, path string) bool {
	for _, s := range sets {
		if s.Match(path) {
			return true
		}
	}
	return len(sets) == 0
}

func anyMatches(globs []string, path string) bool {
	for _, g := range globs {
		if re, err := globRegexp(g); err == nil && re.MatchString(path) {
			return true
		}
	}
	return false
}

// globRegexp turns a glob into an expression: ** crosses '/', * and ? do not.
func globRegexp(glob string) (*regexp.Regexp, error) {
	if len(glob) > maxGlob {
		return nil, fmt.Errorf("glob of %d bytes, at most %d are taken", len(glob), maxGlob)
	}
	var b strings.Builder
	b.WriteString(`\A`)
	for i := 0; i < len(glob); i++ {
		switch c := glob[i]; {
		case strings.HasPrefix(glob[i:], "**/"):
			b.WriteString(`(?:.*/)?`)
			i += 2
		case strings.HasPrefix(glob[i:], "**"):
			b.WriteString(`.*`)
			i++
		case c == '*':
			b.WriteString(`[^/]*`)
		case c == '?':
			b.WriteString(`[^/]`)
		default:
			b.WriteString(regexp.QuoteMeta(glob[i : i+1]))
		}
	}
	b.WriteString(`\z`)
	re, err := regexp.Compile(b.String())
	if err != nil {
		return nil, fmt.Errorf("glob %q: %w", glob, err)
	}
	return re, nil
}
