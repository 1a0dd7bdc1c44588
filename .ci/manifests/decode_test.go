package manifests

import (
	"fmt"
	"strings"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	apps "k8s.io/api/apps/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	gateway "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"
)

// kinds contains the Go type of each supported kind of manifest.
var kinds = map[string]func() any{
	"v1 ConfigMap":                            func() any { return new(core.ConfigMap) },
	"v1 Pod":                                  func() any { return new(core.Pod) },
	"v1 Service":                              func() any { return new(core.Service) },
	"apps/v1 Deployment":                      func() any { return new(apps.Deployment) },
	"autoscaling/v2 HorizontalPodAutoscaler":  func() any { return new(autoscaling.HorizontalPodAutoscaler) },
	"gateway.networking.k8s.io/v1 HTTPRoute":  func() any { return new(gateway.HTTPRoute) },
	"monitoring.coreos.com/v1 PodMonitor":     func() any { return new(monitoring.PodMonitor) },
	"monitoring.coreos.com/v1 PrometheusRule": func() any { return new(monitoring.PrometheusRule) },
	"monitoring.coreos.com/v1 ServiceMonitor": func() any { return new(monitoring.ServiceMonitor) },
	"networking.k8s.io/v1 Ingress":            func() any { return new(networking.Ingress) },
	"networking.k8s.io/v1 NetworkPolicy":      func() any { return new(networking.NetworkPolicy) },
	"policy/v1 PodDisruptionBudget":           func() any { return new(policy.PodDisruptionBudget) },
}

// decode returns the objects of a stream of YAML documents by "Kind name". It
// returns an error if a field is unknown.
func decode(stream string) (map[string]any, error) {
	objects := make(map[string]any)
	for document := range strings.SplitSeq("\n"+stream, "\n---") {
		var head struct {
			APIVersion string `json:"apiVersion"`
			Kind       string `json:"kind"`
			Metadata   struct {
				Name string `json:"name"`
			} `json:"metadata"`
		}
		if err := yaml.Unmarshal([]byte(document), &head); err != nil {
			return nil, fmt.Errorf("parsing a manifest: %w", err)
		}
		if head.Kind == "" {
			continue // the document contains only comments
		}
		newObject, ok := kinds[head.APIVersion+" "+head.Kind]
		if !ok {
			return nil, fmt.Errorf("unknown kind %s %s", head.APIVersion, head.Kind)
		}
		object, name := newObject(), head.Kind+" "+head.Metadata.Name
		if err := yaml.UnmarshalStrict([]byte(document), object); err != nil {
			return nil, fmt.Errorf("decoding %s: %w", name, err)
		}
		if objects[name] != nil {
			return nil, fmt.Errorf("duplicate object %s", name)
		}
		objects[name] = object
	}
	return objects, nil
}

// TestDecodeIsStrict checks that decode rejects invalid manifests. The other
// tests depend on it.
func TestDecodeIsStrict(t *testing.T) {
	const pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  "
	for _, c := range []struct{ name, manifest, want string }{
		{"an unknown field", pod + "enableServiceLink: false", "enableServiceLink"},
		{"a value of another type", pod + "enableServiceLinks: 3", "decoding Pod a"},
		{"an unknown kind", "apiVersion: v2\nkind: Pod", "unknown kind"},
		{"a duplicate object", pod + "{}\n---\n" + pod + "{}", "duplicate object"},
	} {
		if _, err := decode(c.manifest); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.want)
		}
	}
}
