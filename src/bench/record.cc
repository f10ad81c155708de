#include "bench/record.h"

#include <cmath>
#include <concepts>
#include <type_traits>

#include "base/check.h"
#include "base/file.h"
#include "base/text.h"
#include "bench/metrics.h"
#include "bench/sqlite_file.h"

namespace lowbit {
namespace {

using Json = nlohmann::ordered_json;

// One list of fields per struct, walked by the writer and by the reader.
template <class Visitor>
void visit(Visitor& v, LlamaBenchFields& f) {
  v.field("build_commit", f.build_commit);
  v.field("cpu_info", f.cpu_info);
  v.field("gpu_info", f.gpu_info);
  v.field("backends", f.backends);
  v.field("model_filename", f.model_filename);
  v.field("model_type", f.model_type);
  v.field("model_size", f.model_size);
  v.field("model_n_params", f.model_n_params);
  v.field("n_batch", f.n_batch);
  v.field("n_threads", f.n_threads);
  v.field("type_k", f.type_k);
  v.field("type_v", f.type_v);
  v.field("n_prompt", f.n_prompt);
  v.field("n_gen", f.n_gen);
  v.field("n_depth", f.n_depth);
  v.field("test_time", f.test_time);
  v.field("avg_ns", f.avg_ns);
  v.field("stddev_ns", f.stddev_ns);
  v.field("avg_ts", f.avg_ts);
  v.field("stddev_ts", f.stddev_ts);
  v.field("samples_ns", f.samples_ns);
  v.field("samples_ts", f.samples_ts);
}

template <class Visitor>
void visit(Visitor& v, KernelChoice& f) {
  v.field("linear", f.linear);
  v.field("m_lo", f.m_lo);
  v.field("m_hi", f.m_hi);
  v.field("kernel", f.kernel);
}

template <class Visitor>
void visit(Visitor& v, Fingerprint& f) {
  v.field("version", f.version);
  v.field("commit", f.commit);
  v.field("dirty", f.dirty);
  v.field("build_type", f.build_type);
  v.field("compiler", f.compiler);
  v.field("flags", f.flags);
  v.added("cuda_toolkit", f.cuda_toolkit);
  v.field("os", f.os);
  v.field("cpu", f.cpu);
  v.field("cores", f.cores);
  v.field("threads", f.threads);
  v.field("isa", f.isa);
  v.field("isa_override", f.isa_override);
  v.field("memory_bytes", f.memory_bytes);
  v.field("last_level_cache_bytes", f.last_level_cache_bytes);
  v.optional("governor", f.governor);
  v.field("mhz", f.mhz);
  v.field("load_average", f.load_average);
  v.optional("gpu", f.gpu);
  v.added("gpu_driver", f.gpu_driver);
  v.added("power_limit", f.power_limit);
  v.field("device", f.device);
  v.field("plan", f.plan);
  v.field("kernels", f.kernels);
  v.field("logits_hash", f.logits_hash);
  v.added("model_hash", f.model_hash);
}

template <class Visitor>
void visit(Visitor& v, QualityText& f) {
  v.field("text", f.text);
  v.field("reference", f.reference);
  v.field("ctx", f.ctx);
  v.field("tokens", f.tokens);
}

template <class Visitor>
void visit(Visitor& v, Estimate& f) {
  v.field("median", f.median);
  v.field("lo", f.lo);
  v.field("hi", f.hi);
  v.field("n", f.n);
}

class Writer {
 public:
  explicit Writer(Json* out) : out_(*out) {}

  template <class T>
  void field(const char* key, const T& value) {
    out_[key] = value;
  }
  void field(const char* key, std::vector<KernelChoice>& choices) {
    out_[key] = Json::array();
    for (KernelChoice& choice : choices) {
      Json row = Json::object();
      Writer writer(&row);
      visit(writer, choice);
      out_[key].push_back(std::move(row));
    }
  }
  template <class T>
  void added(const char* key, const T& value) {
    field(key, value);
  }
  void optional(const char* key, const std::string& text) {
    out_[key] = text.empty() ? Json() : Json(text);
  }

