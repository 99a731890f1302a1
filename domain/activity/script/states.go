package script

import "fmt"

// State is where an activity stands, spelled as the protocol does.
type State string

// The states. Unresponsive is said by a daemon about its exe-unit, never by
// the exe-unit.
const (
	New          State = "New"
	Initialized  State = "Initialized"
	Deployed     State = "Deployed"
	Ready        State = "Ready"
	Terminated   State = "Terminated"
	Unresponsive State = "Unresponsive"
)

// Pair is the present state and the one being reached, "" when there is none.
type Pair struct{ Current, Pending State }

// Alive says whether neither element is Terminated.
func (p Pair) Alive() bool { return p.Current != Terminated && p.Pending != Terminated }

func (p Pair) String() string {
	if p.Pending == "" {
		return fmt.Sprintf("StatePair(%s, None)", p.Current)
	}
	return fmt.Sprintf("StatePair(%s, Some(%s))", p.Current, p.Pending)
}

// StateError says that a command is not allowed now. Its text is the one that
// clients know.
type StateError struct {
	At   Pair
	Text string
}

func (e *StateError) Error() string { return "Local service error: State error: " + e.Text }

// Begin is the pair while c runs, or a [*StateError]. Terminate and Sign are
// allowed at any time; of the others one runs at a time.
func (p Pair) Begin(c Command) (Pair, error) {
	switch c.(type) {
	case Terminate, Sign:
		return p, nil
	}
	if p.Pending != "" && p.Pending != Terminated {
		return p, &StateError{p, "Busy: " + p.String()}
	}
	if !p.Alive() {
		return p, p.refuse(Terminated)
	}
	_, isDeploy := c.(Deploy)
	_, isStart := c.(Start)
	switch p.Current {
	case Initialized:
		if !isDeploy {
			return p, &StateError{p, "Activity is initialized - deploy() command is expected now"}
		}
		return Pair{Initialized, Deployed}, nil
	case Deployed:
		if !isStart {
			return p, &StateError{p, "Activity is deployed - start() command is expected now"}
		}
		return Pair{Deployed, Ready}, nil
	case Ready:
		if isDeploy || isStart {
			return p, &StateError{p, "Cannot send command after a successful start()"}
		}
		return Pair{Ready, Ready}, nil
	}
	return p, p.refuse(p.Current)
}

func (p Pair) refuse(s State) error {
	return &StateError{p, fmt.Sprintf("This command is not allowed when activity is in the %s state", s)}
}

// End is the pair after a command that began as p ended. A failed deploy or
// start leaves the state where it was, so that it can be tried again.
func (p Pair) End(c Command, ok bool) Pair {
	switch c.(type) {
	case Terminate:
		return Pair{Current: Initialized}
	case Sign:
		return p
	}
	if !ok {
		return Pair{Current: p.Current}
	}
	return Pair{Current: p.Pending}
}

// ExitMessage is the message of a command whose guest returned code.
func ExitMessage(code int) string { return fmt.Sprintf("ExeScript command exited with code %d", code) }
