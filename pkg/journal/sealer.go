// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

var (
	// ErrKey reports a text that was sealed with another key or about
	// something else, or was changed since.
	ErrKey = errors.New("the sealed text does not fit the key")
	// ErrSealed reports a text that is none of Seal's.
	ErrSealed = errors.New("not a sealed text")
)

const (
	keySize      = 32 // AES-256
	sealedPrefix = "karbor1."
)

// Sealer encrypts secrets that go into an entry, with AES-256-GCM. Workers that
// are to adopt each other's operations share the key file. A sealer is safe for
// concurrent use.
type Sealer struct {
	file string
	aead cipher.AEAD
}

// NewSealer reads the key, 64 hexadecimal digits, from a file. Where there is
// none it makes one with a random key, that its owner alone may read; of several
// processes that do so at once all get the same.
func NewSealer(keyFile string) (*Sealer, error) {
	text, err := os.ReadFile(keyFile)
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeKey(keyFile); err != nil {
			return nil, fmt.Errorf("make the journal's key file %s: %w", keyFile, err)
		}
		text, err = os.ReadFile(keyFile)
	}
	if err != nil {
		return nil, fmt.Errorf("read the journal's key file: %w", err)
	}
	key, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(key) != keySize { // the decoder's text would show a part of it
		return nil, fmt.Errorf("the journal's key file %s does not hold %d hexadecimal digits", keyFile, 2*keySize)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("use the key of %s: %w", keyFile, err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("use the key of %s: %w", keyFile, err)
	}
	return &Sealer{file: keyFile, aead: aead}, nil
}

// makeKey puts a whole file in place in one step: whoever finds it, finds a
// key. A file that was there first stays.
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

// Seal encrypts plain. About is what the secret belongs to, an operation's id:
// it is not in the result, and Open needs the same.
func (s *Sealer) Seal(plain []byte, about string) (string, error) {
	return sealedPrefix + base64.RawURLEncoding.EncodeToString(s.aead.Seal(nil, nil, plain, associated(about))), nil
}

// Open decrypts a result of Seal. Errors: ErrSealed, ErrKey; they show nothing
// of the text.
func (s *Sealer) Open(sealed, about string) ([]byte, error) {
	text, ok := strings.CutPrefix(sealed, sealedPrefix)
	if !ok {
		return nil, fmt.Errorf("open a secret of the journal: %w", ErrSealed)
	}
	box, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(box) < s.aead.Overhead() {
		return nil, fmt.Errorf("open a secret of the journal: %w", ErrSealed)
	}
	plain, err := s.aead.Open(nil, nil, box, associated(about))
	if err != nil {
		return nil, fmt.Errorf("open a secret of the journal with the key of %s: %w (do all workers have the same key file?)", s.file, ErrKey)
	}
	return plain, nil
}

func associated(about string) []byte { return []byte(sealedPrefix + about) }