 private:
  Json& out_;
};

class Reader {
 public:
  Reader(std::string path, const Json& in) : path_(std::move(path)), in_(in) {
    if (!in_.is_object()) throw_error("{}: must be an object", path_);
  }

  const Json& at(const char* key) const {
    const auto found = in_.find(key);
    if (found == in_.end()) throw_error("{}: {}: is absent; not a record of lowbit", path_, key);
    return *found;
  }
  Reader child(const char* key) const { return {path_ + ": " + key, at(key)}; }
  const Json& json() const { return in_; }
  const std::string& path() const { return path_; }

  template <class T>
  void field(const char* key, T& value) const {
    value = read<T>(key, at(key));
  }
  template <class T>
  void field(const char* key, std::vector<T>& values) const {
    const Json& list = at(key);
    if (!list.is_array()) throw_error("{}: {}: must be a list", path_, key);
    for (const Json& item : list) {
      if constexpr (std::is_same_v<T, KernelChoice>) {
        Reader reader(path_ + ": " + key, item);
        visit(reader, values.emplace_back());
      } else {
        values.push_back(read<T>(key, item));
      }
    }
  }
  // What records of older versions do not have.
  template <class T>
  void added(const char* key, T& value) const {
    if (in_.contains(key)) field(key, value);
  }
  void optional(const char* key, std::string& text) const {
    if (!at(key).is_null()) field(key, text);
  }

 private:
  template <class T>
  T read(const char* key, const Json& value) const {
    if constexpr (std::is_same_v<T, bool>) {
      if (value.is_boolean()) return value.get<bool>();
    } else if constexpr (std::is_same_v<T, std::string>) {
      if (value.is_string()) return value.get<std::string>();
    } else if constexpr (std::integral<T>) {
      if (value.is_number_integer()) {
        const auto number = value.get<int64_t>();
        if (std::in_range<T>(number)) return static_cast<T>(number);
      }
    } else {
      if (value.is_number()) return value.get<T>();
    }
    throw_error("{}: {}: {} is not of the right type", path_, key, printable(value.dump()));
  }

