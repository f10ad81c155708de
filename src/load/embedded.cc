#include "load/embedded.h"

namespace lowbit {
namespace {

constexpr std::string_view kModels = "models/";

class EmbeddedFolder final : public Folder {
 public:
  EmbeddedFolder(std::string_view prefix, std::string path)
      : prefix_(prefix), path_(std::move(path)) {}

  std::string path() const override { return path_; }

  std::vector<std::string> names() const override {
    std::vector<std::string> names;
    for (const EmbeddedFile& file : embedded_files()) {
      if (file.path.starts_with(prefix_)) names.emplace_back(file.path.substr(prefix_.size()));
    }
    return names;
  }

  std::optional<Bytes> find(const std::string& name) const override {
    for (const EmbeddedFile& file : embedded_files()) {
      if (file.path == prefix_ + name) return Bytes{{file.begin, file.end}, nullptr, false};
    }
    return std::nullopt;
  }

 private:
  std::string prefix_;
  std::string path_;
};

}  // namespace

std::unique_ptr<Folder> open_embedded_folder(std::string_view prefix, const std::string& path) {
  auto folder = std::make_unique<EmbeddedFolder>(prefix, path);
  if (folder->names().empty()) return nullptr;
  return folder;
}

std::vector<std::string> embedded_names() {
  std::vector<std::string> names;
  for (const EmbeddedFile& file : embedded_files()) {
    if (!file.path.starts_with(kModels)) continue;
    const std::string_view rest = file.path.substr(kModels.size());
    const std::string name(rest.substr(0, rest.find('/')));
    if (names.empty() || names.back() != name) names.push_back(name);
  }
  return names;
}

}  // namespace lowbit
