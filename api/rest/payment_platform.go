package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/emet-node/emet/domain/payment/onchain"
)

// network is the profile of a network that is served here.
func (d *PaymentDeps) network(name string) (onchain.Profile, bool) {
	for _, p := range d.Networks {
		if p.Network == name {
			return p, true
		}
	}
	return onchain.Profile{}, false
}

func (d *PaymentDeps) networkNames() string {
	names := make([]string, len(d.Networks))
	for i, p := range d.Networks {
		names[i] = p.Network
	}
	return strings.Join(names, ", ")
}

// platform reads how a client wants to pay: a name like "erc20-hoodi-tglm", an
// object with some of driver, network and token, or nothing at all.
func (d *PaymentDeps) platform(text json.RawMessage) (onchain.Profile, error) {
	p, err := d.parsePlatform(bytes.TrimSpace(text))
	if err != nil {
		return p, err
	}
	served, ok := d.network(p.Network)
	if !ok {
		return p, fmt.Errorf("network %q is not served by this node, only %s", p.Network, d.networkNames())
	}
	return served, nil
}

func (d *PaymentDeps) parsePlatform(text []byte) (onchain.Profile, error) {
	if len(text) == 0 || string(text) == "null" {
		return d.complete("", "", "")
	}
	if text[0] == '"' {
		var name string
		if err := json.Unmarshal(text, &name); err != nil {
			return onchain.Profile{}, err
		}
		return onchain.ParsePlatform(name)
	}
	var parts struct{ Driver, Network, Token string }
	if err := json.Unmarshal(text, &parts); err != nil {
		return onchain.Profile{}, errors.New("paymentPlatform: want a text like erc20-hoodi-tglm, or an object with driver, network and token as texts")
	}
	return d.complete(parts.Driver, parts.Network, parts.Token)
}

// complete finds what a client left out: the network by its token, the token
// by its network.
func (d *PaymentDeps) complete(driver, network, token string) (onchain.Profile, error) {
	if driver == "" {
		driver = onchain.Driver
	}
	if network == "" {
		network = d.networkFor(token)
	}
	if p, ok := onchain.Network(network); ok && token == "" {
		token = p.TokenName()
	}
	return onchain.Platform(driver, network, token)
}

// networkFor is the default network, unless it has another token.
func (d *PaymentDeps) networkFor(token string) string {
	if p, ok := onchain.Network(d.DefaultNetwork); !ok || token == "" || p.TokenName() == token {
		return d.DefaultNetwork
	}
	if _, ok := d.network("polygon"); ok && token == "glm" {
		return "polygon"
	}
	for _, p := range d.Networks {
		if p.TokenName() == token {
			return p.Network
		}
	}
	return d.DefaultNetwork
}
