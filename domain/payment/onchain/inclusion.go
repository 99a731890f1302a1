package onchain

// Inclusion proves what became of a transaction by the header of its block:
// whoever believes the header needs no node of the chain. Nodes are RLP, from
// the root of the trie to the entry of RLP(Index).
type Inclusion struct {
	ChainID     uint64
	Header      []byte // RLP
	Index       uint64 // of the transaction in the block
	Receipt     [][]byte
	Transaction [][]byte
}
