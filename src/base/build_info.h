// What this binary was built from and how: part of every benchmark record and of `--version`.
#pragma once

#include <string_view>

namespace lowbit {

struct BuildInfo {
  std::string_view version;
  std::string_view commit;  // full hash; "unknown" when not built from a git checkout
  bool dirty;               // tracked files differed from the commit
  std::string_view compiler;
  std::string_view flags;
  std::string_view build_type;
  bool cuda;  // the CUDA backend is in
  std::string_view cuda_architectures;
  std::string_view cuda_toolkit;  // its version; "" without the CUDA backend
};

const BuildInfo& build_info();

}  // namespace lowbit
