#include "load/pickle.h"

#include <bit>
#include <cstring>
#include <map>

#include "base/check.h"
#include "base/text.h"

namespace lowbit {
namespace {

enum Global : int64_t {
  kOrderedDict,
  kSize,
  kRebuildTensor,
  kRebuildTensorV2,
  kRebuildTensorV3,
  kRebuildParameter,
  kRebuildParameterWithState,
};

// Everything that a pickle may name and that is called.
struct GlobalRow {
  std::string_view module, name;
  Global global;
};
constexpr GlobalRow kGlobals[] = {
    {"collections", "OrderedDict", kOrderedDict},
    {"torch", "Size", kSize},
    {"torch._utils", "_rebuild_tensor", kRebuildTensor},
    {"torch._utils", "_rebuild_tensor_v2", kRebuildTensorV2},
    {"torch._utils", "_rebuild_tensor_v3", kRebuildTensorV3},
    {"torch._utils", "_rebuild_parameter", kRebuildParameter},
    {"torch._utils", "_rebuild_parameter_with_state", kRebuildParameterWithState},
};

// And the types, in module torch (UntypedStorage in torch.storage too): those of storages, and the
// dtypes that have no storage of their own and go through _rebuild_tensor_v3.
struct TypeRow {
  std::string_view name, type;
};
constexpr TypeRow kTypes[] = {
    {"DoubleStorage", "F64"},
    {"FloatStorage", "F32"},
    {"HalfStorage", "F16"},
    {"BFloat16Storage", "BF16"},
    {"LongStorage", "I64"},
    {"IntStorage", "I32"},
    {"ShortStorage", "I16"},
    {"CharStorage", "I8"},
    {"ByteStorage", "U8"},
    {"BoolStorage", "BOOL"},
    {"ComplexFloatStorage", "C64"},
    {"UntypedStorage", ""},
    {"float64", "F64"},
    {"float32", "F32"},
    {"float16", "F16"},
    {"bfloat16", "BF16"},
    {"int64", "I64"},
    {"int32", "I32"},
    {"int16", "I16"},
    {"int8", "I8"},
    {"uint64", "U64"},
    {"uint32", "U32"},
    {"uint16", "U16"},
    {"uint8", "U8"},
    {"bool", "BOOL"},
    {"float8_e4m3fn", "F8_E4M3"},
    {"float8_e5m2", "F8_E5M2"},
    {"float8_e4m3fnuz", "F8_E4M3FNUZ"},
    {"float8_e8m0fnu", "F8_E8M0"},
    {"float8_e5m2fnuz", "F8_E5M2FNUZ"},
};

constexpr size_t kMaxArguments = 16;  // of a call; a tensor has 8

// Opcodes by their characters, as pickletools names them.
enum Op : uint8_t {
  kMark = '(',
  kStop = '.',
  kPop = '0',
  kBinFloat = 'G',
  kBinInt = 'J',
  kBinInt1 = 'K',
  kBinInt2 = 'M',
  kNoneOp = 'N',
  kBinPersId = 'Q',
  kReduce = 'R',
  kBinUnicode = 'X',
  kAppend = 'a',
  kBuild = 'b',
  kGlobalOp = 'c',
  kAppends = 'e',
  kBinGet = 'h',
  kLongBinGet = 'j',
  kBinPut = 'q',
  kLongBinPut = 'r',
  kSetItem = 's',
  kTupleOp = 't',
  kSetItems = 'u',
  kEmptyDict = '}',
  kEmptyList = ']',
  kEmptyTuple = ')',
  kBinBytes = 'B',
  kShortBinBytes = 'C',
  kBinString = 'T',
  kShortBinString = 'U',
  kProto = 0x80,
  kTuple1 = 0x85,
  kTuple2 = 0x86,
  kTuple3 = 0x87,
  kNewTrue = 0x88,
  kNewFalse = 0x89,
  kLong1 = 0x8a,
  kShortBinUnicode = 0x8c,
  kStackGlobal = 0x93,
  kMemoize = 0x94,
  kFrame = 0x95,
};

class Machine {
 public:
  Machine(const std::string& source, std::string_view text) : source_(source), text_(text) {}

