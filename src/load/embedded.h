// Files linked into the binary (cmake/embed.cmake): the shapes of configs/models and the model that
// the project ships, so that the binary measures something on a machine that has no files.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"

namespace lowbit {

struct EmbeddedFile {
  std::string_view path;  // in the repository: "configs/models/llama3-8b.yaml"
  const std::byte* begin;
  const std::byte* end;
};

// Sorted by path. Generated at build time.
std::span<const EmbeddedFile> embedded_files();

// The embedded files below `prefix` ("models/prose-7m/") as a folder; `path` is its name in
// messages. nullptr if there are none.
std::unique_ptr<Folder> open_embedded_folder(std::string_view prefix, const std::string& path);

// The models linked into this binary, for embedded:NAME. Often empty or one.
std::vector<std::string> embedded_names();

}  // namespace lowbit
