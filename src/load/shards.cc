#include "load/shards.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/check.h"
#include "base/text.h"
#include "load/json.h"

namespace lowbit {
namespace {

using nlohmann::json;

// A shard must lie in the folder itself: an index must not reach other files of the machine.
bool is_plain_name(const std::string& name) {
  return !name.empty() && name != "." && name != ".." &&
         name.find_first_of(std::string_view("/\\\0", 3)) == std::string::npos;
}

std::map<std::string, std::string> read_weight_map(const std::string& path, const Bytes& file) {
  const json index = parse_json(path, file.text());
  const json* map =
      index.is_object() && index.contains("weight_map") ? &index["weight_map"] : nullptr;
  if (!map || !map->is_object() || map->empty()) {
    throw_error("{}: weight_map: must be an object that maps tensors to files", path);
  }
  std::map<std::string, std::string> shard_of;  // tensor -> file
  for (const auto& [name, shard] : map->items()) {
    if (!shard.is_string() || !is_plain_name(shard.get_ref<const std::string&>())) {
      throw_error("{}: weight_map: {}: is {}, expected the name of a file in the same folder", path,
                  printable(name, 200), describe(shard));
    }
    shard_of[name] = shard.get<std::string>();
  }
  return shard_of;
}

struct ShardName {
  std::string_view stem;
  long long number = 0, count = 0;
};

// STEM-00001-of-00003, the suffix taken off
std::optional<ShardName> parse_shard_name(std::string_view name) {
  const size_t of = name.rfind("-of-");
  if (of == std::string_view::npos || of == 0) return std::nullopt;
  const size_t dash = name.rfind('-', of - 1);
  if (dash == std::string_view::npos) return std::nullopt;
  const auto number = parse_int(name.substr(dash + 1, of - dash - 1));
  const auto count = parse_int(name.substr(of + 4));
  if (!number || !count) return std::nullopt;
  return ShardName{name.substr(0, dash), *number, *count};
}

std::optional<ShardName> parse_shard_name(const std::string& file, const ShardNames& names) {
  return parse_shard_name(std::string_view(file).substr(0, file.size() - names.suffix.size()));
}

void check_complete(const Folder& folder, const std::vector<std::string>& files,
                    const ShardNames& names) {
  const auto first = parse_shard_name(files[0], names);
  std::vector<long long> numbers;
  for (const std::string& file : files) {
    const auto shard = parse_shard_name(file, names);
    if (!first || !shard || shard->stem != first->stem || shard->count != first->count) {
      throw_error("{}: several {} files ({}, {}) and no {}; add it, or keep one file",
                  folder.path(), names.suffix, printable(files[0]), printable(files[1]),
                  names.index);
    }
    numbers.push_back(shard->number);
  }
  std::sort(numbers.begin(), numbers.end());
  numbers.push_back(first->count + 1);
  for (size_t i = 0; i < numbers.size(); ++i) {
    const long long expected = static_cast<long long>(i) + 1;
    if (numbers[i] != expected) {
      throw_error("{}: shard {} of {} is missing", folder.path(), expected, first->count);
    }
  }
}

void check_index(const Folder& folder, const std::string& path, const StoredTensors& all,
                 const std::map<std::string, std::string>& shard_of) {
  for (const auto& [name, shard] : shard_of) {
    const auto at = all.find(name);
    if (at == all.end() || at->second.file != folder.path_of(shard)) {
      throw_error("{}: weight_map: {}: is not in {}", path, printable(name, 200), printable(shard));
    }
  }
  for (const auto& [name, tensor] : all) {
    if (!shard_of.contains(name)) {
      throw_error("{}: weight_map: lacks {}, which {} holds", path, printable(name, 200),
                  tensor.file);
    }
  }
}

}  // namespace

std::vector<std::string> shard_files(const Folder& folder, const ShardNames& names) {
  if (const auto index = folder.find(std::string(names.index))) {
    std::vector<std::string> shards;
    for (const auto& [name, shard] :
         read_weight_map(folder.path_of(std::string(names.index)), *index)) {
      shards.push_back(shard);
    }
    std::sort(shards.begin(), shards.end());
    shards.erase(std::unique(shards.begin(), shards.end()), shards.end());
    return shards;
  }
  if (folder.find(std::string(names.single))) return {std::string(names.single)};
  std::vector<std::string> files;
  for (const std::string& name : folder.names()) {
    if (name.starts_with(names.prefix) && name.ends_with(names.suffix)) files.push_back(name);
  }
  return files;
}

StoredTensors open_shards(const Folder& folder, const ShardNames& names,
                          StoredTensors (*parse)(const std::string& path, const Bytes& file)) {
  const std::string index_path = folder.path_of(std::string(names.index));
  const auto index = folder.find(std::string(names.index));
  const std::vector<std::string> files = shard_files(folder, names);
  if (files.empty()) throw_error("{}: holds no {} file", folder.path(), names.suffix);
  if (!index && files.size() > 1) check_complete(folder, files, names);
  for (const std::string& file : files) {
    if (index && !folder.find(file)) {
      throw_error("{}: weight_map: names {}, which is not in the folder", index_path,
                  printable(file));
    }
  }
  StoredTensors all;
  for (const std::string& file : files) {
    for (auto& [name, tensor] : parse(folder.path_of(file), folder.open(file))) {
      const auto [at, inserted] = all.emplace(name, std::move(tensor));
      if (!inserted) {
        throw_error("{}: {}: is also in {}", folder.path_of(file), printable(name, 200),
                    at->second.file);
      }
    }
  }
  if (index) check_index(folder, index_path, all, read_weight_map(index_path, *index));
  return all;
}

}  // namespace lowbit
