// Package contracts holds the contracts that a development chain is born
// with. The sources are in src; artifacts.json is what compile.js makes of
// them, and a test compiles again and compares.
package contracts

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/ethereum/go-ethereum/common/hexutil"
)

//go:generate sh -c "node compile.js src ${EMET_SOLC:?a directory where npm has installed solc} > artifacts.json"

// A Contract is one compiled source.
type Contract struct {
	ABI      json.RawMessage `json:"abi"`
	Creation hexutil.Bytes   `json:"creation"` // what a deploying transaction carries
	Runtime  hexutil.Bytes   `json:"runtime"`  // what stands at the contract's address
}

//go:embed artifacts.json
var artifacts []byte

var all = sync.OnceValue(func() map[string]Contract {
	var out map[string]Contract
	if err := json.Unmarshal(artifacts, &out); err != nil {
		panic(fmt.Sprintf("contracts: artifacts.json: %v", err)) // embedded at build time
	}
	return out
})

// Get is the contract with the name of its source file. It panics on a name
// that has no source.
func Get(name string) Contract {
	c, ok := all()[name]
	if !ok {
		panic("contracts: no contract " + name)
	}
	return c
}
