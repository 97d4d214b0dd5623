// Goverify holds a certificate to its CA, to purposes and to a host name, as Go programs do.
//
//	goverify CA.pem CERT.pem PURPOSE,... [HOST]
//
// It says nothing and ends with status 0 if all of it holds; else it says what does not.
package main

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"strings"
)

var purposes = map[string]x509.ExtKeyUsage{
	"client_auth":      x509.ExtKeyUsageClientAuth,
	"server_auth":      x509.ExtKeyUsageServerAuth,
	"email_protection": x509.ExtKeyUsageEmailProtection,
}

func read(path string) (*x509.Certificate, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(content)
	if block == nil {
		return nil, fmt.Errorf("%s is not PEM", path)
	}
	return x509.ParseCertificate(block.Bytes)
}

func verify(arguments []string) error {
	ca, err := read(arguments[0])
	if err != nil {
		return err
	}
	certificate, err := read(arguments[1])
	if err != nil {
		return err
	}
	if len(certificate.UnhandledCriticalExtensions) > 0 {
		return fmt.Errorf("critical and unknown: %v", certificate.UnhandledCriticalExtensions)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	// Verify wants one of the purposes that it is given: each is asked for by itself.
	for _, name := range strings.Split(arguments[2], ",") {
		purpose, known := purposes[name]
		if !known {
			return fmt.Errorf("no purpose: %s", name)
		}
		options := x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{purpose}}
		if _, err := certificate.Verify(options); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if len(arguments) > 3 {
		return certificate.VerifyHostname(arguments[3])
	}
	return nil
}

func main() {
	if len(os.Args) < 4 {
		fmt.Println("goverify CA.pem CERT.pem PURPOSE,... [HOST]")
		os.Exit(2)
	}
	if err := verify(os.Args[1:]); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}
