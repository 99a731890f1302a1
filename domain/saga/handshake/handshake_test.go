package handshake_test

import (
	"reflect"
	"testing"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/market/agreement"
	"github.com/emet-node/emet/domain/saga/handshake"
)

func TestAnApprovalIsAnsweredWithTheCommit(t *testing.T) {
	t.Parallel()
	r := es.Recorded{Data: agreement.ApprovalReceived{AgreementID: "a", Side: "R"}, Info: es.Meta{Correlation: "a", Identity: "0x1"}}
	r.Stream, r.Position = "agreement-R-a", 7
	got := handshake.Saga.Start().Hear(r)
	if len(got) != 1 || got[0].Category != agreement.Category || got[0].ID != "R-a" || got[0].Meta.Identity != "0x1" {
		t.Fatalf("%+v", got)
	}
	if _, ok := got[0].Command.(agreement.RequestCommit); !ok {
		t.Errorf("%T", got[0].Command)
	}
	if again := handshake.Saga.Start().Hear(r); !reflect.DeepEqual(got, again) {
		t.Errorf("%+v", again)
	}
}
