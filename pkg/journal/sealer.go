// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/karbor-project/karbor/pkg/keyfile"
)

var (
	// ErrKey reports a text that was sealed with another key or about
	// something else, or was changed since.
	ErrKey = errors.New("the sealed text does not fit the key")
	// ErrSealed reports a text that was not made by Seal.
	ErrSealed = errors.New("not a sealed text")
	// ErrSignature reports a text that is no signature, a signature with an unknown key,
	// or the signature of other content.
	ErrSignature = errors.New("the signature does not fit")
)

const (
	keySize      = 32 // AES-256
	sealedPrefix = "karbor1."
	signedPrefix = "karbor1-"
)

// Sealer encrypts the secrets in an entry with AES-256-GCM, and signs data that must
// not be changed with HMAC-SHA-256. Workers that adopt each other's operations share
// the key file. A Sealer is safe for concurrent use.
type Sealer struct {
	file string
	keys []sealKey // the first seals and signs, all open and verify
}

// sealKey is one key of the file.
type sealKey struct {
	id   string // for people and signatures; it tells nothing of the key
	aead cipher.AEAD
	sign []byte
}

// NewSealer reads the keys from a file (package keyfile), 64 hexadecimal digits each.
// The first key seals, all open, so that keys can be exchanged while operations run.
// Where there is no file it makes one with a random key, that its owner alone may read;
// of several processes that do so at once all get the same.
func NewSealer(keyFile string) (*Sealer, error) {
	lines, err := keyfile.Read(keyFile)
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeKey(keyFile); err != nil {
			return nil, fmt.Errorf("making the journal's key file %s: %w", keyFile, err)
		}
		lines, err = keyfile.Read(keyFile)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the journal's key file: %w", err)
	}
	s := &Sealer{file: keyFile}
	for _, line := range lines {
		secret, err := hex.DecodeString(line.Text)
		if err != nil || len(secret) != keySize { // the decoder's text would show a part of it
			return nil, fmt.Errorf("the journal's key file %s does not hold %d hexadecimal digits in line %d", keyFile, 2*keySize, line.Number)
		}
		key, err := newSealKey(secret)
		if err != nil {
			return nil, fmt.Errorf("using the key in line %d of %s: %w", line.Number, keyFile, err)
		}
		s.keys = append(s.keys, key)
	}
	if len(s.keys) == 0 {
		return nil, fmt.Errorf("the journal's key file %s does not hold %d hexadecimal digits", keyFile, 2*keySize)
	}
	return s, nil
}

// newSealKey derives the keys for sealing and signing from a secret.
func newSealKey(secret []byte) (sealKey, error) {
	block, err := aes.NewCipher(secret)
	if err != nil {
		return sealKey{}, err
	}
	k := sealKey{}
	if k.aead, err = cipher.NewGCMWithRandomNonce(block); err != nil {
		return sealKey{}, err
	}
	if k.sign, err = hkdf.Expand(sha256.New, secret, "karbor journal: signatures", sha256.Size); err != nil {
		return sealKey{}, err
	}
	id, err := hkdf.Expand(sha256.New, secret, "karbor journal: id of the key", 4)
	k.id = hex.EncodeToString(id)
	return k, err
}

// makeKey creates a key file atomically, so that a reader never finds half a key. An
// existing file stays.
func makeKey(path string) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, filepath.Base(path)+".*") // O_EXCL, 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	key := make([]byte, keySize)
	_, _ = rand.Read(key) // never fails
	_, err = f.WriteString(hex.EncodeToString(key) + "\n")
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Seal encrypts plain with the first key. about names what the secret belongs to, for
// example an operation's id. It is not part of the result, and Open needs the same
// value.
func (s *Sealer) Seal(plain []byte, about string) (string, error) {
	return sealedPrefix + base64.RawURLEncoding.EncodeToString(s.keys[0].aead.Seal(nil, nil, plain, associated(about))), nil
}

// Open decrypts a result of Seal. Errors: ErrSealed, ErrKey; they show nothing
// of the text.
func (s *Sealer) Open(sealed, about string) ([]byte, error) {
	text, ok := strings.CutPrefix(sealed, sealedPrefix)
	if !ok {
		return nil, fmt.Errorf("opening a secret of the journal: %w", ErrSealed)
	}
	box, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(box) < s.keys[0].aead.Overhead() {
		return nil, fmt.Errorf("opening a secret of the journal: %w", ErrSealed)
	}
	for _, key := range s.keys {
		if plain, err := key.aead.Open(nil, nil, box, associated(about)); err == nil {
			return plain, nil
		}
	}
	return nil, fmt.Errorf("opening a secret of the journal with %s: %w (do all workers have the same key file?)", s.named(), ErrKey)
}

func associated(about string) []byte { return []byte(sealedPrefix + about) }

// Sign returns a signature, made with the first key, of the bytes that write writes. The
// signature holds the key's id, and consists of letters, digits, - and _.
func (s *Sealer) Sign(write func(io.Writer)) string { return s.keys[0].signature(write) }

// Verify returns nil for a result of Sign about the same content, ErrSignature for
// all else.
func (s *Sealer) Verify(signature string, write func(io.Writer)) error {
	id, _, ok := strings.Cut(strings.TrimPrefix(signature, signedPrefix), "-")
	if !ok || !strings.HasPrefix(signature, signedPrefix) {
		return fmt.Errorf("%w: it is none of a journal's", ErrSignature)
	}
	at := slices.IndexFunc(s.keys, func(k sealKey) bool { return k.id == id })
	if at < 0 {
		return fmt.Errorf("%w: it is of key %.16q, there is %s (do all workers have the same key file?)", ErrSignature, id, s.named())
	}
	if !hmac.Equal([]byte(signature), []byte(s.keys[at].signature(write))) {
		return fmt.Errorf("%w: what it is about has been changed since", ErrSignature)
	}
	return nil
}

func (k *sealKey) signature(write func(io.Writer)) string {
	sum := hmac.New(sha256.New, k.sign)
	write(sum)
	return signedPrefix + k.id + "-" + base64.RawURLEncoding.EncodeToString(sum.Sum(nil))
}

// named lists the names of the known keys.
func (s *Sealer) named() string {
	ids := make([]string, len(s.keys))
	for i, k := range s.keys {
		ids[i] = k.id
	}
	return "key " + strings.Join(ids, ", ") + " of " + s.file
}
