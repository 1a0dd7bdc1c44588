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

var update = flag.Bool("update", false, "update the golden files")

const chart = "../../helm"

// helmPath returns the path of the helm version in go.mod. The go command
// builds it if necessary.
var helmPath = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("go", "tool", "-n", "helm").Output()
	return strings.TrimSpace(string(out)), err
})

// helm runs helm and returns its output, or on failure its error output too.
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
		t.Errorf("%s differs; run go test -update and review the changes", path)
	}
}

// TestChart checks that the chart passes lint with each values file in ci,
// renders the golden file, and contains no fields that are unknown to
// Kubernetes.
func TestChart(t *testing.T) {
	files, err := filepath.Glob(chart + "/ci/*-values.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no values files found: %v", err)
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

// TestPods checks the properties that the pods must have with any values.
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
	for property, ok := range map[string]bool{
		"no service links":        pod.EnableServiceLinks != nil && !*pod.EnableServiceLinks,
		"no token":                pod.AutomountServiceAccountToken != nil && !*pod.AutomountServiceAccountToken,
		"45 s of grace":           *pod.TerminationGracePeriodSeconds == 45,
		"ready for 30 s":          deployment.Spec.MinReadySeconds == 30,
		"replicas set by the HPA": deployment.Spec.Replicas == nil,
		"memory limit":            relay.Resources.Limits.Memory().String() == "512Mi",
		"no CPU limit":            relay.Resources.Limits.Cpu().IsZero(),
		"read-only root":          *relay.SecurityContext.ReadOnlyRootFilesystem,
		"not root":                *relay.SecurityContext.RunAsNonRoot && *pod.SecurityContext.RunAsUser == 65532,
		"ready by /readyz":        relay.ReadinessProbe.HTTPGet.Path == "/readyz",
		"alive by /livez":         relay.LivenessProbe.HTTPGet.Path == "/livez" && relay.StartupProbe.HTTPGet.Path == "/livez",
		"no lifecycle hook":       relay.Lifecycle == nil,
		"spread":                  len(pod.TopologySpreadConstraints) == 2,
	} {
		if !ok {
			t.Errorf("the pods lack this property: %s", property)
		}
	}
	want := core.EnvVar{Name: "SIDECAST_MAX_CONNECTIONS", Value: "1000000"} // not 1e+06
	if !slices.Contains(relay.Env, want) {
		t.Errorf("the environment %v lacks %v", relay.Env, want)
	}
}

// TestSidecar checks that another chart can include the container, either as a
// native sidecar (an init container with restartPolicy Always) or as a regular
// container.
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
			t.Fatalf("native=%s: the pod has %d containers, with sidecast at index %d", native, len(all), at)
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

// TestInvalidValues checks that the schema rejects invalid values.
func TestInvalidValues(t *testing.T) {
	for _, c := range []struct{ name, values, want string }{
		{"an unknown value", "replica: 3", "replica"},
		{"an unknown mode", "mode: daemonset", "mode"},
		{"an unknown setting", "settings: {REDIS_UR: a}", "REDIS_UR"},
		{"a setting with its prefix", "settings: {SIDECAST_CHANNELS: a}", "SIDECAST_CHANNELS"},
		{"an empty setting", `settings: {CHANNELS: ""}`, "CHANNELS"},
		{"an empty list", `settings: {CHANNELS: []}`, "CHANNELS"},
		{"a list of numbers", `settings: {CHANNELS: [1]}`, "CHANNELS"},
		{"a listener that is configured by ports", `settings: {LISTEN: ":1"}`, "LISTEN"},
		{"a setting that cannot be read from a file", "existingSecret: {name: a, keys: {CHANNELS: a}}", "CHANNELS"},
		{"keys without a Secret", "existingSecret: {keys: {JWT_SECRET: a}}", "name"},
		{"a privileged port", "ports: {http: 80}", "http"},
		{"an invalid digest", "image: {digest: abc}", "digest"},
		{"a path without a slash", "httpRoute: {paths: [ws]}", "paths"},
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
				t.Errorf("error %v and %q, want the schema to reject %q", err, out, c.want)
			}
		})
	}
}

