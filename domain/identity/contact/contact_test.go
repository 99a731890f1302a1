package contact_test

import (
	"testing"

	"github.com/emet-node/emet/domain/es/estest"
	"github.com/emet-node/emet/domain/identity/contact"
	"github.com/emet-node/emet/domain/peer"
)

var (
	met      = contact.Met{Delegations: []peer.Delegation{{Document: "one"}}, Node: "0xa"}
	cosigned = contact.CheckpointCosigned{By: "0xb", Node: "0xa", Origin: "log", Root: "r5", Size: 5}
	fork     = contact.ConflictFound{First: "a", Kind: contact.Forked, Node: "0xa", Second: "b"}
)

func TestADelegationIsKeptOnce(t *testing.T) {
	t.Parallel()
	meet := func(documents ...string) contact.Meet {
		m := contact.Meet{Node: "0xa"}
		for _, d := range documents {
			m.Delegations = append(m.Delegations, peer.Delegation{Document: d})
		}
		return m
	}
	estest.For(contact.Rules).Given().When(meet("one")).Then(t, met)
	estest.For(contact.Rules).Given(met).When(meet("one")).Then(t)
	estest.For(contact.Rules).Given(met).When(meet("one", "two")).Then(t, contact.Met{Delegations: []peer.Delegation{{Document: "two"}}, Node: "0xa"})
}

func TestOnlyMoreOfALogIsCosigned(t *testing.T) {
	t.Parallel()
	more, same, other, less := cosigned, cosigned, cosigned, cosigned
	more.Size, more.Root, other.Root, less.Size = 9, "r9", "x", 4
	estest.For(contact.Rules).Given(cosigned).When(contact.Cosign{Fact: more}).Then(t, more)
	estest.For(contact.Rules).Given(cosigned).When(contact.Cosign{Fact: same}).Then(t)
	estest.For(contact.Rules).Given(cosigned).When(contact.Cosign{Fact: other}).Refused(t, contact.ErrStale)
	estest.For(contact.Rules).Given(cosigned).When(contact.Cosign{Fact: less}).Refused(t, contact.ErrStale)
}

func TestAConflictIsToldOnce(t *testing.T) {
	t.Parallel()
	estest.For(contact.Rules).Given().When(contact.Report{Fact: fork}).Then(t, fork)
	estest.For(contact.Rules).Given(fork).When(contact.Report{Fact: fork}).Then(t)
}
