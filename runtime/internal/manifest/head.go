package manifest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"io/fs"
)

// headSize is enough for the keys that a Head has, which both generators write first.
const headSize = 256

// A Head is what is read from the start of a files.json, without parsing it all.
type Head struct {
	ContentHash string
	Version     int
}

// ReadHead reads the keys before `files` from the first bytes of the manifest in
// fsys. ok is false when they do not begin with a contentHash and a version that
// this package knows: the caller then reads the whole file. The error is fsys's.
func ReadHead(fsys fs.FS) (head Head, ok bool, err error) {
	f, err := fsys.Open(FileName)
	if err != nil {
		return Head{}, false, err
	}
	defer f.Close()
	buf := make([]byte, headSize)
	n, err := io.ReadFull(f, buf)
	if err != nil && err != io.ErrUnexpectedEOF && err != io.EOF {
		return Head{}, false, err
	}
	head, ok = parseHead(buf[:n])
	return head, ok, nil
}

// parseHead takes the literal start that both generators write; any other spacing
// or order of keys is left to the full parser.
func parseHead(data []byte) (Head, bool) {
	head := Head{Version: Version}
	rest := data
	for _, token := range []string{"{", `"contentHash"`, ":", `"`} {
		if rest = bytes.TrimLeft(rest, " \t\r\n"); !bytes.HasPrefix(rest, []byte(token)) {
			return Head{}, false
		}
		rest = rest[len(token):]
	}
	if len(rest) < 64 || !isDigest(string(rest[:64])) {
		return Head{}, false
	}
	head.ContentHash, rest = string(rest[:64]), rest[64:]
	for _, token := range []string{`"`, ",", `"version"`, ":", "2"} {
		if rest = bytes.TrimLeft(rest, " \t\r\n"); !bytes.HasPrefix(rest, []byte(token)) {
			return Head{}, false
		}
		rest = rest[len(token):]
	}
	if rest = bytes.TrimLeft(rest, " \t\r\n"); len(rest) == 0 || rest[0] != ',' && rest[0] != '}' {
		return Head{}, false
	}
	return head, true
}

// ReadOrigin reads the `origin` key of the manifest in fsys if it comes before
// `files`; otherwise it is nil.
func ReadOrigin(fsys fs.FS) *Origin {
	f, err := fsys.Open(FileName)
	if err != nil {
		return nil
	}
	defer f.Close()
	dec := json.NewDecoder(f)
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil || key == "files" {
			return nil
		}
		if key == "origin" {
			var origin Origin
			if err := dec.Decode(&origin); err != nil {
				return nil
			}
			return &origin
		}
		var skip json.RawMessage
		if err := dec.Decode(&skip); err != nil {
			return nil
		}
	}
	return nil
}

// FileIdentity is the identity of a bundle without a version: the sha256 of its
// files.json, because go-embed-python's contentHash covers no names.
func FileIdentity(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
