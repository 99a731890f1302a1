package gsb_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/emet-node/emet/api/gsb"
	"github.com/emet-node/emet/api/gsb/client"
)

// A node that is started again has forgotten the files of its clients. A patient
// client publishes its own again, under the same name; a file that was being
// received is told to be interrupted.
func TestAFileIsPublishedAgain(t *testing.T) {
	t.Parallel()
	b, node := serve(t)
	c := &client.Client{URL: node.URL, Patience: patience}
	content := []byte("what a requestor serves")
	out, err := c.Publish(t.Context(), bytes.NewReader(content), int64(len(content)))
	if err != nil {
		t.Fatal(err)
	}
	in, err := c.Receive(t.Context(), &bytes.Buffer{})
	if err != nil {
		t.Fatal(err)
	}
	name := out.URL[strings.LastIndexByte(out.URL, '/')+1:]
	_ = b.Close()
	if err := in.Err(); !errors.Is(err, client.ErrInterrupted) {
		t.Errorf("the file that came in: %v", err)
	}
	readable(t, b, name, content)

	// Only the connection is lost: the name is bound still.
	_ = dial(t, node, gsb.ID("/public/gftp/"+name)).Close()
	readable(t, b, name, content)
	if err := out.Close(); err != nil {
		t.Error(err)
	}
	if _, err := b.GetMetadata(t.Context(), me, name); !errors.Is(err, gsb.ErrNoService) {
		t.Errorf("after the end: %v", err)
	}
}

// readable waits until a file can be read.
func readable(t *testing.T, b *gsb.Bridge, name string, content []byte) {
	t.Helper()
	var got []byte
	err := errors.New("never asked")
	for begun := time.Now(); err != nil && time.Since(begun) < patience; time.Sleep(10 * time.Millisecond) {
		got, err = b.GetChunk(t.Context(), me, name, 0, 1000)
	}
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("%q, %v", got, err)
	}
}

// An impatient client has lost its file.
func TestAFileOfAnImpatientClientIsGone(t *testing.T) {
	t.Parallel()
	b, node := serve(t)
	out, err := (&client.Client{URL: node.URL}).Publish(t.Context(), strings.NewReader("x"), 1)
	if err != nil {
		t.Fatal(err)
	}
	_ = b.Close()
	if err := out.Err(); !errors.Is(err, client.ErrInterrupted) {
		t.Error(err)
	}
	_ = out.Close()
}
