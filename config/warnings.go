package config

// A Warning is an unusual property of a variable that does not prevent Sidecast
// from running. It never contains a value.
type Warning struct {
	Name string // of the variable, as it is set
	Text string
}

// String returns the warning on one line.
func (w Warning) String() string { return w.Name + ": " + w.Text }

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
	for _, network := range c.TrustedProxies {
		if network.Bits() == 0 {
			list = append(list, Warning{Prefix + "TRUSTED_PROXIES",
				network.String() + " trusts every peer, so that any client can claim any address and host"})
		}
	}
	return list
}
