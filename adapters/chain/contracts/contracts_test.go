package contracts_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/common/hexutil"

	"github.com/emet-node/emet/adapters/chain/contracts"
)

// solcVersion is the compiler that artifacts.json was made with.
const solcVersion = "0.8.37"

func TestArtifactsAreWhatTheSourcesCompileTo(t *testing.T) {
	t.Parallel()
	got, err := exec.Command("node", "compile.js", "src", solcDir(t)).Output()
	if err != nil {
		t.Fatalf("compile: %v", err)
	}
	want, err := os.ReadFile("artifacts.json")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("artifacts.json is not what the sources compile to: run go generate")
	}
}

// solcDir installs the compiler once per machine, outside of the project.
func solcDir(t *testing.T) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, "emet-solc", solcVersion)
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "solc", "package.json")); err == nil {
		return dir
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	npm := exec.Command("npm", "install", "--prefer-offline", "--no-audit", "--no-fund", "--prefix", dir, "solc@"+solcVersion)
	if out, err := npm.CombinedOutput(); err != nil {
		t.Fatalf("npm install solc@%s: %v\n%s", solcVersion, err, out)
	}
	return dir
}

func TestSelectorsAreThoseOfTheNetwork(t *testing.T) {
	t.Parallel()
	for contract, methods := range map[string]map[string]string{
		"Token": {
			"transfer": "0xa9059cbb", "approve": "0x095ea7b3", "transferFrom": "0x23b872dd", "allowance": "0xdd62ed3e",
			"balanceOf": "0x70a08231", "totalSupply": "0x18160ddd", "decimals": "0x313ce567", "name": "0x06fdde03",
			"symbol": "0x95d89b41", "permit": "0xd505accf", "nonces": "0x7ecebe00", "DOMAIN_SEPARATOR": "0x3644e515",
			"eip712Domain": "0x84b0196e",
		},
		"MultiTransfer": {
			"golemTransferDirect": "0x51f29158", "golemTransferDirectPacked": "0x7c26640c",
			"golemTransferIndirect": "0x3d4c6a6b", "golemTransferIndirectPacked": "0x04f9153b", "GLM": "0x8c338c86",
		},
		"Faucet":  {"create": "0xefc81a8c"},
		"Wrapper": {"callWithDetails": "0x863e0a02", "multiCall": "0xda5b4ffd", "multiCallWithDetails": "0x5f865dd2"},
	} {
		parsed, err := abi.JSON(bytes.NewReader(contracts.Get(contract).ABI))
		if err != nil {
			t.Fatal(err)
		}
		for method, want := range methods {
			if got := hexutil.Encode(parsed.Methods[method].ID); got != want {
				t.Errorf("%s.%s: selector %s, want %s", contract, method, got, want)
			}
		}
	}
}

func TestEventsAreThoseOfTheStandard(t *testing.T) {
	t.Parallel()
	parsed, err := abi.JSON(bytes.NewReader(contracts.Get("Token").ABI))
	if err != nil {
		t.Fatal(err)
	}
	for event, want := range map[string]string{
		"Transfer": "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef",
		"Approval": "0x8c5be1e5ebec7d5bd14f71427d1e84f3dd0314c0f7b2291e5b200ac8c7c3b925",
	} {
		if got := parsed.Events[event].ID.Hex(); got != want {
			t.Errorf("%s: topic %s, want %s", event, got, want)
		}
	}
}
