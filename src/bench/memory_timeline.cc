#include "bench/memory_timeline.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "base/text.h"

namespace lowbit {
namespace {

using Json = nlohmann::ordered_json;

// Of this process; 0 where the system does not tell.
double resident_bytes() {
  std::ifstream file("/proc/self/statm");  // pages: proc(5)
  double size = 0, resident = 0;
  if (!(file >> size >> resident)) return 0;
  return resident * static_cast<double>(::sysconf(_SC_PAGESIZE));
}

double& taken(MemoryEntry* entry, MemoryPart part) {
  return entry->taken[static_cast<size_t>(part)];
}

// The columns of numbers, as they are named in JSON.
template <class Visitor>
void visit_numbers(const Visitor& visit) {
  visit(
      "seconds", [](auto& e) -> auto& { return e.seconds; });
  visit(
      "weights", [](auto& e) -> auto& { return e.taken[0]; });
  visit(
      "state", [](auto& e) -> auto& { return e.taken[1]; });
  visit(
      "workspace", [](auto& e) -> auto& { return e.taken[2]; });
  visit(
      "temporary", [](auto& e) -> auto& { return e.taken[3]; });
  visit(
      "state_used", [](auto& e) -> auto& { return e.state_used; });
  visit(
      "temporary_used", [](auto& e) -> auto& { return e.temporary_used; });
  visit(
      "resident", [](auto& e) -> auto& { return e.resident; });
}

const MemoryEntry* peak_of(const std::deque<MemoryEntry>& entries) {
  const auto most = std::max_element(
      entries.begin(), entries.end(),
      [](const MemoryEntry& a, const MemoryEntry& b) { return a.total() < b.total(); });
  return most == entries.end() ? nullptr : &*most;
}

}  // namespace

double MemoryEntry::total() const {
  double total = 0;
  for (const double bytes : taken) total += bytes;
  return total;
}

void MemoryTimeline::add(std::string event) {
  if (failure_) return;
  now_.event = std::move(event);
  now_.seconds = std::round(timer_.seconds() * 1e6) * 1e-6;
  now_.resident = device_ ? static_cast<double>(device_->memory().taken) : resident_bytes();
  entries_.push_back(now_);
  if (entries_.size() <= most_) return;
  entries_.pop_front();
  ++dropped_;
}

void MemoryTimeline::took(MemoryPart part, std::string_view what, size_t bytes) {
  if (failure_) return;
  taken(&now_, part) += static_cast<double>(bytes);
  add(fmt::format("{}: {}", name(part), what));
}

void MemoryTimeline::gave_back(MemoryPart part, std::string_view what, size_t bytes) {
  if (failure_) return;
  taken(&now_, part) -= static_cast<double>(bytes);
  add(fmt::format("{}: {} done", name(part), what));
}

void MemoryTimeline::failed(MemoryPart part, std::string_view what, size_t bytes) {
  if (failure_) return;
  add(fmt::format("{}: {} failed", name(part), what));
  failure_ = MemoryFailure{std::string(name(part)), std::string(what), static_cast<double>(bytes)};
}

void MemoryTimeline::stepped(const std::string& event, size_t state_used, size_t temporary_used) {
  now_.state_used = static_cast<double>(state_used);
  now_.temporary_used = static_cast<double>(temporary_used);
  add(event);
}

std::vector<MemoryEntry> thinned(const std::deque<MemoryEntry>& entries, size_t most) {
  std::vector<MemoryEntry> kept;
  const size_t share = entries.size() <= most ? 1 : (entries.size() + most - 2) / (most - 1);
  for (size_t begin = 0; begin < entries.size(); begin += share) {
    const auto first = entries.begin() + static_cast<std::ptrdiff_t>(begin);
    const auto last =
        entries.begin() + static_cast<std::ptrdiff_t>(std::min(begin + share, entries.size()));
    kept.push_back(*std::max_element(first, last, [](const MemoryEntry& a, const MemoryEntry& b) {
      return a.total() < b.total();
    }));
  }
  if (share > 1 && !(kept.back() == entries.back())) kept.push_back(entries.back());
  return kept;
}

Json to_json(const std::vector<MemoryEntry>& entries) {
  Json json = {{"events", Json::array()}};
  for (const MemoryEntry& entry : entries) json["events"].push_back(entry.event);
  visit_numbers([&](const char* key, const auto& number) {
    json[key] = Json::array();
    for (const MemoryEntry& entry : entries) {
      const double value = number(entry);
      // Bytes are whole numbers, and shorter so.
      json[key].push_back(std::string_view(key) == "seconds" ? Json(value)
                                                             : Json(static_cast<int64_t>(value)));
    }
  });
  return json;
}

std::vector<MemoryEntry> parse_memory(const std::string& source, const Json& json) {
  const auto column = [&](const char* key) -> const Json& {
    const auto found = json.find(key);
    if (found == json.end() || !found->is_array())
      throw_error("{}: {}: must be a list", source, key);
    return *found;
  };
  std::vector<MemoryEntry> entries;
  for (const Json& event : column("events")) {
    if (!event.is_string()) throw_error("{}: events: must be texts", source);
    entries.emplace_back().event = event.get<std::string>();
  }
  visit_numbers([&](const char* key, const auto& number) {
    const Json& values = column(key);
    if (values.size() != entries.size()) {
      throw_error("{}: {}: has {} values for {} events", source, key, values.size(),
                  entries.size());
    }
    for (size_t i = 0; i < values.size(); ++i) {
      if (!values[i].is_number()) throw_error("{}: {}: must be numbers", source, key);
      number(entries[i]) = values[i].get<double>();
    }
  });
  return entries;
}

std::string snapshot_json(const MemoryTimeline& timeline, const std::string& iteration) {
  Json json = {{"iteration", iteration}, {"dropped", timeline.dropped()}, {"failed", nullptr}};
  if (timeline.failure()) {
    const MemoryFailure& failure = *timeline.failure();
    json["failed"] = {{"part", failure.part}, {"what", failure.what}, {"bytes", failure.bytes}};
  }
  if (const MemoryEntry* peak = peak_of(timeline.entries())) json["peak"] = to_json({*peak});
  json["entries"] = to_json({timeline.entries().begin(), timeline.entries().end()});
  return json.dump() + "\n";
}

std::string memory_text(const MemoryTimeline& timeline) {
  std::string text;
  if (const MemoryEntry* peak = peak_of(timeline.entries())) {
    text = fmt::format("most memory: {} at `{}`", format_bytes(peak->total()), peak->event);
    for (size_t i = 0; i < kMemoryParts; ++i) {
      text += fmt::format("{}{} {}", i == 0 ? ": " : ", ", name(static_cast<MemoryPart>(i)),
                          format_bytes(peak->taken[i]));
    }
    text += "\n";
  }
  if (timeline.failure()) {
    const MemoryFailure& failure = *timeline.failure();
    text += fmt::format("could not be had: {}{} for {}\n",
                        failure.bytes > 0 ? format_bytes(failure.bytes) + " of " : "", failure.part,
                        failure.what);
  }
  return text;
}

}  // namespace lowbit
