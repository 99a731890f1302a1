package onchain

import (
	"fmt"
	"slices"
	"strings"
)

// Driver is the only payment driver: ERC-20 tokens on EVM chains. It is the
// first part of every platform name.
const Driver = "erc20"

// Profile is all that is particular about one network. Zero addresses mean
// that the network has no such contract.
type Profile struct {
	ChainID       uint64
	Network       string // lower case: "hoodi"
	TokenSymbol   string // as REST shows it: "GLM", "tGLM"
	GasCoin       string // short name: "tETH"
	GasCoinName   string // long name: "Hoodi Ether"
	Token         Address
	MultiTransfer Address // pays up to MaxPayees in one transaction
	Faucet        Address // create() mints test tokens for the caller
	Wrapper       Address // balance, block and call in one round trip
	Lock          Address // deposits
	// Tip is the least priority fee to offer, MaxFee the most to pay in all,
	// both in wei per gas.
	Tip, MaxFee uint64
	// Confirmations that let a payment count as made: 1 is "in a block".
	Confirmations uint64
	// FinalDepth stands in for finality where the network does not say.
	FinalDepth uint64
	// Fundable networks give test tokens away.
	Fundable bool
}

// MaxPayees is how many payees one transaction serves.
const MaxPayees = 10

// Platform is the payment platform's name, e.g. "erc20-hoodi-tglm".
func (p Profile) Platform() string { return Driver + "-" + p.Network + "-" + p.TokenName() }

// TokenName is the symbol as platform names spell it: "glm", "tglm".
func (p Profile) TokenName() string { return strings.ToLower(p.TokenSymbol) }

// Networks are all known networks, by name.
func Networks() []Profile { return slices.Clone(profiles) }

// Network is the profile of that name.
func Network(name string) (Profile, bool) {
	return find(func(p Profile) bool { return p.Network == name })
}

// NetworkOf is the profile with that chain id.
func NetworkOf(chainID uint64) (Profile, bool) {
	return find(func(p Profile) bool { return p.ChainID == chainID })
}

func find(ok func(Profile) bool) (Profile, bool) {
	if i := slices.IndexFunc(profiles, ok); i >= 0 {
		return profiles[i], true
	}
	return Profile{}, false
}

// ParsePlatform reads a platform name. Names are lower case, and the token
// must be the one that the network has.
func ParsePlatform(name string) (Profile, error) {
	parts := strings.Split(name, "-")
	if len(parts) != 3 {
		return Profile{}, &PlatformError{name, "want <driver>-<network>-<token>, like erc20-hoodi-tglm"}
	}
	return Platform(parts[0], parts[1], parts[2])
}

// Platform finds the network of a driver, network and token, spelled as in a
// platform name.
func Platform(driver, network, token string) (Profile, error) {
	name := driver + "-" + network + "-" + token
	if driver != Driver {
		return Profile{}, &PlatformError{name, fmt.Sprintf("driver %q is not known, only %s is", driver, Driver)}
	}
	p, ok := Network(network)
	if !ok {
		return Profile{}, &PlatformError{name, fmt.Sprintf("network %q is not known, only %s are", network, strings.Join(names(), ", "))}
	}
	if token != p.TokenName() {
		return Profile{}, &PlatformError{name, fmt.Sprintf("token on %s is %s, not %s", network, p.TokenName(), token)}
	}
	return p, nil
}

func names() (out []string) {
	for _, p := range profiles {
		out = append(out, p.Network)
	}
	return out
}

// PlatformError says why a name is no payment platform.
type PlatformError struct{ Name, Why string }

func (e *PlatformError) Error() string { return fmt.Sprintf("payment platform %q: %s", e.Name, e.Why) }
