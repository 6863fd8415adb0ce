/*
Copyright The Replika Authors.

Licensed under the Apache License, Version 2.0 (the "License");
you may not use this file except in compliance with the License.
You may obtain a copy of the License at

    http://www.apache.org/licenses/LICENSE-2.0

Unless required by applicable law or agreed to in writing, software
distributed under the License is distributed on an "AS IS" BASIS,
WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
See the License for the specific language governing permissions and
limitations under the License.
*/

package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// archive is a built archive.
type archive struct {
	platform
	sha256 string
}

// archivedFile is a file in an archive.
type archivedFile struct {
	name    string
	mode    os.FileMode
	content []byte
}

// archivedAt is the time of all files in an archive. Zip has no earlier one.
var archivedAt = time.Date(1980, time.January, 1, 0, 0, 0, 0, time.UTC)

// buildArchive writes the archive of a platform: the executable and the license.
func (r *release) buildArchive(ctx context.Context, p platform) (archive, error) {
	folder, err := os.MkdirTemp("", "kubectl-replika-")
	if err != nil {
		return archive{}, err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	path, err := r.compile(ctx, p, folder)
	if err != nil {
		return archive{}, err
	}
	executable, err := os.ReadFile(path)
	if err != nil {
		return archive{}, err
	}
	license, err := os.ReadFile(filepath.Join(r.root, "LICENSE"))
	if err != nil {
		return archive{}, err
	}
	write := writeTar
	if strings.HasSuffix(p.archive(), ".zip") {
		write = writeZip
	}
	content, err := write([]archivedFile{{"LICENSE", 0o644, license}, {p.binary(), 0o755, executable}})
	if err != nil {
		return archive{}, err
	}
	sum := sha256.Sum256(content)
	return archive{p, hex.EncodeToString(sum[:])}, os.WriteFile(filepath.Join(r.output, p.archive()), content, 0o644)
}

func writeTar(files []archivedFile) ([]byte, error) {
	var content bytes.Buffer
	compressed := gzip.NewWriter(&content)
	archive := tar.NewWriter(compressed)
	for _, file := range files {
		header := &tar.Header{Name: file.name, Mode: int64(file.mode), Size: int64(len(file.content)), ModTime: archivedAt}
		if err := archive.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := archive.Write(file.content); err != nil {
			return nil, err
		}
	}
	if err := archive.Close(); err != nil {
		return nil, err
	}
	err := compressed.Close()
	return content.Bytes(), err
}

func writeZip(files []archivedFile) ([]byte, error) {
	var content bytes.Buffer
	archive := zip.NewWriter(&content)
	for _, file := range files {
		header := &zip.FileHeader{Name: file.name, Method: zip.Deflate, Modified: archivedAt}
		header.SetMode(file.mode)
		writer, err := archive.CreateHeader(header)
		if err != nil {
			return nil, err
		}
		if _, err := writer.Write(file.content); err != nil {
			return nil, err
		}
	}
	err := archive.Close()
	return content.Bytes(), err
}

// writeChecksums writes the checksums in the format of sha256sum.
func (r *release) writeChecksums(archives []archive) error {
	var lines strings.Builder
	for _, built := range archives {
		lines.WriteString(built.sha256 + "  " + built.archive() + "\n")
	}
	return os.WriteFile(filepath.Join(r.output, checksumsName), []byte(lines.String()), 0o644)
}

// checksumsName is the name of the file with the checksums.
const checksumsName = "kubectl-replika_checksums.txt"
