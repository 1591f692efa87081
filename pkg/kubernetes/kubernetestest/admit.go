// SPDX-License-Identifier: Apache-2.0

package kubernetestest

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// tokenPath is where the token of a service account is mounted.
const tokenPath = "/var/run/secrets/kubernetes.io/serviceaccount"

// admit completes a pod as the plugin for service accounts and the scheduler do.
// kubernetes: plugin/pkg/admission/serviceaccount
func admit(pod map[string]any) {
	spec := member(pod, "spec")
	const token = "kube-api-access-x7x2k"
	mounted := false
	for _, container := range items(spec, "containers") {
		mounts, _ := container["volumeMounts"].([]any)
		has := slices.ContainsFunc(items(container, "volumeMounts"), func(m map[string]any) bool { return m["mountPath"] == tokenPath })
		if !has {
			container["volumeMounts"] = append(mounts, map[string]any{"name": token, "readOnly": true, "mountPath": tokenPath})
			mounted = true
		}
		if container["resources"] == nil {
			container["resources"] = map[string]any{}
		}
		container["imagePullPolicy"] = "Always"
	}
	if mounted {
		volumes, _ := spec["volumes"].([]any)
		spec["volumes"] = append(volumes, map[string]any{"name": token, "projected": map[string]any{"defaultMode": 420}})
	}
	if spec["restartPolicy"] == nil {
		spec["restartPolicy"] = "Always"
	}
	spec["nodeName"] = "node-1"
	spec["serviceAccountName"], spec["priority"], spec["preemptionPolicy"] = "default", 0.0, "PreemptLowerPriority"
	pod["apiVersion"], pod["kind"], pod["spec"] = "v1", "Pod", spec
}

var dns1123 = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)

// invalid says what is wrong with a manifest, "" if nothing is.
// kubernetes: pkg/apis/core/validation
func (c *Cluster) invalid(pod map[string]any, namespace string) string {
	metadata, spec := member(pod, "metadata"), member(pod, "spec")
	name, _ := metadata["name"].(string)
	switch {
	case pod["kind"] != "Pod" || pod["apiVersion"] != "v1":
		return "the object is not a Pod of v1"
	case len(name) > 253 || !dns1123.MatchString(name):
		return fmt.Sprintf("metadata.name: Invalid value: %q: a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters", name)
	case metadata["namespace"] != nil && metadata["namespace"] != namespace:
		return "the namespace of the provided object does not match the namespace sent on the request"
	case metadata["resourceVersion"] != nil:
		return "resourceVersion should not be set on objects to be created"
	case len(items(spec, "containers")) == 0:
		return "spec.containers: Required value"
	case spec["ephemeralContainers"] != nil:
		return "spec.ephemeralContainers: Forbidden: cannot be set on create"
	}
	known := []string{}
	for i, v := range items(spec, "volumes") {
		if text, _ := v["name"].(string); strings.HasPrefix(text, "kube-api-access-") {
			return fmt.Sprintf("spec.volumes[%d]: the test wants no volume of the pod that was protected", i)
		}
		known = append(known, v["name"].(string))
		if cinder, ok := v["cinder"].(map[string]any); ok {
			id, _ := cinder["volumeID"].(string)
			if id == "" {
				return fmt.Sprintf("spec.volumes[%d].cinder.volumeID: Required value", i)
			}
		}
	}
	for i, container := range append(items(spec, "containers"), items(spec, "initContainers")...) {
		for j, m := range items(container, "volumeMounts") {
			if text, _ := m["name"].(string); !slices.Contains(known, text) {
				return fmt.Sprintf("spec.containers[%d].volumeMounts[%d].name: Not found: %q", i, j, text)
			}
		}
	}
	return ""
}
