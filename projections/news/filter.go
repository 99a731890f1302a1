package news

import (
	"errors"
	"fmt"
	"strings"

	"github.com/emet-node/emet/domain/es"
)

// Limits of a filter.
const (
	maxPatterns = 64 // of each kind
	maxPattern  = es.MaxStreamNameSize
)

// Filter says which facts somebody wants. The zero Filter wants all. A fact
// passes when it has one of the types, if any are named, and is in one of the
// streams or categories, if any are named.
type Filter struct {
	Types      []string `json:"types,omitzero"`   // exact, or the beginning of one when it ends in *
	Streams    []string `json:"streams,omitzero"` // likewise
	Categories []string `json:"categories,omitzero"`
	// Identity, if it is not "", leaves out facts of other local identities.
	// Those that the store writes about itself pass.
	Identity string `json:"identity,omitzero"`
}

// Check says what is wrong with a filter.
func (f Filter) Check() error {
	var errs []error
	for _, kind := range []struct {
		name     string
		patterns []string
	}{{"types", f.Types}, {"streams", f.Streams}, {"categories", f.Categories}} {
		if len(kind.patterns) > maxPatterns {
			errs = append(errs, fmt.Errorf("%d %s: at most %d may be named", len(kind.patterns), kind.name, maxPatterns))
			continue
		}
		for _, p := range kind.patterns {
			name, _ := strings.CutSuffix(p, "*")
			switch {
			case p == "":
				errs = append(errs, fmt.Errorf("one of the %s is empty", kind.name))
			case len(p) > maxPattern:
				errs = append(errs, fmt.Errorf("one of the %s is longer than %d bytes", kind.name, maxPattern))
			case strings.Contains(name, "*"):
				errs = append(errs, fmt.Errorf("%s %q: * may only be the last character", kind.name, p))
			case kind.name == "categories" && strings.ContainsAny(p, "-*"):
				errs = append(errs, fmt.Errorf("category %q: a category is the part of a stream's name before the first -", p))
			}
		}
	}
	return errors.Join(errs...)
}

// Store is the part of the filter that the store can apply.
func (f Filter) Store() es.Filter {
	var out es.Filter
	for _, p := range f.Types {
		if begin, any := strings.CutSuffix(p, "*"); any {
			out.TypePrefixes = append(out.TypePrefixes, begin)
		} else {
			out.Types = append(out.Types, p)
		}
	}
	for _, p := range f.Streams {
		if begin, any := strings.CutSuffix(p, "*"); any {
			out.StreamPrefixes = append(out.StreamPrefixes, begin)
		} else {
			out.Streams = append(out.Streams, es.Stream(p))
		}
	}
	for _, c := range f.Categories {
		out.Streams = append(out.Streams, es.Stream(c))
		out.StreamPrefixes = append(out.StreamPrefixes, c+"-")
	}
	return out
}

// Sees is the rest of the filter: whether an item that the store let through
// may be told.
func (f Filter) Sees(i Item) bool {
	return f.Identity == "" || i.Identity == f.Identity || i.Identity == "" && strings.HasPrefix(i.Stream, "$")
}