  std::string path_;
  const Json& in_;
};

template <class T>
Json fields_of(const T& value) {
  Json json = Json::object();
  Writer writer(&json);
  visit(writer, const_cast<T&>(value));  // only read
  return json;
}

Status parse_status(const Reader& reader) {
  std::string text;
  reader.field("status", text);
  for (const Status status : {Status::kOk, Status::kSkip, Status::kFail}) {
    if (name(status) == text) return status;
  }
  throw_error("{}: status: `{}` is not ok, skip or fail", reader.path(), printable(text));
}

void read_values(const Reader& reader, Record* record) {
  const Reader values = reader.child("values"), samples = reader.child("samples");
  for (const auto& [tag, json] : values.json().items()) {
    Value& value = record->values.emplace_back();
    value.tag = tag;
    Reader fields = values.child(tag.c_str());
    visit(fields, value.estimate);
    if (samples.json().contains(tag)) samples.field(tag.c_str(), value.samples);
  }
}

}  // namespace

std::string_view name(Status status) {
  constexpr std::string_view kNames[] = {"ok", "skip", "fail"};
  return kNames[static_cast<size_t>(status)];
}

void Record::set(std::string_view tag, const Estimate& estimate) {
  const Metric& metric = find_metric(tag);
  LB_CHECK(
      std::isfinite(estimate.median) && std::isfinite(estimate.lo) && std::isfinite(estimate.hi),
      "{} = {} [{}, {}]", metric.tag, estimate.median, estimate.lo, estimate.hi);
  values.push_back({std::string(metric.tag), estimate, {}});
}

void Record::set(std::string_view tag, std::vector<double> samples) {
  set(tag, series_estimate(samples));
  values.back().samples = std::move(samples);
}

const Value* Record::find_value(std::string_view tag) const {
  for (const Value& value : values) {
    if (value.tag == tag) return &value;
  }
  return nullptr;
}

const Estimate* Record::find(std::string_view tag) const {
  const Value* value = find_value(tag);
  return value ? &value->estimate : nullptr;
}

std::string Record::config_text(const char* key) const {
  const auto found = config.find(key);
  return found != config.end() && found->is_string() ? found->get<std::string>() : "";
}

std::string to_json_line(const Record& record) {
  Json json = Json::object();
  json["schema_version"] = kRecordVersion;
  json["kind"] = record.kind;
  json["status"] = name(record.status);
  json["reason"] = record.reason;
  json["unstable"] = record.unstable;
  json["config"] = record.config;
  json["format"] = record.format;
  json["resident"] = record.resident;
  if (!record.head.empty()) json["head"] = record.head;
  json["random_weights"] = record.random_weights;
  json["fingerprint"] = fields_of(record.fingerprint);
  json["quality"] = record.quality ? fields_of(*record.quality) : Json();
  json["values"] = Json::object();
  json["samples"] = Json::object();
  for (const Value& value : record.values) {
    json["values"][value.tag] = fields_of(value.estimate);
    if (!value.samples.empty()) json["samples"][value.tag] = value.samples;
  }
  json["repro"] = record.repro;
  json["roof"] = record.roof;
  json["roof_unstable"] = record.roof_unstable;
  json["token_seconds"] = record.token_seconds;
  json["not_measured"] = Json::object();
  for (const auto& missing : record.not_measured) {
    json["not_measured"][missing.first] = missing.second;
  }
  if (!record.memory.empty()) json["memory"] = to_json(record.memory);
  json.update(fields_of(record.llama_bench));
  // A path may hold bytes that are no UTF-8.
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Record parse_record(const std::string& source, std::string_view line) {
  const Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) throw_error("{}: is not valid JSON", source);
  const Reader reader(source, json);
  int32_t version = 0;
  reader.field("schema_version", version);
  if (version != kRecordVersion) {
    throw_error("{}: schema_version: is {}; this build reads {}", source, version, kRecordVersion);
  }
  Record record;
  reader.field("kind", record.kind);
  record.status = parse_status(reader);
  reader.field("reason", record.reason);
  reader.added("unstable", record.unstable);
  record.config = reader.child("config").json();
  reader.field("format", record.format);
  reader.field("resident", record.resident);
  reader.added("head", record.head);
  reader.field("random_weights", record.random_weights);
  Reader fingerprint = reader.child("fingerprint");
  visit(fingerprint, record.fingerprint);
  if (!reader.at("quality").is_null()) {
    Reader quality = reader.child("quality");
    visit(quality, record.quality.emplace());
  }
  read_values(reader, &record);
  reader.added("repro", record.repro);
  reader.added("roof", record.roof);
  reader.added("roof_unstable", record.roof_unstable);
  reader.added("token_seconds", record.token_seconds);
  if (json.contains("not_measured")) {
    const Reader missing = reader.child("not_measured");
    for (const auto& item : missing.json().items()) {
      missing.field(item.key().c_str(), record.not_measured.emplace_back(item.key(), "").second);
    }
  }
  if (json.contains("memory")) record.memory = parse_memory(source + ": memory", json["memory"]);
  Reader llama_bench = reader;
  visit(llama_bench, record.llama_bench);
  return record;
}

std::vector<Record> read_records(const std::string& path) {
  std::vector<Record> records;
  if (is_sqlite_name(path)) {
    records = SqliteFile(path, SqliteFile::Mode::kRead).read();
  } else {
    const Bytes file = map_file(path);
    int64_t line = 0;
    for (const std::string_view text : split(file.text(), '\n')) {
      ++line;
      if (!trim(text).empty())
        records.push_back(parse_record(fmt::format("{}:{}", path, line), text));
    }
  }
  if (records.empty())
    throw_error("{}: holds no records; out=FILE of lowbit bench or lowbit quality writes them",
                path);
  return records;
}

nlohmann::ordered_json to_json(const Fingerprint& fingerprint) { return fields_of(fingerprint); }

}  // namespace lowbit
