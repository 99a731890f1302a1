package dossier

import (
	"testing"

	"github.com/emet-node/emet/domain/es"
)

// A script is withheld in whichever version its fact was written.
func TestScriptsOfAllVersionsAreWithheld(t *testing.T) {
	t.Parallel()
	hides := func(kind, typ, data string) bool {
		found, err := redactions([]string{kind})
		if err != nil {
			t.Fatal(err)
		}
		return (&builder{hide: found}).hidden(es.Recorded{Event: es.Event{NewEvent: es.NewEvent{Type: typ, Data: []byte(data)}}}, hideData)
	}
	script, plain := `{"script":"[{\"run\":{\"env\":{\"A\":\"secret\"}}}]"}`, `{"script":"[{\"run\":{}}]"}`
	for _, typ := range []string{"batch.exec_requested.v1", "batch.exec_requested.v2"} {
		if !hides("commands", typ, plain) || !hides("env", typ, script) || hides("env", typ, plain) || hides("transfers", typ, script) {
			t.Errorf("%s: commands %v, env %v, env without one %v", typ, hides("commands", typ, plain), hides("env", typ, script), hides("env", typ, plain))
		}
	}
	if hides("commands", "batch.closed.v1", plain) {
		t.Error("what is no script is withheld")
	}
}
