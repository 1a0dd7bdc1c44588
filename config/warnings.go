package config

// A Warning is an unusual property of a variable that does not prevent Sidecast
// from running. It never contains a value.
type Warning struct {
	Name string // of the variable, as it is set
	Text string
}

// String returns the warning on one line.
func (w Warning) String() string { return w.Name + ": " + w.Text }

// opaqueOrigins are warnings about pages without an origin.
var opaqueOrigins = map[string]string{
	"null": "null allows every website to connect from the browsers of its visitors: " +
		"this is what a sandboxed frame sends, and any website can show one",
	"file://": "file:// allows every file to connect that a user opens in a browser or an app",
}

// warnings returns warnings about settings that have valid values.
func (c *Config) warnings() []Warning {
	var list []Warning
	for _, s := range settings() {
		if secret, ok := s.value(c).Interface().(Secret); ok {
			if text := doubtful(secret.Reveal()); text != "" {
				list = append(list, Warning{s.variable(), text})
			}
		}
	}
	for _, item := range c.AllowedOrigins {
		if text, ok := opaqueOrigins[item]; ok {
			list = append(list, Warning{Prefix + "ALLOWED_ORIGINS", text})
		}
	}
	for _, network := range c.TrustedProxies {
		if network.Bits() == 0 {
			list = append(list, Warning{Prefix + "TRUSTED_PROXIES",
				network.String() + " trusts every peer, so that any client can claim any address and host"})
		}
	}
	if c.set["LAST"] && c.set["HISTORY_BYTES"] && c.HistoryBytes == 0 {
		list = append(list, Warning{Prefix + "LAST", "has no effect on live channels, because " + Prefix + "HISTORY_BYTES is 0"})
	}
	return append(list, c.withoutEffect()...)
}
