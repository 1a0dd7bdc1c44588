package presence

import "testing"

// Changes that wait are bounded however small they are, and the state of the
// link is never dropped.
func TestInboxIsBounded(t *testing.T) {
	var b inbox
	const most = inboxBytes / (1 + noticeCharge)
	for range most + 1 {
		b.add(notice{changes: []byte{'+'}})
	}
	b.add(notice{isLink: true, link: linkUp})
	list, overflow := b.take()
	if len(list) != most+1 || !overflow || !list[most].isLink {
		t.Errorf("%d notices wait, overflow %v; want %d and the state of the link", len(list), overflow, most)
	}
	b.add(notice{changes: []byte{'+'}})
	if list, overflow = b.take(); len(list) != 1 || overflow {
		t.Errorf("afterwards: %d notices, overflow %v", len(list), overflow)
	}
}
