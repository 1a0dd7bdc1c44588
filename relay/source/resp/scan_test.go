package resp

import "testing"

// TestBulk reads one string, whole and cut off at every byte.
func TestBulk(t *testing.T) {
	const reply = "$5\r\na\r\nbc\r\n"
	for cut := range len(reply) {
		if text, end := Bulk([]byte(reply[:cut]), 0, 5); text != nil || end != Short {
			t.Errorf("%q: %q, %d", reply[:cut], text, end)
		}
	}
	if text, end := Bulk([]byte(":1\r\n"+reply+"+next\r\n"), 4, 5); string(text) != "a\r\nbc" || end != 4+len(reply) {
		t.Errorf("got %q, %d", text, end)
	}
	for _, bad := range []string{
		reply, "+", "*1\r\n", "$\r\n", "$x", "$1x", "$1\rx", "$-1\r\n", "$0000000001", "$536870913\r\n",
		"$1\r\nxyz", "$1\r\nx\rz",
	} {
		if text, end := Bulk([]byte(bad), 0, 4); text != nil || end != Bad {
			t.Errorf("%q: %q, %d", bad, text, end)
		}
	}
}

func TestLength(t *testing.T) {
	for digits, want := range map[string]int{"0": 0, "-1": -1, "12": 12, "00000012": 12} {
		if got, err := Length([]byte(digits), 12); got != want || err != nil {
			t.Errorf("%q: %d, %v", digits, got, err)
		}
	}
	for _, digits := range []string{"", "-", "-2", "+1", "13", "1x", "0000000001"} {
		if got, err := Length([]byte(digits), 12); err != ErrMalformed {
			t.Errorf("%q: %d, %v", digits, got, err)
		}
	}
}
