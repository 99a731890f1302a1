package ledger

import (
	"errors"
	"fmt"
	"strings"

	"github.com/emet-node/emet/domain/es"
)

// Finding says by what it showed that a log is not the newest copy.
type Finding string

// The findings.
const (
	// Cosigned: somebody cosigned a checkpoint of ours that is longer than this
	// log, or that it does not continue. Only our own signature counts.
	Cosigned Finding = "cosigned"
	// Spent: a chain holds transactions of one of our wallets that this log
	// knows nothing of.
	Spent Finding = "spent"
)

// maxFindings bounds what is written down about one rollback.
const maxFindings = 16

// Standing is whether a node may act on its log: which log it is by name, and
// what was found against it. It is folded from the stream $log.
type Standing struct {
	Revision es.Revision // of $log
	LogID    string      // hex; "" = the log says nothing
	Epoch    int64
	Before   *Predecessor // what it continues
	Findings []Frozen     // since the last reconciliation
}

// Evolve folds one fact of $log.
func (s Standing) Evolve(fact any) Standing {
	switch e := fact.(type) {
	case Opened:
		s.LogID, s.Epoch, s.Before = e.LogID, e.Epoch, e.Predecessor
	case Frozen:
		s.Findings = append(s.Findings[:len(s.Findings):len(s.Findings)], e)
	case Reconciled:
		s.Findings = nil
	}
	return s
}

// New says whether a finding adds anything to those that there are.
func (s Standing) New(f Frozen) bool {
	for _, k := range s.Findings {
		if k.Kind == f.Kind && k.Note == f.Note && k.ChainID == f.ChainID && k.Address == f.Address {
			return false
		}
	}
	return len(s.Findings) < maxFindings
}

// Err is a [*Held] while the node must not act, else nil.
func (s Standing) Err() error {
	if len(s.Findings) == 0 {
		return nil
	}
	return &Held{Findings: s.Findings}
}

// ErrHeld says that a node does not act because its log is not the newest copy.
var ErrHeld = errors.New("this node is frozen: its log was rolled back")

// Held tells why a node does not act, and what to do about it. It is [ErrHeld].
type Held struct{ Findings []Frozen }

func (e *Held) Error() string {
	said := make([]string, len(e.Findings))
	for i, f := range e.Findings {
		said[i] = f.Text()
	}
	return fmt.Sprintf("%s: %s; nothing is signed, paid or agreed on until that is settled: put back the newest copy of the data directory, "+
		"or, if it is lost, stop the node and see: emet store reconcile", ErrHeld, strings.Join(said, "; "))
}

// Is makes errors.Is(err, ErrHeld) true.
func (e *Held) Is(target error) bool { return target == ErrHeld }

// Text says in one sentence what was found.
func (f Frozen) Text() string {
	switch {
	case f.Kind == Spent:
		return fmt.Sprintf("chain %d holds transactions of %s up to nonce %d, and the log knows of those below %d", f.ChainID, f.Address, f.Seen, f.Expected)
	case f.Signed > f.Size:
		return fmt.Sprintf("%s cosigned %d events of this log, signed with its own key, and only %d were here", f.Node, f.Signed, f.Size)
	}
	return fmt.Sprintf("%s cosigned %d events of this log, signed with its own key, and those here are others", f.Node, f.Signed)
}
