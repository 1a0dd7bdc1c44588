package manifests

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"sigs.k8s.io/yaml"
)

const plain = chart + "/plain"

// require skips the test if the program is not installed, and fails it if
// CI=true.
func require(t *testing.T, program, debianPackage string) {
	t.Helper()
	if _, err := exec.LookPath(program); err == nil {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is missing: install the Debian package %s", program, debianPackage)
	}
	t.Skipf("%s is missing: install the Debian package %s", program, debianPackage)
}

// TestPatch checks that the patch adds the relay to the pod of an application.
func TestPatch(t *testing.T) {
	patch, err := yaml.YAMLToJSON([]byte(read(t, plain+"/patch.yaml")))
	if err != nil {
		t.Fatal(err)
	}
	const shop = `{"spec":{"template":{"spec":{"containers":[{"name":"php","image":"shop"}]}}}}`
	patched, err := strategicpatch.StrategicMergePatch([]byte(shop), patch, apps.Deployment{})
	if err != nil {
		t.Fatal(err)
	}
	var deployment apps.Deployment
	if err := yaml.UnmarshalStrict(patched, &deployment); err != nil {
		t.Fatal(err)
	}
	pod := deployment.Spec.Template.Spec
	if len(pod.Containers) != 1 || len(pod.InitContainers) != 1 || *pod.TerminationGracePeriodSeconds != 45 {
		t.Fatalf("the pod has %d containers, %d init containers and %d s of grace, want 1, 1 and 45",
			len(pod.Containers), len(pod.InitContainers), *pod.TerminationGracePeriodSeconds)
	}
	relay := pod.InitContainers[0]
	if *relay.RestartPolicy != core.ContainerRestartPolicyAlways || relay.ReadinessProbe != nil {
		t.Error("the relay is not a native sidecar, or it has a readiness probe, which would affect the application's pod")
	}
	known := read(t, "../../config/testdata/settings.md")
	for _, variable := range relay.Env {
		if !strings.Contains(known, "`"+variable.Name+"`") {
			t.Errorf("%s is not a setting", variable.Name)
		}
	}
}

// TestCompose checks that the Compose file contains known fields and settings
// only, and gives the relay enough time to drain.
func TestCompose(t *testing.T) {
	type service struct {
		Image, Build    string
		Command         []string
		WorkingDir      string `json:"working_dir"`
		Environment     map[string]string
		Ports, Volumes  []string
		DependsOn       []string `json:"depends_on"`
		StopGracePeriod string   `json:"stop_grace_period"`
		Restart         string
		ReadOnly        bool     `json:"read_only"`
		CapDrop         []string `json:"cap_drop"`
		SecurityOpt     []string `json:"security_opt"`
	}
	var compose struct{ Services map[string]service }
	if err := yaml.UnmarshalStrict([]byte(read(t, plain+"/compose.yaml")), &compose); err != nil {
		t.Fatal(err)
	}
	relay := compose.Services["sidecast"]
	if relay.StopGracePeriod != "40s" {
		t.Errorf("stop_grace_period is %q, want 40s", relay.StopGracePeriod)
	}
	known := read(t, "../../config/testdata/settings.md")
	for name := range relay.Environment {
		if !strings.Contains(known, "`"+name+"`") {
			t.Errorf("%s is not a setting", name)
		}
	}
	for name, service := range compose.Services {
		for _, other := range service.DependsOn {
			if compose.Services[other].Image == "" {
				t.Errorf("%s depends on %s, which is not a service", name, other)
			}
		}
	}
	require(t, "php", "php-cli")
	if out, err := exec.CommandContext(t.Context(), "php", "-l", plain+"/app/index.php").CombinedOutput(); err != nil {
		t.Errorf("php -l: %v\n%s", err, out)
	}
}

// TestUnit checks that systemd supports every directive of the unit, and that
// its security analysis reports a low exposure.
func TestUnit(t *testing.T) {
	require(t, "systemd-analyze", "systemd")
	unit := read(t, plain+"/sidecast.service")
	if !strings.Contains(unit, "\nTimeoutStopSec=40\n") {
		t.Error("the unit does not give the relay 40 s to drain")
	}
	file := filepath.Join(t.TempDir(), "sidecast.service")
	// systemd-analyze requires that the binary exists.
	content := strings.Replace(unit, "/usr/local/bin/sidecast serve", "/bin/true", 1)
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"verify", "--man=no", file}, {"security", "--offline=true", "--threshold=20", file}} {
		out, err := exec.CommandContext(t.Context(), "systemd-analyze", args...).CombinedOutput()
		if err != nil || strings.Contains(string(out), "Unknown") {
			t.Errorf("systemd-analyze %s: %v\n%s", args[0], err, out)
		}
	}
}
