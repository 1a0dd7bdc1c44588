package cli

import (
	"crypto/tls"
	"crypto/x509"
	"time"

	"sidecast/config"
	"sidecast/relay/source"
)

// checkCertificate says how long the certificate of the public listener is
// valid, and those of its authorities that are in the same file.
func checkCertificate(cfg *config.Config) []source.Finding {
	if cfg.TLSCert == "" {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(string(cfg.TLSCert), string(cfg.TLSKey))
	if err != nil {
		return []source.Finding{{
			Level: source.LevelFail, Subject: "SIDECAST_TLS_KEY", Text: "it cannot be used with SIDECAST_TLS_CERT: " + err.Error(),
			Do: "set it to the file with the key of that certificate",
		}}
	}
	var chain []*x509.Certificate
	for _, der := range pair.Certificate {
		if c, err := x509.ParseCertificate(der); err == nil {
			chain = append(chain, c)
		}
	}
	return []source.Finding{source.CertificateFinding("SIDECAST_TLS_CERT", chain, time.Now())}
}
