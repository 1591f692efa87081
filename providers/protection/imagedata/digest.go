// SPDX-License-Identifier: Apache-2.0

package imagedata

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"strings"
)

// Hash is what Glance says about the data of an image. Empty fields are not
// checked.
type Hash struct {
	MD5   string // checksum
	Algo  string // os_hash_algo
	Value string // os_hash_value
}

// algorithms are the hash algorithms that Glance may be configured to use. An unknown one
// is not checked; the MD5 still is.
var algorithms = map[string]func() hash.Hash{
	"md5":    md5.New,
	"sha1":   sha1.New,
	"sha224": sha256.New224,
	"sha256": sha256.New,
	"sha384": sha512.New384,
	"sha512": sha512.New,
}

// digest hashes data on its way.
type digest struct {
	io.Writer
	checks []check
}

type check struct {
	hash hash.Hash
	want string
}

func newDigest(want Hash) *digest {
	d := &digest{}
	d.add("md5", want.MD5)
	d.add(strings.ToLower(want.Algo), want.Value)
	writers := make([]io.Writer, len(d.checks))
	for i, c := range d.checks {
		writers[i] = c.hash
	}
	d.Writer = io.MultiWriter(writers...)
	return d
}

func (d *digest) add(algorithm, want string) {
	build, known := algorithms[algorithm]
	if !known || want == "" {
		return
	}
	d.checks = append(d.checks, check{hash: build(), want: strings.ToLower(want)})
}

// check compares the hashes of all that was written.
func (d *digest) check() error {
	for _, c := range d.checks {
		if got := hex.EncodeToString(c.hash.Sum(nil)); got != c.want {
			return fmt.Errorf("Corrupt image download. Hash was %s expected %s", got, c.want) //nolint:staticcheck // glanceclient: common/utils.py
		}
	}
	return nil
}
