package dev_test

import (
	"bytes"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/ethdb/memorydb"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/ethereum/go-ethereum/trie"

	"github.com/emet-node/emet/adapters/chain/dev"
	"github.com/emet-node/emet/domain/payment/onchain"
)

// A transaction of a real block is proved by the block's header alone, also
// when there are others in it; one that is in no block is not.
func TestATransactionIsProvedByItsHeader(t *testing.T) {
	t.Parallel()
	s := start(t, dev.Config{Networks: []string{"hoodi"}})
	c := client(t, "hoodi", s.URL("hoodi"))
	to := onchain.MustAddress("0x00000000000000000000000000000000000000aa")
	if err := s.Fund(t.Context(), "hoodi", to); err != nil {
		t.Fatal(err)
	}
	head, err := c.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	found, err := c.Logs(t.Context(), onchain.LogQuery{
		Address: profile(t, "hoodi").Token, To: head.Number, Topics: []onchain.Hash{onchain.TransferTopic(), {}, onchain.AddressTopic(to)},
	})
	if err != nil || len(found) == 0 {
		t.Fatalf("%d transfers: %v", len(found), err)
	}
	i, err := c.Inclusion(t.Context(), found[0].Tx)
	if err != nil {
		t.Fatal(err)
	}
	var h types.Header
	if err := rlp.DecodeBytes(i.Header, &h); err != nil || onchain.Hash(h.Hash()) != found[0].Block || i.ChainID != 560048 {
		t.Fatalf("the header is of %s, chain %d: %v", h.Hash(), i.ChainID, err)
	}
	raw := entry(t, h.TxHash, i.Index, i.Transaction)
	if onchain.Hash(crypto.Keccak256Hash(raw)) != found[0].Tx {
		t.Error("it is another transaction")
	}
	var r types.Receipt
	if err := r.UnmarshalBinary(entry(t, h.ReceiptHash, i.Index, i.Receipt)); err != nil || len(r.Logs) == 0 || !bytes.Equal(r.Logs[0].Data, found[0].Log.Data) {
		t.Errorf("%+v %v", r, err)
	}
	if none, err := c.Inclusion(t.Context(), onchain.Hash{1}); none != nil || err != nil {
		t.Errorf("a transaction of no block: %+v %v", none, err)
	}
}

func entry(t *testing.T, root common.Hash, index uint64, nodes [][]byte) []byte {
	t.Helper()
	db := memorydb.New()
	for _, n := range nodes {
		if err := db.Put(crypto.Keccak256(n), n); err != nil {
			t.Fatal(err)
		}
	}
	v, err := trie.VerifyProof(root, rlp.AppendUint64(nil, index), db)
	if err != nil || v == nil {
		t.Fatalf("the proof does not hold: %v", err)
	}
	return v
}
