// Zip archives whose entries are stored, not compressed, as PyTorch writes them: every entry is a
// view of the file. Zip64 (files and offsets beyond 4 GiB) included.
// Source: APPNOTE.TXT 6.3.10 of PKWARE, sections 4.3 to 4.5.
#pragma once

#include <map>
#include <string>

#include "base/file.h"

namespace lowbit {

bool is_zip(const Bytes& file);  // starts as an archive with at least one entry does

// Name -> bytes. Errors name `path` and the entry: compressed, encrypted, outside the file,
// damaged, in several volumes. Checksums are not verified: that would read all weights.
std::map<std::string, Bytes> read_zip(const std::string& path, const Bytes& file);

}  // namespace lowbit
