// SPDX-License-Identifier: Apache-2.0

package kubernetestest

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// node is the node on which all pods run.
const node = "node-1"

// tokenPath is where the token of a service account is mounted.
const tokenPath = "/var/run/secrets/kubernetes.io/serviceaccount"

// admit completes a pod as the API's defaults and the plugins for service accounts,
// tolerations and priorities do.
// kubernetes: pkg/apis/core/v1/defaults.go; plugin/pkg/admission
func admit(pod map[string]any) {
	spec := member(pod, "spec")
	const token = "kube-api-access-x7x2k"
	mounted := false
	for _, container := range append(items(spec, "containers"), items(spec, "initContainers")...) {
		mounts, _ := container["volumeMounts"].([]any)
		has := slices.ContainsFunc(items(container, "volumeMounts"), func(m map[string]any) bool { return m["mountPath"] == tokenPath })
		if !has {
			container["volumeMounts"] = append(mounts, map[string]any{"name": token, "readOnly": true, "mountPath": tokenPath})
			mounted = true
		}
		fill(container, map[string]any{
			"resources": map[string]any{}, "imagePullPolicy": pullPolicy(fmt.Sprint(container["image"])),
			"terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
		})
	}
	if mounted {
		volumes, _ := spec["volumes"].([]any)
		spec["volumes"] = append(volumes, map[string]any{"name": token, "projected": map[string]any{"defaultMode": 420}})
	}
	fill(spec, map[string]any{
		"restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler", "enableServiceLinks": true,
		"terminationGracePeriodSeconds": 30.0, "securityContext": map[string]any{},
		"serviceAccountName": "default", "serviceAccount": "default", "priority": 0.0, "preemptionPolicy": "PreemptLowerPriority",
	})
	tolerations, _ := spec["tolerations"].([]any)
	for _, taint := range []string{"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"} {
		if !slices.ContainsFunc(items(spec, "tolerations"), func(t map[string]any) bool { return t["key"] == taint }) {
			tolerations = append(tolerations, map[string]any{"key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300.0})
		}
	}
	spec["tolerations"] = tolerations
	pod["apiVersion"], pod["kind"], pod["spec"] = "v1", "Pod", spec
}

// fill sets the members that an object lacks.
func fill(object, defaults map[string]any) {
	for name, value := range defaults {
		if object[name] == nil {
			object[name] = value
		}
	}
}

// pullPolicy returns the default pull policy of an image.
func pullPolicy(image string) string {
	if _, tag, ok := strings.Cut(image[strings.LastIndex(image, "/")+1:], ":"); ok && tag != "latest" {
		return "IfNotPresent"
	}
	return "Always"
}

var dns1123 = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)

// refusal returns the answer to a creation that is refused before the whole object is
// validated, or code 0 if the creation is not refused.
// kubernetes: apiserver/pkg/registry/rest, plugin/pkg/admission/priority
func refusal(pod map[string]any, namespace string) (code int, reason, message string) {
	metadata, spec := member(pod, "metadata"), member(pod, "spec")
	switch {
	case metadata["namespace"] != nil && metadata["namespace"] != namespace:
		return http.StatusBadRequest, "BadRequest", "the namespace of the provided object does not match the namespace sent on the request"
	case spec["priority"] != nil:
		return http.StatusForbidden, "Forbidden", fmt.Sprintf("pods %q is forbidden: the integer value of priority (%v) must not be provided in pod spec; "+
			"priority admission controller computed 0 from the given PriorityClass name", metadata["name"], spec["priority"])
	case metadata["resourceVersion"] != nil:
		return http.StatusInternalServerError, "", "resourceVersion should not be set on objects to be created"
	}
	return 0, "", ""
}

// invalid returns what is wrong with a manifest, "" for a valid one.
// kubernetes: pkg/apis/core/validation
func invalid(pod map[string]any) string {
	metadata, spec := member(pod, "metadata"), member(pod, "spec")
	name, _ := metadata["name"].(string)
	switch {
	case pod["kind"] != "Pod" || pod["apiVersion"] != "v1":
		return "the object is not a Pod of v1"
	case len(name) > 253 || !dns1123.MatchString(name):
		return fmt.Sprintf("metadata.name: Invalid value: %q: a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters", name)
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
