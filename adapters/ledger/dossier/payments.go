package dossier

import (
	"bytes"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/ethereum/go-ethereum/trie"

	"github.com/emet-node/emet/adapters/ledger/verify"
	"github.com/emet-node/emet/domain/money"
	"github.com/emet-node/emet/domain/payment/onchain"
	"github.com/emet-node/emet/domain/payment/payment"
)

// readDocuments returns the signed documents of the payments that stand, in order.
func (c *checker) readDocuments() ([]payment.Document, answer) {
	if len(c.deal.payments) == 0 {
		return nil, missing("no payment is shown")
	}
	out := make([]payment.Document, 0, len(c.deal.payments))
	for _, p := range c.deal.payments {
		signed, ok := c.deal.documents[p.id]
		if !ok {
			return nil, missing("the proof of payment %s is not shown", p.id)
		}
		d, err := payment.ParseDocument(signed.canonical)
		if err != nil {
			return nil, disproved("payment %s: %v", p.id, err)
		}
		t := c.deal.terms
		switch who, err := payer(signed); {
		case err != nil || who != string(t.Requestor):
			return nil, disproved("payment %s is not signed by the requestor", p.id)
		case d.PayerID != t.Requestor || d.PayeeID != t.Provider:
			return nil, disproved("payment %s is between other nodes", p.id)
		case d.PaymentID != p.id || !strings.EqualFold(d.TxHash, p.tx):
			return nil, disproved("the proof is of another payment than %s in %s", p.id, p.tx)
		}
		out = append(out, d)
	}
	return out, proved("%d payments are signed by the requestor", len(out))
}

// payer recovers who signed v‖r‖s over the SHA3-256 of a document.
func payer(p signedPayment) (string, error) {
	if len(p.signature) != 65 {
		return "", errSignature
	}
	rsv := append(slices.Clone(p.signature[1:]), p.signature[0])
	who, err := verify.Recover(sha3256(p.canonical), rsv)
	return string(who), err
}

func (c *checker) paymentSigned() answer {
	if c.deal.proposals != 1 {
		return missing("the agreement itself is not shown once")
	}
	_, a := c.documents()
	return a
}

// paymentAmount adds up what the payments are for.
func (c *checker) paymentAmount() answer {
	if c.deal.proposals != 1 {
		return missing("the agreement itself is not shown once")
	}
	documents, a := c.documents()
	if a.verdict != Proved {
		return missing("the payments are not proved")
	}
	owed, all := c.deal.owed()
	if !all {
		return missing("not all that is due was accepted")
	}
	var sum money.Amount
	for _, d := range documents {
		for _, s := range d.Shares {
			if s.AgreementID == c.Agreement || c.deal.worked(s.ActivityID) {
				sum = sum.Add(s.Amount)
			}
		}
	}
	if sum.Less(owed) {
		return missing("%s of %s is paid", sum, owed)
	}
	return proved("%s is paid for this agreement, %s was accepted", sum, owed)
}

// worked says whether a bill names an activity.
func (d deal) worked(activity string) bool {
	return activity != "" && (slices.ContainsFunc(d.notes, func(n document) bool { return n.activity == activity }) ||
		slices.ContainsFunc(d.invoices, func(i document) bool { return slices.Contains(i.activities, activity) }))
}

// paymentChain looks for each payment in a block.
func (c *checker) paymentChain() answer {
	if c.deal.proposals != 1 {
		return missing("the agreement itself is not shown once")
	}
	documents, a := c.documents()
	if a.verdict != Proved {
		return missing("the payments are not proved")
	}
	found := make([]mined, len(c.Payments))
	for i, p := range c.Payments {
		var err error
		if found[i], err = mine(p); err != nil {
			return disproved("transfer %d: %v", i, err)
		}
		if len(c.trust.Blocks) > 0 && !slices.Contains(c.trust.Blocks, found[i].block) {
			return disproved("transfer %d is in block %x, which is none of those named", i, found[i].block)
		}
	}
	var where []string
	for _, d := range documents {
		i := slices.IndexFunc(found, func(m mined) bool { return fmt.Sprintf("0x%x", m.tx) == d.TxHash })
		if i < 0 {
			return missing("transaction %s is not shown", d.TxHash)
		}
		if a := found[i].pays(d); a.verdict != Proved {
			return a
		}
		where = append(where, fmt.Sprintf("block %s (0x%x) of chain %d", found[i].number, found[i].block, found[i].chain))
	}
	return proved("paid in %s; that the block is in the chain is for you to look up", strings.Join(slices.Compact(where), ", "))
}

// mined is a transaction in a block, with what its receipt says.
type mined struct {
	chain   uint64
	block   [32]byte
	number  *big.Int
	tx      [32]byte
	receipt types.Receipt
}

