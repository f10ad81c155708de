// `lowbit quality`: what each format costs in quality. Many variants of one model are scored on the
// same text in one pass against the weights as stored.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bench/record.h"
#include "ops/backend.h"

namespace lowbit {

struct QualityConfig {
  std::string model;
  std::string text;
  std::vector<std::string> formats;
  std::vector<std::string> kv_formats;
  std::string head;
  std::string embedding;
  std::string device = "cpu";
  int32_t threads = 0;
  int32_t ctx = 0;
  int32_t tokens = 0;
  std::string calibration;
  int32_t calibration_tokens = 16384;
  std::string known;
  std::vector<std::string> notes;
  std::string out, markdown, plot;
  std::string command;  // no key: what was typed, for the records; "" if nothing was
};

template <class Visitor>
void visit(Visitor& v, QualityConfig& c) {
  v.field("model", c.model, "folder, .gguf file or embedded:NAME; empty: the embedded model");
  v.field("text", c.text, "text file to score");
  v.field("format", c.formats,
          "what to score: weight formats, weights+activations, each with @QUANTIZER if not rtn");
  v.field("kv_format", c.kv_formats, "cache formats to score, with the weights as stored");
  v.field("head", c.head, "output head: same (the default), stored, or a format");
  v.field("embedding", c.embedding, "token embedding: stored (the default), same, or a format");
  v.field("device", c.device, "backend: cpu or ref");
  v.field("threads", c.threads, "CPU threads; 0: one per core");
  v.field("ctx", c.ctx, "tokens of a window; 0: 512, or the model's context if shorter");
  v.field("tokens", c.tokens, "tokens of text to score at most; 0: all of it");
  v.field("calibration", c.calibration, "text file for quantizers that look at inputs (@gptq)");
  v.field("calibration_tokens", c.calibration_tokens, "tokens of it to look at");
  v.field("known", c.known, "`out` of an earlier run: its variants are kept and not scored again");
  v.field("note", c.notes, "remarks to print below the table");
  v.field("out", c.out, "file for one JSON line per variant");
  v.field("markdown", c.markdown, "file for the table");
  v.field("plot", c.plot, "SVG file: KL against bits per weight");
}

// Error names the key for a count below 0 and for a file that could not be written at the end.
void check(const QualityConfig& config);

class QualityListener {
 public:
  virtual ~QualityListener() = default;
  virtual void on_phase(int64_t done, int64_t total, std::string_view what) = 0;
};

// One record per variant, kind "quality", the stored weights first; a variant that cannot be loaded
// is a failed record; names that mean the same are one. Records of `known` are taken over as they
// are, those of other variants at the end. Errors: bad names, no text, a model with random weights,
// a quantizer that needs a calibration text without one, `known` of another text, or whose stored
// weights score otherwise here.
std::vector<Record> measure_quality(const QualityConfig& config, const Backend& backend,
                                    QualityListener* listener = nullptr);

// GitHub Markdown, the variants in order of bits per weight within weights, pairs and caches; then
// the notes, and which commands measured the rows, when and where.
std::string quality_markdown(std::span<const Record> records,
                             std::span<const std::string> notes = {});

// Mean KL against bits per weight as stored, on a logarithmic axis, variants that no other beats in
// both connected and named.
std::string quality_svg(std::span<const Record> records);

}  // namespace lowbit
