package console

import (
	"math"
	"strconv"
	"time"
)

// A number is a value of a plot. NaN, which JSON does not have, is null: there is
// no value.
type number float64

// nothing is the number of what did not happen.
var nothing = number(math.NaN())

// MarshalJSON implements [json.Marshaler]. Six digits are enough for a plot.
func (n number) MarshalJSON() ([]byte, error) {
	if math.IsNaN(float64(n)) || math.IsInf(float64(n), 0) {
		return []byte("null"), nil
	}
	if n == number(math.Trunc(float64(n))) {
		return strconv.AppendFloat(nil, float64(n), 'f', -1, 64), nil
	}
	return strconv.AppendFloat(nil, float64(n), 'g', 6, 64), nil
}

// fade returns the weight of a message that was counted that long ago.
func fade(d time.Duration) float64 { return math.Exp(-d.Seconds() / sketchAge.Seconds()) }