// The fields of a block's header that are read.
const (
	headerTransactions = 4
	headerReceipts     = 5
	headerNumber       = 8
	headerTime         = 11
	headerFields       = 15 // at least
)

var errHeader = errors.New("the block's header is malformed")

// mine checks that header, tries and index belong together.
func mine(t Transfer) (m mined, err error) {
	var fields []rlp.RawValue
	if err := rlp.DecodeBytes(t.Header, &fields); err != nil || len(fields) < headerFields {
		return m, errors.Join(errHeader, err)
	}
	m.chain, m.block, m.number = t.Chain, crypto.Keccak256Hash(t.Header), new(big.Int)
	var transactions, receipts [32]byte
	err = errors.Join(rlp.DecodeBytes(fields[headerTransactions], &transactions), rlp.DecodeBytes(fields[headerReceipts], &receipts),
		rlp.DecodeBytes(fields[headerNumber], m.number))
	if err != nil {
		return m, errors.Join(errHeader, err)
	}
	tx, err := entry(transactions, t.Index, t.Transaction)
	if err != nil {
		return m, fmt.Errorf("transaction: %w", err)
	}
	receipt, err := entry(receipts, t.Index, t.Receipt)
	if err != nil {
		return m, fmt.Errorf("receipt: %w", err)
	}
	m.tx = crypto.Keccak256Hash(tx)
	return m, m.receipt.UnmarshalBinary(receipt)
}

// entry is the value of RLP(index) in a trie of which the nodes to it are given.
func entry(root common.Hash, index uint64, nodes [][]byte) ([]byte, error) {
	db := &path{nodes: nodes}
	v, err := trie.VerifyProof(root, rlp.AppendUint64(nil, index), db)
	switch {
	case err != nil:
		return nil, err
	case v == nil:
		return nil, errors.New("there is no such entry in the block")
	case len(db.nodes) > 0:
		return nil, errors.New("there are more nodes than the way needs")
	}
	return v, nil
}

// path hands out the nodes of a trie in the order in which they are given.
type path struct{ nodes [][]byte }

var errPath = errors.New("a node is not on the way")

// Has implements ethdb.KeyValueReader.
func (p *path) Has(hash []byte) (bool, error) {
	return len(p.nodes) > 0 && bytes.Equal(crypto.Keccak256(p.nodes[0]), hash), nil
}

// Get implements ethdb.KeyValueReader.
func (p *path) Get(hash []byte) ([]byte, error) {
	if ok, _ := p.Has(hash); !ok {
		return nil, errPath
	}
	n := p.nodes[0]
	p.nodes = p.nodes[1:]
	return n, nil
}

// pays says whether the transaction did what a document says.
func (m mined) pays(d payment.Document) answer {
	p, err := onchain.ParsePlatform(string(d.Platform))
	switch {
	case err != nil:
		return missing("the token of %s is not known", d.Platform)
	case p.ChainID != m.chain:
		return disproved("%s is not on chain %d", d.Platform, m.chain)
	case m.receipt.Status != types.ReceiptStatusSuccessful:
		return disproved("transaction %s failed", d.TxHash)
	}
	payer, err1 := onchain.ParseAddress(d.PayerAddr)
	payee, err2 := onchain.ParseAddress(d.PayeeAddr)
	if err := errors.Join(err1, err2); err != nil {
		return disproved("%v", err)
	}
	direct, any := m.moved(p, payer, payee)
	switch want := d.Amount.Wei(); {
	case direct.Cmp(want) >= 0:
		return proved("")
	case any.Cmp(want) >= 0:
		return missing("transaction %s pays the payee, through a contract that is not looked into", d.TxHash)
	}
	return disproved("transaction %s does not move %s from %s to %s", d.TxHash, d.Amount, d.PayerAddr, d.PayeeAddr)
}

// moved is how much of the token came to payee, from payer and from anybody.
func (m mined) moved(p onchain.Profile, payer, payee onchain.Address) (direct, all *big.Int) {
	direct, all = new(big.Int), new(big.Int)
	r := onchain.Receipt{Succeeded: true, TxHash: m.tx}
	for _, l := range m.receipt.Logs {
		log := onchain.Log{Address: onchain.Address(l.Address), Data: l.Data}
		for _, t := range l.Topics {
			log.Topics = append(log.Topics, onchain.Hash(t))
		}
		r.Logs = append(r.Logs, log)
	}
	for _, t := range onchain.Transfers(p, r) {
		if t.To != payee {
			continue
		}
		all.Add(all, t.Amount)
		if t.From == payer {
			direct.Add(direct, t.Amount)
		}
	}
	return direct, all
}