// TestImageIsRequired checks that the chart does not render an image that nobody
// has built, and says what to do.
func TestImageIsRequired(t *testing.T) {
	out, err := helm(t, "template", "relay", chart, "--kube-version", "1.34.0", "--set", "settings.REDIS_URL=redis://redis")
	if err == nil || !strings.Contains(out, "image.repository is needed, because no image is published yet") {
		t.Errorf("without an image, helm answers %v\n%s", err, out)
	}
}

// TestListsOfChannels checks the ways to set several channels on the command
// line that the guide names.
func TestListsOfChannels(t *testing.T) {
	want := core.EnvVar{Name: "SIDECAST_CHANNELS", Value: "chat:*,news"}
	for _, args := range [][]string{
		{"--set", "settings.CHANNELS={chat:*,news}"}, {"--set-string", `settings.CHANNELS=chat:*\,news`},
	} {
		objects, err := decode(render(t, chart, append(args, "--set", "image.repository=registry.example.com/sidecast")...))
		if err != nil {
			t.Fatal(err)
		}
		env := objects["Deployment relay-sidecast"].(*apps.Deployment).Spec.Template.Spec.Containers[0].Env
		if !slices.Contains(env, want) {
			t.Errorf("%q: the environment %v lacks %v", args, env, want)
		}
		if guide := read(t, chart+"/README.md"); !strings.Contains(guide, args[0]+" '"+args[1]+"'") {
			t.Errorf("the guide does not show %s '%s'", args[0], args[1])
		}
	}
}

// TestNotesWarnOfSecrets checks that the notes name settings whose secrets are in
// clear text in the manifest, and do not repeat the secrets.
func TestNotesWarnOfSecrets(t *testing.T) {
	const warning = "in settings contains a secret"
	// Only an installation prints the notes, and needs a cluster. So a copy of
	// the chart has them in a ConfigMap.
	dir := filepath.Join(t.TempDir(), "sidecast")
	if err := os.CopyFS(dir, os.DirFS(chart)); err != nil {
		t.Fatal(err)
	}
	object := `{{- define "notes" }}` + read(t, chart+"/templates/NOTES.txt") + "{{ end }}\n" +
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: notes}\ndata:\n  notes: {{ include \"notes\" . | quote }}\n"
	if err := os.WriteFile(filepath.Join(dir, "templates", "notes.yaml"), []byte(object), 0o600); err != nil {
		t.Fatal(err)
	}
	notes := func(settings ...string) string {
		args := []string{"--show-only", "templates/notes.yaml", "--set", "image.repository=registry.example.com/sidecast"}
		for _, setting := range settings {
			args = append(args, "--set-string", "settings."+setting)
		}
		objects, err := decode(render(t, dir, args...))
		if err != nil {
			t.Fatal(err)
		}
		return objects["ConfigMap notes"].(*core.ConfigMap).Data["notes"]
	}
	if text := notes("REDIS_URL=redis://redis:6379", "CHANNELS=a@b:c@d", "REDIS_USERNAME=relay"); strings.Contains(text, warning) || text == "" {
		t.Errorf("without a secret, the notes are\n%s", text)
	}
	text := notes("REDIS_URL=redis://relay:hunter2@redis:6379", "JWT_SECRET=hunter2", "CHANNELS=a")
	if !strings.Contains(text, "WARNING: JWT_SECRET, REDIS_URL "+warning) || strings.Contains(text, "hunter2") {
		t.Errorf("with two secrets, the notes are\n%s", text)
	}
}

// TestSchemaHasAllSettings checks that the schema contains all settings of the
// binary, except the three that the chart sets itself.
func TestSchemaHasAllSettings(t *testing.T) {
	table := read(t, "../../config/testdata/settings.md")
	var want, secrets []string
	for _, match := range regexp.MustCompile("(?m)^\\| `SIDECAST_([A-Z0-9_]+)`").FindAllStringSubmatch(table, -1) {
		if !slices.Contains([]string{"EMBEDDED", "LISTEN", "ADMIN_LISTEN"}, match[1]) {
			want = append(want, match[1])
		}
	}
	for _, match := range regexp.MustCompile("or set `SIDECAST_([A-Z_]+)_FILE`").FindAllStringSubmatch(table, -1) {
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
