// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/pkg/kubernetes"
	"github.com/karbor-project/karbor/pkg/remark"
	"github.com/karbor-project/karbor/providers/protection"
)

// manifestKey is an object that the original does not have and leaves alone: the
// whole pod as the API server showed it, in JSON. What the metadata has of it is
// too little to make an equal pod: no arguments, environment, ports or probes, and
// no volumes but Cinder's.
const manifestKey = "pod"

// metadata is the object of that name in the bank, in the key order of the
// original. karbor: pod_protection_plugin.py
type metadata struct {
	ResourceID   string  `json:"resource_id"`
	ResourceName string  `json:"resource_name"` // "namespace:name"
	Namespace    string  `json:"namespace"`
	Pod          summary `json:"pod_metadata"`
}

// summary is as much of a pod as the original keeps. What the API server does not
// tell is null.
type summary struct {
	APIVersion json.RawMessage `json:"apiVersion"`
	Kind       json.RawMessage `json:"kind"`
	Metadata   struct {
		Labels    json.RawMessage `json:"labels"`
		Name      string          `json:"name"`
		Namespace string          `json:"namespace"`
	} `json:"metadata"`
	Spec struct {
		Containers    []container     `json:"containers"`
		Volumes       []mounted       `json:"volumes"`
		RestartPolicy json.RawMessage `json:"restartPolicy"`
	} `json:"spec"`
}

type container struct {
	Command      json.RawMessage `json:"command"`
	Image        json.RawMessage `json:"image"`
	Name         json.RawMessage `json:"name"`
	Resources    *resources      `json:"resources"`
	VolumeMounts []mount         `json:"volumeMounts"`
}

// resources is what Python's client makes of ResourceRequirements.
type resources struct {
	Limits   json.RawMessage `json:"limits"`
	Requests json.RawMessage `json:"requests"`
}

type mount struct {
	Name      json.RawMessage `json:"name"`
	MountPath string          `json:"mountPath"`
	ReadOnly  *bool           `json:"readOnly"`
}

// mounted is a volume of a pod that a Cinder volume is behind.
type mounted struct {
	Name   string             `json:"name"`
	Cinder *kubernetes.Cinder `json:"cinder"`
}

// known returns the key of the manifest for callers that must not rely on a
// listing. Backups of the original have none.
func known(ctx context.Context, c *protection.Call) ([]string, error) {
	_, err := c.Section.GetBytes(ctx, manifestKey)
	if errors.Is(err, bank.ErrNotFound) {
		return nil, nil
	}
	if err != nil && !errors.Is(err, bank.ErrAltered) {
		return nil, err
	}
	return []string{manifestKey}, nil
}

// load reads what a pod is restored of: what is to be made, and the Cinder volumes
// of the old one by the names of its volumes.
func load(ctx context.Context, c *protection.Call) (manifest, map[string]kubernetes.Cinder, error) {
	var about metadata
	if err := c.Section.GetJSON(ctx, protection.MetadataKey, &about); err != nil {
		return manifest{}, nil, err
	}
	volumes := map[string]kubernetes.Cinder{}
	for _, v := range about.Pod.Spec.Volumes {
		if v.Cinder != nil {
			volumes[v.Name] = *v.Cinder
		}
	}
	var m manifest
	err := c.Section.GetJSON(ctx, manifestKey, &m.object)
	if errors.Is(err, bank.ErrNotFound) {
		var text json.RawMessage
		if text, err = json.Marshal(about.Pod); err == nil {
			err = json.Unmarshal(text, &m.object)
		}
	}
	m.namespace = about.Namespace
	return m, volumes, err
}

// whole checks that a backup can be read, and is of a pod.
func whole(ctx context.Context, c *protection.Call) error {
	m, _, err := load(ctx, c)
	if err != nil {
		return err
	}
	if m.namespace == "" || len(list(inner(m.object, "spec"), "containers")) == 0 {
		return errors.New("The metadata of the pod is not complete") //nolint:staticcheck // shown to users
	}
	return nil
}

// remarkUnkept remarks what of a pod is not in its backup: what its owner and the cluster
// have noted on it, and what it uses by name, which is to be there when it is restored.
func remarkUnkept(c *protection.Call, raw json.RawMessage) error {
	var m manifest
	if err := json.Unmarshal(raw, &m.object); err != nil {
		return err
	}
	metadata, spec := inner(m.object, "metadata"), inner(m.object, "spec")
	unkept := func(names []string, r remark.Remark) {
		if slices.Sort(names); len(names) > 0 {
			r.Was = strings.Join(slices.Compact(names), ", ")
			c.Remark(r)
		}
	}
	unkept(slices.Collect(maps.Keys(inner(metadata, "annotations"))), remark.Remark{Aspect: "annotations of a pod", Why: "a pod is restored without them"})
	var owners []string
	for _, owner := range list(metadata, "ownerReferences") {
		owners = append(owners, fmt.Sprintf("%v %v", owner["kind"], owner["name"]))
	}
	unkept(owners, remark.Remark{Aspect: "owners of a pod", Why: "a pod is restored as one that nothing owns"})
	unkept(references(spec), remark.Remark{Aspect: "references of a pod", Why: "they are not in the backup, and are to be there when the pod is restored"})
	return nil
}

// references are the objects of the cluster that a pod uses by their names, but for the
// default service account and its token. Volumes of Cinder's are protected beside the pod.
func references(spec map[string]any) []string {
	var names []string
	note := func(kind string, name any) {
		if text, ok := name.(string); ok && text != "" {
			names = append(names, kind+" "+text)
		}
	}
	if account := spec["serviceAccountName"]; account != "default" {
		note("service account", account)
	}
	for _, secret := range list(spec, "imagePullSecrets") {
		note("secret", secret["name"])
	}
	for _, v := range list(spec, "volumes") {
		if isToken(v) {
			continue
		}
		note("config map", inner(v, "configMap")["name"])
		note("secret", inner(v, "secret")["secretName"])
	}
	for _, kind := range []string{"containers", "initContainers"} {
		for _, container := range list(spec, kind) {
			for _, from := range list(container, "envFrom") {
				note("config map", inner(from, "configMapRef")["name"])
				note("secret", inner(from, "secretRef")["name"])
			}
			for _, variable := range list(container, "env") {
				from := inner(variable, "valueFrom")
				note("config map", inner(from, "configMapKeyRef")["name"])
				note("secret", inner(from, "secretKeyRef")["name"])
			}
		}
	}
	return names
}
