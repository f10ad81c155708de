// Python pickles, read and never run. A pickle is a program for a machine with a stack that may
// call anything that Python can import; this machine builds plain data, and of everything that can
// be named it knows exactly what a PyTorch checkpoint needs (kGlobals in pickle.cc). Any other name
// is an Error that says it, before anything else is read.
// Source: Lib/pickletools.py of CPython (protocols 2 to 5), torch/_utils.py,
// torch/serialization.py.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/file.h"

namespace lowbit {

enum class PickleKind : uint8_t {
  kNone,
  kBool,
  kInt,
  kFloat,
  kText,   // str and bytes
  kTuple,  // also torch.Size
  kList,
  kDict,     // also OrderedDict
  kType,     // text: "F32", a storage type or dtype; "" for torch.UntypedStorage
  kGlobal,   // a function of the table that has not been called
  kStorage,  // text: its key; type: of its elements; number: how many (bytes, if type is "")
  kTensor,   // items: storage, offset, size, stride; type
};

// One value. Others are meant by their place in Pickle::values.
struct PickleValue {
  PickleKind kind = PickleKind::kNone;
  int64_t number = 0;           // kBool, kInt, kStorage; kGlobal: which
  std::string_view text;        // views the pickle
  std::string_view type;        // kStorage, kTensor: as safetensors call it, "BF16"
  std::vector<uint32_t> items;  // kTuple, kList; kDict: key, value, key, value
};

struct Pickle {
  std::vector<PickleValue> values;  // by place; lists and dicts may hold themselves
  uint32_t root = 0;
};

// Errors start with `source`.
Pickle read_pickle(const std::string& source, std::string_view text);

}  // namespace lowbit
