package net

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/peer"
)

// Errors of the codec.
var (
	ErrUnknownKind = errors.New("message kind is not known to this build")
	ErrTooLarge    = errors.New("message is too large")
)

// readers make a message of its JSON, by kind.
var readers = table(
	of[peer.Hello], of[peer.Ack],
	of[peer.Offers], of[peer.OffersAnnounced], of[peer.GetOffers], of[peer.ListOffers],
	of[peer.ProposalOpened], of[peer.ProposalCountered], of[peer.ProposalRejected],
	of[peer.AgreementProposed], of[peer.AgreementApproved], of[peer.AgreementCommitted],
	of[peer.AgreementRejected], of[peer.AgreementCancelled], of[peer.AgreementTerminated],
	of[peer.CreateActivity], of[peer.ActivityCreated], of[peer.DestroyActivity],
	of[peer.GetActivityState], of[peer.ActivityState], of[peer.GetActivityUsage], of[peer.ActivityUsage],
	of[peer.Exec], of[peer.FollowBatch], of[peer.BatchEvent],
	of[peer.FileMetadata], of[peer.FileMetadataIs], of[peer.FileChunk], of[peer.FileChunkIs],
	of[peer.FileUpload], of[peer.FileUploadFinished],
	of[peer.DebitNote], of[peer.Invoice], of[peer.DebitNoteAccepted], of[peer.InvoiceAccepted],
	of[peer.DebitNoteRejected], of[peer.InvoiceRejected], of[peer.InvoiceCancelled],
	of[peer.PaymentSent], of[peer.PaymentSyncNeeded],
	of[peer.CosignCheckpoint], of[peer.CheckpointCosigned], of[peer.CheckpointKnown], of[peer.AskCheckpoint],
)

type reader func(body []byte) (peer.Message, error)

func of[M peer.Message]() (string, reader) {
	var zero M
	return zero.Kind(), func(body []byte) (peer.Message, error) {
		var m M
		err := json.Unmarshal(body, &m)
		return m, err
	}
}

func table(entries ...func() (string, reader)) map[string]reader {
	t := make(map[string]reader, len(entries))
	for _, e := range entries {
		kind, read := e()
		if _, twice := t[kind]; twice {
			panic("net: two messages are of kind " + kind)
		}
		t[kind] = read
	}
	return t
}

// Kinds are all message kinds, sorted.
func Kinds() []string { return slices.Sorted(maps.Keys(readers)) }

// Encode returns the canonical JSON of a message. One that its kind does not
// allow to be that large is refused with [ErrTooLarge].
func Encode(m peer.Message) ([]byte, error) {
	body, err := es.CanonicalJSON(m)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", m.Kind(), err)
	}
	if most := MaxBytes(m.Kind()); len(body) > most {
		return nil, fmt.Errorf("%s has %d bytes, at most %d: %w", m.Kind(), len(body), most, ErrTooLarge)
	}
	return body, nil
}

// Decode reads a message. Fields it does not know are passed over.
func Decode(kind string, body []byte) (peer.Message, error) {
	read, ok := readers[kind]
	if !ok {
		return nil, fmt.Errorf("%.64q: %w", kind, ErrUnknownKind)
	}
	if most := MaxBytes(kind); len(body) > most {
		return nil, fmt.Errorf("%s has %d bytes, at most %d: %w", kind, len(body), most, ErrTooLarge)
	}
	m, err := read(body)
	if err != nil {
		return nil, fmt.Errorf("decode %s: %w", kind, err)
	}
	return m, nil
}

// Service is the part of a kind before the first dot.
func Service(kind string) string { s, _, _ := strings.Cut(kind, "."); return s }

// MaxGossip is the most that one announcement weighs on the wire.
const MaxGossip = 16 << 10

// MaxBytes is the most that the body of a message of this kind may weigh.
func MaxBytes(kind string) int {
	switch {
	case kind == peer.Offers{}.Kind():
		return 1 << 20
	case Service(kind) == "activity", Service(kind) == "file":
		return 1 << 20
	case Service(kind) == "market":
		return 128 << 10
	}
	return 64 << 10
}

// MaxOf is the most that any message of a service or its answers may weigh.
func MaxOf(service string) int {
	if service == "market" || service == "activity" || service == "file" {
		return 1 << 20
	}
	return 64 << 10
}

// asks says whether a kind only reads: doing it twice needs no care.
func asks(kind string) bool {
	switch kind {
	case peer.GetOffers{}.Kind(), peer.ListOffers{}.Kind(), peer.OffersAnnounced{}.Kind(), peer.FollowBatch{}.Kind(),
		peer.GetActivityState{}.Kind(), peer.GetActivityUsage{}.Kind(), peer.FileMetadata{}.Kind(), peer.FileChunk{}.Kind(),
		peer.Hello{}.Kind():
		return true
	}
	return false
}
