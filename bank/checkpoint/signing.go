// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/karbor-project/karbor/pkg/keyfile"
)

// keySignature is a key of index.json that the original does not know and preserves.
const keySignature = "karbor_signature"

// signed are the keys of index.json that a signature covers: the owner of the checkpoint, its
// content, and the place of its index entries. The status and extra_info are not signed, because
// the original changes them and signs nothing.
var signed = []string{keyVersion, keyID, keyOwner, keyProvider, keyProject, keyPlan, keyCreatedAt, keyTimestamp, keyGraph}

// ErrSignature is in the chain of the error about an index.json that was written or altered without
// the key.
var ErrSignature = errors.New("its signature does not hold")

// Signing signs and verifies the index.json of checkpoints. It is immutable. A nil Signing signs
// nothing and accepts everything.
type Signing struct {
	keys    map[string][]byte // by id
	current string            // the id of the key that signs
	require bool
}

// minKey is the minimum length of a key in bytes, the length of the digest.
const minKey = sha256.Size

// LoadSigning reads a key file (package keyfile), whose lines each have an id and a key in
// hexadecimal digits. The first key signs, and all keys verify. If signatures are required, a
// checkpoint without one is refused, too.
func LoadSigning(path string, require bool) (*Signing, error) {
	lines, err := keyfile.Read(path)
	if err != nil {
		return nil, fmt.Errorf("reading the key file of the checkpoints: %w", err)
	}
	s := &Signing{keys: map[string][]byte{}, require: require}
	for _, line := range lines {
		words, number := strings.Fields(line.Text), line.Number
		// Errors never quote a line, since it may hold a key.
		if len(words) != 2 || !validID(words[0]) {
			return nil, fmt.Errorf("key file %s, line %d: want an id and a key, with a space between them", path, number)
		}
		key, err := hex.DecodeString(words[1])
		if err != nil || len(key) < minKey {
			return nil, fmt.Errorf("key file %s, line %d: the key does not have %d hexadecimal digits or more", path, number, 2*minKey)
		}
		if s.keys[words[0]] != nil {
			return nil, fmt.Errorf("key file %s, line %d: there is a key of this id already", path, number)
		}
		if s.keys[words[0]] = key; s.current == "" {
			s.current = words[0]
		}
	}
	if s.current == "" {
		return nil, fmt.Errorf("key file %s holds no key", path)
	}
	return s, nil
}

// signature is the value of keySignature.
type signature struct {
	Key string `json:"key"`
	MAC string `json:"hmac_sha256"`
	// Objects holds the SHA-256 of the resources' objects, by <resource id>/<key>. It is nil until
	// all objects are written, and in checkpoints of earlier versions.
	Objects map[string]string `json:"objects,omitzero"`
}

// sign adds a signature to a document.
func (s *Signing) sign(d *document, objects map[string]string) error {
	mac, err := s.mac(s.current, d, objects)
	if err != nil {
		return err
	}
	text, err := json.Marshal(signature{s.current, hex.EncodeToString(mac), objects})
	if err != nil {
		return err
	}
	d.set(keySignature, text)
	return nil
}

// resign signs a document that has a signature and that we have changed. Nil objects keep the
// digests that are signed already.
func (s *Signing) resign(d *document, objects map[string]string) error {
	if s == nil || d.values[keySignature] == nil {
		return nil
	}
	if objects == nil {
		objects = d.objects()
	}
	return s.sign(d, objects)
}

// objects returns the digests in the signature of a verified document, or nil.
func (d *document) objects() map[string]string {
	var given signature
	if json.Unmarshal(d.values[keySignature], &given) != nil {
		return nil
	}
	return given.Objects
}

// verify fails with ErrSignature unless the signature is valid, or is absent and not required.
func (s *Signing) verify(d *document) error {
	if s == nil {
		return nil
	}
	value, ok := d.values[keySignature]
	if !ok {
		if s.require {
			return fmt.Errorf("%w: it has none, and one is required", ErrSignature)
		}
		return nil
	}
	var given signature
	if err := json.Unmarshal(value, &given); err != nil {
		return fmt.Errorf("%w: %q is none", ErrSignature, keySignature)
	}
	if s.keys[given.Key] == nil {
		return fmt.Errorf("%w: there is no key %.40q in the key file", ErrSignature, given.Key)
	}
	mac, err := s.mac(given.Key, d, given.Objects)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrSignature, err)
	}
	if got, err := hex.DecodeString(given.MAC); err != nil || !hmac.Equal(got, mac) {
		return fmt.Errorf("%w: it was altered, or written by one who does not have key %q", ErrSignature, given.Key)
	}
	return nil
}

// mac returns the HMAC of the signed content under the key with this id. It covers the values of
// index.json and not their text, since the original spaces and escapes JSON in its own way when it
// rewrites index.json.
func (s *Signing) mac(id string, d *document, objects map[string]string) ([]byte, error) {
	type member struct {
		Key   string
		Value any
	}
	covered := []member{}
	for _, key := range signed {
		if text, ok := d.values[key]; ok {
			value, err := plainValue(text)
			if err != nil {
				return nil, fmt.Errorf("%q: %w", key, err)
			}
			covered = append(covered, member{key, value})
		}
	}
	if objects != nil {
		covered = append(covered, member{keySignature, objects})
	}
	text, err := json.Marshal(covered)
	if err != nil {
		return nil, err
	}
	h := hmac.New(sha256.New, s.keys[id])
	fmt.Fprintf(h, "karbor checkpoint 1 %s\n%s", id, text)
	return h.Sum(nil), nil
}

// plainValue decodes JSON such that a number has the same value in every notation.
func plainValue(text json.RawMessage) (any, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return nil, err
	}
	return plainNumbers(value)
}

func plainNumbers(value any) (_ any, err error) {
	switch v := value.(type) {
	case json.Number:
		if !strings.ContainsAny(v.String(), ".eE") {
			return v, nil
		}
		f, err := v.Float64()
		if err != nil {
			return nil, fmt.Errorf("a number is out of range")
		}
		return "float " + strconv.FormatFloat(f, 'g', -1, 64), nil
	case []any:
		for i := range v {
			if v[i], err = plainNumbers(v[i]); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		for key := range v {
			if v[key], err = plainNumbers(v[key]); err != nil {
				return nil, err
			}
		}
	case string:
		return "text " + v, nil
	}
	return value, nil
}
