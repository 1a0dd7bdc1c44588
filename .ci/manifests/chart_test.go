package manifests

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write the golden files anew")

const chart = "../../helm"

// helmPath is where the go command keeps the helm that go.mod names, which it builds if need be.
var helmPath = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("go", "tool", "-n", "helm").Output()
	return strings.TrimSpace(string(out)), err
})

// helm runs helm and returns what it prints.
func helm(t *testing.T, args ...string) (string, error) {
	t.Helper()
	path, err := helmPath()
	if err != nil {
		t.Fatalf("building helm: %v", err)
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	home := t.TempDir()
	cmd.Env = append(os.Environ(), "HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return stderr.String() + string(out), err
	}
	return string(out), nil
}

func render(t *testing.T, chart string, args ...string) string {
	t.Helper()
	out, err := helm(t, append([]string{"template", "relay", chart, "--kube-version", "1.34.0"}, args...)...)
	if err != nil {
		t.Fatalf("helm template: %v\n%s", err, out)
	}
	return out
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; see what go test -update changes", path)
	}
}

// TestChart: each shape of the chart passes lint, renders what it did, and holds only fields that Kubernetes knows.
func TestChart(t *testing.T) {
	files, err := filepath.Glob(chart + "/ci/*-values.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no values to test with: %v", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), "-values.yaml")
		t.Run(name, func(t *testing.T) {
			if out, err := helm(t, "lint", "--strict", "--kube-version", "1.34.0", chart, "-f", file); err != nil {
				t.Errorf("helm lint: %v\n%s", err, out)
			}
			out := render(t, chart, "-f", file)
			golden(t, name+".yaml", out)
			if _, err := decode(out); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestPods: what must hold of the pods whatever their values.
func TestPods(t *testing.T) {
	objects, err := decode(render(t, chart, "-f", chart+"/ci/full-values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	deployment, ok := objects["Deployment relay-sidecast"].(*apps.Deployment)
	if !ok {
		t.Fatalf("no Deployment among %d objects", len(objects))
	}
	pod := deployment.Spec.Template.Spec
	relay := pod.Containers[0]
	for what, ok := range map[string]bool{
		"no service links":       pod.EnableServiceLinks != nil && !*pod.EnableServiceLinks,
		"no token":               pod.AutomountServiceAccountToken != nil && !*pod.AutomountServiceAccountToken,
		"45 s of grace":          *pod.TerminationGracePeriodSeconds == 45,
		"ready for 30 s":         deployment.Spec.MinReadySeconds == 30,
		"replicas are the HPA's": deployment.Spec.Replicas == nil,
		"memory limit":           relay.Resources.Limits.Memory().String() == "512Mi",
		"no CPU limit":           relay.Resources.Limits.Cpu().IsZero(),
		"read-only root":         *relay.SecurityContext.ReadOnlyRootFilesystem,
		"not root":               *relay.SecurityContext.RunAsNonRoot && *pod.SecurityContext.RunAsUser == 65532,
		"ready by /readyz":       relay.ReadinessProbe.HTTPGet.Path == "/readyz",
		"alive by /livez":        relay.LivenessProbe.HTTPGet.Path == "/livez" && relay.StartupProbe.HTTPGet.Path == "/livez",
		"no shell to drain with": relay.Lifecycle == nil,
		"spread":                 len(pod.TopologySpreadConstraints) == 2,
	} {
		if !ok {
			t.Errorf("the pods lack: %s", what)
		}
	}
	want := core.EnvVar{Name: "SIDECAST_MAX_CONNECTIONS", Value: "1000000"} // not 1e+06
	if !slices.Contains(relay.Env, want) {
		t.Errorf("the environment %v lacks %v", relay.Env, want)
	}
}

// TestSidecar: another chart includes the container, as an init container that stays or as a regular one.
func TestSidecar(t *testing.T) {
	parent := t.TempDir()
	if err := os.CopyFS(parent, os.DirFS("testdata/shop")); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(parent, "charts/sidecast"), os.DirFS(chart)); err != nil {
		t.Fatal(err)
	}
	for native, file := range map[string]string{"true": "shop-native.yaml", "false": "shop-regular.yaml"} {
		out := render(t, parent, "--set", "sidecast.sidecar.native="+native)
		golden(t, file, out)
		objects, err := decode(out)
		if err != nil {
			t.Fatal(err)
		}
		pod := objects["Deployment shop"].(*apps.Deployment).Spec.Template.Spec
		all := slices.Concat(pod.InitContainers, pod.Containers)
		at := slices.IndexFunc(all, func(c core.Container) bool { return c.Name == "sidecast" })
		if len(all) != 2 || at < 0 {
			t.Fatalf("native=%s: the pod has %d containers, and sidecast at %d", native, len(all), at)
		}
		relay := all[at]
		if stays := relay.RestartPolicy != nil && *relay.RestartPolicy == "Always"; stays != (native == "true") ||
			len(pod.InitContainers) == 1 != stays {
			t.Errorf("native=%s: init containers %d, restartPolicy Always %t", native, len(pod.InitContainers), stays)
		}
		if relay.ReadinessProbe != nil {
			t.Errorf("native=%s: the relay makes the application's pod unready", native)
		}
		if port := relay.Ports[0].ContainerPort; port != 8090 {
			t.Errorf("native=%s: port %d, want 8090", native, port)
		}
	}
}

// TestBadValues: the schema refuses what would not work.
func TestBadValues(t *testing.T) {
	for _, c := range []struct{ name, values, want string }{
		{"a value that is none", "replica: 3", "replica"},
		{"a mode that is none", "mode: daemonset", "mode"},
		{"a setting that is none", "settings: {REDIS_UR: a}", "REDIS_UR"},
		{"a setting with its prefix", "settings: {SIDECAST_CHANNELS: a}", "SIDECAST_CHANNELS"},
		{"an empty setting", `settings: {CHANNELS: ""}`, "CHANNELS"},
		{"a listener that ports set", `settings: {LISTEN: ":1"}`, "LISTEN"},
		{"a secret that no file may hold", "existingSecret: {name: a, keys: {CHANNELS: a}}", "CHANNELS"},
		{"keys without a Secret", "existingSecret: {keys: {JWT_SECRET: a}}", "name"},
		{"a privileged port", "ports: {http: 80}", "http"},
		{"a digest that is none", "image: {digest: abc}", "digest"},
		{"a path without a slash", "httpRoute: {path: ws}", "path"},
		{"a route without a gateway", "httpRoute: {enabled: true}", "parentRefs"},
		{"an Ingress without hosts", "ingress: {enabled: true}", "hosts"},
		{"an interval without a unit", `metrics: {podMonitor: {interval: "15"}}`, "interval"},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "values.yaml")
			if err := os.WriteFile(file, []byte(c.values), 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := helm(t, "template", "relay", chart, "--kube-version", "1.34.0", "-f", file)
			if err == nil || !strings.Contains(out, c.want) || !strings.Contains(out, "schema") {
				t.Errorf("error %v and %q, want the schema to refuse %q", err, out, c.want)
			}
		})
	}
}

// TestSchemaKnowsTheSettings: those of the binary, except the three that the chart sets itself.
func TestSchemaKnowsTheSettings(t *testing.T) {
	table := read(t, "../../config/testdata/settings.md")
	var want, secrets []string
	for _, match := range regexp.MustCompile("(?m)^\\| `SIDECAST_([A-Z0-9_]+)`").FindAllStringSubmatch(table, -1) {
		if !slices.Contains([]string{"EMBEDDED", "LISTEN", "ADMIN_LISTEN"}, match[1]) {
			want = append(want, match[1])
		}
	}
	for _, match := range regexp.MustCompile("`SIDECAST_([A-Z_]+)_FILE`").FindAllStringSubmatch(table, -1) {
		secrets = append(secrets, match[1])
	}
	type names struct {
		PropertyNames struct{ Enum []string }
	}
	var schema struct {
		Properties struct {
			Settings       names
			ExistingSecret struct{ Properties struct{ Keys names } }
		}
	}
	if err := yaml.Unmarshal([]byte(read(t, chart+"/values.schema.json")), &schema); err != nil {
		t.Fatal(err)
	}
	if got := schema.Properties.Settings.PropertyNames.Enum; !slices.Equal(got, want) {
		t.Errorf("the schema's settings are\n%q, want\n%q", got, want)
	}
	if got := schema.Properties.ExistingSecret.Properties.Keys.PropertyNames.Enum; !slices.Equal(got, secrets) {
		t.Errorf("the schema's secrets are %q, want %q", got, secrets)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
