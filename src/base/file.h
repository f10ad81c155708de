// Files as byte spans. Everything the loaders read is a Bytes: a mapped file, or data linked into
// the binary; a Folder finds them by name.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lowbit {

// Read-only bytes and what keeps them alive. Copies share the owner.
struct Bytes {
  std::span<const std::byte> data;
  std::shared_ptr<const void> owner;
  bool mapped = false;  // backed by a file: its pages can be dropped and read again

  std::string_view text() const {
    return {reinterpret_cast<const char*>(data.data()), data.size()};
  }
  Bytes slice(size_t offset, size_t size) const {
    return {data.subspan(offset, size), owner, mapped};
  }
};

// Maps a regular file read-only. Errors: missing, a directory, not readable (names the path).
Bytes map_file(const std::string& path);

// Drops the resident pages of a mapped file, so that a weight that has been packed no longer counts
// as resident memory; a later read brings them back. Does nothing to bytes that are not mapped.
void release_pages(const Bytes& bytes);

// Waits until the pages of a mapped file are in memory. Does nothing to bytes that are not mapped.
void read_pages(const Bytes& bytes);

// A model folder: on disk, or linked into the binary.
class Folder {
 public:
  virtual ~Folder() = default;
  virtual std::string path() const = 0;                                  // for messages
  virtual std::vector<std::string> names() const = 0;                    // sorted file names
  virtual std::optional<Bytes> find(const std::string& name) const = 0;  // nullopt: no such file
  Bytes open(const std::string& name) const;                             // Error if absent
  std::string path_of(const std::string& name) const { return path() + "/" + name; }
};

std::unique_ptr<Folder> open_folder(const std::string& path);

// Writes to a temporary file beside `path` and renames it: readers see the old or the new content.
void write_file_atomically(const std::string& path, std::string_view content);

// Error now rather than after hours: `path` is a folder, or is in none that can be written to.
void check_can_write(const std::string& path);

// Appends one line (a newline is added) in a single write. Creates the file if it is missing.
void append_line(const std::string& path, std::string_view line);

bool file_exists(const std::string& path);
bool is_directory(const std::string& path);

}  // namespace lowbit
