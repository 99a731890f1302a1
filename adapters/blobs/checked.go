package blobs

import (
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
)

// ErrDamaged says that a blob is not what its address says.
var ErrDamaged = errors.New("blob is damaged")

type checked struct {
	*os.File
	want string
	sum  hash.Hash
}

func (c *checked) Read(p []byte) (int, error) {
	n, err := c.File.Read(p)
	c.sum.Write(p[:n])
	if errors.Is(err, io.EOF) && hex.EncodeToString(c.sum.Sum(nil)) != c.want {
		return n, fmt.Errorf("%w: %s", ErrDamaged, c.want)
	}
	return n, err
}
