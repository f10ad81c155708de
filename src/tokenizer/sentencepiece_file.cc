// sentencepiece's .model: a protobuf message, of which a BPE model needs few fields.
// Source: sentencepiece_model.proto (field numbers and defaults).
#include <cstring>

#include "base/check.h"
#include "base/text.h"
#include "tokenizer/spec.h"

namespace lowbit {
namespace {

// One message of the wire format, field by field. Strict: what runs past its end is an Error.
class ProtoReader {
 public:
  ProtoReader(const char* name, std::string_view bytes) : name_(name), bytes_(bytes) {}

  // Moves to the next field; false at the end.
  bool next() {
    if (at_ == bytes_.size()) return false;
    const uint64_t tag = varint();
    field_ = tag >> 3;
    type_ = static_cast<uint32_t>(tag & 7);
    if (field_ == 0 || tag > 0xFFFFFFFFu) fail("a field number is out of range");
    value_ = 0;
    view_ = {};
    switch (type_) {
      case 0:
        value_ = varint();
        break;
      case 1:
        view_ = take(8);
        break;
      case 2:
        view_ = take(varint());
        break;
      case 5:
        view_ = take(4);
        break;
      default:
        fail(fmt::format("field {} has wire type {}, which is not supported", field_, type_));
    }
    return true;
  }

  uint64_t field() const { return field_; }
  std::string_view text() const { return expect(2), view_; }
  bool boolean() const { return expect(0), value_ != 0; }
  int64_t integer() const { return expect(0), static_cast<int64_t>(value_); }
  float number() const {
    expect(5);
    float value;
    std::memcpy(&value, view_.data(), sizeof(value));
    return value;
  }

  [[noreturn]] void fail(const std::string& what) const {
    throw_error("not a sentencepiece model: {} at byte {}: {}", name_, at_, what);
  }

 private:
  void expect(uint32_t type) const {
    if (type_ != type) fail(fmt::format("field {} has wire type {}, not {}", field_, type_, type));
  }

  uint64_t varint() {
    uint64_t value = 0;
    for (uint32_t shift = 0; shift < 64; shift += 7) {
      if (at_ == bytes_.size()) fail("a number is cut off");
      const auto byte = static_cast<uint8_t>(bytes_[at_++]);
      if (shift == 63 && byte > 1) break;
      value |= static_cast<uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return value;
    }
    fail("a number has more than 64 bits");
  }

  std::string_view take(uint64_t count) {
    if (count > bytes_.size() - at_) {
      fail(fmt::format("field {} has {} bytes, {} are left", field_, count, bytes_.size() - at_));
    }
    const std::string_view part = bytes_.substr(at_, count);
    at_ += count;
    return part;
  }

  const char* name_;
  std::string_view bytes_;
  size_t at_ = 0;
  uint64_t field_ = 0;
  uint32_t type_ = 0;
  uint64_t value_ = 0;
  std::string_view view_;
};

SpmPiece parse_piece(std::string_view bytes) {
  SpmPiece piece;
  for (ProtoReader reader("piece", bytes); reader.next();) {
    if (reader.field() == 1) piece.text = reader.text();
    if (reader.field() == 2) piece.score = reader.number();
    if (reader.field() == 3) {
      const int64_t type = reader.integer();
      if (type < 1 || type > 6) reader.fail(fmt::format("piece type {} is not known", type));
      piece.type = static_cast<PieceType>(type);
    }
  }
  return piece;
}

struct Names {
  std::string bos = "<s>", eos = "</s>";
};

void parse_trainer_spec(std::string_view bytes, SpmSpec* spec, Names* names) {
  int64_t model_type = 1;
  for (ProtoReader reader("trainer_spec", bytes); reader.next();) {
    switch (reader.field()) {
      case 3:
        model_type = reader.integer();
        break;
      case 24:
        spec->treat_whitespace_as_suffix = reader.boolean();
        break;
      case 35:
        spec->byte_fallback = reader.boolean();
        break;
      case 44:
        spec->unknown_surface = reader.text();
        break;
      case 46:
        names->bos = reader.text();
        break;
      case 47:
        names->eos = reader.text();
        break;
      default:
        break;
    }
  }
  if (model_type != 2) {
    constexpr const char* kTypes[] = {"?", "UNIGRAM", "BPE", "WORD", "CHAR"};
    const bool known = model_type >= 1 && model_type <= 4;
    throw_error("trainer_spec.model_type is {}; only BPE models are supported",
                known ? kTypes[model_type] : std::to_string(model_type));
  }
}

void parse_normalizer_spec(std::string_view bytes, SpmSpec* spec) {
  std::string name;
  size_t charsmap_bytes = 0;
  for (ProtoReader reader("normalizer_spec", bytes); reader.next();) {
    switch (reader.field()) {
      case 1:
        name = reader.text();
        break;
      case 2:
        charsmap_bytes = reader.text().size();
        break;
      case 3:
        spec->add_dummy_prefix = reader.boolean();
        break;
      case 4:
        spec->remove_extra_whitespaces = reader.boolean();
        break;
      case 5:
        spec->escape_whitespaces = reader.boolean();
        break;
      default:
        break;
    }
  }
  if (charsmap_bytes != 0) {
    throw_error("normalizer_spec: the normalizer \"{}\" is not supported, only \"identity\" is",
                printable(name));
  }
}

std::optional<int32_t> find_control(const SpmSpec& spec, const std::string& text) {
  for (size_t id = 0; id < spec.pieces.size(); ++id) {
    const SpmPiece& piece = spec.pieces[id];
    if (piece.type == PieceType::kControl && piece.text == text) return static_cast<int32_t>(id);
  }
  return std::nullopt;
}

SpmSpec parse_model(std::string_view bytes) {
  SpmSpec spec;
  Names names;
  bool has_trainer_spec = false;
  for (ProtoReader reader("model", bytes); reader.next();) {
    switch (reader.field()) {
      case 1:
        spec.pieces.push_back(parse_piece(reader.text()));
        break;
      case 2:
        parse_trainer_spec(reader.text(), &spec, &names);
        has_trainer_spec = true;
        break;
      case 3:
        parse_normalizer_spec(reader.text(), &spec);
        break;
      case 5: {
        SpmSpec ignored;
        parse_normalizer_spec(reader.text(), &ignored);  // a denormalizer with rules is refused
        break;
      }
      default:
        break;
    }
  }
  if (spec.pieces.empty()) throw_error("not a sentencepiece model: it has no pieces");
  if (!has_trainer_spec) throw_error("trainer_spec is missing: is the model of type BPE?");
  spec.bos = find_control(spec, names.bos);
  if (const auto eos = find_control(spec, names.eos)) spec.eos = {*eos};
  return spec;
}

}  // namespace

SpmSpec parse_sentencepiece(const std::string& source, std::string_view bytes) {
  return with_context(source, [&] {
    if (bytes.empty()) throw_error("the file is empty");
    SpmSpec spec = parse_model(bytes);
    spec.source = source;
    return spec;
  });
}

}  // namespace lowbit