  Pickle run() {
    for (;;) {
      const auto op = number<uint8_t>();
      if (op == kStop) break;
      if (!data(op) && !structure(op) && !memo(op) && !call(op)) {
        fail(fmt::format("opcode 0x{:02x} is none that a checkpoint needs", op));
      }
    }
    out_.root = pop();
    return std::move(out_);
  }

 private:
  [[noreturn]] void fail(const std::string& message) const {
    throw_error("{}: byte {}: {}", source_, position_, message);
  }

  // ---- Input
  std::string_view take(uint64_t size) {
    if (size > text_.size() - position_) {
      fail(fmt::format("{} bytes are asked for, but {} are left", size, text_.size() - position_));
    }
    const std::string_view bytes = text_.substr(position_, size);
    position_ += size;
    return bytes;
  }
  template <class T>
  T number() {
    T value;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }
  std::string_view line() {
    const size_t end = text_.find('\n', position_);
    if (end == std::string_view::npos) fail("a name does not end");
    const std::string_view text = text_.substr(position_, end - position_);
    position_ = end + 1;
    return text;
  }

  // ---- Stack and values
  PickleValue& at(uint32_t value) { return out_.values[value]; }
  void push(uint32_t value) { stack_.push_back(value); }
  void push(PickleValue value) {
    push(static_cast<uint32_t>(out_.values.size()));
    out_.values.push_back(std::move(value));
  }
  void push_int(PickleKind kind, int64_t number) { push({kind, number, {}, {}, {}}); }
  void push_text(std::string_view text) { push({PickleKind::kText, 0, text, {}, {}}); }
  void push_items(PickleKind kind, std::vector<uint32_t> items) {
    push({kind, 0, {}, {}, std::move(items)});
  }
  uint32_t pop() {
    const size_t floor = marks_.empty() ? 0 : marks_.back();
    if (stack_.size() <= floor) fail("takes a value from an empty stack");
    const uint32_t value = stack_.back();
    stack_.pop_back();
    return value;
  }
  std::vector<uint32_t> pop_to_mark() {
    if (marks_.empty()) fail("takes values up to a mark that is not there");
    const auto begin = stack_.begin() + static_cast<ptrdiff_t>(marks_.back());
    std::vector<uint32_t> items(begin, stack_.end());
    stack_.erase(begin, stack_.end());
    marks_.pop_back();
    return items;
  }
  void push_tuple(int count) {
    std::vector<uint32_t> items(static_cast<size_t>(count));
    while (count > 0) items[static_cast<size_t>(--count)] = pop();
    push_items(PickleKind::kTuple, std::move(items));
  }
  uint32_t top(PickleKind kind, const char* what) {
    const uint32_t value = pop();
    push(value);
    if (at(value).kind != kind) fail(fmt::format("changes what is not a {}", what));
    return value;
  }

  bool data(uint8_t op);
  bool structure(uint8_t op);
  bool memo(uint8_t op);
  bool call(uint8_t op);
  void push_global(std::string_view module, std::string_view name);
  void push_storage(uint32_t id);
  void reduce();
  void rebuild(const std::vector<uint32_t>& args, size_t fields, std::string_view type);

