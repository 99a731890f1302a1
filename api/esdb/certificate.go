package esdb

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

const (
	certificateLife = 397 * 24 * time.Hour // what clients accept at most
	renewBefore     = 30 * 24 * time.Hour
)

// Certificate returns a TLS configuration for host, and the file with the
// authority that clients must trust (tlsCAFile). Both are made in dir when they
// are not there, are about to end or are for another host. The authority signs
// once; its key is not kept.
func Certificate(dir, host string, now time.Time) (c *tls.Config, authority string, err error) {
	authority = filepath.Join(dir, "ca.pem")
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	pair, err := tls.LoadX509KeyPair(cert, key)
	if _, missing := os.Stat(authority); err != nil || missing != nil || !good(pair, host, now) {
		if err := makeCertificate(dir, host, now); err != nil {
			return nil, "", fmt.Errorf("certificate for the gRPC door in %s: %w", dir, err)
		}
		if pair, err = tls.LoadX509KeyPair(cert, key); err != nil {
			return nil, "", err
		}
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2"}}, authority, nil
}

func good(pair tls.Certificate, host string, now time.Time) bool {
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	return err == nil && now.Add(renewBefore).Before(leaf.NotAfter) && leaf.VerifyHostname(host) == nil
}

func makeCertificate(dir, host string, now time.Time) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	caKey, err1 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	key, err2 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	ca := template("emet gRPC authority", now)
	ca.IsCA, ca.BasicConstraintsValid, ca.KeyUsage = true, true, x509.KeyUsageCertSign
	leaf := &served{template("emet gRPC door", now)}
	leaf.KeyUsage, leaf.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	leaf.DNSNames, leaf.IPAddresses = []string{"localhost"}, []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	leaf.name(host)
	caDER, err1 := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	leafDER, err2 := x509.CreateCertificate(rand.Reader, leaf.Certificate, ca, &key.PublicKey, caKey)
	keyDER, err3 := x509.MarshalPKCS8PrivateKey(key)
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	for _, f := range []struct {
		name, kind string
		der        []byte
	}{{"ca.pem", "CERTIFICATE", caDER}, {"cert.pem", "CERTIFICATE", leafDER}, {"key.pem", "PRIVATE KEY", keyDER}} {
		if err := replaceFile(filepath.Join(dir, f.name), pem.EncodeToMemory(&pem.Block{Type: f.kind, Bytes: f.der})); err != nil {
			return err
		}
	}
	return nil
}

// served is the certificate of the door itself.
type served struct{ *x509.Certificate }

// name makes it good for a host; for all addresses of this machine when the
// host means all of them.
func (c *served) name(host string) {
	ip := net.ParseIP(host)
	switch {
	case ip != nil:
		c.IPAddresses = append(c.IPAddresses, ip)
	case host != "":
		c.DNSNames = append(c.DNSNames, host)
	}
	if ip == nil || !ip.IsUnspecified() {
		return
	}
	if name, err := os.Hostname(); err == nil {
		c.DNSNames = append(c.DNSNames, name)
	}
	addrs, _ := net.InterfaceAddrs() // without them it is good for less
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok {
			c.IPAddresses = append(c.IPAddresses, n.IP)
		}
	}
}

func template(name string, now time.Time) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)) // never fails
	return &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(certificateLife),
	}
}
