package config

import (
	"strings"

	"sidecast/relay/origin"
)

// An OriginList holds the origins of pages in normal form, as
// [origin.ParseList] reads them.
type OriginList []string

// Decode reads a list of origins.
func (o *OriginList) Decode(value string) error {
	var items List
	if err := items.Decode(value); err != nil {
		return err
	}
	list, err := origin.ParseList(items)
	if err != nil {
		return err
	}
	*o = list.Items()
	return nil
}

// String returns the list in the form that Decode reads.
func (o OriginList) String() string { return strings.Join(o, ",") }
