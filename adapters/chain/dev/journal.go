package dev

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rlp"
)

// journal keeps every block of a chain, in the order in which they became its
// head. A block is on disk before anybody can see it, so a chain that is
// killed at any moment comes back with every block that was ever shown.
//
// The file is nothing but blocks in RLP, one after the other.
type journal struct{ f *os.File }

// openJournal opens or makes the file, and returns the blocks in it. A last
// block that was only half written is cut off: nobody has seen it.
func openJournal(path string) (*journal, []*types.Block, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("blocks of a development chain: %w", err)
	}
	blocks, whole, err := readBlocks(f)
	if err == nil {
		err = f.Truncate(whole)
	}
	if err == nil {
		_, err = f.Seek(whole, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, nil, fmt.Errorf("blocks of a development chain in %s: %w", path, err)
	}
	return &journal{f: f}, blocks, nil
}

// readBlocks reads up to the first item that is not whole, and tells where
// that starts. A whole item that is no block is an error.
func readBlocks(r io.Reader) (blocks []*types.Block, whole int64, err error) {
	s := rlp.NewStream(bufio.NewReaderSize(r, 1<<20), 0)
	for {
		raw, err := s.Raw()
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return blocks, whole, nil
		}
		if err != nil {
			return nil, 0, fmt.Errorf("after %d bytes: %w", whole, err)
		}
		var b types.Block
		if err := rlp.DecodeBytes(raw, &b); err != nil {
			return nil, 0, fmt.Errorf("after %d bytes: %w", whole, err)
		}
		blocks, whole = append(blocks, &b), whole+int64(len(raw))
	}
}

// add returns when the block is on disk. A nil journal keeps nothing.
func (j *journal) add(b *types.Block) error {
	if j == nil {
		return nil
	}
	raw, err := rlp.EncodeToBytes(b)
	if err != nil {
		return fmt.Errorf("block %d of a development chain: %w", b.NumberU64(), err)
	}
	if _, err := j.f.Write(raw); err != nil {
		return fmt.Errorf("block %d of a development chain: %w", b.NumberU64(), err)
	}
	return j.f.Sync()
}

func (j *journal) close() error {
	if j == nil {
		return nil
	}
	return j.f.Close()
}
