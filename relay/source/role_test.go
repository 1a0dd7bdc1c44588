package source

import "testing"

func TestClassifyRole(t *testing.T) {
	for role, want := range map[string]error{
		"master": nil, "slave": errReplica, "sentinel": errSentinelRole, "": errRoleUnsupported, "x": errRoleUnsupported,
	} {
		if got := classifyRole(role); got != want {
			t.Errorf("%q: %v", role, got)
		}
	}
}