  const std::string& source_;
  std::string_view text_;
  size_t position_ = 0;
  Pickle out_;
  std::vector<uint32_t> stack_;
  std::vector<size_t> marks_;  // how high the stack was
  std::map<uint32_t, uint32_t> memo_;
};

bool Machine::data(uint8_t op) {
  switch (op) {
    case kNoneOp:
      push(PickleValue{});
      return true;
    case kNewTrue:
    case kNewFalse:
      push_int(PickleKind::kBool, op == kNewTrue);
      return true;
    case kBinInt:
      push_int(PickleKind::kInt, number<int32_t>());
      return true;
    case kBinInt1:
      push_int(PickleKind::kInt, number<uint8_t>());
      return true;
    case kBinInt2:
      push_int(PickleKind::kInt, number<uint16_t>());
      return true;
    case kLong1: {
      const std::string_view bytes = take(number<uint8_t>());
      if (bytes.size() > sizeof(int64_t)) fail("an integer does not fit in 64 bits");
      int64_t value = !bytes.empty() && bytes.back() < 0 ? -1 : 0;
      std::memcpy(&value, bytes.data(), bytes.size());
      push_int(PickleKind::kInt, value);
      return true;
    }
    case kBinFloat:  // nothing of a checkpoint reads it
      push_int(PickleKind::kFloat, number<int64_t>());
      return true;
    case kBinUnicode:
    case kBinBytes:
    case kBinString:
      push_text(take(number<uint32_t>()));
      return true;
    case kShortBinUnicode:
    case kShortBinBytes:
    case kShortBinString:
      push_text(take(number<uint8_t>()));
      return true;
    default:
      return false;
  }
}

bool Machine::structure(uint8_t op) {
  switch (op) {
    case kProto:
      if (const auto version = number<uint8_t>(); version < 2 || version > 5) {
        fail(fmt::format("is of pickle protocol {}; those from 2 to 5 are read", version));
      }
      return true;
    case kFrame:
      number<uint64_t>();  // how far a reader may read ahead
      return true;
    case kMark:
      marks_.push_back(stack_.size());
      return true;
    case kPop:
      pop();
      return true;
    case kEmptyTuple:
    case kTuple1:
    case kTuple2:
    case kTuple3:
      push_tuple(op == kEmptyTuple ? 0 : op - kTuple1 + 1);
      return true;
    case kTupleOp:
      push_items(PickleKind::kTuple, pop_to_mark());
      return true;
    case kEmptyList:
      push_items(PickleKind::kList, {});
      return true;
    case kEmptyDict:
      push_items(PickleKind::kDict, {});
      return true;
    case kAppend: {
      const uint32_t item = pop();
      at(top(PickleKind::kList, "list")).items.push_back(item);
      return true;
    }
    case kSetItem: {
      const uint32_t value = pop(), key = pop();
      auto& items = at(top(PickleKind::kDict, "dict")).items;
      items.insert(items.end(), {key, value});
      return true;
    }
    case kAppends:
    case kSetItems: {
      const std::vector<uint32_t> more = pop_to_mark();
      const bool dict = op == kSetItems;
      if (dict && more.size() % 2 != 0) fail("a dict gets a key without a value");
      auto& items =
          at(dict ? top(PickleKind::kDict, "dict") : top(PickleKind::kList, "list")).items;
      items.insert(items.end(), more.begin(), more.end());
      return true;
    }
    default:
      return false;
  }
}

bool Machine::memo(uint8_t op) {
  switch (op) {
    case kBinPut:
    case kLongBinPut:
    case kMemoize: {
      const uint32_t index = op == kBinPut       ? number<uint8_t>()
                             : op == kLongBinPut ? number<uint32_t>()
                                                 : static_cast<uint32_t>(memo_.size());
      const uint32_t value = pop();
      push(value);
      memo_[index] = value;
      return true;
    }
    case kBinGet:
    case kLongBinGet: {
      const uint32_t index = op == kBinGet ? number<uint8_t>() : number<uint32_t>();
      const auto found = memo_.find(index);
      if (found == memo_.end()) fail(fmt::format("value {} has not been stored", index));
      push(found->second);
      return true;
    }
    default:
      return false;
  }
}

bool Machine::call(uint8_t op) {
  switch (op) {
    case kGlobalOp: {
      const std::string_view module = line();
      push_global(module, line());
      return true;
    }
    case kStackGlobal: {
      const uint32_t name = pop(), module = pop();
      if (at(name).kind != PickleKind::kText || at(module).kind != PickleKind::kText) {
        fail("names a function by something that is not text");
      }
      push_global(at(module).text, at(name).text);
      return true;
    }
    case kBinPersId:
      push_storage(pop());
      return true;
    case kReduce:
      reduce();
      return true;
    case kBuild: {
      // Attributes of an object. A state dict carries one, _metadata, which nothing here needs.
      pop();
      top(PickleKind::kDict, "dict");
      return true;
    }
    default:
      return false;
  }
}

void Machine::push_global(std::string_view module, std::string_view name) {
  for (const GlobalRow& row : kGlobals) {
    if (row.module != module || row.name != name) continue;
    push_int(PickleKind::kGlobal, row.global);
    return;
  }
  const bool storage = module == "torch.storage" && name == "UntypedStorage";
  for (const TypeRow& row : kTypes) {
    if (row.name != name || (module != "torch" && !storage)) continue;
    push({PickleKind::kType, 0, row.type, {}, {}});
    return;
  }
  fail(
      fmt::format("asks for {}.{}, which is not part of plain weights and is not run; save the "
                  "model's state_dict() of plain tensors",
                  printable(module, 100), printable(name, 100)));
}

// ('storage', type, key, location, elements)
void Machine::push_storage(uint32_t id) {
  const PickleValue& tuple = at(id);
  const auto is = [&](size_t i, PickleKind kind) { return at(tuple.items[i]).kind == kind; };
  const bool known = tuple.kind == PickleKind::kTuple && tuple.items.size() == 5 &&
                     is(0, PickleKind::kText) && at(tuple.items[0]).text == "storage" &&
                     is(1, PickleKind::kType) && is(2, PickleKind::kText) &&
                     is(4, PickleKind::kInt);
  if (!known) fail("refers to something that is not a storage of this file");
  push({PickleKind::kStorage,
        at(tuple.items[4]).number,
        at(tuple.items[2]).text,
        at(tuple.items[1]).text,
        {}});
}

void Machine::rebuild(const std::vector<uint32_t>& args, size_t fields, std::string_view type) {
  if (args.size() < fields) fail("a tensor is rebuilt from too few values");
  const auto kind = [&](size_t i) { return at(args[i]).kind; };
  if (kind(0) != PickleKind::kStorage || kind(1) != PickleKind::kInt ||
      kind(2) != PickleKind::kTuple || kind(3) != PickleKind::kTuple) {
    fail("a tensor is rebuilt from other values than storage, offset, size and stride");
  }
  push({PickleKind::kTensor,
        0,
        {},
        type.empty() ? at(args[0]).type : type,
        {args[0], args[1], args[2], args[3]}});
}

void Machine::reduce() {
  const uint32_t tuple = pop(), function = pop();
  if (at(tuple).kind != PickleKind::kTuple) fail("calls something with what is not a tuple");
  if (at(function).kind != PickleKind::kGlobal) fail("calls what is not a function");
  if (at(tuple).items.size() > kMaxArguments) fail("calls something with too many values");
  const std::vector<uint32_t> args = at(tuple).items;
  switch (at(function).number) {
    case kOrderedDict:
      if (!args.empty()) fail("an OrderedDict that is made from other values is not supported");
      push_items(PickleKind::kDict, {});
      return;
    case kSize:
      if (args.size() != 1) fail("a torch.Size takes one tuple");
      push(args[0]);
      return;
    case kRebuildTensor:
      rebuild(args, 4, "");
      return;
    case kRebuildTensorV2:
      rebuild(args, 6, "");
      return;
    case kRebuildTensorV3: {
      if (args.size() < 7 || at(args[6]).kind != PickleKind::kType) fail("a tensor has no dtype");
      rebuild(args, 7, at(args[6]).text);
      return;
    }
    default:  // a parameter is its tensor
      if (args.empty() || at(args[0]).kind != PickleKind::kTensor) fail("a parameter is no tensor");
      push(args[0]);
  }
}

}  // namespace

Pickle read_pickle(const std::string& source, std::string_view text) {
  static_assert(std::endian::native == std::endian::little);
  return Machine(source, text).run();
}

}  // namespace lowbit
