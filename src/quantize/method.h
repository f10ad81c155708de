// What a name means that a user typed: formats, who chooses the codes, and where. A name is one of
// our own formats or pairs (formats/format.h), or what another tool calls a method; a tool's name
// follows that tool's rule in a named version. The names are in method_table.cc.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "formats/format.h"
#include "quantize/preparation.h"
#include "quantize/quantizer.h"

namespace lowbit {

// Which weights a method is for. Formats are written as names; "stored" is as the file holds them.
struct MethodScope {
  std::string_view head = "same";         // the output head: "same" as the other Linears, or a name
  std::string_view embedding = "stored";  // the token table: the same words
  std::string_view include = "";          // "": all Linears, else "feed_forward", "attention", both
  std::string_view others = "stored";     // the Linears that `include` leaves out
  std::string_view mixture = "";  // of llama.cpp: more bits for some tensors (models/mixture.h)
  bool prefill_only = false;      // steps of one token a sequence keep activations
  constexpr bool operator==(const MethodScope&) const = default;
};

struct Method {
  std::string asked;  // as the user wrote it
  FormatPair formats;
  const Quantizer* quantizer = nullptr;
  MethodScope scope;
  std::string_view tool;  // whose name it is; "" for our own
  std::string note;       // what the user should know, or ""
  Preparation prepare = {};
  int32_t iterations = 0;  // of the quantizer (QuantizeContext); 0: its own number
};

// Error for an unknown name, with suggestions, and for a name of which nothing was ever implemented
// or that this program cannot do, with the reason and what to use instead.
Method parse_method(std::string_view text);

// For a place that has one format: a layer, the head, a cache. Error, saying what to write, for a
// name that means more: activations, or other formats for some layers.
Method parse_one_format(std::string_view text);

// Of keys and values (formats/format.h: parse_cache_format); codes are chosen by the format's own
// rule, whatever tool the name is of.
Format parse_cache_name(std::string_view text);

// "int8-sbf16+int8 by torchao-0.9.0", "int4 by awq and hqq"; round to nearest is not mentioned.
std::string description(const Method& method);

// One name or a family of them: {n} is a number of bits, {g} a group size (None, -1 or 0: a row),
// {p} a number that does not matter, {*} the rest of the name (autoround_name.h reads one).
struct MethodRow {
  std::string_view pattern;
  std::string_view formats;         // names with {n} and {g} (as g64, row); "": see the note
  std::string_view quantizer = "";  // "": rtn
  std::string_view note = "";       // without formats: why not, and what to use instead
  MethodScope scope = {};
  Preparation prepare = {};
};

struct MethodGroup {
  std::string_view qualifier;  // "torchao_exp:bf16_int4" asks for the name of this group
  std::string_view tool;
  std::span<const MethodRow> rows;
  bool any_case = false;  // q4_k_m is Q4_K_M
};

// In the order in which a bare name is looked for.
std::span<const MethodGroup> method_groups();

}  // namespace lowbit
