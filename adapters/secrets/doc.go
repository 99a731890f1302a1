// Package secrets keeps what must never be in the log: the keys of identities,
// the keys that seal facts, the secrets of app-keys, and the host and log keys
// of the node. All of it lies in one directory that only its owner may enter.
//
//	keystore/<address>.json  identities, Ethereum keystore version 3
//	vault.db, vault.key      subject keys and app-keys, encrypted one by one
//	host.key, log.key        Ed25519 seeds, hexadecimal
package secrets
