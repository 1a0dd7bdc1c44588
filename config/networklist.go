package config

import (
	"net/netip"
	"strings"

	"sidecast/relay/syntax"
)

// A NetworkList holds CIDR ranges. A single address is a range of one address.
type NetworkList []netip.Prefix

// Decode reads addresses and ranges.
func (l *NetworkList) Decode(value string) error {
	var items List
	if err := items.Decode(value); err != nil {
		return err
	}
	networks := make(NetworkList, 0, len(items))
	for _, item := range items {
		network, err := parseNetwork(item)
		if err != nil {
			return err
		}
		networks = append(networks, network)
	}
	*l = networks
	return nil
}

func parseNetwork(item string) (netip.Prefix, error) {
	if !strings.Contains(item, "/") {
		address, err := netip.ParseAddr(item)
		if err != nil || address.Zone() != "" {
			return netip.Prefix{}, notNetwork(item)
		}
		address = address.Unmap()
		return netip.PrefixFrom(address, address.BitLen()), nil
	}
	network, err := netip.ParsePrefix(item)
	switch {
	case err != nil || network.Addr().Is4In6():
		return netip.Prefix{}, notNetwork(item)
	case network != network.Masked():
		return netip.Prefix{}, syntax.New(syntax.Quote(item)+" does not begin with the first address of its range",
			"write "+network.Masked().String()+" for the range, or "+network.Addr().String()+" for the address")
	}
	return network, nil
}

func notNetwork(item string) error {
	return syntax.New(syntax.Quote(item)+" is neither an address nor a CIDR range", "write an address like 10.0.0.5, or a range like 10.0.0.0/8")
}

// String returns the list in the form that Decode reads.
func (l NetworkList) String() string {
	items := make([]string, len(l))
	for i, network := range l {
		items[i] = network.String()
		if network.IsSingleIP() {
			items[i] = network.Addr().String()
		}
	}
	return strings.Join(items, ",")
}
