// A tool as NVTX loads it (NVTX_INJECTION64_PATH), which keeps the ranges of the process.
#include <string>

#include "cuda/nvtx_callbacks.h"

namespace {
std::string ranges;
}

extern "C" {

__attribute__((visibility("default"))) const char* nvtx_tool_ranges() { return ranges.c_str(); }

__attribute__((visibility("default"))) int InitializeInjectionNvtx2(
    NvtxGetExportTableFunc_t get_table) {
  return lowbit::hear_ranges(
      get_table,
      [](const char* name) {
        ranges += std::string("(") + name;
        return 0;
      },
      [] {
        ranges += ")";
        return 0;
      });
}

}  // extern "C"
